"""/deletion-plans: what a deletion would take, before anything goes."""

from typing import Annotated, Literal

import msgspec
from litestar import Router, post
from litestar.params import JSONBody

from holdfast.api.budgets import budget
from holdfast.api.deps import ApiRequest, Door, settings_of
from holdfast.features.deletions import service as deletions
from holdfast.features.deletions.types import DeletionPlan

_door = Door("deletions")

RootType = Literal[
    "user",
    "group",
    "member",
    "project",
    "config-file",
    "form",
    "form-message",
    "image-request",
    "image",
    "repository",
    "tag",
    "workload",
]
# Two ids for a member, whose key is both.
RootId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,21}(/[A-Za-z0-9_-]{1,21})?$(?!\n)", max_length=43)]


class PlanDeletion(msgspec.Struct, forbid_unknown_fields=True):
    """What would be deleted; the id of a member is `g_id/u_id`."""

    type: RootType
    id: RootId


@post("/", status_code=200, summary="Count what a deletion would take, and get the token for it", opt=budget(9))
async def plan_deletion(request: ApiRequest, data: JSONBody[PlanDeletion]) -> DeletionPlan:
    """Nothing is changed, and nothing kept: the token is good as long as the numbers stay."""
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: deletions.plan_deletion(tx, actor, data.type, data.id, plan_key=key)
    )


router = Router("/deletion-plans", route_handlers=[plan_deletion], tags=["deletions"])

"""/deletions: what was deleted, by whom; restore and purge."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get, post
from litestar.params import JSONBody, QueryParameter

from holdfast.api.budgets import budget
from holdfast.api.deps import (
    ApiRequest,
    CursorText,
    Door,
    PageLimit,
    PageNumber,
    SortOrder,
    TotalWanted,
    page_of,
    settings_of,
    versioned,
)
from holdfast.api.types import FilterId, FilterText, PathId, SearchText
from holdfast.core.pages import Page
from holdfast.features.deletions import service as deletions
from holdfast.features.deletions.types import DeletionRow, Restored

_door = Door("deletions")
# The framework keeps the name `state` for itself.
StateFilter = Annotated[
    Literal["deleted", "restored", "purging", "purged", "failed"] | None,
    QueryParameter(name="state", required=False),
]


class RestoreDeletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`rename` gives a free name to a user or a config file that comes back to a taken one."""

    rename: bool = False


_AS_IT_WAS = RestoreDeletion()


@get("/", summary="Your deletions, newest first; all for super administrators")
async def list_deletions(
    request: ApiRequest,
    state_is: StateFilter = None,
    type: FilterText = None,  # noqa: A002 - as plans name it
    root_id: FilterText = None,
    actor_id: FilterId = None,
    q: SearchText = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[DeletionRow]:
    asked = page_of(page, limit, sort, cursor, total)
    filters: dict[str, Any] = {
        "state": state_is,
        "root_type": type,
        "root_id": root_id,
        "actor_id": actor_id,
        "q": q,
    }
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: deletions.list_deletions(tx, actor, asked, cursor_key=key, **filters)
    )


@get("/{deletion_id:str}", summary="A deletion, with its state and its numbers")
async def get_deletion(request: ApiRequest, deletion_id: PathId) -> Response[DeletionRow]:
    return versioned(
        request, await _door.read(request, lambda tx, actor: deletions.get_deletion(tx, actor, deletion_id))
    )


@post(
    "/{deletion_id:str}/restore",
    status_code=200,
    summary="Bring back exactly what a deletion took",
    opt=budget(40, repeated=("deletions.count_marked", "deletions.find_*")),
)
async def restore_deletion(
    request: ApiRequest, deletion_id: PathId, data: JSONBody[RestoreDeletion] = _AS_IT_WAS
) -> Restored:
    """409 with `conflicts` while a parent is deleted, a name is taken, or a project's quota is used up.

    No body means `{}`.
    """
    return await _door.write(request, lambda tx, actor: deletions.restore(tx, actor, deletion_id, rename=data.rename))


@post(
    "/{deletion_id:str}/purge",
    status_code=202,
    summary="Ask for the removal of a deletion (super administrators)",
    opt=budget(7),
)
async def purge_deletion(request: ApiRequest, deletion_id: PathId) -> Response[DeletionRow]:
    """Its rows go for good, once a recovery bundle of them is written and verified; `state` tells how far it is."""
    deletion = await _door.write(request, lambda tx, actor: deletions.request_purge(tx, actor, deletion_id))
    return Response(content=deletion, status_code=202, headers={"Location": f"/api/v1/deletions/{deletion_id}"})


router = Router(
    "/deletions",
    route_handlers=[list_deletions, get_deletion, restore_deletion, purge_deletion],
    tags=["deletions"],
)

"""DELETE of everything that can be deleted: one act with what hangs on it, restorable until its purge.

The routes are alike, so they stand together and not with their nouns.
"""

from typing import Annotated

from litestar import Router, delete
from litestar.params import QueryParameter

from holdfast.api.budgets import budget
from holdfast.api.deps import ApiRequest, Door, if_match_of, settings_of
from holdfast.api.types import FilterId, PathId
from holdfast.core.errors import InvalidInputError
from holdfast.features.deletions import service as deletions
from holdfast.features.deletions.service import Wish
from holdfast.features.deletions.types import Deleted

PlanToken = Annotated[
    str | None,
    QueryParameter(
        description="The token of the deletion's plan; needed where more than the thing itself goes.",
        max_length=200,
        pattern=r"^[A-Za-z0-9_=-]+$",
        required=False,
    ),
]
TakeAlong = Annotated[
    bool, QueryParameter(description="Let go along what the plan asks a decision about.", required=False)
]
Reason = Annotated[
    str | None,
    QueryParameter(
        description="Why, for the deletion and the audit log.",
        max_length=1000,
        pattern=r"^[^\x00]*$",
        required=False,
    ),
]
# The root is found to decide, and again once it is locked.
_ROOT = ("deletions.find_*_include_deleted",)


@delete(
    "/users/{u_id:str}",
    status_code=200,
    summary="Delete a user (super administrators, and the users themselves)",
    opt=budget(
        38,
        repeated=(
            "audit.insert_entry",
            "deletions.count_user",
            "deletions.enabled_rules_include_deleted",
            *_ROOT,
            "deletions.last_admin(of_user)",
            "deletions.running_workloads(of_user)",
        ),
    ),
)
async def delete_user(
    request: ApiRequest,
    u_id: PathId,
    plan: PlanToken = None,
    take_along: TakeAlong = False,
    hand_over_to: FilterId = None,
    reason: Reason = None,
) -> Deleted:
    """Sign-in and tokens end at once. `hand_over_to` gives the enabled allow-list rules, the open forms and the admin
    seats to another user in the same act.
    """
    wish = _wish(request, plan, take_along, reason, hand_over_to=hand_over_to)
    return await _delete(request, "users", "user", u_id, wish)


@delete(
    "/groups/{g_id:str}",
    status_code=200,
    summary="Delete a group with its projects (admins of the group)",
    opt=budget(17, repeated=_ROOT),
)
async def delete_group(
    request: ApiRequest, g_id: PathId, plan: PlanToken = None, take_along: TakeAlong = False, reason: Reason = None
) -> Deleted:
    return await _delete(request, "groups", "group", g_id, _wish(request, plan, take_along, reason))


@delete(
    "/groups/{g_id:str}/members/{u_id:str}",
    status_code=200,
    summary="Remove a member, or leave a group",
    opt=budget(11, repeated=_ROOT),
)
async def remove_member(
    request: ApiRequest,
    g_id: PathId,
    u_id: PathId,
    plan: PlanToken = None,
    take_along: TakeAlong = False,
    reason: Reason = None,
) -> Deleted:
    return await _delete(request, "groups", "member", f"{g_id}/{u_id}", _wish(request, plan, take_along, reason))


@delete(
    "/projects/{p_id:str}",
    status_code=200,
    summary="Delete a project with all in it (admins of its group)",
    opt=budget(15, repeated=_ROOT),
)
async def delete_project(
    request: ApiRequest, p_id: PathId, plan: PlanToken = None, take_along: TakeAlong = False, reason: Reason = None
) -> Deleted:
    return await _delete(request, "projects", "project", p_id, _wish(request, plan, take_along, reason))


@delete(
    "/config-files/{cf_id:str}",
    status_code=200,
    summary="Delete a config file with its resources",
    opt=budget(8, repeated=_ROOT),
)
async def delete_config_file(
    request: ApiRequest, cf_id: PathId, plan: PlanToken = None, take_along: TakeAlong = False, reason: Reason = None
) -> Deleted:
    return await _delete(request, "config-files", "config-file", cf_id, _wish(request, plan, take_along, reason))


@delete(
    "/forms/{form_id:str}",
    status_code=200,
    summary="Delete a form with its messages",
    opt=budget(8, repeated=_ROOT),
)
async def delete_form(
    request: ApiRequest, form_id: PathId, plan: PlanToken = None, take_along: TakeAlong = False, reason: Reason = None
) -> Deleted:
    return await _delete(request, "forms", "form", form_id, _wish(request, plan, take_along, reason))


@delete(
    "/forms/{form_id:str}/messages/{message_id:str}",
    status_code=200,
    summary="Delete a message",
    opt=budget(7, repeated=_ROOT),
)
async def delete_message(
    request: ApiRequest,
    form_id: PathId,
    message_id: PathId,
    plan: PlanToken = None,
    take_along: TakeAlong = False,
    reason: Reason = None,
) -> Deleted:
    wish = _wish(request, plan, take_along, reason, under=form_id)
    return await _delete(request, "forms", "form-message", message_id, wish)


@delete(
    "/image-requests/{request_id:str}",
    status_code=200,
    summary="Delete an image request",
    opt=budget(7, repeated=_ROOT),
)
async def delete_image_request(
    request: ApiRequest,
    request_id: PathId,
    plan: PlanToken = None,
    take_along: TakeAlong = False,
    reason: Reason = None,
) -> Deleted:
    return await _delete(request, "images", "image-request", request_id, _wish(request, plan, take_along, reason))


@delete(
    "/images/{image_id:str}",
    status_code=200,
    summary="Delete a rule of the allow list",
    opt=budget(7, repeated=_ROOT),
)
async def delete_image(
    request: ApiRequest, image_id: PathId, plan: PlanToken = None, take_along: TakeAlong = False, reason: Reason = None
) -> Deleted:
    return await _delete(request, "images", "image", image_id, _wish(request, plan, take_along, reason))


@delete(
    "/repositories/{repository_id:str}",
    status_code=200,
    summary="Delete a repository with its tags and rules",
    opt=budget(11, repeated=_ROOT),
)
async def delete_repository(
    request: ApiRequest,
    repository_id: PathId,
    plan: PlanToken = None,
    take_along: TakeAlong = False,
    reason: Reason = None,
) -> Deleted:
    return await _delete(request, "images", "repository", repository_id, _wish(request, plan, take_along, reason))


@delete(
    "/repositories/{repository_id:str}/tags/{tag_id:str}",
    status_code=200,
    summary="Delete a tag with its rules",
    opt=budget(9, repeated=_ROOT),
)
async def delete_tag(
    request: ApiRequest,
    repository_id: PathId,
    tag_id: PathId,
    plan: PlanToken = None,
    take_along: TakeAlong = False,
    reason: Reason = None,
) -> Deleted:
    wish = _wish(request, plan, take_along, reason, under=repository_id)
    return await _delete(request, "images", "tag", tag_id, wish)


@delete(
    "/workloads/{workload_id:str}",
    status_code=200,
    summary="Delete a workload",
    opt=budget(8, repeated=_ROOT),
)
async def delete_workload(
    request: ApiRequest,
    workload_id: PathId,
    plan: PlanToken = None,
    take_along: TakeAlong = False,
    reason: Reason = None,
) -> Deleted:
    return await _delete(request, "workloads", "workload", workload_id, _wish(request, plan, take_along, reason))


def _wish(
    request: ApiRequest,
    plan: str | None,
    take_along: bool,
    reason: str | None,
    *,
    hand_over_to: str | None = None,
    under: str | None = None,
) -> Wish:
    return Wish(
        plan_token=plan,
        take_along=take_along,
        hand_over_to=hand_over_to,
        reason=reason,
        under=under,
        if_match=if_match_of(request),
    )


async def _delete(request: ApiRequest, area: str, noun: str, id_text: str, wish: Wish) -> Deleted:
    _refuse_unknown_parameters(request)
    settings = settings_of(request)
    return await Door(area).write(
        request,
        lambda tx, actor: deletions.delete(
            tx,
            actor,
            noun,
            id_text,
            wish,
            plan_key=settings.cursor_key,
            kept_days=settings.retention_deleted_days,
        ),
    )


def _refuse_unknown_parameters(request: ApiRequest) -> None:
    """A misspelt `hand_over_to`, or a wish that we do not know such as `dry_run`, must not end in a plain deletion."""
    known = request.route_handler.parsed_fn_signature.parameters
    unknown = sorted(name for name in request.query_params if name not in known)
    if unknown:
        raise InvalidInputError(f"DELETE knows no parameter {unknown[0]} here; nothing was deleted")


router = Router(
    "/",
    route_handlers=[
        delete_user,
        delete_group,
        remove_member,
        delete_project,
        delete_config_file,
        delete_form,
        delete_message,
        delete_image_request,
        delete_image,
        delete_repository,
        delete_tag,
        delete_workload,
    ],
    tags=["deletions"],
)

"""/forms: open, read, answer and decide them."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.params import FromQuery, JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from holdfast.api.budgets import budget
from holdfast.api.deps import (
    ApiRequest,
    CursorText,
    Door,
    IncludeDeleted,
    PageLimit,
    PageNumber,
    SortOrder,
    TotalWanted,
    changes_of,
    if_match_of,
    page_of,
    refuse_both,
    settings_of,
    tagged,
)
from holdfast.api.types import (
    Description,
    FilterId,
    FilterText,
    MessageText,
    Name100,
    Name255,
    PathId,
    SearchText,
    ShortId,
)
from holdfast.core.pages import Page
from holdfast.features.forms import service as forms
from holdfast.features.forms.types import Form, FormMessage

_door = Door("forms")
FormStatus = Literal["Pending", "Processing", "Completed", "Rejected"]


class OpenForm(msgspec.Struct, forbid_unknown_fields=True):
    """A new form; `message` becomes its first message."""

    title: Name255
    description: Description | None = None
    project_id: ShortId | None = None
    tag: Name100 | None = None
    message: MessageText | None = None


class ChangeForm(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; fields left out stay."""

    title: Name255 | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    tag: Name100 | UnsetType | None = UNSET
    status: FormStatus | UnsetType = UNSET


class AddMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A message on a form."""

    content: MessageText


@get("/", summary="Forms that you may see, newest first")
async def list_forms(
    request: ApiRequest,
    user_id: FilterId = None,
    project_id: FilterId = None,
    status: FromQuery[FormStatus | None] = None,
    tag: FilterText = None,
    q: SearchText = None,
    include: Annotated[
        Literal["messages"] | None, QueryParameter(description="Also the messages of each form.")
    ] = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[Form]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    filters: dict[str, Any] = {"user_id": user_id, "project_id": project_id, "status": status, "tag": tag, "q": q}
    refuse_both(include, include_deleted)
    key = settings_of(request).cursor_key
    listed = forms.list_forms if include is None else forms.list_forms_with_messages
    return await _door.read(request, lambda tx, actor: listed(tx, actor, asked, cursor_key=key, **filters))


@post("/", summary="Open a form, with its first message where you give one", opt=budget(5))
async def open_form(request: ApiRequest, data: JSONBody[OpenForm]) -> Response[Form]:
    return await _door.create(
        request,
        lambda tx, actor: forms.open_form(
            tx,
            actor,
            title=data.title,
            description=data.description,
            project_id=data.project_id,
            tag=data.tag,
            message=data.message,
        ),
        location=lambda form: f"/api/v1/forms/{form.id}",
    )


@get("/{form_id:str}", summary="A form with its messages")
async def get_form(request: ApiRequest, form_id: PathId, include_deleted: IncludeDeleted = False) -> Response[Form]:
    if include_deleted:
        found = await _door.read(request, lambda tx, actor: forms.get_form_include_deleted(tx, actor, form_id))
        return Response(found)
    return tagged(await _door.read(request, lambda tx, actor: forms.get_form(tx, actor, form_id)))


@patch("/{form_id:str}", summary="Change a form's status, title, description or tag", opt=budget(7))
async def change_form(request: ApiRequest, form_id: PathId, data: JSONBody[ChangeForm]) -> Response[Form]:
    changes, if_match = changes_of(data), if_match_of(request)
    form = await _door.write(
        request, lambda tx, actor: forms.change_form(tx, actor, form_id, changes, if_match=if_match)
    )
    return tagged(form)


@get("/{form_id:str}/messages", summary="The messages of a form, oldest first")
async def list_messages(
    request: ApiRequest,
    form_id: PathId,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[FormMessage]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    key = settings_of(request).cursor_key
    return await _door.read(request, lambda tx, actor: forms.list_messages(tx, actor, form_id, asked, cursor_key=key))


@get("/{form_id:str}/messages/{message_id:str}", summary="A message")
async def get_message(
    request: ApiRequest, form_id: PathId, message_id: PathId, include_deleted: IncludeDeleted = False
) -> FormMessage:
    if include_deleted:
        return await _door.read(
            request, lambda tx, actor: forms.get_message_include_deleted(tx, actor, form_id, message_id)
        )
    return await _door.read(request, lambda tx, actor: forms.get_message(tx, actor, form_id, message_id))


@post("/{form_id:str}/messages", summary="Write on a form")
async def add_message(request: ApiRequest, form_id: PathId, data: JSONBody[AddMessage]) -> Response[FormMessage]:
    return await _door.create(
        request,
        lambda tx, actor: forms.add_message(tx, actor, form_id, data.content),
        location=lambda message: f"/api/v1/forms/{form_id}/messages/{message.id}",
    )


router = Router(
    "/forms",
    route_handlers=[list_forms, open_form, get_form, change_form, list_messages, get_message, add_message],
    tags=["forms"],
)

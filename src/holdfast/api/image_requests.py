"""/image-requests: ask for an image, and decide."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get, post
from litestar.params import FromQuery, JSONBody

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
    page_of,
    settings_of,
    versioned,
)
from holdfast.api.types import FilterId, Name255, Note, PathId, SearchText, ShortId
from holdfast.core.pages import Page
from holdfast.features.images import requests as image_requests
from holdfast.features.images.types import ImageRequest

_door = Door("images")
RequestStatus = Literal["pending", "approved", "rejected"]
TagName = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
# The longest reference with its registry, tag and digest.
ImageName = Annotated[str, msgspec.Meta(min_length=1, max_length=800)]
Reason = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*[^\x00-\x20][^\x00]*$", min_length=1, max_length=5_000)]


class FileRequest(msgspec.Struct, forbid_unknown_fields=True):
    """An image, such as `nginx` with tag `1.27`, or a whole reference such as `ghcr.io/org/app:2`."""

    image_name: ImageName
    registry: Name255 | None = None
    tag: TagName | None = None
    project_id: ShortId | None = None


class ApproveRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`is_global` allows the image in every project."""

    note: Note | None = None
    is_global: bool = False


class RejectRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why the image is not allowed."""

    note: Reason


@get("/", summary="Image requests that you may see, newest first")
async def list_image_requests(
    request: ApiRequest,
    status: FromQuery[RequestStatus | None] = None,
    project_id: FilterId = None,
    user_id: FilterId = None,
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[ImageRequest]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    filters: dict[str, Any] = {"status": status, "project_id": project_id, "user_id": user_id, "q": q}
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: image_requests.list_requests(tx, actor, asked, cursor_key=key, **filters)
    )


@post("/", summary="Ask for an image, for a project or for all", opt=budget(6))
async def file_image_request(request: ApiRequest, data: JSONBody[FileRequest]) -> Response[ImageRequest]:
    return await _door.create(
        request,
        lambda tx, actor: image_requests.file_request(
            tx,
            actor,
            image_name=data.image_name,
            registry=data.registry,
            tag=data.tag,
            project_id=data.project_id,
        ),
        location=lambda filed: f"/api/v1/image-requests/{filed.id}",
    )


@get("/{request_id:str}", summary="An image request")
async def get_image_request(
    request: ApiRequest, request_id: PathId, include_deleted: IncludeDeleted = False
) -> Response[ImageRequest]:
    if include_deleted:
        found = await _door.read(
            request, lambda tx, actor: image_requests.get_request_include_deleted(tx, actor, request_id)
        )
        return Response(found)
    return versioned(
        request, await _door.read(request, lambda tx, actor: image_requests.get_request(tx, actor, request_id))
    )


@post(
    "/{request_id:str}/approve",
    status_code=200,
    summary="Allow what was asked for",
    opt=budget(16, repeated=("image_requests.find_access",)),
)
async def approve_image_request(
    request: ApiRequest, request_id: PathId, data: JSONBody[ApproveRequest]
) -> Response[ImageRequest]:
    private_registry = settings_of(request).private_registry
    decided = await _door.write(
        request,
        lambda tx, actor: image_requests.approve_request(
            tx,
            actor,
            request_id,
            note=data.note,
            is_global=data.is_global,
            private_registry=private_registry,
        ),
    )
    return versioned(request, decided)


@post(
    "/{request_id:str}/reject",
    status_code=200,
    summary="Turn down what was asked for, with the reason",
    opt=budget(7, repeated=("image_requests.find_access",)),
)
async def reject_image_request(
    request: ApiRequest, request_id: PathId, data: JSONBody[RejectRequest]
) -> Response[ImageRequest]:
    decided = await _door.write(
        request, lambda tx, actor: image_requests.reject_request(tx, actor, request_id, note=data.note)
    )
    return versioned(request, decided)


router = Router(
    "/image-requests",
    route_handlers=[
        list_image_requests,
        file_image_request,
        get_image_request,
        approve_image_request,
        reject_image_request,
    ],
    tags=["image-requests"],
)

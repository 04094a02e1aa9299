"""/images: the allow list."""

from typing import Any

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.openapi import ResponseSpec
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
    if_match_of,
    page_of,
    settings_of,
    versioned,
)
from holdfast.api.image_requests import ImageName, TagName
from holdfast.api.types import FilterId, Name255, PathId, SearchText, ShortId
from holdfast.core.pages import Page
from holdfast.features.images import requests as image_requests
from holdfast.features.images import service as images
from holdfast.features.images.types import AllowedImage, ImageRequest

_door = Door("images")


class AddImage(msgspec.Struct, forbid_unknown_fields=True):
    """An image; without tag every tag of it, without project every project."""

    image_name: ImageName
    registry: Name255 | None = None
    tag: TagName | None = None
    project_id: ShortId | None = None


class ChangeImage(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the rule counts."""

    is_enabled: bool


@get("/", summary="Images allowed for all and in your projects, newest first")
async def list_images(
    request: ApiRequest,
    project_id: FilterId = None,
    is_enabled: FromQuery[bool | None] = None,
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[AllowedImage]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    filters: dict[str, Any] = {"project_id": project_id, "is_enabled": is_enabled, "q": q}
    key = settings_of(request).cursor_key
    return await _door.read(request, lambda tx, actor: images.list_images(tx, actor, asked, cursor_key=key, **filters))


_FILED = ResponseSpec(ImageRequest, generate_examples=False, description="Filed as a request, Location tells where")


@post(
    "/",
    summary="Allow an image; by a manager or admin of its project: ask for it",
    responses={202: _FILED},
    opt=budget(11),
)
async def add_image(request: ApiRequest, data: JSONBody[AddImage]) -> Response[AllowedImage | ImageRequest]:
    private_registry = settings_of(request).private_registry
    return await _door.create(
        request,
        lambda tx, actor: image_requests.allow_or_file(
            tx,
            actor,
            image_name=data.image_name,
            registry=data.registry,
            tag=data.tag,
            project_id=data.project_id,
            private_registry=private_registry,
        ),
        location=_location,
        status=lambda made: 201 if isinstance(made, AllowedImage) else 202,
    )


@get("/{image_id:str}", summary="A rule of the allow list")
async def get_image(
    request: ApiRequest, image_id: PathId, include_deleted: IncludeDeleted = False
) -> Response[AllowedImage]:
    if include_deleted:
        found = await _door.read(request, lambda tx, actor: images.get_image_include_deleted(tx, actor, image_id))
        return Response(found)
    return versioned(request, await _door.read(request, lambda tx, actor: images.get_image(tx, actor, image_id)))


@patch("/{image_id:str}", summary="Disable a rule, or enable it again", opt=budget(6))
async def change_image(request: ApiRequest, image_id: PathId, data: JSONBody[ChangeImage]) -> Response[AllowedImage]:
    if_match = if_match_of(request)
    image = await _door.write(
        request,
        lambda tx, actor: images.change_image(tx, actor, image_id, is_enabled=data.is_enabled, if_match=if_match),
    )
    return versioned(request, image)


def _location(made: AllowedImage | ImageRequest) -> str:
    noun = "images" if isinstance(made, AllowedImage) else "image-requests"
    return f"/api/v1/{noun}/{made.id}"


router = Router("/images", route_handlers=[list_images, add_image, get_image, change_image], tags=["images"])

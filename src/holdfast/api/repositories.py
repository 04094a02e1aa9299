"""/repositories: what images there are, and their tags."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.params import JSONBody
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
    settings_of,
    versioned,
)
from holdfast.api.image_requests import TagName
from holdfast.api.types import Name255, PathId, SearchText
from holdfast.core.pages import Page
from holdfast.features.images import repositories
from holdfast.features.images.types import Repository, Tag

_door = Door("images")
Digest = Annotated[str, msgspec.Meta(max_length=255)]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class AddRepository(msgspec.Struct, forbid_unknown_fields=True):
    """A repository, such as `library/nginx`; `name` may begin with the registry."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    registry: Name255 | None = None


class AddTag(msgspec.Struct, forbid_unknown_fields=True):
    """A tag; `size` is in bytes."""

    name: TagName
    digest: Digest | None = None
    size: Size | None = None
    pushed_at: Moment | None = None


class ChangeTag(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; fields left out stay."""

    digest: Digest | UnsetType | None = UNSET
    size: Size | UnsetType | None = UNSET
    pushed_at: Moment | UnsetType | None = UNSET


@get("/", summary="Repositories, newest first")
async def list_repositories(
    request: ApiRequest,
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[Repository]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: repositories.list_repositories(tx, actor, asked, cursor_key=key, q=q)
    )


@post("/", summary="Keep a repository", opt=budget(5))
async def add_repository(request: ApiRequest, data: JSONBody[AddRepository]) -> Response[Repository]:
    return await _door.create(
        request,
        lambda tx, actor: repositories.add_repository(tx, actor, name=data.name, registry=data.registry),
        location=lambda made: f"/api/v1/repositories/{made.id}",
    )


@get("/{repository_id:str}", summary="A repository")
async def get_repository(
    request: ApiRequest, repository_id: PathId, include_deleted: IncludeDeleted = False
) -> Response[Repository]:
    if include_deleted:
        found = await _door.read(
            request, lambda tx, actor: repositories.get_repository_include_deleted(tx, actor, repository_id)
        )
        return Response(found)
    return versioned(
        request, await _door.read(request, lambda tx, actor: repositories.get_repository(tx, repository_id))
    )


@get("/{repository_id:str}/tags", summary="The tags of a repository, newest first")
async def list_tags(
    request: ApiRequest,
    repository_id: PathId,
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[Tag]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: repositories.list_tags(tx, actor, repository_id, asked, cursor_key=key, q=q)
    )


@post("/{repository_id:str}/tags", summary="Keep a tag of a repository", opt=budget(5))
async def add_tag(request: ApiRequest, repository_id: PathId, data: JSONBody[AddTag]) -> Response[Tag]:
    return await _door.create(
        request,
        lambda tx, actor: repositories.add_tag(
            tx,
            actor,
            repository_id,
            name=data.name,
            digest=data.digest,
            size=data.size,
            pushed_at=data.pushed_at,
        ),
        location=lambda made: f"/api/v1/repositories/{repository_id}/tags/{made.id}",
    )


@get("/{repository_id:str}/tags/{tag_id:str}", summary="A tag of a repository")
async def get_tag(
    request: ApiRequest, repository_id: PathId, tag_id: PathId, include_deleted: IncludeDeleted = False
) -> Response[Tag]:
    if include_deleted:
        found = await _door.read(
            request, lambda tx, actor: repositories.get_tag_include_deleted(tx, actor, repository_id, tag_id)
        )
        return Response(found)
    return versioned(
        request, await _door.read(request, lambda tx, actor: repositories.get_tag(tx, repository_id, tag_id))
    )


@patch("/{repository_id:str}/tags/{tag_id:str}", summary="Change a tag's digest, size or time of push", opt=budget(5))
async def change_tag(
    request: ApiRequest, repository_id: PathId, tag_id: PathId, data: JSONBody[ChangeTag]
) -> Response[Tag]:
    changes, if_match = changes_of(data), if_match_of(request)
    tag = await _door.write(
        request,
        lambda tx, actor: repositories.change_tag(tx, actor, repository_id, tag_id, changes, if_match=if_match),
    )
    return versioned(request, tag)


router = Router(
    "/repositories",
    route_handlers=[
        list_repositories,
        add_repository,
        get_repository,
        list_tags,
        add_tag,
        get_tag,
        change_tag,
    ],
    tags=["repositories"],
)

"""/projects/{p_id}/config-files and /config-files: store, read and change them, and read their resources."""

from typing import Annotated

import msgspec
from litestar import Response, Router, get, patch, post, put
from litestar.params import JSONBody

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
from holdfast.api.types import FilterText, PathId, SearchText
from holdfast.core.pages import Page
from holdfast.features.config_files import service as config_files
from holdfast.features.config_files.types import ConfigFile, ConfigFileSummary, Resource

_door = Door("config-files")

# Their rules are the feature's: what it refuses is answered with 422 and the place in the text.
Filename = Annotated[str, msgspec.Meta(description="A plain file name of at most 200 characters, such as web.yaml.")]
Content = Annotated[str, msgspec.Meta(description="Kubernetes manifests in YAML or JSON, at most 1 MiB.")]


class CreateConfigFile(msgspec.Struct, forbid_unknown_fields=True):
    """A new config file."""

    filename: Filename
    content: Content


class ReplaceConfigFile(msgspec.Struct, forbid_unknown_fields=True):
    """The new content, and the new filename where it is to change."""

    content: Content
    filename: Filename | None = None


class RenameConfigFile(msgspec.Struct, forbid_unknown_fields=True):
    """The new filename."""

    filename: Filename


@get("/", summary="The config files of a project, without their content")
async def list_config_files(
    request: ApiRequest,
    p_id: PathId,
    filename: FilterText = None,
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[ConfigFileSummary]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    key = settings_of(request).cursor_key
    return await _door.read(
        request,
        lambda tx, actor: config_files.list_config_files(
            tx, actor, p_id, asked, cursor_key=key, filename=filename, q=q
        ),
    )


@post("/", summary="Store a config file with the resources that it holds", opt=budget(7))
async def create_config_file(
    request: ApiRequest, p_id: PathId, data: JSONBody[CreateConfigFile]
) -> Response[ConfigFile]:
    project = await _door.prepare(request, lambda tx, actor: config_files.get_project_for_writing(tx, actor, p_id))
    checked = await config_files.check_content(data.content, allow_privileged=project.allow_privileged)
    return await _door.create(
        request,
        lambda tx, actor: config_files.create_config_file(tx, actor, p_id, filename=data.filename, checked=checked),
        location=lambda file: f"/api/v1/config-files/{file.cf_id}",
    )


@get("/{cf_id:str}", summary="A config file with its content and a summary of its resources")
async def get_config_file(
    request: ApiRequest, cf_id: PathId, include_deleted: IncludeDeleted = False
) -> Response[ConfigFile]:
    if include_deleted:
        found = await _door.read(
            request, lambda tx, actor: config_files.get_config_file_include_deleted(tx, actor, cf_id)
        )
        return Response(found)
    return versioned(
        request, await _door.read(request, lambda tx, actor: config_files.get_config_file(tx, actor, cf_id))
    )


@put(
    "/{cf_id:str}",
    summary="Replace a config file's content; unchanged resources keep their ids",
    opt=budget(13, repeated=("audit.insert_entry",)),
)
async def replace_config_file(
    request: ApiRequest, cf_id: PathId, data: JSONBody[ReplaceConfigFile]
) -> Response[ConfigFile]:
    access = await _door.prepare(request, lambda tx, actor: config_files.get_file_for_writing(tx, actor, cf_id))
    checked = await config_files.check_content(data.content, allow_privileged=access.allow_privileged)
    if_match = if_match_of(request)
    file = await _door.write(
        request,
        lambda tx, actor: config_files.replace_config_file(
            tx, actor, cf_id, checked=checked, filename=data.filename, if_match=if_match
        ),
    )
    return versioned(request, file)


@patch("/{cf_id:str}", summary="Rename a config file", opt=budget(6))
async def rename_config_file(
    request: ApiRequest, cf_id: PathId, data: JSONBody[RenameConfigFile]
) -> Response[ConfigFile]:
    if_match = if_match_of(request)
    file = await _door.write(
        request,
        lambda tx, actor: config_files.rename_config_file(tx, actor, cf_id, data.filename, if_match=if_match),
    )
    return versioned(request, file)


@get("/{cf_id:str}/resources", summary="The Kubernetes objects of a config file")
async def list_resources(
    request: ApiRequest,
    cf_id: PathId,
    type: FilterText = None,  # noqa: A002 - the column's name
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[Resource]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    key = settings_of(request).cursor_key
    return await _door.read(
        request,
        lambda tx, actor: config_files.list_resources(tx, actor, cf_id, asked, cursor_key=key, type=type, q=q),
    )


@get("/{cf_id:str}/resources/{r_id:str}", summary="One Kubernetes object of a config file")
async def get_resource(
    request: ApiRequest, cf_id: PathId, r_id: PathId, include_deleted: IncludeDeleted = False
) -> Response[Resource]:
    if include_deleted:
        found = await _door.read(
            request, lambda tx, actor: config_files.get_resource_include_deleted(tx, actor, cf_id, r_id)
        )
        return Response(found)
    return versioned(
        request, await _door.read(request, lambda tx, actor: config_files.get_resource(tx, actor, cf_id, r_id))
    )


router = Router(
    "/",
    route_handlers=[
        Router("/projects/{p_id:str}/config-files", route_handlers=[list_config_files, create_config_file]),
        Router(
            "/config-files",
            route_handlers=[get_config_file, replace_config_file, rename_config_file, list_resources, get_resource],
        ),
    ],
    tags=["config files"],
)

"""/projects: make, read and change them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.params import JSONBody, QueryParameter
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
    versioned,
)
from holdfast.api.types import Description, FilterId, Name100, PathId, SearchText, ShortId
from holdfast.core.actor import Actor
from holdfast.core.pages import Page
from holdfast.core.versions import version_of
from holdfast.db.engines.base import Transaction
from holdfast.features.config_files import service as config_files
from holdfast.features.config_files.types import ProjectWithConfigFiles
from holdfast.features.projects import service as projects
from holdfast.features.projects.types import Project, ProjectSummary

_door = Door("projects")

GpuQuota = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1, description="GPUs that may be in use at once.")]


class CreateProject(msgspec.Struct, forbid_unknown_fields=True):
    """A new project; `gpu_quota` above 0 and `allow_privileged` take a super administrator."""

    project_name: Name100
    g_id: ShortId
    description: Description | None = None
    gpu_quota: GpuQuota = 0
    allow_privileged: bool = False


class ChangeProject(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; fields left out stay."""

    project_name: Name100 | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    gpu_quota: GpuQuota | UnsetType = UNSET
    allow_privileged: bool | UnsetType = UNSET
    deletion_protected: bool | UnsetType = UNSET


@get("/", summary="Projects of your groups")
async def list_projects(
    request: ApiRequest,
    g_id: FilterId = None,
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[ProjectSummary]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: projects.list_projects(tx, actor, asked, cursor_key=key, g_id=g_id, q=q)
    )


@post("/", summary="Make a project in a group")
async def create_project(request: ApiRequest, data: JSONBody[CreateProject]) -> Response[Project]:
    return await _door.create(
        request,
        lambda tx, actor: projects.create_project(
            tx,
            actor,
            g_id=data.g_id,
            project_name=data.project_name,
            description=data.description,
            gpu_quota=data.gpu_quota,
            allow_privileged=data.allow_privileged,
        ),
        location=lambda project: f"/api/v1/projects/{project.p_id}",
    )


@get("/{p_id:str}", summary="A project, with its config files where you ask for them")
async def get_project(
    request: ApiRequest,
    p_id: PathId,
    include: Annotated[
        Literal["config_files"] | None,
        QueryParameter(description="Also the first 100 config files by name, and their resources without parsed_yaml."),
    ] = None,
    include_deleted: IncludeDeleted = False,
) -> Response[ProjectWithConfigFiles]:
    refuse_both(include, include_deleted)
    read: Callable[[Transaction, Actor, str], Awaitable[Project]] = projects.get_project
    if include is not None:
        read = config_files.get_project_with_config_files
    if include_deleted:
        read = projects.get_project_include_deleted
    project: Any = await _door.read(request, lambda tx, actor: read(tx, actor, p_id))
    # Never 304: the GPUs in use and the config files change without the project's own version.
    return Response(content=project, headers={"ETag": version_of(project.updated_at)})


@patch("/{p_id:str}", summary="Change a project's name, description, quota, privileges or protection", opt=budget(5))
async def change_project(request: ApiRequest, p_id: PathId, data: JSONBody[ChangeProject]) -> Response[Project]:
    changes, if_match = changes_of(data), if_match_of(request)
    project = await _door.write(
        request, lambda tx, actor: projects.change_project(tx, actor, p_id, changes, if_match=if_match)
    )
    return versioned(request, project)


router = Router(
    "/projects", route_handlers=[list_projects, create_project, get_project, change_project], tags=["projects"]
)

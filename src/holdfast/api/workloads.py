"""/workloads: ask to run something in a project, and follow it."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get, patch, post
from litestar.params import FromQuery, JSONBody
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
from holdfast.api.image_requests import ImageName
from holdfast.api.types import FilterId, Name100, PathId, SearchText, ShortId
from holdfast.core.pages import Page
from holdfast.features.workloads import service as workloads
from holdfast.features.workloads.service import DEFAULT_PRIORITY, NewWorkload
from holdfast.features.workloads.types import Workload

_door = Door("workloads")
_MAX_INTEGER = 2**31 - 1
WorkloadStatus = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
Quantity = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
Gpus = Annotated[int, msgspec.Meta(ge=0, le=_MAX_INTEGER)]
Priority = Annotated[int, msgspec.Meta(ge=-_MAX_INTEGER, le=_MAX_INTEGER)]


class CreateWorkload(msgspec.Struct, forbid_unknown_fields=True):
    """What is to run. Namespace and pod name are made where they are left out."""

    project_id: ShortId
    name: Name100
    image: ImageName
    resource_cpu: Quantity | None = None
    resource_mem: Quantity | None = None
    resource_gpu: Gpus | None = None
    priority: Priority = DEFAULT_PRIORITY
    namespace: Name100 | None = None
    k8s_pod_name: Name100 | None = None


class ChangeWorkload(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change; fields left out stay."""

    name: Name100 | UnsetType = UNSET
    status: WorkloadStatus | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    resource_cpu: Quantity | UnsetType | None = UNSET
    resource_mem: Quantity | UnsetType | None = UNSET
    resource_gpu: Gpus | UnsetType | None = UNSET


@get("/", summary="Workloads of your projects, newest first")
async def list_workloads(
    request: ApiRequest,
    project_id: FilterId = None,
    user_id: FilterId = None,
    status: FromQuery[WorkloadStatus | None] = None,
    q: SearchText = None,
    include_deleted: IncludeDeleted = False,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    sort: SortOrder = None,
    cursor: CursorText = None,
    total: TotalWanted = "exact",
) -> Page[Workload]:
    asked = page_of(page, limit, sort, cursor, total, include_deleted=include_deleted)
    filters: dict[str, Any] = {"project_id": project_id, "user_id": user_id, "status": status, "q": q}
    key = settings_of(request).cursor_key
    return await _door.read(
        request, lambda tx, actor: workloads.list_workloads(tx, actor, asked, cursor_key=key, **filters)
    )


@post("/", summary="Ask to run something, under the project's quota", opt=budget(6))
async def create_workload(request: ApiRequest, data: JSONBody[CreateWorkload]) -> Response[Workload]:
    asked = NewWorkload(**msgspec.structs.asdict(data))
    return await _door.create(
        request,
        lambda tx, actor: workloads.create_workload(tx, actor, asked),
        location=lambda workload: f"/api/v1/workloads/{workload.id}",
    )


@get("/{workload_id:str}", summary="A workload")
async def get_workload(
    request: ApiRequest, workload_id: PathId, include_deleted: IncludeDeleted = False
) -> Response[Workload]:
    if include_deleted:
        found = await _door.read(
            request, lambda tx, actor: workloads.get_workload_include_deleted(tx, actor, workload_id)
        )
        return Response(found)
    return versioned(
        request, await _door.read(request, lambda tx, actor: workloads.get_workload(tx, actor, workload_id))
    )


@patch(
    "/{workload_id:str}",
    summary="Change a workload's status, name, priority or resources",
    opt=budget(9, repeated=("workloads.find_access",)),
)
async def change_workload(
    request: ApiRequest, workload_id: PathId, data: JSONBody[ChangeWorkload]
) -> Response[Workload]:
    changes, if_match = changes_of(data), if_match_of(request)
    workload = await _door.write(
        request, lambda tx, actor: workloads.change_workload(tx, actor, workload_id, changes, if_match=if_match)
    )
    return versioned(request, workload)


router = Router(
    "/workloads",
    route_handlers=[list_workloads, create_workload, get_workload, change_workload],
    tags=["workloads"],
)

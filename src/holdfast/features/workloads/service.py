"""Admitting workloads under a project's quota, and following what becomes of them."""

from typing import Any

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import new_long_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version, require_version
from holdfast.db.engines.base import Transaction
from holdfast.db.include_deleted import get_include_deleted
from holdfast.db.statements import Query
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.images import service as images
from holdfast.features.images.references import parse_reference
from holdfast.features.projects import service as projects
from holdfast.features.projects.types import ProjectAccess
from holdfast.features.workloads import policy, queries
from holdfast.features.workloads.errors import (
    InvalidWorkloadError,
    PodNameTakenError,
    QuotaExceededError,
    WorkloadFinishedError,
    WorkloadForbiddenError,
    WorkloadNotFoundError,
    WorkloadStatusError,
)
from holdfast.features.workloads.kubernetes_objects import (
    check_namespace,
    check_pod_name,
    check_quantity,
    own_namespace,
    own_pod_name,
)
from holdfast.features.workloads.types import Workload, WorkloadAccess

DEFAULT_PRIORITY = 1000
_LONGEST_IMAGE = 512
_RESOURCES = ("priority", "resource_cpu", "resource_mem", "resource_gpu")
_CHANGEABLE = ("name", "status", *_RESOURCES)


class NewWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller asks to run. Names left out are derived from ids, so that nobody shares one."""

    project_id: str
    name: str
    image: str
    resource_cpu: str | None = None
    resource_mem: str | None = None
    resource_gpu: int | None = None
    priority: int = DEFAULT_PRIORITY
    namespace: str | None = None
    k8s_pod_name: str | None = None


async def create_workload(tx: Transaction, actor: Actor, asked: NewWorkload, *, clock: Clock = utc_now) -> Workload:
    """Admit a workload, as a member of the project's group: its image must be allowed and its GPUs fit the quota.

    Super administrators may run any image; the quota holds for them too.
    """
    workload_id, now = new_long_id(), clock()
    fields = _checked_fields(actor, asked, workload_id)
    project = await _lock_project(tx, actor, asked.project_id, gpus=asked.resource_gpu or 0)
    if not actor.is_super_admin:
        await images.require_image_allowed(tx, project.p_id, parse_reference(asked.image))
    if asked.resource_gpu:
        await _admit_gpus(tx, project, asked=asked.resource_gpu, held=0)
    inserted = await tx.insert_unless_present(
        queries.INSERT_WORKLOAD, id=workload_id, user_id=actor.user_id, created_at=now, updated_at=now, **fields
    )
    if not inserted:
        raise PodNameTakenError(fields["k8s_pod_name"])
    await audit.record(
        tx, actor, Action.CREATE, "workload", workload_id, label=asked.name, g_id=project.g_id, new=fields, clock=clock
    )
    return Workload(
        id=workload_id,
        user_id=actor.user_id,
        username=actor.username,
        full_name=actor.full_name,
        project_name=project.project_name,
        has_gpu=bool(asked.resource_gpu),
        created_at=now,
        updated_at=now,
        started_at=None,
        **fields,
    )


async def get_workload(tx: Transaction, actor: Actor, workload_id: str) -> Workload:
    """A workload of a project that the actor may see."""
    await _get_access(tx, actor, workload_id, queries.FIND_ACCESS)
    workload = await tx.fetch_one(queries.GET_WORKLOAD, workload_id=workload_id)
    if workload is None:
        raise WorkloadNotFoundError
    return workload


async def get_workload_include_deleted(tx: Transaction, actor: Actor, workload_id: str) -> Workload:
    """A workload, deleted or live; super administrators only."""
    return await get_include_deleted(
        tx, actor, queries.GET_WORKLOAD_INCLUDE_DELETED, WorkloadNotFoundError, workload_id=workload_id
    )


async def list_workloads(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[Workload]:
    """The workloads of the projects of the actor's groups; all for super administrators."""
    scope = "all" if actor.is_super_admin else "visible"
    return await queries.WORKLOADS.fetch_page(
        tx,
        page,
        scope=scope,
        cursor_key=cursor_key,
        sees_deleted=actor.is_super_admin,
        actor_id=actor.user_id,
        **filters,
    )


async def change_workload(
    tx: Transaction,
    actor: Actor,
    workload_id: str,
    changes: dict[str, Any],
    *,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> Workload:
    """Change a workload's name, status, priority and resources; what takes more GPUs is admitted as a new one is."""
    _check_amounts(changes)
    workload = await _get_access(tx, actor, workload_id, queries.FIND_ACCESS)
    if not policy.can_change(actor, workload):
        raise WorkloadForbiddenError
    project = None
    if changes.keys() & {"status", "resource_gpu"}:
        # The project before the workload, as a deletion locks them; the other way round the two could wait for each
        # other.
        project = await projects.get_access_alone(tx, actor, workload.project_id)
    workload = await _get_access(tx, actor, workload_id, queries.FIND_ACCESS_ALONE)
    require_version(workload.updated_at, if_match)
    old = {name: getattr(workload, name) for name in _CHANGEABLE}
    new = {name: value for name, value in changes.items() if old[name] != value}
    _check_change(workload, new)
    if project is not None:
        await _admit_change(tx, project, old, old | new)
    if new:
        await _update(tx, workload, old | new, clock)
        await audit.record(
            tx,
            actor,
            Action.UPDATE,
            "workload",
            workload_id,
            label=workload.name,
            g_id=workload.g_id,
            old={name: old[name] for name in new},
            new=new,
            clock=clock,
        )
    return await get_workload(tx, actor, workload_id)


def _checked_fields(actor: Actor, asked: NewWorkload, workload_id: str) -> dict[str, Any]:
    """The columns of a new workload, after everything that needs no database."""
    image = str(parse_reference(asked.image))
    if len(image) > _LONGEST_IMAGE:
        raise InvalidWorkloadError(f"an image reference has at most {_LONGEST_IMAGE} characters here")
    fields = msgspec.structs.asdict(asked)
    _check_amounts(fields)
    namespace = own_namespace(asked.project_id, actor.user_id)
    if asked.namespace is not None:
        check_namespace(asked.namespace, namespace)
    if asked.k8s_pod_name is not None:
        check_pod_name(asked.k8s_pod_name)
    return fields | {
        "image": image,
        "status": "Pending",
        "namespace": asked.namespace or namespace,
        "k8s_pod_name": asked.k8s_pod_name or own_pod_name(workload_id),
    }


def _check_amounts(fields: dict[str, Any]) -> None:
    for field in ("resource_cpu", "resource_mem"):
        if fields.get(field) is not None:
            check_quantity(field, fields[field])


async def _lock_project(tx: Transaction, actor: Actor, project_id: str, *, gpus: int) -> ProjectAccess:
    """The project, live to the end of the transaction; alone where its quota is at stake."""
    if gpus:
        return await projects.get_access_alone(tx, actor, project_id)
    return await projects.get_access_as_parent(tx, actor, project_id)


async def _admit_gpus(tx: Transaction, project: ProjectAccess, *, asked: int, held: int) -> None:
    """Refuse GPUs beyond the quota. `held` are those that the workload itself has of the ones in use."""
    in_use = await tx.fetch_count(queries.SUM_GPUS_IN_USE, project_id=project.p_id) - held
    if in_use + asked > project.gpu_quota:
        raise QuotaExceededError(asked=asked, in_use=in_use, quota=project.gpu_quota)


async def _admit_change(tx: Transaction, project: ProjectAccess, old: dict[str, Any], new: dict[str, Any]) -> None:
    held = policy.gpus_held(old["status"], old["resource_gpu"])
    wanted = policy.gpus_held(new["status"], new["resource_gpu"])
    if wanted > held:
        await _admit_gpus(tx, project, asked=wanted, held=held)


async def _get_access(tx: Transaction, actor: Actor, workload_id: str, query: Query[WorkloadAccess]) -> WorkloadAccess:
    workload = await tx.fetch_one(query, workload_id=workload_id, actor_id=actor.user_id)
    if workload is None or not policy.can_see(actor, workload):
        raise WorkloadNotFoundError
    return workload


def _check_change(workload: WorkloadAccess, new: dict[str, Any]) -> None:
    following = policy.FOLLOWING[workload.status]
    if "status" in new and new["status"] not in following:
        if not following:
            raise WorkloadStatusError(f"a workload that has {workload.status.lower()} stays so; make a new one")
        raise WorkloadStatusError(
            f"a workload that is {workload.status} can only become {' or '.join(sorted(following))}"
        )
    if workload.status in policy.FINISHED and new.keys() & set(_RESOURCES):
        raise WorkloadFinishedError(workload.status)


async def _update(tx: Transaction, workload: WorkloadAccess, fields: dict[str, Any], clock: Clock) -> None:
    now = clock()
    started_at = workload.started_at
    if started_at is None and fields["status"] == "Running":
        started_at = now
    await tx.execute(
        queries.UPDATE_WORKLOAD,
        workload_id=workload.id,
        new_started_at=started_at,
        new_updated_at=next_version(workload.updated_at, now),
        **{f"new_{name}": value for name, value in fields.items()},
    )

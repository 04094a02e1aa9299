"""Projects: what other features ask of them, and their own changes."""

from typing import Any

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import new_short_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version, require_version
from holdfast.db.engines.base import Transaction
from holdfast.db.include_deleted import get_include_deleted
from holdfast.db.statements import Query
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.groups.errors import GroupNotFoundError
from holdfast.features.projects import policy, queries
from holdfast.features.projects.errors import ProjectForbiddenError, ProjectNotFoundError
from holdfast.features.projects.types import OwningGroup, Project, ProjectAccess, ProjectForChange, ProjectSummary


async def get_access(tx: Transaction, actor: Actor, p_id: str) -> ProjectAccess:
    """A project that the actor may see, with their role; `ProjectNotFoundError` otherwise."""
    return await _get_access(tx, actor, p_id, queries.FIND_ACCESS)


async def get_access_as_parent(tx: Transaction, actor: Actor, p_id: str) -> ProjectAccess:
    """As `get_access`; the project cannot be deleted before the transaction ends."""
    return await _get_access(tx, actor, p_id, queries.FIND_ACCESS_AS_PARENT)


async def get_access_alone(tx: Transaction, actor: Actor, p_id: str) -> ProjectAccess:
    """As `get_access`; no other transaction that asks so gets past before this one ends."""
    return await _get_access(tx, actor, p_id, queries.FIND_ACCESS_ALONE)


async def create_project(
    tx: Transaction,
    actor: Actor,
    *,
    g_id: str,
    project_name: str,
    description: str | None = None,
    gpu_quota: int = 0,
    allow_privileged: bool = False,
    clock: Clock = utc_now,
) -> Project:
    """Make a project in a group. A quota above 0 and privileges take a super administrator."""
    grants = {"gpu_quota": gpu_quota, "allow_privileged": allow_privileged}
    group = await _get_group_for_new_project(tx, actor, g_id)
    _check_grants(actor, [name for name, value in grants.items() if value != policy.GRANTS[name]])
    now = clock()
    p_id = new_short_id()
    fields = {"g_id": g_id, "project_name": project_name, "description": description, **grants}
    await tx.execute(queries.INSERT_PROJECT, p_id=p_id, created_at=now, updated_at=now, **fields)
    await audit.record(
        tx, actor, Action.CREATE, "project", p_id, label=project_name, g_id=g_id, new=fields, clock=clock
    )
    return Project(
        p_id=p_id,
        project_name=project_name,
        description=description,
        g_id=g_id,
        group_name=group.group_name,
        gpu_quota=gpu_quota,
        allow_privileged=allow_privileged,
        deletion_protected=False,
        created_at=now,
        updated_at=now,
        gpus_in_use=0,
        config_file_count=0,
    )


async def get_project(tx: Transaction, actor: Actor, p_id: str) -> Project:
    """A project of one of the actor's groups; any, for a super administrator."""
    if actor.is_super_admin:
        project = await tx.fetch_one(queries.GET_PROJECT, p_id=p_id)
    else:
        project = await tx.fetch_one(queries.GET_PROJECT_AS_MEMBER, p_id=p_id, actor_id=actor.user_id)
    if project is None:
        raise ProjectNotFoundError
    return project


async def get_project_include_deleted(tx: Transaction, actor: Actor, p_id: str) -> Project:
    """A project, deleted or live; super administrators only."""
    return await get_include_deleted(tx, actor, queries.GET_PROJECT_INCLUDE_DELETED, ProjectNotFoundError, p_id=p_id)


async def list_projects(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[ProjectSummary]:
    """The projects of the actor's groups; all for super administrators."""
    scope = "all" if actor.is_super_admin else "visible"
    return await queries.PROJECTS.fetch_page(
        tx,
        page,
        scope=scope,
        cursor_key=cursor_key,
        sees_deleted=actor.is_super_admin,
        actor_id=actor.user_id,
        **filters,
    )


async def change_project(
    tx: Transaction,
    actor: Actor,
    p_id: str,
    changes: dict[str, Any],
    *,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> Project:
    """Change name and description (staff), protection (admins), quota and privileges (super administrators).

    A quota below what is in use is allowed: it holds back new workloads and touches none that runs.
    """
    project = await tx.fetch_one(queries.FIND_FOR_CHANGE, p_id=p_id, actor_id=actor.user_id)
    if project is None or not policy.can_see(actor, project.actor_role):
        raise ProjectNotFoundError
    if not policy.can_change(actor, project.actor_role):
        raise ProjectForbiddenError("only managers and admins of the project's group change it")
    new = {name: value for name, value in changes.items() if getattr(project, name) != value}
    _check_grants(actor, new)
    if "deletion_protected" in new and not policy.can_protect(actor, project.actor_role):
        raise ProjectForbiddenError("only admins of the project's group protect it from deletion, or lift that")
    require_version(project.updated_at, if_match)
    if new:
        await _update(tx, project, new, clock)
        await audit.record(
            tx,
            actor,
            Action.UPDATE,
            "project",
            p_id,
            label=project.project_name,
            g_id=project.g_id,
            old={name: getattr(project, name) for name in new},
            new=new,
            clock=clock,
        )
    return await get_project(tx, actor, p_id)


async def _get_access(tx: Transaction, actor: Actor, p_id: str, query: Query[ProjectAccess]) -> ProjectAccess:
    project = await tx.fetch_one(query, p_id=p_id, actor_id=actor.user_id)
    if project is None or not policy.can_see(actor, project.actor_role):
        raise ProjectNotFoundError
    return project


async def _get_group_for_new_project(tx: Transaction, actor: Actor, g_id: str) -> OwningGroup:
    group = await tx.fetch_one(queries.FIND_OWNING_GROUP, g_id=g_id, actor_id=actor.user_id)
    if group is None or not policy.can_see(actor, group.actor_role):
        raise GroupNotFoundError
    if not policy.can_create(actor, group.actor_role):
        raise ProjectForbiddenError("only admins of the group make projects in it")
    return group


def _check_grants(actor: Actor, fields: list[str] | dict[str, Any]) -> None:
    if not policy.can_grant(actor, fields):
        raise ProjectForbiddenError("only super administrators set gpu_quota and allow_privileged: ask one of them")


async def _update(tx: Transaction, project: ProjectForChange, new: dict[str, Any], clock: Clock) -> None:
    names = ("project_name", "description", "gpu_quota", "allow_privileged", "deletion_protected")
    values = {f"new_{name}": new.get(name, getattr(project, name)) for name in names}
    updated_at = next_version(project.updated_at, clock())
    await tx.execute(queries.UPDATE_PROJECT, p_id=project.p_id, new_updated_at=updated_at, **values)

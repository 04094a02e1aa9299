"""Config files: checking their text, storing it with its resources, and reading both.

A text is checked outside of the transaction that stores it, because that can take a third of a second:
`get_project_for_writing` or `get_file_for_writing`, then `check_content`, then `create_config_file` or
`replace_config_file`, which look at the rights and the project's rules again.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from holdfast.core.actor import Actor, require_scope
from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import new_long_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version, require_version
from holdfast.db.engines.base import Transaction
from holdfast.db.errors import UniqueViolationError
from holdfast.db.include_deleted import get_include_deleted
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Entry
from holdfast.features.config_files import audit_entries, policy, queries
from holdfast.features.config_files.errors import (
    ConfigFileForbiddenError,
    ConfigFileNotFoundError,
    FilenameTakenError,
    GpuQuotaError,
    ProjectRulesChangedError,
    ResourceNotFoundError,
)
from holdfast.features.config_files.filenames import check_filename
from holdfast.features.config_files.manifests import ParsedResource, parse_manifests
from holdfast.features.config_files.resource_changes import ChangedResource, compare_resources
from holdfast.features.config_files.types import (
    CheckedContent,
    ConfigFile,
    ConfigFileAccess,
    ConfigFileSummary,
    ProjectWithConfigFiles,
    Resource,
    ResourceSummary,
)
from holdfast.features.projects import service as projects
from holdfast.features.projects.errors import ProjectNotFoundError
from holdfast.features.projects.types import ProjectAccess

# A longer text leaves the event loop for a thread: reading takes about a millisecond for each 4,000 characters.
_LONGEST_ON_THE_LOOP = 4_000


async def get_project_for_writing(tx: Transaction, actor: Actor, p_id: str) -> ProjectAccess:
    """A project in which the actor may write config files."""
    return _for_writing(actor, await projects.get_access(tx, actor, p_id))


async def get_file_for_writing(tx: Transaction, actor: Actor, cf_id: str) -> ConfigFileAccess:
    """A config file that the actor may write, with what its project allows."""
    access = await _get_access(tx, actor, cf_id)
    if not policy.can_write(actor, access.actor_role):
        raise ConfigFileForbiddenError
    return access


async def check_content(content: str, *, allow_privileged: bool) -> CheckedContent:
    """Read the manifests of a text; `ManifestError` with every problem where it is refused."""
    if len(content) > _LONGEST_ON_THE_LOOP:
        return await asyncio.to_thread(_check_content, content, allow_privileged)
    return _check_content(content, allow_privileged)


async def create_config_file(
    tx: Transaction,
    actor: Actor,
    p_id: str,
    *,
    filename: str,
    checked: CheckedContent,
    clock: Clock = utc_now,
) -> ConfigFile:
    """Store a config file with its resources; all of it or nothing (X-04)."""
    check_filename(filename)
    project = _for_writing(actor, await projects.get_access_as_parent(tx, actor, p_id))
    _check_project_rules(project, checked)
    now = clock()
    cf_id = new_long_id()
    try:
        await tx.execute(
            queries.INSERT_CONFIG_FILE,
            cf_id=cf_id,
            filename=filename,
            content=checked.content,
            project_id=p_id,
            created_at=now,
            updated_at=now,
        )
    except UniqueViolationError as error:
        raise FilenameTakenError(filename) from error
    resources = await _insert_resources(tx, cf_id, checked, checked.resources, now)
    entries = audit_entries.entries_of_creation(cf_id, p_id, filename, checked.content, resources)
    await _record(tx, actor, project, entries, clock)
    return ConfigFile(
        cf_id=cf_id,
        filename=filename,
        project_id=p_id,
        content=checked.content,
        created_at=now,
        updated_at=now,
        resources=_by_name(resources),
    )


async def replace_config_file(
    tx: Transaction,
    actor: Actor,
    cf_id: str,
    *,
    checked: CheckedContent,
    filename: str | None = None,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> ConfigFile:
    """Replace the content, and the filename where one is given; all of it or nothing (X-04).

    Resources are matched by `kind/name` (F-04): those that stay keep their id, and their version too where nothing
    changed. Those that the new text lacks are soft-deleted as one deletion.
    """
    file, project = await _lock_for_change(tx, actor, cf_id, if_match)
    _check_project_rules(project, checked)
    filename = file.filename if filename is None else filename
    new = _changed_columns(file, filename=filename, content=checked.content)
    if "content" not in new:
        return await _update_file(tx, actor, file, project, new, clock=clock)
    stored = await tx.fetch_all(queries.FIND_RESOURCES_ALONE, cf_id=cf_id)
    changes = compare_resources(stored, checked)
    deletion_id = new_long_id()
    now = clock()
    await _delete_resources(tx, actor, file, changes.removed, deletion_id=deletion_id, now=now)
    changed = await _update_resources(tx, checked, changes.changed, now)
    added = await _insert_resources(tx, cf_id, checked, changes.added, now)
    await _record(tx, actor, project, audit_entries.entries_of_resources(changes, added, deletion_id), clock)
    file.resources = _by_name([*map(_summary_of, changes.unchanged), *changed, *added])
    return await _update_file(
        tx, actor, file, project, new, clock=clock, description=audit_entries.describe_changes(changes)
    )


async def rename_config_file(
    tx: Transaction,
    actor: Actor,
    cf_id: str,
    filename: str,
    *,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> ConfigFile:
    """Give a config file another name; its resources stay."""
    file, project = await _lock_for_change(tx, actor, cf_id, if_match)
    new = _changed_columns(file, filename=filename)
    return await _update_file(tx, actor, file, project, new, clock=clock)


async def get_config_file(tx: Transaction, actor: Actor, cf_id: str) -> ConfigFile:
    """A config file with its content and its resources."""
    if actor.is_super_admin:
        file = await tx.fetch_one(queries.GET_CONFIG_FILE, cf_id=cf_id)
    else:
        file = await tx.fetch_one(queries.GET_CONFIG_FILE_AS_MEMBER, cf_id=cf_id, actor_id=actor.user_id)
    if file is None:
        raise ConfigFileNotFoundError
    file.resources = await tx.fetch_all(queries.RESOURCES_OF_FILES, cf_ids=[cf_id])
    return file


async def get_config_file_include_deleted(tx: Transaction, actor: Actor, cf_id: str) -> ConfigFile:
    """A config file with its resources, deleted or live; super administrators only."""
    file = await get_include_deleted(
        tx, actor, queries.GET_CONFIG_FILE_INCLUDE_DELETED, ConfigFileNotFoundError, cf_id=cf_id
    )
    file.resources = await tx.fetch_all(queries.RESOURCES_OF_FILES_INCLUDE_DELETED, cf_ids=[cf_id])
    return file


async def list_config_files(
    tx: Transaction, actor: Actor, p_id: str, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[ConfigFileSummary]:
    """The config files of a project, without their content."""
    if page.include_deleted:
        await projects.get_project_include_deleted(tx, actor, p_id)
    else:
        await projects.get_access(tx, actor, p_id)
    return await queries.CONFIG_FILES.fetch_page(
        tx, page, cursor_key=cursor_key, sees_deleted=actor.is_super_admin, project_id=p_id, **filters
    )


async def get_project_with_config_files(tx: Transaction, actor: Actor, p_id: str) -> ProjectWithConfigFiles:
    """A project with its config files and their resources: three statements, however many there are (Q-05)."""
    require_scope(actor, "config-files", "read")
    project = await projects.get_project(tx, actor, p_id)
    files = await tx.fetch_all(queries.FILES_OF_PROJECT, project_id=p_id)
    by_file = {file.cf_id: file for file in files}
    for file in files:
        file.resources = []
    if files:
        for resource in await tx.fetch_all(queries.RESOURCES_OF_FILES, cf_ids=list(by_file)):
            by_file[resource.cf_id].resources.append(resource)
    return ProjectWithConfigFiles(**msgspec.structs.asdict(project), config_files=files)


async def list_resources(
    tx: Transaction, actor: Actor, cf_id: str, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[Resource]:
    """The Kubernetes objects of a config file."""
    if page.include_deleted:
        await get_include_deleted(
            tx, actor, queries.GET_CONFIG_FILE_INCLUDE_DELETED, ConfigFileNotFoundError, cf_id=cf_id
        )
    else:
        await _get_access(tx, actor, cf_id)
    return await queries.RESOURCES.fetch_page(
        tx, page, cursor_key=cursor_key, sees_deleted=actor.is_super_admin, cf_id=cf_id, **filters
    )


async def get_resource(tx: Transaction, actor: Actor, cf_id: str, r_id: str) -> Resource:
    """One Kubernetes object of a config file."""
    await _get_access(tx, actor, cf_id)
    resource = await tx.fetch_one(queries.GET_RESOURCE, cf_id=cf_id, r_id=r_id)
    if resource is None:
        raise ResourceNotFoundError
    return resource


async def get_resource_include_deleted(tx: Transaction, actor: Actor, cf_id: str, r_id: str) -> Resource:
    """One Kubernetes object of a config file, deleted or live; super administrators only."""
    return await get_include_deleted(
        tx, actor, queries.GET_RESOURCE_INCLUDE_DELETED, ResourceNotFoundError, cf_id=cf_id, r_id=r_id
    )


def _check_content(content: str, allow_privileged: bool) -> CheckedContent:
    resources = parse_manifests(content, allow_privileged=allow_privileged)
    canonical = {resource.name: resource.to_canonical_json() for resource in resources}
    return CheckedContent(content, allow_privileged, resources, canonical)


def _for_writing(actor: Actor, project: ProjectAccess) -> ProjectAccess:
    if not policy.can_write(actor, project.actor_role):
        raise ConfigFileForbiddenError
    return project


def _check_project_rules(project: ProjectAccess, checked: CheckedContent) -> None:
    if checked.allow_privileged and not project.allow_privileged:
        raise ProjectRulesChangedError
    problems = policy.find_quota_problems(checked.resources, project.gpu_quota)
    if problems:
        raise GpuQuotaError(problems)


async def _get_access(tx: Transaction, actor: Actor, cf_id: str) -> ConfigFileAccess:
    access = await tx.fetch_one(queries.FIND_ACCESS, cf_id=cf_id, actor_id=actor.user_id)
    if access is None or not policy.can_read(actor, access.actor_role):
        raise ConfigFileNotFoundError
    return access


async def _lock_for_change(
    tx: Transaction, actor: Actor, cf_id: str, if_match: str | None
) -> tuple[ConfigFile, ProjectAccess]:
    """The file, locked, and its project.

    The project is only read: its deletion must wait for this file's row, and a rule that it changes now counts for
    the next file.
    """
    file = await tx.fetch_one(queries.FIND_CONFIG_FILE_ALONE, cf_id=cf_id)
    if file is None:
        raise ConfigFileNotFoundError
    try:
        project = await projects.get_access(tx, actor, file.project_id)
    except ProjectNotFoundError:
        raise ConfigFileNotFoundError from None
    _for_writing(actor, project)
    require_version(file.updated_at, if_match)
    return file, project


def _changed_columns(file: ConfigFile, **columns: str) -> dict[str, str]:
    return {name: value for name, value in columns.items() if getattr(file, name) != value}


async def _update_file(
    tx: Transaction,
    actor: Actor,
    file: ConfigFile,
    project: ProjectAccess,
    new: dict[str, str],
    *,
    clock: Clock,
    description: str | None = None,
) -> ConfigFile:
    """Write the changed columns and their audit entry, and complete `file`, whose resources are there or are read."""
    if new:
        if "filename" in new:
            check_filename(new["filename"])
        old = {name: getattr(file, name) for name in new}
        file = msgspec.structs.replace(file, **new, updated_at=next_version(file.updated_at, clock()))
        await _write_file(tx, file)
        entry = audit_entries.entry_of_update(file, old=old, new=new, description=description)
        await _record(tx, actor, project, [entry], clock)
    if "content" not in new:
        file.resources = await tx.fetch_all(queries.RESOURCES_OF_FILES, cf_ids=[file.cf_id])
    return file


async def _write_file(tx: Transaction, file: ConfigFile) -> None:
    try:
        await tx.execute(
            queries.UPDATE_CONFIG_FILE,
            cf_id=file.cf_id,
            new_filename=file.filename,
            new_content=file.content,
            new_updated_at=file.updated_at,
        )
    except UniqueViolationError as error:
        raise FilenameTakenError(file.filename) from error


async def _insert_resources(
    tx: Transaction, cf_id: str, checked: CheckedContent, resources: Sequence[ParsedResource], now: datetime
) -> list[ResourceSummary]:
    made = [
        ResourceSummary(
            r_id=new_long_id(),
            cf_id=cf_id,
            type=resource.type,
            name=resource.name,
            description=resource.description,
            created_at=now,
            updated_at=now,
        )
        for resource in resources
    ]
    rows = [{**msgspec.structs.asdict(each), "parsed_yaml": msgspec.Raw(checked.canonical[each.name])} for each in made]
    await tx.execute_many(queries.INSERT_RESOURCE, rows)
    return made


async def _update_resources(
    tx: Transaction, checked: CheckedContent, changed: Sequence[ChangedResource], now: datetime
) -> list[ResourceSummary]:
    summaries = [
        msgspec.structs.replace(
            _summary_of(each.before),
            description=each.after.description,
            updated_at=next_version(each.before.updated_at, now),
        )
        for each in changed
    ]
    rows = [
        {
            "r_id": summary.r_id,
            "new_parsed_yaml": msgspec.Raw(checked.canonical[summary.name]),
            "new_description": summary.description,
            "new_updated_at": summary.updated_at,
        }
        for summary in summaries
    ]
    await tx.execute_many(queries.UPDATE_RESOURCE, rows)
    return summaries


async def _delete_resources(
    tx: Transaction,
    actor: Actor,
    file: ConfigFile,
    removed: Sequence[Resource],
    *,
    deletion_id: str,
    now: datetime,
) -> None:
    """Soft-delete what the new text lacks, as a deletion of its own, which retention purges like any other.

    It cannot be restored by itself: the file would hold what its text does not say.
    """
    if not removed:
        return
    counts = {"resources": len(removed)}
    await tx.execute(
        queries.INSERT_DELETION,
        id=deletion_id,
        root_type="config-file-update",
        root_id=file.cf_id,
        root_label=file.filename,
        actor_id=actor.user_id,
        actor_name=actor.username,
        reason="removed by an update of the file",
        state="deleted",
        planned_counts=counts,
        actual_counts=counts,
        created_at=now,
        updated_at=now,
    )
    r_ids = [resource.r_id for resource in removed]
    await tx.execute(queries.DELETE_RESOURCES, r_ids=r_ids, new_deleted_at=now, new_deletion_id=deletion_id)


async def _record(
    tx: Transaction, actor: Actor, project: ProjectAccess, entries: Sequence[Entry], clock: Clock
) -> None:
    owned = [msgspec.structs.replace(entry, g_id=project.g_id) for entry in entries]
    await audit.record_all(tx, actor, owned, clock)


def _summary_of(resource: Resource) -> ResourceSummary:
    return ResourceSummary(**{name: getattr(resource, name) for name in ResourceSummary.__struct_fields__})


def _by_name(resources: list[ResourceSummary]) -> list[ResourceSummary]:
    return sorted(resources, key=lambda resource: resource.name)

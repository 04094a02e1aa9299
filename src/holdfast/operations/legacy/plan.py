"""The plan of an import: the stages for the tables that an older database has, parents first."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Table

from holdfast.db.tables import (
    audit_logs,
    cluster_image_status,
    config_files,
    container_repositories,
    container_tags,
    course_workloads,
    form_messages,
    forms,
    group_list,
    image_allow_list,
    image_requests,
    project_list,
    resources,
    user_group,
    users,
)
from holdfast.db.tables.forms import FORM_STATUSES
from holdfast.db.tables.groups import ROLES
from holdfast.db.tables.images import IMAGE_REQUEST_STATUSES
from holdfast.db.tables.users import USER_STATUSES, USER_TYPES
from holdfast.db.tables.workloads import WORKLOAD_STATUSES
from holdfast.operations.legacy.fields import Field, Kind, Missing
from holdfast.operations.legacy.flavours import Catalogue
from holdfast.operations.legacy.names import key_text
from holdfast.operations.legacy.rules import audit, files, images, people, workloads
from holdfast.operations.legacy.source import Row, SourceTable
from holdfast.operations.legacy.stages import Clash, Stage

_MADE = ("create_at", "created_at")
_CHANGED = ("update_at", "updated_at")
# Keys of rows that one entry of the flat list becomes.
_FLAT = "allowed_images"


def plan_import(catalogue: Catalogue) -> list[Stage]:
    """All stages, in the order in which they run."""
    makers: tuple[Callable[[Catalogue], list[Stage]], ...] = (
        _users,
        _groups,
        _members,
        _projects,
        _files,
        _files_of_objects,
        _objects,
        _forms,
        _messages,
        _repositories,
        _flat_repositories,
        _tags,
        _flat_tags,
        _requests,
        _rules,
        _flat_rules,
        _statuses,
        _flat_statuses,
        _workloads,
        _entries,
    )
    return [stage for make in makers for stage in make(catalogue)]


def _users(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _text(users, "username"),
        _text(users, "password"),
        _text(users, "email"),
        _text(users, "full_name"),
        _choice(users, "type", USER_TYPES, "origin"),
        _choice(users, "status", USER_STATUSES, "offline"),
        *_times(users),
    )
    options: dict[str, Any] = {"clash": Clash.SUFFIX, "unique": ("username",), "twins": ("username",)}
    rules = {"adapt": people.adapt_user, "changed_since": people.changed_by_sign_in}
    return _stages(catalogue, users, ("u_id", "id"), fields, **rules, **options)


def _groups(catalogue: Catalogue) -> list[Stage]:
    fields = (_text(group_list, "group_name", default="group"), _text(group_list, "description"), *_times(group_list))
    return _stages(catalogue, group_list, ("g_id", "id"), fields, adapt=people.adapt_group)


def _members(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _reference(user_group, "u_id", "users", ("u_id", "user_id"), Missing.LEAVE_OUT),
        _reference(user_group, "g_id", "group_list", ("g_id", "group_id"), Missing.LEAVE_OUT),
        _choice(user_group, "role", ROLES, "user", ("role", "role_level")),
        *_times(user_group),
    )
    stages = []
    for name in catalogue.named("user_group"):
        pair = [_present(catalogue, name, "u_id", "user_id"), _present(catalogue, name, "g_id", "group_id")]
        has_own_key = "id" in catalogue.tables[name]
        stages.append(
            Stage(
                name="user_group",
                table=user_group,
                source=SourceTable(name, ("id",) if has_own_key else tuple(pair)),
                fields=fields,
                clash=Clash.MERGE,
                unique=("u_id", "g_id"),
                twins=tuple(pair) if has_own_key else (),
            )
        )
    return stages


def _projects(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _text(project_list, "project_name"),
        _text(project_list, "description"),
        _reference(project_list, "g_id", "group_list", ("g_id", "group_id"), Missing.ORPHAN),
        Field(column=project_list.c.gpu_quota, sources=("gpu_quota",), kind=Kind.INTEGER, default=0),
        *_times(project_list),
    )
    same = {"same_by": ("project_name", "g_id")}
    return _stages(catalogue, project_list, ("p_id", "id"), fields, adapt=people.adapt_project, **same)


def _files(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _text(config_files, "filename"),
        _text(config_files, "content", default=""),
        _reference(config_files, "project_id", "project_list", ("project_id", "p_id"), Missing.ORPHAN),
        *_times(config_files),
    )
    options: dict[str, Any] = {"clash": Clash.SUFFIX, "unique": ("project_id", "filename")}
    rules = {"adapt": files.adapt_file, "adapt_page": files.rebuild_contents}
    twins = {"twins": ("project_id", "filename")}
    return _stages(catalogue, config_files, ("cf_id", "id"), fields, **options, **rules, **twins)


def _files_of_objects(catalogue: Catalogue) -> list[Stage]:
    """Of the first schema, where an object had the name of its file and there were no files."""
    fields = (
        _text(config_files, "filename"),
        Field(column=config_files.c.content, default="", is_derived=True),
        _reference(config_files, "project_id", "project_list", ("p_id",), Missing.ORPHAN),
        *_times(config_files),
    )
    return [
        Stage(
            name="config_files",
            table=config_files,
            source=SourceTable(name, ("r_id",), grouped_by=("p_id", "filename")),
            fields=fields,
            clash=Clash.SUFFIX,
            unique=("project_id", "filename"),
            key_of=files.file_key_of_path,
            adapt=files.adapt_file_of_objects,
            adapt_page=files.rebuild_contents,
        )
        for name in catalogue.named("resources")
        if "p_id" in catalogue.tables[name] and "cf_id" not in catalogue.tables[name]
    ]


def _objects(catalogue: Catalogue) -> list[Stage]:
    stages = []
    for name in catalogue.named("resources"):
        is_of_file = "cf_id" in catalogue.tables[name]
        key_of = None if is_of_file else files.file_key_of_path
        fields = (
            _reference(resources, "cf_id", "config_files", ("cf_id",), Missing.LEAVE_OUT, key_of),
            Field(column=resources.c.type, sources=("type",), default=""),
            Field(column=resources.c.name, compose=files.object_name, default=""),
            Field(column=resources.c.parsed_yaml, sources=("parsed_yaml",), kind=Kind.JSON),
            _text(resources, "description"),
            *_times(resources),
        )
        options: dict[str, Any] = {"clash": Clash.SUFFIX, "unique": ("cf_id", "name"), "folded": ("type",)}
        options["twins"] = ("cf_id", "type", "name") if is_of_file else ("p_id", "filename", "type", "name")
        options["same_by"] = ("cf_id", "type", "name")
        found = _stages(catalogue, resources, ("r_id", "id"), fields, adapt=files.adapt_resource, **options)
        stages += [stage for stage in found if stage.source.name == name]
    return stages


def _forms(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _user(forms, "user_id"),
        _reference(forms, "project_id", "project_list", ("project_id",), Missing.ORPHAN),
        _text(forms, "title", default="(without a title)"),
        _text(forms, "description"),
        _text(forms, "tag"),
        _choice(forms, "status", FORM_STATUSES, "Pending"),
        *_times(forms),
    )
    return _stages(catalogue, forms, ("id",), fields)


def _messages(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _reference(form_messages, "form_id", "forms", ("form_id",), Missing.LEAVE_OUT),
        _user(form_messages, "user_id"),
        _text(form_messages, "content", default=""),
        Field(column=form_messages.c.created_at, sources=_MADE, kind=Kind.TIME),
    )
    return _stages(catalogue, form_messages, ("id",), fields)


def _repositories(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _text(container_repositories, "registry", default="docker.io"),
        _text(container_repositories, "namespace"),
        _text(container_repositories, "name", default=""),
        _text(container_repositories, "full_name", default=""),
        *_times(container_repositories),
    )
    options: dict[str, Any] = {"clash": Clash.MERGE_FOREIGN, "unique": ("full_name",), "twins": ("full_name",)}
    return _stages(catalogue, container_repositories, ("id",), fields, adapt=images.adapt_repository, **options)


def _tags(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _reference(container_tags, "repository_id", "container_repositories", ("repository_id",), Missing.LEAVE_OUT),
        _text(container_tags, "name", default=""),
        _text(container_tags, "digest"),
        Field(column=container_tags.c.size, sources=("size",), kind=Kind.INTEGER),
        Field(column=container_tags.c.pushed_at, sources=("pushed_at",), kind=Kind.TIME),
        *_times(container_tags),
    )
    options: dict[str, Any] = {"clash": Clash.MERGE_FOREIGN, "unique": ("repository_id", "name")}
    twins = {"twins": ("repository_id", "name")}
    return _stages(catalogue, container_tags, ("id",), fields, adapt=images.adapt_tag, **options, **twins)


def _requests(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _user(image_requests, "user_id"),
        _reference(image_requests, "project_id", "project_list", ("project_id",), Missing.ORPHAN),
        _text(image_requests, "input_registry"),
        _text(image_requests, "input_image_name", ("input_image_name", "name"), default=""),
        _text(image_requests, "input_tag", ("input_tag", "tag"), default=""),
        # What nobody knows is nothing that was granted.
        _choice(image_requests, "status", IMAGE_REQUEST_STATUSES, "rejected"),
        _reference(image_requests, "reviewer_id", "users", ("reviewer_id",), Missing.EMPTY),
        Field(column=image_requests.c.reviewed_at, sources=("reviewed_at",), kind=Kind.TIME),
        _text(image_requests, "reviewer_note", ("reviewer_note", "note")),
        *_times(image_requests),
    )
    return _stages(catalogue, image_requests, ("id",), fields, adapt=images.adapt_request)


def _rules(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _reference(image_allow_list, "project_id", "project_list", ("project_id",), Missing.ORPHAN),
        # Without its tag a rule would allow every tag.
        _reference(image_allow_list, "tag_id", "container_tags", ("tag_id",), Missing.LEAVE_OUT),
        _reference(image_allow_list, "repository_id", "container_repositories", ("repository_id",), Missing.LEAVE_OUT),
        _reference(image_allow_list, "request_id", "image_requests", ("request_id",), Missing.EMPTY),
        _user(image_allow_list, "created_by"),
        Field(column=image_allow_list.c.is_enabled, sources=("is_enabled",), kind=Kind.FLAG, default=False),
        *_times(image_allow_list),
    )
    return _stages(catalogue, image_allow_list, ("id",), fields)


def _statuses(catalogue: Catalogue) -> list[Stage]:
    fields = (
        _reference(cluster_image_status, "tag_id", "container_tags", ("tag_id",), Missing.LEAVE_OUT),
        Field(column=cluster_image_status.c.is_pulled, sources=("is_pulled",), kind=Kind.FLAG, default=False),
        Field(column=cluster_image_status.c.last_pulled_at, sources=("last_pulled_at",), kind=Kind.TIME),
        _text(cluster_image_status, "pull_error"),
        *_times(cluster_image_status),
    )
    options: dict[str, Any] = {"clash": Clash.MERGE, "unique": ("tag_id",), "twins": ("tag_id",)}
    return _stages(catalogue, cluster_image_status, ("id",), fields, **options)


def _flat_repositories(catalogue: Catalogue) -> list[Stage]:
    names = ("registry", "namespace", "name", "full_name")
    derived = tuple(Field(column=container_repositories.c[name], default="", is_derived=True) for name in names)
    fields = (*derived, *_times(container_repositories))
    rules: dict[str, Any] = {"adapt": images.adapt_flat_repository, "clash": Clash.MERGE, "unique": ("full_name",)}
    rules["follows_deletions"] = False
    return _flat_stages(catalogue, container_repositories, fields, **rules)


def _flat_tags(catalogue: Catalogue) -> list[Stage]:
    derived = (
        Field(column=container_tags.c.name, default="", is_derived=True),
        *(Field(column=container_tags.c[name], is_derived=True) for name in ("digest", "size", "pushed_at")),
    )
    owner = _reference(container_tags, "repository_id", "container_repositories", (), Missing.LEAVE_OUT, _flat_key)
    fields = (owner, *derived, *_times(container_tags))
    rules: dict[str, Any] = {"adapt": images.adapt_flat_tag, "clash": Clash.MERGE, "unique": ("repository_id", "name")}
    rules["follows_deletions"] = False
    return _flat_stages(catalogue, container_tags, fields, **rules)


def _flat_rules(catalogue: Catalogue) -> list[Stage]:
    table = image_allow_list
    fields = (
        _reference(table, "project_id", "project_list", (), Missing.ORPHAN, images.flat_project_key),
        _reference(table, "tag_id", "container_tags", (), Missing.LEAVE_OUT, _flat_key),
        _reference(table, "repository_id", "container_repositories", (), Missing.LEAVE_OUT, _flat_key),
        _user(table, "created_by"),
        Field(column=table.c.is_enabled, kind=Kind.FLAG, default=True, is_derived=True),
        *_times(table),
    )
    rules = {"adapt": images.adapt_flat_rule, "constants": {"request_id": None}}
    return _flat_stages(catalogue, image_allow_list, fields, **rules)


def _flat_statuses(catalogue: Catalogue) -> list[Stage]:
    table = cluster_image_status
    fields = (
        _reference(table, "tag_id", "container_tags", (), Missing.LEAVE_OUT, _flat_key),
        Field(column=table.c.is_pulled, sources=("is_pulled",), kind=Kind.FLAG, default=False),
        *_times(table),
    )
    rules: dict[str, Any] = {"adapt": images.adapt_flat_status, "clash": Clash.MERGE, "unique": ("tag_id",)}
    rules |= {"constants": {"last_pulled_at": None, "pull_error": None}, "follows_deletions": False}
    return _flat_stages(catalogue, table, fields, only_where=_is_pulled, **rules)


def _workloads(catalogue: Catalogue) -> list[Stage]:
    table = course_workloads
    fields = (
        _user(table, "user_id"),
        _reference(table, "project_id", "project_list", ("project_id",), Missing.ORPHAN),
        *(_text(table, name, default="") for name in ("name", "namespace", "image", "k8s_pod_name")),
        _choice(table, "status", WORKLOAD_STATUSES, "Unknown"),
        Field(column=table.c.priority, sources=("priority",), kind=Kind.INTEGER, default=1000),
        *(_text(table, name) for name in ("resource_cpu", "resource_mem")),
        Field(column=table.c.resource_gpu, sources=("resource_gpu",), kind=Kind.INTEGER),
        Field(column=table.c.started_at, sources=("started_at",), kind=Kind.TIME),
        *_times(table),
    )
    options: dict[str, Any] = {"clash": Clash.SUFFIX, "unique": ("k8s_pod_name",), "twins": ("k8s_pod_name",)}
    return _stages(catalogue, table, ("id",), fields, adapt=workloads.adapt_workload, **options)


def _entries(catalogue: Catalogue) -> list[Stage]:
    table = audit_logs
    fields = (
        _reference(table, "user_id", "users", ("user_id",), Missing.KEEP),
        _text(table, "action", default="update"),
        _text(table, "resource_type", default=""),
        _text(table, "resource_id", default=""),
        Field(column=table.c.old_data, sources=("old_data",), kind=Kind.JSON),
        Field(column=table.c.new_data, sources=("new_data",), kind=Kind.JSON),
        _text(table, "ip_address"),
        _text(table, "user_agent"),
        _text(table, "description"),
        Field(column=table.c.created_at, sources=_MADE, kind=Kind.TIME),
    )
    rules = {"adapt": audit.adapt_entry, "adapt_page": audit.resolve_entries}
    constants = {"constants": {"actor_name": "", "resource_label": None, "g_id": None}}
    return _stages(catalogue, table, ("id",), fields, **rules, **constants)


def _stages(
    catalogue: Catalogue, table: Table, keys: tuple[str, ...], fields: tuple[Field, ...], **options: Any
) -> list[Stage]:
    stages: list[Stage] = []
    same_by = options.pop("same_by", ())
    newer: SourceTable | None = None
    for name in catalogue.named(table.name):
        source = SourceTable(name, (_present(catalogue, name, *keys),))
        columns = catalogue.tables[name]
        twins = tuple(column for column in options.get("twins", ()) if column in columns)
        own = {**options, "twins": twins if len(twins) == len(options.get("twins", ())) else ()}
        stages.append(
            Stage(name=str(table.name), table=table, source=source, fields=fields, newer=newer, same_by=same_by, **own)
        )
        newer = newer or source
    return stages


def _flat_stages(catalogue: Catalogue, table: Table, fields: tuple[Field, ...], **options: Any) -> list[Stage]:
    return [
        Stage(
            name=str(table.name),
            table=table,
            source=SourceTable(name, ("id",)),
            fields=fields,
            key_of=_flat_key,
            **options,
        )
        for name in catalogue.named("allowed_images")
    ]


def _flat_key(row: Row) -> str:
    return key_text((_FLAT, row["id"]))


def _is_pulled(row: Row) -> bool:
    return bool(row.get("is_pulled"))


def _present(catalogue: Catalogue, name: str, *columns: str) -> str:
    return catalogue.key_column(name, *columns) or columns[0]


def _text(table: Table, name: str, sources: tuple[str, ...] = (), *, default: str | None = None) -> Field:
    return Field(column=table.c[name], sources=sources or (name,), default=default)


def _choice(table: Table, name: str, choices: tuple[str, ...], default: str, sources: tuple[str, ...] = ()) -> Field:
    return Field(column=table.c[name], sources=sources or (name,), kind=Kind.CHOICE, choices=choices, default=default)


def _reference(  # noqa: PLR0917
    table: Table,
    name: str,
    parent: str,
    sources: tuple[str, ...],
    missing: Missing,
    key_of: Callable[[Row], str | None] | None = None,
) -> Field:
    return Field(
        column=table.c[name], sources=sources, kind=Kind.REFERENCE, parent=parent, missing=missing, key_of=key_of
    )


def _user(table: Table, name: str) -> Field:
    return _reference(table, name, "users", (name,), Missing.ORPHAN)


def _times(table: Table) -> tuple[Field, Field]:
    return (
        Field(column=table.c.created_at, sources=_MADE, kind=Kind.TIME),
        Field(column=table.c.updated_at, sources=_CHANGED, kind=Kind.TIME),
    )

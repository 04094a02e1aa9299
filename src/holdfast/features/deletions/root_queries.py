"""For each type of root: what decides over it, in one statement.

The same statement serves a root that is live and one that bears the deletion to be undone: the parameter `deletion_id`
is empty for the first.
"""

from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Table, bindparam, case, exists, null, or_, select

from holdfast.db.lifecycle.closure import closure_of
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.statements import Query, live
from holdfast.db.tables import (
    config_files,
    container_repositories,
    container_tags,
    course_workloads,
    deletions,
    form_messages,
    forms,
    group_list,
    image_allow_list,
    image_requests,
    project_list,
    user_group,
    users,
)
from holdfast.features.deletions.types import RootAccess
from holdfast.features.groups.queries import role_of_actor

_deletion_id = bindparam("deletion_id", type_=deletions.c.id.type)
_actor_id = bindparam("actor_id", type_=users.c.u_id.type)
_COLUMNS = ("label", "parent_id", "updated_at", "g_id", "owner_id", "viewer_id", "actor_role", "status")


def _live_or_of_the_deletion(table: Any) -> ColumnElement[bool]:
    return or_(live(table), table.c.deletion_id == _deletion_id)


def _access(root_type: str, *joined: tuple[Table, ColumnElement[bool], bool], **columns: Any) -> Query[RootAccess]:
    """`joined`: a table, its condition, and whether a root without it is found too."""
    table = GRAPH.root_types[root_type]
    source: Any = table
    for other, condition, is_optional in joined:
        source = source.join(other, condition, isouter=is_optional)
    selected = [columns.get(name, null()).label(name) for name in _COLUMNS]
    found = select(*selected).select_from(source).where(closure_of(table).is_root(), _live_or_of_the_deletion(table))
    return Query(f"deletions.find_{root_type.replace('-', '_')}_include_deleted", found, RootAccess)


def _role_in_group_of(project_id: ColumnElement[Any]) -> ScalarSelect[str | None]:
    return (
        select(role_of_actor(project_list.c.g_id))
        .where(project_list.c.p_id == project_id)
        .correlate_except(project_list)
        .scalar_subquery()
    )


def _group_of(project_id: ColumnElement[Any]) -> ScalarSelect[str]:
    return (
        select(project_list.c.g_id)
        .where(project_list.c.p_id == project_id)
        .correlate_except(project_list)
        .scalar_subquery()
    )


def _of_project(project_id: ColumnElement[Any]) -> dict[str, Any]:
    return {"g_id": _group_of(project_id), "actor_role": _role_in_group_of(project_id)}


def _role_before_the_deletion() -> ScalarSelect[str]:
    """The caller's role in the group, also where the deletion took it with the group."""
    membership = user_group.alias("own_membership")
    return (
        select(membership.c.role)
        .where(
            membership.c.u_id == _actor_id,
            membership.c.g_id == group_list.c.g_id,
            _live_or_of_the_deletion(membership),
        )
        .scalar_subquery()
    )


def _is_administered() -> ColumnElement[bool]:
    """Whether the caller administers a group that the user is in."""
    own, theirs = user_group.alias("own_membership"), user_group.alias("their_membership")
    return exists().where(
        own.c.u_id == _actor_id,
        own.c.role == "admin",
        own.c.g_id == theirs.c.g_id,
        theirs.c.u_id == users.c.u_id,
        live(own),
        live(theirs),
    )


_rules_repository = (
    container_repositories,
    container_repositories.c.id == image_allow_list.c.repository_id,
    False,
)
_rules_tag = (container_tags, container_tags.c.id == image_allow_list.c.tag_id, True)

FIND_ROOT: dict[str, Query[RootAccess]] = {
    "user": _access(
        "user",
        label=users.c.username,
        updated_at=users.c.updated_at,
        owner_id=users.c.u_id,
        actor_role=case((_is_administered(), "admin")),
    ),
    "group": _access(
        "group",
        label=group_list.c.group_name,
        updated_at=group_list.c.updated_at,
        g_id=group_list.c.g_id,
        actor_role=_role_before_the_deletion(),
    ),
    "member": _access(
        "member",
        (users, users.c.u_id == user_group.c.u_id, False),
        (group_list, group_list.c.g_id == user_group.c.g_id, False),
        label=users.c.username.concat(" in ").concat(group_list.c.group_name),
        parent_id=user_group.c.g_id,
        updated_at=user_group.c.updated_at,
        g_id=user_group.c.g_id,
        owner_id=user_group.c.u_id,
        actor_role=role_of_actor(user_group.c.g_id),
        status=user_group.c.role,
    ),
    "project": _access(
        "project",
        label=project_list.c.project_name,
        parent_id=project_list.c.g_id,
        updated_at=project_list.c.updated_at,
        g_id=project_list.c.g_id,
        actor_role=role_of_actor(project_list.c.g_id),
    ),
    "config-file": _access(
        "config-file",
        label=config_files.c.filename,
        parent_id=config_files.c.project_id,
        updated_at=config_files.c.updated_at,
        **_of_project(config_files.c.project_id),
    ),
    "form": _access(
        "form",
        label=forms.c.title,
        parent_id=forms.c.project_id,
        updated_at=forms.c.updated_at,
        owner_id=forms.c.user_id,
        **_of_project(forms.c.project_id),
    ),
    "form-message": _access(
        "form-message",
        (forms, forms.c.id == form_messages.c.form_id, False),
        label=forms.c.title,
        parent_id=form_messages.c.form_id,
        owner_id=form_messages.c.user_id,
        viewer_id=forms.c.user_id,
        **_of_project(forms.c.project_id),
    ),
    "image-request": _access(
        "image-request",
        label=image_requests.c.input_image_name.concat(":").concat(image_requests.c.input_tag),
        parent_id=image_requests.c.project_id,
        updated_at=image_requests.c.updated_at,
        owner_id=image_requests.c.user_id,
        status=image_requests.c.status,
        **_of_project(image_requests.c.project_id),
    ),
    "image": _access(
        "image",
        _rules_repository,
        _rules_tag,
        label=case(
            (container_tags.c.id.is_(None), container_repositories.c.full_name),
            else_=container_repositories.c.full_name.concat(":").concat(container_tags.c.name),
        ),
        parent_id=image_allow_list.c.repository_id,
        updated_at=image_allow_list.c.updated_at,
        **_of_project(image_allow_list.c.project_id),
    ),
    "repository": _access(
        "repository", label=container_repositories.c.full_name, updated_at=container_repositories.c.updated_at
    ),
    "tag": _access(
        "tag",
        (container_repositories, container_repositories.c.id == container_tags.c.repository_id, False),
        label=container_repositories.c.full_name.concat(":").concat(container_tags.c.name),
        parent_id=container_tags.c.repository_id,
        updated_at=container_tags.c.updated_at,
    ),
    "workload": _access(
        "workload",
        label=course_workloads.c.name,
        parent_id=course_workloads.c.project_id,
        updated_at=course_workloads.c.updated_at,
        owner_id=course_workloads.c.user_id,
        status=course_workloads.c.status,
        **_of_project(course_workloads.c.project_id),
    ),
}

"""The statements of deletions: their rows, what must be decided first, and what stands against them."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    case,
    cast,
    func,
    insert,
    not_,
    null,
    or_,
    select,
    update,
)

from holdfast.db.lifecycle.closure import closure_of
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.purge import PROCEDURE_LEASE
from holdfast.db.listing import Listing
from holdfast.db.statements import Command, Count, Query, any_of, contains_text, live, new_value, parameters_for
from holdfast.db.tables import (
    config_files,
    container_repositories,
    container_tags,
    course_workloads,
    deletions,
    group_list,
    image_allow_list,
    project_list,
    user_group,
    users,
)
from holdfast.db.tables.groups import SUPER_GROUP_ID
from holdfast.db.tables.workloads import STATUSES_HOLDING_GPUS
from holdfast.features.deletions.types import (
    CountedItem,
    DeletionRow,
    GpuSum,
    ProjectQuota,
    PurgedSince,
    ReturningFile,
    RowId,
)

# How many things a decision, or an error, names.
MOST_NAMED = 20

_deletion_id = bindparam("deletion_id", type_=deletions.c.id.type)
# From the first removed row on `actual_counts` are what is gone; before there is a verified bundle, nothing is.
_has_removed = or_(
    deletions.c.state == "purged",
    and_(
        deletions.c.state.in_(("purging", "failed")),
        deletions.c.bundle_verified_at.is_not(None),
        not_(func.coalesce(deletions.c.lease_token, "").startswith(PROCEDURE_LEASE)),
    ),
)
_DELETION = select(
    deletions.c.id,
    deletions.c.root_type,
    deletions.c.root_id,
    deletions.c.root_label,
    deletions.c.actor_id,
    deletions.c.actor_name,
    deletions.c.reason,
    deletions.c.state,
    deletions.c.planned_counts,
    deletions.c.actual_counts,
    case((_has_removed, deletions.c.actual_counts), else_=null()).label("removed_counts"),
    deletions.c.set_null_counts,
    deletions.c.bundle_path,
    deletions.c.bundle_sha256,
    deletions.c.bundle_verified_at,
    deletions.c.purge_after,
    deletions.c.failure,
    deletions.c.purged_with,
    deletions.c.created_at,
    deletions.c.updated_at,
)


def _equals(column: str) -> ColumnElement[bool]:
    return deletions.c[column] == bindparam(column, type_=deletions.c[column].type)


GET_DELETION = Query("deletions.get_deletion", _DELETION.where(deletions.c.id == _deletion_id), DeletionRow)
# One caller at a time restores a deletion or asks for its purge.
LOCK_DELETION = Query(
    "deletions.lock_deletion", _DELETION.where(deletions.c.id == _deletion_id).with_for_update(), DeletionRow
)
DELETIONS = Listing(
    "deletions",
    _DELETION,
    DeletionRow,
    row_id=deletions.c.id,
    sorts={"created_at": deletions.c.created_at},
    default_sort="-created_at",
    filters={name: _equals(name) for name in ("state", "root_type", "root_id", "actor_id")},
    scopes={"all": None, "own": deletions.c.actor_id == bindparam("own_id", type_=deletions.c.actor_id.type)},
    search=contains_text(deletions.c.root_label, "q"),
    count_select=select(deletions.c.id),
)
INSERT_DELETION = Command(
    "deletions.insert_deletion",
    insert(deletions).values(
        parameters_for(
            deletions,
            "id",
            "root_type",
            "root_id",
            "root_label",
            "actor_id",
            "actor_name",
            "reason",
            "state",
            "planned_counts",
            "actual_counts",
            "set_null_counts",
            "purge_after",
            "created_at",
            "updated_at",
        )
    ),
)
SET_RESTORED = Command(
    "deletions.set_state",
    # A bundle that was prepared and not used says less than the live rows from now on.
    update(deletions)
    .where(deletions.c.id == _deletion_id)
    .values(
        new_value(deletions, "state", "updated_at")
        | {name: null() for name in ("bundle_path", "bundle_sha256", "bundle_verified_at")}
    ),
)

COUNT_SUPER_SEATS = Query(
    "deletions.count_super_seats",
    select(func.count().label("value"))
    .select_from(user_group)
    .where(
        user_group.c.u_id == bindparam("u_id", type_=users.c.u_id.type),
        user_group.c.g_id == SUPER_GROUP_ID,
        user_group.c.role == "admin",
        live(user_group),
    ),
    Count,
)


def _first_items(found: Select[Any], row_id: ColumnElement[str]) -> Select[Any]:
    """The first rows by id, each with the number of all."""
    return found.add_columns(func.count().over().label("total")).order_by(row_id).limit(MOST_NAMED)


def _beneath(table: Table, root: Table, *columns: ColumnElement[Any]) -> list[Select[Any]]:
    """Columns of a table's live rows that go with a root: one statement for each foreign key that leads to them."""
    closure = closure_of(root)
    if table is root:
        return [select(*columns).where(closure.is_root(), live(table))]
    return [closure.reached_by(edge, *columns).where(live(table)) for edge in closure.edges_into(table)]


def _word(root_type: str) -> str:
    return root_type.replace("-", "_")


_workload_columns = (course_workloads.c.id, course_workloads.c.name.label("label"))
# By type of root: the pending and running workloads that would go.
RUNNING_WORKLOADS: dict[str, list[Query[CountedItem]]] = {
    root_type: [
        Query(
            f"deletions.running_workloads(of_{_word(root_type)})",
            _first_items(found.where(course_workloads.c.status.in_(STATUSES_HOLDING_GPUS)), course_workloads.c.id),
            CountedItem,
        )
        for found in _beneath(course_workloads, root, *_workload_columns)
    ]
    for root_type, root in GRAPH.root_types.items()
    if course_workloads in GRAPH.beneath(root)
}

_key_0 = bindparam("key_0", type_=users.c.u_id.type)
# A rule whose repository or tag is deleted counts for nothing, but comes back with them.
ENABLED_RULES = Query(
    "deletions.enabled_rules_include_deleted",
    _first_items(
        select(
            image_allow_list.c.id,
            case(
                (container_tags.c.id.is_(None), container_repositories.c.full_name),
                else_=container_repositories.c.full_name.concat(":").concat(container_tags.c.name),
            ).label("label"),
        )
        .join(container_repositories, container_repositories.c.id == image_allow_list.c.repository_id)
        .outerjoin(container_tags, container_tags.c.id == image_allow_list.c.tag_id)
        .where(image_allow_list.c.created_by == _key_0, image_allow_list.c.is_enabled, live(image_allow_list)),
        image_allow_list.c.id,
    ),
    CountedItem,
)

_others = user_group.alias("other_admins")
_other_admin_exists = (
    select(_others.c.u_id)
    .join(users, users.c.u_id == _others.c.u_id)
    .where(
        _others.c.g_id == user_group.c.g_id,
        _others.c.u_id != user_group.c.u_id,
        _others.c.role == "admin",
        live(_others),
        live(users),
        users.c.status != "delete",
    )
    .correlate(user_group)
    .exists()
)
# Group super is not among them: its last admin is not deleted at all.
_LAST_ADMIN = (
    select(group_list.c.g_id.label("id"), group_list.c.group_name.label("label"))
    .join(user_group, user_group.c.g_id == group_list.c.g_id)
    .where(
        user_group.c.u_id == _key_0,
        user_group.c.g_id != SUPER_GROUP_ID,
        user_group.c.role == "admin",
        live(user_group),
        live(group_list),
        ~_other_admin_exists,
    )
)
LAST_ADMIN: dict[str, Query[CountedItem]] = {
    "user": Query("deletions.last_admin(of_user)", _first_items(_LAST_ADMIN, group_list.c.g_id), CountedItem),
    "member": Query(
        "deletions.last_admin(of_member)",
        _first_items(
            _LAST_ADMIN.where(user_group.c.g_id == bindparam("key_1", type_=user_group.c.g_id.type)),
            group_list.c.g_id,
        ),
        CountedItem,
    ),
}

_of_admin = user_group.c.u_id == _key_0
_ADMINISTERED = (
    select(group_list.c.g_id.label("id"))
    .join(user_group, user_group.c.g_id == group_list.c.g_id)
    .where(_of_admin, user_group.c.role == "admin", live(user_group), live(group_list))
    .order_by(group_list.c.g_id)
    .with_for_update(of=group_list, key_share=True)
)
# Two admins who leave at once would each count on the other: the second waits here, as for any change of members.
LOCK_ADMINISTERED: dict[str, Query[RowId]] = {
    "user": Query("deletions.lock_administered(by_user)", _ADMINISTERED, RowId),
    "member": Query(
        "deletions.lock_administered(by_member)",
        _ADMINISTERED.where(user_group.c.g_id == bindparam("key_1", type_=user_group.c.g_id.type)),
        RowId,
    ),
}

_LABELS = {users: users.c.username, group_list: group_list.c.group_name, project_list: project_list.c.project_name}
# By type of root: for each table with the flag, its protected rows that would go.
PROTECTED: dict[str, list[tuple[Table, Query[CountedItem]]]] = {
    root_type: [
        (
            table,
            Query(
                f"deletions.protected(of_{_word(root_type)},{table.name})",
                _first_items(found.where(table.c.deletion_protected), next(iter(table.primary_key))),
                CountedItem,
            ),
        )
        for table in GRAPH.beneath(root)
        if "deletion_protected" in table.c
        for found in _beneath(table, root, next(iter(table.primary_key)).label("id"), _LABELS[table].label("label"))
    ]
    for root_type, root in GRAPH.root_types.items()
}

# The live projects to which a deletion's workloads would come back. They are locked, in order, as an admission does.
LOCK_PROJECTS_OF_WORKLOADS = Query(
    "deletions.lock_projects_of_workloads_include_deleted",
    select(project_list.c.p_id, project_list.c.project_name, project_list.c.gpu_quota)
    .where(
        project_list.c.p_id.in_(
            select(course_workloads.c.project_id)
            .where(
                course_workloads.c.deletion_id == _deletion_id,
                course_workloads.c.status.in_(STATUSES_HOLDING_GPUS),
                course_workloads.c.resource_gpu > 0,
            )
            .scalar_subquery()
        ),
        live(project_list),
    )
    .order_by(project_list.c.p_id)
    .with_for_update(of=project_list),
    ProjectQuota,
)
_gpus = cast(func.coalesce(func.sum(course_workloads.c.resource_gpu), 0), BigInteger).label("gpus")
_GPUS = (
    select(course_workloads.c.project_id, _gpus)
    .where(any_of(course_workloads.c.project_id, "project_ids"), course_workloads.c.status.in_(STATUSES_HOLDING_GPUS))
    .group_by(course_workloads.c.project_id)
)
GPUS_IN_USE = Query("deletions.gpus_in_use", _GPUS.where(live(course_workloads)), GpuSum)
# Rows beneath a deletion bore theirs before it was made.
PURGED_SINCE = Query(
    "deletions.find_purged_since",
    select(deletions.c.id, deletions.c.root_type, deletions.c.root_label, deletions.c.planned_counts)
    .where(
        deletions.c.state == "purged",
        deletions.c.purged_with.is_(None),
        deletions.c.created_at >= bindparam("since", type_=deletions.c.created_at.type),
    )
    .order_by(deletions.c.created_at, deletions.c.id)
    .limit(100),
    PurgedSince,
)
# A project that comes back itself is as it was, with what it allowed.
FILES_COMING_BACK_TO_STRICT_PROJECTS = Query(
    "deletions.find_files_coming_back_include_deleted",
    select(config_files.c.cf_id, config_files.c.filename, config_files.c.content, project_list.c.project_name)
    .join_from(config_files, project_list, config_files.c.project_id == project_list.c.p_id)
    .where(config_files.c.deletion_id == _deletion_id, live(project_list), not_(project_list.c.allow_privileged)),
    ReturningFile,
)
GPUS_COMING_BACK = Query(
    "deletions.gpus_coming_back_include_deleted",
    _GPUS.where(course_workloads.c.deletion_id == _deletion_id),
    GpuSum,
)

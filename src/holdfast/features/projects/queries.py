"""The statements of projects."""

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, cast, func, insert, select, update

from holdfast.db.include_deleted import with_deleted
from holdfast.db.listing import Listing
from holdfast.db.statements import (
    Command,
    Query,
    contains_text,
    live,
    locked_as_parent,
    new_value,
    parameters_for,
)
from holdfast.db.tables import config_files, course_workloads, group_list, project_list
from holdfast.features.groups.queries import groups_of_actor, role_of_actor
from holdfast.features.projects.types import OwningGroup, Project, ProjectAccess, ProjectForChange, ProjectSummary

_p_id = bindparam("p_id", type_=project_list.c.p_id.type)
_g_id = bindparam("g_id", type_=group_list.c.g_id.type)
_is_member = project_list.c.g_id.in_(groups_of_actor())

_SUMMARY = (
    select(
        project_list.c.p_id,
        project_list.c.project_name,
        project_list.c.description,
        project_list.c.g_id,
        group_list.c.group_name,
        project_list.c.gpu_quota,
        project_list.c.allow_privileged,
        project_list.c.deletion_protected,
        project_list.c.created_at,
        project_list.c.updated_at,
    )
    .select_from(project_list)
    .join(group_list, group_list.c.g_id == project_list.c.g_id)
    .where(live(project_list))
)

PROJECTS = Listing(
    "projects",
    _SUMMARY,
    ProjectSummary,
    row_id=project_list.c.p_id,
    sorts={
        "project_name": project_list.c.project_name,
        "created_at": project_list.c.created_at,
        "gpu_quota": project_list.c.gpu_quota,
    },
    default_sort="project_name",
    filters={"g_id": project_list.c.g_id == _g_id},
    scopes={"all": None, "visible": _is_member},
    search=contains_text(project_list.c.project_name, "q"),
    count_select=select(project_list.c.p_id).where(live(project_list)),
)


def _number_of(counted: Select[Any], name: str) -> ColumnElement[int]:
    return counted.correlate(project_list).scalar_subquery().label(name)


_PROJECT = _SUMMARY.add_columns(
    _number_of(
        # MariaDB sums to DECIMAL, PostgreSQL to bigint.
        select(cast(func.coalesce(func.sum(course_workloads.c.resource_gpu), 0), BigInteger)).where(
            course_workloads.c.project_id == project_list.c.p_id,
            course_workloads.c.status.in_(("Pending", "Running")),
            live(course_workloads),
        ),
        "gpus_in_use",
    ),
    _number_of(
        select(func.count())
        .select_from(config_files)
        .where(config_files.c.project_id == project_list.c.p_id, live(config_files)),
        "config_file_count",
    ),
).where(project_list.c.p_id == _p_id)
GET_PROJECT = Query("projects.get_project", _PROJECT, Project)
GET_PROJECT_INCLUDE_DELETED = with_deleted(GET_PROJECT, project_list)
GET_PROJECT_AS_MEMBER = Query("projects.get_project_as_member", _PROJECT.where(_is_member), Project)

_ACCESS = select(
    project_list.c.p_id,
    project_list.c.project_name,
    project_list.c.g_id,
    project_list.c.gpu_quota,
    project_list.c.allow_privileged,
    role_of_actor(project_list.c.g_id).label("actor_role"),
).where(project_list.c.p_id == _p_id, live(project_list))

FIND_ACCESS = Query("projects.find_access", _ACCESS, ProjectAccess)

# For making something under the project: it stays live until the transaction ends.
FIND_ACCESS_AS_PARENT = Query("projects.find_access_as_parent", locked_as_parent(_ACCESS, project_list), ProjectAccess)

# For rules over all rows of a project, such as its quota: one caller at a time.
FIND_ACCESS_ALONE = Query("projects.find_access_alone", _ACCESS.with_for_update(of=project_list), ProjectAccess)

FIND_FOR_CHANGE = Query(
    "projects.find_for_change",
    select(
        project_list.c.p_id,
        project_list.c.project_name,
        project_list.c.description,
        project_list.c.g_id,
        project_list.c.gpu_quota,
        project_list.c.allow_privileged,
        project_list.c.deletion_protected,
        project_list.c.updated_at,
        role_of_actor(project_list.c.g_id).label("actor_role"),
    )
    .where(project_list.c.p_id == _p_id, live(project_list))
    .with_for_update(of=project_list),
    ProjectForChange,
)

FIND_OWNING_GROUP = Query(
    "projects.find_owning_group",
    locked_as_parent(
        select(group_list.c.g_id, group_list.c.group_name, role_of_actor(group_list.c.g_id).label("actor_role")).where(
            group_list.c.g_id == _g_id, live(group_list)
        ),
        group_list,
    ),
    OwningGroup,
)

_SETTABLE = ("project_name", "description", "gpu_quota", "allow_privileged", "updated_at")
INSERT_PROJECT = Command(
    "projects.insert_project",
    insert(project_list).values(parameters_for(project_list, "p_id", "g_id", "created_at", *_SETTABLE)),
)
UPDATE_PROJECT = Command(
    "projects.update_project",
    update(project_list)
    .where(project_list.c.p_id == _p_id)
    .values(new_value(project_list, *_SETTABLE, "deletion_protected")),
)

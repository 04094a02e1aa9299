"""The statements of workloads."""

from sqlalchemy import BigInteger, and_, bindparam, cast, func, select, update

from holdfast.db.include_deleted import with_deleted
from holdfast.db.listing import Listing
from holdfast.db.statements import (
    Command,
    Count,
    Query,
    contains_text,
    insert_unless_present,
    live,
    new_value,
)
from holdfast.db.tables import course_workloads, project_list, users
from holdfast.db.tables.workloads import STATUSES_HOLDING_GPUS
from holdfast.features.groups.queries import groups_of_actor, role_of_actor
from holdfast.features.workloads.types import Workload, WorkloadAccess

_workload_id = bindparam("workload_id", type_=course_workloads.c.id.type)
_project_id = bindparam("project_id", type_=course_workloads.c.project_id.type)

_WORKLOAD = (
    select(
        course_workloads.c.id,
        course_workloads.c.user_id,
        users.c.username,
        users.c.full_name,
        course_workloads.c.project_id,
        project_list.c.project_name,
        course_workloads.c.name,
        course_workloads.c.namespace,
        course_workloads.c.image,
        course_workloads.c.status,
        course_workloads.c.k8s_pod_name,
        course_workloads.c.priority,
        course_workloads.c.resource_cpu,
        course_workloads.c.resource_mem,
        course_workloads.c.resource_gpu,
        (func.coalesce(course_workloads.c.resource_gpu, 0) > 0).label("has_gpu"),
        course_workloads.c.created_at,
        course_workloads.c.updated_at,
        course_workloads.c.started_at,
    )
    .select_from(course_workloads)
    .join(users, users.c.u_id == course_workloads.c.user_id)
    .join(project_list, project_list.c.p_id == course_workloads.c.project_id)
    .where(live(course_workloads))
)
GET_WORKLOAD = Query("workloads.get_workload", _WORKLOAD.where(course_workloads.c.id == _workload_id), Workload)
GET_WORKLOAD_INCLUDE_DELETED = with_deleted(GET_WORKLOAD, course_workloads)

_own_projects = select(project_list.c.p_id).where(project_list.c.g_id.in_(groups_of_actor()), live(project_list))
WORKLOADS = Listing(
    "workloads",
    _WORKLOAD,
    Workload,
    row_id=course_workloads.c.id,
    sorts={"created_at": course_workloads.c.created_at, "priority": course_workloads.c.priority},
    default_sort="-created_at",
    filters={
        "project_id": course_workloads.c.project_id == _project_id,
        "user_id": course_workloads.c.user_id == bindparam("user_id", type_=course_workloads.c.user_id.type),
        "status": course_workloads.c.status == bindparam("status", type_=course_workloads.c.status.type),
    },
    scopes={"all": None, "visible": course_workloads.c.project_id.in_(_own_projects)},
    search=contains_text(course_workloads.c.name, "q"),
    count_select=select(course_workloads.c.id).where(live(course_workloads)),
)

_ACCESS = select(
    course_workloads.c.id,
    course_workloads.c.user_id,
    course_workloads.c.project_id,
    course_workloads.c.name,
    course_workloads.c.status,
    course_workloads.c.priority,
    course_workloads.c.resource_cpu,
    course_workloads.c.resource_mem,
    course_workloads.c.resource_gpu,
    course_workloads.c.started_at,
    course_workloads.c.updated_at,
    select(project_list.c.g_id)
    .where(project_list.c.p_id == course_workloads.c.project_id)
    .scalar_subquery()
    .label("g_id"),
    select(role_of_actor(project_list.c.g_id))
    .where(project_list.c.p_id == course_workloads.c.project_id)
    .scalar_subquery()
    .label("actor_role"),
).where(course_workloads.c.id == _workload_id, live(course_workloads))
FIND_ACCESS = Query("workloads.find_access", _ACCESS, WorkloadAccess)
FIND_ACCESS_ALONE = Query("workloads.find_access_alone", _ACCESS.with_for_update(of=course_workloads), WorkloadAccess)

# Read under the project's lock only: without it two callers would each count without the other.
SUM_GPUS_IN_USE = Query(
    "workloads.sum_gpus_in_use",
    select(cast(func.coalesce(func.sum(course_workloads.c.resource_gpu), 0), BigInteger).label("value")).where(
        and_(
            course_workloads.c.project_id == _project_id,
            course_workloads.c.status.in_(STATUSES_HOLDING_GPUS),
            live(course_workloads),
        )
    ),
    Count,
)

INSERT_WORKLOAD = insert_unless_present(
    "workloads.insert_workload",
    course_workloads,
    "id",
    "user_id",
    "project_id",
    "name",
    "namespace",
    "image",
    "status",
    "k8s_pod_name",
    "priority",
    "resource_cpu",
    "resource_mem",
    "resource_gpu",
    "created_at",
    "updated_at",
)
UPDATE_WORKLOAD = Command(
    "workloads.update_workload",
    update(course_workloads)
    .where(course_workloads.c.id == _workload_id)
    .values(
        new_value(
            course_workloads,
            "name",
            "status",
            "priority",
            "resource_cpu",
            "resource_mem",
            "resource_gpu",
            "started_at",
            "updated_at",
        )
    ),
)

"""Course workloads: what runs, or asks to run, under a project's GPU quota."""

from sqlalchemy import CheckConstraint, Column, Index, Integer

from holdfast.db.tables.base import (
    Deletion,
    TablePolicy,
    cascade_key,
    created_at,
    define_table,
    live_unique,
    one_of,
    updated_at,
)
from holdfast.db.types import Key, Timestamp, Words

WORKLOAD_STATUSES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
# These take GPUs of the project's quota (spec: behaviour.md, Course workloads).
STATUSES_HOLDING_GPUS = ("Pending", "Running")

course_workloads = define_table(
    "course_workloads",
    Column("id", Key(21), primary_key=True),
    cascade_key("user_id", "users.u_id", 20, index=False),
    cascade_key("project_id", "project_list.p_id", 20, index=False),
    Column("name", Words(100), nullable=False),
    Column("namespace", Words(100), nullable=False),
    Column("image", Words(512), nullable=False),
    Column("status", Key(20), nullable=False, server_default="Pending"),
    Column("k8s_pod_name", Words(100), nullable=False),
    Column("priority", Integer, nullable=False, server_default="1000"),
    Column("resource_cpu", Words(50)),
    Column("resource_mem", Words(50)),
    Column("resource_gpu", Integer),
    created_at(),
    updated_at(),
    Column("started_at", Timestamp()),
    Index(None, "created_at", "id"),
    Index(None, "user_id", "created_at", "id"),
    Index(None, "project_id", "created_at", "id"),
    Index(None, "status", "created_at", "id"),
    Index(None, "priority", "id"),
    live_unique("k8s_pod_name"),
    one_of("status", *WORKLOAD_STATUSES),
    CheckConstraint("resource_gpu IS NULL OR resource_gpu >= 0", name="resource_gpu_not_negative"),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="workload"),
)

"""Projects of a group, with their GPU quota."""

from sqlalchemy import CheckConstraint, Column, Index, Integer, false

from holdfast.db.tables.base import (
    Deletion,
    TablePolicy,
    cascade_key,
    created_at,
    define_table,
    deletion_protected,
    updated_at,
)
from holdfast.db.types import Flag, Key, LongText, Words

project_list = define_table(
    "project_list",
    Column("p_id", Key(20), primary_key=True),
    Column("project_name", Words(100), nullable=False),
    Column("description", LongText()),
    cascade_key("g_id", "group_list.g_id", 20),
    Column("gpu_quota", Integer, nullable=False, server_default="0"),
    # Whether config files may ask for privileged containers, host namespaces and hostPath (spec decision 14).
    Column("allow_privileged", Flag(), nullable=False, server_default=false()),
    deletion_protected(),
    created_at(),
    updated_at(),
    Index(None, "project_name", "p_id"),
    Index(None, "created_at", "p_id"),
    Index(None, "gpu_quota", "p_id"),
    CheckConstraint("gpu_quota >= 0", name="gpu_quota_not_negative"),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="project"),
)

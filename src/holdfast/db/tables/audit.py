"""The audit log: one row for every change, readable after its actor and its object are gone."""

from sqlalchemy import BigInteger, Column, Identity, Index, Integer

from holdfast.db.tables.base import Deletion, TablePolicy, cascade_key, created_at, define_table
from holdfast.db.types import Json, Key, LongText, Words

audit_logs = define_table(
    "audit_logs",
    # SQLite numbers a key by itself only when it is an INTEGER.
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), Identity(), primary_key=True, autoincrement=True),
    cascade_key("user_id", "users.u_id", 20, index=False),
    Column("actor_name", Words(50), nullable=False, server_default=""),
    Column("action", Key(50), nullable=False),
    Column("resource_type", Words(50), nullable=False),
    Column("resource_id", Words(255), nullable=False, index=True),
    Column("resource_label", Words(255)),
    # The group that owns the object, so that its admins can read what happened in it; by value, as it outlives both.
    Column("g_id", Key(20)),
    Column("old_data", Json()),
    Column("new_data", Json()),
    Column("ip_address", Words(45)),
    Column("user_agent", LongText()),
    Column("description", LongText()),
    created_at(),
    Index(None, "created_at", "id"),
    Index(None, "action", "created_at", "id"),
    Index(None, "resource_type", "created_at", "id"),
    Index(None, "g_id", "created_at", "id"),
    Index(None, "user_id", "action", "resource_type"),
    policy=TablePolicy(deletion=Deletion.PURGE_ONLY, in_bundle=True, retention="audit", audited_as=None),
)

"""Groups and who is in them, with which role."""

from sqlalchemy import CheckConstraint, Column, Index

from holdfast.db.tables.base import (
    Deletion,
    TablePolicy,
    cascade_key,
    created_at,
    define_table,
    deletion_protected,
    one_of,
    updated_at,
)
from holdfast.db.types import Key, LongText, Words

SUPER_GROUP_ID = "super_group"
SUPER_GROUP_NAME = "super"
ROLES = ("admin", "manager", "user")

group_list = define_table(
    "group_list",
    Column("g_id", Key(20), primary_key=True),
    Column("group_name", Words(100), nullable=False),
    Column("description", LongText()),
    deletion_protected(),
    created_at(),
    updated_at(),
    Index(None, "group_name", "g_id"),
    Index(None, "created_at", "g_id"),
    # The primary key makes the name `super` unique, without a unique key over all names.
    CheckConstraint(f"group_name <> '{SUPER_GROUP_NAME}' OR g_id = '{SUPER_GROUP_ID}'", name="one_super"),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="group"),
)

user_group = define_table(
    "user_group",
    cascade_key("u_id", "users.u_id", 20, index=False, primary_key=True),
    cascade_key("g_id", "group_list.g_id", 20, index=False, primary_key=True),
    Column("role", Key(20), nullable=False, server_default="user", index=True),
    created_at(),
    updated_at(),
    Index(None, "g_id", "created_at", "u_id"),
    Index(None, "created_at"),
    one_of("role", *ROLES),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="member"),
)

"""Forms (tickets) and the messages on them."""

from sqlalchemy import Column, Index

from holdfast.db.tables.base import (
    Deletion,
    TablePolicy,
    cascade_key,
    created_at,
    define_table,
    one_of,
    updated_at,
)
from holdfast.db.types import Key, LongText, Words

FORM_STATUSES = ("Pending", "Processing", "Completed", "Rejected")

forms = define_table(
    "forms",
    Column("id", Key(21), primary_key=True),
    cascade_key("user_id", "users.u_id", 20, index=False),
    cascade_key("project_id", "project_list.p_id", 20, nullable=True, index=False),
    Column("title", Words(255), nullable=False),
    Column("description", LongText()),
    Column("tag", Words(100)),
    Column("status", Key(20), nullable=False, server_default="Pending"),
    created_at(),
    updated_at(),
    Index(None, "created_at", "id"),
    Index(None, "user_id", "created_at", "id"),
    Index(None, "project_id", "created_at", "id"),
    Index(None, "status", "created_at", "id"),
    Index(None, "tag", "created_at", "id"),
    Index(None, "deleted_at"),
    one_of("status", *FORM_STATUSES),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="form"),
)

form_messages = define_table(
    "form_messages",
    Column("id", Key(21), primary_key=True),
    cascade_key("form_id", "forms.id", 21, index=False),
    cascade_key("user_id", "users.u_id", 20),
    Column("content", LongText(), nullable=False),
    created_at(),
    Index(None, "form_id", "created_at", "id"),
    Index(None, "created_at", "id"),
    policy=TablePolicy(deletion=Deletion.SOFT, in_bundle=True, retention="deleted", audited_as="form-message"),
)

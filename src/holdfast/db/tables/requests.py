"""Idempotency keys: the answer that a repeated POST gets again instead of a second row."""

from sqlalchemy import Column, Index, Integer

from holdfast.db.tables.base import Deletion, TablePolicy, cascade_key, define_table
from holdfast.db.types import Key, LongText, Timestamp, Words, utc_timestamp

idempotency_keys = define_table(
    "idempotency_keys",
    cascade_key("user_id", "users.u_id", 20, index=False, primary_key=True),
    Column("idempotency_key", Words(255), primary_key=True),
    Column("fingerprint", Key(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("location", LongText()),
    Column("etag", Key(100)),
    Column("body", LongText()),
    Column("created_at", Timestamp(), nullable=False, server_default=utc_timestamp()),
    Index(None, "created_at"),
    policy=TablePolicy(deletion=Deletion.EXPIRES, in_bundle=False, retention="working", audited_as=None),
)

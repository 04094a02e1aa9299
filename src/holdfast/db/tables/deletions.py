"""Deletions, restored or purged as one, and the archives that old audit rows leave in."""

from sqlalchemy import BigInteger, Column, Index, Integer

from holdfast.db.tables.base import Deletion, TablePolicy, created_at, define_table, one_of, updated_at
from holdfast.db.types import Json, Key, LongText, Timestamp, Words

DELETION_STATES = ("deleted", "restored", "purging", "purged", "failed")

# The actor and the root are named by value, without foreign keys: this row outlives both.
deletions = define_table(
    "deletions",
    Column("id", Key(21), primary_key=True),
    Column("root_type", Key(50), nullable=False),
    Column("root_id", Words(255), nullable=False),
    Column("root_label", Words(255)),
    Column("actor_id", Key(20), nullable=False),
    Column("actor_name", Words(50), nullable=False),
    Column("reason", LongText()),
    Column("state", Key(20), nullable=False, server_default="deleted"),
    Column("planned_counts", Json(), nullable=False),
    Column("actual_counts", Json()),
    Column("set_null_counts", Json()),
    Column("bundle_path", LongText()),
    Column("bundle_sha256", Key(64)),
    Column("bundle_verified_at", Timestamp()),
    Column("purge_after", Timestamp(), index=True),
    Column("failure", LongText()),
    # The deletion above it whose purge took the last rows of this one; that one's bundle brings them back.
    Column("purged_with", Key(21), index=True),
    Column("lease_token", Key(21)),
    Column("lease_until", Timestamp()),
    created_at(),
    updated_at(),
    Index(None, "created_at", "id"),
    Index(None, "actor_id", "created_at", "id"),
    Index(None, "state", "created_at", "id"),
    Index(None, "root_id", "root_type"),
    one_of("state", *DELETION_STATES),
    policy=TablePolicy(deletion=Deletion.PURGE_ONLY, in_bundle=False, retention="deletions", audited_as="deletion"),
)

# Ranges of audit rows that stand in a verified bundle. Only such rows may leave the audit log by retention.
audit_archives = define_table(
    "audit_archives",
    Column("id", Key(21), primary_key=True),
    Column("first_id", BigInteger, nullable=False),
    Column("last_id", BigInteger, nullable=False),
    # Every row of the range was made before this moment.
    Column("made_before", Timestamp(), nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("bundle_path", LongText(), nullable=False),
    Column("bundle_sha256", Key(64), nullable=False),
    Column("bundle_verified_at", Timestamp()),
    # How many rows of the range have left the log, of which none is made anew but by a recovery.
    Column("removed_rows", Integer, nullable=False, server_default="0"),
    Column("removed_at", Timestamp()),
    created_at(),
    updated_at(),
    Index(None, "first_id", "last_id"),
    Index(None, "created_at", "id"),
    policy=TablePolicy(deletion=Deletion.PURGE_ONLY, in_bundle=False, retention="deletions", audited_as=None),
)

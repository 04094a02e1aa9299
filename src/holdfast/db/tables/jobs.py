"""Jobs: work that outlives the transaction that asked for it."""

from sqlalchemy import Column, Index, Integer

from holdfast.db.tables.base import Deletion, TablePolicy, created_at, define_table, one_of, updated_at
from holdfast.db.types import Json, Key, LongText, Timestamp, Words

JOB_STATES = ("waiting", "running", "done", "failed")

jobs = define_table(
    "jobs",
    Column("id", Key(21), primary_key=True),
    Column("name", Key(100), nullable=False),
    Column("arguments", Json(), nullable=False),
    Column("state", Key(20), nullable=False, server_default="waiting"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("run_at", Timestamp(), nullable=False),
    Column("lease_token", Key(21)),
    Column("lease_until", Timestamp()),
    Column("failure", LongText()),
    created_at(),
    updated_at(),
    Column("finished_at", Timestamp()),
    # Of a periodic job the seconds from one time to the next, by the settings of the worker that set its next time.
    Column("every_seconds", Integer),
    # When its present or last run began, and where.
    Column("started_at", Timestamp()),
    Column("host", Words(255)),
    Index(None, "state", "run_at"),
    Index(None, "name", "state"),
    Index(None, "created_at", "id"),
    Index(None, "state", "created_at", "id"),
    Index(None, "name", "created_at", "id"),
    one_of("state", *JOB_STATES),
    policy=TablePolicy(deletion=Deletion.EXPIRES, in_bundle=False, retention="working", audited_as=None),
)

"""Runs: what jobs and operator's commands did, how long it took and how it ended."""

from sqlalchemy import Column, Index

from holdfast.db.tables.base import Deletion, TablePolicy, define_table, one_of
from holdfast.db.types import Json, Key, LongText, Timestamp, Words

RUN_OUTCOMES = ("done", "failed", "put_off", "lost")

runs = define_table(
    "runs",
    Column("id", Key(21), primary_key=True),
    Column("name", Key(100), nullable=False),
    Column("host", Words(255), nullable=False),
    Column("started_at", Timestamp(), nullable=False),
    Column("finished_at", Timestamp(), nullable=False),
    Column("outcome", Key(20), nullable=False),
    Column("failure", LongText()),
    Column("detail", Json()),
    # The job that it was a run of. No foreign key: a run is kept longer than its job.
    Column("job_id", Key(21)),
    Index(None, "name", "started_at", "id"),
    Index(None, "job_id", "started_at", "id"),
    Index(None, "outcome", "started_at", "id"),
    Index(None, "started_at", "id"),
    one_of("outcome", *RUN_OUTCOMES),
    policy=TablePolicy(deletion=Deletion.EXPIRES, in_bundle=False, retention="working", audited_as=None),
)

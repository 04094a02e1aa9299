"""Runs: the newest of a name, and the newest that ended well."""

from datetime import datetime, timedelta
from typing import Any

import msgspec

from holdfast.core.clock import utc_now
from holdfast.db import runs
from holdfast.db.engines.base import Database

_THEN = utc_now().replace(microsecond=0) - timedelta(days=3)


async def _record(database: Database, name: str, hours: int, outcome: runs.Outcome, **more: Any) -> str:
    started_at: datetime = _THEN + timedelta(hours=hours)
    async with database.write() as tx:
        return await runs.record(tx, name, started_at, outcome, **more)


async def test_the_newest_run_of_a_name_is_found_whatever_came_of_it(database: Database) -> None:
    await _record(database, "test.sweep", 1, "done", detail={"rows": 7})
    failed = await _record(database, "test.sweep", 2, "failed", failure="the disk is full" + "." * 5000)
    await _record(database, "test.other", 3, "done")

    async with database.read() as tx:
        found = await runs.find_latest(tx, "test.sweep")

    assert found is not None
    assert found.id == failed
    assert found.outcome == "failed"
    assert found.failure is not None
    assert found.failure.startswith("the disk is full")
    assert len(found.failure) == 4000
    assert found.started_at == _THEN + timedelta(hours=2)
    assert found.finished_at > found.started_at


async def test_a_failure_does_not_hide_the_last_run_that_ended_well(database: Database) -> None:
    done = await _record(database, "test.sweep", 1, "done", detail={"rows": 7})
    await _record(database, "test.sweep", 2, "failed", failure="the disk is full")

    async with database.read() as tx:
        found = await runs.find_latest_done(tx, "test.sweep")
        never = await runs.find_latest_done(tx, "test.never")

    assert found is not None
    assert found.id == done
    assert found.detail is not None
    assert msgspec.json.decode(found.detail) == {"rows": 7}
    assert never is None

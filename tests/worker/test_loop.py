"""The worker: periodic jobs run once for the cluster, a lost lease changes nothing, failures are tried again."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from holdfast.core.clock import Clock
from holdfast.db import jobs
from holdfast.db.engines.base import Database
from holdfast.db.tables import idempotency_keys
from holdfast.worker.loop import run_one, work
from holdfast.worker.registry import PERIODIC_JOBS, PeriodicJob
from tests.factories import insert_row, make_user
from tests.instance import Instance

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(moment: datetime) -> Clock:
    return lambda: moment


async def rows(database: Database, sql: str) -> list[tuple[object, ...]]:
    async with database.read() as tx:
        return await tx.fetch_text(sql)


async def test_two_workers_share_the_periodic_jobs(instance: Instance) -> None:
    stop = asyncio.Event()
    workers = [asyncio.create_task(work(instance.database, instance.settings, stop)) for _ in range(2)]
    try:
        async with asyncio.timeout(20):
            finished = "SELECT 1 FROM jobs WHERE finished_at IS NOT NULL"
            # What is awaited is a row, not an event of this process.
            while len(await rows(instance.database, finished)) < len(PERIODIC_JOBS):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        stop.set()
        await asyncio.gather(*workers)
    found = await rows(instance.database, "SELECT name, state, attempts FROM jobs ORDER BY name")
    assert [tuple(row) for row in found] == [(name, "waiting", 0) for name in sorted(PERIODIC_JOBS)]


async def test_old_answers_are_removed_and_young_ones_stay(instance: Instance) -> None:
    user_id = await make_user(instance.database)
    for key, age_hours in (("old", 25), ("young", 23)):
        await insert_row(
            instance.database,
            idempotency_keys,
            user_id=user_id,
            idempotency_key=key,
            fingerprint="f",
            status=201,
            created_at=NOON - timedelta(hours=age_hours),
        )
    changed = await PERIODIC_JOBS["answers.remove_old"].run(instance.database, instance.settings, at(NOON))
    assert changed == 1
    assert [row[0] for row in await rows(instance.database, "SELECT idempotency_key FROM idempotency_keys")] == [
        "young"
    ]


async def test_a_job_is_claimed_by_one_worker_only(database: Database) -> None:
    async with database.write() as tx:
        await jobs.enqueue(tx, "unknown.job", {"form_id": "f1"}, clock=at(NOON))
    claimed = await asyncio.gather(*(jobs.claim(database, 60, at(NOON)) for _ in range(8)))
    (held,) = [job for job in claimed if job is not None]
    assert msgspec.json.decode(held.arguments) == {"form_id": "f1"}


async def test_a_job_whose_lease_ran_out_is_taken_over_and_the_first_worker_settles_nothing(database: Database) -> None:
    async with database.write() as tx:
        await jobs.enqueue(tx, "unknown.job", {}, clock=at(NOON))
    first = await jobs.claim(database, 60, at(NOON))
    assert first is not None
    assert await jobs.claim(database, 60, at(NOON + timedelta(seconds=59))) is None
    second = await jobs.claim(database, 60, at(NOON + timedelta(seconds=61)))
    assert second is not None
    assert second.attempts == 2
    async with database.write() as tx:
        assert not await jobs.finish(tx, first, clock=at(NOON))
        assert await jobs.finish(tx, second, clock=at(NOON))
    assert [tuple(row) for row in await rows(database, "SELECT state FROM jobs")] == [("done",)]


async def test_a_failing_job_is_tried_later_each_time_and_then_left_for_a_person(instance: Instance) -> None:
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "unknown.job", {}, clock=at(NOON))
    moment = NOON
    for attempt in range(8):
        assert await run_one(instance.database, instance.settings, at(moment))
        moment += timedelta(seconds=2**attempt)
        if attempt < 7:
            assert not await run_one(instance.database, instance.settings, at(moment - timedelta(milliseconds=1)))
    assert not await run_one(instance.database, instance.settings, at(moment + timedelta(days=1)))
    ((state, attempts, failure),) = await rows(instance.database, "SELECT state, attempts, failure FROM jobs")
    assert (state, attempts) == ("failed", 8)
    assert "unknown.job" in str(failure)


async def test_a_periodic_job_that_fails_to_the_last_comes_again(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*arguments: object) -> int:
        raise RuntimeError("the disk is tired")

    run: Callable[..., Awaitable[int]] = fail
    monkeypatch.setitem(PERIODIC_JOBS, "tests.fails", PeriodicJob("tests.fails", timedelta(hours=1), run))
    async with instance.database.write() as tx:
        await jobs.ensure_periodic(tx, "tests.fails", at(NOON))
        await jobs.ensure_periodic(tx, "tests.fails", at(NOON))
    moment = NOON
    for attempt in range(8):
        assert await run_one(instance.database, instance.settings, at(moment))
        moment += timedelta(seconds=2**attempt)
    ((state, failure),) = await rows(instance.database, "SELECT state, failure FROM jobs")
    assert state == "waiting"
    assert "the disk is tired" in str(failure)
    assert await run_one(instance.database, instance.settings, at(moment + timedelta(hours=1)))

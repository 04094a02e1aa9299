"""The worker: periodic jobs run once for the cluster, a lost lease changes nothing, failures are tried again."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from holdfast.core.clock import Clock
from holdfast.db import jobs, schedule
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import CommitOutcomeUnknownError
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.tables import idempotency_keys
from holdfast.worker import running
from holdfast.worker.loop import run_one, work
from holdfast.worker.registry import ONE_OFF_JOBS, PERIODIC_JOBS, OneOffJob, PeriodicJob
from tests.factories import insert_row, make_user
from tests.instance import Instance

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(moment: datetime) -> Clock:
    return lambda: moment


async def fail(*arguments: Any) -> int:
    raise RuntimeError("the disk is tired")


async def rows(database: Database, sql: str) -> list[tuple[object, ...]]:
    async with database.read() as tx:
        return await tx.fetch_text(sql)


async def test_two_workers_share_the_periodic_jobs(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in PERIODIC_JOBS if name.startswith("operations.")]:
        # These start programs of their own, and have tests of their own.
        monkeypatch.delitem(PERIODIC_JOBS, name)
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
    ran = await rows(instance.database, "SELECT name, outcome FROM runs ORDER BY name")
    assert [tuple(row) for row in ran] == [(name, "done") for name in sorted(PERIODIC_JOBS)]


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
    found = await rows(database, "SELECT name, outcome FROM runs")
    assert [tuple(row) for row in found] == [("unknown.job", "lost")]
    async with database.write() as tx:
        assert not await jobs.finish(tx, first, clock=at(NOON))
        assert await jobs.finish(tx, second, clock=at(NOON))
    assert [tuple(row) for row in await rows(database, "SELECT state FROM jobs")] == [("done",)]


async def test_a_failing_job_is_tried_later_each_time_and_then_left_for_a_person(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ONE_OFF_JOBS, "tests.fails", OneOffJob("tests.fails", fail))
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "tests.fails", {}, clock=at(NOON))
    moment = NOON
    for attempt in range(8):
        assert await run_one(instance.database, instance.settings, at(moment))
        if attempt < 7:
            wait = timedelta(seconds=3**attempt)
            assert not await run_one(instance.database, instance.settings, at(moment + wait * 0.999))
            moment += wait * 1.25
    assert not await run_one(instance.database, instance.settings, at(moment + timedelta(days=1)))
    ((state, attempts, failure),) = await rows(instance.database, "SELECT state, attempts, failure FROM jobs")
    assert (state, attempts) == ("failed", 8)
    assert "the disk is tired" in str(failure)
    told = await rows(instance.database, "SELECT outcome, failure FROM runs")
    assert [tuple(row) for row in told] == [("failed", failure)] * 8


async def test_a_job_that_this_version_does_not_know_waits_for_one_that_does_but_not_for_ever(
    instance: Instance,
) -> None:
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "unknown.job", {}, clock=at(NOON))
    moment = NOON
    for _ in range(20):
        assert await run_one(instance.database, instance.settings, at(moment))
        moment += timedelta(seconds=60)
    assert [tuple(row) for row in await rows(instance.database, "SELECT state, attempts FROM jobs")] == [("waiting", 0)]
    for day in range(1, 9):
        assert await run_one(instance.database, instance.settings, at(NOON + timedelta(days=day)))
    ((state, failure),) = await rows(instance.database, "SELECT state, failure FROM jobs")
    assert state == "failed"
    assert "unknown.job" in str(failure)


async def test_a_periodic_job_that_fails_to_the_last_comes_again(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    hourly = timedelta(hours=1)
    monkeypatch.setitem(PERIODIC_JOBS, "tests.fails", PeriodicJob("tests.fails", hourly, fail))
    async with instance.database.write() as tx:
        assert await schedule.keep(tx, {"tests.fails": hourly}, at(NOON)) == ["tests.fails"]
        assert await schedule.keep(tx, {"tests.fails": hourly}, at(NOON)) == []
    moment = NOON
    for attempt in range(8):
        assert await run_one(instance.database, instance.settings, at(moment))
        moment += timedelta(seconds=3**attempt * 1.25)
    ((state, failure),) = await rows(instance.database, "SELECT state, failure FROM jobs")
    assert state == "waiting"
    assert "the disk is tired" in str(failure)
    assert not await run_one(instance.database, instance.settings, at(NOON + hourly * 0.999))
    # One attempt at each of its times.
    for hour in (1, 2):
        assert await run_one(instance.database, instance.settings, at(NOON + hour * hourly))
        assert not await run_one(instance.database, instance.settings, at(NOON + (hour + 0.99) * hourly))


async def test_a_job_with_arguments_is_run_once(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    async def run(database: Database, settings: object, arguments: dict[str, Any], clock: Clock) -> int:
        given.append(arguments)
        return 1

    monkeypatch.setitem(ONE_OFF_JOBS, "tests.once", OneOffJob("tests.once", run))
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "tests.once", {"deletion_id": "d1"}, clock=at(NOON))
    assert await run_one(instance.database, instance.settings, at(NOON))
    assert not await run_one(instance.database, instance.settings, at(NOON + timedelta(days=1)))
    assert given == [{"deletion_id": "d1"}]


async def test_a_job_that_must_wait_comes_again_and_has_not_failed(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(*arguments: object) -> int:
        raise jobs.PutOffError("another is first", seconds=5)

    run: Callable[..., Awaitable[int]] = wait
    monkeypatch.setitem(ONE_OFF_JOBS, "tests.waits", OneOffJob("tests.waits", run))
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "tests.waits", {}, clock=at(NOON))
    for turn in range(20):
        assert await run_one(instance.database, instance.settings, at(NOON + timedelta(seconds=5 * turn)))
    assert not await run_one(instance.database, instance.settings, at(NOON + timedelta(seconds=99)))
    found = await rows(instance.database, "SELECT state, attempts, failure FROM jobs")
    assert [tuple(row) for row in found] == [("waiting", 0, None)]


async def test_a_worker_that_is_asked_to_end_gives_its_long_job_back(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def last(*arguments: object) -> int:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    run: Callable[..., Awaitable[int]] = last
    monkeypatch.setitem(ONE_OFF_JOBS, "tests.lasts", OneOffJob("tests.lasts", run))
    monkeypatch.setattr("holdfast.worker.running._GRACE_SECONDS", 0.05)
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "tests.lasts", {}, clock=at(NOON))
    stop = asyncio.Event()
    working = asyncio.create_task(run_one(instance.database, instance.settings, at(NOON), stop=stop))
    await started.wait()
    stop.set()
    assert await working
    assert ended.is_set()
    assert [tuple(row) for row in await rows(instance.database, "SELECT state, attempts FROM jobs")] == [("waiting", 0)]
    taken_over = await jobs.claim(instance.database, 60, at(NOON))
    assert taken_over is not None


async def test_the_lease_of_a_long_job_is_renewed_and_its_work_ends_when_it_is_lost(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    async def last(*arguments: object) -> int:
        started.set()
        await asyncio.Event().wait()
        return 0

    run: Callable[..., Awaitable[int]] = last
    monkeypatch.setitem(ONE_OFF_JOBS, "tests.lasts", OneOffJob("tests.lasts", run))
    settings = msgspec.structs.replace(instance.settings, worker_lease_seconds=0.3)
    moment = NOON
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "tests.lasts", {}, clock=at(NOON))
    working = asyncio.create_task(run_one(instance.database, settings, lambda: moment))
    await started.wait()
    moment = NOON + timedelta(hours=1)
    async with asyncio.timeout(20):
        later = "SELECT 1 FROM jobs WHERE lease_until > '2026-03-01 12:59:00'"
        # What is awaited is a row, not an event of this process.
        while not await rows(instance.database, later):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        async with instance.database.write() as tx:
            await tx.fetch_text("UPDATE jobs SET lease_token = 'another' WHERE name = 'tests.lasts'")
        assert await working
    assert [tuple(row) for row in await rows(instance.database, "SELECT state, lease_token FROM jobs")] == [
        ("running", "another")
    ]


async def test_a_worker_that_ends_keeps_the_lease_until_the_thread_of_its_job_ended(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, may_end = asyncio.Event(), threading.Event()

    async def hash_what_is_large(*arguments: object) -> int:
        started.set()
        await in_thread(may_end.wait, 60)
        return 0

    run: Callable[..., Awaitable[int]] = hash_what_is_large
    monkeypatch.setitem(ONE_OFF_JOBS, "tests.hashes", OneOffJob("tests.hashes", run, is_long=True))
    settings = msgspec.structs.replace(instance.settings, worker_lease_seconds=0.6)
    moment, stop = NOON, asyncio.Event()
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "tests.hashes", {}, clock=at(NOON))
    working = asyncio.create_task(run_one(instance.database, settings, lambda: moment, stop=stop))
    await started.wait()
    stop.set()
    moment = NOON + timedelta(hours=1)
    try:
        async with asyncio.timeout(20):
            later = "SELECT 1 FROM jobs WHERE lease_until > '2026-03-01 12:59:00'"
            # What is awaited is a row, not an event of this process.
            while not await rows(instance.database, later):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    finally:
        may_end.set()
    assert await working
    assert [tuple(row) for row in await rows(instance.database, "SELECT state FROM jobs")] == [("waiting",)]
    assert [tuple(row) for row in await rows(instance.database, "SELECT outcome FROM runs")] == [("put_off",)]


@pytest.mark.parametrize("is_kept", [False, True])
async def test_a_job_whose_settling_nobody_knew_of_is_done_once_and_not_lost(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    commits = ["unknown"]
    write = instance.database.write

    def undo() -> None:
        raise RuntimeError

    @asynccontextmanager
    async def lose_the_answer() -> AsyncIterator[Transaction]:
        try:
            async with write() as tx:
                yield tx
                if commits and not is_kept:
                    undo()
        except RuntimeError:
            pass
        if commits:
            commits.pop()
            raise CommitOutcomeUnknownError

    async def work_and_lose(*arguments: object) -> int:
        monkeypatch.setattr(instance.database, "write", lose_the_answer)
        return 1

    run: Callable[..., Awaitable[int]] = work_and_lose
    monkeypatch.setitem(ONE_OFF_JOBS, "tests.unknown", OneOffJob("tests.unknown", run))
    monkeypatch.setattr("holdfast.worker.running._SECONDS_BETWEEN_SETTLINGS", 0.01)
    ended = running._jobs.labels("tests.unknown", "done")._value
    before = ended.get()
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "tests.unknown", {}, clock=at(NOON))
    assert await run_one(instance.database, instance.settings, at(NOON))
    assert not commits
    assert ended.get() == before + 1
    assert [tuple(row) for row in await rows(instance.database, "SELECT outcome FROM runs")] == [("done",)]
    assert [tuple(row) for row in await rows(instance.database, "SELECT state FROM jobs")] == [("done",)]

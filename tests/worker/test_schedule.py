"""The schedule: times that do not wander, settings that take effect at once, clocks that are wrong, places for all."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import new_long_id
from holdfast.db import jobs, runs, schedule
from holdfast.db.engines.base import Database
from holdfast.db.jobs import next_due
from holdfast.db.statements import Command, registry
from holdfast.db.tables import jobs as jobs_table
from holdfast.worker import loop
from holdfast.worker.loop import run_one, work
from holdfast.worker.registry import ONE_OFF_JOBS, PERIODIC_JOBS, OneOffJob, PeriodicJob
from tests.db.rows import fetch, run
from tests.factories import insert_row
from tests.instance import Instance

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def at(moment: datetime) -> Clock:
    return lambda: moment


async def nothing(*arguments: Any) -> int:
    return 0


async def keep(database: Database, every: timedelta | None, moment: datetime) -> list[str]:
    async with database.write() as tx:
        return await schedule.keep(tx, {"tests.daily": every}, at(moment))


async def due(database: Database) -> datetime:
    """When the periodic job is due."""
    async with database.read() as tx:
        (row,) = await tx.fetch_all(schedule._FIND, ids=[schedule.periodic_id("tests.daily")])
    return row.run_at


@pytest.fixture
def _daily(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PERIODIC_JOBS, "tests.daily", PeriodicJob("tests.daily", DAY, nothing))


@pytest.mark.parametrize("every", [timedelta(seconds=1), timedelta(hours=7), DAY, 30 * DAY])
def test_times_are_counted_from_the_first(every: timedelta) -> None:
    for after in (NOON, NOON + timedelta(microseconds=1), NOON + every, NOON + 1000.5 * every, NOON - 2.5 * every):
        found = next_due(NOON, every, after)
        assert after < found <= after + every
        assert (found - NOON) % every == timedelta(0)


@pytest.mark.usefixtures("_daily")
async def test_runs_that_come_late_and_take_long_do_not_move_the_times(instance: Instance) -> None:
    await keep(instance.database, DAY, NOON)
    for day in range(3):
        late = NOON + day * DAY + timedelta(minutes=50 * day)
        assert await run_one(instance.database, instance.settings, at(late))
        assert await due(instance.database) == NOON + (day + 1) * DAY
    # After a week without a worker it runs once.
    assert await run_one(instance.database, instance.settings, at(NOON + 9.5 * DAY))
    assert not await run_one(instance.database, instance.settings, at(NOON + 9.9 * DAY))
    assert await due(instance.database) == NOON + 10 * DAY


@pytest.mark.conformance("S-08")
@pytest.mark.usefixtures("_daily")
async def test_a_changed_interval_takes_effect_at_once(instance: Instance) -> None:
    database = instance.database
    await keep(database, 30 * DAY, NOON)
    job = await jobs.claim(database, 60, at(NOON))
    assert job is not None
    async with database.write() as tx:
        assert await jobs.finish(tx, job, every=30 * DAY, clock=at(NOON))
    assert await due(database) == NOON + 30 * DAY
    assert await keep(database, 30 * DAY, NOON + DAY) == []
    assert await keep(database, DAY, NOON + timedelta(hours=5)) == ["tests.daily"]
    assert await due(database) == NOON + DAY
    assert await keep(database, 7 * DAY, NOON + timedelta(hours=6)) == ["tests.daily"]
    assert await due(database) == NOON + 7 * DAY
    # What is due already stays due.
    assert await keep(database, 30 * DAY, NOON + 8 * DAY) == ["tests.daily"]
    assert await due(database) == NOON + 7 * DAY


async def test_a_job_that_is_turned_off_goes_and_comes_back(database: Database) -> None:
    assert await keep(database, DAY, NOON) == ["tests.daily"]
    assert await keep(database, None, NOON) == ["tests.daily"]
    assert await fetch(database, "SELECT name FROM jobs") == []
    assert await keep(database, None, NOON) == []
    assert await keep(database, DAY, NOON + DAY) == ["tests.daily"]
    assert await due(database) == NOON + DAY


@pytest.mark.usefixtures("_daily")
async def test_workers_with_different_settings_do_not_run_a_job_more_often(instance: Instance) -> None:
    database, ran = instance.database, 0
    for minute in range(3):
        # One worker has it turned off, the other does not.
        moment = NOON + timedelta(minutes=minute)
        await keep(database, None, moment)
        await keep(database, DAY, moment)
        ran += await run_one(database, instance.settings, at(moment))
    assert ran == 1
    assert await due(database) == NOON + DAY
    await keep(database, None, NOON)
    await keep(database, DAY, NOON + 2.5 * DAY)
    assert await run_one(database, instance.settings, at(NOON + 2.5 * DAY))
    assert await due(database) == NOON + 3 * DAY


@pytest.mark.parametrize(("outcome", "began"), [("put_off", NOON), ("done", NOON + 3650 * DAY)])
async def test_a_job_that_was_interrupted_or_ran_by_a_wrong_clock_is_due_at_once_when_it_comes_back(
    database: Database, outcome: Any, began: datetime
) -> None:
    async with database.write() as tx:
        await runs.record(tx, "tests.daily", began, outcome, clock=at(began))
    await keep(database, DAY, NOON + timedelta(minutes=1))
    assert await due(database) == NOON + timedelta(minutes=1)


async def test_a_periodic_job_that_an_older_release_gave_up_comes_again(database: Database) -> None:
    await keep(database, DAY, NOON)
    await run(database, "UPDATE jobs SET state = 'failed', attempts = 8, every_seconds = NULL")
    assert await keep(database, DAY, NOON + DAY) == ["tests.daily"]
    assert [tuple(row) for row in await fetch(database, "SELECT state, attempts FROM jobs")] == [("waiting", 0)]


async def test_what_a_clock_that_ran_ahead_put_off_is_due_when_the_clock_is_right(database: Database) -> None:
    ahead = NOON + 3650 * DAY
    await keep(database, DAY, NOON)
    async with database.write() as tx:
        await jobs.enqueue(tx, "tests.asked_for", {}, clock=at(ahead))
        await jobs.enqueue(tx, "tests.right", {}, run_at=NOON + DAY, clock=at(NOON))
    held = await jobs.claim(database, 60, at(ahead), without=["tests.asked_for", "tests.right"])
    assert held is not None
    assert await jobs.claim(database, 60, at(NOON)) is None
    async with database.write() as tx:
        assert await schedule.bring_back(tx, at(NOON)) == 2
        assert await schedule.bring_back(tx, at(NOON)) == 0
    later = at(NOON + timedelta(seconds=1))
    claimed = [await jobs.claim(database, 60, later) for _ in range(3)]
    assert sorted(job.name for job in claimed if job is not None) == ["tests.asked_for", "tests.daily"]


@pytest.mark.parametrize("ahead_seconds", [20, 3600])
async def test_no_job_runs_while_the_clocks_of_worker_and_database_differ(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, ahead_seconds: int
) -> None:
    told = asyncio.Event()

    class Log:
        def error(self, event: str, **more: Any) -> None:
            assert event == "clock_skew"
            assert ahead_seconds - 2 < more["seconds"] < ahead_seconds + 2
            told.set()

    monkeypatch.setattr(loop, "_log", Log())
    stop = asyncio.Event()
    working = asyncio.create_task(
        work(instance.database, instance.settings, stop, lambda: utc_now() + timedelta(seconds=ahead_seconds))
    )
    async with asyncio.timeout(60):
        await told.wait()
        stop.set()
        await working
    assert await fetch(instance.database, "SELECT name FROM jobs") == []


async def test_a_long_job_leaves_a_place_for_short_ones(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, short_is_done = asyncio.Event(), asyncio.Event()

    async def last(*arguments: Any) -> int:
        await may_end.wait()
        return 0

    async def be_short(*arguments: Any) -> int:
        short_is_done.set()
        return 0

    monkeypatch.setitem(ONE_OFF_JOBS, "tests.long", OneOffJob("tests.long", last, is_long=True))
    monkeypatch.setitem(ONE_OFF_JOBS, "tests.short", OneOffJob("tests.short", be_short))
    async with instance.database.write() as tx:
        for name in ("tests.long", "tests.long", "tests.long", "tests.short"):
            await jobs.enqueue(tx, name, {}, run_at=utc_now() - DAY)
    stop = asyncio.Event()
    working = asyncio.create_task(work(instance.database, instance.settings, stop))
    try:
        async with asyncio.timeout(60):
            await short_is_done.wait()
    finally:
        stop.set()
        may_end.set()
        await working
    # The worker that ends interrupted the long one, and nobody lost anything.
    states = await fetch(instance.database, "SELECT state FROM jobs WHERE name = 'tests.long'")
    assert {row[0] for row in states} <= {"waiting", "done"}


async def test_a_job_that_no_worker_survives_is_a_dead_letter_after_the_last_attempt(database: Database) -> None:
    async with database.write() as tx:
        await jobs.enqueue(tx, "tests.poison", {}, clock=at(NOON))
    moment, claims = NOON, 0
    for _ in range(200):
        claims += await jobs.claim(database, 60, at(moment)) is not None
        moment += timedelta(seconds=61)
    assert claims == jobs.MOST_ATTEMPTS
    ((state, failure),) = await fetch(database, "SELECT state, failure FROM jobs")
    assert state == "failed"
    assert "its worker" in str(failure)
    assert len(await fetch(database, "SELECT id FROM runs WHERE outcome = 'lost'")) == claims


async def test_a_job_that_runs_in_nobodys_name_is_taken_over_and_holds_nothing_up(database: Database) -> None:
    async with database.write() as tx:
        await jobs.enqueue(tx, "tests.first", {}, clock=at(NOON))
        await jobs.enqueue(tx, "tests.second", {}, clock=at(NOON + timedelta(seconds=1)))
    await run(
        database,
        "UPDATE jobs SET state = 'running', attempts = 1, lease_token = NULL,"
        " lease_until = '2026-03-01 12:00:00.000000' WHERE name = 'tests.first'",
    )
    async with asyncio.timeout(20):
        claimed = [await jobs.claim(database, 60, at(NOON + timedelta(minutes=2))) for _ in range(3)]
    assert [job.name for job in claimed if job is not None] == ["tests.first", "tests.second"]


async def test_a_claim_ends_when_nothing_comes_of_what_it_finds(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.write() as tx:
        await jobs.enqueue(tx, "tests.stuck", {}, clock=at(NOON))
    assert await jobs.claim(database, 60, at(NOON)) is not None

    async def change_nothing(*arguments: Any) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(jobs, "_bury", change_nothing)
    async with asyncio.timeout(20):
        assert await jobs.claim(database, 60, at(NOON + DAY)) is None


async def test_of_two_claims_that_saw_the_same_row_only_the_first_changes_it(database: Database) -> None:
    """As on two nodes of a cluster, where the lock of one is not seen on the other."""
    async with database.write() as tx:
        job_id = await jobs.enqueue(tx, "tests.asked_for", {}, clock=at(NOON))
    command = registry.find("jobs.claim")
    assert isinstance(command, Command)
    seen = {"job_id": job_id, "seen_state": "waiting", "seen_attempts": 0, "seen_token": ""}
    new: dict[str, Any] = {
        "state": "running",
        "attempts": 1,
        "lease_until": NOON + DAY,
        "host": "here:1",
        "started_at": NOON,
        "updated_at": NOON,
    }
    matched = []
    for token in ("the-first", "the-second"):
        async with database.write() as tx:
            values = {f"new_{name}": value for name, value in new.items()} | {"new_lease_token": token}
            matched.append(await tx.execute(command, **seen, **values))
    assert matched == [1, 0]
    assert await fetch(database, "SELECT lease_token FROM jobs") == [("the-first",)]


async def test_old_runs_and_done_jobs_go_but_no_dead_letter_and_no_last_success(instance: Instance) -> None:
    database, now = instance.database, utc_now()
    for name, days, outcome in (
        ("tests.daily", 100, "done"),
        ("tests.daily", 95, "done"),
        ("tests.daily", 92, "failed"),
        ("tests.other", 200, "done"),
        ("tests.daily", 89, "failed"),
    ):
        async with database.write() as tx:
            await runs.record(tx, name, now - timedelta(days=days), outcome)  # type: ignore[arg-type]
    for state, days in (("done", 91), ("done", 89), ("failed", 400), ("waiting", 400)):
        moment = now - timedelta(days=days)
        await insert_row(
            database, jobs_table, id=new_long_id(), name=f"{state}-{days}", arguments={}, state=state, run_at=moment
        )
    done = await PERIODIC_JOBS["runs.remove_old"].run(database, instance.settings, utc_now)
    assert done == jobs.Done(3, {"runs": 2, "jobs": 1})
    left = await fetch(database, "SELECT name, outcome FROM runs ORDER BY started_at")
    assert [tuple(row) for row in left] == [("tests.other", "done"), ("tests.daily", "done"), ("tests.daily", "failed")]
    names = {row[0] for row in await fetch(database, "SELECT name FROM jobs")}
    assert names == {"done-89", "failed-400", "waiting-400"}


async def test_what_a_job_returns_to_be_written_is_not_when_the_job_was_lost(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def write(*arguments: Any) -> jobs.Apply:
        await run(instance.database, "UPDATE jobs SET lease_token = 'another'")
        return lambda tx: runs.record(tx, "tests.effect", NOON, "done")  # type: ignore[return-value]

    monkeypatch.setitem(ONE_OFF_JOBS, "tests.apply", OneOffJob("tests.apply", write))
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "tests.apply", {}, clock=at(NOON))
    assert await run_one(instance.database, instance.settings, at(NOON))
    assert await fetch(instance.database, "SELECT name FROM runs") == []


async def test_the_statistics_are_kept_with_their_run(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    async with instance.database.write() as tx:
        await schedule.keep(tx, {"statistics.take": DAY}, at(NOON))
    assert await run_one(instance.database, instance.settings, at(NOON))
    async with instance.database.read() as tx:
        found = await runs.find_latest_done(tx, "statistics.take")
    assert found is not None
    assert found.detail is not None
    detail = msgspec.json.decode(found.detail)
    assert detail["database_bytes"] > 0
    assert {"users", "audit_logs"} <= detail["tables"].keys()
    assert detail["orphans"] == {"seed": 0, "strict": 0}

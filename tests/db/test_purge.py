"""The purge: what it removes, what it leaves, and that it can be taken up again anywhere."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from holdfast.core.clock import Clock
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import PoolExhaustedError
from holdfast.db.lifecycle.bundle import bundle_path, count_closure
from holdfast.db.lifecycle.bundle_file import open_bundle
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.plan import root_of
from holdfast.db.lifecycle.purge import PurgeStep, purge
from holdfast.db.lifecycle.purge_lease import LEASE_SECONDS, Lease, LeaseLostError, PurgeWaitsError
from holdfast.db.lifecycle.purge_removal import Pace, PurgeFailedError
from holdfast.db.tables import idempotency_keys
from tests.db.deleting import Course, delete, deletion, make_course, purge_now
from tests.db.interruptions import DiedError, DyingDatabase
from tests.db.populations import delete_statement, undone
from tests.db.rows import fetch, run
from tests.db.snapshots import CONTENT, counted, difference, read_rows, rows_in
from tests.factories import make_message

NOW = datetime(2026, 4, 1, tzinfo=UTC)
# Chunks so small that a course needs many, and no pauses.
SMALL = Pace(most_rows=2, target_seconds=10, rest_share=0)
TABLES = (*CONTENT, idempotency_keys)


def at(moment: datetime) -> Clock:
    return lambda: moment


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def root_ids(database: Database, course: Course) -> dict[str, str]:
    """A root of each type in the course."""
    ((tag, repository),) = await fetch(
        database, f"SELECT tag_id, repository_id FROM image_allow_list WHERE id = '{course.rule}'"
    )
    ((workload,),) = await fetch(database, "SELECT id FROM course_workloads")
    return {
        "user": course.student,
        "group": course.group,
        "member": f"{course.group}/{course.student}",
        "project": course.project,
        "config-file": course.config_file,
        "form": course.form,
        "form-message": course.messages[0],
        "image-request": course.request,
        "image": course.rule,
        "repository": str(repository),
        "tag": str(tag),
        "workload": str(workload),
    }


@pytest.mark.conformance("C-01")
@pytest.mark.parametrize("root_type", sorted(GRAPH.root_types))
async def test_a_purge_leaves_what_raw_sql_leaves(root_type: str, database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    root = root_of(root_type, (await root_ids(database, course))[root_type])
    deletion_id = await delete(database, root)
    before = await read_rows(database, TABLES)
    async with undone(database) as tx:
        await tx.fetch_text(delete_statement(root))
        wanted = await rows_in(tx, TABLES)
    removed = await purge_now(database, deletion_id, tmp_path, pace=SMALL)
    after = await read_rows(database, TABLES)
    assert difference(wanted, after) == []
    gone = {name: len(before[name]) - len(after[name]) for name in before if len(before[name]) > len(after[name])}
    gone.pop("idempotency_keys", None)
    assert removed == sum(gone.values()) > 0
    found = await deletion(database, deletion_id)
    assert (found["state"], found["failure"], found["lease_token"]) == ("purged", None, None)
    assert found["actual_counts"] == found["planned_counts"] == gone
    emptied = {name: count for name, count in found["set_null_counts"].items() if count}
    assert sum(emptied.values()) == sum(line.startswith("* ") for line in difference(before, after))
    assert await purge_now(database, deletion_id, tmp_path) == 0


async def test_the_bundle_of_a_purge_is_the_file_that_its_deletion_names(database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    deletion_id = await delete(database, "user", course.student)
    async with database.snapshot() as tx:
        standing = await count_closure(tx, deletion_id)
    await purge_now(database, deletion_id, tmp_path)
    found = await deletion(database, deletion_id)
    reader = open_bundle(bundle_path(tmp_path, deletion_id))
    assert (found["bundle_path"], found["bundle_sha256"]) == (str(reader.path), reader.sha256)
    assert reader.manifest.rows_by_table() == standing == found["planned_counts"]


async def test_what_is_told_of_a_purge_is_told_in_its_own_transactions(database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    deletion_id = await delete(database, "project", course.project)
    told: list[PurgeStep] = []

    async def witness(tx: Transaction, step: PurgeStep) -> None:
        ((state,),) = await tx.fetch_text(f"SELECT state FROM deletions WHERE id = '{deletion_id}'")
        assert state == ("purged" if step.done else "purging")
        assert (await tx.fetch_text("SELECT count(*) FROM forms"))[0][0] == (0 if step.done else 1)
        told.append(step)

    await purge(database, deletion_id, tmp_path, witness=witness)
    assert [step.done for step in told] == [False, True]
    assert told[0].counts == told[1].counts
    assert told[0].set_null == {"image_allow_list.request_id": 1}


@pytest.mark.parametrize("state", ["restored", "purged"])
async def test_a_deletion_that_is_over_is_left_alone(state: str, database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    before = await read_rows(database)
    deletion_id = await delete(database, "form", course.form, state=state)
    assert await purge_now(database, deletion_id, tmp_path) == 0
    assert counted(await read_rows(database)) == counted(before)
    assert await purge_now(database, "no-such-deletion", tmp_path) == 0


@pytest.mark.conformance("C-13")
async def test_an_earlier_deletion_beneath_goes_with_it(database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    message = await delete(database, "form-message", course.messages[1])
    form = await delete(database, "form", course.form)
    teacher = await delete(database, "user", course.teacher)
    project = await delete(database, "project", course.project)
    await purge_now(database, project, tmp_path)
    for nested in (message, form):
        found = await deletion(database, nested)
        assert (found["state"], found["purged_with"]) == ("purged", project)
    # The teacher's own row, memberships and tokens are still there.
    assert (await deletion(database, teacher))["state"] == "deleted"
    assert await fetch(database, "SELECT id FROM form_messages") == []
    # It counts anew what is left of it.
    assert await purge_now(database, teacher, tmp_path) > 0
    assert (await deletion(database, teacher))["state"] == "purged"


async def test_a_folder_that_is_not_mounted_is_not_made(database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    deletion_id = await delete(database, "project", course.project)
    before = await read_rows(database)
    with pytest.raises(PurgeFailedError, match="mount or make it"):
        await purge_now(database, deletion_id, tmp_path / "disk")
    assert not (tmp_path / "disk").exists()
    assert difference(before, await read_rows(database)) == []
    assert (await deletion(database, deletion_id))["state"] == "failed"
    (tmp_path / "disk").mkdir()
    assert await purge_now(database, deletion_id, tmp_path / "disk") > 0


async def test_a_live_row_beneath_stops_the_purge_before_anything_goes(database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    deletion_id = await delete(database, "form", course.form)
    live = await make_message(database, course.form, course.stays)
    before = await read_rows(database)
    with pytest.raises(PurgeFailedError, match=live):
        await purge_now(database, deletion_id, tmp_path)
    found = await deletion(database, deletion_id)
    assert found["state"] == "failed"
    assert live in found["failure"]
    assert difference(before, await read_rows(database)) == []
    assert files_in(tmp_path) == []
    await run(database, f"DELETE FROM form_messages WHERE id = '{live}'")
    assert await purge_now(database, deletion_id, tmp_path) == 4
    assert (await deletion(database, deletion_id))["failure"] is None


async def test_a_row_that_comes_after_the_bundle_stops_the_purge_and_the_next_takes_it_along(
    database: Database, tmp_path: Path
) -> None:
    course = await make_course(database)
    deletion_id = await delete(database, "user", course.student)
    late = "INSERT INTO audit_logs (user_id, actor_name, action, resource_type, resource_id)"

    async def add_late_row(tx: Transaction, step: PurgeStep) -> None:
        if not step.done:
            await tx.fetch_text(f"{late} VALUES ('{course.student}', 'late', 'login', 'user', 'x')")

    with pytest.raises(PurgeFailedError, match=r"audit_logs\.user_id"):
        await purge_now(database, deletion_id, tmp_path, witness=add_late_row)
    assert (await deletion(database, deletion_id))["state"] == "failed"
    assert (await fetch(database, f"SELECT 1 FROM users WHERE u_id = '{course.student}'")) != []
    await purge_now(database, deletion_id, tmp_path)
    found = await deletion(database, deletion_id)
    assert found["state"] == "purged"
    assert found["planned_counts"] == found["actual_counts"]
    assert found["planned_counts"]["audit_logs"] == 4
    assert open_bundle(bundle_path(tmp_path, deletion_id)).manifest.rows_by_table() == found["planned_counts"]


async def test_rows_that_went_otherwise_are_told_and_the_next_purge_settles_it(
    database: Database, tmp_path: Path
) -> None:
    course = await make_course(database)
    deletion_id = await delete(database, "form", course.form)

    async def remove_one(tx: Transaction, step: PurgeStep) -> None:
        if not step.done:
            await tx.fetch_text(f"DELETE FROM form_messages WHERE id = '{course.messages[0]}'")

    with pytest.raises(PurgeFailedError, match="instead of"):
        await purge_now(database, deletion_id, tmp_path, witness=remove_one)
    await purge_now(database, deletion_id, tmp_path)
    found = await deletion(database, deletion_id)
    assert (found["state"], found["actual_counts"]) == ("purged", {"forms": 1, "form_messages": 3})


@pytest.mark.parametrize("damage", ["missing", "changed"])
async def test_a_purge_goes_on_only_with_its_own_bundle(damage: str, database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    deletion_id = await delete(database, "form", course.form)
    path = bundle_path(tmp_path, deletion_id)
    await _die_at_the_removal(database, deletion_id, tmp_path)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    with pytest.raises(PurgeFailedError):
        await purge_now(database, deletion_id, tmp_path, clock=at(NOW + timedelta(hours=1)))
    assert (await deletion(database, deletion_id))["state"] == "failed"
    assert len(await fetch(database, "SELECT id FROM form_messages")) == 3
    path.write_bytes(whole)
    await purge_now(database, deletion_id, tmp_path)
    assert (await deletion(database, deletion_id))["state"] == "purged"


async def _die_at_the_removal(database: Database, deletion_id: str, folder: Path) -> None:
    """Die in the transaction after the one that begins the removal."""
    dying = DyingDatabase(database, 10_000)

    async def witness(tx: Transaction, step: PurgeStep) -> None:
        dying._left = 2

    with pytest.raises(DiedError):
        await purge(cast("Any", dying), deletion_id, folder, witness=witness, clock=at(NOW))
    assert (await deletion(database, deletion_id))["state"] == "purging"


@pytest.mark.parametrize("root_type", ["project", pytest.param("user", marks=pytest.mark.slow)])
async def test_a_purge_that_dies_at_any_statement_is_finished_by_the_next_worker(
    root_type: str, database: Database, tmp_path: Path
) -> None:
    # On the servers every third statement: what is done again is the same code.
    died_at, step = 0, 1 if database.dialect_name == "sqlite" else 3
    while True:
        died_at += step
        await run_clear(database)
        course = await make_course(database)
        # An earlier deletion beneath the later one.
        await delete(database, "form-message", course.messages[0])
        root = root_of(root_type, (await root_ids(database, course))[root_type])
        deletion_id = await delete(database, root)
        async with undone(database) as tx:
            await tx.fetch_text(delete_statement(root))
            wanted = await rows_in(tx, TABLES)
        dying = DyingDatabase(database, died_at)
        try:
            await purge_now(cast("Any", dying), deletion_id, tmp_path, pace=SMALL, clock=at(NOW))
        except DiedError:
            later = at(NOW + timedelta(seconds=LEASE_SECONDS + 1))
            await purge_now(database, deletion_id, tmp_path, pace=SMALL, clock=later)
        else:
            break
        assert difference(wanted, await read_rows(database, TABLES)) == [], f"died at statement {died_at}"
        found = await deletion(database, deletion_id)
        assert found["state"] == "purged", f"died at statement {died_at}"
        assert found["actual_counts"] == found["planned_counts"]
        assert files_in(tmp_path) == [f"{deletion_id}.bundle.zip"]
        (tmp_path / f"{deletion_id}.bundle.zip").unlink()
    assert died_at > 30


async def run_clear(database: Database) -> None:
    """Remove every row that a course has."""
    for table in ("users", "group_list", "container_repositories", "deletions"):
        await run(database, f"DELETE FROM {table}")


async def test_of_two_workers_one_purges_and_the_other_waits(database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    deletion_id = await delete(database, "project", course.project)
    done = await asyncio.gather(
        *(purge_now(database, deletion_id, tmp_path, pace=SMALL) for _ in range(2)), return_exceptions=True
    )
    waited = [each for each in done if isinstance(each, PurgeWaitsError)]
    assert sorted(each for each in done if isinstance(each, int))[-1:] == [11]
    assert len(waited) == 1 or 0 in done
    assert (await deletion(database, deletion_id))["state"] == "purged"


async def test_overlapping_purges_come_one_after_the_other(database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    first = await delete(database, "form", course.form)
    second = await delete(database, "project", course.project)
    third = await delete(database, "user", course.student)
    pending = {first, second, third}
    # Each is asked for until it is done, as its job does.
    while pending:
        order = sorted(pending)
        done = await asyncio.gather(*(purge_now(database, each, tmp_path) for each in order), return_exceptions=True)
        for deletion_id, result in zip(order, done, strict=True):
            assert isinstance(result, int | PurgeWaitsError), result
            if isinstance(result, int):
                pending.discard(deletion_id)
    for deletion_id in (first, second, third):
        assert (await deletion(database, deletion_id))["state"] == "purged"
    assert await fetch(database, "SELECT 1 FROM forms") == []


@pytest.mark.parametrize("cause", ["somebody's changes", "a purge under way", "a purge that ended"])
async def test_rows_that_change_while_the_bundle_is_made(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    course = await make_course(database)
    other = await delete(database, "form", course.form)
    deletion_id = await delete(database, "project", course.project)
    changes = {
        "a purge under way": f"state = 'purging', bundle_verified_at = '{NOW:%Y-%m-%d %H:%M:%S}'",
        "a purge that ended": "state = 'purged'",
    }
    counted = 0

    async def count_others(tx: Transaction, root: str) -> dict[str, int]:
        nonlocal counted
        counted += 1
        if cause in changes:
            await run(database, f"UPDATE deletions SET {changes[cause]} WHERE id = '{other}'")
        return {"forms": 1_000}

    monkeypatch.setattr("holdfast.db.lifecycle.purge.count_closure", count_others)
    expected, state = (PurgeWaitsError, "deleted") if cause in changes else (PurgeFailedError, "failed")
    with pytest.raises(expected):
        await purge_now(database, deletion_id, tmp_path)
    assert counted == (1 if cause in changes else 3)
    assert (await deletion(database, deletion_id))["state"] == state
    assert await fetch(database, "SELECT 1 FROM project_list") != []


async def test_a_worker_whose_lease_was_taken_over_removes_nothing_more(database: Database, tmp_path: Path) -> None:
    course = await make_course(database)
    deletion_id = await delete(database, "project", course.project)
    later = NOW + timedelta(seconds=LEASE_SECONDS + 1)

    async def lose(tx: Transaction, step: PurgeStep) -> None:
        if not step.done:
            await tx.fetch_text(f"UPDATE deletions SET lease_token = 'another' WHERE id = '{deletion_id}'")

    with pytest.raises(LeaseLostError):
        await purge_now(database, deletion_id, tmp_path, witness=lose, clock=at(NOW))
    assert len(await fetch(database, "SELECT id FROM form_messages")) == 3
    with pytest.raises(PurgeWaitsError):
        await purge_now(database, deletion_id, tmp_path, clock=at(NOW))
    await purge_now(database, deletion_id, tmp_path, clock=at(later))
    assert (await deletion(database, deletion_id))["state"] == "purged"


async def test_a_purge_beside_many_requests_goes_on(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the waiting: rows go in chunks worth a transaction, and no rest is endless."""
    course = await make_course(database)
    for _ in range(120):
        await make_message(database, course.form, course.stays)
    deletion_id = await delete(database, "form", course.form)
    monkeypatch.setattr("holdfast.db.lifecycle.purge_removal._LONGEST_REST_SECONDS", 0.01)
    before = _transactions()
    async with asyncio.timeout(60):
        await purge_now(database, deletion_id, tmp_path, pace=Pace(200, target_seconds=0, rest_share=1e9))
    assert (await deletion(database, deletion_id))["state"] == "purged"
    # Of 50 rows each, and some that take the lease and end it.
    assert _transactions() - before < 15


def _transactions() -> float:
    return REGISTRY.get_sample_value("holdfast_purge_transaction_seconds_count") or 0


async def test_a_full_pool_is_waited_out_while_the_lease_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    tried = []

    class Full:
        def write(self) -> None:
            tried.append(now)
            raise PoolExhaustedError("all connections were busy", retry_after_seconds=1)

    monkeypatch.setattr("holdfast.db.lifecycle.purge_lease.time.monotonic", lambda: now)
    lease = Lease(cast(Database, Full()), "a deletion", at(NOW))
    now += LEASE_SECONDS / 3
    await lease.renew_sometimes()
    now += 1
    await lease.renew_sometimes()
    assert len(tried) == 2
    now += LEASE_SECONDS / 3
    with pytest.raises(PoolExhaustedError):
        await lease.renew_sometimes()

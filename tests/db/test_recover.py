"""Recovery: delete, purge and recover give back the database row by row, on the same engine and on another one."""

import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from holdfast.core.clock import utc_now
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle import recover_rows
from holdfast.db.lifecycle.bundle import bundle_path, write_bundle
from holdfast.db.lifecycle.bundle_file import open_bundle
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.plan import root_of
from holdfast.db.lifecycle.recover import Recovery, RecoveryRefusedError, check_recovery, recover
from holdfast.db.lifecycle.recover_rows import BundleRows, KeyIndex
from holdfast.db.lifecycle.trash import find_conflicts, unmark
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.db.tables import audit_logs, forms, users
from tests.conftest import ENGINES, NewDatabase
from tests.db.deleting import NOON, Course, delete, deletion, make_course, purge_now
from tests.db.interruptions import DiedError, DyingDatabase
from tests.db.rows import fetch, run
from tests.db.snapshots import CONTENT, Snapshot, counted, difference, put_rows, read_all, read_rows, without_numbers
from tests.db.test_purge import SMALL, root_ids, run_clear
from tests.factories import insert_row, make_user
from tests.instance import instance_settings


async def no_witness(tx: Transaction, recovery: Recovery) -> None:
    """Nobody is told."""


async def recover_now(database: Database, deletion_id: str, folder: Path, **options: Any) -> Recovery:
    return await recover(database, bundle_path(folder, deletion_id), **{"witness": no_witness} | options)


async def refused(database: Database, deletion_id: str, folder: Path) -> list[tuple[str, str, str]]:
    """The conflicts, told alike by the dry run and the real one, neither of which changes anything."""
    before = await read_all(database)
    planned = await check_recovery(database, bundle_path(folder, deletion_id))
    with pytest.raises(RecoveryRefusedError) as caught:
        await recover_now(database, deletion_id, folder)
    assert caught.value.details["conflicts"] == planned.conflicts
    assert difference(before, await read_all(database)) == []
    return [(each.kind, each.table, each.key) for each in planned.conflicts]


def without_revocations(lines: list[str]) -> list[str]:
    """Tokens that were good before the deletion come back revoked."""
    return [line for line in lines if not (line.startswith("* tokens") and "revoked_at" in line)]


@pytest.fixture
async def course(database: Database) -> Course:
    return await make_course(database)


@pytest.mark.conformance("X-09")
@pytest.mark.parametrize("root_type", sorted(GRAPH.root_types))
async def test_delete_purge_and_recover_give_back_every_row(
    root_type: str, database: Database, course: Course, tmp_path: Path
) -> None:
    root = root_of(root_type, (await root_ids(database, course))[root_type])
    before = await read_rows(database)
    deletion_id = await delete(database, root)
    removed = await purge_now(database, deletion_id, tmp_path)
    planned = await check_recovery(database, bundle_path(tmp_path, deletion_id))
    done = await recover_now(database, deletion_id, tmp_path)
    assert without_revocations(difference(before, await read_rows(database))) == []
    assert done == planned
    assert sum(done.inserted.values()) == removed
    assert done.present == done.emptied == {}
    found = await deletion(database, deletion_id)
    assert (found["state"], found["actual_counts"]) == ("restored", done.live)
    again = await recover_now(database, deletion_id, tmp_path)
    assert (again.was_recovered, again.inserted) == (True, {})


@pytest.fixture
async def elsewhere(
    request: pytest.FixtureRequest, new_database: NewDatabase, tmp_path: Path
) -> AsyncIterator[Database]:
    """An empty database of the engine that the test names."""
    settings = instance_settings(new_database(request.param), tmp_path)
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        yield database


@pytest.mark.parametrize("elsewhere", ENGINES, indirect=True)
async def test_a_bundle_is_recovered_on_any_engine(
    elsewhere: Database, database: Database, course: Course, tmp_path: Path
) -> None:
    before = await read_rows(database)
    nested = await delete(database, "form-message", course.messages[0])
    # What the other database holds of deletions comes with the bundles alone.
    first = await delete(database, "user", course.student)
    second = await delete(database, "group", course.group)
    await purge_now(database, second, tmp_path)
    await purge_now(database, first, tmp_path)
    await put_rows(elsewhere, await read_rows(database))
    # Other rows have been given numbers since.
    await recover_now(elsewhere, first, tmp_path)
    await recover_now(elsewhere, second, tmp_path)
    async with elsewhere.write() as tx:
        await unmark(tx, nested)
    after = await read_rows(elsewhere)
    assert without_revocations(difference(without_numbers(before), without_numbers(after))) == []
    for deletion_id, state in ((first, "restored"), (second, "restored"), (nested, "deleted")):
        assert (await deletion(elsewhere, deletion_id))["state"] == state


async def test_numbers_that_were_given_to_other_rows_are_not_taken_from_them(
    database: Database, course: Course, tmp_path: Path
) -> None:
    before = await read_rows(database)
    deletion_id = await delete(database, "user", course.student)
    await purge_now(database, deletion_id, tmp_path)
    own = sorted(key for key, row in before["audit_logs"].items() if row["user_id"] == course.student)
    other = {"user_id": course.stays, "actor_name": "x", "action": "y", "resource_type": "z", "resource_id": "1"}
    await insert_row(database, audit_logs, id=own[0][0], **other)
    done = await recover_now(database, deletion_id, tmp_path)
    assert done.inserted["audit_logs"] == 3
    rows = (await read_rows(database))["audit_logs"]
    assert rows[own[0]]["user_id"] == course.stays
    assert len([row for row in rows.values() if row["user_id"] == course.student]) == 3
    await insert_row(database, audit_logs, **other)


async def test_a_name_that_is_taken_and_a_parent_that_is_gone_are_told_before_anything_is_written(
    database: Database, course: Course, tmp_path: Path
) -> None:
    user = await delete(database, "user", course.student)
    await purge_now(database, user, tmp_path)
    await make_user(database, "student")
    group = await delete(database, "group", course.group)
    await purge_now(database, group, tmp_path)
    assert set(await refused(database, user, tmp_path)) >= {
        ("name", "users", course.student),
        ("parent", "user_group", f"{course.student}/{course.group}"),
    }
    assert (await deletion(database, user))["state"] == "purged"


async def test_a_parent_that_is_deleted_is_told_with_its_deletion(
    database: Database, course: Course, tmp_path: Path
) -> None:
    form = await delete(database, "form", course.form)
    await purge_now(database, form, tmp_path)
    above = await delete(database, "project", course.project)
    assert await refused(database, form, tmp_path) == [("parent", "forms", course.form)]
    planned = await check_recovery(database, bundle_path(tmp_path, form))
    assert above in planned.conflicts[0].message
    async with database.write() as tx:
        assert await find_conflicts(tx, above) == []
        await unmark(tx, above)
    await recover_now(database, form, tmp_path)


async def test_a_row_that_is_there_and_differs_is_told(database: Database, course: Course, tmp_path: Path) -> None:
    deletion_id = await delete(database, "form", course.form)
    await purge_now(database, deletion_id, tmp_path)
    await insert_row(database, forms, id=course.form, user_id=course.student, title="Another question")
    assert await refused(database, deletion_id, tmp_path) == [("differs", "forms", course.form)]


async def test_a_deletion_that_was_not_purged_is_restored_instead(
    database: Database, course: Course, tmp_path: Path
) -> None:
    deletion_id = await delete(database, "form", course.form)
    await purge_now(database, deletion_id, tmp_path)
    await recover_now(database, deletion_id, tmp_path)
    await run(database, "UPDATE deletions SET state = 'deleted'")
    now = utc_now().strftime("%Y-%m-%d %H:%M:%S.000000")
    for table in ("forms", "form_messages"):
        await run(database, f"UPDATE {table} SET deletion_id = '{deletion_id}', deleted_at = '{now}'")
    # Its rows differ from those of the bundle in the time of the deletion alone.
    with pytest.raises(RecoveryRefusedError):
        await recover_now(database, deletion_id, tmp_path)
    await run(database, "UPDATE deletions SET state = 'purging'")
    with pytest.raises(RecoveryRefusedError, match="at this moment"):
        await recover_now(database, deletion_id, tmp_path)


async def test_a_purge_that_failed_halfway_is_recovered_with_the_rows_that_stayed(
    database: Database, course: Course, tmp_path: Path
) -> None:
    before = await read_rows(database)
    deletion_id = await delete(database, "project", course.project)
    dying = DyingDatabase(database, 10_000)

    async def die_soon(tx: Transaction, step: Any) -> None:
        dying._left = 12

    with pytest.raises(DiedError):
        await purge_now(cast("Any", dying), deletion_id, tmp_path, pace=SMALL, witness=die_soon)
    left = counted(await read_rows(database))
    assert counted(before) != left
    assert left["project_list"] == 2
    await run(database, "UPDATE deletions SET state = 'failed', lease_token = NULL, lease_until = NULL")
    done = await recover_now(database, deletion_id, tmp_path)
    assert done.present != {}
    assert difference(before, await read_rows(database)) == []


async def test_pointers_are_set_again_only_where_they_are_still_empty(
    database: Database, course: Course, tmp_path: Path
) -> None:
    deletion_id = await delete(database, "user", course.teacher)
    await purge_now(database, deletion_id, tmp_path)
    pointers: dict[str, str | None] = {course.request: None, course.outside_request: None}
    assert dict(await fetch(database, "SELECT id, reviewer_id FROM image_requests")) == pointers
    await run(database, f"UPDATE image_requests SET reviewer_id = '{course.stays}' WHERE id = '{course.request}'")
    done = await recover_now(database, deletion_id, tmp_path)
    assert done.pointers == {"image_requests.reviewer_id": 1}
    pointers = {course.request: course.stays, course.outside_request: course.teacher}
    assert dict(await fetch(database, "SELECT id, reviewer_id FROM image_requests")) == pointers


async def test_a_pointer_to_what_is_gone_comes_back_empty(database: Database, course: Course, tmp_path: Path) -> None:
    project = await delete(database, "project", course.project)
    await purge_now(database, project, tmp_path)
    teacher = await delete(database, "user", course.teacher)
    await purge_now(database, teacher, tmp_path)
    conflicts = await refused(database, project, tmp_path)
    assert {kind for kind, _, _ in conflicts} == {"parent"}
    # The teacher comes back; the request that a rule points to does not.
    await recover_now(database, teacher, tmp_path)
    path = bundle_path(tmp_path, project)
    await recover_now(database, project, tmp_path)
    assert open_bundle(path).manifest.rows_by_table()["image_requests"] == 1
    request = await delete(database, "image-request", course.request)
    rule = await delete(database, "image", course.rule)
    await purge_now(database, rule, tmp_path)
    await purge_now(database, request, tmp_path)
    done = await recover_now(database, rule, tmp_path)
    assert done.emptied == {"image_allow_list.request_id": 1}
    assert await fetch(database, f"SELECT request_id FROM image_allow_list WHERE id = '{course.rule}'") == [(None,)]


@pytest.mark.conformance("C-13")
async def test_an_earlier_deletion_beneath_can_be_restored_again(
    database: Database, course: Course, tmp_path: Path
) -> None:
    before = await read_rows(database)
    message = await delete(database, "form-message", course.messages[1])
    form = await delete(database, "form", course.form)
    project = await delete(database, "project", course.project)
    await purge_now(database, project, tmp_path)
    assert (await deletion(database, form))["state"] == "purged"
    await recover_now(database, project, tmp_path)
    for nested, counts in ((message, {"form_messages": 1}), (form, {"form_messages": 2, "forms": 1})):
        found = await deletion(database, nested)
        assert (found["state"], found["purged_with"], found["actual_counts"]) == ("deleted", None, counts)
    async with database.write() as tx:
        assert await unmark(tx, form) == {"form_messages": 2, "forms": 1}
        assert await unmark(tx, message) == {"form_messages": 1}
    assert difference(before, await read_rows(database)) == []


async def test_bundles_that_overlap_give_back_everything_in_either_order(
    database: Database, course: Course, tmp_path: Path
) -> None:
    before = await read_rows(database)
    project = await delete(database, "project", course.project)
    student = await delete(database, "user", course.student)
    # The student's purge takes the student's rows of the project, which bear the project's deletion.
    await purge_now(database, student, tmp_path)
    await purge_now(database, project, tmp_path)
    await recover_now(database, project, tmp_path)
    assert without_revocations(difference(before, await read_rows(database))) != []
    await recover_now(database, student, tmp_path)
    assert without_revocations(difference(before, await read_rows(database))) == []
    assert (await deletion(database, project))["state"] == "restored"


async def test_bundles_that_were_both_made_first_do_not_wait_for_each_other(
    database: Database, course: Course, tmp_path: Path
) -> None:
    """As the procedures purge: each bundle holds the rows between the two, and lacks one parent of them."""
    before = await read_rows(database)
    student = await delete(database, "user", course.student)
    project = await delete(database, "project", course.project)
    for deletion_id in (student, project):
        await write_bundle(database, deletion_id, tmp_path, made_at=utc_now(), renew=_nothing_to_renew)
    await run(database, f"DELETE FROM users WHERE u_id = '{course.student}'")
    await run(database, f"DELETE FROM project_list WHERE p_id = '{course.project}'")
    await run(database, "UPDATE deletions SET state = 'purged'")
    with pytest.raises(RecoveryRefusedError, match="recover the bundle that holds it first"):
        await recover_now(database, student, tmp_path)
    done = await recover_now(database, project, tmp_path)
    assert done.left
    assert set(done.left) <= {"forms", "form_messages", "image_requests", "image_allow_list", "course_workloads"}
    await recover_now(database, student, tmp_path)
    assert without_revocations(difference(before, await read_rows(database))) == []


async def _nothing_to_renew() -> None:
    """Nobody else wants the deletion."""


async def test_nothing_is_seen_of_a_recovery_until_all_of_it_is_there(
    database: Database, course: Course, tmp_path: Path
) -> None:
    deletion_id = await delete(database, "project", course.project)
    await purge_now(database, deletion_id, tmp_path)

    async def witness(tx: Transaction, done: Recovery) -> None:
        async with database.read() as other:
            if database.dialect_name != "sqlite":
                live = "SELECT count(*) FROM forms WHERE deletion_id = ''"
                assert [tuple(row) for row in await other.fetch_text(live)] == [(0,)]
            marked = f"SELECT count(*) FROM forms WHERE deletion_id = '{deletion_id}'"
            assert [tuple(row) for row in await other.fetch_text(marked)] == [(1,)]
        assert done.live["forms"] == 1

    await recover_now(database, deletion_id, tmp_path, witness=witness)


@pytest.mark.slow
async def test_a_recovery_that_dies_at_any_statement_is_finished_by_the_next(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover_rows, "ROWS_AT_ONCE", 2)
    died_at, step = 0, 1 if database.dialect_name == "sqlite" else 3
    while True:
        died_at += step
        await run_clear(database)
        course = await make_course(database)
        await delete(database, "form-message", course.messages[0])
        before = await read_rows(database)
        deletion_id = await delete(database, "user", course.student)
        await purge_now(database, deletion_id, tmp_path)
        try:
            await recover_now(cast("Any", DyingDatabase(database, died_at)), deletion_id, tmp_path)
        except DiedError:
            assert (
                await fetch(database, f"SELECT 1 FROM users WHERE u_id = '{course.student}' AND deletion_id = ''") == []
            )
            await recover_now(database, deletion_id, tmp_path)
        else:
            break
        lines = without_revocations(difference(before, await read_rows(database)))
        assert lines == [], f"died at statement {died_at}"
        assert (await deletion(database, deletion_id))["state"] == "restored"
    assert died_at > 60


async def test_rows_of_an_older_schema_are_upgraded_while_they_are_read(
    database: Database, course: Course, tmp_path: Path
) -> None:
    deletion_id = await delete(database, "user", course.student)
    await purge_now(database, deletion_id, tmp_path)

    def add_name(table: str, fields: dict[str, Any]) -> dict[str, Any]:
        return fields | ({"full_name": f"{fields['username']}!"} if table == "users" else {})

    def add_mail(table: str, fields: dict[str, Any]) -> dict[str, Any]:
        return fields | ({"email": f"{fields['full_name']}@x"} if table == "users" else {})

    rows = BundleRows(open_bundle(bundle_path(tmp_path, deletion_id)), [add_name, add_mail])
    ((user,),) = [page async for page in rows.of(users)]
    assert (user.full_name, user.email) == ("student!", "student!@x")
    assert user.deleted_at == NOON
    assert [len(page) async for page in rows.of(forms)] == [1]


async def test_a_recovery_of_many_rows_goes_in_many_steps(
    database: Database, course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover_rows, "ROWS_AT_ONCE", 7)
    messages = [
        {
            "id": f"m-{number:04}",
            "form_id": course.form,
            "user_id": course.stays,
            "content": f"message {number}",
            "created_at": NOON + timedelta(seconds=number),
        }
        for number in range(300)
    ]
    await put_rows(database, _messages(messages))
    before = await read_rows(database)
    deletion_id = await delete(database, "form", course.form)
    await purge_now(database, deletion_id, tmp_path)
    shares: list[float] = []
    await recover_now(database, deletion_id, tmp_path, progress=shares.append)
    assert difference(before, await read_rows(database)) == []
    assert shares == sorted(shares)
    assert len(shares) > 80
    assert shares[-1] == 1.0


def _messages(rows: list[dict[str, Any]]) -> Snapshot:
    empty = {"deleted_at": None, "deletion_id": ""}
    return {"form_messages": {(row["id"],): row | empty for row in rows}}


def test_every_table_of_content_is_in_the_snapshots() -> None:
    assert {table.name for table in CONTENT} >= {table.name for table in GRAPH.soft_tables} | {"audit_logs"}


async def test_nothing_stays_of_a_recoverys_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even while it is used: a process that is killed removes nothing."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with KeyIndex() as index:
        await index.add(users, (f"u-{number}" for number in range(20_000)))
        await index.add(forms, ["u-20000"])
        assert await index.holding(users, {"u-1", "u-19999", "u-20000"}) == {"u-1", "u-19999"}
        assert os.listdir(tmp_path) == []  # noqa: PTH208

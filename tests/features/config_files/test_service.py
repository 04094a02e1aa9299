"""Config files below HTTP: nothing half-stored, and statements whatever the number of resources (X-04, Q-05)."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest

from holdfast.core.actor import Actor
from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database, Transaction
from holdfast.features.config_files import service
from holdfast.features.config_files.errors import ProjectRulesChangedError
from holdfast.features.config_files.types import CheckedContent, ConfigFile
from tests.factories import make_group, make_project, make_super_admin

TABLES = ("config_files", "resources", "deletions", "audit_logs")


class PowerCutError(Exception):
    """What a failing clock raises."""


class FailingClock:
    """A clock that fails at its n-th reading, so that a change ends in its middle."""

    def __init__(self, failing_reading: int) -> None:
        self.readings_left = failing_reading

    def __call__(self) -> datetime:
        self.readings_left -= 1
        if self.readings_left == 0:
            raise PowerCutError
        return utc_now()


class Desk:
    """A super administrator at a project, and the rows of the tables that config files write."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def fill(self) -> "Desk":
        """Make the rows."""
        u_id = await make_super_admin(self.database)
        self.actor = Actor(user_id=u_id, username="root-of-tests", is_super_admin=True)
        self.p_id = await make_project(self.database, await make_group(self.database))
        return self

    async def create(self, filename: str, checked: CheckedContent, **options: Any) -> ConfigFile:
        async with self.database.write() as tx:
            return await service.create_config_file(
                tx, self.actor, self.p_id, filename=filename, checked=checked, **options
            )

    async def replace(self, cf_id: str, checked: CheckedContent, **options: Any) -> ConfigFile:
        async with self.database.write() as tx:
            return await service.replace_config_file(tx, self.actor, cf_id, checked=checked, **options)

    async def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        async with self.database.read() as tx:
            return {table: sorted(await tx.fetch_text(f"SELECT * FROM {table}"), key=repr) for table in TABLES}


@pytest.fixture
async def desk(database: Database) -> Desk:
    return await Desk(database).fill()


async def checked_settings(names: range, colour: str = "blue") -> CheckedContent:
    texts = [f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{n}}}\ndata: {{colour: {colour}}}\n" for n in names]
    return await service.check_content("---\n".join(texts), allow_privileged=False)


async def fail_at_each_reading(desk: Desk, change: Callable[[FailingClock], Awaitable[object]]) -> int:
    """Let the change fail at each reading of its clock in turn, with nothing left behind, until it succeeds."""
    before = await desk.rows()
    for failing_reading in range(1, 100):
        try:
            await change(FailingClock(failing_reading))
        except PowerCutError:
            assert await desk.rows() == before
        else:
            return failing_reading - 1
    raise AssertionError("the change never succeeded")


@pytest.mark.conformance("X-04")
async def test_a_creation_that_fails_in_its_middle_leaves_nothing(desk: Desk) -> None:
    checked = await checked_settings(range(3))
    failures = await fail_at_each_reading(desk, lambda clock: desk.create("a.yaml", checked, clock=clock))
    assert failures >= 5
    assert {table: len(rows) for table, rows in (await desk.rows()).items()} == {
        "config_files": 1,
        "resources": 3,
        "deletions": 0,
        "audit_logs": 4,
    }


@pytest.mark.conformance("X-04", "F-04")
async def test_an_update_that_fails_in_its_middle_leaves_everything_as_it_was(desk: Desk) -> None:
    file = await desk.create("a.yaml", await checked_settings(range(4)))
    checked = await checked_settings(range(2, 6), "red")
    failures = await fail_at_each_reading(
        desk, lambda clock: desk.replace(file.cf_id, checked, filename="b.yaml", clock=clock)
    )
    assert failures >= 8
    rows = await desk.rows()
    assert {table: len(rows[table]) for table in TABLES} == {
        "config_files": 1,
        "resources": 6,
        "deletions": 1,
        "audit_logs": 5 + 7,
    }


async def statements_of(database: Database, work: Callable[[Transaction], Awaitable[object]]) -> int:
    async with database.write() as tx:
        await work(tx)
        return tx.statements_run


@pytest.mark.conformance("Q-05")
async def test_storing_takes_as_many_statements_for_400_resources_as_for_4(desk: Desk) -> None:
    counts = []
    for number in (4, 400):
        first = await checked_settings(range(number))
        second = await checked_settings(range(number // 2, number * 3 // 2), "red")
        file = await desk.create(f"{number}.yaml", first)
        created = await statements_of(
            desk.database,
            lambda tx, first=first, number=number: service.create_config_file(  # type: ignore[misc]
                tx, desk.actor, desk.p_id, filename=f"again-{number}.yaml", checked=first
            ),
        )
        replaced = await statements_of(
            desk.database,
            lambda tx, file=file, second=second: service.replace_config_file(  # type: ignore[misc]
                tx, desk.actor, file.cf_id, checked=second
            ),
        )
        counts.append((created, replaced))
    assert counts[0] == counts[1]
    assert counts[0][0] <= 4


async def test_privileges_withdrawn_while_a_text_was_read_count(desk: Desk) -> None:
    checked = await service.check_content(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostPID: true}\n", allow_privileged=True
    )
    with pytest.raises(ProjectRulesChangedError):
        await desk.create("a.yaml", checked)
    assert (await desk.rows())["config_files"] == []


async def test_a_text_read_in_a_thread_gives_the_same_as_one_read_at_once() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    short = await service.check_content(text, allow_privileged=False)
    long = await service.check_content(text + "# " + "x" * 10_000, allow_privileged=False)
    assert short.canonical == long.canonical
    assert short.resources == long.resources

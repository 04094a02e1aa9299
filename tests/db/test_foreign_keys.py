"""TestForeignKeyConstraint and TestCascadeDelete of the seed (4.1), by the database alone."""

from functools import cache
from typing import Any

import pytest
from sqlalchemy import Column, Table

from holdfast.db.engines.base import Database
from holdfast.db.errors import ForeignKeyViolationError
from holdfast.db.tables import metadata
from tests.db.rows import count_rows, fetch, key_columns, make_row, parent_key, parent_of, run

# Named one by one, so that none can vanish with its column.
KEYS_OF_THE_SEED = {
    "user_group.u_id": ("users.u_id", "CASCADE"),
    "user_group.g_id": ("group_list.g_id", "CASCADE"),
    "project_list.g_id": ("group_list.g_id", "CASCADE"),
    "config_files.project_id": ("project_list.p_id", "CASCADE"),
    "resources.cf_id": ("config_files.cf_id", "CASCADE"),
    "forms.user_id": ("users.u_id", "CASCADE"),
    "forms.project_id": ("project_list.p_id", "CASCADE"),
    "form_messages.form_id": ("forms.id", "CASCADE"),
    "form_messages.user_id": ("users.u_id", "CASCADE"),
    "container_tags.repository_id": ("container_repositories.id", "CASCADE"),
    "image_requests.user_id": ("users.u_id", "CASCADE"),
    "image_requests.project_id": ("project_list.p_id", "CASCADE"),
    "image_requests.reviewer_id": ("users.u_id", "SET NULL"),
    "image_allow_list.project_id": ("project_list.p_id", "CASCADE"),
    "image_allow_list.tag_id": ("container_tags.id", "CASCADE"),
    "image_allow_list.repository_id": ("container_repositories.id", "CASCADE"),
    "image_allow_list.request_id": ("image_requests.id", "SET NULL"),
    "image_allow_list.created_by": ("users.u_id", "CASCADE"),
    "cluster_image_status.tag_id": ("container_tags.id", "CASCADE"),
    "audit_logs.user_id": ("users.u_id", "CASCADE"),
    "course_workloads.user_id": ("users.u_id", "CASCADE"),
    "course_workloads.project_id": ("project_list.p_id", "CASCADE"),
}
OUR_KEYS = {
    "tokens.user_id": ("users.u_id", "CASCADE"),
    "idempotency_keys.user_id": ("users.u_id", "CASCADE"),
}
ALL_KEYS = KEYS_OF_THE_SEED | OUR_KEYS
LONGEST_CASCADE = 8

_each_key = pytest.mark.parametrize(
    "reference",
    [
        pytest.param(reference, marks=pytest.mark.conformance(f"T-{number:02}"))
        if reference in KEYS_OF_THE_SEED
        else reference
        for number, reference in enumerate(ALL_KEYS, 9)
    ],
)
_any_key = pytest.mark.parametrize("reference", ALL_KEYS)


def test_every_foreign_key_is_named_here() -> None:
    declared = {
        f"{table.name}.{column.name}": (f"{parent_of(column).table.name}.{parent_of(column).name}", key.ondelete)
        for table in metadata.sorted_tables
        for column in table.columns
        for key in column.foreign_keys
    }
    assert len(KEYS_OF_THE_SEED) == 22
    assert declared == ALL_KEYS, "name a new foreign key in OUR_KEYS: the tests below then prove it"


@_each_key
async def test_a_row_without_its_parent_is_refused(database: Database, reference: str) -> None:
    table, column = key_columns(reference)
    with pytest.raises(ForeignKeyViolationError):
        await make_row(database, table, **{column.name: "nobody"})
    assert await count_rows(database, table) == 0


@_any_key
async def test_a_row_cannot_move_to_a_parent_that_is_not_there(database: Database, reference: str) -> None:
    table, column = key_columns(reference)
    row = await make_row(database, table, **{column.name: await parent_key(database, column)})
    with pytest.raises(ForeignKeyViolationError):
        await run(database, f"UPDATE {table.name} SET {column.name} = 'nobody'")
    assert await fetch(database, f"SELECT {column.name} FROM {table.name}") == [(row[column.name],)]


@pytest.mark.conformance("T-31")
@_any_key
async def test_a_new_key_of_the_parent_reaches_its_children(database: Database, reference: str) -> None:
    table, column = key_columns(reference)
    parent = parent_of(column)
    old = await parent_key(database, column)
    await make_row(database, table, **{column.name: old})
    await run(database, f"UPDATE {parent.table.name} SET {parent.name} = 'renamed' WHERE {parent.name} = '{old}'")
    assert await fetch(database, f"SELECT {column.name} FROM {table.name}") == [("renamed",)]


@pytest.mark.conformance("C-12")
@_any_key
async def test_deleting_the_parent_follows_the_rule_of_the_key(database: Database, reference: str) -> None:
    table, column = key_columns(reference)
    parent = parent_of(column)
    key = await parent_key(database, column)
    other = await parent_key(database, column)
    await make_row(database, table, **{column.name: key})
    await make_row(database, table, **{column.name: other})
    await run(database, f"DELETE FROM {parent.table.name} WHERE {parent.name} = '{key}'")
    left = {row[0] for row in await fetch(database, f"SELECT {column.name} FROM {table.name}")}
    assert left == ({other} if ALL_KEYS[reference][1] == "CASCADE" else {other, None})


def test_no_cascade_is_longer_than_mariadb_follows() -> None:
    @cache
    def longest_below(name: str) -> int:
        children = [
            table.name
            for table in metadata.sorted_tables
            for column in table.columns
            if column.foreign_keys and parent_of(column).table.name == name
        ]
        return 1 + max(map(longest_below, children), default=0)

    assert max(longest_below(table.name) for table in metadata.sorted_tables) <= LONGEST_CASCADE


class Faculty:
    """Two groups, each with everything that can hang on it; both images were requested by a third user."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.rows: dict[str, dict[str, Any]] = {}

    async def fill(self) -> "Faculty":
        for side in ("left", "right"):
            other = "right" if side == "left" else "left"
            await self._make(f"{side} user", "users")
            await self._make(f"{side} group", "group_list")
            await self._make(f"{side} project", "project_list", g_id=f"{side} group")
            await self._make(f"{side} member", "user_group", u_id=f"{side} user", g_id=f"{side} group")
            await self._make(f"{side} file", "config_files", project_id=f"{side} project")
            await self._make(f"{side} resource", "resources", cf_id=f"{side} file")
            await self._make(f"{side} form", "forms", user_id=f"{side} user", project_id=f"{side} project")
            await self._make(f"{side} message", "form_messages", form_id=f"{side} form", user_id=f"{side} user")
            await self._make(
                f"{side} workload", "course_workloads", user_id=f"{side} user", project_id=f"{side} project"
            )
            await self._make(f"{side} audit", "audit_logs", user_id=f"{side} user")
            await self._make(f"{side} repository", "container_repositories")
            await self._make(f"{side} tag", "container_tags", repository_id=f"{side} repository")
            await self._make(f"{side} status", "cluster_image_status", tag_id=f"{side} tag")
            if side == "right":
                await self._make_what_crosses(side, other)
        return self

    async def _make_what_crosses(self, right: str, left: str) -> None:
        for own, other in ((right, left), (left, right)):
            await self._make(
                f"{own} request",
                "image_requests",
                user_id=f"{own} user",
                project_id=f"{own} project",
                reviewer_id=f"{other} user",
            )
            await self._make(
                f"{own} rule",
                "image_allow_list",
                project_id=f"{own} project",
                repository_id=f"{own} repository",
                tag_id=f"{own} tag",
                request_id=f"{own} request",
                created_by=f"{own} user",
            )
            await self._make(f"{own} guest message", "form_messages", form_id=f"{other} form", user_id=f"{own} user")
        await self._make(
            "global rule",
            "image_allow_list",
            repository_id="right repository",
            request_id="left request",
            created_by="right user",
        )

    async def _make(self, label: str, table_name: str, **parents: str) -> None:
        table = metadata.tables[table_name]
        keys = {column: self._key_of(parents[column], table.columns[column]) for column in parents}
        self.rows[label] = {"table": table, **await make_row(self.database, table, **keys)}

    def _key_of(self, label: str, column: Column[Any]) -> Any:
        return self.rows[label][parent_of(column).name]

    async def delete(self, label: str) -> None:
        """Delete one row with raw SQL."""
        row = self.rows[label]
        await run(self.database, f"DELETE FROM {row['table'].name} WHERE {_condition(row['table'], row)}")

    async def gone(self) -> set[str]:
        """The labels whose rows are no longer there."""
        missing = set()
        for label, row in self.rows.items():
            if not await fetch(
                self.database, f"SELECT 1 FROM {row['table'].name} WHERE {_condition(row['table'], row)}"
            ):
                missing.add(label)
        return missing

    async def value(self, label: str, column: str) -> Any:
        """One value of a row that is there."""
        row = self.rows[label]
        (found,) = await fetch(
            self.database, f"SELECT {column} FROM {row['table'].name} WHERE {_condition(row['table'], row)}"
        )
        return found[0]


def _condition(table: Table, row: dict[str, Any]) -> str:
    # Audit rows are numbered by the database; each user has one here.
    names = [column.name for column in table.primary_key.columns if column.name in row] or ["user_id"]
    return " AND ".join(f"{name} = '{row[name]}'" for name in names)


@pytest.fixture
async def faculty(database: Database) -> Faculty:
    return await Faculty(database).fill()


_OF_A_PROJECT = {"project", "file", "resource", "form", "message", "request", "rule", "workload"}


@pytest.mark.parametrize(
    ("root", "goes"),
    [
        pytest.param(
            "left user",
            {"left user", "left member", "left form", "left message", "left request", "left rule", "left workload"}
            | {"left audit", "left guest message", "right guest message"},
            marks=pytest.mark.conformance("C-01", "C-03"),
            id="user",
        ),
        pytest.param(
            "left group",
            {f"left {what}" for what in _OF_A_PROJECT | {"group", "member"}} | {"right guest message"},
            marks=pytest.mark.conformance("C-04", "C-05"),
            id="group",
        ),
        pytest.param(
            "left project",
            {f"left {what}" for what in _OF_A_PROJECT} | {"right guest message"},
            marks=pytest.mark.conformance("C-06"),
            id="project",
        ),
        pytest.param(
            "left file", {"left file", "left resource"}, marks=pytest.mark.conformance("C-07"), id="config file"
        ),
        pytest.param(
            "left form",
            {"left form", "left message", "right guest message"},
            marks=pytest.mark.conformance("C-08"),
            id="form",
        ),
        pytest.param("left request", {"left request"}, marks=pytest.mark.conformance("C-09"), id="request"),
        pytest.param(
            "right repository",
            {"right repository", "right tag", "right status", "right rule", "global rule"},
            marks=pytest.mark.conformance("C-10"),
            id="repository",
        ),
        pytest.param(
            "right tag", {"right tag", "right status", "right rule"}, marks=pytest.mark.conformance("C-10"), id="tag"
        ),
    ],
)
async def test_a_hard_delete_takes_exactly_what_hangs_on_it(faculty: Faculty, root: str, goes: set[str]) -> None:
    await faculty.delete(root)
    assert await faculty.gone() == goes


@pytest.mark.conformance("C-02")
async def test_a_reviewed_request_outlives_its_reviewer(faculty: Faculty) -> None:
    await faculty.delete("left user")
    assert await faculty.value("right request", "reviewer_id") is None


@pytest.mark.conformance("C-09")
async def test_rules_outlive_their_request(faculty: Faculty) -> None:
    await faculty.delete("left request")
    assert await faculty.value("left rule", "request_id") is None
    assert await faculty.value("global rule", "request_id") is None
    assert await faculty.value("right rule", "request_id") == faculty.rows["right request"]["id"]


@pytest.mark.conformance("C-11")
async def test_a_delete_that_fails_later_leaves_everything(faculty: Faculty, database: Database) -> None:
    group = faculty.rows["left group"]["g_id"]

    async def delete_and_fail() -> None:
        async with database.write() as tx:
            await tx.fetch_text(f"DELETE FROM group_list WHERE g_id = '{group}'")
            await tx.fetch_text("INSERT INTO user_group (u_id, g_id) VALUES ('nobody', 'nowhere')")

    with pytest.raises(ForeignKeyViolationError):
        await delete_and_fail()
    assert await faculty.gone() == set()

"""TestForeignKeyConstraint of the seed (4.1), by the database alone."""

from functools import cache

import pytest

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

"""The six views: right numbers on a small faculty, nothing deleted, nothing twice, no password (V-01 to V-03)."""

from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.db.engines.base import Database
from holdfast.db.tables import config_files, group_list, project_list, resources, user_group, users
from tests.db.conftest import OpenAnother
from tests.db.live import view_names
from tests.db.rows import fetch, make_row, run

_COLUMNS = {
    "project_group_views": "g_id group_name project_count resource_count user_count group_created_at group_updated_at",
    "project_resource_views": "p_id project_name r_id type name filename resource_created_at",
    "group_resource_views": "g_id group_name p_id project_name r_id resource_type resource_name filename"
    " resource_created_at",
    "user_group_views": "u_id username g_id group_name role",
    "users_with_superadmin": "u_id username email full_name type status created_at updated_at is_super_admin",
    "project_user_views": "p_id project_name g_id group_name u_id username role",
}


@pytest.fixture
async def faculty(database: Database) -> Database:
    """Physics with two people, two projects and three resources; chemistry with nothing; and group `super`."""
    for name in ("ada", "bob", "eve"):
        await make_row(database, users, u_id=name, username=name)
    for g_id, name in (("phys", "physics"), ("chem", "chemistry"), ("super_group", "super")):
        await make_row(database, group_list, g_id=g_id, group_name=name)
    for u_id, g_id, role in (
        ("ada", "phys", "manager"),
        ("bob", "phys", "user"),
        ("eve", "super_group", "admin"),
        ("ada", "super_group", "user"),
        ("bob", "chem", "admin"),
    ):
        await make_row(database, user_group, u_id=u_id, g_id=g_id, role=role)
    for p_id in ("optics", "waves"):
        await make_row(database, project_list, p_id=p_id, project_name=p_id, g_id="phys")
    for cf_id, p_id in (("f1", "optics"), ("f2", "optics"), ("f3", "waves")):
        await make_row(database, config_files, cf_id=cf_id, project_id=p_id, filename=f"{cf_id}.yaml")
    for r_id, cf_id in (("r1", "f1"), ("r2", "f1"), ("r3", "f2")):
        await make_row(database, resources, r_id=r_id, cf_id=cf_id, type="pod", name=f"pod/{r_id}")
    return database


async def _rows(database: Database, columns: str, view: str) -> set[tuple[Any, ...]]:
    rows = await fetch(database, f"SELECT {columns} FROM {view}")
    assert len(rows) == len(set(rows)), "a row stands there twice"
    return set(rows)


async def _mark_deleted(database: Database, table: str, condition: str) -> None:
    await run(
        database, f"UPDATE {table} SET deletion_id = 'gone', deleted_at = '{datetime.now(UTC):%F %T}' WHERE {condition}"
    )


@pytest.mark.conformance("V-01")
async def test_the_counts_of_a_group_are_not_multiplied(faculty: Database) -> None:
    counts = await _rows(faculty, "g_id, project_count, resource_count, user_count", "project_group_views")
    assert counts == {("phys", 2, 3, 2), ("chem", 0, 0, 1), ("super_group", 0, 0, 2)}


@pytest.mark.conformance("V-01")
async def test_resources_are_listed_with_their_project_and_group(faculty: Database) -> None:
    of_projects = await _rows(faculty, "p_id, r_id, type, name, filename", "project_resource_views")
    assert of_projects == {
        ("optics", "r1", "pod", "pod/r1", "f1.yaml"),
        ("optics", "r2", "pod", "pod/r2", "f1.yaml"),
        ("optics", "r3", "pod", "pod/r3", "f2.yaml"),
    }
    of_groups = await _rows(faculty, "g_id, p_id, r_id, resource_type, resource_name", "group_resource_views")
    assert of_groups == {("phys", p_id, r_id, kind, name) for p_id, r_id, kind, name, _ in of_projects}


@pytest.mark.conformance("V-01")
async def test_people_are_listed_with_their_groups_and_projects(faculty: Database) -> None:
    assert await _rows(faculty, "username, group_name, role", "user_group_views") == {
        ("ada", "physics", "manager"),
        ("bob", "physics", "user"),
        ("eve", "super", "admin"),
        ("ada", "super", "user"),
        ("bob", "chemistry", "admin"),
    }
    assert await _rows(faculty, "p_id, username, role", "project_user_views") == {
        (p_id, name, role) for p_id in ("optics", "waves") for name, role in (("ada", "manager"), ("bob", "user"))
    }


@pytest.mark.conformance("V-02")
async def test_exactly_the_admins_of_super_are_super_admins(faculty: Database) -> None:
    assert await _rows(faculty, "u_id, is_super_admin", "users_with_superadmin") == {("ada", 0), ("bob", 0), ("eve", 1)}
    await _mark_deleted(faculty, "user_group", "u_id = 'eve'")
    assert ("eve", 0) in await _rows(faculty, "u_id, is_super_admin", "users_with_superadmin")


@pytest.mark.conformance("V-01")
@pytest.mark.parametrize(
    ("table", "condition", "hidden", "left"),
    [
        ("resources", "r_id = 'r1'", "r1", {"project_resource_views": 2, "group_resource_views": 2}),
        ("config_files", "cf_id = 'f1'", "r1", {"project_resource_views": 1, "group_resource_views": 1}),
        ("project_list", "p_id = 'optics'", "optics", {"project_resource_views": 0, "project_user_views": 2}),
        (
            "group_list",
            "g_id = 'phys'",
            "phys",
            {"project_group_views": 2, "group_resource_views": 0, "user_group_views": 3, "project_user_views": 0},
        ),
        (
            "users",
            "u_id = 'ada'",
            "ada",
            {"users_with_superadmin": 2, "user_group_views": 3, "project_user_views": 2, "project_group_views": 3},
        ),
        ("user_group", "u_id = 'ada' AND g_id = 'phys'", "manager", {"user_group_views": 4, "project_user_views": 2}),
    ],
)
async def test_a_deleted_row_is_in_no_view(
    faculty: Database, table: str, condition: str, hidden: str, left: dict[str, int]
) -> None:
    await _mark_deleted(faculty, table, condition)
    for view, rows in left.items():
        found = await _rows(faculty, "*", view)
        assert len(found) == rows, view
        assert not any(hidden in row for row in found), view


@pytest.mark.conformance("V-01")
async def test_deleted_rows_are_not_counted(faculty: Database) -> None:
    for table, condition in (
        ("users", "u_id = 'bob'"),
        ("project_list", "p_id = 'waves'"),
        ("config_files", "cf_id = 'f2'"),
        ("resources", "r_id = 'r2'"),
    ):
        await _mark_deleted(faculty, table, condition)
    counts = await _rows(faculty, "g_id, project_count, resource_count, user_count", "project_group_views")
    assert counts == {("phys", 1, 1, 1), ("chem", 0, 0, 0), ("super_group", 0, 0, 2)}


@pytest.mark.conformance("V-02")
@pytest.mark.parametrize("view", _COLUMNS)
async def test_a_view_has_its_columns_and_no_password(database: Database, view: str) -> None:
    # An empty view has columns, too: each must be selectable, and together they are all there are.
    names = _COLUMNS[view].split()
    await make_row(database, user_group)
    assert await fetch(database, f"SELECT {', '.join(names)} FROM {view} WHERE 1 = 0") == []
    for row in await fetch(database, f"SELECT * FROM {view}"):
        assert len(row) == len(names)
    assert "password" not in names


@pytest.mark.conformance("V-03")
async def test_the_views_are_there_for_the_next_process(faculty: Database, open_another: OpenAnother, url: str) -> None:
    assert view_names(url) == set(_COLUMNS)
    async with open_another() as restarted:
        for view in _COLUMNS:
            assert await fetch(restarted, f"SELECT * FROM {view}") == await fetch(faculty, f"SELECT * FROM {view}")

"""What an inspection tells of an older database, and that it writes nothing."""

import json
from pathlib import Path

import pytest

from holdfast.operations.legacy.inspecting import inspect_legacy
from holdfast.operations.legacy.report import MEANINGS
from holdfast.operations.legacy.types import Options
from tests.operations.legacy.conftest import Legacy
from tests.operations.legacy.loading import open_legacy


@pytest.mark.conformance("S-15")
@pytest.mark.parametrize("name", ["february_2026", "seed7_mariadb", "seed7_sqlite"])
async def test_an_inspection_counts_what_is_wrong_and_says_what_it_becomes(legacy: Legacy, name: str) -> None:
    url, expected = legacy(name)
    found = await inspect_legacy(url, Options())
    counts = {(each.table, each.code, each.column): each.rows for each in found.findings}
    assert counts["group_list", "super_group", "g_id"] == 1
    assert counts["users", "well_known_hash", "password"] == 1
    assert counts["config_files", "clash", "filename"] == 2
    assert counts["resources", "kind_unknown", "type"] == 1
    assert counts["user_group", "orphan", "g_id"] == 1
    assert counts["users", "wrong_time", "created_at"] >= 1
    assert counts["forms", "too_long", "title"] == 1
    assert counts["course_workloads", "enum_unknown", "status"] == 1
    assert counts["container_tags", "deleted_with_parent", "deleted_at"] == 1
    assert all(each.meaning for each in found.findings)
    made = sum(each.rows for each in found.report.outcomes if each.outcome == "made")
    # Two entries of the log are kept, and the user who stands for those who made them.
    assert made == sum(expected.target_counts.values()) + 3
    (title,) = [each for each in found.findings if (each.table, each.code) == ("forms", "too_long")]
    assert (title.example, len(title.new or "")) == ("200", 255)


async def test_nothing_of_the_older_database_is_changed(legacy: Legacy) -> None:
    url, _ = legacy("mixed")
    with open_legacy(url) as older:
        before = {table: older.count(table) for table in older.tables()}
        await inspect_legacy(url, Options())
        assert {table: older.count(table) for table in older.tables()} == before


async def test_the_report_has_a_line_for_every_row(legacy: Legacy, tmp_path: Path) -> None:
    url, _ = legacy("february_2026")
    path = tmp_path / "report.jsonl"
    found = await inspect_legacy(url, Options(), path=path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    left_out = sum(each.rows for each in found.report.outcomes if each.outcome == "left_out")
    assert sum(line["outcome"] == "left_out" for line in lines) == left_out
    assert all(note["code"] in MEANINGS for line in lines for note in line["notes"])
    (lost,) = [line for line in lines if (line["table"], line["old_key"]) == ("project_list", "160")]
    assert lost["notes"] == [{"code": "orphan", "column": "g_id", "old": "999", "why": "group_list has no row 999"}]
    assert path.stat().st_mode & 0o077 == 0
    assert not path.with_name(f".{path.name}.part").exists()

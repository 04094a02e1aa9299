"""P7: that both sides of every line give the same rows, and that the clean-up by the application leaves none."""

from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection

from bench import before, seed_table
from bench.orm_cascade import OrmCascade, engine_of
from bench.stand import Stand, loaded_stand
from holdfast.db.tables import config_files, form_messages, forms, group_list, project_list, resources, user_group


def test_the_rows_of_the_seeds_table_come_by_the_hundred() -> None:
    rows = seed_table.SeedTable(seed_table.BRIEF)
    written = [(table, list(found)) for table, found in rows.tables()]
    joined = [row for table, found in written if table is user_group for row in found if row["u_id"] == rows.user_id]
    of_project = {
        table.name: [row for each, found in written if each is table for row in found if row["project_id"] == owner]
        for table, owner in ((config_files, rows.project_id), (forms, rows.project_id))
    }
    assert len({row["g_id"] for row in joined}) >= before.ROWS
    assert {len(found) for found in of_project.values()} == {before.ROWS}


@pytest.mark.slow
def test_every_line_of_the_seeds_table_is_measured(tmp_path: Path) -> None:
    rows = seed_table.SeedTable(msgspec.structs.replace(seed_table.BRIEF, cascades=2))
    with loaded_stand("sqlite", rows, tmp_path) as stand:
        _check_orm_cascade(stand, rows.courses.group_ids[0])
        rows.courses.group_ids = rows.courses.group_ids[3:]
        names = [figure.name.partition(" (")[0] for figure in seed_table.measure_seed_table(stand, rows)]
    assert names == [
        "user with groups",
        "form with messages",
        "project with config",
        "index: forms of a project",
        "index: forms of a user",
        "index: the newest forms",
        "index: messages of a form",
        "cascade, by the product",
        "cascade, by the engine",
    ]


def _check_orm_cascade(stand: Stand, g_id: str) -> None:
    engine = engine_of(stand.database_url)
    tables = (group_list, user_group, project_list, config_files, resources, forms, form_messages)
    with engine.connect() as connection:
        kept = _counts(connection, tables)
    orm = OrmCascade(stand.database_url)
    orm.delete_group(g_id)
    orm.close()
    with engine.connect() as connection:
        left = _counts(connection, tables)
    engine.dispose()
    projects = seed_table.BRIEF.projects
    gone = {name: kept[name] - left[name] for name in kept}
    assert gone == {
        "group_list": 1,
        "user_group": 100,
        "project_list": projects,
        "config_files": 3 * projects,
        "resources": 9 * projects,
        "forms": 10 * projects,
        "form_messages": 40 * projects,
    }


def _counts(connection: Connection, tables: tuple[object, ...]) -> dict[str, int]:
    return {str(table): connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() for table in tables}

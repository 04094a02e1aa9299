"""No module of the product runs a statement that is not in the registry, and one that does is named."""

import re
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

import holdfast
from tests.rules.unregistered import ways_past_registry

_SOURCE = Path(holdfast.__path__[0])
# Where text may be run, and why. Below `db/`, this is the registry's own ground.
OUTSIDE_THE_REGISTRY = {
    "api/health.py: 'SELECT 1'": "whether the database answers at all",
    "db/catalogue.py: *": "the engines' own catalogues, compared with the tables at the start",
    "db/engines/*": "the engines run what the registry holds",
    "db/filling.py: *": "a table that no migration knows, while a database is filled",
    "db/instance_id.py: *": "the migration tool's table, in databases of any revision",
    "db/lifecycle/bundled_revision.py: 'SELECT version_num FROM alembic_version'": "the migration tool's table",
    "db/lifecycle/recover.py: 'SELECT version_num FROM alembic_version'": "the migration tool's table",
    "db/lifecycle/recover_rows.py: *": "a private file of keys, gone when the recovery ends",
    "db/migrate.py: *": "locks and the schema",
    "db/migrations/*": "the schema, and rows as an older version had them",
    "db/numbering.py: *": "the engines' own counters of rows",
    "db/scratch.py: *": "databases made and dropped, and locks",
    "db/server_connection.py: *": "what migrations and the catalogue are given",
    "db/sqlite_driver.py: *": "which build of SQLite's driver there is",
    "db/statistics/*": "the engines' own statistics",
    "features/images/orphan_queries.py: SEED_ORPHAN_QUERY": "the seed's query word for word (5.2), in a named list",
    "operations/demo/service.py: f'SELECT count(*) FROM {table_name}'": "whether the database is empty, table by table",
    "db/repair.py: *": "the schema",
    "db/unfinished.py: *": "a table that no migration knows, while a backup is restored",
    "operations/backup/creating.py: 'SELECT version_num FROM alembic_version'": "the migration tool's table",
    "operations/backup/engines/*": "snapshots, locks and catalogues, for the engines' own tools; files of SQLite",
    "operations/backup/tables.py: *": "the engines' own catalogues, and counts of tables of any revision",
    "operations/doctor/catalogue_objects.py: *": "the engines' own catalogues",
    "operations/doctor/servers.py: *": "the engines' own settings and statistics",
    "operations/legacy/desk.py: f'ANALYZE {stage.table.name}, legacy_keys'": "the engine's own statistics",
    "operations/legacy/imagined.py: *": "a private file of what an import would write, gone when it ends",
    "operations/legacy/rebuild_files.py: *": "locks and journals of a file of SQLite",
    "operations/legacy/sqlite_file.py: *": "an older database of another program, which is only read",
    "operations/legacy/source.py: *": "an older database of another program, which is only read",
    "operations/legacy/upgrade/dumps/*": "snapshots, locks and catalogues, for the engines' own tools",
    "operations/legacy/upgrade/old_rows.py: *": "tables of another program, which are only read",
    "operations/plans/*": "the plans of named statements, and the engines' own statistics",
    "operations/transfer/exporting.py: 'SELECT version_num FROM alembic_version'": "the migration tool's table",
}


@cache
def _faults() -> list[str]:
    return [
        fault
        for path in sorted(_SOURCE.rglob("*.py"))
        for fault in ways_past_registry(path.read_text(encoding="utf-8"), path.relative_to(_SOURCE).as_posix())
    ]


def test_every_statement_is_in_the_registry() -> None:
    unexplained = [fault for fault in _faults() if not any(_matches(fault, each) for each in OUTSIDE_THE_REGISTRY)]
    assert unexplained == [], "\n" + "\n".join(unexplained)


def test_every_exception_is_still_needed() -> None:
    idle = [each for each in OUTSIDE_THE_REGISTRY if not any(_matches(fault, each) for fault in _faults())]
    assert idle == []


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ('rows = await tx.fetch_text("SELECT id FROM forms")', "'SELECT id FROM forms'"),
        ('rows = await tx.fetch_text(f"SELECT id FROM {table}")', "f'SELECT id FROM {table}'"),
        ("rows = await tx.fetch_text(query)", "query"),
        ('connection.execute("DELETE FROM forms WHERE id = ?", [form_id])', "'DELETE FROM forms WHERE id = ?'"),
        ('await connection.fetch("SELECT 1 " + "FROM forms")', "'SELECT 1 ' + 'FROM forms'"),
        ("await driver.fetchrow(_FORM, form_id)", "_FORM"),
        ('cursor.execute(f"{verb} FROM forms")', "f'{verb} FROM forms'"),
        ("await tx.execute(update(forms).values(title=title))", "update(forms).values(title=title)"),
        ("await tx.fetch_all(select(forms.c.id))", "select(forms.c.id)"),
        ('from sqlalchemy import text\nquery = text("SELECT id FROM forms")', "'SELECT id FROM forms'"),
        ("from sqlalchemy import text as raw\nquery = raw(QUERY)", "QUERY"),
        ('import sqlalchemy as sa\nquery = sa.text("SELECT id\\n  FROM forms")', "'SELECT id FROM forms'"),
        ("import asyncpg", "what asyncpg runs"),
        ("from asyncmy.cursors import SSCursor", "what asyncmy runs"),
        ("from sqlalchemy import create_engine", "what create_engine runs"),
        ("from holdfast.db.sqlite_driver import sqlite3", "what sqlite3 runs"),
    ],
)
def test_a_statement_outside_the_registry_is_told(code: str, shown: str) -> None:
    line = code.count("\n") + 1
    told = list(ways_past_registry(code, "features/forms/service.py"))
    assert told == [
        f"features/forms/service.py, line {line}: {shown} passes the registry: declare it in a queries.py, with a name"
    ]


def test_named_statements_and_other_texts_are_not_told() -> None:
    code = """
        from holdfast.features.forms import queries

        async def close(tx, form_id, place, request):
            await tx.execute(queries.CLOSE_FORM, form_id=form_id)
            await tx.fetch_all(queries.FORMS, limit=20)
            await tx.insert_unless_present(queries.INSERT_FORM, id=form_id)
            title = place.text("title")
            await jobs.execute("deletions.purge")
            return await request.fetch(title)
        """
    assert list(ways_past_registry(dedent(code), "features/forms/service.py")) == []


def _matches(fault: str, pattern: str) -> bool:
    """A pattern is a path and what is run, a fault the same with a line between, and what to do."""
    told = re.fullmatch(r"(?P<path>.*), line \d+: (?P<shown>.*) passes the registry: .*", fault)
    assert told is not None, fault
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), f"{told['path']}: {told['shown']}") is not None

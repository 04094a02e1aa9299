"""Migrations and the drift check: what they make, what they undo, what they refuse, and by which name."""

import asyncio
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import text

from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.errors import SchemaDriftError
from holdfast.db.migrate import check_schema, downgrade, migrate, schema_status
from holdfast.db.migrations import files
from holdfast.db.sqlite_driver import sqlite3
from holdfast.db.tables import metadata
from holdfast.db.tables.views import VIEWS
from tests.conftest import NewDatabase
from tests.db.live import live_tables, other_connection, table_names, view_names
from tests.rules.schema_facts import TABLE_FACTS

_MIGRATE_IN_ANOTHER_PROCESS = (
    "import asyncio, sys; from holdfast.db.address import parse_address; from holdfast.db.migrate import migrate;"
    " print(asyncio.run(migrate(parse_address(sys.argv[1]))).current)"
)
_LOADED_BY_A_WARM_START = """
import asyncio, sys
from pathlib import Path
from holdfast.app import create_app
from holdfast.db.address import parse_address
from holdfast.db.migrate import check_schema, migrate
from holdfast.settings import load_settings
address = parse_address(sys.argv[1])
asyncio.run(migrate(address))
asyncio.run(check_schema(address))
create_app(load_settings({"HOLDFAST_DATABASE_URL": sys.argv[1], "HOLDFAST_DATA_DIR": sys.argv[2]}))
print(*sorted({"alembic", "asyncmy", "asyncpg", "mako", "pysqlite3", "sqlalchemy.orm"} & set(sys.modules)))
"""


@pytest.fixture
def empty_url(engine: str, new_database: NewDatabase) -> str:
    return new_database(engine)


@pytest.fixture
def empty(empty_url: str) -> DatabaseAddress:
    return parse_address(empty_url)


def _shape(url: str) -> dict[str, object]:
    tables = live_tables(url, sorted(table_names(url)))
    return {
        name: (sorted(live.columns), live.key, sorted(live.indexes), sorted(live.uniques), live.foreign_keys)
        for name, live in tables.items()
    }


@pytest.mark.conformance("T-01")
async def test_one_command_makes_all_tables_and_a_second_changes_nothing(
    empty: DatabaseAddress, empty_url: str
) -> None:
    first = await migrate(empty)
    assert first.current == first.head
    assert first.pending == []
    made = _shape(empty_url)
    assert {fact.name for fact in TABLE_FACTS} <= set(made)
    assert set(made) == set(metadata.tables)
    assert view_names(empty_url) == set(VIEWS)
    assert await migrate(empty) == first
    assert _shape(empty_url) == made
    await check_schema(empty)


@pytest.mark.conformance("T-01")
async def test_a_downgrade_removes_all_and_an_upgrade_brings_it_back(empty: DatabaseAddress, empty_url: str) -> None:
    await migrate(empty)
    made = _shape(empty_url)
    undone = await downgrade(empty, "base")
    assert undone.current is None
    assert table_names(empty_url) == set()
    assert view_names(empty_url) == set()
    await migrate(empty)
    assert _shape(empty_url) == made
    await check_schema(empty)


@pytest.mark.conformance("T-01")
async def test_two_migrations_started_together_both_succeed(empty: DatabaseAddress, empty_url: str) -> None:
    async def run() -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _MIGRATE_IN_ANOTHER_PROCESS,
            empty_url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, problems = await process.communicate()
        return process.returncode, out.decode().strip(), problems.decode()

    head = (await schema_status(empty)).head
    for code, revision, problems in await asyncio.gather(run(), run()):
        assert (code, revision) == (0, head), problems
    await check_schema(empty)


async def test_a_migration_waits_for_a_process_that_writes_to_the_new_file(empty: DatabaseAddress) -> None:
    if empty.dialect_name != "sqlite":
        pytest.skip("a server creates the database before anybody reaches it")
    # Not in WAL mode yet, as in the moment in which another process creates the file.
    with closing(sqlite3.connect(empty.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        migration = asyncio.create_task(migrate(empty))
        _, pending = await asyncio.wait([migration], timeout=0.3)
        writer.execute("COMMIT")
    assert pending
    assert not (await migration).pending


def test_the_files_of_the_migrations_are_those_that_alembic_runs() -> None:
    script = ScriptDirectory(str(Path(files.__file__).parent))
    assert files.known_revisions() == [each.revision for each in script.walk_revisions()][::-1]


async def test_a_start_with_nothing_to_migrate_loads_one_driver_and_no_alembic(
    empty: DatabaseAddress, empty_url: str, tmp_path: Path
) -> None:
    await migrate(empty)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _LOADED_BY_A_WARM_START, empty_url, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    loaded = set(out.decode().split()) - {"pysqlite3"}
    # SQLAlchemy's connection to a server needs its other half.
    expected = {"postgresql": {"asyncpg", "sqlalchemy.orm"}, "mariadb": {"asyncmy", "sqlalchemy.orm"}}
    assert (process.returncode, loaded) == (0, expected.get(empty.dialect_name, set()))


async def test_an_empty_database_is_refused_with_what_to_run(empty: DatabaseAddress) -> None:
    with pytest.raises(SchemaDriftError, match="holdfast migrate"):
        await check_schema(empty)


async def test_a_database_of_a_newer_version_is_refused(empty: DatabaseAddress, empty_url: str) -> None:
    await migrate(empty)
    with other_connection(empty_url) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999', serves_code_from = '9999'"))
    for refused in (check_schema(empty), migrate(empty), schema_status(empty)):
        with pytest.raises(SchemaDriftError, match="newer Holdfast"):
            await refused


@dataclass(frozen=True)
class Drift:
    """A change made by hand. On SQLite `rewrite` replaces a part of a table's definition where ALTER cannot."""

    finding: str
    postgresql: str = ""
    mariadb: str = ""
    sqlite: str = ""
    rewrite: tuple[str, str, str] | None = None

    def statements(self, engine: str) -> list[str]:
        return [each for each in str(getattr(self, engine)).split(";") if each.strip()]


_FORM_USER = "FOREIGN KEY(user_id) REFERENCES users (u_id) ON DELETE"
_DRIFTS = [
    Drift(
        "users: index ix_users_email is missing",
        postgresql="DROP INDEX ix_users_email",
        mariadb="DROP INDEX ix_users_email ON users",
        sqlite="DROP INDEX ix_users_email",
    ),
    Drift(
        "users: index ix_users_status is on ['type'], not ['status']",
        postgresql="DROP INDEX ix_users_status; CREATE INDEX ix_users_status ON users (type)",
        mariadb="DROP INDEX ix_users_status ON users; CREATE INDEX ix_users_status ON users (type)",
        sqlite="DROP INDEX ix_users_status; CREATE INDEX ix_users_status ON users (type)",
    ),
    Drift(
        "users: index ix_users_username_u_id is missing",
        # Only MariaDB has it.
        mariadb="DROP INDEX ix_users_username_u_id ON users",
    ),
    Drift(
        "course_workloads: unique key uq_course_workloads_k8s_pod_name_deletion_id is missing",
        postgresql="ALTER TABLE course_workloads DROP CONSTRAINT uq_course_workloads_k8s_pod_name_deletion_id;"
        " CREATE INDEX uq_course_workloads_k8s_pod_name_deletion_id ON course_workloads (k8s_pod_name, deletion_id)",
        mariadb="DROP INDEX uq_course_workloads_k8s_pod_name_deletion_id ON course_workloads;"
        " CREATE INDEX uq_course_workloads_k8s_pod_name_deletion_id ON course_workloads (k8s_pod_name, deletion_id)",
        rewrite=("course_workloads", "uq_course_workloads_k8s_pod_name_deletion_id", "another_name"),
    ),
    Drift(
        "forms: foreign key fk_forms_project_id is missing",
        postgresql="ALTER TABLE forms DROP CONSTRAINT fk_forms_project_id",
        mariadb="ALTER TABLE forms DROP FOREIGN KEY fk_forms_project_id",
        rewrite=(
            "forms",
            "FOREIGN KEY(project_id) REFERENCES project_list (p_id) ON DELETE CASCADE ON UPDATE CASCADE",
            "CHECK (1)",
        ),
    ),
    Drift(
        "forms: foreign key fk_forms_user_id is users.u_id SET NULL CASCADE, not users.u_id CASCADE CASCADE",
        postgresql=f"ALTER TABLE forms DROP CONSTRAINT fk_forms_user_id; ALTER TABLE forms ADD CONSTRAINT"
        f" fk_forms_user_id {_FORM_USER} SET NULL ON UPDATE CASCADE",
        # MariaDB has no SET NULL on a NOT NULL column: here the key becomes nullable, too.
        rewrite=("forms", f"{_FORM_USER} CASCADE", f"{_FORM_USER} SET NULL"),
    ),
    Drift(
        "image_requests: foreign key fk_image_requests_reviewer_id is users.u_id CASCADE CASCADE,"
        " not users.u_id SET NULL CASCADE",
        mariadb="ALTER TABLE image_requests DROP FOREIGN KEY fk_image_requests_reviewer_id; ALTER TABLE image_requests"
        " ADD CONSTRAINT fk_image_requests_reviewer_id FOREIGN KEY (reviewer_id) REFERENCES users (u_id)"
        " ON DELETE CASCADE ON UPDATE CASCADE",
    ),
    Drift(
        "form_messages: foreign key fk_form_messages_form_id is forms.id CASCADE NO ACTION,"
        " not forms.id CASCADE CASCADE",
        postgresql="ALTER TABLE form_messages DROP CONSTRAINT fk_form_messages_form_id; ALTER TABLE form_messages"
        " ADD CONSTRAINT fk_form_messages_form_id FOREIGN KEY (form_id) REFERENCES forms (id) ON DELETE CASCADE",
        mariadb="ALTER TABLE form_messages DROP FOREIGN KEY fk_form_messages_form_id; ALTER TABLE form_messages"
        " ADD CONSTRAINT fk_form_messages_form_id FOREIGN KEY (form_id) REFERENCES forms (id) ON DELETE CASCADE",
        rewrite=(
            "form_messages",
            "REFERENCES forms (id) ON DELETE CASCADE ON UPDATE CASCADE",
            "REFERENCES forms (id) ON DELETE CASCADE",
        ),
    ),
    Drift(
        "column image_requests.reviewer_note is missing",
        postgresql="ALTER TABLE image_requests DROP COLUMN reviewer_note",
        mariadb="ALTER TABLE image_requests DROP COLUMN reviewer_note",
        sqlite="ALTER TABLE image_requests DROP COLUMN reviewer_note",
    ),
    Drift(
        "column forms.title is nullable",
        postgresql="ALTER TABLE forms ALTER COLUMN title DROP NOT NULL",
        mariadb="ALTER TABLE forms MODIFY title VARCHAR(255) COLLATE utf8mb4_nopad_bin NULL",
        rewrite=("forms", "title VARCHAR(255) NOT NULL", "title VARCHAR(255)"),
    ),
    Drift(
        "column container_tags.digest is 20 wide, not 255",
        postgresql='ALTER TABLE container_tags ALTER COLUMN digest TYPE VARCHAR(20) COLLATE "C"',
        mariadb="ALTER TABLE container_tags MODIFY digest VARCHAR(20) COLLATE utf8mb4_nopad_bin",
        rewrite=("container_tags", "digest VARCHAR(255)", "digest VARCHAR(20)"),
    ),
    Drift(
        "user_group: check ck_user_group_role is missing",
        postgresql="ALTER TABLE user_group DROP CONSTRAINT ck_user_group_role",
        mariadb="ALTER TABLE user_group DROP CONSTRAINT ck_user_group_role",
        rewrite=("user_group", "ck_user_group_role ", "another_name "),
    ),
    Drift(
        "group_list: check ck_group_list_group_name_bounds is missing",
        rewrite=("group_list", "ck_group_list_group_name_bounds", "another_name"),
    ),
    Drift(
        "column forms.tag has the collation None, which does not compare bytes",
        postgresql='ALTER TABLE forms ALTER COLUMN tag TYPE VARCHAR(100) COLLATE "default"',
    ),
    Drift(
        "column forms.tag has the collation utf8mb4_general_ci, which does not compare bytes",
        mariadb="ALTER TABLE forms MODIFY tag VARCHAR(100) COLLATE utf8mb4_general_ci",
    ),
    Drift(
        "idempotency_keys: the primary key is ['idempotency_key', 'user_id'], not ['user_id', 'idempotency_key']",
        postgresql="ALTER TABLE idempotency_keys DROP CONSTRAINT pk_idempotency_keys;"
        " ALTER TABLE idempotency_keys ADD CONSTRAINT pk_idempotency_keys PRIMARY KEY (idempotency_key, user_id)",
        rewrite=(
            "idempotency_keys",
            "PRIMARY KEY (user_id, idempotency_key)",
            "PRIMARY KEY (idempotency_key, user_id)",
        ),
    ),
    Drift(
        "column audit_logs.id gives numbers of removed rows again: it is not AUTOINCREMENT",
        rewrite=("audit_logs", "PRIMARY KEY AUTOINCREMENT", "PRIMARY KEY"),
    ),
    Drift(
        "table sign_in_failures is missing",
        postgresql="DROP TABLE sign_in_failures",
        mariadb="DROP TABLE sign_in_failures",
        sqlite="DROP TABLE sign_in_failures",
    ),
    Drift(
        "view user_group_views is missing",
        postgresql="DROP VIEW user_group_views",
        mariadb="DROP VIEW user_group_views",
        sqlite="DROP VIEW user_group_views",
    ),
    Drift(
        "procedure cleanup_audit_logs is missing or was changed: `holdfast migrate` makes it anew",
        postgresql="DROP PROCEDURE cleanup_audit_logs",
        mariadb="DROP PROCEDURE cleanup_audit_logs",
    ),
    Drift(
        "procedure cleanup_soft_deleted is missing or was changed: `holdfast migrate` makes it anew",
        postgresql="DROP PROCEDURE cleanup_soft_deleted;"
        " CREATE PROCEDURE cleanup_soft_deleted(days numeric) LANGUAGE sql AS 'DELETE FROM forms'",
        mariadb="DROP PROCEDURE cleanup_soft_deleted;"
        " CREATE PROCEDURE cleanup_soft_deleted(IN days INT) DELETE FROM forms WHERE deletion_id <> ''",
    ),
]


def _apply(url: str, engine: str, drift: Drift) -> bool:
    """Make the change; whether there is one for this engine."""
    statements = drift.statements(engine)
    if engine == "sqlite" and drift.rewrite is not None:
        table, old, new = drift.rewrite
        definition = f"SELECT count(*) FROM sqlite_master WHERE name = '{table}' AND instr(sql, '{old}')"
        with other_connection(url) as connection:
            assert connection.execute(text(definition)).scalar() == 1, f"{old} is not in the definition of {table}"
        statements = [
            "PRAGMA writable_schema = ON",
            f"UPDATE sqlite_master SET sql = replace(sql, '{old}', '{new}') WHERE name = '{table}'",
        ]
    with other_connection(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    return bool(statements)


async def _findings(address: DatabaseAddress) -> set[str]:
    try:
        await check_schema(address)
    except SchemaDriftError as error:
        return {finding for finding in error.details["findings"] if finding in error.message}
    return set()


async def test_each_drift_is_refused_with_its_name(empty: DatabaseAddress, empty_url: str, engine: str) -> None:
    await migrate(empty)
    known: set[str] = set()
    applied = 0
    for drift in _DRIFTS:
        if not _apply(empty_url, engine, drift):
            continue
        applied += 1
        found = await _findings(empty)
        assert found - known == {drift.finding}
        known = found
    assert applied >= 13


@pytest.mark.parametrize("engine", ["postgresql", "mariadb"], scope="session", indirect=True)
async def test_migrating_makes_missing_and_changed_procedures_anew(
    empty: DatabaseAddress, empty_url: str, engine: str
) -> None:
    assert (await migrate(empty)).made_anew == []
    changed = [drift for drift in _DRIFTS if drift.finding.startswith("procedure ")]
    for drift in changed:
        assert _apply(empty_url, engine, drift)
    if engine == "postgresql":
        with other_connection(empty_url) as connection:
            connection.exec_driver_sql("CREATE PROCEDURE cleanup_audit_logs() LANGUAGE plpgsql AS 'BEGIN END'")
    assert await _findings(empty) == {drift.finding for drift in changed}
    assert sorted((await migrate(empty)).made_anew) == ["cleanup_audit_logs", "cleanup_soft_deleted"]
    assert await _findings(empty) == set()
    assert (await migrate(empty)).made_anew == []


async def test_what_an_operator_adds_is_no_drift(empty: DatabaseAddress, empty_url: str) -> None:
    await migrate(empty)
    with other_connection(empty_url) as connection:
        connection.exec_driver_sql("ALTER TABLE users ADD COLUMN office VARCHAR(20)")
        connection.exec_driver_sql("CREATE INDEX of_the_operator ON users (office)")
        connection.exec_driver_sql("CREATE TABLE rooms (room VARCHAR(20) PRIMARY KEY)")
    assert await _findings(empty) == set()

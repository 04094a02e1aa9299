"""A database that the next release has upgraded: this one starts on it where the migration says so, and only there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from holdfast.core.clock import utc_now
from holdfast.db import jobs
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.errors import SchemaDriftError
from holdfast.db.migrate import check_schema, downgrade, migrate, schema_status
from holdfast.db.migrations.files import known_revisions
from holdfast.db.tables import audit_logs
from holdfast.features.deletions.jobs import purge_deletion
from holdfast.features.deletions.retention import run_cleanup
from tests.conftest import NewDatabase
from tests.db.deleting import delete, deletion, make_course
from tests.db.live import other_connection
from tests.db.rows import fetch, run
from tests.factories import insert_row, make_user
from tests.replicas.releases import next_release

_HEAD = known_revisions()[-1]
_NEXT = f"{int(_HEAD) + 1:04d}"
_MIGRATION = '''"""What the next release adds."""

import sqlalchemy as sa
from alembic import op

from holdfast.db.migrations import ops

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None
{marked}

def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    {downgrade}
'''
_ADDS = (
    'ops.create_table("plans_of_tests", sa.Column("id", ops.Key(21), nullable=False), sa.PrimaryKeyConstraint("id"))\n'
    '    ops.add_column("forms", "added", ops.Words(50))\n'
    '    op.create_index("ix_forms_added", "forms", ["added"])'
)
_TAKES_BACK = (
    'op.drop_index("ix_forms_added", table_name="forms")\n'
    '    op.drop_column("forms", "added")\n'
    '    op.drop_table("plans_of_tests")'
)
_NOTHING = "pass"


def _migration(oldest: str | None, upgrade: str = _ADDS, downgrade: str = _NOTHING) -> str:
    marked = "" if oldest is None else f'serves_code_from = "{oldest}"\n'
    return _MIGRATION.format(revision=_NEXT, before=_HEAD, marked=marked, upgrade=upgrade, downgrade=downgrade)


async def test_an_addition_that_serves_this_code_is_no_obstacle(
    engine: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    url = new_database(engine)
    address = parse_address(url)
    await migrate(address)
    newer = next_release(tmp_path, _migration(_HEAD, downgrade=_TAKES_BACK), _NEXT)
    upgraded = newer.run("migrate", database_url=url)
    assert upgraded.returncode == 0, upgraded.stderr
    status = await check_schema(address)
    assert (status.current, status.head, status.pending, status.is_ahead) == (_NEXT, _HEAD, [], True)
    # A replica that starts again in the middle of the upgrade runs this first, and must get past it.
    assert await migrate(address) == status
    assert (await schema_status(address)).current == _NEXT
    with pytest.raises(SchemaDriftError, match="newer Holdfast"):
        await downgrade(address, "0001")
    # The next release takes its migration back, and the database is ours again.
    undone = newer.run("migrate", "downgrade", _HEAD, "--yes", database_url=url)
    assert undone.returncode == 0, undone.stderr
    assert not (await check_schema(address)).is_ahead


@pytest.mark.parametrize("oldest", [_NEXT, None], ids=["says so", "says nothing"])
async def test_a_migration_that_does_not_serve_this_code_is_refused(
    oldest: str | None, new_database: NewDatabase, tmp_path: Path
) -> None:
    url = new_database("sqlite")
    address = parse_address(url)
    await migrate(address)
    assert next_release(tmp_path, _migration(oldest), _NEXT).run("migrate", database_url=url).returncode == 0
    for refused in (check_schema(address), migrate(address), schema_status(address)):
        with pytest.raises(SchemaDriftError, match="newer Holdfast"):
            await refused


async def test_what_a_newer_version_took_away_is_named_whatever_it_says(
    engine: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    url = new_database(engine)
    address = parse_address(url)
    await migrate(address)
    breaks = (
        'op.drop_index("ix_users_email", table_name="users")\n'
        '    ops.add_column("forms", "wanted", ops.Words(50), nullable=False, server_default="x")\n'
        '    ops.add_column("forms", "given", ops.Words(50), nullable=False, server_default="x")'
    )
    newer = next_release(tmp_path, _migration(_HEAD, breaks), _NEXT)
    assert newer.run("migrate", database_url=url).returncode == 0
    found = ["users: index ix_users_email is missing"]
    if engine != "sqlite":
        with other_connection(url) as connection:
            connection.execute(text("ALTER TABLE forms ALTER COLUMN wanted DROP DEFAULT"))
        found.append("column forms.wanted wants a value that this version does not give")
    with pytest.raises(SchemaDriftError) as refused:
        await check_schema(address)
    assert refused.value.details["findings"] == found


@asynccontextmanager
async def _ahead(database: Database) -> AsyncIterator[None]:
    """The database as the next release leaves it, to one that serves this one's code."""
    await run(database, f"UPDATE alembic_version SET version_num = '{_NEXT}', serves_code_from = '{_HEAD}'")
    try:
        yield
    finally:
        await run(database, f"UPDATE alembic_version SET version_num = '{_HEAD}', serves_code_from = '{_HEAD}'")


async def test_a_worker_that_does_not_know_all_columns_leaves_purges_to_those_who_do(
    database: Database, tmp_path: Path
) -> None:
    await make_user(database, "admin")
    course = await make_course(database)
    deletion_id = await delete(database, "project", course.project)
    later = utc_now() + timedelta(days=1)
    for arguments in (
        {"category": "soft-deleted", "days": 0},
        {"category": "soft-deleted", "days": 0, "prepare_only": True},
    ):
        async with _ahead(database):
            with pytest.raises(jobs.PutOffError, match="newer Holdfast"):
                await run_cleanup(database, tmp_path, arguments, lambda: later)
    async with _ahead(database):
        with pytest.raises(jobs.PutOffError, match="newer Holdfast"):
            await purge_deletion(database, tmp_path, {"deletion_id": deletion_id})
    assert (await deletion(database, deletion_id))["state"] == "deleted"
    assert await fetch(database, f"SELECT count(*) FROM forms WHERE deletion_id = '{deletion_id}'") != [(0,)]
    assert not any(tmp_path.rglob("*.zip"))  # noqa: ASYNC240 - a small folder of the test
    assert await purge_deletion(database, tmp_path, {"deletion_id": deletion_id}) > 0


async def test_nor_does_it_archive_entries_of_the_audit_log(database: Database, tmp_path: Path) -> None:
    actor = await make_user(database, "admin")
    values = {"action": "update", "resource_type": "form", "resource_id": "1", "created_at": utc_now()}
    await insert_row(database, audit_logs, user_id=actor, **values)
    later = utc_now() + timedelta(days=2)
    arguments = {"category": "audit-logs", "days": 1}
    async with _ahead(database):
        with pytest.raises(jobs.PutOffError, match="newer Holdfast"):
            await run_cleanup(database, tmp_path, arguments, lambda: later)
    assert await fetch(database, "SELECT count(*) FROM audit_logs") == [(1,)]
    assert (await run_cleanup(database, tmp_path, arguments, lambda: later)).counts == {"audit_logs": 1}


def test_every_migration_says_which_code_it_serves() -> None:
    folder = Path(__file__).parents[2] / "src" / "holdfast" / "db" / "migrations" / "versions"
    oldest_of_all = "0000"
    for revision in known_revisions():
        if revision < "0017":
            continue
        (file,) = folder.glob(f"{revision}_*.py")
        lines = file.read_text(encoding="utf-8").splitlines()
        said = [line for line in lines if line.startswith("serves_code_from = ")]
        assert len(said) == 1, f'{file.name}: say which code runs on its schema, too: serves_code_from = "{revision}"'
        oldest = said[0].split('"')[1]
        assert oldest_of_all <= oldest <= revision, f"{file.name}: what {oldest_of_all} broke stays broken"
        oldest_of_all = oldest

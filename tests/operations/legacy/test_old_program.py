"""The older program alone: it writes without failures, its ledger is the truth, and it sees what is done behind it."""

import pytest

from holdfast.operations.legacy.importing import import_legacy
from holdfast.operations.legacy.types import Options, Orphans
from tests.operations.legacy.conftest import Legacy, NewTarget
from tests.operations.legacy.loading import LegacyDatabase, open_legacy
from tests.operations.legacy.old_ledger import Entry
from tests.operations.legacy.old_program import Kind, OldProgram

_FLAVOURS = ("seed7_mariadb", "seed7_postgresql", "february_2026", "september_2025")
_ENGINES = ("seed7_mariadb", "seed7_postgresql")


@pytest.mark.slow
@pytest.mark.parametrize("flavour", _FLAVOURS)
@pytest.mark.parametrize("scale", [0, 300])
def test_what_it_was_told_is_in_the_tables(legacy: Legacy, flavour: str, scale: int) -> None:
    url, _ = legacy(flavour, scale=scale)
    with OldProgram(url, pace=0.0) as program:
        program.until_written(1500)
    assert program.failures == []
    assert program.switched_at is None
    assert program.statements["read"] > 300
    assert all(program.statements[f"{verb} users"] for verb in ("read", "insert", "update", "delete"))
    program.require_old(url)


@pytest.mark.parametrize("flavour", _ENGINES)
def test_what_is_done_behind_it_is_found(legacy: Legacy, flavour: str) -> None:
    url, _ = legacy(flavour)
    with OldProgram(url, pace=0.0) as program:
        program.until_written(300)
    program.require_old(url)
    user, file, message, seat = (_made(program, noun) for noun in ("users", "config_files", "messages", "memberships"))
    with open_legacy(url) as database:
        database.run("UPDATE users SET status = 'changed' WHERE id = %s", *user.key)
        _require_found(program, url, "status is 'changed' instead of")
        database.run("UPDATE users SET status = %s WHERE id = %s", user.values["status"], *user.key)
        _copy(database, "config_files", "filename, content, project_id", file)
        _require_found(program, url, "is there 2 times")
        database.run("DELETE FROM config_files WHERE filename = %s AND id <> %s", file.values["filename"], *file.key)
        program.require_old(url)
        _copy(database, "user_group", "user_id, g_id", seat)
        _require_found(program, url, "is there 2 times")
        database.run("DELETE FROM user_group WHERE id = (SELECT last FROM (SELECT max(id) AS last FROM user_group) m)")
        program.require_old(url)
        database.run("INSERT INTO form_messages (form_id, user_id, content) VALUES (1, 1, 'op0-1-999999')")
        _require_found(program, url, "was never told to be there")
        database.run("DELETE FROM form_messages WHERE content = 'op0-1-999999'")
        database.run("DELETE FROM form_messages WHERE id = %s", *message.key)
        _require_found(program, url, "it is lost")
        gone = next(each for each in program.ledger.touched("resources") if each.states == [None])
        database.run(
            "INSERT INTO resources (id, cf_id, type, name, parsed_yaml) VALUES (%s, 1, 'Pod', 'x', '{}')", *gone.key
        )
        _require_found(program, url, "it is there, though it was deleted")


def _made(program: OldProgram, noun: str) -> Entry:
    """A row that the program has made and that is there."""
    made = (entry for entry in program.ledger.touched(noun) if entry.is_there)
    return next(entry for entry in made if "created_at" in entry.written or "create_at" in entry.written)


def _copy(database: LegacyDatabase, table: str, columns: str, entry: Entry) -> None:
    database.run(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} WHERE id = %s", *entry.key)


def _require_found(program: OldProgram, url: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        program.require_old(url)


@pytest.mark.slow
@pytest.mark.parametrize("flavour", _FLAVOURS)
@pytest.mark.parametrize("orphans", list(Orphans))
@pytest.mark.parametrize("target", ["postgresql", "mariadb"])
async def test_what_it_was_told_arrives_in_holdfast(
    legacy: Legacy, new_target: NewTarget, flavour: str, orphans: Orphans, target: str
) -> None:
    url, _ = legacy(flavour, scale=20)
    with OldProgram(url, pace=0.0) as program:
        program.until_written(600)
    settings = new_target(target)
    await import_legacy(settings, url, Options(orphans=orphans))
    program.require_new(settings.resolved_database_url)
    user = _made(program, "users")
    with open_legacy(settings.resolved_database_url) as database:
        database.run("UPDATE users SET full_name = 'changed' WHERE u_id = %s", f"user_{user.key[0]}")
    with pytest.raises(AssertionError, match="full_name is 'changed' instead of"):
        program.require_new(settings.resolved_database_url)


@pytest.mark.slow
@pytest.mark.parametrize("flavour", _ENGINES)
def test_lost_connections_are_told_and_nothing_else_is_lost(legacy: Legacy, flavour: str) -> None:
    url, _ = legacy(flavour)
    with OldProgram(url, pace=0.0) as program, open_legacy(url) as database:
        for _ in range(20):
            program.until_written(30)
            _end_sessions(database)
    assert program.failures
    assert program.failures_but(Kind.LOST) == []
    program.require_old(url)


def _end_sessions(database: LegacyDatabase) -> None:
    if database.engine == "postgresql":
        database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return
    sessions = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> connection_id()"
    for (number,) in database.run(sessions):
        database.run(f"KILL {number}")


@pytest.mark.parametrize("prepares", [True, False])
def test_a_prepared_statement_does_not_outlive_a_new_column(legacy: Legacy, prepares: bool) -> None:
    url, _ = legacy("february_2026")
    with OldProgram(url, pace=0.0, prepares=prepares) as program, open_legacy(url) as database:
        program.until_written(100)
        database.run("ALTER TABLE users ADD COLUMN new_id varchar(20)")
        program.until_written(200)
    assert program.failures_but(Kind.CACHED_PLAN) == []
    assert {failure.statement for failure in program.failures} <= {"read users"}
    assert bool(program.failures) == prepares
    program.require_old(url)


@pytest.mark.parametrize("flavour", _FLAVOURS)
def test_it_ends_when_its_tables_are_replaced(legacy: Legacy, flavour: str) -> None:
    url, _ = legacy(flavour)
    with OldProgram(url, pace=0.0) as program, open_legacy(url) as database:
        program.until_written(100)
        database.run("ALTER TABLE users RENAME TO users_before")
        program.until_ended()
        assert not program.is_running
    assert program.switched_at is not None
    assert program.failures_but(Kind.SWITCHED) == []


@pytest.mark.parametrize("flavour", _ENGINES)
def test_a_pause_is_measured_for_reads_and_writes_apart(legacy: Legacy, flavour: str) -> None:
    url, _ = legacy(flavour)
    with OldProgram(url, pace=0.0) as program, open_legacy(url) as database:
        program.until_written(50)
        # Each client comes to this table before long.
        if database.engine == "postgresql":
            database.run("START TRANSACTION")
            database.run("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE")
            database.run("SELECT pg_sleep(1)")
            database.run("ROLLBACK")
        else:
            database.run("LOCK TABLES users READ")
            database.run("SELECT SLEEP(1)")
            database.run("UNLOCK TABLES")
        program.until_written(50)
    assert program.failures == []
    assert program.longest_pause("write") > 0.5
    assert program.longest_statement("write") > 0.5
    assert program.longest_pause("read") < 0.5
    program.require_old(url)

"""The test servers themselves: they start, crash, start again, and leave nothing behind."""

import contextlib
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pymysql
import pytest

from tests.servers import DatabaseServer, EngineMissingError, ServerFailedError, postgresql_server
from tests.servers.address import checked_name, parse_address
from tests.servers.plugin import ENGINES, DatabaseServers
from tests.servers.postgresql import copy_installation, find_binaries
from tests.servers.process import OpenServer, child_handles, free_loopback_port, process_handle

PROJECT = Path(__file__).parent.parent
LIMIT_SECONDS = 30
UNREACHABLE = (psycopg.OperationalError, pymysql.err.OperationalError)


@pytest.fixture(params=list(ENGINES), scope="module")
def open_server(request: pytest.FixtureRequest, database_servers: DatabaseServers) -> OpenServer:
    database_servers.address(request.param)  # Skips, or fails, where the engine is missing.
    return ENGINES[request.param]


@pytest.fixture(scope="module")
def standing_server(open_server: OpenServer) -> Iterator[DatabaseServer]:
    with open_server() as started:
        yield started


@pytest.fixture
def server(standing_server: DatabaseServer) -> DatabaseServer:
    """A running server that a test may stop and crash, but not spoil."""
    if standing_server.pid is None:
        standing_server.start()
    return standing_server


def test_a_new_database_holds_any_text_and_keeps_time_in_utc(server: DatabaseServer) -> None:
    url = server.create_database("first")
    query(url, "CREATE TABLE note (body VARCHAR(20))")
    query(url, "INSERT INTO note VALUES ('Žluťoučký 🐎')")
    offset = {"postgresql": "SHOW timezone", "mariadb": "SELECT @@session.time_zone"}[server.address.engine]
    assert query(url, "SELECT body FROM note") == [("Žluťoučký 🐎",)]
    assert query(url, offset)[0][0] in {"UTC", "+00:00"}


def test_committed_rows_survive_a_crash(server: DatabaseServer) -> None:
    url = server.create_database("crash")
    query(url, "CREATE TABLE note (id INTEGER)")
    query(url, "INSERT INTO note VALUES (7)")
    port = server.port
    server.kill()
    with pytest.raises(UNREACHABLE):
        query(url, "SELECT id FROM note")
    server.start()
    assert server.port == port
    assert query(url, "SELECT id FROM note") == [(7,)]


@pytest.mark.slow
def test_only_a_durable_server_waits_for_the_disk(open_server: OpenServer) -> None:
    setting = {"postgresql": "SHOW fsync", "mariadb": "SELECT @@innodb_flush_log_at_trx_commit"}
    seen = []
    for durable in (True, False):
        with open_server(durable=durable) as server:
            seen.append(query(server.admin_url(), setting[server.address.engine])[0][0])
    assert seen in (["on", "off"], [1, 2])


def test_a_crash_takes_every_process_of_the_server(server: DatabaseServer) -> None:
    pid = server.pid
    assert pid is not None
    with process_handle(pid) as parent, child_handles(pid) as children:
        server.kill()
        assert all(has_ended(handle) for handle in (parent, *children))
    assert server.pid is None


def test_a_child_that_ends_while_it_is_listed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = start_python("-c", "pass")
    ended.communicate(timeout=LIMIT_SECONDS)
    monkeypatch.setattr("tests.servers.process.child_ids", lambda _: [ended.pid, os.getpid()])
    with child_handles(os.getpid()) as children:
        assert len(children) == 1
        assert not select.select(children, [], [], 0)[0]


def test_a_stopped_server_starts_again_with_its_data(server: DatabaseServer) -> None:
    url = server.create_database("kept")
    server.stop()
    with pytest.raises(UNREACHABLE):
        query(url, "SELECT 1")
    server.start()
    assert query(url, "SELECT 1") == [(1,)]


def test_a_running_server_is_not_started_twice(server: DatabaseServer) -> None:
    with pytest.raises(ServerFailedError, match="running already"):
        server.start()


def test_a_database_in_use_can_be_dropped(server: DatabaseServer) -> None:
    url = server.create_database("busy")
    with connect(url) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE note (id INTEGER)")
        cursor.execute("INSERT INTO note VALUES (7)")  # The transaction stays open and holds its locks.
        server.drop_database("busy")
    with pytest.raises(UNREACHABLE):
        query(url, "SELECT 1")


def test_dropping_an_absent_database_is_no_error(server: DatabaseServer) -> None:
    server.drop_database("never_made")
    assert query(server.admin_url(), "SELECT 1") == [(1,)]


def test_nothing_is_left_after_the_block_even_when_it_fails(open_server: OpenServer) -> None:
    handles: list[int] = []
    folders: list[Path] = []

    def interrupt() -> None:
        with open_server() as server:
            handles.append(os.pidfd_open(server.pid or 0))
            folders.append(server.folder)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert has_ended(handles[0])
    assert not folders[0].exists()
    os.close(handles[0])


def test_a_crashed_server_leaves_no_folder(open_server: OpenServer) -> None:
    with open_server() as server:
        server.kill()
    assert not server.folder.exists()


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_server_goes_with_the_process_that_started_it(open_server: OpenServer, number: signal.Signals) -> None:
    program = f"""
        import json, time
        from tests.servers.plugin import ENGINES
        with ENGINES["{engine_of(open_server)}"]() as server:
            print(json.dumps([server.pid, server._watchdog.pid, str(server.folder)]), flush=True)
            while True:
                time.sleep(0.05)
        """
    owner = start_python("-c", textwrap.dedent(program))
    with owner, contextlib.ExitStack() as stack:
        assert owner.stdout is not None
        server_pid, watchdog_pid, folder = json.loads(owner.stdout.readline())
        handles = [stack.enter_context(process_handle(pid)) for pid in (server_pid, watchdog_pid)]
        owner.send_signal(number)
        owner.wait(LIMIT_SECONDS)
        assert all(has_ended(handle) for handle in handles)
    assert not Path(folder).exists()


def test_a_taken_port_is_passed_over(open_server: OpenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as occupant:
        taken = free_loopback_port()
        occupant.bind(("127.0.0.1", taken))
        occupant.listen()
        choices = iter([taken, free_loopback_port()])
        with open_server(choose_port=lambda: next(choices)) as server:
            assert server.port != taken
            assert query(server.admin_url(), "SELECT 1") == [(1,)]


def test_a_failed_start_shows_the_log(open_server: OpenServer) -> None:
    with open_server() as server:
        server.stop()
        closed = server.folder / "data"
        closed.chmod(0)
        with pytest.raises(ServerFailedError, match=r"(?s)ended at its start.*Permission denied"):
            server.start()
        closed.chmod(stat.S_IRWXU)


def test_ports_stay_below_those_of_outgoing_connections(server: DatabaseServer) -> None:
    assert 1024 < server.port < 32768


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the account of a server")
def test_servers_do_not_run_as_root(server: DatabaseServer) -> None:
    status = Path(f"/proc/{server.pid}/status").read_text()
    identities = [line.split()[1:] for line in status.splitlines() if line.startswith(("Uid:", "Gid:"))]
    assert "0" not in {number for line in identities for number in line}


@pytest.mark.parametrize("name", ["", "a-b", "a`b", 'a"b', "A", "a" * 64, "1a", "a\n"])
def test_a_database_name_that_would_need_quoting_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="plain database name"):
        checked_name(name)


def test_an_address_survives_the_way_through_its_url(server: DatabaseServer) -> None:
    assert parse_address(server.admin_url("anything")) == server.address


@pytest.mark.parametrize("url", ["sqlite:///file", "postgresql://127.0.0.1:5432/a", "mariadb://user@127.0.0.1/a"])
def test_a_url_without_engine_user_or_port_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not the URL of a test server"):
        parse_address(url)


@pytest.mark.slow
def test_another_postgresql_release_can_be_named(
    database_servers: DatabaseServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_servers.address("postgresql")
    older = find_binaries().parent.parent / "pginstall" / "bin"
    if not older.is_dir():
        pytest.skip("HOLDFAST_TEST_POSTGRESQL_BIN names an installation outside the wheel")
    monkeypatch.setenv("HOLDFAST_TEST_POSTGRESQL_BIN", str(older))
    with postgresql_server() as server:
        assert str(query(server.admin_url(), "SHOW server_version")[0][0]).startswith("16.")


def test_a_named_folder_without_postgresql_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_TEST_POSTGRESQL_BIN", str(tmp_path))
    with pytest.raises(EngineMissingError, match="HOLDFAST_TEST_POSTGRESQL_BIN"), postgresql_server():
        pass


@pytest.mark.slow
def test_programs_in_a_folder_closed_to_others_are_copied(
    database_servers: DatabaseServers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_servers.address("postgresql")
    closed = tmp_path / "closed"
    binaries = copy_installation(find_binaries(), closed)
    closed.chmod(stat.S_IRWXU)
    monkeypatch.setenv("HOLDFAST_TEST_POSTGRESQL_BIN", str(binaries))
    with postgresql_server() as server:
        assert query(server.admin_url(), "SELECT 1") == [(1,)]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_all_workers_of_a_run_share_one_server(tmp_path: Path, workers: str) -> None:
    run = run_pytest(tmp_path, "-n", workers)
    assert run.returncode == 0, run.stdout
    seen = [json.loads(file.read_text()) for file in tmp_path.glob("seen-*")]
    assert len(seen) == 4
    assert len({tuple(sorted(urls.items())) for urls in seen}) == 1
    for url in seen[0].values():
        with pytest.raises(UNREACHABLE):
            query(url, "SELECT 1")


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_a_missing_engine_is_skipped_with_one_loud_line(tmp_path: Path, workers: str) -> None:
    run = run_pytest(tmp_path, "-n", workers, HOLDFAST_TEST_POSTGRESQL_BIN="/nonexistent", HOLDFAST_REQUIRE_ENGINES="")
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("NOT TESTED: PostgreSQL is missing") == 1
    assert "4 skipped" in run.stdout


def test_a_missing_engine_fails_where_engines_are_required(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, "-n0", HOLDFAST_TEST_POSTGRESQL_BIN="/nonexistent", HOLDFAST_REQUIRE_ENGINES="1")
    assert run.returncode == 1
    assert "4 failed" in run.stdout


def run_pytest(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run four tests that each note the addresses they see, in a process of its own."""
    (folder / "conftest.py").write_text('pytest_plugins = ["tests.servers.plugin"]\n')
    (folder / "test_addresses.py").write_text(
        textwrap.dedent("""\
            import json, pathlib, pytest

            @pytest.mark.parametrize("number", range(4))
            def test_note(database_servers, number):
                database_servers.address("postgresql")
                file = pathlib.Path(__file__).parent / f"seen-{number}"
                file.write_text(json.dumps(database_servers.server_urls))
            """)
    )
    process = start_python(
        "-m",
        "pytest",
        "-p",
        "no:schemathesis",
        "-c",
        str(PROJECT / "pyproject.toml"),
        f"--rootdir={folder}",
        *arguments,
        str(folder),
        environment=environment,
    )
    with process:
        output, _ = process.communicate(timeout=2 * LIMIT_SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def start_python(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**inherited, "PYTHONPATH": str(PROJECT), **(environment or {})},
    )


def engine_of(open_server: OpenServer) -> str:
    return next(engine for engine, known in ENGINES.items() if known is open_server)


def has_ended(handle: int) -> bool:
    return bool(select.select([handle], [], [], LIMIT_SECONDS)[0])


def connect(url: str) -> contextlib.AbstractContextManager["psycopg.Connection | pymysql.Connection"]:
    address = parse_address(url)
    if address.engine == "postgresql":
        return contextlib.closing(psycopg.connect(url))
    database = url.rpartition("/")[2]
    return contextlib.closing(
        pymysql.connect(host=address.host, port=address.port, user=address.user, database=database)
    )


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement in a transaction of its own and return its rows."""
    with connect(url) as connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        rows = list(cursor.fetchall()) if cursor.description else []
        connection.commit()
        return rows

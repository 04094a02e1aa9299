"""MariaDB for tests, from the `mariadbd` that is installed on the machine."""

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator

import pymysql

from tests.servers.address import MariadbAddress, ServerAddress
from tests.servers.process import Account, DatabaseServer, EngineMissingError, free_loopback_port, running

SEARCH_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/bin", "/usr/local/sbin"))
CREATE_ACCOUNT = """\
CREATE USER IF NOT EXISTS 'holdfast'@'127.0.0.1';
GRANT ALL PRIVILEGES ON *.* TO 'holdfast'@'127.0.0.1' WITH GRANT OPTION;
"""


class MariadbServer(DatabaseServer):
    stop_signal = signal.SIGTERM
    discard_signal = signal.SIGKILL

    def __init__(self, *, durable: bool = False, choose_port: Callable[[], int] = free_loopback_port) -> None:
        self._server = find_program("mariadbd")
        self._installer = find_program("mariadb-install-db")
        super().__init__("mariadb", Account.unprivileged("mysql", "nobody"), durable=durable, choose_port=choose_port)

    def initialise(self) -> None:
        super().initialise()
        (self.folder / "account.sql").write_text(CREATE_ACCOUNT)

    def _address_at(self, port: int) -> ServerAddress:
        return MariadbAddress(port=port)

    def _initialise_command(self) -> list[str]:
        return [
            self._installer,
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            *self._haste(),
        ]

    def _start_command(self, address: ServerAddress) -> list[str]:
        return [
            self._server,
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={self.folder}",
            f"--socket={self._socket}",
            f"--pid-file={self.folder / 'mariadbd.pid'}",
            f"--init-file={self.folder / 'account.sql'}",
            f"--bind-address={address.host}",
            f"--port={address.port}",
            "--skip-name-resolve",
            "--max-connections=300",
            "--character-set-server=utf8mb4",
            "--default-time-zone=+00:00",
            "--performance-schema=ON",
            # 2 writes each commit to the kernel without waiting for the disk; 0 would lose commits at `kill`.
            f"--innodb-flush-log-at-trx-commit={1 if self.durable else 2}",
            *self._haste(),
        ]

    def _haste(self) -> list[str]:
        return [] if self.durable else ["--debug-no-sync", "--innodb-doublewrite=OFF", "--innodb-log-file-size=16M"]

    def _answers(self, address: ServerAddress) -> bool:
        """The account of the tests exists before the server accepts connections: it comes from the init file."""
        # The socket is opened here because PyMySQL leaves it open when nobody listens.
        with socket.socket(socket.AF_UNIX) as connected:
            try:
                connected.connect(self._socket)
                connection = pymysql.connect(user="root", read_timeout=2, defer_connect=True)
                connection.connect(connected)
                connection.close()
            except (OSError, pymysql.err.OperationalError):
                return False
        return True

    @property
    def _socket(self) -> str:
        return str(self.folder / "mariadbd.sock")


@contextlib.contextmanager
def mariadb_server(
    durable: bool = False, choose_port: Callable[[], int] = free_loopback_port
) -> Iterator[DatabaseServer]:
    """A MariaDB of one's own for the length of the block. Raises EngineMissingError."""
    with running(MariadbServer(durable=durable, choose_port=choose_port)) as server:
        yield server


def find_program(name: str) -> str:
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise EngineMissingError(f"MariaDB is missing: {name} is not installed (apt-get install mariadb-server).")
    return path

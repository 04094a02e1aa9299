"""The life of a test server: a private folder, a free port, start, stop, crash, and an end in every case."""

import contextlib
import os
import pwd
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

from tests.servers import watchdog
from tests.servers.address import ServerAddress

START_SECONDS = 60
STOP_SECONDS = 30
PORT_ATTEMPTS = 10
# Below 32768: the kernel hands higher ports to outgoing connections, which would collide.
PORTS = range(20_000, 32_768)
LOG_TAIL_CHARACTERS = 4_000


class EngineMissingError(Exception):
    """The programs of an engine are not on this machine; the message says what to install."""


class ServerFailedError(Exception):
    """A server did not do what it was told; the message ends with the end of its log."""


class _PortTakenError(Exception):
    """Another process took the port between the choice and the start."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating-system account a server runs under; both servers refuse to run as root."""

    user: str | None = None
    group: int | None = None
    extra_groups: Sequence[int] | None = None

    @classmethod
    def unprivileged(cls, *names: str) -> Self:
        """The first of `names` that exists when running as root, else the caller's own account."""
        if os.geteuid() != 0:
            return cls()
        known = {entry.pw_name: entry.pw_gid for entry in pwd.getpwall()}
        user = next(name for name in names if name in known)
        return cls(user, known[user], ())


class DatabaseServer(ABC):
    """One server process with its own folder. `durable` keeps the writes safe from a power cut, for benchmarks."""

    stop_signal: ClassVar[signal.Signals]
    discard_signal: ClassVar[signal.Signals]

    def __init__(self, engine: str, account: Account, *, durable: bool, choose_port: Callable[[], int]) -> None:
        if sys.platform != "linux":
            raise EngineMissingError(f"Test servers of {engine} need Linux: process handles and /proc guard them.")
        self.account = account
        self.durable = durable
        self.choose_port = choose_port
        # Not the TMPDIR of the caller: another account must reach it, and a socket's path may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix=f"holdfast-{engine}-", dir="/tmp"))
        self.log_file = self.folder / "server.log"
        self.log_file.touch()
        self._address: ServerAddress | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog = start_watchdog(self.folder, self.discard_signal)
        if account.user is not None:
            shutil.chown(self.folder, account.user, account.group)

    @property
    def address(self) -> ServerAddress:
        if self._address is None:
            raise ServerFailedError("The server was never started.")
        return self._address

    @property
    def host(self) -> str:
        return self.address.host

    @property
    def port(self) -> int:
        return self.address.port

    @property
    def user(self) -> str:
        return self.address.user

    @property
    def pid(self) -> int | None:
        """The id of the running server process, or None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def admin_url(self, database: str | None = None) -> str:
        return self.address.admin_url(database)

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        return self.address.create_database(name)

    def drop_database(self, name: str) -> None:
        self.address.drop_database(name)

    def initialise(self) -> None:
        """Fill the folder with an empty database cluster. Called once, before the first start."""
        self._run(self._initialise_command())

    def start(self) -> None:
        """Start, or start again on the same data and the same port; return when the server answers."""
        if self.pid is not None:
            raise ServerFailedError("The server is running already.")
        if self._address is not None:
            self._launch(self._address)
            return
        for _ in range(PORT_ATTEMPTS):
            address = self._address_at(self.choose_port())
            try:
                self._launch(address)
            except _PortTakenError:
                continue
            self._address = address
            return
        raise ServerFailedError(f"No free port was found in {PORT_ATTEMPTS} attempts.\n{self.log_tail()}")

    def stop(self) -> None:
        """Shut down in order; by force when that takes longer than the limit."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """Crash: every process of the server dies at once, as in a power cut.

        What was committed must be there again after `start`.
        """
        if self._process is None or self._process.poll() is not None:
            return
        # A stopped parent starts no new children while the present ones are counted and killed.
        self._process.send_signal(signal.SIGSTOP)
        with child_handles(self._process.pid) as children:
            for child in children:
                signal_process(child, signal.SIGKILL)
            self._process.kill()
            self._process.wait(STOP_SECONDS)
            for child in children:
                select.select([child], [], [], STOP_SECONDS)

    def discard(self) -> None:
        """End the server the quickest way and remove its folder."""
        try:
            self._end(self.discard_signal)
        finally:
            end_watchdog(self._watchdog)
            shutil.rmtree(self.folder, ignore_errors=True)

    def log_tail(self) -> str:
        """The end of the server's log, for the message of a failure."""
        return self._log_since(0)[-LOG_TAIL_CHARACTERS:]

    @abstractmethod
    def _address_at(self, port: int) -> ServerAddress: ...

    @abstractmethod
    def _initialise_command(self) -> list[str]: ...

    @abstractmethod
    def _start_command(self, address: ServerAddress) -> list[str]: ...

    @abstractmethod
    def _answers(self, address: ServerAddress) -> bool:
        """Whether a statement runs through the private socket, which no other server can answer."""

    def _launch(self, address: ServerAddress) -> None:
        log_start = self.log_file.stat().st_size
        self._process = self._spawn(self._start_command(address))
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(address):
            if self._process.poll() is not None:
                if "Address already in use" in self._log_since(log_start):
                    raise _PortTakenError
                raise ServerFailedError(f"The server ended at its start.\n{self.log_tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerFailedError(f"The server did not answer in {START_SECONDS} seconds.\n{self.log_tail()}")
            time.sleep(0.02)

    def _run(self, command: list[str]) -> None:
        process = self._spawn(command)
        try:
            status = process.wait(START_SECONDS)
        finally:
            process.kill()
            process.wait()
        if status != 0:
            raise ServerFailedError(f"{command[0]} ended with status {status}.\n{self.log_tail()}")

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        # Its own session: an interrupt typed at the terminal reaches the tests, which then end the server in order.
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env={"PATH": os.defpath, "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
                user=self.account.user,
                group=self.account.group,
                extra_groups=self.account.extra_groups,
                start_new_session=True,
            )
        announce(self._watchdog, process.pid)
        return process

    def _end(self, first_signal: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(first_signal)
        try:
            self._process.wait(STOP_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _log_since(self, offset: int) -> str:
        with self.log_file.open("rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")


class OpenServer(Protocol):
    """What `postgresql_server` and `mariadb_server` have in common."""

    def __call__(
        self, durable: bool = ..., choose_port: Callable[[], int] = ...
    ) -> contextlib.AbstractContextManager[DatabaseServer]: ...


@contextlib.contextmanager
def running(server: DatabaseServer) -> Iterator[DatabaseServer]:
    """Initialise and start `server`; discard it at the end, also after a failure or an interrupt."""
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.discard()


def free_loopback_port() -> int:
    """A port that was free a moment ago."""
    chooser = random.SystemRandom()
    while True:
        port = chooser.choice(PORTS)
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port


def start_watchdog(folder: Path, discard_signal: signal.Signals) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", watchdog.__file__, str(folder), str(int(discard_signal))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd="/", start_new_session=True)


def announce(guard: subprocess.Popen[str], pid: int) -> None:
    if guard.stdin is not None:
        guard.stdin.write(f"{pid}\n")
        guard.stdin.flush()


def end_watchdog(guard: subprocess.Popen[str]) -> None:
    if guard.stdin is not None:
        guard.stdin.close()
    try:
        guard.wait(STOP_SECONDS)
    finally:
        guard.kill()
        guard.wait()


def child_ids(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


@contextlib.contextmanager
def child_handles(pid: int) -> Iterator[list[int]]:
    """A descriptor for each child of `pid`; a child that ends while they are listed is left out."""
    with contextlib.ExitStack() as stack:
        handles = []
        for child in child_ids(pid):
            with contextlib.suppress(ProcessLookupError):
                handles.append(stack.enter_context(process_handle(child)))
        yield handles


@contextlib.contextmanager
def process_handle(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the process ends."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def signal_process(handle: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, number)

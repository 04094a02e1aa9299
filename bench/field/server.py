"""A server of the field: how it is installed, and what the measuring needs of one that runs."""

import asyncio
import hashlib
import os
import sqlite3
import subprocess
import sys
import time
import venv
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.field.client import Client, connected
from bench.field.dataset import Dataset
from bench.processes import started
from tests.servers.process import free_loopback_port

START = Path(__file__).with_name("start")
PAGE = 50
LIST_USERS = f"list a page of {PAGE} users"
LIST_USERS_WITH_GROUPS = f"list a page of {PAGE} users with their groups"
LIST_GROUPS_WITH_MEMBERS = "list the groups with their members"
READ_USER = "read one user"
READ_USER_WITH_GROUPS = "read one user with their groups"
CREATE_USER = "create a user"
ADD_MEMBER = "add a member"
DELETE_GROUP = "delete a group with its members"

Operation = Callable[[Client, int], Awaitable[object]]

_HOME = Path("build/field").resolve()
_READY_SECONDS = 120


class Side(msgspec.Struct, frozen=True):
    """A serving process, what its requests carry, and a path that answers to anybody.

    Each operation is called with numbers from 0, and no number twice.
    """

    pid: int
    port: int
    ready: str
    headers: Mapping[str, str]
    operations: Mapping[str, Operation]


class FieldServer(msgspec.Struct, frozen=True):
    """A server of the field. `serve` runs it with the data in it, in a folder of its own."""

    name: str
    title: str
    serve: Callable[[Path, Dataset, Path], AbstractContextManager[Side]]
    deletes_groups: bool = True

    @property
    def programs(self) -> Path:
        """The folder of its programs."""
        return _HOME / self.name / "bin"

    @property
    def is_installed(self) -> bool:
        """Whether it is there in the pinned versions."""
        return self._stamp.exists() and self._stamp.read_text() == self._fingerprint

    @property
    def how_to_install(self) -> str:
        """What is missing, for the report."""
        return f"{self.title}: left out, it needs `python -m bench.field install {self.name}`"

    def install(self) -> None:
        """Make its virtual environment anew. Raises CalledProcessError where a package cannot be had."""
        home = self.programs.parent
        venv.create(home, with_pip=True, clear=True)
        pip = [str(self.programs / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--requirement", str(self._requirements)], check=True)
        self._stamp.write_text(self._fingerprint)

    @property
    def version(self) -> str:
        """The pinned version."""
        lines = self._requirements.read_text().splitlines()
        return next(line.partition("==")[2] for line in lines if line.startswith(f"{self.name}=="))

    @property
    def _requirements(self) -> Path:
        return Path(__file__).with_name(f"requirements-{self.name}.txt")

    @property
    def _stamp(self) -> Path:
        return self.programs.parent / "installed"

    @property
    def _fingerprint(self) -> str:
        return hashlib.sha256(self._requirements.read_bytes() + sys.version.encode()).hexdigest()


class Running(msgspec.Struct, frozen=True):
    """A process that answers on a port, and the path that it was asked for."""

    pid: int
    port: int
    ready: str

    def side(self, headers: Mapping[str, str], operations: Mapping[str, Operation]) -> Side:
        """It as a side of the comparison."""
        return Side(self.pid, self.port, self.ready, headers, operations)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The variables of a program of the field: nothing of the caller's but the path, and its home in its own folder."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"} | more


def run_program(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> None:
    """Run a program of the field to its end. Raises RuntimeError with what it said."""
    done = subprocess.run(command, env=dict(variables), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


@contextmanager
def running(
    command: Callable[[int], Sequence[str]], variables: Mapping[str, str], folder: Path, *, ready: str
) -> Iterator[Running]:
    """Start a server on a free port and wait until it answers `ready` with a status below 500."""
    port = free_loopback_port()
    log = folder / "server.log"
    deadline = time.monotonic() + _READY_SECONDS
    # `env -i`: `started` hands the whole of its own environment on.
    clean = ["env", "-i", "-C", str(folder), *(f"{name}={value}" for name, value in variables.items())]
    with started([*clean, *command(port)], {}, log) as process:
        while not _answers(port, ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command(port)[0]} is not ready; its log ends with\n{log.read_text()[-4000:]}")
            time.sleep(0.05)
        yield Running(process.pid, port, ready)


def ask(port: int, headers: Mapping[str, str], method: str, path: str, body: Any) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of the answer to one request, which must be 201."""

    async def ask_once() -> tuple[bytes, dict[str, str]]:
        async with connected(port, headers) as client:
            return await client.ask(method, path, body, expected=201), client.answer_headers

    return asyncio.run(ask_once())


def insert(database: Path, rows: Iterable[tuple[str, Iterable[Mapping[str, Any]]]]) -> None:
    """Write rows of several tables into a SQLite file, parents first, in one transaction."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, found in rows:
            statement = ""
            for row in found:
                if not statement:
                    names, places = ", ".join(f'"{name}"' for name in row), ", ".join(f":{name}" for name in row)
                    statement = f'INSERT INTO "{table}" ({names}) VALUES ({places})'
                connection.execute(statement, row)


def fetch_one(database: Path, statement: str) -> Any:
    """The first value of the first row."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        return connection.execute(statement).fetchone()[0]


def _answers(port: int, path: str) -> bool:
    async def ask_once() -> bool:
        async with connected(port) as client:
            # Most refuse who has not signed in.
            status, _ = await client.try_to("GET", path)
            return status < 500

    try:
        return asyncio.run(ask_once())
    except (OSError, asyncio.IncompleteReadError):
        return False

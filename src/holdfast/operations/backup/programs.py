"""The database's own programs: found, asked for their version, run without a password on the command line."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from holdfast.operations.backup.errors import BackupFailedError, ProgramError, ProgramKilledError

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.\d+)?(?=-MariaDB)|\(PostgreSQL\) (\d+)(?:\.(\d+))?")
_VERSION_SECONDS = 20
_ERROR_BYTES = 8000
_END_SECONDS = 10


class Program(msgspec.Struct, frozen=True):
    """A program that was found. `version` is its major and minor one."""

    path: Path
    version: tuple[int, int]

    @property
    def shown(self) -> str:
        """Its name and version."""
        return f"{self.path.name} {self.version[0]}.{self.version[1]}"


def find_postgresql(name: str, folder: str, *, at_least: int) -> Program:
    """`pg_dump` or `pg_restore` of the server's major version or a newer one; `folder` is HOLDFAST_POSTGRESQL_BIN."""
    if folder:
        candidates = [Path(folder) / name]
    else:
        found = shutil.which(name)
        installed = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
        candidates = sorted(installed, key=_release, reverse=True) + ([Path(found)] if found else [])
    programs = [Program(path, version) for path in candidates if (version := _version_of(path)) is not None]
    advice = "install the Debian package postgresql-client, or let HOLDFAST_POSTGRESQL_BIN name the folder that has it"
    if not programs:
        raise ProgramError(f"{name} is not installed{f' in {folder}' if folder else ''}: {advice}")
    best = max(programs, key=lambda each: each.version)
    if best.version[0] < at_least:
        raise ProgramError(
            f"{name} is of PostgreSQL {best.version[0]} ({best.path}), older than the server's {at_least}: {advice},"
            f" of version {at_least} or newer"
        )
    # That of the server itself, where it is there: a newer one may write what the server does not know.
    same = [each for each in programs if each.version[0] == at_least]
    return same[0] if same else best


def find_mariadb(*names: str) -> Program:
    """The first of these names that is installed: `mariadb-dump` was called `mysqldump` once."""
    for name in names:
        found = shutil.which(name)
        if found is not None and (version := _version_of(Path(found))) is not None:
            return Program(Path(found), version)
    raise ProgramError(f"{names[0]} of MariaDB is not installed: install the Debian package mariadb-client")


def _release(path: Path) -> int:
    name = path.parent.parent.name
    return int(name) if name.isdecimal() else 0


def _version_of(path: Path) -> tuple[int, int] | None:
    try:
        told = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(told.stdout)
    if found is None:
        return None
    return (int(found[1] or found[3]), int(found[2] or found[4] or 0))


@contextlib.contextmanager
def secret_file(content: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The name of a file with this content for a program that is started meanwhile, and the descriptors to pass on.

    On Linux it is in memory and has no name on any disk, so that nothing is left when this process is killed.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("holdfast", 0)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, content.encode())
            yield f"/proc/self/fd/{descriptor}", (descriptor,)
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(content)
        file.flush()
        yield file.name, ()


class Running:
    """A program under way. What it says on standard error is kept for the error that `finish` raises."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: dict[str, str],
        descriptors: tuple[int, ...],
        writes: bool,
        secrets: tuple[str, ...] = (),
    ) -> None:
        self._name = Path(command[0]).name
        self._secrets = secrets
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if writes else subprocess.PIPE,
            stdout=subprocess.PIPE if writes else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_clean_environment() | environment,
            pass_fds=descriptors,
            # Ctrl-C is for this process, which ends the program itself.
            start_new_session=True,
        )
        self._said = b""
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    @property
    def stdout(self) -> IO[bytes]:
        """What a program that writes gives."""
        assert self._process.stdout is not None
        return self._process.stdout

    def write(self, data: bytes) -> int:
        """Give bytes to a program that reads; one that ended tells why in `finish`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
        except (BrokenPipeError, ValueError):
            self.finish()
            raise BackupFailedError(f"{self._name} ended before it had read everything") from None
        return len(data)

    def finish(self) -> None:
        """Wait for its end; raises BackupFailedError with its words where it failed.

        ProgramKilledError: a signal ended it.
        """
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        status = self._process.wait()
        self._listening.join(_END_SECONDS)
        if status < 0:
            raise ProgramKilledError(f"{self._name} was ended by {_signal_name(-status)}")
        if status != 0:
            raise BackupFailedError(f"{self._name} failed: {self.said or f'it ended with status {status}'}")

    @property
    def said(self) -> str:
        """Its last words, without what is secret."""
        text = self._said.decode(errors="replace").strip()
        for secret in filter(None, self._secrets):
            text = text.replace(secret, "***")
        return " ".join(text.split())

    def end(self) -> None:
        """Kill it where it still runs, and let go of its pipes."""
        if self._process.poll() is None:
            self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._listening.join(_END_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError, OSError):
            for line in self._process.stderr:
                self._said = (self._said + line)[-_ERROR_BYTES:]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _clean_environment() -> dict[str, str]:
    """This process's, without what would lead the programs elsewhere, and without Holdfast's own settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "MYSQL", "MARIADB", "HOLDFAST_", "AWS_"))
    } | {"LC_ALL": "C.UTF-8"}

"""The shape of the machine that figures come from: without it nobody can say what a figure is worth."""

import os
import platform
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from holdfast.db.sqlite_driver import sqlite3
from tests.servers.mariadb import find_program
from tests.servers.postgresql import find_binaries


class Machine(msgspec.Struct, frozen=True):
    """What figures depend on beside the code: cores that may be used, their model, memory, and versions."""

    cores: int
    model: str
    memory_gib: int
    system: str
    python: str
    engines: dict[str, str]

    @property
    def shape(self) -> str:
        """The machine alone, in words."""
        return f"{self.cores} cores of {self.model}, {self.memory_gib} GiB, {self.system}"


def this_machine(engines: Iterable[str]) -> Machine:
    """The machine that this process runs on, with the versions of these engines."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        model=_field_of("/proc/cpuinfo", "model name") or platform.machine(),
        memory_gib=round(int(_field_of("/proc/meminfo", "MemTotal").split()[0]) / 1024**2),
        # The kernel's own number, without what a distribution appends.
        system=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        python=platform.python_version(),
        engines={engine: _VERSIONS[engine]() for engine in engines},
    )


def _field_of(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        field, _, value = line.partition(":")
        if field.strip() == name:
            return value.strip()
    return ""


def _postgresql_version() -> str:
    # postgres (PostgreSQL) 18.4
    return _told_by(str(find_binaries() / "postgres")).split()[2]


def _mariadb_version() -> str:
    # mariadbd  Ver 10.11.14-MariaDB-0+deb12u2 for debian-linux-gnu on x86_64 (Debian 12)
    return _told_by(find_program("mariadbd")).partition(" Ver ")[2].partition("-")[0]


def _told_by(program: str) -> str:
    return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.strip()


_VERSIONS: dict[str, Callable[[], str]] = {
    "postgresql": _postgresql_version,
    "mariadb": _mariadb_version,
    "sqlite": lambda: str(sqlite3.sqlite_version),
}

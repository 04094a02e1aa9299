"""What processes cost: CPU time and memory from /proc, and children that are driven over their pipes."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

_TICKS = os.sysconf("SC_CLK_TCK")
_END_SECONDS = 20


def cpu_seconds(*roots: int) -> float:
    """The CPU time, user and system, that these processes and all their descendants have used so far."""
    return sum(_tree_seconds(pid) for pid in roots)


def memory_mib(pid: int) -> float:
    """The resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def memory_of_server_mib(pid: int) -> float:
    """The resident memory of the process that serves: of this one or its descendants the one with most."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return max([memory_mib(pid), *(memory_of_server_mib(int(child)) for child in children)])


@contextmanager
def kept_apart(applications: Iterable[int], others: Iterable[int]) -> Iterator[None]:
    """For the block the applications run on one core and the others on the rest, with their threads and descendants.

    Without it the kernel moves them about, and what a request costs depends on how many processes share the cores. On
    a machine with one core nothing changes.
    """
    cores = os.sched_getaffinity(0)
    own, rest = {min(cores)}, cores - {min(cores)}
    if not rest:
        yield
        return
    threads = [(thread, own) for pid in applications for thread in _threads(pid)]
    threads += [(thread, rest) for pid in others for thread in _threads(pid)]
    for thread, chosen in threads:
        _place(thread, chosen)
    try:
        yield
    finally:
        for thread, _ in threads:
            _place(thread, cores)


def _threads(pid: int) -> Iterator[int]:
    """What a thread or process starts later runs where its parent does."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield int(task.name)
        for child in (task / "children").read_text().split():
            yield from _threads(int(child))


def _place(thread: int, cores: set[int]) -> None:
    with suppress(ProcessLookupError):
        os.sched_setaffinity(thread, cores)


def _tree_seconds(pid: int) -> float:
    """A descendant that has ended is in its parent's count of waited-for children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return 0.0
    # utime, stime, cutime, cstime are fields 14 to 17, and field 3 comes first after the name.
    own = sum(int(field) for field in fields[11:15]) / _TICKS
    return own + sum(_tree_seconds(int(child)) for child in children)


class Driven:
    """A child process that takes a line of JSON on its input for each task and answers with one."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.pid = process.pid

    def run(self, **task: Any) -> dict[str, Any]:
        """Do one task; returns when it is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(task) + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended with status {self._process.wait()}")
        return msgspec.json.decode(answer, type=dict[str, Any])


@contextmanager
def driven(module: str, *arguments: str) -> Iterator[Driven]:
    """A module of this package as a driven process, ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment({})
    )
    try:
        yield Driven(process)
    finally:
        _end(process)


@contextmanager
def started(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server process, its output in `log`, ended with the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=_environment(environment))
    try:
        yield process
    finally:
        _end(process)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return kept | dict(more)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

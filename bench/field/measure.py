"""P9: each server of the field and Holdfast take turns with the same operation on the same data."""

import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median

import msgspec

from bench.field import holdfast
from bench.field.client import Client, connected
from bench.field.dataset import Dataset
from bench.field.server import DELETE_GROUP, FieldServer, Side
from bench.measure import Comparison
from bench.report import Figure

_AT_LEAST = 10.0
_FEWEST_REQUESTS = 10
# On each of which requests follow one another.
_CONNECTIONS = 16
_TICKS = os.sysconf("SC_CLK_TCK")


class Span(msgspec.Struct, frozen=True):
    """How much is measured: rounds, the CPU seconds that the other side should use in each, and the groups that each
    side deletes in each, because they must be there before.
    """

    rounds: int
    seconds: float
    deletions: int
    users: int
    groups: int
    members: int

    def dataset(self, *, with_spare_groups: bool) -> Dataset:
        """What both sides hold; a round more of groups to delete is for the warm-up."""
        spare_groups = (self.rounds + 1) * self.deletions if with_spare_groups else 0
        return Dataset(users=self.users, groups=self.groups, members=self.members, spare_groups=spare_groups)


THOROUGH = Span(rounds=5, seconds=0.7, deletions=40, users=2000, groups=100, members=20)
BRIEF = Span(rounds=2, seconds=0.05, deletions=3, users=200, groups=10, members=20)


def measure_field_server(field_server: FieldServer, span: Span) -> Iterator[Figure]:
    """The figures of P9 for one server, an operation each that it offers."""
    dataset = span.dataset(with_spare_groups=field_server.deletes_groups)
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-field-") as folder,
        field_server.serve(field_server.programs, dataset, _made(Path(folder) / field_server.name)) as other,
        holdfast.serve(dataset, _made(Path(folder) / "holdfast")) as product,
    ):
        for operation in other.operations:
            name = f"{field_server.title}: {operation}"
            measured = _compare(name, operation, product, other, span)
            unit = f"x less than {field_server.title}"
            yield Figure("P9", "sqlite", name, 1 / measured.ratio, _AT_LEAST, unit, measured, at_least=True)


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and its descendants, ended ones included.

    The process's own clock counts nanoseconds. /proc counts hundredths of a second, too coarse for forty requests, and
    serves only for what has ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended = sum(int(field) for field in fields[13:15]) / _TICKS
    children = {
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    }
    return time.clock_gettime(_clock_of(pid)) + ended + sum(cpu_seconds(child) for child in children)


def _clock_of(pid: int) -> int:
    """The number of a process's CPU clock, as the C library's `clock_getcpuclockid` makes it."""
    return (~pid << 3) | 2


def _compare(name: str, operation: str, product: Side, other: Side, span: Span) -> Comparison:
    """Both sides do equally many requests, so that their data stay of the same size."""
    sides = (product, other)
    numbers = (itertools.count(), itertools.count())

    def cost(side: int, requests: int) -> float:
        return asyncio.run(_seconds_of(sides[side], operation, itertools.islice(numbers[side], requests))) / requests

    if operation == DELETE_GROUP:
        requests = span.deletions
        cost(0, requests)
        cost(1, requests)
    else:
        # What a request costs at first tells how many warm up, and those how many a round has: some take milliseconds,
        # others half a second.
        requests = _FEWEST_REQUESTS
        for _ in range(2):
            cost(0, requests)
            requests = max(_FEWEST_REQUESTS, int(span.seconds / cost(1, requests)))
    rounds = []
    for number in range(span.rounds):
        measured = {side: 1000 * cost(side, requests) for side in ((0, 1) if number % 2 else (1, 0))}
        rounds.append((measured[0], measured[1]))
    ratios = [ours / theirs for ours, theirs in rounds]
    return Comparison(
        scenario=name,
        requests_per_round=requests,
        product_ms=median(ours for ours, _ in rounds),
        other_ms=median(theirs for _, theirs in rounds),
        ratio=median(ratios),
        spread=(min(ratios), max(ratios)),
        rounds=tuple(rounds),
    )


async def _seconds_of(side: Side, operation: str, numbers: Iterator[int]) -> float:
    """The CPU time of these requests. Opening the connections is not counted."""
    do = side.operations[operation]

    async def use(client: Client) -> None:
        for number in numbers:
            await do(client, number)

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(side.port, side.headers)) for _ in range(_CONNECTIONS)]
        await asyncio.gather(*(client.try_to("GET", side.ready) for client in clients))
        before = cpu_seconds(side.pid)
        await asyncio.gather(*(use(client) for client in clients))
        return cpu_seconds(side.pid) - before


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder

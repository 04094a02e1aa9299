"""The measuring itself: rounds in which the product and what it is compared with take turns, so that drift cancels."""

import re
import time
from collections.abc import Callable
from statistics import median

import msgspec

from bench.processes import Driven, kept_apart
from bench.scenarios import Scenario
from bench.stand import Server, Stand

_STATEMENTS = re.compile(rb"^holdfast_statements_total\{.*\} (\S+)$", re.MULTILINE)
_COUNTED_TIMES, _BETWEEN_COUNTS_SECONDS = 5, 0.1


class Effort(msgspec.Struct, frozen=True):
    """How much is measured: rounds, and the CPU seconds that a side should use in each."""

    rounds: int
    seconds: float
    warm_up: int


THOROUGH = Effort(rounds=7, seconds=1.5, warm_up=300)
BRIEF = Effort(rounds=2, seconds=0.1, warm_up=20)


class Side(msgspec.Struct, frozen=True):
    """One of the two that take turns. `run` does so many requests; `pid` is its application's process.

    `load_pid` is the process that sends the requests, where another does.
    """

    pid: int
    run: Callable[[int], object]
    load_pid: int | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of the product and of the other side, by the median of the rounds: CPU time per request, but time
    on the clock for what `bench.deletion` and `bench.purging` compare, where the database's part is not told.

    `ratio` is the median of the rounds' own ratios, product to other; `spread` their least and greatest. `rounds` holds
    the milliseconds of both sides in each round, where sides take turns.
    """

    scenario: str
    requests_per_round: int
    product_ms: float
    other_ms: float
    ratio: float
    spread: tuple[float, float]
    product_database_ms: float | None = None
    other_database_ms: float | None = None
    rounds: tuple[tuple[float, float], ...] = ()


def limit_side(limit: Driven, scenario: Scenario) -> Side:
    """The bare driver loop."""
    return Side(limit.pid, lambda count: limit.run(scenario=scenario.name, count=count))


def server_side(server: Server, load: Driven, scenario: Scenario) -> Side:
    """A serving process under load."""
    return Side(server.pid, lambda count: load.run(scenario=scenario.name, port=server.port, count=count), load.pid)


def compare(stand: Stand, scenario: Scenario, *, product: Side, other: Side, effort: Effort) -> Comparison:
    """Measure both sides in turn, each application on a core that database and load leave alone.

    An embedded database works in the application, and the kernel places its threads.
    """
    sides = (product, other)
    if stand.shares_cores or not stand.server_pids:
        return _compare(stand, scenario, sides, effort)
    loads = {side.load_pid for side in sides if side.load_pid is not None}
    with kept_apart([side.pid for side in sides], [*stand.server_pids, *loads]):
        return _compare(stand, scenario, sides, effort)


def _compare(stand: Stand, scenario: Scenario, sides: tuple[Side, Side], effort: Effort) -> Comparison:
    # Enough for sixteen connections to prepare all their statements, and then for an estimate of the cost.
    for side in sides:
        _cost(stand, side, effort.warm_up)
    costs = [_cost(stand, side, effort.warm_up)[0] for side in sides]
    counts = [max(effort.warm_up, int(effort.seconds / max(cost, 1e-4))) for cost in costs]
    rounds = []
    for number in range(effort.rounds):
        measured = {side: _cost(stand, sides[side], counts[side]) for side in ((0, 1) if number % 2 else (1, 0))}
        rounds.append((measured[0], measured[1]))
    ratios = [ours[0] / theirs[0] if theirs[0] else float("nan") for ours, theirs in rounds]
    return Comparison(
        scenario=scenario.name,
        requests_per_round=counts[0],
        product_ms=1000 * median(ours[0] for ours, _ in rounds),
        other_ms=1000 * median(theirs[0] for _, theirs in rounds),
        product_database_ms=1000 * median(ours[1] for ours, _ in rounds),
        other_database_ms=1000 * median(theirs[1] for _, theirs in rounds),
        ratio=median(ratios),
        spread=(min(ratios), max(ratios)),
        rounds=tuple((1000 * ours[0], 1000 * theirs[0]) for ours, theirs in rounds),
    )


def statements_of(server: Server, do_request: Callable[[], object]) -> int:
    """How many statements one request runs, by the product's own metric.

    The worker's are counted there, too; they can only add, so the least of several counts is the request's.
    """
    do_request()
    counts = []
    for _ in range(_COUNTED_TIMES):
        before = _statements(server)
        do_request()
        counts.append(_statements(server) - before)
        time.sleep(_BETWEEN_COUNTS_SECONDS)
    return min(counts)


def _cost(stand: Stand, side: Side, count: int) -> tuple[float, float]:
    """CPU seconds per request: of application and database together, and of the database alone."""
    database = stand.cpu_seconds(0)
    whole = stand.cpu_seconds(side.pid)
    side.run(count)
    return (stand.cpu_seconds(side.pid) - whole) / count, (stand.cpu_seconds(0) - database) / count


def _statements(server: Server) -> int:
    return int(sum(float(value) for value in _STATEMENTS.findall(server.get("/metrics"))))

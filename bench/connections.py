"""Holdfast and its peers with 1, 16 and 64 connections: requests a second, latencies, CPU time and memory.

Each connection sends its next request when the last one is answered, so the sides answer as fast as they can. The load
runs on the same machine and takes its share of the processors: requests a second compare the sides, and say less about
a machine that only serves. Rounds alternate between the sides.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

import msgspec

from bench.against_peers import three_endpoints
from bench.peers import PEERS
from bench.population import Population
from bench.processes import Driven, memory_of_server_mib
from bench.report import Figure
from bench.stand import Server, Stand, load_process

_CONNECTIONS = (1, 16, 64)
_TARGET = "connections"


class Pace(msgspec.Struct, frozen=True):
    """How long each side is under load in each round, and how long before it, unmeasured: the product closes database
    connections that it has not needed for some seconds, and would otherwise open them again in each round.
    """

    rounds: int
    seconds: float
    warm_up_seconds: float


THOROUGH = Pace(rounds=3, seconds=1.0, warm_up_seconds=0.3)
BRIEF = Pace(rounds=1, seconds=0.1, warm_up_seconds=0.05)


class Measured(msgspec.Struct, frozen=True):
    """One round of one side."""

    latencies: list[float]
    requests_per_second: float
    cpu_ms: float


def measure_connections(stand: Stand, population: Population, pace: Pace) -> Iterator[Figure]:
    """The figures of every endpoint, number of connections and side; last the memory of each side."""
    chosen = three_endpoints(population)
    with ExitStack() as stack:
        load = stack.enter_context(load_process(chosen, stand.folder, module="bench.timed"))
        sides = {"Holdfast": stack.enter_context(stand.holdfast())}
        sides |= {peer.name: stack.enter_context(stand.peer(peer)) for peer in PEERS if peer.is_installed}
        idle = {name: memory_of_server_mib(server.pid) for name, server in sides.items()}
        for scenario in chosen:
            for connections in _CONNECTIONS:
                run = partial(_run, stand, load, {"scenario": scenario.name, "connections": connections})
                for name, rounds in _in_turn(sides, run, pace).items():
                    yield from _figures(stand.engine, f"{scenario.name}, {connections} at once, {name}", rounds)
        for name, server in sides.items():
            yield _memory(stand.engine, f"after the start, {name}", idle[name])
            yield _memory(stand.engine, f"after the load, {name}", memory_of_server_mib(server.pid))


def table_of(figures: list[Figure]) -> str:
    """A Markdown table with a line for each endpoint, number of connections and side; without memory."""
    cells: dict[str, list[str]] = {}
    for figure in figures:
        what, _, measure = figure.name.rpartition(": ")
        if what:
            cells.setdefault(what, []).append(
                f"{figure.value:.0f}" if measure == "throughput" else f"{figure.value:.2f}"
            )
    head = "| endpoint, requests at once, side | requests/s | p50 ms | p99 ms | CPU ms |"
    rows = [f"| {what} | {' | '.join(values)} |" for what, values in cells.items()]
    return "\n".join([head, "|---|---|---|---|---|", *rows]) + "\n"


def _in_turn(
    sides: dict[str, Server], run: Callable[[Server, float], Measured], pace: Pace
) -> dict[str, list[Measured]]:
    rounds: dict[str, list[Measured]] = {name: [] for name in sides}
    for number in range(pace.rounds):
        for name in list(sides) if number % 2 else reversed(sides):
            run(sides[name], pace.warm_up_seconds)
            rounds[name].append(run(sides[name], pace.seconds))
    return rounds


def _run(stand: Stand, load: Driven, task: dict[str, Any], server: Server, seconds: float) -> Measured:
    before = stand.cpu_seconds(server.pid)
    answer = load.run(**task, port=server.port, seconds=seconds)
    count = len(answer["latencies"])
    cpu_seconds = stand.cpu_seconds(server.pid) - before
    # Each connection has sent one more, to begin with.
    answered = count + task["connections"]
    return Measured(answer["latencies"], count / answer["seconds"], 1000 * cpu_seconds / answered)


def _figures(engine: str, what: str, rounds: list[Measured]) -> Iterator[Figure]:
    """The percentiles are those of all rounds' requests, the others medians of the rounds."""
    rates = tuple(each.requests_per_second for each in rounds)
    costs = tuple(each.cpu_ms for each in rounds)
    yield Figure(
        _TARGET, engine, f"{what}: throughput", median(rates), None, "requests/s", at_least=True, samples=rates
    )
    latencies = sorted(latency for each in rounds for latency in each.latencies)
    for percent in (50, 99):
        value = latencies[(len(latencies) - 1) * percent // 100]
        yield Figure(_TARGET, engine, f"{what}: p{percent}", 1000 * value, None, "ms")
    yield Figure(_TARGET, engine, f"{what}: CPU", median(costs), None, "ms", samples=costs)


def _memory(engine: str, when: str, mib: float) -> Figure:
    return Figure(_TARGET, engine, f"memory {when}", mib, None, "MiB")

"""What the product was built with, against what it could have been built with: `python -m bench.choices`.

Time-ordered against random ids, pipelining, uvloop against asyncio's own loop, one serving process against two. Each is
measured once and told as a table; none of it is a target. `--quick` shows only that it works.
"""

import argparse
import asyncio
import pickle
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.measure import Comparison, Effort, compare, server_side
from bench.pipelining import WAYS
from bench.population import QUICK, Population, Size
from bench.processes import Driven, cpu_seconds, driven, kept_apart
from bench.scenarios import CONNECTIONS, Scenario, scenarios
from bench.stand import ENGINES, Server, Stand, load_process, loaded_stand, serving
from holdfast.core.clock import utc_now
from holdfast.core.ids import LONG_WIDTH, new_long_id
from holdfast.db.engines.base import Database
from holdfast.db.open import open_database
from holdfast.features.forms.queries import INSERT_FORM
from tests.instance import instance_settings
from tests.servers import EngineMissingError

_FACULTY = Size(users=2_000, groups=100, projects=300, forms=5_000)
_LOADED = ("forms of a project, by its teacher", "user with groups", "open a form with a message")
# A batch may take so long without a line in the log.
_SLOW_SECONDS = 60
_STATUSES = ("Pending", "Processing", "Rejected", *(["Completed"] * 9))
_TAGS = (None, "gpu", "quota", "image", "storage", "other")
# What the table forms and its indexes take, and of that what is ordered by id, where the engine tells: the primary key,
# on MariaDB with the rows themselves. SQLite tells the size of the whole file, in which nothing else grows.
_BYTES_OF_FORMS = {
    "postgresql": ["SELECT pg_total_relation_size('forms'), pg_relation_size('pk_forms')"],
    "mariadb": [
        "ANALYZE TABLE forms",
        (
            "SELECT data_length + index_length, data_length FROM information_schema.tables"
            " WHERE table_schema = DATABASE() AND table_name = 'forms'"
        ),
    ],
    "sqlite": ["SELECT page_count * page_size, 0 FROM pragma_page_count, pragma_page_size"],
}
_LOG_BYTES = "SELECT (pg_current_wal_lsn() - '0/0')::bigint"
ID_WAYS: dict[str, Callable[[int], list[str]]] = {
    # In life each form is made in a millisecond of its own, and those of one batch in few.
    "time-ordered ids": lambda count: sorted(new_long_id() for _ in range(count)),
    # As many characters of the same alphabet.
    "random ids": lambda count: [secrets.token_urlsafe(LONG_WIDTH)[:LONG_WIDTH] for _ in range(count)],
}


class Extent(msgspec.Struct, frozen=True):
    """How much is measured."""

    faculty: Size
    rows: int
    rows_at_once: int
    rounds: int
    seconds: float
    transactions: int
    effort: Effort


THOROUGH = Extent(_FACULTY, 300_000, 2_000, 4, 1.0, 500, Effort(rounds=5, seconds=0.6, warm_up=200))
BRIEF = Extent(QUICK, 2_000, 200, 1, 0.2, 30, Effort(rounds=1, seconds=0.1, warm_up=20))


class Row(msgspec.Struct, frozen=True):
    """A line of the table: what was tried, and what it came to."""

    what: str
    found: str

    def __str__(self) -> str:
        return f"| {self.what} | {self.found} |"


def main() -> int:
    """Measure and print."""
    options = _options()
    extent = BRIEF if options.quick else THOROUGH
    for engine in options.engine or ENGINES:
        print(f"\n{engine}\n| what | found |\n|---|---|", flush=True)
        try:
            for row in measure_choices(engine, extent):
                print(row, flush=True)
        except EngineMissingError as error:
            print(f"left out: {error}")
    return 0


def measure_choices(engine: str, extent: Extent) -> Iterator[Row]:
    """All that applies to an engine."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        yield from measure_ids(engine, extent, Path(folder))
    population = Population(extent.faculty)
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder,
        loaded_stand(engine, population, Path(folder)) as stand,
    ):
        chosen = [each for each in scenarios(population) if each.name in _LOADED]
        if engine == "postgresql":
            yield from measure_pipelining(stand, [each for each in chosen if each.is_write], extent)
        yield from measure_loops(stand, chosen, extent)
        if engine == "postgresql":
            yield from measure_two_processes(stand, chosen, extent)


def measure_ids(engine: str, extent: Extent, folder: Path) -> Iterator[Row]:
    """The table forms filled with either kind of id, batches in turn, each on a server of its own."""
    # Without forms: the population's own ids sort behind new ones, which would then never come last in the key.
    population = Population(msgspec.structs.replace(extent.faculty, forms=0))
    with ExitStack() as stack:
        stands = {}
        for number, way in enumerate(ID_WAYS):
            own = folder / str(number)
            own.mkdir()
            stands[way] = stack.enter_context(loaded_stand(engine, population, own))
        filled = asyncio.run(_fill_in_turn(stands, population, extent))
    for way, found in filled.items():
        keys = f", {found.key_bytes / 2**20:,.1f} of them in the order of ids" if found.key_bytes else ""
        log = f", {found.log_bytes / extent.rows:,.0f} bytes of log a row" if found.log_bytes else ""
        last = found.seconds[-(len(found.seconds) // 10) :]
        rate = extent.rows_at_once / median(last)
        told = f"{rate:,.0f} rows/s in the last tenth, {found.bytes / 2**20:,.1f} MiB on disk{keys}{log}"
        yield Row(f"{extent.rows:,} forms with {way}", told)


class Filled(msgspec.Struct):
    """What filling came to: seconds for each batch, bytes of the table with its indexes and of PostgreSQL's log."""

    seconds: list[float]
    bytes: int = 0
    key_bytes: int = 0
    log_bytes: int = 0


async def _fill_in_turn(stands: dict[str, Stand], population: Population, extent: Extent) -> dict[str, Filled]:
    databases = {
        way: open_database(instance_settings(stand.database_url, stand.folder, slow_statement_seconds=_SLOW_SECONDS))
        for way, stand in stands.items()
    }
    filled = {way: Filled([]) for way in stands}
    before: dict[str, tuple[int, ...]] = {}
    # The same forms for both, but for their ids.
    source = random.Random(20260205)
    first, second = databases.values()
    async with first.running(), second.running():
        for way, database in databases.items():
            before[way] = await _bytes(database)
        for number in range(extent.rows // extent.rows_at_once):
            rows = _forms(source, population, extent.rows_at_once)
            for way in list(ID_WAYS) if number % 2 else reversed(ID_WAYS):
                ids = ID_WAYS[way](len(rows))
                started = time.perf_counter()
                async with databases[way].write() as tx:
                    await tx.execute_many(INSERT_FORM, [row | {"id": id_} for row, id_ in zip(rows, ids, strict=True)])
                filled[way].seconds.append(time.perf_counter() - started)
        for way, database in databases.items():
            grown = [now - then for now, then in zip(await _bytes(database), before[way], strict=True)]
            filled[way].bytes, filled[way].key_bytes, filled[way].log_bytes = grown
    return filled


def _forms(source: random.Random, population: Population, count: int) -> list[dict[str, Any]]:
    now = utc_now()
    return [
        {
            "user_id": source.choice(population.user_ids),
            "project_id": source.choice(population.project_ids),
            "title": f"A question about {number}",
            "description": "Could the deadline job get two GPUs until Friday?",
            "tag": source.choice(_TAGS),
            "status": source.choice(_STATUSES),
            "created_at": (moment := now + timedelta(microseconds=number)),
            "updated_at": moment,
        }
        for number in range(count)
    ]


async def _bytes(database: Database) -> tuple[int, ...]:
    async with database.write() as tx:
        *before, asked = _BYTES_OF_FORMS[database.dialect_name]
        for sql in before:
            await tx.fetch_text(sql)
        found = await tx.fetch_text(asked)
        log = await tx.fetch_text(_LOG_BYTES) if database.dialect_name == "postgresql" else [(0,)]
    return tuple(int(size) for size in (*found[0], log[0][0]))


def measure_pipelining(stand: Stand, chosen: Sequence[Scenario], extent: Extent) -> Iterator[Row]:
    """Ways to send the statements of opening a form, from one process, in turn."""
    (scenario,) = chosen
    traces = asyncio.run(stand.record([scenario]))
    # The file is our own, written a moment ago.
    statements = len(pickle.loads(traces.read_bytes())[3][scenario.name][0][0])  # noqa: S301
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with driven("bench.pipelining", str(traces)) as process, kept_apart([process.pid], stand.server_pids):
        for number in range(extent.rounds + 1):
            for way in WAYS if number % 2 else reversed(WAYS):
                for connections in (1, CONNECTIONS):
                    task = {"way": way, "scenario": scenario.name, "connections": connections}
                    cost = _perform(stand, process, count=extent.transactions, **task)
                    # The first round prepares the statements.
                    if number:
                        found.setdefault((way, connections), []).append(cost)
    for way in WAYS:
        alone, many = found[way, 1], found[way, CONNECTIONS]
        told = (
            f"{1000 * median(seconds for _, seconds in alone):.2f} ms on one connection,"
            f" {1 / median(seconds for _, seconds in many):,.0f} a second on {CONNECTIONS};"
            f" CPU {1000 * median(cpu for cpu, _ in alone):.2f} and {1000 * median(cpu for cpu, _ in many):.2f} ms"
        )
        yield Row(f"opening a form, {statements} statements, BEGIN and COMMIT: {way}", told)


def _perform(stand: Stand, process: Driven, *, count: int, **task: Any) -> tuple[float, float]:
    """CPU and seconds per transaction."""
    before = stand.cpu_seconds(process.pid)
    answer = process.run(**task, count=count)
    return (stand.cpu_seconds(process.pid) - before) / count, answer["seconds"] / count


def measure_loops(stand: Stand, chosen: Sequence[Scenario], extent: Extent) -> Iterator[Row]:
    """CPU time of a request on uvloop, as the product serves, and on asyncio's own loop."""
    command = [sys.executable, "-m", "bench.on_asyncio"]
    with (
        load_process(chosen, stand.folder) as load,
        stand.holdfast() as product,
        serving(command, stand.environment, stand.folder / "on-asyncio.log", ready="/readyz") as other,
    ):
        for scenario in chosen:
            sides = {"product": server_side(product, load, scenario), "other": server_side(other, load, scenario)}
            yield _of_loops(scenario, compare(stand, scenario, **sides, effort=extent.effort))


def _of_loops(scenario: Scenario, measured: Comparison) -> Row:
    assert measured.product_database_ms is not None
    assert measured.other_database_ms is not None
    least, most = measured.spread
    told = (
        f"CPU {measured.product_ms:.2f} ms on uvloop ({measured.product_database_ms:.2f} of them the database),"
        f" {measured.other_ms:.2f} on asyncio's loop ({measured.other_database_ms:.2f});"
        f" {measured.ratio:.2f} of it ({least:.2f} to {most:.2f})"
    )
    return Row(f"{scenario.name}, by event loop", told)


def measure_two_processes(stand: Stand, chosen: Sequence[Scenario], extent: Extent) -> Iterator[Row]:
    """Requests a second of one serving process and of two, on all cores, with equally many connections from two loads.

    The loads and the database run on the same cores.
    """
    with ExitStack() as stack:
        loads = [stack.enter_context(load_process(chosen, stand.folder, module="bench.timed")) for _ in range(2)]
        one, other = (stack.enter_context(stand.holdfast()) for _ in range(2))
        threads = stack.enter_context(ThreadPoolExecutor(len(loads)))
        for scenario in chosen:
            found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
            for number in range(extent.rounds + 1):
                for processes in (1, 2) if number % 2 else (2, 1):
                    servers = [one, one] if processes == 1 else [one, other]
                    under = partial(_under_load, stand, threads, scenario, list(zip(loads, servers, strict=True)))
                    under(extent.seconds / 4)
                    # The first round opens connections and prepares statements.
                    if number:
                        found[processes].append(under(extent.seconds))
            for processes, rounds in found.items():
                rate, cpu = (median(values) for values in zip(*rounds, strict=True))
                told = f"{rate:,.0f} requests/s, CPU {1000 * cpu:.2f} ms"
                yield Row(f"{scenario.name}, {'one process' if processes == 1 else 'two processes'}", told)


def _under_load(
    stand: Stand,
    threads: ThreadPoolExecutor,
    scenario: Scenario,
    pairs: Sequence[tuple[Driven, Server]],
    seconds: float,
) -> tuple[float, float]:
    """Requests a second, and CPU seconds of a request."""
    pids = {server.pid for _, server in pairs}
    before = _cpu_seconds(stand, pids)
    task = {"scenario": scenario.name, "seconds": seconds, "connections": CONNECTIONS // len(pairs)}
    answers = list(threads.map(lambda pair: pair[0].run(**task, port=pair[1].port), pairs))
    count = sum(len(answer["latencies"]) for answer in answers)
    cpu = _cpu_seconds(stand, pids) - before
    return count / max(answer["seconds"] for answer in answers), cpu / count


def _cpu_seconds(stand: Stand, pids: set[int]) -> float:
    return cpu_seconds(*pids, *stand.server_pids)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.choices", description=__doc__)
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only this engine; may be repeated")
    parser.add_argument("--quick", action="store_true", help="few rows and short rounds: whether it works, no figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

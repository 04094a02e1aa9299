"""`python -m bench`: measure, print a table, write build/bench.json."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from bench import against_peers, connections, deletion, growth, purging, seed_table
from bench.courses import Together
from bench.field import FIELD
from bench.field import measure as field_measure
from bench.measure import BRIEF, THOROUGH, Comparison, Effort, compare, limit_side, server_side, statements_of
from bench.peers import FASTAPI, PEERS
from bench.population import FULL, QUICK, Populated, Population
from bench.processes import Driven, driven, memory_mib
from bench.report import Figure, Report
from bench.scenarios import Scenario, scenarios
from bench.stand import ADMIN_PASSWORD, ENGINES, Server, Stand, load_process, loaded_stand, serving
from bench.tables import save_picture
from tests.servers import EngineMissingError

_MOST_STATEMENTS = 4
_START_SECONDS = 2.0
_MEMORY_MIB = 120.0
_STARTS = 5
# How many times the requests of a warm-up are a load.
_LOADS = 10
# Of 76 rows each.
_PROJECTS_OF_A_MILLION = 13_157


def main() -> int:
    """Run the chosen measurements."""
    options = _options()
    report = Report(Path("bench/baselines"))
    try:
        for engine in options.engine or ENGINES:
            try:
                _measure_engine(engine, options, report)
            except EngineMissingError as error:
                report.note(f"{engine}: left out. {error}")
    finally:
        # Also when something failed: what was measured before took an hour.
        report.write(Path(options.output))
        if options.save_baselines:
            report.save_baselines()
    if options.save_chart:
        save_picture()
    sys.stdout.write(report.table())
    return 0


def _measure_engine(engine: str, options: argparse.Namespace, report: Report) -> None:
    if options.only not in ("P4", "P5", "P6", "P7", "P9", "peers", "connections"):
        effort, population = (BRIEF, Population(QUICK)) if options.quick else (THOROUGH, Population(FULL))
        if options.rounds:
            effort = Effort(rounds=options.rounds, seconds=effort.seconds, warm_up=effort.warm_up)
        with _stand(engine, population, options) as stand:
            _measure_stand(stand, population, effort, report, only=options.only)
    if options.only in (None, "peers", "connections"):
        _measure_beside_peers(engine, options, report)
    if options.only in (None, "P4"):
        _measure_deletion(engine, options, report)
    if options.only in (None, "P5"):
        _measure_growth(engine, options, report)
    if options.only in (None, "P6"):
        _measure_purge(engine, options, report)
    if options.only in (None, "P7"):
        _measure_seed_table(engine, options, report)
    # A quick run shows that the bench works; these servers take a minute to start, and are asked for by name there.
    if engine == "sqlite" and (options.only == "P9" or (options.only is None and not options.quick)):
        _measure_field(options, report)


def _measure_beside_peers(engine: str, options: argparse.Namespace, report: Report) -> None:
    for peer in PEERS:
        if not peer.is_installed:
            report.note(f"{engine}: {peer.how_to_install}")
    population = Population(QUICK if options.quick else FULL)
    with _stand(engine, population, options) as stand:
        if options.only in (None, "peers"):
            effort = against_peers.BRIEF if options.quick else against_peers.THOROUGH
            effort = msgspec.structs.replace(effort, rounds=options.rounds or effort.rounds)
            for figure in against_peers.measure_peers(stand, population, effort):
                report.add(figure)
        if options.only in (None, "connections"):
            pace = connections.BRIEF if options.quick else connections.THOROUGH
            pace = msgspec.structs.replace(pace, rounds=options.rounds or pace.rounds)
            figures = []
            for figure in connections.measure_connections(stand, population, pace):
                figures.append(figure)
                report.add(figure)
            print(f"\n{engine}\n{connections.table_of(figures)}")


def _measure_field(options: argparse.Namespace, report: Report) -> None:
    span = field_measure.BRIEF if options.quick else field_measure.THOROUGH
    span = msgspec.structs.replace(span, rounds=options.rounds or span.rounds)
    for each in FIELD:
        if not each.is_installed:
            report.note(f"P9: {each.how_to_install}")
            continue
        for figure in field_measure.measure_field_server(each, span):
            report.add(figure)


def _measure_deletion(engine: str, options: argparse.Namespace, report: Report) -> None:
    population = Population(QUICK)
    rounds, projects = (2, 20) if options.quick else (deletion.ROUNDS, 1000)
    courses = deletion.courses_for(population, rounds=options.rounds or rounds, projects=projects)
    with _stand(engine, Together((population, courses)), options) as stand:
        for figure in deletion.measure_deletion(stand, population, courses):
            report.add(figure)


def _measure_growth(engine: str, options: argparse.Namespace, report: Report) -> None:
    effort = growth.BRIEF if options.quick else growth.THOROUGH
    effort = msgspec.structs.replace(effort, rounds=options.rounds or effort.rounds)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        for figure in growth.measure_growth(engine, Path(folder), effort):
            report.add(figure)


def _measure_seed_table(engine: str, options: argparse.Namespace, report: Report) -> None:
    effort = seed_table.BRIEF if options.quick else seed_table.THOROUGH
    rows = seed_table.SeedTable(msgspec.structs.replace(effort, rounds=options.rounds or effort.rounds))
    with _stand(engine, rows, options) as stand:
        for figure in seed_table.measure_seed_table(stand, rows):
            report.add(figure)


def _measure_purge(engine: str, options: argparse.Namespace, report: Report) -> None:
    population, projects = (Population(QUICK), 20) if options.quick else (Population(FULL), _PROJECTS_OF_A_MILLION)
    course = purging.one_course(population, projects=projects)
    with _stand(engine, Together((population, course)), options) as stand:
        span = purging.BRIEF if options.quick else purging.THOROUGH
        for figure in purging.measure_purge(stand, population, course, span):
            report.add(figure)


@contextmanager
def _stand(engine: str, populated: Populated, options: argparse.Namespace) -> Iterator[Stand]:
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder,
        loaded_stand(engine, populated, Path(folder)) as stand,
    ):
        stand.settings = dict(each.split("=", 1) for each in options.setting)
        stand.shares_cores = options.share_cores
        yield stand


def _measure_stand(stand: Stand, population: Population, effort: Effort, report: Report, *, only: str | None) -> None:
    if stand.engine == "sqlite" and (only is None or only == "P1s"):
        # Before the writes, which change what the reads find.
        _measure_peer(stand, population, effort, report)
    every = scenarios(population)
    chosen = [each for each in every if only in (None, "P3", "P8") or only in each.name or only in each.target]
    chosen, missing = asyncio.run(stand.usable(chosen))
    for sentence in missing:
        report.note(f"{stand.engine}: {sentence}")
    traces = asyncio.run(stand.record(chosen))
    with (
        driven("bench.limit", str(traces)) as limit,
        load_process(chosen, stand.folder) as load,
        stand.holdfast() as server,
    ):
        if only == "P8":
            for scenario in chosen:
                load.run(scenario=scenario.name, port=server.port, count=_LOADS * effort.warm_up)
        # Neither counting nor memory needs rounds.
        for scenario in () if only in ("P3", "P8") else chosen:
            product = server_side(server, load, scenario)
            measured = compare(stand, scenario, product=product, other=limit_side(limit, scenario), effort=effort)
            report.add(_of_limit(stand.engine, scenario, measured))
        if only is None or only == "P3":
            _count_statements(server, load, chosen, report, stand.engine)
        if stand.engine == "sqlite" and (only is None or only == "P8"):
            report.add(Figure("P8", "sqlite", "memory after the load", memory_mib(server.pid), _MEMORY_MIB, "MiB"))
    if stand.engine == "sqlite" and (only is None or only == "P8"):
        _measure_start(stand.folder, report)


def _of_limit(engine: str, scenario: Scenario, measured: Comparison) -> Figure:
    bound = scenario.at_most if engine == "postgresql" else None
    return Figure(scenario.target, engine, scenario.name, measured.ratio, bound, "x limit", measured)


def _measure_peer(stand: Stand, population: Population, effort: Effort, report: Report) -> None:
    if not FASTAPI.is_installed:
        report.note(f"P1s: {FASTAPI.how_to_install}")
        return
    chosen, _ = asyncio.run(stand.usable([each for each in scenarios(population) if each.target == "P1"]))
    with load_process(chosen, stand.folder) as load, stand.holdfast() as server, stand.peer(FASTAPI) as peer:
        for scenario in chosen:
            product, other = server_side(server, load, scenario), server_side(peer, load, scenario)
            measured = compare(stand, scenario, product=product, other=other, effort=effort)
            at_least = 12.0 if scenario.name.startswith("user") else 8.0
            report.add(
                Figure("P1s", "sqlite", scenario.name, 1 / measured.ratio, at_least, "x less than peer", measured, True)
            )


def _count_statements(server: Server, load: Driven, chosen: list[Scenario], report: Report, engine: str) -> None:
    for scenario in chosen:
        if scenario.is_write:
            run_one = partial(load.run, scenario=scenario.name, port=server.port, count=1)
            report.add(_of_statements(engine, scenario.name, statements_of(server, run_one)))
            continue
        request = scenario.requests[0]
        few, many = (
            statements_of(
                server, partial(server.get, request.path.replace("limit=20", f"limit={limit}"), request.token)
            )
            for limit in (2, 100)
        )
        report.add(_of_statements(engine, f"{scenario.name} ({few} for 2 rows, {many} for 100)", max(few, many)))


def _of_statements(engine: str, name: str, number: int) -> Figure:
    return Figure("P3", engine, name, float(number), _MOST_STATEMENTS, "statements")


def _measure_start(folder: Path, report: Report) -> None:
    data = folder / "start"
    data.mkdir()
    command = [str(Path(sys.executable).with_name("holdfast")), "serve"]
    seconds, memory = [], []
    for _ in range(_STARTS + 1):
        environment = {"HOLDFAST_DATA_DIR": str(data), "HOLDFAST_ADMIN_PASSWORD": ADMIN_PASSWORD}
        with serving(command, environment, folder / "start.log", ready="/readyz") as server:
            seconds.append(server.ready_seconds)
            memory.append(memory_mib(server.pid))
    # The first start makes the database; those after it are warm.
    warm = sorted(seconds[1:])[_STARTS // 2]
    name = f"start to ready, warm (first {seconds[0]:.2f} s)"
    report.add(Figure("P8", "sqlite", name, warm, _START_SECONDS, "s", samples=tuple(seconds[1:])))
    report.add(Figure("P8", "sqlite", "memory after the start", max(memory), _MEMORY_MIB, "MiB"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rows and short rounds: whether it works, no figures")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only this engine; may be repeated")
    parser.add_argument("--only", help="only scenarios with this word in their name or target")
    parser.add_argument("--setting", action="append", default=[], help="HOLDFAST_NAME=VALUE for the serving process")
    parser.add_argument(
        "--share-cores", action="store_true", help="let all processes run anywhere, instead of each application alone"
    )
    parser.add_argument("--rounds", type=int, help="how many rounds instead of a target's own number")
    parser.add_argument("--output", default="build/bench.json", help="where the figures go")
    parser.add_argument("--save-baselines", action="store_true", help="keep the figures in bench/baselines")
    parser.add_argument("--save-chart", action="store_true", help="draw docs/images/performance.svg from what is kept")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

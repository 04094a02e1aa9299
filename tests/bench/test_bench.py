"""The benchmark itself: that it runs and reports every figure. What the figures are is not asserted."""

import math
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.courses import Courses
from bench.population import QUICK, Population
from bench.processes import cpu_seconds, kept_apart
from bench.purging import longest_seconds
from bench.report import Figure
from bench.scenarios import scenarios
from holdfast.db.tables import container_repositories

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_quick_run_reports_every_target_on_sqlite(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    command = [sys.executable, "-m", "bench", "--quick", "--engine", "sqlite", "--output", str(output)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(output.read_bytes())
    figures = report["figures"]
    assert {figure["target"] for figure in figures} >= {"P1", "P2", "P3", "P4", "P6", "P8", "connections"}
    assert {figure["name"] for figure in figures if figure["target"] in ("P1", "P2")} == {
        scenario.name for scenario in scenarios(Population(QUICK))
    }
    # On a busy machine so short a run may save nothing, or take no whole tick of the processor's clock.
    may_be_none = [figure for figure in figures if figure["target"] == "P7" or figure["name"].endswith(": CPU")]
    assert all(math.isfinite(figure["value"]) for figure in may_be_none)
    assert [figure["name"] for figure in figures if figure not in may_be_none and figure["value"] <= 0] == []
    assert "| P3 | sqlite |" in done.stdout


def test_the_population_is_the_same_each_time() -> None:
    first, second = Population(QUICK), Population(QUICK)
    for (table, rows), (same_table, same_rows) in zip(first.tables(), second.tables(), strict=True):
        assert table is same_table
        assert list(rows) == list(same_rows)


def test_the_courses_have_the_rows_that_a_deletion_takes() -> None:
    courses = Courses(courses=2, projects=3, user_ids=Population(QUICK).user_ids)
    written = sum(len(list(rows)) for table, rows in courses.tables() if table is not container_repositories)
    assert written == 2 * courses.rows_of_a_course


def test_a_course_of_the_target_has_76_thousand_rows() -> None:
    courses = Courses(courses=1, projects=1000, user_ids=Population(QUICK).user_ids)
    assert 76_000 <= courses.rows_of_a_course < 76_200


def test_an_application_is_kept_apart_from_the_others_for_the_block() -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core cannot be shared out")
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(command) as application, subprocess.Popen(["sh", "-c", "sleep 60 & wait"]) as database:
        try:
            while not (children := Path(f"/proc/{database.pid}/task/{database.pid}/children").read_text().split()):
                pass
            with kept_apart([application.pid], [database.pid]):
                assert os.sched_getaffinity(application.pid) == {min(cores)}
                assert os.sched_getaffinity(database.pid) == cores - {min(cores)}
                assert os.sched_getaffinity(int(children[0])) == cores - {min(cores)}
            assert os.sched_getaffinity(application.pid) == cores
            assert os.sched_getaffinity(int(children[0])) == cores
        finally:
            application.kill()
            subprocess.run(["pkill", "-9", "-P", str(database.pid)], check=False)


def test_the_longest_transaction_is_told_by_its_bucket() -> None:
    name = "holdfast_purge_transaction_seconds_bucket"
    counts = {"0.1": "7.0", "0.25": "9.0", "0.5": "9.0", "+Inf": "9.0"}
    metrics = "".join(f'{name}{{le="{bound}"}} {count}\n' for bound, count in counts.items())
    assert longest_seconds(metrics.encode()) == 0.25


def test_a_server_that_purged_nothing_has_no_longest_transaction() -> None:
    with pytest.raises(RuntimeError, match="no transaction"):
        longest_seconds(b"")


def test_every_scenario_sends_requests_of_callers_with_tokens() -> None:
    population = Population(QUICK)
    for scenario in scenarios(population):
        assert scenario.requests
        assert all(request.token.startswith("hf_") for request in scenario.requests)
        assert all((request.method == "POST") == scenario.is_write for request in scenario.requests)


def test_cpu_time_counts_children_that_have_ended() -> None:
    work = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))'])"
    script = f"{work}; print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    whole = cpu_seconds(process.pid)
    process.communicate(b"\n")
    assert whole >= 0.05
    assert cpu_seconds(process.pid) == 0.0


@pytest.mark.parametrize(
    ("value", "bound", "at_least", "verdict"),
    [(1.2, 1.3, False, "met"), (1.4, 1.3, False, "missed"), (9.0, 8.0, True, "met"), (7.0, None, False, "no target")],
)
def test_a_figure_is_judged_by_its_bound(value: float, bound: float | None, at_least: bool, verdict: str) -> None:
    assert Figure("P1", "sqlite", "reads", value, bound, "x limit", None, at_least).verdict == verdict

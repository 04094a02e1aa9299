"""`make bench-compare`: a suspect is measured again, a loss is told with its amount, and only a loss ends with 1."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.baselines import keep
from bench.changes import Verdict
from bench.compare import Again, Comparing, Finding, main, told
from bench.machine import Machine
from bench.measure import Comparison
from bench.report import Figure, Report

_ROOT = Path(__file__).parents[2]
_MACHINE = Machine(cores=2, model="Small", memory_gib=4, system="Linux 6.1", python="3.11", engines={"sqlite": "3.53"})
_SCATTER = (0.99, 1.0, 1.0, 1.01, 1.02)


def _figure(ratio: float, *, ms: float = 1.0, target: str = "P1", unit: str = "x limit") -> Figure:
    """A figure whose rounds scatter by a percent or two."""
    rounds = tuple((ms * each, ms / ratio) for each in _SCATTER)
    measured = Comparison(
        scenario="reads",
        requests_per_round=100,
        product_ms=ms,
        other_ms=ms / ratio,
        ratio=ratio,
        spread=(ratio * _SCATTER[0], ratio * _SCATTER[-1]),
        rounds=rounds,
    )
    return Figure(target, "sqlite", "reads", ratio, 1.3, unit, measured)


def _compared(folder: Path, before: Figure, now: Figure, again: Again | None, machine: Machine = _MACHINE) -> Comparing:
    keep(folder, "sqlite", {before.key: before.kept}, _MACHINE)
    return Comparing(folder, [now], machine, again)


def _verdicts(findings: list[Finding]) -> list[Verdict]:
    return [each.change.verdict for each in findings]


def test_a_loss_that_stays_is_told_with_its_amount(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def again(engine: str, only: str) -> list[Figure]:
        asked.append((engine, only))
        return [_figure(1.5)]

    findings = list(_compared(tmp_path, _figure(1.2), _figure(1.5), again).findings())
    assert asked == [("sqlite", "reads")]
    assert _verdicts(findings) == [Verdict.WORSE, Verdict.SAME]
    text = told(findings)
    assert "worse    P1 sqlite: reads: 1.5 x limit, was 1.2: 25% worse (noise up to 7%, measured 2 times)" in text
    assert text.endswith("1 got worse\n")


def test_a_loss_that_goes_when_measured_again_is_none(tmp_path: Path) -> None:
    findings = list(_compared(tmp_path, _figure(1.2), _figure(1.29), lambda *_: [_figure(1.2)]).findings())
    assert _verdicts(findings) == [Verdict.SAME, Verdict.SAME]
    assert told(findings).endswith("nothing got worse\n")


def test_what_is_not_measured_again_is_only_suspect(tmp_path: Path) -> None:
    findings = list(_compared(tmp_path, _figure(1.2), _figure(1.5), None).findings())
    assert _verdicts(findings) == [Verdict.SUSPECT, Verdict.SAME]
    without_the_figure = list(_compared(tmp_path, _figure(1.2), _figure(1.5), lambda *_: []).findings())
    assert _verdicts(without_the_figure) == [Verdict.SUSPECT, Verdict.SAME]


def test_a_statement_that_makes_both_sides_slow_is_told_by_the_cost(tmp_path: Path) -> None:
    slow = _figure(1.2, ms=2.0)
    findings = list(_compared(tmp_path, _figure(1.2), slow, lambda *_: [slow]).findings())
    assert _verdicts(findings) == [Verdict.SAME, Verdict.WORSE]
    assert "P1 sqlite: reads: 2 ms by itself, was 1: 100% worse" in told(findings)


def test_costs_of_another_machine_are_not_compared(tmp_path: Path) -> None:
    large = msgspec.structs.replace(_MACHINE, cores=64)
    comparing = _compared(tmp_path, _figure(1.2), _figure(1.2, ms=2.0), None, large)
    assert _verdicts(list(comparing.findings())) == [Verdict.SAME]
    assert comparing.of_other_machines() == ["sqlite P1 reads"]


def test_seconds_of_another_machine_are_not_compared(tmp_path: Path) -> None:
    large = msgspec.structs.replace(_MACHINE, cores=64)
    before, now = (Figure("P8", "sqlite", "start", seconds, 2.0, "s") for seconds in (1.0, 1.5))
    assert _verdicts(list(_compared(tmp_path, before, now, lambda *_: [now], large).findings())) == []
    assert _verdicts(list(_compared(tmp_path, before, now, lambda *_: [now]).findings())) == [Verdict.WORSE]


def test_a_target_is_measured_again_once_for_all_its_suspects(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []
    names = ("delete", "plan")
    before, now = (
        [msgspec.structs.replace(_figure(ratio, target="P4"), name=name) for name in names] for ratio in (1.0, 2.0)
    )
    keep(tmp_path, "sqlite", {each.key: each.kept for each in before}, _MACHINE)

    def again(engine: str, only: str) -> list[Figure]:
        asked.append((engine, only))
        return now

    findings = list(Comparing(tmp_path, now, None, again).findings())
    assert asked == [("sqlite", "P4")]
    assert _verdicts(findings) == [Verdict.WORSE, Verdict.WORSE]


@pytest.mark.parametrize(("side", "verdicts"), [("Holdfast", [Verdict.WORSE]), ("Django", [])])
def test_a_peer_that_got_slower_is_no_loss(tmp_path: Path, side: str, verdicts: list[Verdict]) -> None:
    name = f"reads, 16 at once, {side}: p99"
    before, now = (Figure("connections", "sqlite", name, cost, None, "ms") for cost in (1.0, 2.0))
    assert _verdicts(list(_compared(tmp_path, before, now, lambda *_: [now]).findings())) == verdicts


def test_what_is_only_on_one_side_is_said(tmp_path: Path) -> None:
    kept, new = _figure(1.2), _figure(1.2, target="P2")
    keep(tmp_path, "sqlite", {kept.key: kept.kept}, _MACHINE)
    comparing = Comparing(tmp_path, [new], _MACHINE, None)
    assert list(comparing.findings()) == []
    assert comparing.without_baseline() == ["sqlite P2 reads"]
    assert comparing.not_measured() == ["sqlite P1 reads"]


@pytest.mark.parametrize("statements", [3.0, 2.0])
def test_the_command_compares_a_file_and_ends_with_0_for_suspects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], statements: float
) -> None:
    before, now = (Figure("P3", "sqlite", "reads", number, 4.0, "statements") for number in (statements, 3.0))
    keep(tmp_path, "sqlite", {before.key: before.kept}, _MACHINE)
    report = Report(tmp_path)
    report.add(now)
    report.write(tmp_path / "bench.json")
    assert main(["--figures", str(tmp_path / "bench.json"), "--once", "--baselines", str(tmp_path)]) == 0
    assert ("suspect" in capsys.readouterr().out) == (statements < 3)


@pytest.mark.slow
def test_the_command_measures_and_ends_with_1_for_a_loss(tmp_path: Path) -> None:
    name = "user with groups"
    before = Figure("P3", "sqlite", name, 1.0, 4.0, "statements")
    keep(tmp_path, "sqlite", {before.key: before.kept}, _MACHINE)
    places = ["--baselines", str(tmp_path), "--output", str(tmp_path / "bench.json")]
    command = [sys.executable, "-m", "bench.compare", "--quick", "--engine", "sqlite", "--only", "P3", *places]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"worse    P3 sqlite: {name}: 3 statements, was 1: 200% worse (no noise, measured 2 times)" in done.stdout

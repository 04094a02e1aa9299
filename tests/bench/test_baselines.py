"""The kept figures: what a run replaces, what it leaves, and that rounds and machines are kept with them."""

from pathlib import Path

import msgspec
import pytest

from bench.baselines import Kept, keep, read_baselines
from bench.machine import Machine, this_machine
from bench.measure import Comparison
from bench.report import Figure, Report, read_report

_SMALL = Machine(cores=2, model="Small", memory_gib=4, system="Linux 6.1", python="3.11.2", engines={"sqlite": "3.53"})
_LARGE = msgspec.structs.replace(_SMALL, cores=64, model="Large")


def _compared(rounds: tuple[tuple[float, float], ...]) -> Comparison:
    return Comparison(
        scenario="reads",
        requests_per_round=100,
        product_ms=rounds[0][0],
        other_ms=rounds[0][1],
        ratio=rounds[0][0] / rounds[0][1],
        spread=(1.0, 2.0),
        rounds=rounds,
    )


def test_kept_figures_that_were_not_measured_stay(tmp_path: Path) -> None:
    keep(tmp_path, "sqlite", {"P1 reads": Kept(value=1.5, unit="x"), "P4 delete": Kept(value=3.0, unit="x")}, _SMALL)
    report = Report(tmp_path)
    report.add(Figure("P4", "sqlite", "delete (76101 rows)", 0.4, 2.0, "x hard cascade"))
    report.save_baselines()
    kept = read_baselines(tmp_path, "sqlite")
    assert {key: each.value for key, each in kept.figures.items()} == {"P1 reads": 1.5, "P4 delete": 0.4}
    assert kept.machine_of(kept.figures["P1 reads"]) == _SMALL
    assert kept.machine_of(kept.figures["P4 delete"]) == this_machine(["sqlite"])


def test_a_machine_is_kept_as_long_as_a_figure_is_its_own(tmp_path: Path) -> None:
    keep(tmp_path, "sqlite", {"P1 a": Kept(value=1, unit="x"), "P1 b": Kept(value=2, unit="x")}, _SMALL)
    keep(tmp_path, "sqlite", {"P1 a": Kept(value=3, unit="x")}, _LARGE)
    kept = read_baselines(tmp_path, "sqlite")
    assert kept.machines == (_SMALL, _LARGE)
    assert kept.machine_of(kept.figures["P1 b"]) == _SMALL
    keep(tmp_path, "sqlite", {"P1 b": Kept(value=4, unit="x")}, _LARGE)
    kept = read_baselines(tmp_path, "sqlite")
    assert kept.machines == (_LARGE,)
    assert [kept.machine_of(each) for each in kept.figures.values()] == [_LARGE, _LARGE]


def test_a_figure_keeps_its_rounds_in_its_own_unit() -> None:
    measured = _compared(((2.0, 4.0), (1.0, 4.0)))
    ratio = Figure("P1", "sqlite", "reads", 0.5, 1.3, "x limit", measured)
    assert ratio.kept.rounds == (0.5, 0.25)
    assert ratio.kept.product_rounds_ms == (2.0, 1.0)
    turned = Figure("P1s", "sqlite", "reads", 2.0, 8.0, "x less than peer", measured, at_least=True)
    assert turned.kept.rounds == (2.0, 4.0)
    saved = Figure("P7", "sqlite", "reads", 50.0, 40.0, "% less", measured, at_least=True)
    assert saved.kept.rounds == (50.0, 75.0)
    assert Figure("P8", "sqlite", "start", 1.0, 2.0, "s", samples=(1.0, 1.1)).kept.rounds == (1.0, 1.1)
    assert Figure("P3", "sqlite", "reads", 3.0, 4.0, "statements").kept.rounds == ()


def test_a_written_report_is_read_again(tmp_path: Path) -> None:
    report = Report(tmp_path)
    figure = Figure("P1", "sqlite", "reads", 0.5, 1.3, "x limit", _compared(((2.0, 4.0), (1.0, 4.0))))
    report.add(figure)
    report.write(tmp_path / "bench.json")
    written = read_report(tmp_path / "bench.json")
    assert written.figures == [figure]
    assert written.machine == this_machine(["sqlite"])


def test_the_machine_is_told_with_its_versions() -> None:
    machine = this_machine(["sqlite"])
    assert machine.cores >= 1
    assert machine.memory_gib >= 1
    assert machine.engines["sqlite"].startswith("3.")
    assert machine.model in machine.shape


@pytest.mark.parametrize("engine", ["postgresql", "mariadb", "sqlite"])
def test_the_kept_figures_say_where_they_come_from(engine: str) -> None:
    kept = read_baselines(Path(__file__).parents[2] / "bench" / "baselines", engine)
    assert kept.figures
    for key, each in kept.figures.items():
        assert each.taken_on, key
        assert each.note or kept.machine_of(each), f"{key} names neither its machine nor why it cannot"

"""The picture of the figures: how far each is from its target, and which it leaves out."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.baselines import Kept
from bench.chart import chart, marks_of, multiple_of, order_of
from bench.report import Figure, Report

_READS = Kept(value=1.5, unit="x limit", bound=1.0, rounds=(1.4, 1.5, 1.7))


@pytest.mark.parametrize(
    ("value", "bound", "unit", "at_least", "multiple"),
    [
        (2.6, 1.3, "x limit", False, 2.0),
        (20.0, 10.0, "x less than peer", True, 0.5),
        (98.0, 96.0, "% less", True, 0.5),
        (0.0, 2.0, "s", False, 0.01),
        (0.0, 8.0, "x less than peer", True, 100.0),
    ],
)
def test_a_figure_is_a_multiple_of_its_target(
    value: float, bound: float, unit: str, at_least: bool, multiple: float
) -> None:
    assert multiple_of(value, Kept(value=0, unit=unit, bound=bound, at_least=at_least)) == pytest.approx(multiple)


def test_what_has_no_target_stands_beside_the_engine_that_has_or_is_left_out() -> None:
    without = Kept(value=3.0, unit="x limit")
    rows = marks_of({"postgresql": {"P1 reads": _READS, "P6 rows": without}, "sqlite": {"P1 reads": without}})
    assert list(rows) == ["P1 reads"]
    own, other = rows["P1 reads"]
    assert (own.engine, own.multiple, own.spread, own.is_own) == ("postgresql", 1.5, (1.4, 1.7), True)
    assert (other.engine, other.multiple, other.spread, other.is_own) == ("sqlite", 3.0, (3.0, 3.0), False)


def test_each_engine_is_held_to_its_own_target() -> None:
    strict, mild = (Kept(value=50.0, unit="% less", bound=bound, at_least=True) for bound in (75.0, 50.0))
    (row,) = marks_of({"postgresql": {"P7 reads": strict}, "sqlite": {"P7 reads": mild}}).values()
    assert [each.multiple for each in row] == [2.0, 1.0]


def test_targets_stand_in_the_order_of_their_numbers() -> None:
    assert sorted(["P10", "peers", "P1s", "P2", "P1"], key=order_of) == ["P1", "P1s", "P2", "P10", "peers"]


def test_the_picture_has_a_mark_for_each_figure_and_escapes_names() -> None:
    root = ElementTree.fromstring(chart({"postgresql": {"P1 a < b & c": _READS}}))  # noqa: S314 - our own text
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a < b & c" in texts
    # One in the legend, and one in its row.
    assert sum(1 for each in root.iter("{http://www.w3.org/2000/svg}circle")) == 2
    assert "prefers-color-scheme: dark" in chart({})


def test_the_picture_is_written_beside_the_figures(tmp_path: Path) -> None:
    report = Report(tmp_path)
    report.add(Figure("P8", "sqlite", "start to ready", 1.0, 2.0, "s"))
    report.write(tmp_path / "bench.json")
    assert "start to ready" in (tmp_path / "bench.svg").read_text(encoding="utf-8")

"""Figures, their verdicts, and how they are shown and kept."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.baselines import Kept, keep, read_baselines, verdict_of
from bench.chart import chart
from bench.machine import Machine, this_machine
from bench.measure import Comparison


class Figure(msgspec.Struct, frozen=True):
    """One measured value against its target, an upper bound unless `at_least`, or none.

    `samples` are the values of the rounds, where they are not the ratios of `measured`.
    """

    target: str
    engine: str
    name: str
    value: float
    bound: float | None
    unit: str
    measured: Comparison | None = None
    at_least: bool = False
    samples: tuple[float, ...] = ()

    @property
    def verdict(self) -> str:
        """Whether the value keeps the bound."""
        return verdict_of(self.value, self.bound, at_least=self.at_least)

    @property
    def key(self) -> str:
        """What the figure is kept and compared under; what its name adds in parentheses may differ between runs."""
        return f"{self.target} {self.name.partition(' (')[0]}"

    @property
    def rounds(self) -> tuple[float, ...]:
        """The value in each round; none where it is measured once."""
        if self.samples or self.measured is None:
            return self.samples
        ratios = tuple(ours / theirs for ours, theirs in self.measured.rounds if ours and theirs)
        if self.unit.startswith("x less"):
            return tuple(1 / ratio for ratio in ratios)
        return tuple(100 * (1 - ratio) for ratio in ratios) if self.unit.startswith("%") else ratios

    @property
    def kept(self) -> Kept:
        """The figure as a baseline of today."""
        measured = self.measured
        return Kept(
            value=_short(self.value),
            unit=self.unit,
            bound=self.bound,
            at_least=self.at_least,
            rounds=tuple(_short(each) for each in self.rounds),
            product_ms=None if measured is None else _short(measured.product_ms),
            other_ms=None if measured is None else _short(measured.other_ms),
            product_rounds_ms=() if measured is None else tuple(_short(ours) for ours, _ in measured.rounds),
            taken_on=datetime.now(UTC).date().isoformat(),
        )

    @property
    def shown_bound(self) -> str:
        """The bound as text."""
        return "" if self.bound is None else f"{'≥' if self.at_least else '≤'} {self.bound:g}"


class Written(msgspec.Struct, frozen=True):
    """What build/bench.json holds. The machine is missing where an older version wrote it."""

    figures: list[Figure]
    notes: list[str]
    machine: Machine | None = None


class Report:
    """All figures of a run."""

    def __init__(self, baselines: Path) -> None:
        self._baselines = baselines
        self._figures: list[Figure] = []
        self._notes: list[str] = []

    def add(self, figure: Figure) -> None:
        """Take a figure, and say so at once: a run takes minutes."""
        self._figures.append(figure)
        print(self._line(figure), flush=True)

    def note(self, sentence: str) -> None:
        """Take a sentence about what was not measured."""
        self._notes.append(sentence)
        print(sentence, flush=True)

    def table(self) -> str:
        """A Markdown table of all figures."""
        rows = ["", "| target | engine | what | measured | bound | verdict | ms: Holdfast / other | spread |"]
        rows.append("|---|---|---|---|---|---|---|---|")
        for figure in self._figures:
            costs, spread = "", ""
            if figure.measured is not None:
                costs = f"{figure.measured.product_ms:.3f} / {figure.measured.other_ms:.3f}"
                spread = " to ".join(f"{ratio:.2f}" for ratio in figure.measured.spread)
            value = f"{figure.value:.2f} {figure.unit}"
            cells = (
                figure.target,
                figure.engine,
                figure.name,
                value,
                figure.shown_bound,
                figure.verdict,
                costs,
                spread,
            )
            rows.append(f"| {' | '.join(cells)} |")
        return "\n".join([*rows, *(f"- {note}" for note in self._notes)]) + "\n"

    def write(self, file: Path) -> None:
        """Write all figures as JSON, with the machine that they were taken on, and their picture beside it."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_json(Written(self._figures, self._notes, this_machine(self._engines()))))
        pictured = {engine: self._kept_of(engine) for engine in self._engines()}
        file.with_suffix(".svg").write_text(chart(pictured), encoding="utf-8")

    def save_baselines(self) -> None:
        """Keep the figures of each engine, for later runs to compare with; what was not measured stays as it was."""
        for engine in self._engines():
            keep(self._baselines, engine, self._kept_of(engine), this_machine([engine]))

    def _kept_of(self, engine: str) -> dict[str, Kept]:
        return {figure.key: figure.kept for figure in self._figures if figure.engine == engine}

    def _engines(self) -> list[str]:
        return sorted({figure.engine for figure in self._figures})

    def _line(self, figure: Figure) -> str:
        baseline = read_baselines(self._baselines, figure.engine).figures.get(figure.key)
        change = "" if baseline is None else f", baseline {baseline.value:.2f}"
        costs = ""
        if figure.measured is not None:
            costs = f" [{_costs(figure.measured)}]"
        return (
            f"{figure.target} {figure.engine}: {figure.name}: {figure.value:.2f} {figure.unit}"
            f" ({figure.shown_bound} {figure.verdict}{change}){costs}"
        )


def read_report(file: Path) -> Written:
    """The figures of an earlier run."""
    return msgspec.json.decode(file.read_bytes(), type=Written)


def _costs(measured: Comparison) -> str:
    low, high = measured.spread
    if measured.product_database_ms is None or measured.other_database_ms is None:
        return f"{measured.product_ms:.1f} against {measured.other_ms:.1f} ms; {low:.2f}-{high:.2f}"
    return (
        f"{measured.product_ms:.3f} (database {measured.product_database_ms:.3f}) against"
        f" {measured.other_ms:.3f} ({measured.other_database_ms:.3f}) ms;"
        f" {low:.2f}-{high:.2f}, {measured.requests_per_round} requests a round"
    )


def _short(value: float) -> float:
    """Four digits: the fifth of any figure is noise."""
    return float(f"{value:.4g}")


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)

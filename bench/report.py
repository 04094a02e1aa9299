"""Figures, their verdicts, and how they are shown and kept."""

from pathlib import Path
from typing import Any

import msgspec

from bench.measure import Comparison


class Figure(msgspec.Struct, frozen=True):
    """One measured value against its target, an upper bound unless `at_least`, or none."""

    target: str
    engine: str
    name: str
    value: float
    bound: float | None
    unit: str
    measured: Comparison | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """Whether the value keeps the bound."""
        if self.bound is None:
            return "no target"
        is_met = self.value >= self.bound if self.at_least else self.value <= self.bound
        return "met" if is_met else "missed"

    @property
    def shown_bound(self) -> str:
        """The bound as text."""
        return "" if self.bound is None else f"{'≥' if self.at_least else '≤'} {self.bound:g}"


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
        """Write all figures as JSON."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_json({"figures": self._figures, "notes": self._notes}))

    def save_baselines(self) -> None:
        """Keep the figures of each engine, for later runs to compare with; what was not measured stays as it was."""
        for engine in {figure.engine for figure in self._figures}:
            measured = {_key(figure): round(figure.value, 3) for figure in self._figures if figure.engine == engine}
            file = self._baselines / f"{engine}.json"
            file.write_bytes(_json(_read(file) | measured) + b"\n")

    def _line(self, figure: Figure) -> str:
        baseline = self._baseline_of(figure)
        change = "" if baseline is None else f", baseline {baseline:.2f}"
        costs = ""
        if figure.measured is not None:
            costs = f" [{_costs(figure.measured)}]"
        return (
            f"{figure.target} {figure.engine}: {figure.name}: {figure.value:.2f} {figure.unit}"
            f" ({figure.shown_bound} {figure.verdict}{change}){costs}"
        )

    def _baseline_of(self, figure: Figure) -> float | None:
        return _read(self._baselines / f"{figure.engine}.json").get(_key(figure))


def _costs(measured: Comparison) -> str:
    low, high = measured.spread
    if measured.product_database_ms is None or measured.other_database_ms is None:
        return f"{measured.product_ms:.1f} against {measured.other_ms:.1f} ms; {low:.2f}-{high:.2f}"
    return (
        f"{measured.product_ms:.3f} (database {measured.product_database_ms:.3f}) against"
        f" {measured.other_ms:.3f} ({measured.other_database_ms:.3f}) ms;"
        f" {low:.2f}-{high:.2f}, {measured.requests_per_round} requests a round"
    )


def _read(file: Path) -> dict[str, float]:
    return msgspec.json.decode(file.read_bytes(), type=dict[str, float]) if file.exists() else {}


def _key(figure: Figure) -> str:
    return f"{figure.target} {figure.name.partition(' (')[0]}"


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2)

"""A picture of all figures that have a target: how far each is from it, on a logarithmic axis, by engine."""

import re
from collections.abc import Iterator, Mapping
from math import log10
from xml.sax.saxutils import escape

import msgspec

from bench.baselines import Kept

ENGINE_NAMES = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "sqlite": "SQLite"}
TARGET_TITLES = {
    "P1": "Reads: CPU against the same statements in a bare loop over the driver",
    "P1s": "Reads: CPU against FastAPI and SQLAlchemy's ORM",
    "P2": "A write: CPU against the same statements in a bare loop",
    "P3": "Statements of a request",
    "P4": "A course of 76,000 rows: against the engine's own cascade",
    "P5": "Pages, as the tables grow from 10,000 rows to a million",
    "P6": "A purge of a million rows, beside requests",
    "P7": "Before and after: time saved by indexes, cascades and lists in one query",
    "P8": "Start and memory",
    "P9": "CPU against the field's own servers",
}
_WIDTH, _LEFT, _RIGHT, _TOP = 980.0, 360.0, 30.0, 92.0
_TITLE, _BOTTOM = 34.0, 40.0
_ROW, _LANE = 14.0, 8.0
_SHAPES = {
    "postgresql": '<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="3.9"/>',
    "mariadb": '<path class="{css}" d="M{x:.1f} {y:.1f}m-3.6 -3.6h7.2v7.2h-7.2z"/>',
    "sqlite": '<path class="{css}" d="M{x:.1f} {y:.1f}m0 -4.9l4.9 4.9l-4.9 4.9l-4.9 -4.9z"/>',
}
_TICKS = (1, 2, 5)
_FARTHEST, _NEAREST = 100.0, 4.0
_LONGEST_LABEL = 52
_HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
    ' font-family="system-ui, -apple-system, \'Segoe UI\', sans-serif" role="img"'
    ' aria-label="Every figure of Holdfast that has a target, as a multiple of that target, for three engines">'
)
_STYLE = """\
  <style>
    .paper { fill: #ffffff } .missed { fill: #fbeceb } .grid { stroke: #e3e8ee } .target { stroke: #45525f }
    .title { font-size: 13px; font-weight: 600; fill: #17212b }
    .head { font-size: 17px; font-weight: 600; fill: #17212b }
    .label { font-size: 12px; fill: #3a4a5c; text-anchor: end }
    .legend { font-size: 12px; fill: #3a4a5c }
    .tick { font-size: 11px; fill: #5b6876; text-anchor: middle }
    .postgresql { fill: #1f5fa8; stroke: #1f5fa8 } .mariadb { fill: #b5651d; stroke: #b5651d }
    .sqlite { fill: #2f7d5b; stroke: #2f7d5b }
    .other { fill-opacity: 0 } .mark { stroke-width: 1.4 } .spread { stroke-width: 1.6; stroke-opacity: 0.55 }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0f151c } .missed { fill: #2b1a1c } .grid { stroke: #263240 } .target { stroke: #a9b6c4 }
      .title, .head { fill: #e8eef4 } .label, .legend { fill: #b6c2cf } .tick { fill: #93a1b0 }
      .postgresql { fill: #6fa8ee; stroke: #6fa8ee } .mariadb { fill: #e79a4f; stroke: #e79a4f }
      .sqlite { fill: #63c297; stroke: #63c297 }
    }
  </style>"""

Figures = Mapping[str, Mapping[str, Kept]]


class Mark(msgspec.Struct, frozen=True):
    """A figure as a multiple of its target, below 1 where it is met, with the spread of its rounds.

    `is_own` tells whether the target is meant for this engine; otherwise it is shown beside it, hollow.
    """

    engine: str
    multiple: float
    spread: tuple[float, float]
    is_own: bool


def chart(figures: Figures) -> str:
    """The SVG of these figures, by engine and key."""
    rows = marks_of(figures)
    axis = _Axis([each for marks in rows.values() for each in marks])
    lines: list[str] = []
    y = _TOP
    for target, keys in _by_target(rows).items():
        y += _TITLE
        title = f"{target}  {TARGET_TITLES.get(target, '')}".strip()
        lines.append(f'  <text class="title" x="24" y="{y - 8:.0f}">{escape(title)}</text>')
        for key in keys:
            height = _ROW + _LANE * len(rows[key])
            lines += _row(key.partition(" ")[2], rows[key], axis, y + height / 2)
            y += height
    height = y + _BOTTOM
    return "\n".join(
        [
            _HEAD.format(width=_WIDTH, height=height),
            _STYLE,
            f'  <rect class="paper" width="{_WIDTH:.0f}" height="{height:.0f}"/>',
            *axis.lines(y),
            *_legend(),
            *lines,
            "</svg>\n",
        ]
    )


def marks_of(figures: Figures) -> dict[str, list[Mark]]:
    """The marks of each key; those without a target on any engine are left out."""
    targets = {key: kept for of_engine in figures.values() for key, kept in of_engine.items() if kept.bound}
    rows: dict[str, list[Mark]] = {key: [] for key in targets}
    for engine in ENGINE_NAMES:
        for key, kept in figures.get(engine, {}).items():
            if key not in targets:
                continue
            target = targets[key] if kept.bound is None else kept
            values = [multiple_of(each, target) for each in kept.rounds or (kept.value,)]
            spread = min(values), max(values)
            rows[key].append(Mark(engine, multiple_of(kept.value, target), spread, kept.bound is not None))
    return rows


def multiple_of(value: float, target: Kept) -> float:
    """How many times worse than the target a value is: below 1 it is met."""
    assert target.bound is not None
    if not target.at_least:
        return _within(value / target.bound)
    if target.unit.startswith("%"):
        # Of a saving, what is left to pay.
        return _within((100 - value) / (100 - target.bound))
    return _within(target.bound / value) if value > 0 else _FARTHEST


def order_of(target: str) -> tuple[int, str]:
    """P2 comes before P10, and what has no number last."""
    number = re.match(r"P(\d+)", target)
    return (int(number[1]) if number else 1000, target)


class _Axis:
    """The logarithmic axis: a multiple's place on the picture."""

    def __init__(self, marks: list[Mark]) -> None:
        multiples = [1 / _NEAREST, _NEAREST, *(end for each in marks for end in (each.multiple, *each.spread))]
        # A little air, so that no mark sits on the edge.
        self._low, self._high = log10(min(multiples)) - 0.08, log10(max(multiples)) + 0.08

    def x(self, multiple: float) -> float:
        share = (log10(multiple) - self._low) / (self._high - self._low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def lines(self, bottom: float) -> Iterator[str]:
        left, right = self.x(1), _WIDTH - _RIGHT
        yield (
            f'  <rect class="missed" x="{left:.1f}" y="{_TOP:.0f}" width="{right - left:.1f}"'
            f' height="{bottom - _TOP:.0f}"/>'
        )
        for tick in self._ticks():
            x = self.x(tick)
            css = "target" if tick == 1 else "grid"
            yield f'  <path class="{css}" d="M{x:.1f} {_TOP:.0f}V{bottom:.0f}"/>'
            yield f'  <text class="tick" x="{x:.1f}" y="{bottom + 16:.0f}">{_tick_text(tick)}</text>'
            yield f'  <text class="tick" x="{x:.1f}" y="{_TOP - 6:.0f}">{_tick_text(tick)}</text>'

    def _ticks(self) -> list[float]:
        every = [digit * 10.0**power for power in range(-4, 4) for digit in _TICKS]
        return [each for each in every if self._low <= log10(each) <= self._high]


def _row(name: str, marks: list[Mark], axis: _Axis, middle: float) -> Iterator[str]:
    short = name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
    yield f'  <text class="label" x="{_LEFT - 14:.0f}" y="{middle + 4:.1f}">{escape(short)}</text>'
    for place, mark in enumerate(marks):
        lane = middle + _LANE * (place - (len(marks) - 1) / 2)
        low, high = (axis.x(end) for end in mark.spread)
        if high - low > 1:
            yield f'  <path class="{mark.engine} spread" d="M{low:.1f} {lane:.1f}H{high:.1f}"/>'
        css = f"{mark.engine} mark" + ("" if mark.is_own else " other")
        yield "  " + _SHAPES[mark.engine].format(css=css, x=axis.x(mark.multiple), y=lane)


def _legend() -> Iterator[str]:
    yield '  <text class="head" x="24" y="30">Every figure as a multiple of its target</text>'
    x = 24.0
    for engine, name in ENGINE_NAMES.items():
        yield "  " + _SHAPES[engine].format(css=f"{engine} mark", x=x + 5, y=52.0)
        yield f'  <text class="legend" x="{x + 16:.0f}" y="56">{name}</text>'
        x += 34 + 7 * len(name)
    words = "left of the line the target is met; hollow: it is another engine's target; bar: the spread of the rounds"
    yield f'  <text class="legend" x="{x + 12:.0f}" y="56">{words}</text>'


def _by_target(rows: Mapping[str, list[Mark]]) -> dict[str, list[str]]:
    targets: dict[str, list[str]] = {}
    for key in rows:
        targets.setdefault(key.partition(" ")[0], []).append(key)
    return {target: targets[target] for target in sorted(targets, key=order_of)}


def _tick_text(tick: float) -> str:
    return "target" if tick == 1 else f"{tick:g} &#215;"


def _within(multiple: float) -> float:
    """Bounded, so that one extreme value does not flatten all the others."""
    return max(1 / _FARTHEST, min(_FARTHEST, multiple))

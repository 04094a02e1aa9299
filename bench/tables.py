"""`python -m bench.tables`: write the tables and the picture of docs/performance.md from bench/baselines.

A table stands between `<!-- figures: P1 -->` and `<!-- end -->`, one for each target; the text around it stays.
`--check` only says whether they are current.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from bench.baselines import Baselines, Kept, read_baselines
from bench.chart import ENGINE_NAMES, chart
from bench.machine import Machine

ROOT = Path(__file__).parent.parent
BASELINES = ROOT / "bench" / "baselines"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "performance.svg"

_BLOCK = re.compile(r"(<!-- (figures: \S+|machines) -->\n).*?(<!-- end -->)", re.DOTALL)
_MARKS = "¹²³⁴⁵⁶⁷⁸⁹"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write what is not current, or say with `--check` that it is not."""
    parser = argparse.ArgumentParser(prog="python -m bench.tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 if something is not current")
    is_check = parser.parse_args(arguments).check
    stale = stale_files(read_all(BASELINES))
    for file, text in stale.items():
        if is_check:
            print(f"{file.relative_to(ROOT)} is not what bench/baselines say: run `python -m bench.tables`")
        else:
            file.write_text(text, encoding="utf-8")
    return 1 if stale and is_check else 0


def read_all(folder: Path) -> dict[str, Baselines]:
    """The kept figures of all engines."""
    return {engine: read_baselines(folder, engine) for engine in ENGINE_NAMES}


def save_picture() -> None:
    """Draw the kept figures for the documentation."""
    PICTURE.write_text(_picture(read_all(BASELINES)), encoding="utf-8")


def stale_files(kept: Mapping[str, Baselines]) -> dict[Path, str]:
    """The files that differ from what the figures say, and their right text."""
    wanted = {
        PAGE: with_tables(PAGE.read_text(encoding="utf-8"), kept),
        PICTURE: _picture(kept),
    }
    return {
        file: text for file, text in wanted.items() if not file.exists() or file.read_text(encoding="utf-8") != text
    }


def with_tables(page: str, kept: Mapping[str, Baselines]) -> str:
    """The page with its tables made anew."""

    def written(block: re.Match[str]) -> str:
        what = block[2]
        lines = _BESIDE[what](kept) if what in _BESIDE else table(what.removeprefix("figures: "), kept)
        return block[1] + "\n".join(lines) + "\n" + block[3]

    return _BLOCK.sub(written, page)


def _picture(kept: Mapping[str, Baselines]) -> str:
    return chart({engine: each.figures for engine, each in kept.items()})


def targets_of(page: str) -> list[str]:
    """The targets that the page has a table for."""
    return [block[2].removeprefix("figures: ") for block in _BLOCK.finditer(page) if block[2] != "machines"]


def table(target: str, kept: Mapping[str, Baselines]) -> list[str]:
    """The figures of a target, a line each, and the notes on some of them."""
    of_target = {
        engine: {key: each for key, each in baselines.figures.items() if key.partition(" ")[0] == target}
        for engine, baselines in kept.items()
    }
    engines = [engine for engine in ENGINE_NAMES if of_target[engine]]
    if not engines:
        return ["No figures are kept yet."]
    keys = list(dict.fromkeys(key for engine in engines for key in of_target[engine]))
    notes = list(dict.fromkeys(each.note for engine in engines for each in of_target[engine].values() if each.note))
    lines = [
        f"| what | target | {' | '.join(ENGINE_NAMES[engine] for engine in engines)} |",
        f"|---|---|{'---|' * len(engines)}",
    ]
    for key in keys:
        row = [of_target[engine].get(key) for engine in engines]
        cells = [
            key.partition(" ")[2],
            _target_of([each for each in row if each]),
            *(_cell(each, notes) for each in row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, *(_notes(notes))]


def connections_table(kept: Mapping[str, Baselines]) -> list[str]:
    """Each engine with a line for each endpoint, number of requests at once and side; and the memory of each side."""
    lines: list[str] = []
    for engine, baselines in kept.items():
        rows: dict[str, dict[str, Kept]] = {}
        for key, each in baselines.figures.items():
            target, _, name = key.partition(" ")
            if target == "connections":
                what, _, measure = name.rpartition(": ")
                rows.setdefault(what or name, {})[measure if what else "memory"] = each
        if rows:
            lines += ["", f"**{ENGINE_NAMES[engine]}**", "", *_connections_of(rows)]
    return lines[1:] or ["No figures are kept yet."]


def machine_table(kept: Mapping[str, Baselines]) -> list[str]:
    """Where the figures of each engine come from, and when."""
    lines = ["| engine | machine | Python | taken on | figures |", "|---|---|---|---|---|"]
    for engine, baselines in kept.items():
        for machine in (*baselines.machines, None):
            figures = [each for each in baselines.figures.values() if baselines.machine_of(each) == machine]
            if figures:
                lines.append(f"| {' | '.join(_machine_cells(engine, machine, figures))} |")
    return lines


def _connections_of(rows: Mapping[str, Mapping[str, Kept]]) -> Iterator[str]:
    measures = {"throughput": "requests/s", "p50": "p50 ms", "p99": "p99 ms", "CPU": "CPU ms", "memory": "MiB"}
    yield f"| endpoint, requests at once, side | {' | '.join(measures.values())} |"
    yield f"|---|{'---|' * len(measures)}"
    for what, of_row in rows.items():
        cells = [_number(of_row[each].value) if each in of_row else "" for each in measures]
        yield f"| {what} | {' | '.join(cells)} |"


def _machine_cells(engine: str, machine: Machine | None, figures: Sequence[Kept]) -> tuple[str, ...]:
    days = sorted({each.taken_on for each in figures if each.taken_on})
    taken_on = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}" if days else ""
    name = ENGINE_NAMES[engine]
    if machine is None:
        return name, "was not kept", "", taken_on, str(len(figures))
    return f"{name} {machine.engines[engine]}", machine.shape, machine.python, taken_on, str(len(figures))


def _target_of(row: Sequence[Kept]) -> str:
    """The bounds of a row: of all engines, or of those that have one."""
    unit = row[0].unit
    if unit.startswith("x "):
        unit = f"× {unit[2:]}"  # noqa: RUF001 - the sign of multiplication
    bounds = [f"{'≥' if each.at_least else '≤'} {each.bound:g}" for each in row if each.bound is not None]
    return f"{', '.join(dict.fromkeys(bounds))} {unit}".strip()


def _cell(kept: Kept | None, notes: Sequence[str]) -> str:
    if kept is None:
        return ""
    words = [f"{kept.value:g}" if kept.unit == "statements" else _number(kept.value)]
    if len(kept.rounds) > 1:
        words.append(f"({_number(min(kept.rounds))} to {_number(max(kept.rounds))})")
    if kept.bound is not None:
        words.append("met" if kept.verdict == "met" else "**missed**")
    cell = " ".join(words)
    if kept.product_ms is not None and kept.other_ms is not None:
        cell += f"; {_number(kept.product_ms)} / {_number(kept.other_ms)} ms"
    return f"{cell} {_MARKS[notes.index(kept.note)]}" if kept.note else cell


def _notes(notes: Sequence[str]) -> Iterator[str]:
    if notes:
        yield ""
        yield "; ".join(f"{_MARKS[place]} {note}" for place, note in enumerate(notes)) + "."


def _number(value: float) -> str:
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 or value == 0 else f"{value:.2g}"


_BESIDE: dict[str, Callable[[Mapping[str, Baselines]], list[str]]] = {
    "machines": machine_table,
    "figures: connections": connections_table,
}


if __name__ == "__main__":
    sys.exit(main())

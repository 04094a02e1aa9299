"""`python -m bench.compare`: measure, and say against bench/baselines what got worse and by how much.

A figure that looks worse is measured again before it counts, and the exit status is 1 only if something did get worse.
What counts as a change is decided in `bench.changes`.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from bench.baselines import Baselines, Kept, read_baselines
from bench.changes import (
    COST_FLOOR,
    FLOOR,
    Change,
    Series,
    Verdict,
    cost_of,
    is_count,
    is_relative,
    is_suspect,
    judge,
    judge_counts,
    value_of,
)
from bench.machine import Machine
from bench.report import Figure, read_report
from bench.stand import ENGINES

BASELINES = Path("bench/baselines")
# Scenarios have names that `--only` takes; of other targets everything is measured again.
_BY_NAME = ("P1", "P2")

Again = Callable[[str, str], list[Figure]]


class Finding(msgspec.Struct, frozen=True):
    """What became of a figure. `is_cost` is told of the product's own milliseconds instead of the figure's value."""

    engine: str
    key: str
    before: Kept
    now: Kept
    change: Change
    times: int
    is_cost: bool = False

    @property
    def sentence(self) -> str:
        """What changed, by how much, and what the noise is."""
        before, now, unit = self.before.value, self.now.value, self.now.unit
        if self.is_cost:
            before, now, unit = self.before.product_ms or 0, self.now.product_ms or 0, "ms by itself"
        loss = self.change.loss
        amount = f"{abs(loss):.0%} {'worse' if loss > 0 else 'better'}"
        noise = f"noise up to {self.change.noise:.0%}" if self.change.noise else "no noise"
        times = "" if self.times == 1 else f", measured {self.times} times"
        target, _, name = self.key.partition(" ")
        return f"{target} {self.engine}: {name}: {now:.4g} {unit}, was {before:.4g}: {amount} ({noise}{times})"


class Comparing:
    """The figures of a run against those that are kept. `again` measures those of an engine once more."""

    def __init__(self, folder: Path, figures: Iterable[Figure], machine: Machine | None, again: Again | None) -> None:
        self._kept = {engine: read_baselines(folder, engine) for engine in ENGINES}
        self._figures = {(each.engine, each.key): each for each in figures}
        self._machine = machine
        self._again = again
        self._measured: dict[tuple[str, str], dict[str, Figure]] = {}

    def findings(self) -> Iterator[Finding]:
        """Of each figure that is kept, too: what became of its value, and of its cost.

        Costs, and values that are no ratios, say nothing of another machine's.
        """
        for (engine, key), figure in self._figures.items():
            before = self._kept[engine].figures.get(key)
            if before is None or not _is_of_product(key, before):
                continue
            is_same_machine = self._is_same_machine(self._kept[engine], before)
            if is_same_machine or is_relative(before):
                yield self._finding(engine, key, before, figure)
            if is_same_machine and cost_of(before) is not None and cost_of(figure.kept) is not None:
                yield self._finding(engine, key, before, figure, is_cost=True)

    def without_baseline(self) -> list[str]:
        """The figures that nothing is kept of."""
        return [f"{engine} {key}" for engine, key in self._figures if key not in self._kept[engine].figures]

    def of_other_machines(self) -> list[str]:
        """The figures that are kept from another machine, or from one that nobody knows."""
        return [
            f"{engine} {key}"
            for engine, key in self._figures
            if (before := self._kept[engine].figures.get(key)) is not None
            and not self._is_same_machine(self._kept[engine], before)
        ]

    def not_measured(self) -> list[str]:
        """The kept figures that the run does not have."""
        every = [(engine, key) for engine, kept in self._kept.items() for key in kept.figures]
        return [f"{engine} {key}" for engine, key in every if (engine, key) not in self._figures]

    def _finding(self, engine: str, key: str, before: Kept, figure: Figure, *, is_cost: bool = False) -> Finding:
        measured = [figure.kept]
        change = _change(before, measured, is_cost=is_cost)
        if _looks_worse(before, measured[0], is_cost=is_cost):
            again = self._measure_again(figure)
            if again is None:
                change = msgspec.structs.replace(change, verdict=Verdict.SUSPECT)
            else:
                measured.append(again.kept)
                change = _change(before, measured, is_cost=is_cost)
        elif change.verdict is Verdict.WORSE:
            change = msgspec.structs.replace(change, verdict=Verdict.SAME)
        return Finding(engine, key, before, measured[-1], change, len(measured), is_cost)

    def _measure_again(self, figure: Figure) -> Figure | None:
        if self._again is None:
            return None
        only = figure.key.partition(" ")[2] if figure.target in _BY_NAME else figure.target
        place = figure.engine, only
        if place not in self._measured:
            self._measured[place] = {each.key: each for each in self._again(*place)}
        return self._measured[place].get(figure.key)

    def _is_same_machine(self, kept: Baselines, before: Kept) -> bool:
        machine = kept.machine_of(before)
        return machine is not None and self._machine is not None and machine.shape == self._machine.shape


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and return 1 if something got worse."""
    options = _options().parse_args(arguments)
    if options.figures is None:
        _bench(options, options.output, engines=options.engine or [], only=options.only)
    written = read_report(options.figures or options.output)
    figures = [each for each in written.figures if not options.engine or each.engine in options.engine]
    again = None if options.once else lambda engine, only: _measured_again(options, engine, only)
    comparing = Comparing(options.baselines, figures, written.machine, again)
    findings = list(comparing.findings())
    sys.stdout.write(told(findings, list(_remarks(comparing))))
    return 1 if any(each.change.verdict is Verdict.WORSE for each in findings) else 0


def told(findings: Sequence[Finding], remarks: Sequence[str] = ()) -> str:
    """What changed, the worst first, and how many figures stayed as they were."""
    lines = [""]
    for verdict in (Verdict.WORSE, Verdict.SUSPECT, Verdict.UNCLEAR, Verdict.BETTER):
        chosen = [each for each in findings if each.change.verdict is verdict]
        chosen.sort(key=lambda each: -each.change.loss)
        lines += [f"{verdict:<8} {each.sentence}" for each in chosen]
    same = sum(1 for each in findings if each.change.verdict is Verdict.SAME and not each.is_cost)
    worse = sum(1 for each in findings if each.change.verdict is Verdict.WORSE)
    lines += [f"stayed as they were: {same}", *remarks]
    lines.append(f"{worse} got worse" if worse else "nothing got worse")
    return "\n".join(lines) + "\n"


def _remarks(comparing: Comparing) -> Iterator[str]:
    if names := comparing.of_other_machines():
        yield f"of another machine, or of one not named, so that only ratios are compared: {len(names)}"
    if names := comparing.without_baseline():
        yield f"without a baseline: {', '.join(names)}"
    if names := comparing.not_measured():
        yield f"kept, but not measured: {len(names)}"


def _is_of_product(key: str, kept: Kept) -> bool:
    """A peer that got slower, or a network, is nobody's loss."""
    is_of_peer = key.startswith("connections ") and ", Holdfast" not in key
    return not is_of_peer and kept.unit != "ms more"


def _change(before: Kept, measured: Sequence[Kept], *, is_cost: bool) -> Change:
    if is_cost:
        return judge(_cost(before), [_cost(each) for each in measured], floor=COST_FLOOR)
    if is_count(before):
        return judge_counts(before.value, [each.value for each in measured])
    return judge(value_of(before), [value_of(each) for each in measured], floor=_floor(before))


def _looks_worse(before: Kept, now: Kept, *, is_cost: bool) -> bool:
    if is_cost:
        return is_suspect(_cost(before), _cost(now), floor=COST_FLOOR)
    if is_count(before):
        return now.value > before.value
    return is_suspect(value_of(before), value_of(now), floor=_floor(before))


def _floor(before: Kept) -> float:
    return FLOOR if is_relative(before) or before.unit == "MiB" else COST_FLOOR


def _cost(kept: Kept) -> Series:
    cost = cost_of(kept)
    assert cost is not None
    return cost


def _measured_again(options: argparse.Namespace, engine: str, only: str) -> list[Figure]:
    print(f"\n{engine}, {only}: looks worse, and is measured again", flush=True)
    output = options.output.with_suffix(".again.json")
    _bench(options, output, engines=[engine], only=only)
    written = read_report(output)
    output.unlink()
    return written.figures


def _bench(options: argparse.Namespace, output: Path, *, engines: Sequence[str], only: str | None) -> None:
    command = [sys.executable, "-m", "bench", "--output", str(output)]
    command += [word for engine in engines for word in ("--engine", engine)]
    command += [word for setting in options.setting for word in ("--setting", setting)]
    command += ["--only", only] if only else []
    command += ["--rounds", str(options.rounds)] if options.rounds else []
    command += ["--quick"] if options.quick else []
    subprocess.run(command, check=True)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--figures", type=Path, help="compare this file, such as build/bench.json, and do not measure")
    parser.add_argument("--output", type=Path, default=Path("build/bench.json"), help="where measured figures go")
    parser.add_argument("--once", action="store_true", help="measure nothing again; what looks worse is only suspect")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only this engine; may be repeated")
    parser.add_argument("--only", help="measure only this target or scenario")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument("--setting", action="append", default=[], help="HOLDFAST_NAME=VALUE for the serving process")
    parser.add_argument("--quick", action="store_true", help="short rounds: whether it works")
    parser.add_argument("--baselines", type=Path, default=BASELINES, help="the folder of the kept figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())

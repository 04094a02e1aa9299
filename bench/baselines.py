"""The kept figures, one file for each engine in bench/baselines: what later runs and the documentation go by."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.machine import Machine


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One kept figure. `rounds` holds the value in each round, and `product_rounds_ms` the product's own cost there.

    Both are empty for what is measured once, such as a number of statements; and for figures from before rounds were
    kept, whose `note` says so.
    """

    value: float
    unit: str
    bound: float | None = None
    at_least: bool = False
    rounds: tuple[float, ...] = ()
    product_ms: float | None = None
    other_ms: float | None = None
    product_rounds_ms: tuple[float, ...] = ()
    taken_on: str | None = None
    # The place of its machine in the file's list.
    machine: int | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Whether the value keeps the bound."""
        return verdict_of(self.value, self.bound, at_least=self.at_least)


class Baselines(msgspec.Struct, frozen=True):
    """The kept figures of one engine by their keys, `P1 user with groups`, and the machines they come from."""

    machines: tuple[Machine, ...] = ()
    figures: dict[str, Kept] = {}

    def machine_of(self, kept: Kept) -> Machine | None:
        """The machine that the figure was taken on, where that was kept."""
        return None if kept.machine is None else self.machines[kept.machine]


def verdict_of(value: float, bound: float | None, *, at_least: bool) -> str:
    """Whether a value keeps its bound."""
    if bound is None:
        return "no target"
    return "met" if (value >= bound if at_least else value <= bound) else "missed"


def read_baselines(folder: Path, engine: str) -> Baselines:
    """What is kept of an engine."""
    file = folder / f"{engine}.json"
    return msgspec.json.decode(file.read_bytes(), type=Baselines) if file.exists() else Baselines()


def keep(folder: Path, engine: str, figures: Mapping[str, Kept], machine: Machine) -> None:
    """Keep these figures of an engine, taken on this machine; what was not measured stays as it was."""
    old = read_baselines(folder, engine)
    staying = [each for key, each in old.figures.items() if key not in figures]
    machines = [known for known in old.machines if any(old.machine_of(each) == known for each in staying)]
    if machine not in machines:
        machines.append(machine)
    kept = {key: _moved(old, each, machines) for key, each in old.figures.items()}
    kept |= {key: msgspec.structs.replace(each, machine=machines.index(machine)) for key, each in figures.items()}
    _write(folder / f"{engine}.json", Baselines(tuple(machines), kept))


def _moved(old: Baselines, kept: Kept, machines: list[Machine]) -> Kept:
    machine = old.machine_of(kept)
    return msgspec.structs.replace(kept, machine=machines.index(machine) if machine in machines else None)


def _write(file: Path, baselines: Baselines) -> None:
    """A line for each machine and figure, so that a diff shows which of them changed."""
    machines = ",".join(f"\n{_json(each)}" for each in baselines.machines)
    figures = ",".join(f"\n{_json(key)}: {_json(each)}" for key, each in baselines.figures.items())
    file.write_text(f'{{"machines": [{machines}],\n"figures": {{{figures}\n}}}}\n', encoding="utf-8")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

"""What a request ran, held against what its route declares: each fault is a sentence that says what to do."""

from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import pairwise

import msgspec

from holdfast.app import Budget
from holdfast.db.statements import registry


class Run(msgspec.Struct, frozen=True):
    """One request: what it was, with how many rows around it, and how often it ran which statement."""

    route: str
    title: str
    rows: int
    statements: Counter[str]

    @property
    def total(self) -> int:
        return sum(self.statements.values())

    def __str__(self) -> str:
        return f"{self.title} with {self.rows} rows"


def statements_run() -> Counter[str]:
    """How often each statement ran in this process, which the server of a test shares."""
    return Counter({each.name: sum(each.timing.buckets) for each in registry if not each.name.startswith("tests.")})


def faults(runs: list[Run], budgets: dict[str, Budget]) -> list[str]:
    """A sentence for each request that runs too much, or more than others of its kind that met fewer rows."""
    found = [sentence for run in runs for sentence in _faults_of(run, budgets[run.route])]
    by_title: dict[str, list[Run]] = {}
    for run in runs:
        by_title.setdefault(run.title, []).append(run)
    for same in by_title.values():
        found += _growth(sorted(same, key=lambda run: run.rows))
    return list(dict.fromkeys(found))


def _faults_of(run: Run, budget: Budget) -> Iterator[str]:
    for name, times in sorted(run.statements.items()):
        if times > 1 and not any(fnmatchcase(name, pattern) for pattern in budget.repeated):
            yield (
                f"{run} ran {name} {times} times in one request: run it once for all, as with any_of(), or declare it:"
                f" opt=budget({budget.statements}, repeated=({name!r},))"
            )
    if run.total > budget.statements:
        yield (
            f"{run} ran {run.total} statements, and its route declares {budget.statements}: {_listed(run)}."
            f" Run fewer, or declare opt=budget({run.total})"
        )


def _growth(runs: list[Run]) -> Iterator[str]:
    for fewer, more in pairwise(runs):
        for name, times in sorted((more.statements - fewer.statements).items()):
            yield (
                f"{more} ran {name} {more.statements[name]} times, and {more.statements[name] - times} times with"
                f" {fewer.rows}: the number of statements must not grow with the rows (N+1)"
            )


def _listed(run: Run) -> str:
    return ", ".join(name if times == 1 else f"{times} x {name}" for name, times in sorted(run.statements.items()))

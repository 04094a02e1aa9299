"""What a scenario came to, and the table of it."""

import importlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.ha.ledger import Figures
from tests.ha.load import Load


@dataclass(frozen=True)
class Outcome:
    """The figures of one scenario: `seconds_to_write` from when it was broken, `since_primary` from the new primary."""

    name: str
    figures: Figures
    seconds_to_write: float
    since_primary: float | None = None


Scenario = Callable[[Any], Coroutine[Any, Any, list[Outcome]]]


class ScenarioModule(Protocol):
    """What a module of scenarios has: something that stands, and what can happen to it."""

    TITLE: str
    SCENARIOS: Sequence[Scenario]

    @staticmethod
    def standing(folder: Path) -> AbstractContextManager[Any]: ...


def scenario_module(name: str) -> ScenarioModule:
    """The module `tests.ha.<name>_scenarios`."""
    module: Any = importlib.import_module(f"tests.ha.{name}_scenarios")
    return module  # type: ignore[no-any-return]


async def outcome(name: str, load: Load, seconds: float, since_primary: float | None = None) -> Outcome:
    """Verify a load that has ended, and require every promise kept."""
    figures = await load.verify()
    figures.require_kept_promises()
    return Outcome(name, figures, seconds, since_primary)


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The lines of a Markdown table."""
    yield (
        "| what happens | tried | acknowledged | refused (503) | unknown | lost | doubled | wrong reads | reads"
        " | writing again after | after the new primary | longest answer |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for each in outcomes:
        figures = each.figures
        since = "" if each.since_primary is None else f"{each.since_primary:.1f} s"
        cells = [
            each.name,
            *map(str, (figures.tried, figures.acknowledged, figures.refused, figures.unknown)),
            *map(str, (len(figures.lost), len(figures.doubled), len(figures.wrong_reads), figures.reads)),
            f"{each.seconds_to_write:.1f} s",
            since,
            f"{figures.longest_answer_seconds:.1f} s",
        ]
        yield "| " + " | ".join(cells) + " |"

"""The state machine on each engine: a short run every day, a long one among the slow tests."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from holdfast.db.address import parse_address
from holdfast.db.lifecycle.purge_removal import PACES
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from tests.conftest import NewDatabase
from tests.instance import Instance, instance_settings
from tests.lifecycle.machine import LifecycleMachine
from tests.lifecycle.world import World

# Examples and steps of each: the short one takes about ten seconds an engine, each part of the long one a minute.
_SHORT = (6, 25)
_LONG = (12, 60)
# Now and then a long one does not come upon all that it should.
_MOST_RUNS = 3
# A run in which none of this happens shows nothing.
_HAPPENS_DAILY = {"restored", "bundled", "purged", "recovered"}
_HAPPENS_IN_THE_LONG_RUN = _HAPPENS_DAILY | {
    "restored twice",
    "restore refused: parent",
    "restore refused: name",
    "renamed",
    "protected",
    "handed over",
}


class Arena:
    """A database of its own, on an event loop of its own: Hypothesis is not asynchronous."""

    def __init__(self, runner: asyncio.Runner, instance: Instance) -> None:
        self.runner = runner
        self.instance = instance
        self.tally: Counter[str] = Counter()

    def new_machine(self) -> LifecycleMachine:
        """A machine on the emptied database."""
        self.runner.run(self.instance.clear())
        return LifecycleMachine(self.runner, World(self.instance.database, self.instance.settings), self.tally)


@pytest.fixture
def arena(engine: str, new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arena]:
    """An arena on a new database. Nobody else uses it, for whose sake a purge would rest."""
    monkeypatch.setitem(PACES, engine, msgspec.structs.replace(PACES[engine], rest_share=0))
    chosen = instance_settings(new_database(engine), tmp_path)
    with asyncio.Runner() as runner:
        runner.run(migrate(parse_address(chosen.database_url)))
        database = open_database(chosen)
        runner.run(database.start())
        yield Arena(runner, Instance(engine, chosen, "", database))
        runner.run(database.stop())


@pytest.mark.conformance("X-06")
def test_the_product_agrees_with_the_model(arena: Arena) -> None:
    # The same steps each time: a change is judged by what it does, not by what was drawn that day.
    _run(arena, *_SHORT, derandomize=True)
    assert arena.tally.keys() >= _HAPPENS_DAILY


@pytest.mark.slow
@pytest.mark.conformance("X-06")
@pytest.mark.parametrize("part", range(3))
def test_the_product_agrees_with_the_model_over_thousands_of_steps(arena: Arena, part: int) -> None:
    missing, runs = _HAPPENS_IN_THE_LONG_RUN, 0
    while missing and runs < _MOST_RUNS:
        _run(arena, *_LONG, derandomize=False)
        missing, runs = missing - arena.tally.keys(), runs + 1
    assert not missing, f"part {part} shows too little after {runs} runs"


def _run(arena: Arena, examples: int, steps: int, *, derandomize: bool) -> None:
    run_state_machine_as_test(
        arena.new_machine,  # type: ignore[arg-type]
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=derandomize,
            database=None,
            # Making a failing run shorter takes longer than a test may, and then nothing is told of it.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )

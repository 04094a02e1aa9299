"""PostgreSQL under Patroni: its primary killed, handed over and cut off, under load (issue 5, targets R1 and R3)."""

import os
from collections.abc import Iterator

import pytest

from tests.ha import patroni_scenarios as scenarios
from tests.ha.outcomes import Outcome
from tests.ha.patroni_scenarios import Stand
from tests.servers.process import EngineMissingError

pytestmark = pytest.mark.ha


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    try:
        with scenarios.standing(tmp_path_factory.mktemp("patroni")) as standing:
            yield standing
    except EngineMissingError as error:
        skip_or_fail(str(error))


def skip_or_fail(reason: str) -> None:
    if os.environ.get("HOLDFAST_REQUIRE_ENGINES") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(f"NOT TESTED: {reason}")


async def test_a_killed_primary_costs_nothing_that_was_acknowledged(stand: Stand) -> None:
    _require_that_it_was_felt(await scenarios.kill_the_primary_twice(stand))


async def test_a_planned_switchover_costs_nothing(stand: Stand) -> None:
    await scenarios.switch_over(stand)


async def test_a_primary_whose_packets_vanish_costs_nothing_and_holds_nobody_for_long(stand: Stand) -> None:
    if stand.cluster.network is None:
        pytest.skip(f"NOT TESTED: {stand.cluster.network_missing}")
    (cut,) = await scenarios.cut_the_primary_off(stand)
    _require_that_it_was_felt([cut])
    # The system would wait a quarter of an hour for a host that does not answer.
    assert cut.figures.longest_answer_seconds < 60


def _require_that_it_was_felt(outcomes: list[Outcome]) -> None:
    """A scenario in which nobody was turned away has shown nothing."""
    assert all(each.figures.unavailable > 0 for each in outcomes), outcomes

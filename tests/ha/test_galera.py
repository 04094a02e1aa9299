"""A Galera cluster that loses nodes, its quorum and its network, under load (R3)."""

import os
from collections.abc import Iterator

import pytest

from tests.ha import galera_scenarios as scenarios
from tests.ha.galera_scenarios import Stand
from tests.ha.outcomes import Scenario
from tests.servers.process import EngineMissingError

pytestmark = pytest.mark.ha


def skip_or_fail(reason: str) -> None:
    """A loud skip, or a failure under HOLDFAST_REQUIRE_ENGINES=1."""
    if os.environ.get("HOLDFAST_REQUIRE_ENGINES") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    try:
        with scenarios.standing(tmp_path_factory.mktemp("galera")) as standing:
            yield standing
    except EngineMissingError as error:
        skip_or_fail(str(error))


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_wrong(stand: Stand, scenario: Scenario) -> None:
    if scenario is scenarios.cut_the_node_that_writes_off and stand.network_missing:
        pytest.skip(f"NOT TESTED: {stand.network_missing}")
    for each in await scenario(stand):
        assert each.seconds_to_write < 60

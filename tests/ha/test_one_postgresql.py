"""A single PostgreSQL server restarted, without connections, standing still, locked and full, under load (R1, R3)."""

from collections.abc import Iterator

import pytest

from tests.ha import postgresql_scenarios as scenarios
from tests.ha.one_server import NotPermittedError, Stand
from tests.ha.outcomes import Scenario

pytestmark = pytest.mark.ha


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with scenarios.standing(tmp_path_factory.mktemp("postgresql")) as standing:
        yield standing


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_wrong(stand: Stand, scenario: Scenario) -> None:
    try:
        outcomes = await scenario(stand)
    except NotPermittedError as error:
        pytest.skip(f"NOT TESTED: {error}")
    else:
        assert all(each.figures.unavailable > 0 for each in outcomes), outcomes

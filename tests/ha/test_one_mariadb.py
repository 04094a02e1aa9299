"""A single MariaDB server restarted, crashed, without connections, standing still and full, under load (R1, R3)."""

from collections.abc import Iterator

import pytest

from tests.ha import mariadb_scenarios as scenarios
from tests.ha.one_server import NotPermittedError, Stand
from tests.ha.outcomes import Scenario
from tests.ha.test_galera import skip_or_fail
from tests.servers.process import EngineMissingError

pytestmark = pytest.mark.ha


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    try:
        with scenarios.standing(tmp_path_factory.mktemp("mariadb")) as standing:
            yield standing
    except EngineMissingError as error:
        skip_or_fail(str(error))


@pytest.mark.parametrize("scenario", scenarios.SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_wrong(stand: Stand, scenario: Scenario) -> None:
    try:
        outcomes = await scenario(stand)
    except NotPermittedError as error:
        pytest.skip(f"NOT TESTED: {error}")
    else:
        if scenario not in (scenarios.crash_again_and_again, scenarios.stand_still):
            # In these two it may be back before anybody is told that it is away.
            assert all(each.figures.unavailable > 0 for each in outcomes), outcomes

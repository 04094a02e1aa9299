"""Two servers and two workers on one database of PostgreSQL and of MariaDB."""

from collections.abc import Iterator

import pytest

from tests.conftest import NewDatabase
from tests.replicas.cluster import Cluster, running_cluster


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def cluster(
    request: pytest.FixtureRequest, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """What all tests of a module share."""
    with running_cluster(tmp_path_factory.mktemp("cluster"), new_database(request.param)) as running:
        yield running

"""The older schemas load with all their rows, and what is expected of them adds up."""

import pytest

from tests.conftest import NewDatabase
from tests.operations.legacy.flavours import FLAVOURS
from tests.operations.legacy.loading import make_legacy, open_legacy


@pytest.mark.parametrize("name", FLAVOURS)
def test_a_flavour_loads_with_all_its_rows(new_database: NewDatabase, name: str) -> None:
    url = new_database(FLAVOURS[name].engine)
    expected = make_legacy(url, name, scale=25)
    with open_legacy(url) as database:
        found = {table: database.count(table) for table in database.tables()}
    assert {table: count for table, count in found.items() if count} == expected.source_counts

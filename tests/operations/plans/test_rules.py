"""Tests of the tests: what breaks a rule is told in a sentence that names the statement."""

from collections.abc import AsyncIterator

import pytest

from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.listing import listings
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.db.statements import Query, Statement, registry
from holdfast.operations.plans.review import review_estimates
from holdfast.operations.plans.statements import declared_statements
from holdfast.settings import Settings
from tests.conftest import NewDatabase
from tests.operations.plans.population import populate


@pytest.fixture(scope="module")
async def small(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    settings = Settings(database_url=new_database("sqlite"), data_dir=tmp_path_factory.mktemp("small"))
    await migrate(parse_address(settings.database_url))
    async with open_database(settings).running() as database:
        await populate(database, scale=0.2)
        yield database


async def test_a_dropped_index_is_told(small: Database) -> None:
    declared_statements()
    statement = _variant("forms", "forms.after(all,project_id):-created_at")
    before = await review_estimates(small, [statement])
    assert before.suffering == []
    async with small.write() as tx:
        await tx.fetch_text("DROP INDEX ix_forms_project_id_created_at_id")
        await tx.fetch_text("DROP INDEX ix_forms_created_at_id")
    try:
        after = await review_estimates(small, [statement])
    finally:
        async with small.write() as tx:
            await tx.fetch_text("CREATE INDEX ix_forms_project_id_created_at_id ON forms (project_id, created_at, id)")
            await tx.fetch_text("CREATE INDEX ix_forms_created_at_id ON forms (created_at, id)")
    told = [fault.sentence for fault in after.suffering]
    assert any(each.startswith("forms.after(all,project_id):-created_at ") for each in told), told


async def test_an_order_without_its_index_is_told(small: Database) -> None:
    declared_statements()
    listing = listings["forms"]
    sorted_by_title = listing._select.selected_columns["title"]
    statement = Query(
        "tests.plans.after(all)", listing._select.order_by(sorted_by_title, listing._row_id).limit(20), listing.row
    )
    told = [fault.sentence for fault in (await review_estimates(small, [statement])).suffering]
    assert "tests.plans.after(all) sorts rows for one page: no index has its order" in told


def _variant(listing: str, name: str) -> Statement:
    list(listings[listing].declare_all(1))
    found = registry.find(name)
    assert found is not None
    return found

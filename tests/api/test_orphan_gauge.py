"""The numbers of the orphan reports, and the rows of statements, as metrics."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.statistics.gauges import DATABASE_NUMBERS
from holdfast.db.statistics.tallies import read_statement_tallies
from holdfast.features.images.orphan_gauge import ORPHANS
from tests.conftest import NewDatabase
from tests.factories import make_image_request, make_rule, make_super_admin, make_token
from tests.instance import Instance, instance_settings, run_instance


@pytest.fixture(autouse=True)
def _nothing_read_lately() -> None:
    ORPHANS.read_at.clear()


async def _told(instance: Instance) -> dict[str, float]:
    """What /metrics tells of each report."""
    return {sample.labels["report"]: sample.value for sample in await _samples(instance, "orphaned_image_requests")}


async def _samples(instance: Instance, name: str) -> list[Any]:
    answer = await instance.client().get(f"{instance.base_url}/metrics")
    assert answer.status_code == 200
    families = {family.name: family.samples for family in text_string_to_metric_families(answer.text)}
    return families[f"holdfast_{name}"]


async def _reported(client: httpx.AsyncClient) -> dict[str, float]:
    """What the API tells of each report."""
    totals = {}
    for report, strict in (("seed", "false"), ("strict", "true")):
        answer = await client.get("/admin/statistics/orphans", params={"strict": strict, "limit": 1})
        assert answer.status_code == 200, answer.text
        totals[report] = answer.json()["total"]
    return totals


async def _add_requests(database: Database, super_id: str) -> None:
    """Decided requests: two rejected, one approved and deleted, one approved without a rule, one with its rule."""
    decided: dict[str, Any] = {"reviewer_id": super_id, "reviewed_at": utc_now()}
    for _ in range(2):
        await make_image_request(database, super_id, status="rejected", **decided)
    deleted: dict[str, Any] = {"deletion_id": new_long_id(), "deleted_at": utc_now()}
    await make_image_request(database, super_id, status="approved", **decided, **deleted)
    await make_image_request(database, super_id, status="approved", **decided)
    ruled = await make_image_request(database, super_id, status="approved", **decided)
    await make_rule(database, super_id, request_id=ruled)


@pytest.mark.conformance("S-09", "S-10")
async def test_the_gauge_tells_what_the_reports_of_the_api_count(instance: Instance) -> None:
    database = instance.database
    super_id = await make_super_admin(database)
    client = instance.client(await make_token(database, super_id))
    assert await _told(instance) == await _reported(client) == {"seed": 0, "strict": 0}
    await _add_requests(database, super_id)
    assert await _told(instance) == {"seed": 0, "strict": 0}, "read again within ten minutes"
    for server in list(ORPHANS.read_at):
        ORPHANS.read_at[server] -= 600
    assert await _told(instance) == await _reported(client) == {"seed": 4, "strict": 1}


async def test_a_failing_database_leaves_the_old_numbers_and_metrics_answer(
    engine: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    settings = instance_settings(new_database(engine), tmp_path)
    await migrate(parse_address(settings.database_url))
    async with run_instance(engine, settings) as running:
        await _add_requests(running.database, await make_super_admin(running.database))
        assert await _told(running) == {"seed": 4, "strict": 1}
        async with running.database.write() as tx:
            await tx.fetch_text("ALTER TABLE image_requests RENAME TO image_requests_elsewhere")
        for numbers in (ORPHANS, DATABASE_NUMBERS):
            numbers.read_at.clear()
        assert await _told(running) == {"seed": 4, "strict": 1}
        assert len(ORPHANS.read_at) == 1, "the scrape did not try to count them"
        await running.close_clients()


async def test_metrics_tell_the_rows_of_each_statement_as_the_report_does(instance: Instance) -> None:
    client = instance.client(await make_token(instance.database, await make_super_admin(instance.database)))
    before = {sample.labels["statement"]: sample.value for sample in await _samples(instance, "statement_rows")}
    for _ in range(3):
        assert (await client.get("/users")).status_code == 200
    rows = {sample.labels["statement"]: sample.value for sample in await _samples(instance, "statement_rows")}
    name = "users.list(all):username"
    grown = rows[name] - before.get(name, 0)
    assert grown == 3 * len((await client.get("/users")).json()["items"])
    told = {each.statement: each.rows for each in read_statement_tallies(100_000).items}
    assert told[name] == rows[name] + grown / 3
    assert told.keys() >= rows.keys()

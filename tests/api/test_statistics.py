"""/admin/statistics: statements, indexes, sizes, connections and orphans (S-09 to S-11), and the same as metrics."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pymysql
import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db.address import parse_address
from holdfast.db.engines.base import Database
from holdfast.db.migrate import migrate
from holdfast.db.open import open_database
from holdfast.db.statistics import reports
from holdfast.db.statistics.types import Connections, IndexUsage
from holdfast.db.tables import audit_logs
from holdfast.settings import Settings
from tests.factories import (
    insert_rows,
    make_group,
    make_image_request,
    make_project,
    make_rule,
    make_super_admin,
    make_token,
    make_user,
)
from tests.instance import Instance, run_instance
from tests.servers.address import ServerAddress
from tests.servers.mariadb import MariadbServer
from tests.servers.process import EngineMissingError, running

# Both as section 5.2 of the report has them.
_SEED_ORPHANS = """
-- Check for orphaned image requests without references
SELECT ir.id, ir.user_id, ir.project_id
FROM image_requests ir
LEFT JOIN image_allow_list ial ON ial.request_id = ir.id
WHERE ial.id IS NULL AND ir.reviewed_at IS NOT NULL;
"""
_SEED_INDEXES = """
SELECT object_schema, object_name, count_read, count_write
FROM performance_schema.table_io_waits_summary_by_index_usage
WHERE count_read > 1000
ORDER BY count_read DESC;
"""
_PATIENCE_SECONDS = 20


class Statistics:
    """A super administrator who asks for reports."""

    def __init__(self, instance: Instance, u_id: str, client: httpx.AsyncClient) -> None:
        self.instance = instance
        self.u_id = u_id
        self.client = client

    async def get(self, report: str, **query: Any) -> Any:
        answer = await self.client.get(f"/admin/statistics/{report}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def orphans(self, **query: Any) -> list[tuple[str, str, str | None]]:
        """All of them, page by page."""
        rows: list[tuple[str, str, str | None]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get("orphans", limit=2, **query, **cursor)
            rows += [(row["id"], row["user_id"], row["project_id"]) for row in page["items"]]
            assert page["total"] >= len(rows)
            if page["next"] is None:
                assert page["total"] == len(rows)
                return rows
            cursor = {"cursor": page["next"]}


@pytest.fixture
async def statistics(instance: Instance) -> Statistics:
    u_id = await make_super_admin(instance.database)
    return Statistics(instance, u_id, instance.client(await make_token(instance.database, u_id)))


@pytest.mark.conformance("S-09")
async def test_the_orphan_report_is_exactly_what_the_seeds_query_gives(
    statistics: Statistics, database: Database
) -> None:
    u_id = await make_user(database)
    p_id = await make_project(database, await make_group(database))
    gone: dict[str, Any] = {"deletion_id": new_long_id(), "deleted_at": utc_now()}
    reviewed: dict[str, Any] = {"reviewer_id": statistics.u_id, "reviewed_at": utc_now()}
    orphans = [
        await make_image_request(database, u_id, p_id, status="rejected", **reviewed),
        await make_image_request(database, u_id, None, status="approved", **reviewed),
        await make_image_request(database, u_id, p_id, status="approved", **gone, **reviewed),
    ]
    ruled = [await make_image_request(database, u_id, p_id, status="approved", **reviewed) for _ in range(3)]
    for number, request_id in enumerate(ruled):
        await make_rule(database, statistics.u_id, p_id, request_id=request_id, **(gone if number == 0 else {}))
    await make_image_request(database, u_id, p_id)
    async with database.read() as tx:
        expected = await tx.fetch_text(_SEED_ORPHANS)
    assert sorted(row[0] for row in expected) == sorted(orphans)
    assert await statistics.orphans() == sorted(expected)
    assert [row[0] for row in await statistics.orphans(strict="true")] == [orphans[1]]


@pytest.mark.conformance("S-10")
async def test_no_approved_request_is_an_orphan_after_the_usual_flow(
    statistics: Statistics, database: Database
) -> None:
    client = statistics.client
    p_id = await make_project(database, await make_group(database))
    for body in (
        {"image_name": "nginx:1.27", "project_id": p_id},
        {"image_name": "redis:7"},
        {"image_name": "ghcr.io/org/app:1", "project_id": p_id},
    ):
        asked = (await client.post("/image-requests", json=body)).json()
        if "org" in body["image_name"]:
            # A rule that is there already, disabled, is linked to the request instead of made twice.
            rule = (await client.post("/images", json=body)).json()
            assert (await client.patch(f"/images/{rule['id']}", json={"is_enabled": False})).status_code == 200
        answer = await client.post(f"/image-requests/{asked['id']}/approve", json={})
        assert answer.status_code == 200, answer.text
    # Two requests for one thing end in one rule.
    twice = [(await client.post("/image-requests", json={"image_name": "twice:1", "project_id": p_id})).json()]
    other = await make_project(database, await make_group(database))
    twice.append((await client.post("/image-requests", json={"image_name": "twice:1", "project_id": other})).json())
    for each in twice:
        answer = await client.post(f"/image-requests/{each['id']}/approve", json={"is_global": True})
        assert answer.status_code == 200, answer.text
    asked = (await client.post("/image-requests", json={"image_name": "old:1"})).json()
    assert (await client.post(f"/image-requests/{asked['id']}/reject", json={"note": "old"})).status_code == 200
    assert await statistics.orphans(strict="true") == []
    seed_counts = sorted([asked["id"], twice[0]["id"]])
    assert sorted(row[0] for row in await statistics.orphans()) == seed_counts, "the rejected, and the first of two"


@pytest.mark.conformance("S-11")
async def test_the_index_report_tells_which_index_is_used(statistics: Statistics, database: Database) -> None:
    await _add_entries(database, statistics.u_id, 1200)
    before = _by_index(await statistics.get("indexes"))
    assert ("users", "ix_users_email") in before
    for _ in range(3):
        assert (await statistics.client.get("/audit-logs?limit=1")).status_code == 200
    if statistics.instance.engine == "sqlite":
        async with database.write() as tx:
            await tx.fetch_text("ANALYZE")
        report = await statistics.get("indexes")
        assert "does not count how often an index is used" in report["remark"]
        assert "run ANALYZE" not in report["remark"]
        keys = [row["rows_per_key"] for row in report["items"] if row["index"] == "ix_audit_logs_created_at_id"]
        assert keys == [1]
        return
    report = await _until_counted(statistics, before)
    assert report["remark"] is None
    assert report["counted_since"] is None or report["counted_since"].endswith("Z")
    reads = [row["reads"] for row in report["items"]]
    assert reads == sorted(reads), "the least used come first, to be looked at"


@pytest.mark.conformance("S-11")
@pytest.mark.parametrize("engine", ["mariadb"], indirect=True)
async def test_on_mariadb_the_answer_to_the_seeds_query_is_part_of_it(
    statistics: Statistics, database: Database
) -> None:
    await _add_entries(database, statistics.u_id, 1200)
    assert (await statistics.client.get("/audit-logs?limit=1000")).status_code == 200
    async with database.read() as tx:
        expected = await tx.fetch_text(_SEED_INDEXES)
    found = (await statistics.get("indexes"))["seed_query"]
    names = [(row["object_schema"], row["object_name"]) for row in found]
    assert any(name == "audit_logs" for _, name in names)
    assert set(names) >= {(schema, name) for schema, name, _, _ in expected}
    assert [row["count_read"] for row in found] == sorted((row["count_read"] for row in found), reverse=True)
    assert all(row["count_read"] > 1000 for row in found)


class _WithoutPerformanceSchema(MariadbServer):
    def _start_command(self, address: ServerAddress) -> list[str]:
        return [word for word in super()._start_command(address) if not word.startswith("--performance-schema")]


@contextmanager
def _plain_mariadb() -> Iterator[ServerAddress]:
    try:
        with running(_WithoutPerformanceSchema()) as server:
            yield server.address
    except EngineMissingError as error:
        pytest.skip(str(error))


@pytest.mark.conformance("S-11")
async def test_a_mariadb_that_counts_nothing_says_how_to_make_it(tmp_path: Path) -> None:
    with _plain_mariadb() as address:
        url = address.create_database("holdfast_plain")
        await migrate(parse_address(url))
        usage = await _index_usage(url, tmp_path)
        assert usage.items == []
        assert usage.seed_query is None
        assert "performance_schema is off on this server" in (usage.remark or "")
        assert "SET GLOBAL userstat = 1" in (usage.remark or "")
        usage = await _index_usage(url, tmp_path, "SET GLOBAL userstat = 1", "SELECT COUNT(*) FROM users")
        assert "counts the rows read" in (usage.remark or "")


@pytest.mark.parametrize("engine", ["mariadb"], indirect=True)
async def test_an_account_with_few_rights_is_told_which_it_lacks(instance: Instance, tmp_path: Path) -> None:
    address = parse_address(instance.settings.database_url)
    arguments: dict[str, Any] = dict(address.connect_arguments)
    name = arguments.get("db") or arguments["database"]
    with closing(_administrator(arguments)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("CREATE OR REPLACE USER 'poor'@'127.0.0.1' IDENTIFIED BY 'secret-of-the-poor'")
        cursor.execute(f"GRANT ALL ON `{name}`.* TO 'poor'@'127.0.0.1'")
    url = f"mariadb://poor:secret-of-the-poor@{arguments['host']}:{arguments['port']}/{name}"
    assert "GRANT SELECT ON performance_schema.*" in ((await _index_usage(url, tmp_path)).remark or "")
    database = open_database(Settings(database_url=url, data_dir=tmp_path))
    async with database.running(), database.read() as tx:
        found = await reports.read_connections(tx)
    assert "GRANT PROCESS" in (found.remark or "")
    assert sum(found.states.values()) >= 1


async def test_the_sizes_of_tables_grow_with_their_rows(statistics: Statistics, database: Database) -> None:
    await _add_entries(database, statistics.u_id, 1200)
    async with database.write() as tx:
        await tx.fetch_text("ANALYZE TABLE audit_logs" if tx.dialect_name == "mariadb" else "ANALYZE")
    report = await statistics.get("tables")
    entries = next(row for row in report["items"] if row["table"] == "audit_logs")
    assert 900 <= entries["rows"] <= 1500
    assert report["database_bytes"] > 100_000
    if entries["table_bytes"] is None:
        assert "no dbstat" in report["remark"]
    else:
        assert entries["table_bytes"] > 50_000
        assert entries["index_bytes"] > 10_000


async def test_who_waits_for_a_lock_is_told_without_what_it_runs(statistics: Statistics, database: Database) -> None:
    if database.dialect_name == "sqlite":
        report = await statistics.get("connections")
        assert report["states"] == {}
        assert "no list of connections" in report["remark"]
        assert report["pool"]["name"] == "sqlite"
        return
    update = f"UPDATE users SET email = 'secret@example.org' WHERE u_id = '{statistics.u_id}'"
    other = open_database(statistics.instance.settings)
    async with other.running(), database.write() as first:
        await first.fetch_text(update)
        waiting = asyncio.create_task(_change(other, update))
        report = await _until_waiting(statistics)
        assert len(report.waits) == 1, report
        wait = report.waits[0]
        assert len(wait.waits_for) == 1
        assert wait.seconds >= 0
        assert sum(report.states.values()) >= 2
        assert report.most is not None
        assert report.pool is not None
        assert report.pool.in_use == 1
        assert (report.longest_transaction_seconds or 0) > 0
        assert "secret@example.org" not in str(report)
        await first.fetch_text("SELECT 1")
    await waiting


async def test_the_statements_are_those_of_this_process_the_dearest_first(statistics: Statistics) -> None:
    for _ in range(3):
        await statistics.client.get("/me")
    report = await statistics.get("statements", limit=1000)
    # Other tests ran in this process, too.
    assert len(report["items"]) == min(report["statements"], 1000)
    assert "one process" in report["remark"]
    found = next(row for row in report["items"] if row["statement"] == "accounts.find_session")
    assert found["runs"] >= 4
    assert found["rows"] >= 4
    assert 0 < found["p50_milliseconds"] <= found["p99_milliseconds"]
    seconds = [row["total_seconds"] for row in report["items"]]
    assert seconds == sorted(seconds, reverse=True)
    assert len((await statistics.get("statements", limit=3))["items"]) == 3


@pytest.mark.parametrize("report", ["statements", "indexes", "tables", "connections", "orphans"])
async def test_only_super_administrators_see_statistics(instance: Instance, report: str) -> None:
    client = instance.client(await make_token(instance.database, await make_user(instance.database)))
    answer = await client.get(f"/admin/statistics/{report}")
    assert (answer.status_code, answer.json()["code"]) == (403, "statistics_forbidden")
    assert (await instance.client().get(f"/admin/statistics/{report}")).status_code == 401


async def test_the_databases_numbers_are_metrics_read_once_a_minute(statistics: Statistics, database: Database) -> None:
    async with database.write() as tx:
        await tx.fetch_text("ANALYZE TABLE users" if tx.dialect_name == "mariadb" else "ANALYZE")
    async with run_instance(database.dialect_name, statistics.instance.settings) as fresh:
        families = await _metrics(fresh)
        await _add_entries(database, statistics.u_id, 5000)
        again = await _metrics(fresh)
        await fresh.close_clients()
    (size,) = families["holdfast_database_bytes"]
    assert size.value > 100_000
    assert "users" in {sample.labels["table"] for sample in families["holdfast_table_rows"]}
    if database.dialect_name != "sqlite":
        assert sum(sample.value for sample in families["holdfast_database_connections"]) >= 1
        assert families["holdfast_database_lock_waits"][0].value == 0
        assert any(sample.labels["table"] == "users" for sample in families["holdfast_index_reads"])
    assert again["holdfast_database_bytes"] == [size], "read again within a minute"


async def _metrics(instance: Instance) -> dict[str, list[Any]]:
    answer = await instance.client().get(f"{instance.base_url}/metrics")
    assert answer.status_code == 200
    return {family.name: family.samples for family in text_string_to_metric_families(answer.text)}


async def _add_entries(database: Database, user_id: str, number: int) -> None:
    entry = {"user_id": user_id, "action": "create", "resource_type": "form", "actor_name": "somebody"}
    await insert_rows(database, audit_logs, [entry | {"resource_id": new_long_id()} for _ in range(number)])


async def _change(database: Database, sql: str) -> None:
    async with database.write() as tx:
        await tx.fetch_text(sql)


async def _until_waiting(statistics: Statistics) -> Connections:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            report = await statistics.get("connections")
            if report["waits"]:
                return msgspec.convert(report, Connections)
            await asyncio.sleep(0.05)


async def _until_counted(statistics: Statistics, before: dict[tuple[str, str], int]) -> Any:
    """The report once it tells of the reads: PostgreSQL's counts come with a delay."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            report = await statistics.get("indexes")
            after = _by_index(report)
            # Not of users: where autovacuum has seen how few there are, PostgreSQL reads the table without an index.
            if any(after[key] > before.get(key, 0) for key in after if key[0] == "audit_logs"):
                return report
            await asyncio.sleep(0.2)


def _by_index(report: Any) -> dict[tuple[str, str], int]:
    return {(row["table"], row["index"]): row["reads"] or 0 for row in report["items"]}


async def _index_usage(url: str, folder: Path, *before: str) -> IndexUsage:
    database = open_database(Settings(database_url=url, data_dir=folder))
    async with database.running(), database.read() as tx:
        for sql in before:
            await tx.fetch_text(sql)
        return await reports.read_index_usage(tx)


def _administrator(arguments: dict[str, Any]) -> "pymysql.connections.Connection[Any]":
    return pymysql.connect(host=arguments["host"], port=arguments["port"], user=arguments["user"])

"""/admin/cleanup and `holdfast cleanup`: count what is due, ask for it, and the worker does it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.core.clock import utc_now
from holdfast.db import schedule
from holdfast.db.jobs import Done
from holdfast.worker.loop import run_one
from holdfast.worker.registry import PERIODIC_JOBS
from tests.cli.commandline import CommandLine
from tests.db.retention_world import make_entry, make_world, states
from tests.db.rows import fetch, run
from tests.factories import make_super_admin, make_token
from tests.instance import Instance


@pytest.fixture
async def token(instance: Instance) -> str:
    """The token of a super administrator in a world with deletions of every age."""
    await make_world(instance.database)
    await make_entry(instance.database, "eve", "old", age=91)
    return await make_token(instance.database, await make_super_admin(instance.database))


@pytest.mark.conformance("S-05", "S-07")
async def test_a_dry_run_says_per_table_what_would_go_and_changes_nothing(instance: Instance, token: str) -> None:
    client = instance.client(token)
    before = await states(instance.database)
    answer = await client.post("/admin/cleanup/soft-deleted", json={"days": 38, "dry_run": True})
    assert answer.status_code == 200
    plan = answer.json()
    assert (plan["category"], plan["days"], plan["deletions"]) == ("soft-deleted", 38, 4)
    assert plan["counts"]["project_list"] == 1
    assert (await client.post("/admin/cleanup/audit-logs", content=b"nothing")).status_code == 400
    answer = await client.post("/admin/cleanup/audit-logs", json={"dry_run": True})
    assert (answer.status_code, answer.json()["days"], answer.json()["counts"]) == (200, 90, {"audit_logs": 1})
    assert await states(instance.database) == before
    assert await fetch(instance.database, "SELECT count(*) FROM jobs") == [(0,)]


@pytest.mark.conformance("S-05", "S-06")
async def test_a_cleanup_is_done_by_the_worker_and_stands_in_the_audit_log(instance: Instance, token: str) -> None:
    answer = await instance.client(token).post("/admin/cleanup/soft-deleted", json={})
    assert answer.status_code == 202
    assert answer.json()["days"] == 30
    assert await run_one(instance.database, instance.settings)
    kept = [state for state in await states(instance.database) if state[1] != "purged"]
    assert kept == [("D-restored", "restored", ""), ("D-young", "deleted", "")]
    entries = await instance.client(token).get("/audit-logs", params={"action": "purge", "limit": 100})
    by = {entry["actor_name"] for entry in entries.json()["items"]}
    assert by == {"root-of-tests"}


@pytest.mark.conformance("S-08")
async def test_both_cleanups_run_by_the_calendar_as_the_settings_say(instance: Instance, token: str) -> None:
    settings = instance.settings
    both = [PERIODIC_JOBS[f"retention.{name}"] for name in ("cleanup_soft_deleted", "cleanup_audit_logs")]
    assert [job.interval(settings) for job in both] == [timedelta(days=30), timedelta(days=1)]
    done = [await job.run(instance.database, settings, utc_now) for job in both]
    assert [isinstance(each, Done) and each.changed > 0 for each in done] == [True, True]
    by = await fetch(instance.database, "SELECT DISTINCT actor_name, user_id FROM audit_logs WHERE action = 'purge'")
    assert [tuple(row) for row in by] == [("holdfast", "admin")]


@pytest.mark.conformance("S-08")
async def test_a_periodic_cleanup_is_due_again_after_its_days(instance: Instance, token: str) -> None:
    moment = datetime(2027, 1, 1, tzinfo=UTC)
    name = "retention.cleanup_audit_logs"
    async with instance.database.write() as tx:
        await schedule.keep(tx, {name: timedelta(days=1)}, lambda: moment)
    assert await run_one(instance.database, instance.settings, lambda: moment)
    ((state, due),) = await fetch(instance.database, f"SELECT state, run_at FROM jobs WHERE name = '{name}'")
    assert (state, str(due)[:10]) == ("waiting", "2027-01-02")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("soft-deleted", {"days": -1}),
        ("soft-deleted", {"days": "30"}),
        ("audit-logs", {"days": 0}),
        ("audit-logs", {"day": 30}),
    ],
)
async def test_what_does_not_fit_is_refused(instance: Instance, token: str, path: str, body: dict[str, object]) -> None:
    answer = await instance.client(token).post(f"/admin/cleanup/{path}", json=body)
    assert answer.status_code == 400


async def test_the_command_line_plans_prepares_and_cleans_up(instance: Instance, token: str, tmp_path: Path) -> None:
    line = CommandLine(instance.base_url, tmp_path, token)
    shown = await line.done("cleanup", "soft-deleted", "--days", 38, "--dry-run")
    assert "older than 38 days would go, of 4 deletions." in shown
    assert "form_messages" in shown
    assert "Nothing is older than 300 days." in await line.done("cleanup", "audit-logs", "--days", 300, "--dry-run")
    asked = await line.json("cleanup", "soft-deleted", "--prepare-only")
    assert await run_one(instance.database, instance.settings)
    assert ("D-course", "deleted", "") in await states(instance.database)
    bundled = "SELECT count(*) FROM deletions WHERE state = 'deleted' AND bundle_verified_at IS NULL"
    assert await fetch(instance.database, bundled) == [(0,)]
    assert "Asked for" in await line.done("cleanup", "audit-logs")
    assert await run_one(instance.database, instance.settings)
    assert await fetch(instance.database, "SELECT count(*) FROM audit_logs WHERE resource_id = 'old'") == [(0,)]
    assert asked["category"] == "soft-deleted"


async def test_a_cleanup_waits_for_a_purge_under_way(instance: Instance, token: str) -> None:
    await run(
        instance.database,
        "UPDATE deletions SET state = 'purging', lease_token = 'another', lease_until = '2999-01-01 00:00:00.000000'"
        " WHERE id = 'D-ada'",
    )
    assert (await instance.client(token).post("/admin/cleanup/soft-deleted")).status_code == 202
    assert await run_one(instance.database, instance.settings)
    assert ("D-course", "deleted", "") in await states(instance.database)
    assert await fetch(instance.database, "SELECT state FROM jobs") == [("waiting",)]

"""Jobs, runs and the schedule over the API, and as metrics: what the cluster does, whichever replica is asked."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db import jobs, runs, schedule
from holdfast.db.tables import jobs as jobs_table
from holdfast.features.jobs.gauges import SCHEDULE
from holdfast.worker.loop import run_one
from holdfast.worker.registry import ONE_OFF_JOBS, PERIODIC_JOBS, OneOffJob, PeriodicJob
from tests.db.rows import run
from tests.factories import insert_row, make_super_admin, make_token
from tests.instance import Instance

_HOURLY = timedelta(hours=1)


@pytest.fixture
async def client(instance: Instance) -> httpx.AsyncClient:
    return instance.client(await make_token(instance.database, await make_super_admin(instance.database)))


async def make_job(instance: Instance, **values: Any) -> str:
    job_id = new_long_id()
    row = {"id": job_id, "name": "tests.job", "arguments": {"of": "whom"}, "run_at": utc_now()} | values
    await insert_row(instance.database, jobs_table, **row)
    return job_id


async def test_a_dead_letter_is_seen_tried_again_and_done(
    instance: Instance, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []

    async def work(database: Any, settings: Any, arguments: dict[str, Any], clock: Any) -> int:
        given.append(arguments)
        if len(given) == 1:
            raise RuntimeError("the disk is tired")
        return 3

    monkeypatch.setitem(ONE_OFF_JOBS, "tests.job", OneOffJob("tests.job", work))
    job_id = await make_job(instance, attempts=jobs.MOST_ATTEMPTS - 1)
    assert await run_one(instance.database, instance.settings)
    page = (await client.get("/jobs", params={"state": "failed", "name": "tests.job"})).json()
    assert [(job["id"], job["attempts"], job["failure"]) for job in page["items"]] == [
        (job_id, jobs.MOST_ATTEMPTS, "RuntimeError: the disk is tired")
    ]
    answer = await client.post(f"/jobs/{job_id}/retry")
    assert (answer.status_code, answer.json()["state"], answer.json()["attempts"]) == (200, "waiting", 0)
    refused = await client.post(f"/jobs/{job_id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (409, "job_not_failed")
    assert await run_one(instance.database, instance.settings)
    assert given == [{"of": "whom"}] * 2
    job = (await client.get(f"/jobs/{job_id}")).json()
    assert (job["state"], job["failure"]) == ("done", None)
    found = (await client.get("/runs", params={"job_id": job_id})).json()["items"]
    assert [(each["outcome"], each["failure"], each["detail"]) for each in found] == [
        ("done", None, {"changed": 3}),
        ("failed", "RuntimeError: the disk is tired", None),
    ]
    failed = (await client.get("/runs", params={"outcome": "failed", "name": "tests.job"})).json()
    assert failed["total"] == 1


async def test_a_discarded_dead_letter_is_gone_and_stands_in_the_audit_log(
    instance: Instance, client: httpx.AsyncClient
) -> None:
    job_id = await make_job(instance, state="failed", attempts=8, failure="the disk is tired")
    waiting = await make_job(instance)
    refused = await client.post(f"/jobs/{waiting}/discard")
    assert (refused.status_code, refused.json()["code"]) == (409, "job_not_failed")
    assert (await client.post(f"/jobs/{job_id}/discard")).json()["failure"] == "the disk is tired"
    assert (await client.get(f"/jobs/{job_id}")).json()["code"] == "job_not_found"
    assert (await client.post(f"/jobs/{job_id}/discard")).status_code == 404
    (entry,) = (await client.get("/audit-logs", params={"resource_type": "job"})).json()["items"]
    assert (entry["action"], entry["resource_id"], entry["resource_label"]) == ("delete", job_id, "tests.job")
    assert entry["old_data"] == {
        "name": "tests.job",
        "arguments": {"of": "whom"},
        "attempts": 8,
        "failure": "the disk is tired",
    }


async def test_the_schedule_tells_the_last_run_and_the_next_time_and_lets_a_job_run_now(
    instance: Instance, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(*arguments: Any) -> jobs.Done:
        return jobs.Done(1, {"rows": 1})

    monkeypatch.setitem(PERIODIC_JOBS, "tests.hourly", PeriodicJob("tests.hourly", _HOURLY, work))
    async with instance.database.write() as tx:
        await schedule.keep(tx, {"tests.hourly": _HOURLY})
    (never,) = (await client.get("/schedule")).json()["items"]
    assert (never["name"], never["every_seconds"], never["last_outcome"]) == ("tests.hourly", 3600, None)
    assert await run_one(instance.database, instance.settings)
    (ran,) = (await client.get("/schedule")).json()["items"]
    assert (ran["last_outcome"], ran["overdue_seconds"], ran["is_running"]) == ("done", 0, False)
    assert ran["last_done_at"] == ran["last_finished_at"]
    asked = await client.post("/schedule/tests.hourly/run")
    assert (asked.status_code, asked.json()["name"]) == (202, "tests.hourly")
    assert asked.json()["due_at"] < ran["due_at"]
    assert await run_one(instance.database, instance.settings)
    (again,) = (await client.get("/schedule")).json()["items"]
    assert again["due_at"] == ran["due_at"]
    assert (await client.get("/runs", params={"name": "tests.hourly"})).json()["total"] == 2
    held = await jobs.claim(instance.database, 60, lambda: utc_now() + _HOURLY)
    assert held is not None
    (running,) = (await client.get("/schedule")).json()["items"]
    assert (running["is_running"], running["host"]) == (True, runs.this_host())
    refused = await client.post("/schedule/tests.hourly/run")
    assert (refused.status_code, refused.json()["code"]) == (409, "job_under_way")
    assert (await client.post("/schedule/tests.nobody/run")).json()["code"] == "schedule_not_found"


async def test_the_metrics_tell_what_the_schedule_does(instance: Instance, client: httpx.AsyncClient) -> None:
    async with instance.database.write() as tx:
        await schedule.keep(tx, {"tests.hourly": _HOURLY}, lambda: utc_now() - 2 * _HOURLY)
    await make_job(instance, state="failed", attempts=8)
    job = await jobs.claim(instance.database, 60)
    assert job is not None
    assert job.name == "tests.hourly"
    async with instance.database.write() as tx:
        assert await jobs.fail(tx, job, "the disk is tired", every=_HOURLY)
        await runs.record(tx, "tests.hourly", utc_now() - 3 * _HOURLY, "done")
    await run(instance.database, "UPDATE jobs SET run_at = '2026-01-01 00:00:00.000000' WHERE name = 'tests.hourly'")
    SCHEDULE.read_at.clear()
    text = (await instance.client().get(f"{instance.base_url}/metrics")).text
    told: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if family.name.startswith("holdfast_job") and labels.get("job", "tests.hourly") == "tests.hourly":
                told.setdefault(family.name, {})[labels.get("outcome", "")] = sample.value
    (item,) = (await client.get("/schedule")).json()["items"]
    assert told["holdfast_job_interval_seconds"] == {"": 3600}
    assert told["holdfast_job_last_outcome"] == {"done": 0, "failed": 1, "lost": 0, "put_off": 0}
    assert told["holdfast_job_overdue_seconds"][""] == pytest.approx(item["overdue_seconds"], abs=60)
    assert told["holdfast_job_last_duration_seconds"][""] == item["last_seconds"]
    since = told["holdfast_job_last_run_timestamp_seconds"][""] - utc_now().timestamp()
    assert -120 < since <= 0
    assert told["holdfast_job_last_success_timestamp_seconds"][""] == pytest.approx(utc_now().timestamp(), abs=120)
    assert told["holdfast_jobs_dead"] == {"": 1}
    assert told["holdfast_jobs_waiting"] == {"": 1}

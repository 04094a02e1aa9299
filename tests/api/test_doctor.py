"""The doctor by API: asked for, made by a worker, read, and told to Prometheus."""

import json
from datetime import timedelta

import httpx

from holdfast.core.clock import utc_now
from holdfast.db import jobs
from holdfast.operations.doctor.gauge import DOCTOR
from holdfast.worker.loop import run_one
from holdfast.worker.registry import PERIODIC_JOBS
from tests.db.rows import fetch
from tests.factories import make_group, make_image_request, make_member, make_super_admin, make_token, make_user
from tests.instance import Instance


async def _super_admin(instance: Instance) -> httpx.AsyncClient:
    return instance.client(await make_token(instance.database, await make_super_admin(instance.database)))


async def _metrics(instance: Instance) -> str:
    DOCTOR.read_at.clear()
    return (await instance.client().get(f"{instance.base_url}/metrics")).text


async def test_an_examination_is_asked_for_made_and_read(instance: Instance) -> None:
    client = await _super_admin(instance)
    before = await client.get("/doctor")
    assert (before.status_code, before.json()["code"]) == (404, "never_examined")
    asked = await client.post("/doctor")
    assert asked.status_code == 202
    again = await client.post("/doctor")
    assert (again.status_code, again.json()["code"]) == (409, "examination_pending")
    request_id = await make_image_request(
        instance.database, await make_user(instance.database, "student"), status="approved"
    )
    assert await run_one(instance.database, instance.settings)
    answer = await client.get("/doctor")
    assert answer.status_code == 200, await fetch(instance.database, "SELECT name, outcome, failure FROM runs")
    report = answer.json()
    assert report["engine"] == instance.engine
    (found,) = [each for each in report["findings"] if each["check"] == "approved_requests"]
    assert (found["severity"], found["rows"], found["count"], found["fix"]) == ("notice", [request_id], 1, None)
    assert report["counts"]["notice"] >= 1
    assert f'holdfast_doctor_findings{{severity="notice"}} {float(report["counts"]["notice"])}' in await _metrics(
        instance
    )
    assert (await client.post("/doctor")).status_code == 202


async def test_the_daily_examination_leaves_its_report(instance: Instance) -> None:
    client = await _super_admin(instance)
    g_id = await make_group(instance.database, "physics")
    await make_member(instance.database, await make_user(instance.database, "student"), g_id)
    examine = PERIODIC_JOBS["operations.doctor"]
    assert examine.interval(instance.settings) == timedelta(days=1)
    async with instance.database.write() as tx:
        await jobs.enqueue(tx, "operations.doctor", {})
    assert await run_one(instance.database, instance.settings)
    report = (await client.get("/doctor")).json()
    assert [each["rows"] for each in report["findings"] if each["check"] == "group_admins"] == [[g_id]]
    assert report["finished_at"] <= (utc_now() + timedelta(seconds=1)).isoformat()


async def test_others_may_neither_ask_nor_read(instance: Instance) -> None:
    client = instance.client(await make_token(instance.database, await make_user(instance.database)))
    for answer in (await client.get("/doctor"), await client.post("/doctor")):
        assert (answer.status_code, answer.json()["code"]) == (403, "doctor_forbidden")


async def test_a_report_can_be_read_by_programs(instance: Instance) -> None:
    client = await _super_admin(instance)
    await client.post("/doctor")
    await run_one(instance.database, instance.settings)
    answer = await client.get("/doctor")
    assert set(json.loads(answer.content)) == {
        "started_at",
        "finished_at",
        "engine",
        "checks",
        "left_out",
        "counts",
        "findings",
    }

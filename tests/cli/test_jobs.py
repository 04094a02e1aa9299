"""`holdfast jobs`: dead letters, runs and the schedule at the command line."""

from datetime import timedelta

import pytest

from holdfast.cli.jobs import duration
from holdfast.core.clock import utc_now
from holdfast.core.ids import new_long_id
from holdfast.db import runs, schedule
from holdfast.db.tables import jobs
from tests.cli.commandline import CommandLine
from tests.factories import insert_row
from tests.instance import Instance


async def _dead_letter(instance: Instance) -> str:
    job_id = new_long_id()
    dead = {"state": "failed", "attempts": 8, "failure": "the disk is tired", "run_at": utc_now()}
    await insert_row(instance.database, jobs, id=job_id, name="tests.dead", arguments={"of": "whom"}, **dead)
    async with instance.database.write() as tx:
        moment = utc_now() - timedelta(seconds=90)
        await runs.record(tx, "tests.dead", moment, "failed", failure="the disk is tired", job_id=job_id)
    return job_id


async def test_dead_letters_are_listed_shown_tried_again_and_discarded(admin: CommandLine, instance: Instance) -> None:
    first, second = await _dead_letter(instance), await _dead_letter(instance)
    said = await admin.done("jobs", "list", "--state", "failed")
    assert {first, second} <= set(said.split())
    shown = await admin.done("jobs", "show", first)
    assert "the disk is tired" in shown
    assert '{"of": "whom"}' in shown
    assert "1 min 30 s" in shown
    assert "is due again" in await admin.done("jobs", "retry", first)
    assert (await admin.json("jobs", "show", first))["state"] == "waiting"
    refused = await admin.run("jobs", "retry", first)
    assert refused.exit_code == 1
    assert "only a failed one" in refused.stderr
    assert "is discarded" in await admin.done("jobs", "discard", second, "--yes")
    assert (await admin.run("jobs", "show", second)).exit_code == 1
    outcomes = await admin.json("jobs", "runs", "--outcome", "failed", "--job", first)
    assert [run["job_id"] for run in outcomes["items"]] == [first]


async def test_the_schedule_is_shown_and_a_job_is_asked_for_now(admin: CommandLine, instance: Instance) -> None:
    await _dead_letter(instance)
    async with instance.database.write() as tx:
        await schedule.keep(tx, {"tests.daily": timedelta(days=1)}, lambda: utc_now() - timedelta(hours=2))
    said = await admin.run("jobs", "schedule")
    assert "tests.daily" in said.stdout
    assert "overdue for 2 h" in said.stdout
    assert "1 dead letter waits" in said.stderr
    assert "is due" in await admin.done("jobs", "run", "tests.daily")
    assert "overdue" not in await admin.done("jobs", "schedule")
    assert (await admin.json("jobs", "schedule"))["failed_jobs"] == 1
    unknown = await admin.run("jobs", "run", "tests.nobody")
    assert (unknown.exit_code, "no periodic job" in unknown.stderr) == (1, True)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.024, "0.02 s"), (61, "1 min 1 s"), (3600, "1 h"), (30 * 86_400, "30 d"), (93_784, "1 d 2 h"), (12.4, "12 s")],
)
def test_durations_are_short(seconds: float, said: str) -> None:
    assert duration(seconds) == said

"""The metric of the last proven restore, and the job that keeps it young."""

from datetime import timedelta

import msgspec
import pytest

from holdfast.core.clock import utc_now
from holdfast.core.errors import HoldfastError
from holdfast.db import jobs, runs
from holdfast.db.statistics.gauges import DATABASE_NUMBERS, DRILL_RUN
from holdfast.operations.backup.creating import create_backup
from holdfast.operations.drill import job, service
from tests.db.rows import fetch
from tests.factories import make_user
from tests.instance import Instance
from tests.operations.drill.conftest import newest_in

_METRIC = "holdfast_days_since_proven_restore"


async def _days(instance: Instance) -> float:
    DATABASE_NUMBERS.read_at.clear()
    text = (await instance.client().get(f"{instance.base_url}/metrics")).text
    (line,) = [each for each in text.splitlines() if each.startswith(_METRIC)]
    return float(line.rpartition(" ")[2])


async def test_the_metric_counts_the_days_since_a_drill_without_doubt(instance: Instance) -> None:
    assert await _days(instance) == -1
    now = utc_now()
    async with instance.database.write() as tx:
        await runs.record(tx, DRILL_RUN, now, "failed", failure="a doubt")
    assert await _days(instance) == -1
    async with instance.database.write() as tx:
        three_days_ago = now - timedelta(days=3)
        await runs.record(tx, DRILL_RUN, three_days_ago, "done", clock=lambda: three_days_ago)
    assert await _days(instance) == pytest.approx(3, abs=0.1)


async def test_the_job_waits_for_a_first_backup(instance: Instance) -> None:
    with pytest.raises(jobs.PutOffError, match="there is no backup in"):
        await job.run(instance.database, instance.settings, utc_now)
    assert await fetch(instance.database, "SELECT count(*) FROM runs") == [(0,)]


@pytest.mark.slow
async def test_the_job_proves_the_newest_backup_and_fails_with_its_doubts(
    instance: Instance, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = msgspec.structs.replace(instance.settings, data_dir=tmp_path_factory.mktemp("data"))
    await make_user(instance.database, "admin")
    await create_backup(instance.database, settings)
    done = await job.run(instance.database, settings, utc_now)
    assert done.detail["passed"], done.detail
    (newest_in(settings) / "manifest.json").write_bytes(b"{}")
    with pytest.raises(service.DrillFailedError, match=r"backup: manifest\.json of backup .* cannot be read") as failed:
        await job.run(instance.database, settings, utc_now)
    assert isinstance(failed.value, HoldfastError)
    # The worker writes the runs of jobs; the entries of the audit log are the drill's own.
    entries = await fetch(
        instance.database, "SELECT description FROM audit_logs WHERE resource_type = 'drill' ORDER BY id"
    )
    assert entries == [("the drill passed",), ("the drill raised doubts",)]
    assert await fetch(instance.database, f"SELECT count(*) FROM runs WHERE name = '{DRILL_RUN}'") == [(0,)]

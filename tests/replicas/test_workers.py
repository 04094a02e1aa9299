"""Two workers on one database: each job runs once, and those of a worker that dies are done by the other."""

import pytest
from sqlalchemy import text

from tests.db.live import other_connection
from tests.replicas.cluster import Cluster, answered, until
from tests.replicas.releases import this_release

pytestmark = pytest.mark.slow


async def test_each_job_runs_once_whichever_worker_takes_it(cluster: Cluster) -> None:
    async with cluster.clients() as clients:
        asked = []
        for number in range(24):
            answer = await clients[number % 2].post("/admin/cleanup/soft-deleted", json={"days": 30})
            asked.append(answered(answer, 202)["job_id"])

        async def all_done() -> bool:
            return set(_states(cluster, asked)) == {"done"}

        await until(all_done, what="every job is done")
    with other_connection(cluster.database_url) as connection:
        runs = connection.execute(text("SELECT job_id, outcome FROM runs WHERE job_id IS NOT NULL")).all()
    of_asked = sorted((job_id, outcome) for job_id, outcome in runs if job_id in asked)
    assert of_asked == sorted((job_id, "done") for job_id in asked)
    periodic = [name for name, state in _periodic(cluster) if state == "failed"]
    assert periodic == []


async def test_the_jobs_of_a_worker_that_is_killed_are_done_by_the_other(cluster: Cluster) -> None:
    killed = cluster.workers[0]
    async with cluster.clients() as clients:
        asked = []
        for number in range(12):
            answer = await clients[number % 2].post("/admin/cleanup/soft-deleted", json={"days": 30})
            asked.append(answered(answer, 202)["job_id"])
            if number == 6:
                killed.kill()

        async def all_done() -> bool:
            return set(_states(cluster, asked)) == {"done"}

        # One that the dead worker held is due again when its lease is over.
        await until(all_done, seconds=240, what="every job is done")
    cluster.workers[0] = cluster.processes.worker(this_release())


def _states(cluster: Cluster, job_ids: list[str]) -> list[str]:
    with other_connection(cluster.database_url) as connection:
        rows = connection.execute(text("SELECT id, state FROM jobs")).all()
    states = {job_id: state for job_id, state in rows if job_id in job_ids}
    # A job that is done may have been removed meanwhile.
    return [states.get(job_id, "done") for job_id in job_ids]


def _periodic(cluster: Cluster) -> list[tuple[str, str]]:
    with other_connection(cluster.database_url) as connection:
        return [(str(name), str(state)) for name, state in connection.execute(text("SELECT name, state FROM jobs"))]

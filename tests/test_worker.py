"""`holdfast worker` as a process: what it refuses, what it waits for, its probes, and its end."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.conftest import NewDatabase
from tests.db.live import other_connection
from tests.test_serve import HOLDFAST, environment, run

_PATIENCE_SECONDS = 60
_ADDRESS = re.compile(r"at (http://\S+)/metrics")


class Worker:
    """A running `holdfast worker` and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.process = process
        self._output = output

    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The JSON lines of an event."""
        found = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def wait_until(self, is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not is_so():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def stop(self) -> int:
        """Ask it to end; its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=_PATIENCE_SECONDS)


@contextmanager
def working(folder: Path, *options: str, **settings: str) -> Iterator[Worker]:
    output = folder / "worker-output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [HOLDFAST, "worker", *options],
            env=environment(data_dir=str(folder), **settings),
            stdout=file,
            stderr=file,
        )
    try:
        yield Worker(process, output)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.slow
def test_a_worker_refuses_a_database_that_is_not_what_it_needs(
    engine: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    url = new_database(engine)
    refused = run("worker", database_url=url, data_dir=str(tmp_path))
    assert refused.returncode != 0
    assert "holdfast migrate" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert run("migrate", database_url=url).returncode == 0
    with other_connection(url) as connection:
        connection.execute(text("DROP TABLE runs"))
    drifted = run("worker", database_url=url, data_dir=str(tmp_path))
    assert drifted.returncode != 0
    assert "runs" in drifted.stderr


def test_a_worker_answers_probes_tells_the_schedule_and_ends_in_order(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/holdfast.db"
    assert run("migrate", database_url=url).returncode == 0
    with working(tmp_path, "--metrics-port", "0", database_url=url) as worker:
        worker.wait_until(lambda: len(worker.lines("job_done")) >= 5)
        found = _ADDRESS.search(worker.output())
        assert found is not None
        assert httpx.get(f"{found[1]}/healthz").json()["status"] == "ok"
        assert httpx.get(f"{found[1]}/readyz").json() == {"status": "ok", "database": "sqlite"}
        metrics = httpx.get(f"{found[1]}/metrics").text
        assert 'holdfast_job_interval_seconds{job="retention.cleanup_audit_logs"} 86400.0' in metrics
        assert httpx.get(f"{found[1]}/api/v1/jobs").status_code == 404
        assert worker.stop() == 0
        assert worker.lines("worker_ended")


def test_a_worker_waits_for_a_database_that_is_away_and_can_be_ended_meanwhile(tmp_path: Path) -> None:
    address = "postgresql://nobody:hunter2@127.0.0.1:1/none"
    with working(tmp_path, "--metrics-port", "0", database_url=address) as worker:
        worker.wait_until(lambda: len(worker.lines("worker_waits")) >= 2)
        found = _ADDRESS.search(worker.output())
        assert found is not None
        assert httpx.get(f"{found[1]}/healthz").status_code == 200
        assert httpx.get(f"{found[1]}/readyz", timeout=30).status_code == 503
        assert worker.stop() == 0
        assert "hunter2" not in worker.output()
        assert "Traceback" not in worker.output()


def test_an_address_that_is_not_ours_is_refused_with_a_sentence() -> None:
    refused = run("worker", "--metrics-port", "0", host="198.51.100.7")
    assert refused.returncode != 0
    assert "cannot listen on 198.51.100.7:0" in " ".join(refused.stderr.split())

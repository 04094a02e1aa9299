"""Real `holdfast serve` processes on one database, as an operator runs them behind a load balancer."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers.process import free_loopback_port

HOLDFAST = Path(sys.executable).parent / "holdfast"
PATIENCE_SECONDS = 120
FIRST_PASSWORD = "the first password"
PASSWORD = "the second password"
_SECRET = "a secret that all replicas of the tests share"


@dataclass(frozen=True)
class Replica:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]
    output: Path

    def log(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        text = httpx.get(f"{self.url}/metrics", timeout=30).text
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


def environment(**settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return inherited | {f"HOLDFAST_{name.upper()}": value for name, value in settings.items()}


def migrate(database_url: str) -> None:
    """Make the schema, as an operator does."""
    subprocess.run(
        [HOLDFAST, "migrate"], env=environment(database_url=database_url), check=True, timeout=PATIENCE_SECONDS
    )


@contextlib.contextmanager
def running_replicas(folder: Path, database_url: str, count: int = 2, **settings: str) -> Iterator[list[Replica]]:
    """So many servers on the database, ready for requests. The schema is there already."""
    replicas: list[Replica] = []
    try:
        for number in range(count):
            replicas.append(_start(folder, number, database_url, settings))
            # One after the other: the first makes the first user.
            _wait_until_ready(replicas[-1])
        yield replicas
    finally:
        for replica in replicas:
            replica.process.send_signal(signal.SIGTERM)
        for replica in replicas:
            try:
                replica.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                replica.process.kill()
                replica.process.wait()


def _start(folder: Path, number: int, database_url: str, settings: dict[str, str]) -> Replica:
    port = free_loopback_port()
    values = {
        "database_url": database_url,
        "port": str(port),
        "data_dir": str(folder),
        "secret": _SECRET,
        "admin_password": FIRST_PASSWORD,
        "access_log": "false",
        "worker_in_server": "false",
    } | settings
    output = folder / f"replica-{number}.log"
    with output.open("ab") as file:
        process = subprocess.Popen([HOLDFAST, "serve"], env=environment(**values), stdout=file, stderr=file)
    return Replica(f"http://127.0.0.1:{port}", process, output)


def _wait_until_ready(replica: Replica) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and replica.process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{replica.url}/readyz", timeout=10).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"the server is not ready:\n{replica.log()[-4000:]}")

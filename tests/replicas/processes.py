"""Servers and workers of a release as processes of their own, on one database."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.ha.replicas import FIRST_PASSWORD
from tests.replicas.releases import Release
from tests.servers.process import free_loopback_port

PATIENCE_SECONDS = 120
SECRET = "a secret that all replicas of the tests share"


@dataclass(frozen=True)
class Running:
    """A process of a release, and what it wrote."""

    process: subprocess.Popen[bytes]
    output: Path
    url: str = ""

    def log(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """Ask it to end; its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        self.process.wait(timeout=PATIENCE_SECONDS)

    def wait_until_ready(self) -> None:
        wait_until_ready(self.url, self)


def wait_until_ready(url: str, process: Running) -> None:
    """Until the address answers that its database does; the process is what answers there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and process.process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=10).status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"{url} is not ready:\n{process.log()[-4000:]}")


class Processes:
    """What a test starts; all of it ends with the block."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder = folder
        self._database_url = database_url
        self.started: list[Running] = []

    def settings(self, **changes: str) -> dict[str, str]:
        """What every process on the database has in common."""
        return {
            "database_url": self._database_url,
            "data_dir": str(self._folder),
            "secret": SECRET,
            "admin_password": FIRST_PASSWORD,
            "access_log": "false",
        } | changes

    def server(self, release: Release, **settings: str) -> Running:
        """A server that was asked to start."""
        values = self.settings(port=str(free_loopback_port())) | settings
        return self._start(release, "serve", values, url=f"http://127.0.0.1:{values['port']}")

    def ready_server(self, release: Release, **settings: str) -> Running:
        """A server that answers."""
        server = self.server(release, **settings)
        server.wait_until_ready()
        return server

    def worker(self, release: Release, **settings: str) -> Running:
        """A worker that was asked to start."""
        return self._start(release, "worker", self.settings(**settings))

    def end(self) -> None:
        for running in self.started:
            if running.process.poll() is None:
                running.process.send_signal(signal.SIGTERM)
        for running in self.started:
            try:
                running.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                running.kill()

    def _start(self, release: Release, command: str, settings: dict[str, str], url: str = "") -> Running:
        output = self._folder / f"{command}-{len(self.started)}.log"
        with output.open("ab") as file:
            process = subprocess.Popen(
                release.command(command), env=release.environment(**settings), stdout=file, stderr=file
            )
        self.started.append(Running(process, output, url))
        return self.started[-1]


@contextlib.contextmanager
def processes(folder: Path, database_url: str) -> Iterator[Processes]:
    """Processes that share a database and a folder."""
    started = Processes(folder, database_url)
    try:
        yield started
    finally:
        started.end()

"""Real `holdfast worker` processes in any number, forked from one that has imported everything.

`python -m tests.worker.flock` reads lines of JSON, each an environment; for each it forks a process that runs the
command line `holdfast worker` as it stands, and answers with its id. At its end it kills those that are left.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import holdfast.cli.main
import holdfast.cli.worker
import holdfast.db.server_connection
from holdfast.db.engines import load_engine
from tests.conftest import ENGINES
from tests.worker import effects

PATIENCE_SECONDS = 90


class Flock:
    """Starts workers, and knows their ids."""

    def __init__(self, process: "subprocess.Popen[str]", environment: dict[str, str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders, self._answers = process.stdin, process.stdout
        self._environment = environment
        self.output = Path(environment["HOLDFAST_TEST_OUTPUT"])
        self.killed = 0

    def start(self, **environment: str) -> int:
        """A further worker; its process id."""
        self._orders.write(json.dumps(self._environment | environment) + "\n")
        self._orders.flush()
        return int(self._answers.readline())

    def kill(self, worker: int) -> None:
        """As `kill -9` does; nothing of it is left."""
        os.kill(worker, signal.SIGKILL)
        self.killed += 1
        self.wait_for_end(worker)

    def wait_for_end(self, worker: int) -> None:
        """Return when it is gone."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.is_alive(worker):
            assert time.monotonic() < deadline, f"worker {worker} does not end:\n{self.output.read_text()[-4000:]}"
            time.sleep(0.005)

    def is_alive(self, worker: int) -> bool:
        """Whether the process is there."""
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return False
        return True

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The lines that the workers wrote of an event to their log."""
        found = []
        for line in self.output.read_text(encoding="utf-8").splitlines():
            # One that is killed may leave half a line.
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line) if line.startswith("{") else {})
        return [line for line in found if line.get("event") == event]


@contextmanager
def flock(folder: Path, database_url: str, **settings: str) -> Iterator[Flock]:
    """Workers on a database, which end with the block."""
    environment = {
        "HOLDFAST_DATABASE_URL": database_url,
        "HOLDFAST_DATA_DIR": str(folder),
        "HOLDFAST_WORKER_LEASE_SECONDS": "1",
        "HOLDFAST_TEST_OUTPUT": str(folder / "workers.log"),
        "HOLDFAST_TEST_FOLDER": str(folder),
    } | settings
    (folder / "workers.log").touch()
    words = [sys.executable, "-m", "tests.worker.flock"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Flock(process, environment)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


def run(environment: dict[str, str]) -> NoReturn:
    """Run the command line in this process, to its end."""
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        del os.environ[name]
    os.environ.update(environment)
    sys.argv = ["holdfast", "worker"]
    output = os.open(environment["HOLDFAST_TEST_OUTPUT"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, standard in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, standard)
    effects.register(Path(environment["HOLDFAST_TEST_FOLDER"]))
    holdfast.cli.main.main()
    raise SystemExit


def main() -> None:
    """Answer orders until there are no more."""
    for engine in ENGINES:
        load_engine(engine)
    gc.collect()
    gc.freeze()
    # Nobody waits for them: the system takes them away.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    workers = []
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run(json.loads(line))
        workers.append(child)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


if __name__ == "__main__":
    main()

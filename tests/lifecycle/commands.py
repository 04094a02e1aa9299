"""The product's commands as processes that a test starts, speaks to and kills."""

import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.lifecycle.dying_commands import CommandOrder
from tests.lifecycle.killing import Death

PATIENCE_SECONDS = 60
# Nothing here speaks TLS, and a context for each client would cost more than all its requests.
_TLS = httpx.create_ssl_context()


class Commands:
    """Runs one command at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", folder: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders, self._deaths = process.stdin, process.stdout
        self._death: Death | None = None
        self.output = folder / f"output-of-{process.pid}"

    def start(self, *words: str, environment: dict[str, str], **dying: Any) -> None:
        """Start a command; `dying` says at which of which moments it dies (`CommandOrder`)."""
        self._death = None
        self.output.write_bytes(b"")
        self._send(msgspec.json.encode(CommandOrder(list(words), environment, str(self.output), **dying)))

    def is_alive(self) -> bool:
        """Whether the command still runs."""
        return self._death is None and not select.select([self._deaths], [], [], 0)[0]

    def wait(self) -> Death:
        """How the command ended, which it does by itself."""
        if self._death is None:
            assert select.select([self._deaths], [], [], PATIENCE_SECONDS)[0], "the command does not end"
            self._death = msgspec.json.decode(self._deaths.readline(), type=Death)
        return self._death

    def kill(self) -> Death:
        """How the command ended, by SIGKILL if it had not."""
        if self.is_alive():
            self._send(b"")
        return self.wait()

    def _send(self, line: bytes) -> None:
        self._orders.write(line + b"\n")
        self._orders.flush()


@contextmanager
def preloaded(folder: Path) -> Iterator[Commands]:
    """The process that starts commands; what still runs at the end of the block ends with it."""
    words = [sys.executable, "-m", "tests.lifecycle.dying_commands"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield Commands(process, folder)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0


class Caller:
    """Who speaks HTTP to a server that may die of it."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self.client = httpx.Client(base_url=f"{url}/api/v1", timeout=PATIENCE_SECONDS, verify=_TLS)
        self.sign_in(token)

    def sign_in(self, token: str) -> None:
        """Speak as whoever has this token."""
        self.client.headers["Authorization"] = f"Bearer {token}"

    def wait_until_ready(self, commands: Commands) -> None:
        """Return once the server says that it serves."""
        address = ("127.0.0.1", int(self._url.rpartition(":")[2]))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and commands.is_alive():
            with socket.socket() as connection:
                # It listens before it serves, and then answers what waits.
                if connection.connect_ex(address) == 0:
                    self.client.get(f"{self._url}/readyz").raise_for_status()
                    return
            time.sleep(0.005)
        raise AssertionError(f"the server is not ready:\n{commands.output.read_text()}")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """The answer; None where the server died before it."""
        try:
            return self.client.request(method, path, **options)
        except httpx.TransportError:
            return None

    def done(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The content of an answer that must have this status."""
        answer = self.client.request(method, path, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    def status(self, path: str) -> int:
        """The status of a GET."""
        return self.client.get(path).status_code

    def wait_for(self, path: str, is_so: Callable[[Any], bool]) -> Any:
        """The content of a GET, once it is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_so(found := self.done("GET", path)):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found


@contextmanager
def serving(commands: Commands, environment: dict[str, str], token: str, **dying: Any) -> Iterator[Caller]:
    """A server until the end of the block, which kills it if it still lives."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    commands.start("serve", environment=environment | {"HOLDFAST_PORT": str(port)}, **dying)
    caller = Caller(f"http://127.0.0.1:{port}", token)
    try:
        caller.wait_until_ready(commands)
        yield caller
    finally:
        caller.client.close()
        commands.kill()


def environment_of(database_url: str, data_dir: Path) -> dict[str, str]:
    """The settings of a command."""
    return {
        "HOLDFAST_DATABASE_URL": database_url,
        "HOLDFAST_DATA_DIR": str(data_dir),
        "HOLDFAST_LOG_LEVEL": "warning",
    }

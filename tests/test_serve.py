"""`holdfast serve` as a process: first start, refusals, logs, signals (conformance V-04, V-05, S-12)."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import NewDatabase

HOLDFAST = Path(sys.executable).parent / "holdfast"
_PASSWORD = re.compile(r"password +(\S+)")
_PATIENCE_SECONDS = 60


class Server:
    """A running `holdfast serve` and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, url: str) -> None:
        self.process = process
        self.url = url
        self._output = output

    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The JSON lines of an event."""
        found = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def stop(self) -> int:
        """Ask it to end; its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=_PATIENCE_SECONDS)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"the server is not ready:\n{self.output()}")


def environment(**settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return inherited | {f"HOLDFAST_{name.upper()}": value for name, value in settings.items()}


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a server command to its end."""
    return subprocess.run(
        [HOLDFAST, *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    output = folder / f"output-{port}"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [HOLDFAST, "serve"],
            env=environment(port=str(port), data_dir=str(folder), **settings),
            stdout=file,
            stderr=file,
        )
    server = Server(process, output, f"http://127.0.0.1:{port}")
    try:
        server.wait_until_ready()
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def sign_in(server: Server, password: str) -> httpx.Response:
    return httpx.post(f"{server.url}/api/v1/sessions", json={"username": "admin", "password": password})


@pytest.mark.conformance("V-04", "V-05")
def test_the_first_start_prints_a_password_once_that_must_be_changed(
    engine: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    url = new_database(engine)
    if engine != "sqlite":
        refused = run("serve", database_url=url, data_dir=str(tmp_path))
        assert refused.returncode != 0
        assert "holdfast migrate" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert run("migrate", database_url=url).returncode == 0
    with serving(tmp_path, database_url=url) as server:
        found = _PASSWORD.search(server.output())
        assert found is not None
        password = found[1]
        session = sign_in(server, password).json()
        headers = {"Authorization": f"Bearer {session['token']}"}
        refused_work = httpx.get(f"{server.url}/api/v1/groups", headers=headers)
        assert (refused_work.status_code, refused_work.json()["code"]) == (403, "password_change_required")
        changed = httpx.put(
            f"{server.url}/api/v1/users/{session['user']['u_id']}/password",
            json={"old_password": password, "new_password": "a better password"},
            headers=headers,
        )
        assert changed.status_code == 204, changed.text
        assert server.stop() == 0
    with serving(tmp_path, database_url=url) as server:
        assert _PASSWORD.search(server.output()) is None
        assert sign_in(server, password).status_code == 401
        assert sign_in(server, "a better password").status_code == 201


def test_a_given_first_password_is_not_printed(tmp_path: Path) -> None:
    with serving(tmp_path, admin_password="given by the operator") as server:
        assert "given by the operator" not in server.output()
        answer = sign_in(server, "given by the operator")
        assert "server" not in answer.headers
        assert answer.status_code == 201
        assert answer.json()["user"]["must_change_password"] is True


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mode": "production"}, "HOLDFAST_SECRET"),
        ({"port": "eighty"}, "HOLDFAST_"),
        ({"database_url": "postgresql://nobody:hunter2@127.0.0.1:1/none"}, "cannot be reached"),
        ({"database_url": "mariadb://nobody:hunter2@127.0.0.1:1/none"}, "cannot be reached"),
        ({"no_such_setting": "1"}, "HOLDFAST_NO_SUCH_SETTING"),
    ],
)
def test_a_start_that_cannot_be_is_refused_in_one_sentence(tmp_path: Path, settings: dict[str, str], says: str) -> None:
    refused = run("serve", **{"data_dir": str(tmp_path), "port": "0"} | settings)
    assert refused.returncode != 0
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "hunter2" not in refused.stderr + refused.stdout


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused = run("serve", data_dir=str(tmp_path), port=str(taken.getsockname()[1]))
    assert refused.returncode != 0
    assert "HOLDFAST_PORT" in refused.stderr


@pytest.mark.conformance("S-12")
def test_slow_statements_and_requests_are_logged_without_their_values(tmp_path: Path) -> None:
    with serving(tmp_path, admin_password="first password", slow_statement_seconds="0") as server:
        answer = sign_in(server, "first password")
        token = answer.json()["token"]
        httpx.get(f"{server.url}/api/v1/me?q=secret-word", headers={"Authorization": f"Bearer {token}"})
        assert server.stop() == 0
        slow = server.lines("slow_statement")
        assert {"accounts.find_session"} <= {line["statement"] for line in slow}
        assert all(line["milliseconds"] >= 0 and line["rows"] >= 0 for line in slow)
        requests = server.lines("request")
        assert {"/api/v1/sessions", "/api/v1/me"} <= {line["path"] for line in requests}
        assert answer.headers["x-request-id"] in {line["request_id"] for line in requests}
        for secret in ("first password", token, token.removeprefix("hf_"), "secret-word"):
            assert secret not in server.output()


def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    body = json.dumps({"username": "admin", "password": "first password"}).encode()
    head = (
        "POST /api/v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with serving(tmp_path, admin_password="first password") as server:
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with socket.create_connection(address, timeout=_PATIENCE_SECONDS) as connection:
            connection.sendall(head.encode() + body[:10])
            wait_for(lambda: _requests_under_way(server) >= 2)
            server.process.send_signal(signal.SIGTERM)
            wait_for(lambda: not _accepts(address))
            connection.sendall(body[10:])
            answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 201")
        assert server.process.wait(timeout=_PATIENCE_SECONDS) == 0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _requests_under_way(server: Server) -> float:
    """How many, with the scrape itself."""
    metrics = httpx.get(f"{server.url}/metrics").text
    found = re.search(r"^holdfast_requests_under_way (\S+)", metrics, re.MULTILINE)
    assert found is not None
    return float(found[1])


def _accepts(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True

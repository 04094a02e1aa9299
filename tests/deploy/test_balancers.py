"""nginx and haproxy before two servers, as the examples configure them: one may end or be killed at any time."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import NewDatabase
from tests.ha.load import Load
from tests.ha.replicas import PASSWORD
from tests.replicas.processes import Processes, Running, processes
from tests.replicas.releases import this_release
from tests.servers.process import free_loopback_port

_EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
_BALANCERS = ("nginx", "haproxy")
_PATIENCE_SECONDS = 60
# nginx asks a server that refused again after 5 s, haproxy after two good answers.
_LEFT_OUT_SECONDS = 6
_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 2;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/holdfast.conf;
}}
"""


class Balancer:
    """A balancer's program with the configuration of the example, set to ports and a certificate of the test."""

    def __init__(self, name: str, folder: Path, servers: list[str]) -> None:
        self.name = name
        self.folder = folder
        self.plain_port, self.tls_port = free_loopback_port(), free_loopback_port()
        self.url = f"https://127.0.0.1:{self.tls_port}"
        self.certificate = folder / "certificate.pem"
        self._program = _program(name)
        _make_certificate(folder)
        if name == "nginx":
            (folder / "holdfast.conf").write_text(self._adapted("nginx.conf", servers), encoding="utf-8")
            user = "user root;" if os.geteuid() == 0 else ""
            self._configuration = folder / "main.conf"
            self._configuration.write_text(_NGINX.format(folder=folder, user=user), encoding="utf-8")
        else:
            self._configuration = folder / "haproxy.cfg"
            self._configuration.write_text(self._adapted("haproxy.cfg", servers), encoding="utf-8")

    def check(self) -> subprocess.CompletedProcess[str]:
        """What the program itself says of its configuration."""
        words = ["-t", "-c"] if self.name == "nginx" else ["-c", "-f"]
        return subprocess.run(
            [self._program, *words, self._configuration], capture_output=True, text=True, timeout=60, check=False
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        words = ["-c"] if self.name == "nginx" else ["-db", "-f"]
        with (self.folder / "output").open("ab") as output:
            process = subprocess.Popen(
                [self._program, *words, self._configuration], stdout=output, stderr=output, start_new_session=True
            )
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not self._passes_requests_on():
                assert process.poll() is None, (self.folder / "output").read_text()
                assert time.monotonic() < deadline, (self.folder / "output").read_text()
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(timeout=_PATIENCE_SECONDS)

    def _passes_requests_on(self) -> bool:
        try:
            return httpx.get(f"{self.url}/api/v1/me", timeout=10).status_code == 401
        except httpx.TransportError:
            return False

    def _adapted(self, example: str, servers: list[str]) -> str:
        text = (_EXAMPLES / example).read_text(encoding="utf-8")
        changes = {
            r"\b192\.0\.2\.21:8080": servers[0],
            r"\b192\.0\.2\.22:8080": servers[1],
            r"listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            r"listen 443 ssl;": f"listen 127.0.0.1:{self.tls_port} ssl;",
            r"bind :80\b": f"bind 127.0.0.1:{self.plain_port}",
            r"bind :443 ": f"bind 127.0.0.1:{self.tls_port} ",
            r"/etc/ssl/certs/holdfast.pem": str(self.certificate),
            r"/etc/ssl/private/holdfast.key": str(self.folder / "key.pem"),
            r"/etc/haproxy/holdfast.pem": str(self.folder / "both.pem"),
        }
        made = 0
        for old, new in changes.items():
            text, count = re.subn(old, new, text)
            made += count
        assert made >= 5, f"{example} has not what the test puts others in place of"
        return text


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        missing = f"NOT TESTED: {name} is missing: scripts/install-deployment-tools installs it"
        if os.environ.get("HOLDFAST_REQUIRE_ENGINES") == "1":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    return found


def _make_certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=holdfast.example.org", "-addext", "subjectAltName=DNS:holdfast.example.org,IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        capture_output=True,
        check=True,
    )  # fmt: skip
    both = (folder / "certificate.pem").read_text() + (folder / "key.pem").read_text()
    (folder / "both.pem").write_text(both)


@pytest.mark.parametrize("name", _BALANCERS)
def test_the_program_accepts_the_example(name: str, tmp_path: Path) -> None:
    balancer = Balancer(name, tmp_path, ["127.0.0.1:1", "127.0.0.1:2"])
    checked = balancer.check()
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "[WARNING]" not in checked.stdout + checked.stderr


def _start_server(started: Processes, port: int | None = None) -> Running:
    settings = {"trusted_proxies": "127.0.0.1", "worker_in_server": "false"}
    return started.ready_server(this_release(), **settings | ({} if port is None else {"port": str(port)}))


@pytest.mark.slow
@pytest.mark.parametrize("name", _BALANCERS)
async def test_callers_go_on_while_one_server_ends_and_another_is_killed(
    name: str, new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database("postgresql")
    assert this_release().run("migrate", database_url=url).returncode == 0
    with processes(tmp_path, url) as started:
        first, second = _start_server(started), _start_server(started)
        addresses = [server.url.removeprefix("http://") for server in (first, second)]
        balancer = Balancer(name, tmp_path, addresses)
        monkeypatch.setenv("SSL_CERT_FILE", str(balancer.certificate))
        with balancer.running():
            async with Load([balancer.url], callers=8) as load:
                await load.until_acknowledged(60)
                # In order, as at an update: nobody may notice.
                assert first.stop() == 0
                await load.until_acknowledged(60)
                assert load.figures.unexpected_answers == [], first.log() + second.log()
                # In its place comes the next version, on the same address.
                _start_server(started, int(addresses[0].rpartition(":")[2]))
                # Until then a balancer may still leave it out, and there is nobody once the other is killed.
                await asyncio.sleep(_LEFT_OUT_SECONDS)
                await load.until_acknowledged(60)
                assert load.figures.unexpected_answers == [], second.log()
                # And without any order.
                killed = load.now()
                second.kill()
                await load.until_all_write(killed)
            figures = await load.verify()
            # What was under way at the killed one has no answer: at most one request of each caller, once. The others
            # were passed on, and what a caller sent again under its key was done once.
            broken = figures.unexpected_answers
            assert all(re.search(r": 502 |Server disconnected without sending", answer) for answer in broken), broken
            assert len(broken) <= 8
            assert (figures.lost, figures.doubled, figures.wrong_reads, figures.unavailable) == ([], [], [], 0), figures
            assert figures.acknowledged > 100
            await _addresses_are_those_of_the_clients(balancer)


async def _addresses_are_those_of_the_clients(balancer: Balancer) -> None:
    """A client's own word of its address is not believed; what is for the inner network is not passed on."""
    here = httpx.AsyncHTTPTransport(local_address="127.0.0.5", verify=True)
    async with httpx.AsyncClient(base_url=balancer.url, transport=here, timeout=60) as client:
        claimed = {"X-Forwarded-For": "203.0.113.9"}
        signed_in = await client.post(
            "/api/v1/sessions", json={"username": "admin", "password": PASSWORD}, headers=claimed
        )
        assert signed_in.status_code == 201, signed_in.text
        client.headers["Authorization"] = f"Bearer {signed_in.json()['token']}"
        entries = await client.get("/api/v1/audit-logs", params={"action": "login", "limit": "1"})
        assert [entry["ip_address"] for entry in entries.json()["items"]] == ["127.0.0.5"], entries.text
        for path in ("/metrics", "/readyz", "/healthz"):
            assert (await client.get(path)).status_code == 404
        plain = await client.get(f"http://127.0.0.1:{balancer.plain_port}/api/v1/me")
        assert plain.status_code == 308
        assert plain.headers["Location"].startswith("https://")

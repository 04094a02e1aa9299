"""Three PostgreSQL servers under Patroni with synchronous replication, which agree through a real etcd.

On a machine that allows it each server is a host of its own (`network.py`), else they share the loopback.
"""

import contextlib
import importlib.metadata
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import yaml

from tests.ha.network import Network, NetworkMissingError
from tests.ha.python_copy import copy_distributions, copy_interpreter
from tests.servers.postgresql import copy_installation, find_binaries, reachable_by_others
from tests.servers.process import (
    Account,
    EngineMissingError,
    announce,
    child_handles,
    end_watchdog,
    free_loopback_port,
    process_handle,
    signal_process,
    start_watchdog,
)

PATIENCE_SECONDS = 120
# Patroni takes nothing below: a leader that vanished is missed for so long.
TTL_SECONDS = 20
_USER = "holdfast"


@dataclass
class Node:
    """One server: its Patroni and the PostgreSQL that this looks after."""

    number: int
    host: str
    port: int
    api_port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"pg{self.number + 1}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def api(self) -> str:
        return f"http://{self.host}:{self.api_port}"

    def answers(self, path: str) -> bool:
        """Whether its Patroni says yes to `/primary`, `/replica` or `/sync`."""
        try:
            return httpx.get(self.api + path, timeout=2).status_code == 200
        except httpx.TransportError:
            return False


class PatroniCluster:
    """The cluster. `network` is None where the servers share the loopback, and then no host can be cut off."""

    def __init__(self, count: int = 3) -> None:
        if shutil.which("etcd") is None:
            raise EngineMissingError(
                "etcd is missing: scripts/install-etcd installs it, or install etcd-server yourself."
            )
        binaries = find_binaries()
        self.account = Account.unprivileged("nobody")
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-patroni-", dir="/tmp"))
        self._watchdog = start_watchdog(self.folder, signal.SIGTERM)
        self.network: Network | None = None
        self.network_missing = ""
        try:
            self.network = Network(count)
        except NetworkMissingError as error:
            self.network_missing = str(error)
        if self.account.user is not None:
            if not reachable_by_others(binaries):
                binaries = copy_installation(binaries, self.folder / "postgresql")
            shutil.chown(self.folder, self.account.user, self.account.group)
        self._binaries = binaries
        self._python = self._find_python()
        self._etcd_host = "127.0.0.1" if self.network is None else self.network.address_here
        self._etcd_port = free_loopback_port()
        self._etcd: subprocess.Popen[bytes] | None = None
        self.nodes = [self._make_node(number) for number in range(count)]

    def start(self) -> None:
        """Start everything; return when one is the primary and another holds all that it acknowledges."""
        self._start_etcd()
        for node in self.nodes:
            self.start_node(node)
            if node.number == 0:
                self.wait_for_primary()
        self.wait_until_whole()

    def create_database(self, name: str) -> str:
        """Make an empty database; its address with all hosts."""
        primary = self.wait_for_primary()
        with self._connect(primary) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        hosts = ",".join(f"{node.host}:{node.port}" for node in self.nodes)
        return f"postgresql://{_USER}@{hosts}/{name}?target_session_attrs=primary"

    def find_primary(self) -> Node | None:
        return next((node for node in self.nodes if node.answers("/primary")), None)

    def wait_for_primary(self, *, other_than: Node | None = None) -> Node:
        """The primary once there is one that is not the node named."""
        found: list[Node] = []

        def look() -> bool:
            found[:] = [node for node in self.nodes if node is not other_than and node.answers("/primary")]
            return bool(found)

        self._wait(look, "a primary")
        return found[0]

    def wait_until_whole(self) -> None:
        """Wait until one is the primary, all others follow it, and one of those is its synchronous standby."""
        self._wait(self._is_whole, "a whole cluster")

    def start_node(self, node: Node) -> None:
        node.process = self._spawn(
            [*self._python, "-m", "patroni", str(node.folder / "patroni.yml")], node.folder / "patroni.log", node
        )

    def kill(self, node: Node) -> None:
        """The machine is gone: Patroni and every process of PostgreSQL die by SIGKILL."""
        if node.process is not None:
            self._end(node.process)
            node.process = None
        pid = self._postmaster(node)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError), process_handle(pid) as postmaster, child_handles(pid) as children:
            # A stopped parent starts no new children while the present ones are killed.
            signal_process(postmaster, signal.SIGSTOP)
            for child in children:
                signal_process(child, signal.SIGKILL)
            signal_process(postmaster, signal.SIGKILL)
        self._wait(lambda: not Path(f"/proc/{pid}").exists(), "the end of the server")

    def switch_over(self, leader: Node) -> None:
        """Hand over to the synchronous standby, as an operator does before maintenance."""
        candidate = next(node for node in self.nodes if node is not leader and node.answers("/sync"))
        answer = httpx.post(
            f"{leader.api}/switchover", json={"leader": leader.name, "candidate": candidate.name}, timeout=60
        )
        assert answer.status_code == 200, answer.text

    def statement(self, node: Node, sql: str) -> list[tuple[Any, ...]]:
        with self._connect(node) as connection:
            return connection.execute(sql).fetchall()

    def logs(self) -> str:
        """The ends of the logs, for the message of a failure."""
        paths = [self.folder / "etcd.log", *(node.folder / "patroni.log" for node in self.nodes)]
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-3000:]}" for path in paths if path.exists())

    def close(self) -> None:
        try:
            for node in self.nodes:
                self._end(node.process)
                node.process = None
            for node in self.nodes:
                if (pid := self._postmaster(node)) is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGQUIT)
                    self._wait(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "the end of a server")  # type: ignore[misc]
            self._end(self._etcd)
        finally:
            if self.network is not None:
                self.network.close()
            end_watchdog(self._watchdog)
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _wanted(self) -> list[subprocess.Popen[bytes]]:
        """The processes that nobody ended on purpose."""
        return [process for process in (self._etcd, *(node.process for node in self.nodes)) if process is not None]

    def _make_node(self, number: int) -> Node:
        host = "127.0.0.1" if self.network is None else self.network.address_of(number)
        node = Node(number, host, free_loopback_port(), free_loopback_port(), self.folder / f"pg{number + 1}")
        node.folder.mkdir(mode=0o700)
        configuration = {
            "scope": "holdfast",
            "name": node.name,
            "restapi": {"listen": f"{host}:{node.api_port}", "connect_address": f"{host}:{node.api_port}"},
            "etcd3": {"hosts": [f"{self._etcd_host}:{self._etcd_port}"]},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_SECONDS,
                    "loop_wait": 1,
                    "retry_timeout": 3,
                    "synchronous_mode": True,
                    # A primary that dies is replaced, not waited for.
                    "primary_start_timeout": 0,
                    "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": _PARAMETERS},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, {"auth": "trust"}, "data-checksums", "no-sync"],
            },
            "postgresql": {
                "listen": f"{host}:{node.port}",
                "connect_address": f"{host}:{node.port}",
                "data_dir": str(node.data),
                "bin_dir": str(self._binaries),
                "pgpass": str(node.folder / "pgpass"),
                "authentication": {"superuser": {"username": _USER}, "replication": {"username": _USER}},
                "pg_hba": ["local all all trust", "host all all all trust", "host replication all all trust"],
                "parameters": {"unix_socket_directories": str(node.folder)},
            },
            "watchdog": {"mode": "off"},
        }
        path = node.folder / "patroni.yml"
        path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
        if self.account.user is not None:
            for each in (node.folder, path):
                shutil.chown(each, self.account.user, self.account.group)
        return node

    def _start_etcd(self) -> None:
        client = f"http://{self._etcd_host}:{self._etcd_port}"
        peer = f"http://127.0.0.1:{free_loopback_port()}"
        words = ["--data-dir", str(self.folder / "etcd"), "--listen-client-urls", client]
        words += ["--advertise-client-urls", client, "--listen-peer-urls", peer]
        words += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        self._etcd = self._spawn(["etcd", *words], self.folder / "etcd.log", None)

        def is_healthy() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"{client}/health", timeout=2).status_code == 200
            return False

        self._wait(is_healthy, "etcd")

    def _is_whole(self) -> bool:
        primary = self.find_primary()
        if primary is None:
            return False
        others = [node for node in self.nodes if node is not primary]
        if not (all(node.answers("/replica") for node in others) and any(node.answers("/sync") for node in others)):
            return False
        with contextlib.suppress(psycopg.OperationalError):
            rows = self.statement(primary, "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'")
            return len(rows) == len(others) and ("sync",) in rows
        return False

    def _connect(self, node: Node) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host=node.host, port=node.port, user=_USER, dbname="postgres", autocommit=True, connect_timeout=5
        )

    def _postmaster(self, node: Node) -> int | None:
        """The first process of the node's PostgreSQL, while it lives."""
        try:
            pid = int((node.data / "postmaster.pid").read_text().split()[0])
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except (OSError, IndexError, ValueError):
            return None
        # After a crash the file stays, and its number may come to mean another process.
        return pid if str(node.data) in command else None

    def _spawn(self, command: list[str], log_path: Path, node: Node | None) -> subprocess.Popen[bytes]:
        environment = {"PATH": os.defpath, "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        if (packages := self.folder / "packages").exists():
            environment["PYTHONPATH"] = str(packages)
        if (libraries := self.folder / "python" / "lib").exists():
            # The copied interpreter was built to look for its library where the original is.
            environment["LD_LIBRARY_PATH"] = str(libraries)
        account: dict[str, Any] = {}
        if self.network is not None and node is not None:
            entry = pwd.getpwnam(str(self.account.user))
            command = [*self.network.inside(node.number, entry.pw_uid, entry.pw_gid), *command]
        elif self.account.user is not None:
            account = {"user": self.account.user, "group": self.account.group, "extra_groups": ()}
        with log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environment,
                start_new_session=True,
                **account,
            )
        announce(self._watchdog, process.pid)
        return process

    def _find_python(self) -> list[str]:
        """An interpreter with Patroni that the servers' account can reach; both are copied where it cannot."""
        site = Path(str(importlib.metadata.distribution("patroni").locate_file("")))
        interpreter = Path(sys.executable).resolve()
        if self.account.user is None or (reachable_by_others(site) and reachable_by_others(interpreter.parent)):
            return [sys.executable]
        copy_distributions("patroni", self.folder / "packages")
        return [str(copy_interpreter(interpreter, self.folder / "python"))]

    @staticmethod
    def _end(process: subprocess.Popen[bytes] | None) -> None:
        if process is None:
            return
        process.kill()
        process.wait()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            ended = [process for process in self._wanted if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                what_ended = ", ".join(str(process.args) for process in ended)
                raise AssertionError(f"{what} did not come about; ended are: {what_ended}\n{self.logs()}")
            time.sleep(0.05)


_PARAMETERS = {
    "max_connections": 60,
    "max_wal_senders": 8,
    "shared_buffers": "32MB",
    # What is killed here is a process, never the machine: the system keeps what was written.
    "fsync": "off",
    "wal_receiver_timeout": "5s",
    "wal_sender_timeout": "5s",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


@contextlib.contextmanager
def patroni_cluster() -> Iterator[PatroniCluster]:
    """A running cluster for the length of the block. Raises EngineMissingError."""
    cluster = PatroniCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()

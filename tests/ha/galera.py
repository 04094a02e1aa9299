"""A real MariaDB Galera cluster: three servers with folders and loopback ports of their own, and what befalls them.

Needs `mariadbd`, the Galera library and rsync: `scripts/install-mariadb` installs them.
"""

import contextlib
import pwd
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql

from tests.ha.network import Network, network
from tests.servers.address import ServerAddress
from tests.servers.mariadb import CREATE_ACCOUNT, MariadbServer, find_program
from tests.servers.process import Account, EngineMissingError, ServerFailedError, free_loopback_port

LIBRARIES = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
JOIN_SECONDS = 120
RECOVERED = re.compile(r"Recovered position: ?(\S+:-?\d+)")
# Half of the usual times: a machine under load still beats them, and a lost node is left behind in two seconds.
GROUP_OPTIONS = {
    "evs.keepalive_period": "PT0.5S",
    "evs.inactive_check_period": "PT0.25S",
    "evs.suspect_timeout": "PT2S",
    "evs.inactive_timeout": "PT5S",
    "evs.install_timeout": "PT5S",
    "gcache.size": "64M",
    "pc.recovery": "true",
    "repl.causal_read_timeout": "PT10S",
}


class GaleraNode(MariadbServer):
    """One server of a cluster, which answers on a port of its own and speaks to the others on three more.

    With a network it runs on a host of that, else on the loopback.
    """

    def __init__(self, number: int, network: Network | None = None) -> None:
        self._library = find_library()
        find_program("rsync")
        super().__init__()
        self.number = number
        self.name = f"node-{number + 1}"
        self.node_host = "127.0.0.1" if network is None else network.address_of(number)
        self._enter: list[str] = []
        if network is not None:
            account = pwd.getpwnam(self.account.user or "root")
            self._enter = network.inside(number, account.pw_uid, account.pw_gid)
        self.group_port = free_loopback_port()
        self._ist_port = free_loopback_port()
        self._sst_port = free_loopback_port()
        self._group_address = "gcomm://"
        self._bootstraps = False
        self._position: str | None = None

    @property
    def group_member(self) -> str:
        """Where the other nodes find this one."""
        return f"{self.node_host}:{self.group_port}"

    def bootstrap(self) -> None:
        """Start as the first of a new cluster."""
        self._group_address, self._bootstraps, self._position = "gcomm://", True, None
        self.start()
        self.run(*(line for line in CREATE_ACCOUNT.replace("127.0.0.1", "%").split(";") if line.strip()))

    def join(self, members: list[str], *, wait: bool = True) -> None:
        """Start as one of the cluster, with what it has missed sent to it."""
        self._group_address, self._bootstraps = "gcomm://" + ",".join(members), False
        self._position = self._recovered_position()
        if wait:
            self.start()
        else:
            self._process = self._spawn(self._start_command(self.address))

    def freeze(self) -> None:
        """Stop its processor time, as a machine that hangs."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def status(self, name: str) -> str:
        """A value of SHOW GLOBAL STATUS, asked through the private socket; "" where the server does not answer."""
        try:
            rows = self.ask(f"SHOW GLOBAL STATUS LIKE '{name}'")
        except (OSError, pymysql.err.MySQLError):
            return ""
        return str(rows[0][1]) if rows else ""

    @property
    def is_ready(self) -> bool:
        """Whether it takes part in the cluster and has all that was written."""
        return self.status("wsrep_ready") == "ON" and self.status("wsrep_local_state_comment") == "Synced"

    def run(self, *statements: str) -> None:
        """Run statements as root through the private socket."""
        for statement in statements:
            self.ask(statement)

    def ask(self, statement: str) -> tuple[tuple[Any, ...], ...]:
        """The rows of a statement of root through the private socket."""
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(10)
            connected.connect(self._socket)
            connection = pymysql.connect(user="root", read_timeout=10, autocommit=True, defer_connect=True)
            connection.connect(connected)
            with contextlib.closing(connection), connection.cursor() as cursor:
                cursor.execute(statement)
                return tuple(cursor.fetchall())

    def make_empty_folder(self) -> None:
        """What a node that is sent a copy needs."""
        data = self.folder / "data"
        self._run(["/bin/mkdir", "-p", str(data)])

    def _address_at(self, port: int) -> ServerAddress:
        address = super()._address_at(port)
        return type(address)(port=port, host=self.node_host)

    def _start_command(self, address: ServerAddress) -> list[str]:
        plain = [part for part in super()._start_command(address) if not part.startswith("--init-file")]
        options = GROUP_OPTIONS | {
            "gmcast.listen_addr": f"tcp://{self.node_host}:{self.group_port}",
            "ist.recv_addr": f"{self.node_host}:{self._ist_port}",
        }
        command = [
            *plain,
            "--wsrep-on=ON",
            f"--wsrep-provider={self._library}",
            f"--wsrep-provider-options={';'.join(f'{key}={value}' for key, value in options.items())}",
            "--wsrep-cluster-name=holdfast-tests",
            f"--wsrep-cluster-address={self._group_address}",
            f"--wsrep-node-name={self.name}",
            f"--wsrep-node-address={self.group_member}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address={self.node_host}:{self._sst_port}",
            "--wsrep-slave-threads=2",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--innodb-buffer-pool-size=64M",
            "--performance-schema=OFF",
        ]
        if self._bootstraps:
            command.append("--wsrep-new-cluster")
        if self._position is not None:
            command.append(f"--wsrep-start-position={self._position}")
        return command

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        if not self._enter:
            return super()._spawn(command)
        # Only root enters a network; the words before the command change to the account of the server then.
        account, self.account = self.account, Account()
        try:
            return super()._spawn([*self._enter, *command])
        finally:
            self.account = account

    def _answers(self, address: ServerAddress) -> bool:
        return self.is_ready

    def _recovered_position(self) -> str | None:
        """How far the data of a crashed node go, so that it is sent the rest and not a whole copy."""
        if not (self.folder / "data" / "grastate.dat").exists():
            return None
        before = self.log_file.stat().st_size
        self._position = None
        self._run([*self._start_command(self.address), "--wsrep-recover"])
        found = RECOVERED.findall(self._log_since(before))
        return found[-1] if found else None


class GaleraCluster:
    """Three nodes; `network` is what they are on, where it can be cut."""

    def __init__(self, nodes: list[GaleraNode], network: Network | None = None) -> None:
        self.nodes = nodes
        self.network = network

    def start(self) -> None:
        """Make the cluster: the first node alone, then the others with a copy of its data."""
        first, *others = self.nodes
        first.initialise()
        first.bootstrap()
        for node in others:
            node.make_empty_folder()
            node._address = node._address_at(node.choose_port())
            node.join(self.members_beside(node), wait=False)
        for node in others:
            wait_until(lambda node=node: node.is_ready, f"{node.name} has joined", node)  # type: ignore[misc]

    def members_beside(self, left_out: GaleraNode) -> list[str]:
        """The addresses of the nodes but one, by which that one finds the cluster."""
        return [node.group_member for node in self.nodes if node is not left_out]

    def rejoin(self, *nodes: GaleraNode) -> None:
        """Start nodes that died, and wait until they have what they missed."""
        for node in nodes:
            node.join(self.members_beside(node), wait=False)
        for node in nodes:
            wait_until(lambda node=node: node.is_ready, f"{node.name} is back", node)  # type: ignore[misc]

    def wait_until_whole(self) -> None:
        """Wait until all nodes are one cluster."""
        for node in self.nodes:
            wait_until(
                lambda node=node: node.is_ready and node.status("wsrep_cluster_size") == str(len(self.nodes)),  # type: ignore[misc]
                f"{node.name} sees all nodes",
                node,
            )

    def url(self, database: str, *, first: int = 0, only: int | None = None) -> str:
        """The address of a database at all nodes, beginning with one of them; or at `only` one."""
        turned = self.nodes[first:] + self.nodes[:first] if only is None else [self.nodes[only]]
        hosts = ",".join(f"{node.host}:{node.port}" for node in turned)
        return f"mariadb://{turned[0].user}@{hosts}/{database}"

    def discard(self) -> None:
        """End all nodes and remove their folders."""
        with contextlib.ExitStack() as stack:
            for node in self.nodes:
                stack.callback(node.discard)
                node.thaw()


@contextlib.contextmanager
def galera_cluster(*, cuttable: bool = False) -> Iterator[GaleraCluster]:
    """A cluster of three for the length of the block; `cuttable` puts each node on a host of its own.

    Raises EngineMissingError, and NetworkMissingError where no hosts can be made here.
    """
    nodes: list[GaleraNode] = []
    with network(3) if cuttable else contextlib.nullcontext() as hosts:
        try:
            nodes.extend(GaleraNode(number, hosts) for number in range(3))
            cluster = GaleraCluster(nodes, hosts)
            cluster.start()
            yield cluster
        finally:
            GaleraCluster(nodes).discard()


def find_library() -> str:
    """The library that makes a server a node."""
    for path in LIBRARIES:
        if Path(path).exists():
            return path
    raise EngineMissingError("Galera is missing: libgalera_smm.so is not installed (apt-get install galera-4).")


def wait_until(holds: Callable[[], bool], what: str, node: GaleraNode, seconds: float = JOIN_SECONDS) -> None:
    """Wait until something holds of a node, and say with the end of its log when it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        if node.pid is None:
            raise ServerFailedError(f"{node.name} ended.\n{node.log_tail()}")
        if time.monotonic() > deadline:
            raise ServerFailedError(f"Waited {seconds} seconds in vain: {what}.\n{node.log_tail()}")
        time.sleep(0.05)

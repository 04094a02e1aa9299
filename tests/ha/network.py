"""Hosts of their own, by network namespaces, whose packets can be made to vanish as when a cable is pulled.

Each host has one address on a bridge that this machine is on, too. Neighbours are entered by hand: asking for them
would tell that a host is gone, where a router or a firewall in between tells nothing.
"""

import contextlib
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_NAMES = re.compile(r"hf(\d+)[bn]\d*")


class NetworkMissingError(Exception):
    """This machine lets nobody make networks here; the message says what is missing."""


class Network:
    """So many hosts on a bridge. Remove it with `close`."""

    def __init__(self, count: int) -> None:
        if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("setpriv") is None:
            raise NetworkMissingError("Cutting the network takes root, and the programs ip (iproute2) and setpriv.")
        _remove_leftovers()
        self._bridge = f"hf{os.getpid()}b"
        self._subnet = f"10.213.{random.SystemRandom().randrange(1, 255)}"
        self.namespaces = [f"hf{os.getpid()}n{number}" for number in range(1, count + 1)]
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self.close()
            raise NetworkMissingError(f"No network can be made here: {error.stderr.decode().strip()}") from error

    @property
    def address_here(self) -> str:
        return f"{self._subnet}.254"

    def address_of(self, number: int) -> str:
        return f"{self._subnet}.{number + 1}"

    def inside(self, number: int, user: int, group: int) -> list[str]:
        """The words before a command that runs on the host, as the user."""
        drop = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        return ["ip", "netns", "exec", self.namespaces[number], *drop]

    def cut(self, number: int) -> None:
        """From now on nothing reaches the host and nothing comes from it, and nobody is told."""
        _ip("link", "set", self._link_of(number), "down")

    def heal(self, number: int) -> None:
        _ip("link", "set", self._link_of(number), "up")
        for other in range(len(self.namespaces)):
            self._introduce(other)

    def close(self) -> None:
        _remove(os.getpid())

    def _make(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self.address_here}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for number, namespace in enumerate(self.namespaces):
            _ip("netns", "add", namespace)
            there = {"peer": "name", "eth0": "netns"}
            _ip(
                "link",
                "add",
                self._link_of(number),
                "type",
                "veth",
                *(w for pair in there.items() for w in pair),
                namespace,
            )
            _ip("link", "set", self._link_of(number), "master", self._bridge, "up")
            for command in (
                ["addr", "add", f"{self.address_of(number)}/24", "dev", "eth0"],
                ["link", "set", "eth0", "up"],
                ["link", "set", "lo", "up"],
            ):
                _ip("-n", namespace, *command)
        for number in range(len(self.namespaces)):
            self._introduce(number)

    def _introduce(self, number: int) -> None:
        """Enter the hardware address of a host everywhere else."""
        shown = _ip("-n", self.namespaces[number], "link", "show", "dev", "eth0")
        hardware = re.search(r"link/ether (\S+)", shown)
        assert hardware is not None, shown
        entry = [self.address_of(number), "lladdr", hardware[1], "nud", "permanent", "dev"]
        _ip("neigh", "replace", *entry, self._bridge)
        for other, namespace in enumerate(self.namespaces):
            if other != number:
                _ip("-n", namespace, "neigh", "replace", *entry, "eth0")

    def _link_of(self, number: int) -> str:
        return f"{self.namespaces[number]}h"


@contextlib.contextmanager
def network(count: int) -> Iterator[Network]:
    """A network for the length of the block. Raises NetworkMissingError."""
    made = Network(count)
    try:
        yield made
    finally:
        made.close()


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30).stdout.decode()


def _remove_leftovers() -> None:
    """What a run left that was killed."""
    shown = subprocess.run(["ip", "-brief", "link"], capture_output=True, check=False, timeout=30).stdout.decode()
    for owner in {int(found[1]) for found in _NAMES.finditer(shown)}:
        if not Path(f"/proc/{owner}").exists():
            _remove(owner)


def _remove(owner: int) -> None:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, check=False, timeout=30).stdout.decode()
    for line in listed.splitlines():
        name = line.split()[0] if line.split() else ""
        if name.startswith(f"hf{owner}n"):
            # A link lives on with the connections that wait in its namespace.
            subprocess.run(["ip", "link", "del", f"{name}h"], capture_output=True, check=False, timeout=30)
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=30)
    subprocess.run(["ip", "link", "del", f"hf{owner}b"], capture_output=True, check=False, timeout=30)

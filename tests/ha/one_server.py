"""What the scenarios of a single server have in common, whichever engine it is."""

import contextlib
import os
import pwd
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.ha.load import Load
from tests.ha.replicas import Replica, migrate, running_replicas
from tests.servers.process import Account, DatabaseServer, running

BEFORE = 100
_BLOCK = bytes(64 * 1024)


class NotPermittedError(Exception):
    """This machine lets nobody do what the scenario needs; the message says what that is."""


@dataclass
class Stand:
    """A server that survives everything but a full disk, which has one of its own."""

    folder: Path
    server: DatabaseServer
    made: int = 0

    @contextlib.contextmanager
    def holdfast(self, server: DatabaseServer | None = None, **settings: str) -> Iterator[list[Replica]]:
        """Servers of Holdfast on a new database."""
        self.made += 1
        url = (server or self.server).create_database(f"holdfast_{self.made}")
        with self.holdfast_at(url, **settings) as replicas:
            yield replicas

    @contextlib.contextmanager
    def holdfast_at(self, url: str, **settings: str) -> Iterator[list[Replica]]:
        folder = self.folder / url.rpartition("/")[2]
        folder.mkdir()
        migrate(url)
        with running_replicas(folder, url, 2, **settings) as replicas:
            yield replicas


def load_on(replicas: list[Replica], callers: int = 16) -> Load:
    """So many callers, spread over the replicas."""
    return Load([replica.url for replica in replicas], callers=callers)


def mount_small_disk(folder: Path, account: Account, *, megabytes: int) -> None:
    """Let the folder be a file system of its own in memory. NotPermittedError: that takes root and mount."""
    options = [f"size={megabytes}m", "mode=0700"]
    if account.user is not None:
        options += [f"uid={pwd.getpwnam(account.user).pw_uid}", f"gid={account.group}"]
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotPermittedError(f"A disk of its own takes root and mount: {error}") from error


def unmount(folder: Path) -> None:
    """Take it away again, also while something is open on it."""
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True, timeout=30)


@contextlib.contextmanager
def server_on_small_disk(make: Callable[[], DatabaseServer]) -> Iterator[DatabaseServer]:
    if os.geteuid() != 0:
        raise NotPermittedError("A disk of its own takes root.")
    with running(make()) as server:
        yield server


def fill(ballast: Path) -> None:
    """Write until the file system has not a byte left."""
    for block in (_BLOCK, bytes(512)):
        with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
            while True:
                file.write(block)


def told_of_full_disk(load: Load) -> bool:
    """Whether a caller was told why nothing could be written."""
    return load.figures.codes["database_storage_full"] > 0

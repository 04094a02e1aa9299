"""Which of several MariaDB servers a process uses: the first in the address that is well.

All processes that name the hosts in the same order then write at the same node of a Galera cluster, where a change
waits for another one instead of losing against it. When that node falls away they go to the next, and come back when it
is well again. Hosts that are down are asked beside the requests, so that no request waits for one of them twice.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from holdfast.core.errors import HoldfastError
from holdfast.db.errors import ConnectionLostError, ServerFullError

_log = structlog.get_logger("holdfast.db")


class Opened(msgspec.Struct):
    """A connection, the rank of its host in the address, and whether that is a node of a cluster."""

    connection: Any
    rank: int
    is_node: bool


Open = Callable[[int, Mapping[str, Any]], Awaitable[Opened]]


class Hosts:
    """The servers of an address, in its order, and which of them are known to be down."""

    def __init__(self, addresses: Sequence[Mapping[str, Any]], open_at: Open) -> None:
        self.addresses = [dict(address) for address in addresses]
        self._open_at = open_at
        self._down = [False] * len(self.addresses)
        self._chosen: int | None = None

    @property
    def are_some_down(self) -> bool:
        """Whether a host must be asked again."""
        return any(self._down)

    def is_wanted(self, rank: int) -> bool:
        """Whether connections to this host are still to be used: it is not down, and no earlier one is well again."""
        return not self._down[rank] and (self._chosen is None or rank <= self._chosen)

    async def open(self) -> Opened:
        """A connection to the first host that is well. Those known to be down are asked last."""
        refused: HoldfastError | None = None
        for rank in sorted(range(len(self.addresses)), key=lambda rank: (self._down[rank], rank)):
            try:
                opened = await self._open_at(rank, self.addresses[rank])
            except ServerFullError:
                # It is well. Going to another one would not be worth losing against all who are there.
                raise
            except ConnectionLostError as error:
                refused = error
                self.lose(rank, error.message)
            else:
                self._take(rank)
                return opened
        assert refused is not None
        raise refused

    async def ask_again(self) -> None:
        """Ask the hosts that are down whether they are well again."""
        for rank, is_down in enumerate(self._down):
            if is_down and await self.answers(rank):
                self._welcome(rank)

    async def answers(self, rank: int) -> bool:
        """Whether a new connection to this host can be worked with."""
        try:
            opened = await self._open_at(rank, self.addresses[rank])
        except ServerFullError:
            return True
        except HoldfastError:
            return False
        opened.connection.close()
        return True

    def lose(self, rank: int, reason: str) -> None:
        """Take a host for down until it was asked again; a single one is asked each time."""
        if len(self.addresses) == 1:
            return
        if not self._down[rank]:
            _log.warning("database_host_down", host=self._shown(rank), reason=reason)
        self._down[rank] = True
        if self._chosen == rank:
            self._chosen = None

    def _take(self, rank: int) -> None:
        self._welcome(rank)
        if self._chosen is None or rank < self._chosen:
            self._chosen = rank

    def _welcome(self, rank: int) -> None:
        if self._down[rank]:
            _log.warning("database_host_up", host=self._shown(rank))
            self._down[rank] = False
        if self._chosen is not None and rank < self._chosen:
            self._chosen = rank

    def _shown(self, rank: int) -> str:
        address = self.addresses[rank]
        return f"{address.get('host')}:{address.get('port')}"

"""Connecting to one of several hosts, without waiting for those that do not answer."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

Host = TypeVar("Host")
Connection = TypeVar("Connection")

_HEAD_START_SECONDS = 0.25
# A host that vanished sends no word of it. What was sent and is not confirmed for so long ends the connection; a
# connection on which nothing is sent is asked so often.
_UNCONFIRMED_MILLISECONDS = 5000
_IDLE_SECONDS = 5
_BETWEEN_QUESTIONS_SECONDS = 2
_MOST_QUESTIONS = 3


async def connect_to_first(
    hosts: Sequence[Host],
    connect: Callable[[Host], Awaitable[Connection]],
    discard: Callable[[Connection], None],
) -> tuple[Host, Connection]:
    """The first connection that any host gives, tried in their order.

    Each gets a head start before the next; one that fails hands on at once. The others are given up or discarded.
    Raises the last error where none gives one.
    """
    waiting = list(hosts)
    trying: dict[asyncio.Future[Connection], Host] = {}
    failure: BaseException = OSError("there is no host to connect to")
    try:
        while waiting or trying:
            if waiting:
                host = waiting.pop(0)
                trying[asyncio.ensure_future(connect(host))] = host
            done, _ = await asyncio.wait(
                trying, timeout=_HEAD_START_SECONDS if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                error = attempt.exception() if not attempt.cancelled() else asyncio.CancelledError()
                if error is None:
                    return trying.pop(attempt), attempt.result()
                del trying[attempt]
                failure = error
        raise failure
    finally:
        for attempt in trying:
            attempt.add_done_callback(lambda ended: _discard(ended, discard))
            attempt.cancel()


def end_with_its_host(connection: socket.socket) -> None:
    """Have the system end a TCP connection whose other end is gone, within seconds instead of a quarter of an hour."""
    if connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Not every system has every one of them.
    for name, value in (
        ("TCP_KEEPIDLE", _IDLE_SECONDS),
        ("TCP_KEEPINTVL", _BETWEEN_QUESTIONS_SECONDS),
        ("TCP_KEEPCNT", _MOST_QUESTIONS),
        ("TCP_USER_TIMEOUT", _UNCONFIRMED_MILLISECONDS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _discard(attempt: asyncio.Future[Any], discard: Callable[[Any], None]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        discard(attempt.result())

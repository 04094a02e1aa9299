"""A database server as if it stood across a network, and how long a round trip over that network takes."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from urllib.parse import urlsplit

import msgspec

from bench.processes import driven

# Of a network within one house, there and back.
ROUND_TRIP_SECONDS = 0.0005
_TRIPS = 200
_CALIBRATIONS = 3
_MESSAGE = b"x" * 100


class Network(msgspec.Struct, frozen=True):
    """The database's address across the network. A round trip takes `added_seconds` longer than without it."""

    database_url: str
    added_seconds: float


@contextmanager
def across_a_network(database_url: str, round_trip_seconds: float = ROUND_TRIP_SECONDS) -> Iterator[Network]:
    """The same database with so long a way there and back, by measurement; the relay's own work is part of it."""
    parts = urlsplit(database_url)
    assert parts.port is not None
    with _echoing() as echo_port, driven("bench.delaying", str(parts.port), str(echo_port)) as relay:
        one_way = round_trip_seconds / 2
        database_port, near_echo_port = relay.run(seconds=one_way)["ports"]
        direct = _trip_seconds(echo_port)
        for _ in range(_CALIBRATIONS):
            added = _trip_seconds(near_echo_port) - direct
            one_way = max(0.0, one_way - (added - round_trip_seconds) / 2)
            relay.run(seconds=one_way)
        added = _trip_seconds(near_echo_port) - direct
        url = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{database_port}")).geturl()
        yield Network(url, added)


def _trip_seconds(port: int) -> float:
    """The median time of a short message there and back."""
    seconds = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(_TRIPS):
            started = time.perf_counter()
            connection.sendall(_MESSAGE)
            awaited = len(_MESSAGE)
            while awaited:
                awaited -= len(connection.recv(awaited))
            seconds.append(time.perf_counter() - started)
    return median(seconds)


@contextmanager
def _echoing() -> Iterator[int]:
    """A port that answers with what it is sent; one connection at a time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_echo, args=(listener,), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def _echo(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while piece := connection.recv(1024):
                connection.sendall(piece)

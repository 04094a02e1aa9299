"""The relay that stands for a network: what passes it arrives whole, and later."""

import socket
import time

import pytest

from bench.network import across_a_network

_ROUND_TRIP_SECONDS = 0.003


def test_what_passes_the_network_arrives_whole_and_later() -> None:
    message = bytes(range(256)) * 4096
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        across_a_network(f"x://user@127.0.0.1:{listener.getsockname()[1]}/database", _ROUND_TRIP_SECONDS) as network,
    ):
        assert network.database_url.startswith("x://user@127.0.0.1:")
        port = int(network.database_url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            server, _ = listener.accept()
            with server:
                started = time.perf_counter()
                client.sendall(b"ping")
                assert server.recv(4) == b"ping"
                server.sendall(message)
                received = bytearray()
                while len(received) < len(message):
                    received += client.recv(1 << 16)
                assert time.perf_counter() - started >= _ROUND_TRIP_SECONDS * 0.8
                assert received == message
        assert network.added_seconds == pytest.approx(_ROUND_TRIP_SECONDS, rel=0.5)


def test_the_end_of_a_connection_passes_the_network() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        across_a_network(f"x://user@127.0.0.1:{listener.getsockname()[1]}/database", 0.0) as network,
    ):
        port = int(network.database_url.rpartition(":")[2].partition("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(10)
                client.sendall(b"last words")
                client.shutdown(socket.SHUT_WR)
                assert server.recv(100) == b"last words"
                assert server.recv(100) == b""

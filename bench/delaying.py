"""A network between an application and its database: a relay that holds back all that passes, in either direction.

`python -m bench.delaying TARGET_PORT…` listens on a port of its own for each target. It is driven by lines of JSON,
`{"seconds": …}`: how long each piece is held back from then on; the answer names its ports. One thread does it all and
sleeps between the pieces, because it shares the processors with what is measured.
"""

import ctypes
import json
import select
import socket
import sys
import time
from collections import deque

_PIECE = 1 << 18
_PR_SET_TIMERSLACK = 29


class Relay:
    """The connections and the pieces that are under way, the oldest first: every piece waits equally long."""

    def __init__(self, target_ports: list[int]) -> None:
        self.seconds = 0.0
        self._targets = {_listening(): port for port in target_ports}
        self._peers: dict[socket.socket, socket.socket] = {}
        self._held: deque[tuple[float, socket.socket, bytes]] = deque()

    @property
    def ports(self) -> list[int]:
        """Where it listens, in the order of the targets."""
        return [listener.getsockname()[1] for listener in self._targets]

    def run(self) -> None:
        """Relay until the input ends."""
        while True:
            wait = max(0.0, self._held[0][0] - time.perf_counter()) if self._held else None
            ready, _, _ = select.select([sys.stdin, *self._targets, *self._peers], [], [], wait)
            self._send_due()
            for each in ready:
                if not isinstance(each, socket.socket):
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self.seconds = json.loads(line)["seconds"]
                    sys.stdout.write(json.dumps({"ports": self.ports}) + "\n")
                    sys.stdout.flush()
                elif each in self._targets:
                    self._connect(each)
                elif each in self._peers:
                    self._hold(each)

    def _connect(self, listener: socket.socket) -> None:
        near, _ = listener.accept()
        far = socket.create_connection(("127.0.0.1", self._targets[listener]))
        for each in (near, far):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers |= {near: far, far: near}

    def _hold(self, source: socket.socket) -> None:
        try:
            piece = source.recv(_PIECE)
        except OSError:
            piece = b""
        self._held.append((time.perf_counter() + self.seconds, self._peers[source], piece))
        if not piece:
            del self._peers[source]

    def _send_due(self) -> None:
        while self._held and self._held[0][0] <= time.perf_counter():
            _, target, piece = self._held.popleft()
            try:
                if piece:
                    target.sendall(piece)
                else:
                    target.shutdown(socket.SHUT_WR)
            except OSError:
                # Its other end is gone: the rest of what was for it has no reader.
                self._peers.pop(target, None)


def _listening() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def main() -> None:
    """Listen and relay."""
    # The kernel may wake a sleeper 50 µs late unless it is told otherwise: a fifth of what is to be waited.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    Relay([int(port) for port in sys.argv[1:]]).run()


if __name__ == "__main__":
    main()

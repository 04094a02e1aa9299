"""P5: how long lists take to answer as their tables grow.

The same faculty at three sizes, each in a database of its own with a server of its own; one request at a time over
HTTP, the sizes in turn within a round, so that drift cancels. Told is the median latency at the largest size against
that at the smallest. A first page counts all rows that match unless it is asked not to, a page by cursor does not: all
are told. Where what matches grows with the table, counting it must grow, too, so that the first page is judged without
its total. The same deep page is asked for by its cursor and by its number, which is what paging by OFFSET costs.
"""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from bench.growing import (
    ADMIN,
    ENTRIES_OF_A_GROUP,
    FORMS_OF_A_PROJECT,
    MEMBERS_OF_A_GROUP,
    RARE_ACTION,
    RARE_STATUS,
    TEACHER,
    TERM,
    grown_stands,
    id_of,
    token_of,
)
from bench.load import on_the_wire
from bench.measure import Comparison
from bench.report import Figure
from bench.stand import Server

_AT_MOST = 1.3
_LIMIT = 20
_DISTINCT = 8
# Parts of a list that lie before a deep page.
_DEPTHS = (0.5, 0.9)
# Paging by number takes seconds a page; for comparison fewer rounds will do.
_ROUNDS_OF_COMPARISON = 2
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_SECONDS = 60


class Effort(msgspec.Struct, frozen=True):
    """The sizes, and how much is asked: at most so many requests or seconds for each list, size and round."""

    sizes: tuple[int, ...]
    rounds: int
    requests: int
    seconds: float


THOROUGH = Effort(sizes=(10_000, 100_000, 1_000_000), rounds=5, requests=40, seconds=0.4)
BRIEF = Effort(sizes=(TERM, 2 * TERM), rounds=2, requests=8, seconds=0.1)


class Case(msgspec.Struct, frozen=True):
    """A way to ask for a list: like requests of one caller. Without `is_bound` it is told for comparison."""

    name: str
    user: int
    paths: Sequence[str]
    is_bound: bool = True


def measure_growth(engine: str, folder: Path, effort: Effort) -> Iterator[Figure]:
    """The figures of P5. Raises EngineMissingError."""
    with grown_stands(engine, effort.sizes, folder) as stands, ExitStack() as stack:
        askers = {}
        for size, stand in stands.items():
            # Its retention would remove the older audit entries meanwhile.
            stand.settings = {"HOLDFAST_WORKER_IN_SERVER": "false"}
            server = stack.enter_context(stand.holdfast())
            askers[size] = stack.enter_context(Asker(server))
        cases = {size: _cases(asker, size) for size, asker in askers.items()}
        for number in range(len(cases[effort.sizes[0]])):
            chosen = {size: cases[size][number] for size in effort.sizes}
            is_bound = chosen[effort.sizes[0]].is_bound
            turns = effort.rounds if is_bound else min(effort.rounds, _ROUNDS_OF_COMPARISON)
            rounds = [_round(askers, chosen, effort, turn) for turn in range(turns)]
            yield _figure(engine, chosen, rounds, effort)


class Asker:
    """A keep-alive connection that asks one thing after another."""

    def __init__(self, server: Server) -> None:
        self._port = server.port
        self._connection = self._connect()

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def page(self, path: str, user: int) -> dict[str, Any]:
        """A page of a list, which must not be empty."""
        self.reconnect()
        head, body = self.send(on_the_wire("GET", path, token_of(user), None))
        page = msgspec.json.decode(body, type=dict[str, Any])
        if not head.startswith(b"HTTP/1.1 200") or not page["items"]:
            raise RuntimeError(f"{path}: {head!r} {body[:500]!r}")
        return page

    def reconnect(self) -> None:
        """Begin anew: the server closes connections that were idle while others had their turn."""
        self._connection.close()
        self._connection = self._connect()

    def send(self, request: bytes) -> tuple[bytes, bytes]:
        """Head and body of the answer."""
        self._connection.sendall(request)
        received = bytearray()
        while (end := received.find(_HEAD_END)) < 0:
            received += self._piece()
        head = bytes(received[:end])
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(_LENGTH))
        whole = end + len(_HEAD_END) + int(length[len(_LENGTH) :])
        while len(received) < whole:
            received += self._piece()
        return head, bytes(received[end + len(_HEAD_END) :])

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _piece(self) -> bytes:
        piece = self._connection.recv(1 << 18)
        if not piece:
            raise RuntimeError("the server closed the connection")
        return piece


def _cases(asker: Asker, size: int) -> list[Case]:
    """All ways to ask, with the cursors that this size gives; the lists first, then their filters."""
    found = []
    for name, path in (
        ("forms", "/api/v1/forms?"),
        ("audit entries", "/api/v1/audit-logs?"),
        ("users", "/api/v1/users?"),
    ):
        found += _whole_list(asker, f"all {name}", path, ADMIN, size)
    found += [
        Case("forms that a teacher sees: page 1 with the total", TEACHER, [f"/api/v1/forms?limit={_LIMIT}"]),
        Case("audit entries of own groups: page 1 with the total", TEACHER, [f"/api/v1/audit-logs?limit={_LIMIT}"]),
    ]
    for name, path, kind, of_term in (
        # Each term's first forms have messages, and its first users audit entries.
        ("messages of a form", "/api/v1/forms/{}/messages?", "f", TERM),
        ("forms of a project", "/api/v1/forms?project_id={}&", "p", TERM // FORMS_OF_A_PROJECT),
        ("audit entries of a group", "/api/v1/audit-logs?g_id={}&", "g", TERM // ENTRIES_OF_A_GROUP),
        ("audit entries of a user", "/api/v1/audit-logs?user_id={}&", "u", TERM),
        ("members of a group", "/api/v1/users?g_id={}&", "g", TERM // MEMBERS_OF_A_GROUP),
        (
            "members in the order they came",
            "/api/v1/groups/{}/members?sort=created_at&",
            "g",
            TERM // MEMBERS_OF_A_GROUP,
        ),
    ):
        # Of terms from the oldest to the newest.
        numbers = [size // TERM * place // _DISTINCT * of_term + place for place in range(_DISTINCT)]
        paths = [path.format(id_of(kind, number)) for number in numbers]
        found += [_first_pages(name, paths, ADMIN), _second_pages(asker, name, paths, ADMIN)]
    # One row in ten has these: what such a filter finds grows with the table.
    found += _growing_list(asker, "forms of a status", f"/api/v1/forms?status={RARE_STATUS}&", ADMIN)
    found += _growing_list(asker, "audit entries of an action", f"/api/v1/audit-logs?action={RARE_ACTION}&", ADMIN)
    return found


def _whole_list(asker: Asker, name: str, path: str, user: int, size: int) -> list[Case]:
    """Its first page, the one behind it by cursor, and deep pages by cursor and by number."""
    numbers = [max(2, int(size * depth / _LIMIT)) for depth in _DEPTHS]
    # A page by number gives the cursor of the next.
    before = [f"{path}limit={_LIMIT}&page={number - 1}&total=none" for number in numbers]
    cursors = [asker.page(each, user)["next"] for each in before]
    return [
        *_growing_list(asker, name, path, user),
        Case(f"{name}: deep pages by cursor", user, [f"{path}limit={_LIMIT}&cursor={each}" for each in cursors]),
        Case(
            f"{name}: the same deep pages by number",
            user,
            [f"{path}limit={_LIMIT}&page={number}" for number in numbers],
            is_bound=False,
        ),
    ]


def _growing_list(asker: Asker, name: str, path: str, user: int) -> list[Case]:
    """A list of which the larger table has more rows: counting them is told beside the page alone."""
    return [
        Case(f"{name}: page 1 without the total", user, [f"{path}limit={_LIMIT}&total=none"]),
        _second_pages(asker, name, [path], user),
        msgspec.structs.replace(_first_pages(name, [path], user), is_bound=False),
    ]


def _first_pages(name: str, paths: Sequence[str], user: int) -> Case:
    return Case(f"{name}: page 1 with the total", user, [f"{path}limit={_LIMIT}" for path in paths])


def _second_pages(asker: Asker, name: str, paths: Sequence[str], user: int) -> Case:
    cursors = [asker.page(f"{path}limit={_LIMIT}&total=none", user)["next"] for path in paths]
    paged = [f"{path}limit={_LIMIT}&cursor={cursor}" for path, cursor in zip(paths, cursors, strict=True)]
    return Case(f"{name}: page 2 by cursor", user, paged)


def _round(askers: dict[int, Asker], cases: dict[int, Case], effort: Effort, turn: int) -> dict[int, float]:
    """The median seconds of each size; the sizes take turns at going first."""
    sizes = list(effort.sizes)
    in_turn = sizes[turn % len(sizes) :] + sizes[: turn % len(sizes)]
    return {size: _median_seconds(askers[size], cases[size], effort) for size in in_turn}


def _median_seconds(asker: Asker, case: Case, effort: Effort) -> float:
    requests = [on_the_wire("GET", path, token_of(case.user), None) for path in case.paths]
    asker.reconnect()
    seconds: list[float] = []
    begun = time.perf_counter()
    while not seconds or (len(seconds) < effort.requests and time.perf_counter() < begun + effort.seconds):
        started = time.perf_counter()
        asker.send(requests[len(seconds) % len(requests)])
        seconds.append(time.perf_counter() - started)
    return median(seconds)


def _figure(engine: str, cases: dict[int, Case], rounds: list[dict[int, float]], effort: Effort) -> Figure:
    smallest, largest = min(cases), max(cases)
    case = cases[largest]
    ratios = [seconds[largest] / seconds[smallest] for seconds in rounds]
    of_sizes = ", ".join(
        f"{1000 * median(seconds[size] for seconds in rounds):.2f} ms for {size:,}" for size in sorted(cases)
    )
    measured = Comparison(
        scenario=case.name,
        requests_per_round=effort.requests,
        product_ms=1000 * median(seconds[largest] for seconds in rounds),
        other_ms=1000 * median(seconds[smallest] for seconds in rounds),
        ratio=median(ratios),
        spread=(min(ratios), max(ratios)),
        rounds=tuple((1000 * seconds[largest], 1000 * seconds[smallest]) for seconds in rounds),
    )
    bound = _AT_MOST if case.is_bound else None
    return Figure("P5", engine, f"{case.name} ({of_sizes})", measured.ratio, bound, "x smallest", measured)

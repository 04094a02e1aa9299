"""Records the statements that the product runs for a request, so that the limit runs exactly the same ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec

from bench.scenarios import Request
from holdfast.core.pages import PageRequest
from holdfast.db.engines.base import Transaction
from holdfast.db.listing import Listing
from holdfast.db.statements import CompiledStatement, Statement

_NEW_ID_CHARACTERS = 21
_ROWS_AND_TOTAL = Listing._rows_and_total


class Call(msgspec.Struct, frozen=True):
    """One statement with its arguments, as the driver got them.

    `new_ids` are the positions that take an id made for this run, with the number of that id within the request.
    """

    sql: str
    arguments: list[Any]
    new_ids: dict[int, int]
    returns_rows: bool


class Trace(msgspec.Struct, frozen=True):
    """All statements of one request."""

    calls: list[Call]


async def record(client: httpx.AsyncClient, transaction: type[Transaction], requests: Sequence[Request]) -> list[Trace]:
    """Send each request to an instance in this process and note the statements that it runs."""
    traces = []
    for request in requests:
        with _watched(transaction) as calls:
            answer = await send(client, request)
        if answer.status_code >= 400:
            raise RuntimeError(f"{request.method} {request.path}: {answer.status_code} {answer.text}")
        traces.append(Trace(_with_new_ids(calls) if request.method == "POST" else list(calls)))
    return traces


async def send(client: httpx.AsyncClient, request: Request) -> httpx.Response:
    """Send one request."""
    headers = {"Authorization": f"Bearer {request.token}", "User-Agent": "holdfast-bench"}
    return await client.request(request.method, request.path, headers=headers, json=request.body)


@contextmanager
def _watched(transaction: type[Transaction]) -> Iterator[list[Call]]:
    calls: list[Call] = []
    fetch, execute, together = transaction._fetch, transaction._execute, transaction._together

    async def noted_fetch(self: Any, query: Statement, compiled: CompiledStatement, arguments: list[Any]) -> list[Any]:
        calls.append(Call(compiled.sql, arguments, {}, returns_rows=True))
        return await fetch(self, query, compiled, arguments)

    async def noted_execute(self: Any, command: Statement, compiled: CompiledStatement, arguments: list[Any]) -> int:
        calls.append(Call(compiled.sql, arguments, {}, returns_rows=False))
        return await execute(self, command, compiled, arguments)

    transaction._fetch, transaction._execute = noted_fetch, noted_execute  # type: ignore[method-assign]
    # The limit is a plain program: one statement for each row that it inserts, one for a page and one for its total.
    transaction._together = Transaction._together  # type: ignore[method-assign]
    Listing._rows_and_total = _rows_and_total_apart  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        transaction._fetch, transaction._execute = fetch, execute  # type: ignore[method-assign]
        transaction._together = together  # type: ignore[method-assign]
        Listing._rows_and_total = _ROWS_AND_TOTAL  # type: ignore[method-assign]


async def _rows_and_total_apart(
    self: Listing[Any],
    tx: Transaction,
    page: PageRequest,
    *,
    scope: str,
    filters: tuple[str, ...],
    sort: str,
    values: Any,
) -> tuple[list[Any], int]:
    uncounted = msgspec.structs.replace(page, is_counted=False)
    total = await tx.fetch_count(self._count_query(scope, filters), **values)
    rows, _ = await _ROWS_AND_TOTAL(self, tx, uncounted, scope=scope, filters=filters, sort=sort, values=values)
    return rows, total


def _with_new_ids(calls: list[Call]) -> list[Call]:
    """Long ids in what a write inserts were made by the request: another run must make its own."""
    numbers: dict[str, int] = {}
    traced = []
    for call in calls:
        places = {}
        if not call.returns_rows:
            for position, value in enumerate(call.arguments):
                if isinstance(value, str) and len(value) == _NEW_ID_CHARACTERS and " " not in value:
                    places[position] = numbers.setdefault(value, len(numbers))
        traced.append(msgspec.structs.replace(call, new_ids=places))
    return traced


def to_wire(traces: list[Trace]) -> list[Any]:
    """The traces as plain values for a pickle: the limit's process does not import the product."""
    return [[(call.sql, call.arguments, call.new_ids, call.returns_rows) for call in trace.calls] for trace in traces]

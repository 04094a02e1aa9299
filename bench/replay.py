"""`python -m bench.replay`: microseconds of the application for each request, with the database's answers replayed.

The application runs in this process on PostgreSQL. Each request is answered by the database once; then the rows that
it gave are handed out again, so that neither driver nor server nor socket is in the figure. The access log is written
as ever, to the standard error: `2>/dev/null` leaves the figures.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench.population import FULL, Population
from bench.scenarios import Request, Scenario, scenarios
from bench.stand import ADMIN_PASSWORD, loaded_stand
from holdfast.app import create_app
from holdfast.core.logs import configure_logs
from holdfast.db.engines.postgresql import PostgresqlDatabase, PostgresqlTransaction
from holdfast.db.statements import CompiledStatement, Statement
from holdfast.settings import load_settings

_ROUNDS = 50

Message = dict[str, Any]


def main() -> int:
    """Measure every scenario whose name contains a word."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="scenarios whose names contain this")
    only = parser.parse_args().only
    population = Population(FULL)
    chosen = [each for each in scenarios(population) if only in each.name]
    with (
        tempfile.TemporaryDirectory(prefix="holdfast-replay-") as folder,
        loaded_stand("postgresql", population, Path(folder)) as stand,
    ):
        for name, costs in uvloop.run(_measure(stand.database_url, stand.folder, chosen)):
            sys.stdout.write(f"{name}: least {min(costs):.0f}, median {median(costs):.0f} us\n")
    return 0


async def _measure(url: str, folder: Path, chosen: Sequence[Scenario]) -> list[tuple[str, list[float]]]:
    environment = {
        "HOLDFAST_DATABASE_URL": url,
        "HOLDFAST_DATA_DIR": str(folder),
        "HOLDFAST_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "HOLDFAST_WORKER_IN_SERVER": "false",
    }
    settings = load_settings(environment)
    configure_logs(settings.log_level, settings.log_format)
    app = create_app(settings)
    measured = []
    async with _started(app):
        for scenario in chosen:
            with _answers_kept() as answers:
                requests = [_on_the_wire(request) for request in scenario.requests]
                for scope, body in requests:
                    status = await _ask(app, scope, body)
                    if status >= 400:
                        raise RuntimeError(f"{scope['method']} {scope['path']} was answered with {status}")
                answers.are_replayed = True
                costs = []
                for _ in range(_ROUNDS):
                    started = time.perf_counter()
                    for scope, body in requests:
                        await _ask(app, scope, body)
                    costs.append((time.perf_counter() - started) / len(requests) * 1e6)
            measured.append((scenario.name, costs))
    return measured


class _Answers:
    """What the database answered, by statement and first arguments."""

    def __init__(self) -> None:
        self.are_replayed = False
        self.kept: dict[tuple[str, str], list[Any]] = {}
        self.last: dict[str, list[Any]] = {}


@contextmanager
def _answers_kept() -> Iterator[_Answers]:
    answers = _Answers()
    fetch, execute, run = PostgresqlTransaction._fetch, PostgresqlTransaction._execute, PostgresqlDatabase.run

    async def kept_fetch(self: Any, query: Statement, compiled: CompiledStatement, arguments: list[Any]) -> list[Any]:
        key = (compiled.name, repr(arguments[:3]))
        if answers.are_replayed:
            # Some arguments are new with each request, such as an id.
            return answers.kept.get(key) or answers.last[compiled.name]
        rows = await fetch(self, query, compiled, arguments)
        answers.kept[key] = answers.last[compiled.name] = rows
        return rows

    async def kept_execute(self: Any, command: Statement, compiled: CompiledStatement, arguments: list[Any]) -> int:
        return 1 if answers.are_replayed else await execute(self, command, compiled, arguments)

    async def kept_run(self: Any, connection: Any, sql: str) -> None:
        if not answers.are_replayed:
            await run(self, connection, sql)

    PostgresqlTransaction._fetch, PostgresqlTransaction._execute = kept_fetch, kept_execute  # type: ignore[method-assign]
    PostgresqlDatabase.run = kept_run  # type: ignore[method-assign]
    try:
        yield answers
    finally:
        PostgresqlTransaction._fetch, PostgresqlTransaction._execute = fetch, execute  # type: ignore[method-assign]
        PostgresqlDatabase.run = run  # type: ignore[method-assign]


def _on_the_wire(request: Request) -> tuple[dict[str, Any], bytes]:
    path, _, query = request.path.partition("?")
    body = b"" if request.body is None else json.dumps(request.body).encode()
    headers = [
        (b"host", b"127.0.0.1"),
        (b"authorization", f"Bearer {request.token}".encode()),
        (b"user-agent", b"holdfast-bench"),
        (b"accept", b"application/json"),
    ]
    if body:
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8080),
    }
    return scope, body


async def _ask(app: Any, scope: dict[str, Any], body: bytes) -> int:
    answered: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        answered.append(message)

    await app(dict(scope, headers=list(scope["headers"])), receive, send)
    return int(answered[0]["status"])


@asynccontextmanager
async def _started(app: Any) -> AsyncIterator[None]:
    started, stopping = asyncio.Event(), asyncio.Event()
    asked = iter(("lifespan.startup", "lifespan.shutdown"))

    async def receive() -> Message:
        message = next(asked)
        if message == "lifespan.shutdown":
            await stopping.wait()
        return {"type": message}

    async def send(message: Message) -> None:
        started.set()

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.create_task(app(scope, receive, send))
    await started.wait()
    try:
        yield
    finally:
        stopping.set()
        await running


if __name__ == "__main__":
    sys.exit(main())

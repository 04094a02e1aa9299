"""A server on the restored database, as it would start after a loss, asked what its people would ask first."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import msgspec

from holdfast.core.clock import utc_now
from holdfast.core.errors import HoldfastError
from holdfast.core.ids import new_long_id
from holdfast.db.engines.base import Database
from holdfast.features.accounts import queries as account_queries
from holdfast.features.accounts.tokens import new_token, token_hash
from holdfast.features.deletions.system_actor import get_system_actor
from holdfast.operations.drill import queries
from holdfast.settings import Settings

_SERVE = "from holdfast.cli.main import main; main()"
_SERVES = re.compile(r"serves (http://\S+)/api/v1")
_READY_SECONDS, _END_SECONDS = 60, 25
_KEPT_LINES = 20


async def ask_server(settings: Settings, database: Database, folder: Path) -> list[str]:
    """Serve the database of the settings and ask; what was wrong with the answers, in sentences."""
    token = await _make_token(database)
    async with database.read() as tx:
        expected = {path: await tx.fetch_count(query) for path, query in queries.LISTED.items()}
    try:
        async with _served(settings, folder) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
            return await _wrong_answers(client, token, expected)
    except (_ServerFailedError, httpx.HTTPError) as error:
        return [f"the server on the restored database did not answer: {error}"]


async def _make_token(database: Database) -> str:
    """A session of the administrator's, in the scratch database only."""
    token, now = new_token(), utc_now()
    async with database.write() as tx:
        actor = await get_system_actor(tx)
        await tx.execute(queries.LET_ADMIN_IN, must_change_password=False)
        await tx.execute(
            account_queries.INSERT_TOKEN,
            id=new_long_id(),
            user_id=actor.user_id,
            kind="session",
            name="drill",
            token_hash=token_hash(token),
            scopes="*:read *:write",
            created_at=now,
            expires_at=now + timedelta(hours=1),
        )
    return token


async def _wrong_answers(client: httpx.AsyncClient, token: str, expected: dict[str, int]) -> list[str]:
    ready = await client.get("/readyz")
    wrong = [] if ready.status_code == 200 else [f"/readyz answered {ready.status_code}: {ready.text[:200]}"]
    for path, count in expected.items():
        answer = await client.get(f"/api/v1/{path}", params={"limit": 1}, headers={"Authorization": f"Bearer {token}"})
        if answer.status_code != 200:
            wrong.append(f"the list of {path} answered {answer.status_code}: {answer.text[:200]}")
        elif answer.json().get("total") != count:
            wrong.append(f"the list of {path} told {answer.json().get('total')} where the table holds {count}")
    return wrong


class _ServerFailedError(HoldfastError):
    """The server did not start."""


@asynccontextmanager
async def _served(settings: Settings, folder: Path) -> AsyncIterator[str]:
    """A server process on a free port of this machine alone; its address."""
    own = msgspec.structs.replace(
        settings,
        data_dir=folder,
        host="127.0.0.1",
        port=0,
        worker_in_server=False,
        access_log=False,
        log_level="warning",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _SERVE,
        "serve",
        env=_environment(own),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    reading: asyncio.Task[None] | None = None
    try:
        url = await _address_of(process)
        assert process.stderr is not None
        # What it writes later must not fill the pipe.
        reading = asyncio.create_task(_read_away(process.stderr))
        await _until_ready(url, process)
        yield url
    finally:
        await _end(process)
        if reading is not None:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading


def _environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    values = {name: getattr(settings, name) for name in Settings.__struct_fields__}
    return kept | {
        f"HOLDFAST_{name.upper()}": str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }


async def _address_of(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(_READY_SECONDS):
            while line := (await process.stderr.readline()).decode(errors="replace"):
                if found := _SERVES.search(line):
                    return found[1]
                lines = [*lines, line.strip()][-_KEPT_LINES:]
    except TimeoutError:
        raise _ServerFailedError(f"it did not start within {_READY_SECONDS} seconds") from None
    raise _ServerFailedError(f"it ended at its start: {' '.join(lines)[-500:]}")


async def _read_away(stream: asyncio.StreamReader) -> None:
    while await stream.read(65_536):
        pass


async def _until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    """Until it takes connections; what it then answers is looked at by others."""
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    async with httpx.AsyncClient(base_url=url, timeout=10) as client:
        while True:
            try:
                await client.get("/healthz")
            except httpx.TransportError as error:
                if process.returncode is not None:
                    raise _ServerFailedError(f"it ended with status {process.returncode}") from error
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _END_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

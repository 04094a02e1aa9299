"""PostgreSQL: pg_dump in its own format, on the exported snapshot of a connection of ours, and pg_restore."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.db.address import DatabaseAddress, Host
from holdfast.operations.backup.engines.base import DumpCheck
from holdfast.operations.backup.engines.postgresql import (
    PostgresqlEngine,
    major_of,
    quoted_pattern,
    running_program,
)
from holdfast.operations.backup.programs import Running, find_postgresql
from holdfast.operations.legacy.types import LegacyError
from holdfast.operations.legacy.upgrade.dumps.base import Dumping, Loading, Moment, NamespaceState, OldDumps, Place
from holdfast.operations.legacy.upgrade.export_folder import POSTGRESQL_DUMP
from holdfast.operations.legacy.upgrade.old_rows import OldTable, begin_snapshot
from holdfast.settings import Settings

_LOCK_SECONDS = 30
_LEFT_BEHIND_SECONDS = 60
_LOCK_NUMBER = 7_305_802_113
# Types that are no table's or array's own, and functions; a sequence of a table is listed as well.
_THINGS = (
    "SELECT relname FROM pg_class WHERE relnamespace = :schema"
    " UNION SELECT proname FROM pg_proc WHERE pronamespace = :schema"
    " UNION SELECT typname FROM pg_type WHERE typnamespace = :schema ORDER BY 1 LIMIT 20"
)
_RESTORING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pg_restore'"
)
_FIND = "SELECT oid, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = :namespace"


class PostgresqlDumps(OldDumps):
    """Of a schema."""

    dialect = "postgresql"
    file_name = POSTGRESQL_DUMP
    others_rights = "owners and privileges"

    async def pinned(self, connection: AsyncConnection, address: DatabaseAddress) -> DatabaseAddress:
        if not address.hosts:
            return address
        driver: Any = (await connection.get_raw_connection()).driver_connection
        return address.at_host(Host(*driver._addr))

    async def server_version(self, connection: AsyncConnection) -> str:
        return str((await connection.execute(text("SHOW server_version"))).scalar_one())

    async def refuse_inexact(self, connection: AsyncConnection, place: Place, tables: Sequence[OldTable]) -> None:
        return

    async def hold_still(self, connection: AsyncConnection, place: Place, tables: Sequence[OldTable]) -> Moment:
        version = await self.server_version(connection)
        await begin_snapshot(connection)
        snapshot = (await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
        return Moment(server_version=version, options=(f"--snapshot={snapshot}",))

    @contextlib.contextmanager
    def dump(self, settings: Settings, place: Place, moment: Moment) -> Iterator[Dumping]:
        program = find_postgresql("pg_dump", settings.postgresql_bin, at_least=major_of(moment.server_version))
        with running_program(
            program,
            place.address,
            "--format=custom",
            *moment.options,
            f"--schema={quoted_pattern(place.namespace)}",
            f"--lock-wait-timeout={_LOCK_SECONDS}s",
            "--no-password",
            writes=True,
        ) as running:
            yield _Dumping(running, program.shown)

    def check(self, settings: Settings, folder: Path, server_version: str) -> DumpCheck:
        return PostgresqlEngine().check(settings, folder, server_version)

    async def lock_out_other_loads(self, connection: AsyncConnection, place: Place) -> None:
        locked = f"SELECT pg_try_advisory_lock({_LOCK_NUMBER})"
        if not (await connection.execute(text(locked))).scalar_one():
            raise LegacyError(f"another load into a schema of {place.address.shown} is under way: wait for its end")
        # A pg_restore whose maker was killed goes on where it has read all.
        deadline = time.monotonic() + _LEFT_BEHIND_SECONDS
        while (await connection.execute(text(_RESTORING))).scalar_one():
            if time.monotonic() > deadline:
                raise LegacyError(f"a pg_restore works in {place.address.shown}: wait for its end, or end it")
            await asyncio.sleep(0.1)

    async def find(self, connection: AsyncConnection, place: Place) -> NamespaceState | None:
        found = (await connection.execute(text(_FIND), {"namespace": place.namespace})).one_or_none()
        if found is None:
            return None
        schema, comment = found
        things = await connection.execute(text(_THINGS), {"schema": schema})
        return NamespaceState(tuple(str(name) for (name,) in things), str(comment or ""))

    async def make(self, connection: AsyncConnection, place: Place, comment: str) -> None:
        quoted = _quoted(connection, place.namespace)
        # Several statements at once are one transaction.
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await driver.execute(f"CREATE SCHEMA {quoted}; COMMENT ON SCHEMA {quoted} IS '{comment}'")

    async def drop(self, connection: AsyncConnection, place: Place) -> None:
        await connection.exec_driver_sql(f"DROP SCHEMA {_quoted(connection, place.namespace)} CASCADE")

    async def set_comment(self, connection: AsyncConnection, place: Place, comment: str) -> None:
        schema = _quoted(connection, place.namespace)
        await connection.exec_driver_sql(f"COMMENT ON SCHEMA {schema} IS '{comment}'")

    def load(self, settings: Settings, place: Place, server_version: str) -> contextlib.AbstractContextManager[Loading]:
        return _load(settings, place, server_version)

    def load_as_own(
        self, settings: Settings, place: Place, server_version: str
    ) -> contextlib.AbstractContextManager[Loading]:
        return _load(settings, place, server_version, "--no-owner", "--no-privileges")

    async def settle(self, connection: AsyncConnection, place: Place, tables: Sequence[OldTable]) -> None:
        schema = _quoted(connection, place.namespace)
        for each in tables:
            await connection.exec_driver_sql(f"ANALYZE {schema}.{_quoted(connection, each.name)}")


def _quoted(connection: AsyncConnection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)


@contextlib.contextmanager
def _load(settings: Settings, place: Place, server_version: str, *options: str) -> Iterator[Loading]:
    program = find_postgresql("pg_restore", settings.postgresql_bin, at_least=major_of(server_version))
    with running_program(
        program,
        place.address,
        *options,
        "--exit-on-error",
        "--single-transaction",
        # Without the schema itself, which is there.
        f"--schema={place.namespace}",
        "--no-password",
        writes=False,
    ) as running:
        yield _Loading(running)


class _Dumping(Dumping):
    def __init__(self, running: Running, tool: str) -> None:
        self.source = running.stdout
        self.tool = tool
        self._running = running

    def finish(self) -> None:
        self._running.finish()

    def end(self) -> None:
        self._running.end()


class _Loading(Loading):
    def __init__(self, running: Running) -> None:
        self._running = running

    def write(self, data: bytes) -> int:
        return self._running.write(data)

    def finish(self) -> None:
        self._running.finish()

    def end(self) -> None:
        self._running.end()

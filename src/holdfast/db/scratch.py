"""A database beside the real one, for trying something out: made empty, and dropped at the end whatever happens.

One at a time for each real database: a lock of the server is held meanwhile, so that what stands there under the
scratch database's name at the beginning was left by a process that died, and goes.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from holdfast.core.errors import ConflictError, ForbiddenError
from holdfast.db.address import DatabaseAddress
from holdfast.db.server_connection import server_connection

SUFFIX = "_holdfast_drill"
_LONGEST_NAME = 63
_LOCK_NUMBER = 7_305_802_111
# What PostgreSQL and MariaDB say where a right is missing.
_FORBIDDEN = ("permission denied", "Access denied", "must be owner")
_MARK = "holdfast_drill"
_SET_MARK = f"CREATE TABLE {_MARK} (since VARCHAR(1) PRIMARY KEY)"
_STAY_IDLE = {
    "postgresql": "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'",
    "mariadb": "SET SESSION wait_timeout = 604800",
}
# What holds rows or makes them up, whatever schema it is in.
_EVERYTHING = {
    "postgresql": (
        "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND nspname <> 'information_schema'"
        " AND nspname NOT LIKE 'pg\\_%' ORDER BY relname"
    ),
    "mariadb": ("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name"),
}


class ScratchBusyError(ConflictError):
    """Another process has a scratch database of the same real one."""

    code = "scratch_busy"


class ScratchForbiddenError(ForbiddenError):
    """The database's user may not make databases."""

    code = "scratch_forbidden"


class ScratchTakenError(ConflictError):
    """What stands under the scratch database's name is not a scratch database."""

    code = "scratch_taken"


@asynccontextmanager
async def scratch_beside(address: DatabaseAddress) -> AsyncIterator[DatabaseAddress]:
    """A new, empty database on the same server, as the block's own.

    ScratchForbiddenError says which right is missing. A database of that name that holds anything, and not the mark of
    a drill, is refused and left alone.
    """
    name = scratch_name(address)
    there = address.with_database(name)

    async def run(opened: AsyncConnection, work: Callable[[Connection, str], None]) -> None:
        try:
            await opened.run_sync(work, name)
        except DBAPIError as error:
            raise _translated(error, address, name) from error

    async with _locked(address) as opened:
        await _refuse_another(opened, there, name)
        await run(opened, _drop)
        await run(opened, _create)
        try:
            async with server_connection(there) as inside:
                await inside.execution_options(isolation_level="AUTOCOMMIT")
                await inside.execute(text(_SET_MARK))
            yield there
        finally:
            try:
                await run(opened, _drop)
            except (DBAPIError, OSError):
                # The connection was lost meanwhile, and the lock with it: another drill may have begun.
                async with _locked(address) as again:
                    await run(again, _drop)


@asynccontextmanager
async def scratch_at(address: DatabaseAddress, real: DatabaseAddress) -> AsyncIterator[DatabaseAddress]:
    """A database that somebody made for this, emptied before and after; one with rows of its own is refused."""
    if address.is_same_as(real):
        raise ScratchTakenError("HOLDFAST_DRILL_DATABASE_URL names the database that is in use: name another one")
    async with _locked(address) as opened:
        found = await opened.run_sync(_found_in)
        if found and _MARK not in found:
            raise ScratchTakenError(
                f"{address.shown}, which HOLDFAST_DRILL_DATABASE_URL names, is not empty ({found[0]} …): name one"
                " that was made for drills"
            )
        await opened.run_sync(_clear)
        await opened.execute(text(_SET_MARK))
        try:
            yield address
        finally:
            try:
                await opened.run_sync(_clear)
            except (DBAPIError, OSError):
                async with _locked(address) as again:
                    await again.run_sync(_clear)


def scratch_name(address: DatabaseAddress) -> str:
    """The name of the database beside this one. A long name is cut, and told from its like by a hash."""
    name = address.database_name
    if len(name.encode()) + len(SUFFIX) <= _LONGEST_NAME:
        return name + SUFFIX
    ending = f"_{hashlib.sha256(name.encode()).hexdigest()[:8]}{SUFFIX}"
    return name.encode()[: _LONGEST_NAME - len(ending)].decode(errors="ignore") + ending


@asynccontextmanager
async def _locked(address: DatabaseAddress) -> AsyncIterator[AsyncConnection]:
    """A connection that holds the lock, and lies idle for as long as the drill takes."""
    async with server_connection(address) as opened:
        await opened.execution_options(isolation_level="AUTOCOMMIT")
        await opened.run_sync(_lock)
        await opened.execute(text(_STAY_IDLE[address.dialect_name]))
        yield opened


def _lock(connection: Connection) -> None:
    # Held by the session, and so until it ends.
    if connection.dialect.name == "postgresql":
        got = connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK_NUMBER})")).scalar()
    else:
        got = connection.execute(text("SELECT GET_LOCK(concat('holdfast_drill_', md5(DATABASE())), 0)")).scalar()
    if not got:
        raise ScratchBusyError("another drill on this database is under way: wait for its end")


async def _refuse_another(opened: AsyncConnection, there: DatabaseAddress, name: str) -> None:
    """Where a database of that name is there, it must bear the mark of a drill or be empty."""
    if not await opened.run_sync(_exists, name):
        return
    async with server_connection(there) as inside:
        found = [str(each) for (each,) in await inside.execute(text(_EVERYTHING[there.dialect_name]))]
    if found and _MARK not in found:
        raise ScratchTakenError(
            f"there is a database {name} already, which holds {found[0]} and no mark of a drill: drop or rename it, or"
            " name a database for drills in HOLDFAST_DRILL_DATABASE_URL"
        )


def _exists(connection: Connection, name: str) -> bool:
    query = {
        "postgresql": "SELECT count(*) FROM pg_database WHERE datname = :name",
        "mariadb": "SELECT count(*) FROM information_schema.schemata WHERE schema_name = :name",
    }[connection.dialect.name]
    return bool(connection.execute(text(query), {"name": name}).scalar())


def _found_in(connection: Connection) -> list[str]:
    inspector = inspect(connection)
    return sorted([*inspector.get_table_names(), *inspector.get_view_names()])


def _create(connection: Connection, name: str) -> None:
    quoted = connection.dialect.identifier_preparer.quote_identifier(name)
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"CREATE DATABASE {quoted} TEMPLATE template0"))
    else:
        connection.execute(text(f"CREATE DATABASE {quoted} CHARACTER SET utf8mb4"))


def _drop(connection: Connection, name: str) -> None:
    quoted = connection.dialect.identifier_preparer.quote_identifier(name)
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)"))
    else:
        connection.execute(text(f"DROP DATABASE IF EXISTS {quoted}"))


def _clear(connection: Connection) -> None:
    quote = connection.dialect.identifier_preparer.quote_identifier
    is_mariadb = connection.dialect.name == "mariadb"
    inspector = inspect(connection)
    for view in inspector.get_view_names():
        connection.execute(text(f"DROP VIEW {quote(view)}"))
    if is_mariadb:
        connection.execute(text("SET foreign_key_checks = 0"))
    if tables := inspector.get_table_names():
        connection.execute(text(f"DROP TABLE {', '.join(map(quote, tables))}{'' if is_mariadb else ' CASCADE'}"))
    for name in ("cleanup_soft_deleted", "cleanup_audit_logs"):
        connection.execute(text(f"DROP PROCEDURE IF EXISTS {name}"))


def _translated(error: DBAPIError, address: DatabaseAddress, name: str) -> Exception:
    told = str(error.orig)
    if not any(each in told for each in _FORBIDDEN):
        return error
    user = address.user_name
    grants = {
        "postgresql": f'ALTER ROLE "{user}" CREATEDB;',
        "mariadb": "GRANT ALL PRIVILEGES ON `" + name.replace("_", "\\_") + f"`.* TO '{user}'@'%';",
    }
    return ScratchForbiddenError(
        f"user {user} may not make the database {name}, which a drill restores to: let an administrator run"
        f" {grants[address.dialect_name]} or name a database made for drills in HOLDFAST_DRILL_DATABASE_URL"
    )

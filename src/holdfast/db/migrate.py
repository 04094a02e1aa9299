"""Bring a database to a revision, say where it stands, and hold its live catalogue against the tables.

Two migrations never run at once: each takes a lock of the server (SQLite: of the file) first.
"""

import asyncio
import importlib
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import msgspec
from sqlalchemy import URL, Connection, create_engine, event, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from holdfast.db.address import DatabaseAddress
from holdfast.db.catalogue import find_drift, find_drift_of_newer, find_wrong_procedures
from holdfast.db.errors import ConnectionLostError, DatabaseError, SchemaDriftError
from holdfast.db.migrations.files import known_revisions
from holdfast.db.sqlite_driver import sqlite3
from holdfast.db.unfinished import refuse_unfinished

Result = TypeVar("Result")

_LOCK_NUMBER = 7_305_802_110
_LOCK_WAIT_SECONDS = 60


class SchemaStatus(msgspec.Struct, frozen=True):
    """Where a database stands: its revision (None when empty), the newest one, and those still to come.

    `made_anew` are procedures that an upgrade found missing or changed, and made again. `is_ahead` where a newer
    version has upgraded it and lets this version's code run on it: an upgrade is being rolled out.
    """

    current: str | None
    head: str
    pending: list[str]
    made_anew: list[str] = []
    is_ahead: bool = False


async def migrate(address: DatabaseAddress, revision: str = "head") -> SchemaStatus:
    """Upgrade to a revision; a second run changes nothing, nor does one on a database that is ahead."""
    return await on_database(address, lambda connection: _upgrade(connection, revision), locked=True)


async def downgrade(address: DatabaseAddress, revision: str) -> SchemaStatus:
    """Go back to a revision; `base` removes every table and so every row."""
    return await on_database(address, lambda connection: _downgrade(connection, revision), locked=True)


async def schema_status(address: DatabaseAddress) -> SchemaStatus:
    """The revision of a database and what is pending."""
    return await on_database(address, _status)


async def check_schema(address: DatabaseAddress) -> SchemaStatus:
    """Refuse a database whose revision or live catalogue is not what this version needs, with the names.

    One that is ahead and serves this version's code has all that this version needs, and so is not refused.
    """
    status, findings = await on_database(address, _checked)
    if status.current is None:
        raise SchemaDriftError("the database is empty: run `holdfast migrate` first")
    if status.pending:
        raise SchemaDriftError(
            f"the database is at revision {status.current}, this version needs {status.head}: run `holdfast migrate`",
            pending=status.pending,
        )
    if findings:
        listed = "\n  ".join(findings)
        raise SchemaDriftError(f"the live schema differs from what this version needs:\n  {listed}", findings=findings)
    return status


async def on_database(
    address: DatabaseAddress, work: Callable[[Connection], Result], *, locked: bool = False
) -> Result:
    """What `work` gives on a connection of its own; `locked` where no migration may run beside it."""
    try:
        if address.dialect_name == "sqlite":
            return await asyncio.to_thread(_on_sqlite, address, work, locked=locked)
        async with _server_connection(address) as connection:
            if locked:
                await connection.run_sync(_lock_server)
            done: Result = await connection.run_sync(work)
            return done
    except (DBAPIError, OSError) as error:
        raise _unusable(address, error) from error


def _on_sqlite(address: DatabaseAddress, work: Callable[[Connection], Result], *, locked: bool) -> Result:
    address.path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(address.path)),
        module=sqlite3,
        poolclass=NullPool,
        connect_args={"timeout": _LOCK_WAIT_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def _set_up(driver_connection: Any, record: Any) -> None:
        driver_connection.isolation_level = None
        _use_write_ahead_log(driver_connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # pysqlite would commit before DDL; an explicit BEGIN keeps a migration whole, and IMMEDIATE is the lock.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if locked else "BEGIN")

    with engine.connect() as connection:
        return work(connection)


def _use_write_ahead_log(driver_connection: Any) -> None:
    # While another process creates the file, SQLite refuses to change the mode at once, whatever its timeout says.
    deadline = time.monotonic() + _LOCK_WAIT_SECONDS
    while True:
        try:
            driver_connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _server_connection(address: DatabaseAddress) -> AbstractAsyncContextManager[Any]:
    opened: AbstractAsyncContextManager[Any] = importlib.import_module(
        "holdfast.db.server_connection"
    ).server_connection(address)
    return opened


def _lock_server(connection: Connection) -> None:
    # Held by the session, so that it survives the commits of each migration and goes with the connection.
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET lock_timeout = '{_LOCK_WAIT_SECONDS}s'"))
        connection.execute(text(f"SELECT pg_advisory_lock({_LOCK_NUMBER})"))
        connection.execute(text("SET lock_timeout = 0"))
        got: Any = 1
    else:
        got = connection.execute(text(f"SELECT GET_LOCK('holdfast_migrate', {_LOCK_WAIT_SECONDS})")).scalar()
    connection.commit()
    if got != 1:
        raise DatabaseError("another migration has been running for a minute; wait for its end, then try again")


def _upgrade(connection: Connection, revision: str) -> SchemaStatus:
    status = _status(connection)  # refuses a database of a newer version
    connection.commit()
    if status.is_ahead and revision == "head":
        return status
    if status.pending or revision != "head":
        _migrations().upgrade(connection, revision)
        connection.commit()
        status = _status(connection)
    made_anew = [] if status.pending else _repair_procedures(connection)
    connection.commit()
    return msgspec.structs.replace(status, made_anew=made_anew)


def _repair_procedures(connection: Connection) -> list[str]:
    """A backup may lack them (`mariadb-dump` without `--routines`), and somebody may have changed one."""
    wrong = find_wrong_procedures(connection)
    for name, statement in wrong.items():
        for signature in _signatures(connection, name):
            connection.exec_driver_sql(f"DROP PROCEDURE {signature}")
        connection.exec_driver_sql(statement)
    return list(wrong)


def _signatures(connection: Connection, name: str) -> list[str]:
    """What to drop: PostgreSQL may have several of a name."""
    if connection.dialect.name == "mariadb":
        return [f"IF EXISTS {name}"]
    found = connection.execute(
        text(
            "SELECT oid::regprocedure::text FROM pg_proc"
            " WHERE proname = :name AND pronamespace = current_schema()::regnamespace"
        ),
        {"name": name},
    )
    return [str(signature) for (signature,) in found]


def _downgrade(connection: Connection, revision: str) -> SchemaStatus:
    status = _status(connection)
    if status.is_ahead:
        raise _made_by_a_newer(status.current)
    connection.commit()
    _migrations().downgrade(connection, revision)
    connection.commit()
    return _status(connection)


def _status(connection: Connection) -> SchemaStatus:
    refuse_unfinished(connection)
    known = known_revisions()
    current = _current_revision(connection)
    if current is not None and current not in known:
        if _serves_code_from(connection) not in known:
            raise _made_by_a_newer(current)
        return SchemaStatus(current=current, head=known[-1], pending=[], is_ahead=True)
    pending = known if current is None else known[known.index(current) + 1 :]
    return SchemaStatus(current=current, head=known[-1], pending=pending)


def _current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return revision


def _serves_code_from(connection: Connection) -> str | None:
    """From which revision on code may use the schema, as the newer version that upgraded it says."""
    columns = {column["name"] for column in inspect(connection).get_columns("alembic_version")}
    if "serves_code_from" not in columns:
        return None
    oldest: str | None = connection.execute(text("SELECT serves_code_from FROM alembic_version")).scalar_one_or_none()
    return oldest


def _checked(connection: Connection) -> tuple[SchemaStatus, list[str]]:
    status = _status(connection)
    return status, find_drift_of_newer(connection) if status.is_ahead else find_drift(connection)


def _made_by_a_newer(revision: str | None) -> SchemaDriftError:
    return SchemaDriftError(
        f"the database is at revision {revision}, which this version does not know: it was made by a newer Holdfast"
        " and does not serve this version"
    )


def _migrations() -> Any:
    """What runs them, with Alembic: a tenth of a server's memory, and most servers start with nothing to migrate."""
    return importlib.import_module("holdfast.db.migrations.run")


def _unusable(address: DatabaseAddress, error: Exception) -> DatabaseError | ConnectionLostError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(error, DBAPIError) and not error.connection_invalidated and not isinstance(cause, OSError):
        return DatabaseError(f"{address.shown}: {cause}")
    return ConnectionLostError(f"{address.shown} cannot be reached: {cause}")

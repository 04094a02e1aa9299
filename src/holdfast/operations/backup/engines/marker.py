"""What a server's database holds of Holdfast, and making room in it for a restore."""

import importlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy import Connection, inspect, text

from holdfast.db import filling
from holdfast.db.address import DatabaseAddress
from holdfast.db.key_map import KEY_MAP_TABLES
from holdfast.db.migrate import on_database
from holdfast.db.migrations.files import newest_procedures
from holdfast.db.tables import metadata
from holdfast.db.tables.views import VIEWS
from holdfast.db.unfinished import mark_finished, mark_unfinished, unfinished_backup
from holdfast.operations.backup.engines.base import Engine, StillAlone, TargetState
from holdfast.operations.backup.errors import RestoreRefusedError
from holdfast.settings import Settings

_LOCK_NUMBER = 7_305_802_112
_LOCK_NAME = "concat('holdfast_restore_', md5(DATABASE()))"
_OWN_TABLES = {*metadata.tables, "alembic_version", filling.TABLE, *KEY_MAP_TABLES}
# The session that holds the lock of this restore is not another one.
_SESSIONS = {
    "postgresql": (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name IN ('holdfast', 'pg_restore')"
    ),
    "mariadb": (
        "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE()"  # noqa: S608
        f" AND id NOT IN (CONNECTION_ID(), coalesce(IS_USED_LOCK({_LOCK_NAME}), 0))"
    ),
}
_SIGNATURES = (
    "SELECT oid::regprocedure::text FROM pg_proc"
    " WHERE proname = :name AND pronamespace = current_schema()::regnamespace"
)
_VERSION = {"postgresql": "SHOW server_version", "mariadb": "SELECT version()"}


class ServerEngine(Engine):
    """What PostgreSQL and MariaDB have in common: a lock of the server's keeps other restores away, a table marks."""

    def alone(self, address: DatabaseAddress) -> AbstractAsyncContextManager[StillAlone]:
        return _sole_restore(address)

    async def inspect(self, settings: Settings, address: DatabaseAddress) -> TargetState:
        return await inspect_server(address)

    async def make_room(self, address: DatabaseAddress, state: TargetState, backup_id: str) -> str | None:
        await _make_room(address, state, backup_id)
        return None

    async def declare_finished(self, address: DatabaseAddress) -> None:
        await on_database(address, mark_finished)


@asynccontextmanager
async def _sole_restore(address: DatabaseAddress) -> AsyncIterator[StillAlone]:
    """A lock of the server's, which a session holds until the block ends; a killed process lets go of it, too."""
    # Loaded here, as `holdfast.db.migrate` does: it weighs much, and a server imports this module but never restores.
    connections = importlib.import_module("holdfast.db.server_connection")
    async with connections.server_connection(address) as opened:
        await opened.execution_options(isolation_level="AUTOCOMMIT")
        if not await opened.run_sync(_lock):
            raise RestoreRefusedError(f"another restore into {address.shown} is under way: wait for its end")

        async def still_alone() -> None:
            # The session that has the lock gets it as often as it asks; one that was lost meanwhile says so.
            await opened.run_sync(_lock)

        yield still_alone


def _lock(connection: Connection) -> bool:
    # The session lies idle while the restore goes on, for hours perhaps.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET application_name = 'holdfast_restore'"))
        connection.execute(
            text("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
        )
        return bool(connection.execute(text(f"SELECT pg_try_advisory_lock({_LOCK_NUMBER})")).scalar())
    connection.execute(text("SET SESSION wait_timeout = 2147483"))
    return bool(connection.execute(text(f"SELECT GET_LOCK({_LOCK_NAME}, 0)")).scalar())


async def inspect_server(address: DatabaseAddress) -> TargetState:
    """What a server's database holds of Holdfast."""
    return await on_database(address, _state)


def _state(connection: Connection) -> TargetState:
    inspector = inspect(connection)
    tables, views = set(inspector.get_table_names()), set(inspector.get_view_names())
    return TargetState(
        server_version=str(connection.execute(text(_VERSION[connection.dialect.name])).scalar()),
        own_tables=sorted(tables & _OWN_TABLES),
        own_views=sorted(views & set(VIEWS)),
        sessions=int(connection.execute(text(_SESSIONS[connection.dialect.name])).scalar() or 0),
        unfinished=unfinished_backup(connection),
    )


async def _make_room(address: DatabaseAddress, state: TargetState, backup_id: str) -> None:
    """Mark the database and drop what is Holdfast's own there: its views, its tables, nobody else's."""

    def work(connection: Connection) -> None:
        quote = connection.dialect.identifier_preparer.quote
        # First the mark: a database that loses its tables must never pass for an empty one.
        mark_unfinished(connection, backup_id)
        for name in state.own_views:
            connection.execute(text(f"DROP VIEW IF EXISTS {quote(name)}"))
        if connection.dialect.name == "mariadb":
            connection.execute(text("SET foreign_key_checks = 0"))
        if state.own_tables:
            connection.execute(text(f"DROP TABLE IF EXISTS {', '.join(map(quote, state.own_tables))}"))
        _drop_procedures(connection)
        connection.commit()

    await on_database(address, work)


def _drop_procedures(connection: Connection) -> None:
    """Those that migrations make, which the dump brings back."""
    dialect_name = connection.dialect.name
    for name in {statement.partition("(")[0].split()[-1] for statement in newest_procedures(dialect_name)}:
        signatures = [name]
        if dialect_name == "postgresql":
            # It may have several of a name.
            found = connection.execute(text(_SIGNATURES), {"name": name})
            signatures = [str(signature) for (signature,) in found]
        for signature in signatures:
            connection.execute(text(f"DROP PROCEDURE IF EXISTS {signature}"))

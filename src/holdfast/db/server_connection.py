"""A connection of SQLAlchemy to a server, for migrations and the catalogue.

`holdfast.db.migrate` loads it for servers only: it brings the object-relational half of SQLAlchemy along, which nothing
else here uses.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from holdfast.db.address import DatabaseAddress
from holdfast.db.engines import load_engine
from holdfast.db.errors import ConnectionLostError


@asynccontextmanager
async def server_connection(address: DatabaseAddress) -> AsyncIterator[AsyncConnection]:
    """A connection of its own, closed with the block. Raises ConnectionLostError where the server is not reached."""
    engine = _server_engine(address)
    try:
        connection = await _connect(engine, address)
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await engine.dispose()


async def _connect(engine: AsyncEngine, address: DatabaseAddress) -> AsyncConnection:
    try:
        return await engine.connect()
    except (DBAPIError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise ConnectionLostError(f"{address.shown} cannot be reached: {cause}") from error


def _server_engine(address: DatabaseAddress) -> AsyncEngine:
    # The drivers read the address themselves, as they do for the server: SQLAlchemy knows fewer of their options.
    open_connection = load_engine(address.dialect_name).open_connection
    if address.dialect_name == "postgresql":
        url, connect = "postgresql+asyncpg://", partial(open_connection, address.dsn, address.hosts)
    else:
        url, connect = "mariadb+asyncmy://", partial(open_connection, address.connect_arguments_of_hosts)
    return create_async_engine(url, async_creator=connect, poolclass=NullPool)

"""The live catalogue of a database, asked through SQLAlchemy and, on the servers, through other drivers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, inspect
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from holdfast.db.sqlite_driver import sqlite3

_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}


def other_engine(url: str) -> Engine:
    """A plain SQLAlchemy engine on the database."""
    address = make_url(url)
    # Two SQLite libraries in one process take each other's locks away, so the file is opened by the product's own.
    options: dict[str, Any] = {"module": sqlite3} if address.drivername == "sqlite" else {}
    return create_engine(address.set(drivername=_DRIVERS[address.drivername]), poolclass=NullPool, **options)


@contextmanager
def other_connection(url: str) -> Iterator[Connection]:
    """A connection that commits each statement."""
    engine = other_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()


class LiveTable:
    """What the catalogue says of one table."""

    def __init__(self, connection: Connection, name: str) -> None:
        inspector = inspect(connection)
        self.columns: dict[str, Any] = {column["name"]: column for column in inspector.get_columns(name)}
        self.key: list[str] = inspector.get_pk_constraint(name)["constrained_columns"]
        indexes: list[Any] = list(inspector.get_indexes(name))
        self.uniques: list[list[str]] = [each["column_names"] for each in inspector.get_unique_constraints(name)]
        self.uniques += [each["column_names"] for each in indexes if each["unique"]]
        self.indexes: list[list[str]] = [each["column_names"] for each in indexes]
        self.foreign_keys = {
            key["constrained_columns"][0]: (
                f"{key['referred_table']}.{key['referred_columns'][0]}",
                key["options"].get("ondelete"),
                key["options"].get("onupdate"),
            )
            for key in inspector.get_foreign_keys(name)
        }

    def begins_an_index(self, columns: list[str]) -> bool:
        """Whether an index, a unique key or the primary key begins with the columns."""
        return any(key[: len(columns)] == columns for key in [self.key, *self.uniques, *self.indexes])


def live_tables(url: str, names: list[str]) -> dict[str, LiveTable]:
    """The named tables as the catalogue has them."""
    with other_connection(url) as connection:
        return {name: LiveTable(connection, name) for name in names}


def table_names(url: str) -> set[str]:
    """All tables of a database, without the one that holds its revision."""
    with other_connection(url) as connection:
        return set(inspect(connection).get_table_names()) - {"alembic_version"}


def view_names(url: str) -> set[str]:
    """All views of a database."""
    with other_connection(url) as connection:
        return set(inspect(connection).get_view_names())

"""An older database that is a file of SQLite: opened so that it can only be read, and read as of one moment."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Executable, Result, create_engine
from sqlalchemy.pool import StaticPool

from holdfast.db.sqlite_driver import sqlite3
from holdfast.operations.legacy.loose import sortable_time, text_of
from holdfast.operations.legacy.types import LegacyError

# What a query may call to sort times of all spellings.
SORTABLE_TIME = "holdfast_sortable_time"
_WAIT_SECONDS = 60
_TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    " AND sql NOT LIKE 'CREATE VIRTUAL %'"
)
# Of a virtual table a column may be hidden; the generated ones are columns like others.
_HIDDEN = 1


class FileConnection:
    """Answers queries as a connection to a server does. SQLite runs in a thread of its own."""

    def __init__(self, connection: Connection, thread: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._thread = thread

    async def execute(self, statement: Executable, /) -> Result[Any]:
        """The whole result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._execute, statement)

    def _execute(self, statement: Executable) -> Result[Any]:
        found: Result[Any] = self._connection.execute(statement).freeze()()
        return found


@asynccontextmanager
async def reading(path: Path) -> AsyncIterator[FileConnection]:
    """The file as of one moment, in which others may go on writing.

    Where the file has a write-ahead log, that is a read transaction. With the older rollback journal a reader would
    hold every writer up, so there it is a copy, in the folder for temporary files.
    """
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix="holdfast-legacy-") as folder, ThreadPoolExecutor(1) as thread:
        run = partial(loop.run_in_executor, thread)
        try:
            connection = await run(_open_moment, path, Path(folder) / "copy.db")
        except sqlite3.Error as error:
            raise unreadable(path, error) from error
        try:
            yield FileConnection(connection, thread)
        finally:
            await run(_close, connection)


def declared_columns(path: Path) -> dict[str, dict[str, str]]:
    """The columns of every table with the types that they were declared with, all names in lower case.

    LegacyError where the file cannot be read, or is none.
    """
    try:
        with closing(open_to_read(path)) as connection:
            names = [str(name) for (name,) in connection.execute(_TABLES)]
            return {name.lower(): _columns_of(connection, name) for name in names}
    except sqlite3.Error as error:
        raise unreadable(path, error) from error


def open_to_read(path: Path) -> Any:
    """A connection that cannot write. The file is not made where it is missing."""
    connection = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=_WAIT_SECONDS,
        check_same_thread=False,
    )
    connection.text_factory = text_of
    connection.execute("PRAGMA query_only = ON")
    # SQLite's own lower() knows ASCII only.
    connection.create_function("lower", 1, _folded, deterministic=True)
    connection.create_function(SORTABLE_TIME, 1, sortable_time, deterministic=True)
    return connection


def unreadable(path: Path, error: Exception) -> LegacyError:
    """The error for a file that SQLite could not read, with what to do."""
    said = str(error)
    hints = {
        "unable to open": ": there is no such file, or it or its folder may not be read",
        "not a database": ": it is another kind of file, or an encrypted one",
        "readonly": (
            ": the program that wrote it died in the middle of a change, or its folder cannot be written; let that"
            " program open it once, or copy it with all that is named like it to another folder"
        ),
        "locked": ": another program is writing to it; try again, or stop that program",
    }
    hint = next((hint for words, hint in hints.items() if words in said), "")
    return LegacyError(f"{path} cannot be read ({said}){hint}")


def _open_moment(path: Path, copy: Path) -> Connection:
    driver_connection = open_to_read(path)
    try:
        ((mode,),) = driver_connection.execute("PRAGMA journal_mode").fetchall()
        if mode != "wal":
            with closing(driver_connection), closing(sqlite3.connect(str(copy), isolation_level=None)) as writing:
                driver_connection.backup(writing)
            driver_connection = open_to_read(copy)
        engine = create_engine(
            "sqlite+pysqlite://", module=sqlite3, creator=lambda: driver_connection, poolclass=StaticPool
        )
        connection = engine.connect()
        connection.exec_driver_sql("BEGIN")
        # The moment is that of the first read.
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").fetchall()
    except BaseException:
        driver_connection.close()
        raise
    return connection


def _close(connection: Connection) -> None:
    connection.close()
    connection.engine.dispose()


def _columns_of(connection: Any, name: str) -> dict[str, str]:
    quoted = name.replace('"', '""')
    rows = connection.execute(f'PRAGMA table_xinfo("{quoted}")')
    return {str(column).lower(): str(declared or "") for _, column, declared, *_, hidden in rows if hidden != _HIDDEN}


def _folded(value: Any) -> str | None:
    text = text_of(value)
    return None if text is None else text.casefold()

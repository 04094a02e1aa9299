"""A mark in a database that is being filled: until it is taken away, nobody may serve what is there so far.

The mark is a table of its own, which no migration knows: it is there before the first row, and goes after the last one
was verified. Whoever fills the database counts its beats up, so that others can tell whether somebody is at it. The
mark has an owner: who was taken for dead and lives on finds another one there, and must end.
"""

import re

import msgspec
from sqlalchemy import Connection, inspect

from holdfast.core.errors import ConflictError
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import SchemaDriftError

TABLE = "holdfast_unfinished"
SENTENCE = (
    f"table {TABLE} is there: an import into this database goes on, or was broken off; wait for its end, or run it"
    " again"
)
_PLAIN = re.compile(r"[A-Za-z0-9_ -]{1,100}\Z")
_IS_THERE = {
    "sqlite": f"SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '{TABLE}'",
    "postgresql": (
        "SELECT count(*) FROM information_schema.tables"
        f" WHERE table_schema = current_schema() AND table_name = '{TABLE}'"
    ),
    "mariadb": (
        f"SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '{TABLE}'"
    ),
}


class MarkLostError(ConflictError):
    """The mark is gone, or another's."""

    code = "mark_lost"


class Unfinished(msgspec.Struct, frozen=True):
    """What fills the database, how often it has said so, and who it is; nobody where it died setting the mark."""

    what: str
    beats: int
    owner: str | None


async def begin_filling(tx: Transaction, what: str, owner: str) -> None:
    """Set the mark. `what` is a word or two for people, such as `import`; `owner` is random."""
    await tx.fetch_text(
        f"CREATE TABLE {TABLE}"
        " (what VARCHAR(100) NOT NULL PRIMARY KEY, beats INTEGER NOT NULL, owner VARCHAR(100) NOT NULL)"
    )
    await _put_mark(tx, what, owner)


async def find_unfinished(tx: Transaction) -> Unfinished | None:
    """The mark, or None where the database is nobody's work in progress."""
    if not await _is_there(tx):
        return None
    rows = await tx.fetch_text(f"SELECT what, beats, owner FROM {TABLE}")
    # MariaDB may have the table before the row.
    return Unfinished(*rows[0]) if rows else Unfinished("import", 0, None)


def refuse_half_filled(connection: Connection) -> None:
    """Raise SchemaDriftError where the database bears the mark."""
    if inspect(connection).has_table(TABLE):
        raise SchemaDriftError(SENTENCE)


async def take_over(database: Database, mark: Unfinished, owner: str) -> None:
    """Become the owner of a mark that nobody counts up. MarkLostError: somebody does, or took it just now."""
    async with database.write() as tx:
        if not await _is_there(tx):
            raise MarkLostError("the mark is gone")
        if mark.owner is None and not await tx.fetch_text(f"SELECT what FROM {TABLE}"):
            await _put_mark(tx, mark.what, owner)
        was = _plain(mark.owner or owner)
        await tx.fetch_text(
            f"UPDATE {TABLE} SET owner = '{_plain(owner)}', beats = beats + 1"
            f" WHERE owner = '{was}' AND beats = {mark.beats}"
        )
        await _require_owner(tx, owner)


async def beat(database: Database, owner: str) -> None:
    """Say that the filling goes on. MarkLostError: it must not."""
    async with database.write() as tx:
        await _beat(tx, owner)


async def end_filling(database: Database, owner: str) -> None:
    """Take the mark away: the database is whole. MarkLostError: it is another's by now."""
    async with database.write() as tx:
        # A row that was written is locked, so that nobody takes the mark over in between.
        await _beat(tx, owner)
        await tx.fetch_text(f"DROP TABLE {TABLE}")


async def _beat(tx: Transaction, owner: str) -> None:
    if not await _is_there(tx):
        raise MarkLostError("the mark is gone")
    await tx.fetch_text(f"UPDATE {TABLE} SET beats = beats + 1 WHERE owner = '{_plain(owner)}'")
    await _require_owner(tx, owner)


async def _require_owner(tx: Transaction, owner: str) -> None:
    ((count,),) = await tx.fetch_text(f"SELECT count(*) FROM {TABLE} WHERE owner = '{_plain(owner)}'")
    if not count:
        raise MarkLostError("the mark is another's")


async def _put_mark(tx: Transaction, what: str, owner: str) -> None:
    await tx.fetch_text(f"INSERT INTO {TABLE} (what, beats, owner) VALUES ('{_plain(what)}', 0, '{_plain(owner)}')")


async def _is_there(tx: Transaction) -> bool:
    ((count,),) = await tx.fetch_text(_IS_THERE[tx.dialect_name])
    return bool(count)


def _plain(text: str) -> str:
    if not _PLAIN.match(text):
        raise ValueError(f"{text!r} is not plain enough for the mark of an unfinished database")
    return text

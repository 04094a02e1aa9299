"""The checksum of a whole database: of each table the exact number of rows and a SHA-256 of all of them.

The SHA-256 of a table is that of its rows as lines of canonical JSON (`db.lifecycle.row_format`), each with its line
end, in the order of the primary key. It is the same on every engine, and that of the table's file in an export.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing

import msgspec

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.tables import metadata
from holdfast.operations.table_rows import Lines, count_all, lines_of

# Called with the share that is done, up to 1.
Progress = Callable[[float], None]


class TableChecksum(msgspec.Struct, frozen=True):
    """How many rows a table holds, deleted ones too, and the SHA-256 of them all in hexadecimal."""

    rows: int
    sha256: str


# By the names of the tables.
Checksums = dict[str, TableChecksum]


class Difference(msgspec.Struct, frozen=True):
    """A table that is not the same; None where there is no such table at all."""

    table: str
    before: TableChecksum | None
    after: TableChecksum | None

    @property
    def sentence(self) -> str:
        """What differs, in words."""
        if self.before is None or self.after is None:
            return f"{self.table}: the table is {'missing' if self.after is None else 'new'}"
        if self.before.rows != self.after.rows:
            return f"{self.table}: {self.after.rows} rows instead of {self.before.rows}"
        old, new = self.before.sha256[:12], self.after.sha256[:12]
        return f"{self.table}: {self.after.rows} rows as before, but other ones: SHA-256 {new}… instead of {old}…"


def _nothing(share: float) -> None:
    return


async def read_checksums(database: Database, *, progress: Progress = _nothing) -> Checksums:
    """The checksums of every table, all of one moment, while others write."""
    async with database.snapshot() as tx:
        return await checksums_in(tx, progress=progress)


async def checksums_in(tx: Transaction, *, progress: Progress = _nothing) -> Checksums:
    """As `read_checksums`, as a transaction of `Database.snapshot` sees the tables."""
    expected = max(sum((await count_all(tx)).values()), 1)
    found: Checksums = {}
    done = 0
    for table in metadata.sorted_tables:
        digest, rows = hashlib.sha256(), 0
        async with aclosing(lines_of(tx, table)) as pages:
            async for lines in pages:
                await in_thread(_take_in, digest, lines)
                rows += len(lines)
                progress(min((done + rows) / expected, 1.0))
        done += rows
        found[table.name] = TableChecksum(rows, digest.hexdigest())
    progress(1.0)
    return found


def _take_in(digest: "hashlib._Hash", lines: Lines) -> None:
    digest.update(b"\n".join(lines) + b"\n")


def compare(
    before: Mapping[str, TableChecksum], after: Mapping[str, TableChecksum], *, leaving_out: Collection[str] = ()
) -> list[Difference]:
    """The tables that differ, in the order of their names, `leaving_out` those named; none where all are equal."""
    names = sorted((before.keys() | after.keys()) - set(leaving_out))
    return [
        Difference(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    ]

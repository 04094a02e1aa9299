"""The rows of an export put into an empty database: parents first, in short transactions, each row as it is."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from sqlalchemy import Table

from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Database
from holdfast.db.filling import MarkLostError, beat
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.row_format import RowFormat, format_of, line_of
from holdfast.db.lifecycle.upgrades import Step, steps_between
from holdfast.db.migrations.files import known_revisions
from holdfast.db.numbering import go_on_after
from holdfast.db.tables import metadata
from holdfast.operations.checksums import Checksums, TableChecksum
from holdfast.operations.transfer import queries
from holdfast.operations.transfer.file import ExportRefusedError, InstanceReader

# A commit waits for the disk; more rows at once gain little.
_ROWS_AT_ONCE = 5_000
_BYTES_AT_ONCE = 2 * 1024 * 1024
_SECONDS_BETWEEN_BEATS = 2.0


@contextlib.asynccontextmanager
async def heart(database: Database, owner: str) -> AsyncIterator[None]:
    """Counts the beats of the mark up while the block runs, so that nobody takes this process for dead.

    Where somebody did, and the mark is theirs, the block is stopped with MarkLostError.
    """
    is_lost = False

    async def go_on(limit: asyncio.Timeout) -> None:
        nonlocal is_lost
        while True:
            try:
                await beat(database, owner)
            except MarkLostError:
                is_lost = True
                limit.reschedule(0)
                return
            except HoldfastError:
                # One that is missed is no harm; a lost database is told by the filling itself.
                pass
            await asyncio.sleep(_SECONDS_BETWEEN_BEATS)

    try:
        async with asyncio.timeout(None) as limit:
            beating = asyncio.create_task(go_on(limit))
            try:
                yield
            finally:
                beating.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await beating
    except TimeoutError:
        if is_lost:
            raise MarkLostError("the mark is another's") from None
        raise


class Filling:
    """One import while its rows go in."""

    def __init__(self, database: Database, reader: InstanceReader) -> None:
        self._database = database
        self._reader = reader
        self._steps = steps_between(reader.manifest.schema_revision, known_revisions()[-1])

    async def run(self, progress: Callable[[float], None]) -> Checksums:
        """Put every row in; the checksums that the database must have now."""
        whole, done = max(self._reader.manifest.size, 1), 0
        found: Checksums = {}
        for table in metadata.sorted_tables:
            digest, rows = hashlib.sha256(), 0
            pages = self._reader.pages(table.name, most_rows=_ROWS_AT_ONCE, most_bytes=_BYTES_AT_ONCE)
            with contextlib.closing(pages):
                while (lines := await in_thread(next, pages, None)) is not None:
                    parameters = await in_thread(self._taken_apart, table, lines, digest)
                    async with self._database.write() as tx:
                        await tx.execute_many(queries.INSERT[table.name], parameters)
                    rows += len(lines)
                    done += sum(map(len, lines)) + len(lines)
                    progress(min(done / whole, 1.0))
            found[table.name] = TableChecksum(rows, digest.hexdigest())
            self._require_canonical(table, found[table.name])
        await self._set_numbers()
        return found

    def _taken_apart(self, table: Table, lines: list[bytes], digest: Any) -> list[dict[str, Any]]:
        form = format_of(table)
        try:
            rows = [form.decode(_upgraded(table.name, line, self._steps)) for line in lines]
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ExportRefusedError(f"a line of {table.name}.jsonl is no row of that table: {error}") from error
        digest.update(b"\n".join(map(line_of, rows)) + b"\n")
        return _parameters(form, rows)

    def _require_canonical(self, table: Table, found: TableChecksum) -> None:
        """What is put in must be what the file holds, and not only mean the same; older rows are upgraded before."""
        held = self._reader.manifest.checksums().get(table.name)
        if held is not None and held != found and not self._steps:
            raise ExportRefusedError(f"{table.name}.jsonl does not hold its rows as an export writes them")

    async def _set_numbers(self) -> None:
        for name, number in self._reader.manifest.numbers.items():
            table = metadata.tables.get(name)
            if table is not None and table.autoincrement_column is not None:
                async with self._database.write() as tx:
                    await go_on_after(tx, table, number)


def _parameters(form: RowFormat, rows: list[Any]) -> list[dict[str, Any]]:
    return [form.parameters(row) for row in rows]


def _upgraded(name: str, line: bytes, steps: list[Step]) -> bytes:
    if not steps:
        return line
    fields = msgspec.json.decode(line)
    for step in steps:
        fields = step(name, fields)
    return msgspec.json.encode(fields)

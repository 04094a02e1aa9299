"""Making the recovery bundle of a deletion: its whole closure, as one moment had it, on the disk and checked again."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from holdfast.core.errors import ConflictError, NotFoundError
from holdfast.core.ids import is_id
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.bundle_file import (
    DELETIONS_FILE,
    POINTERS_FILE,
    SUFFIX,
    BundleReader,
    BundleWriter,
    LinesWriter,
    Manifest,
    open_bundle,
)
from holdfast.db.lifecycle.bundled_revision import revision_to_bundle
from holdfast.db.lifecycle.deletion_closure import (
    BUNDLED,
    DELETION_FORMAT,
    DELETION_ROW,
    NESTED_DELETIONS,
    POINTER_ROWS,
    POINTERS,
    STATEMENTS,
    PointerRow,
    closure_count,
    closure_source,
    is_soft,
)
from holdfast.db.lifecycle.graph import Edge
from holdfast.db.lifecycle.row_format import RowFormat, format_of, line_of
from holdfast.db.statements import Query

# The event loop makes the rows of a page in a millisecond.
ROWS_AT_ONCE = 200

Result = TypeVar("Result")

Pages = AsyncGenerator[list[Any], None]
Renew = Callable[[], Awaitable[None]]


class LiveRowBeneathError(ConflictError):
    """A live row hangs on a deleted one, which must not be: nothing may take it."""

    code = "live_row_beneath"


class Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of `pointers.jsonl`: a surviving row whose `column` names a row of the bundle."""

    column: str
    key: list[str]
    table: str
    value: str


class Bundle(msgspec.Struct, frozen=True):
    """A bundle that was written and read again. `standing` is what the database held of it, in rows per table."""

    reader: BundleReader
    standing: dict[str, int]

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.reader.path

    @property
    def manifest(self) -> Manifest:
        """What it holds."""
        return self.reader.manifest


def bundle_path(folder: Path, deletion_id: str) -> Path:
    """Where the bundle of a deletion stands."""
    if not is_id(deletion_id):
        raise NotFoundError(f"there is no deletion {deletion_id!r}")
    return folder / f"{deletion_id}{SUFFIX}"


async def write_bundle(
    database: Database,
    deletion_id: str,
    folder: Path,
    *,
    made_at: datetime,
    renew: Renew,
    earlier: BundleReader | None = None,
) -> Bundle:
    """Write the bundle of a deletion and check it; `renew` is called now and then while it lasts.

    The rows of `earlier`, a bundle of the same deletion whose rows are partly gone, are taken along.
    """
    await _compile_all(database.dialect_name)
    with BundleWriter(bundle_path(folder, deletion_id)) as writer:
        async with database.snapshot() as tx:
            making = _Making(tx, deletion_id, writer, renew, earlier)
            facts = await making.write_all(database.dialect_name)
        await in_thread(partial(writer.finish, made_at=made_at, **facts))
    await renew()
    reader = await in_thread(open_bundle, writer.path)
    await renew()
    return Bundle(reader, making.standing)


async def _compile_all(dialect_name: str) -> None:
    """Compile what will be run, with pauses: one after the other would hold up requests for a tenth of a second."""
    for query in STATEMENTS:
        if query.is_compiled(dialect_name):
            continue
        started = time.monotonic()
        await in_thread(query.compiled, dialect_name)
        await asyncio.sleep(2 * (time.monotonic() - started))


async def count_closure(tx: Transaction, deletion_id: str) -> dict[str, int]:
    """How many rows of each table the closure holds; tables without any are left out."""
    counts: dict[str, int] = {}
    for table in BUNDLED:
        query = closure_count(table, counts)
        if query is not None and (count := await tx.fetch_count(query, deletion_id=deletion_id)):
            counts[table.name] = count
    return counts


async def pages_of(reader: BundleReader, name: str, at_most: int) -> AsyncGenerator[list[bytes], None]:
    """The lines of a bundle's file, read beside the event loop."""
    pages = reader.pages(name, at_most)
    try:
        while (page := await in_thread(next, pages, None)) is not None:
            yield page
    finally:
        pages.close()


async def in_thread(work: Callable[..., Result], *arguments: Any) -> Result:
    """Run beside the event loop, and wait for the end even when cancelled: the file is in use until then."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


class _Making:
    """A bundle while it is made, in the one transaction that reads its rows."""

    def __init__(
        self, tx: Transaction, deletion_id: str, writer: BundleWriter, renew: Renew, earlier: BundleReader | None
    ) -> None:
        self._tx = tx
        self._deletion_id = deletion_id
        self._writer = writer
        self._renew = renew
        self._earlier = earlier
        self._has_nested = earlier is not None
        self.standing: dict[str, int] = {}

    async def write_all(self, dialect_name: str) -> dict[str, Any]:
        """Write every file; the facts for the manifest."""
        deletion = await self._tx.fetch_one(DELETION_ROW, deletion_id=self._deletion_id)
        if deletion is None:
            raise NotFoundError(f"there is no deletion {self._deletion_id}")
        revision = await revision_to_bundle(self._tx)
        for table in BUNDLED:
            form = format_of(table)
            await self._write_rows(table.name, form, closure_source(table, self.standing), is_soft(table))
        await self._write_pointers()
        source = NESTED_DELETIONS if self._has_nested else DELETION_ROW
        await self._write_rows(DELETIONS_FILE.removesuffix(".jsonl"), DELETION_FORMAT, source, marked=False)
        self.standing.pop("deletions", None)
        subject = {name: getattr(deletion, name) for name in ("id", "root_type", "root_id", "root_label", "actor_name")}
        return {
            "kind": "deletion",
            "subject": subject,
            "dialect": dialect_name,
            "schema_revision": revision,
        }

    async def _write_rows(self, name: str, form: RowFormat, source: Query[Any] | None, marked: bool) -> None:
        if source is None and self._earlier is None:
            return
        lines = self._writer.begin(f"{name}.jsonl")
        rows = self._rows_of(source)
        if self._earlier is not None:
            rows = _merged(form, rows, _earlier_rows(self._earlier, f"{name}.jsonl", form))
        async with aclosing(rows):
            async for page in rows:
                if marked:
                    self._has_nested |= any(row.deletion_id != self._deletion_id for row in page)
                    _refuse_live(form, page)
                own_rows = sum(row.deletion_id == self._deletion_id for row in page) if marked else 0
                await in_thread(_write_page, lines, page, own_rows)
                await self._renew()
        lines.end()

    async def _rows_of(self, source: Query[Any] | None) -> Pages:
        if source is None:
            return
        name = source.row.__name__.removesuffix("_row")
        async with aclosing(self._tx.fetch_pages(source, ROWS_AT_ONCE, deletion_id=self._deletion_id)) as pages:
            async for page in pages:
                self.standing[name] = self.standing.get(name, 0) + len(page)
                yield page

    async def _write_pointers(self) -> None:
        lines = self._writer.begin(POINTERS_FILE)
        if self._earlier is not None:
            async for page in pages_of(self._earlier, POINTERS_FILE, ROWS_AT_ONCE):
                await in_thread(lines.write, page)
        for edge in POINTERS:
            if not self.standing.get(edge.parent.name):
                continue
            pages = self._tx.fetch_pages(POINTER_ROWS[edge.name], ROWS_AT_ONCE, deletion_id=self._deletion_id)
            async with aclosing(pages):
                async for rows in pages:
                    pointers = [_pointer(edge, row) for row in rows]
                    await in_thread(lines.write, [line_of(pointer) for pointer in pointers])
                    await self._renew()
        lines.end()


def _write_page(lines: LinesWriter, page: list[Any], own_rows: int) -> None:
    lines.write([line_of(row) for row in page], own_rows=own_rows)


def _pointer(edge: Edge, row: PointerRow) -> Pointer:
    key = [row.key_0, row.key_1] if row.key_1 else [row.key_0]
    return Pointer(column=str(edge.column.name), key=key, table=str(edge.child.name), value=row.value)


def _refuse_live(form: RowFormat, page: list[Any]) -> None:
    for row in page:
        if row.deletion_id == "":
            key = "/".join(map(str, form.key_of(row)))
            raise LiveRowBeneathError(
                f"{form.table.name} {key} is live, but hangs on a row of this deletion: nothing was removed."
                " Delete it, or put it elsewhere, then purge again"
            )


async def _earlier_rows(reader: BundleReader, name: str, form: RowFormat) -> Pages:
    async for page in pages_of(reader, name, ROWS_AT_ONCE):
        yield [form.decode(line) for line in page]


async def _merged(form: RowFormat, fresh: Pages, earlier: Pages) -> Pages:
    """The rows of both in the order of their keys, each key once, as the database has it now."""
    kept = await _next_page(earlier)
    async for page in fresh:
        merged = []
        for row in page:
            key = form.key_of(row)
            while kept and form.key_of(kept[0]) <= key:
                if form.key_of(kept[0]) < key:
                    merged.append(kept[0])
                kept.pop(0)
                kept = kept or await _next_page(earlier)
            merged.append(row)
        yield merged
    while kept:
        yield kept
        kept = await _next_page(earlier)


async def _next_page(pages: Pages) -> list[Any]:
    return await anext(pages, [])

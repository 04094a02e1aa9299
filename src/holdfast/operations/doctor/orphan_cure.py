"""The cure of orphans: they go into a verified recovery file, and then out of the database; pointers are emptied."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Table

from holdfast.core.errors import ConflictError
from holdfast.core.ids import new_long_id
from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.bundle import Pointer, in_thread, pages_of
from holdfast.db.lifecycle.bundle_file import (
    POINTERS_FILE,
    BundleReader,
    BundleWriter,
    LinesWriter,
    open_bundle,
)
from holdfast.db.lifecycle.bundled_revision import revision_to_bundle
from holdfast.db.lifecycle.deletion_closure import is_soft
from holdfast.db.lifecycle.graph import GRAPH, Edge
from holdfast.db.lifecycle.row_format import format_of, key_parameters, line_of
from holdfast.db.retries import with_retries
from holdfast.operations.doctor import orphan_queries as queries
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.deletion_counts import settle_counts
from holdfast.operations.doctor.orphan_files import orphan_file
from holdfast.operations.doctor.rows import ROWS_AT_ONCE
from holdfast.operations.doctor.types import Change, Subject

_PAUSE_SECONDS = 0.005


class OrphanChangedError(ConflictError):
    """What is to go is not what the recovery file holds; nothing more was removed."""

    code = "orphan_changed"


class RemoveOrphans:
    """Rows without their parent go, with what hangs on them; pointers to what is not there are emptied."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        for table in reversed(queries.TABLES):
            form = format_of(table)
            async with subject.database.snapshot() as tx:
                pages = tx.fetch_pages(queries.ROWS[table.name], ROWS_AT_ONCE)
                async with aclosing(pages):
                    async for page in pages:
                        ids = [_id_text(form.key_of(row)) for row in page]
                        yield _change(table, ids, "would go, after they are written to a recovery file")
        for edge in queries.POINTERS:
            async with subject.database.snapshot() as tx:
                found = tx.fetch_pages(queries.POINTER_ROWS[edge.name], ROWS_AT_ONCE)
                async with aclosing(found):
                    async for pointers in found:
                        ids = [_id_text((row.key_0, row.key_1)) for row in pointers]
                        yield _change(edge.child, ids, f"{edge.column.name} would be emptied")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        reader = await _write_file(subject)
        if reader is None:
            return
        for edge in queries.POINTERS:
            async for change in _unlink(subject, reader, edge):
                yield change
        for table in reversed(queries.TABLES):
            async for change in _remove(subject, reader, table):
                yield change


async def _write_file(subject: Subject) -> BundleReader | None:
    """The verified file with all that goes and all that is emptied; None where that is nothing."""
    file_id = new_long_id()
    path = orphan_file(subject.settings.resolved_bundle_dir, file_id)
    folder = path.parent
    if not subject.settings.bundle_dir:
        await asyncio.to_thread(partial(folder.mkdir, parents=True, exist_ok=True))
    else:
        # A folder that was named may be a disk that is not mounted: only what is below it is made here.
        await asyncio.to_thread(partial(folder.mkdir, exist_ok=True))
    with BundleWriter(path) as writer:
        async with subject.database.snapshot() as tx:
            written = await _write_all(tx, writer)
            if not written:
                return None
            revision = await revision_to_bundle(tx)
        facts = {"kind": "orphans", "subject": {"id": file_id}, "dialect": subject.database.dialect_name}
        await in_thread(partial(writer.finish, made_at=subject.clock(), schema_revision=revision, **facts))
    reader = await in_thread(open_bundle, path)
    if Counter(_rows_in(reader)) != written:
        raise OrphanChangedError(f"{path} does not hold the {written} rows that it should; nothing was removed")
    return reader


async def _write_all(tx: Transaction, writer: BundleWriter) -> Counter[str]:
    written: Counter[str] = Counter()
    for table in queries.TABLES:
        name = f"{table.name}.jsonl"
        lines = writer.begin(name)
        async with aclosing(tx.fetch_pages(queries.ROWS[table.name], ROWS_AT_ONCE)) as pages:
            async for page in pages:
                await in_thread(_write, lines, page)
                written[name] += len(page)
        lines.end()
    lines = writer.begin(POINTERS_FILE)
    for edge in queries.POINTERS:
        async with aclosing(tx.fetch_pages(queries.POINTER_ROWS[edge.name], ROWS_AT_ONCE)) as found:
            async for pointers in found:
                page = [_pointer(edge, row) for row in pointers]
                await in_thread(_write, lines, page)
                written[POINTERS_FILE] += len(page)
    lines.end()
    return written


def _write(lines: LinesWriter, page: list[Any]) -> None:
    lines.write([line_of(row) for row in page])


def _rows_in(reader: BundleReader) -> dict[str, int]:
    return {name: entry.rows for name, entry in reader.manifest.files.items()}


def _pointer(edge: Edge, row: Any) -> Pointer:
    key = [row.key_0, row.key_1] if row.key_1 else [row.key_0]
    return Pointer(column=str(edge.column.name), key=key, table=str(edge.child.name), value=row.value)


async def _unlink(subject: Subject, reader: BundleReader, edge: Edge) -> AsyncIterator[Change]:
    async for page in pages_of(reader, POINTERS_FILE, ROWS_AT_ONCE):
        pointers = [msgspec.json.decode(line, type=Pointer) for line in page]
        own = [each for each in pointers if (each.table, each.column) == (edge.child.name, edge.column.name)]
        if not own:
            continue
        change = _change(
            edge.child, [_id_text(each.key) for each in own], f"{edge.column.name} emptied; {reader.path} has it"
        )

        async def empty(own: list[Pointer] = own, change: Change = change) -> None:
            async with subject.database.write() as tx:
                keys = key_parameters([tuple(each.key) for each in own])
                await tx.execute(queries.UNLINK[edge.name], **keys, values=[each.value for each in own])
                await record(tx, subject, change, file=str(reader.path))

        await with_retries(empty)
        yield change


async def _remove(subject: Subject, reader: BundleReader, table: Table) -> AsyncIterator[Change]:
    form = format_of(table)
    async for page in pages_of(reader, f"{table.name}.jsonl", ROWS_AT_ONCE):
        rows = [form.decode(line) for line in page]
        change = _change(table, [_id_text(form.key_of(row)) for row in rows], f"removed; {reader.path} has them")
        await with_retries(partial(_remove_rows, subject, reader.path, table, rows, change))
        await asyncio.sleep(_PAUSE_SECONDS)
        yield change


async def _remove_rows(subject: Subject, path: Path, table: Table, rows: list[Any], change: Change) -> None:
    form = format_of(table)
    parameters = key_parameters([form.key_of(row) for row in rows])
    async with subject.database.write() as tx:
        held = await tx.fetch_all(queries.LOCK[table.name], **parameters)
        written = {line_of(row) for row in rows}
        if changed := [row for row in held if line_of(row) not in written]:
            raise OrphanChangedError(
                f"{table.name} {_id_text(form.key_of(changed[0]))} was changed since {path} was written: it stays."
                " Run the cure again, which writes it anew"
            )
        await _require_childless(tx, table, [form.key_of(row)[0] for row in held])
        await tx.execute(queries.REMOVE[table.name], **parameters)
        if is_soft(table):
            await settle_counts(tx, {row.deletion_id for row in held if row.deletion_id}, subject.clock())
        await record(tx, subject, change, file=str(path))


async def _require_childless(tx: Transaction, table: Table, keys: list[Any]) -> None:
    for edge in GRAPH.edges:
        if edge.parent is table and (count := await tx.fetch_count(queries.CHILDREN[edge.name], parents=keys)):
            raise OrphanChangedError(
                f"{count} rows of {edge.name} came under rows of {table.name} that are to go: those stay."
                " Run the cure again, which takes them along"
            )


def _change(table: Table, ids: list[str], done: str) -> Change:
    return Change(check="orphans", table=str(table.name), rows=ids, done=done)


def _id_text(key: Any) -> str:
    return "/".join(str(part) for part in key if part != "")

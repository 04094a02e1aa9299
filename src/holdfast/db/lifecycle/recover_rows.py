"""The rows of a bundle held against a database: which are there, which are missing, and what stands against them."""

import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

import msgspec
from sqlalchemy import Table

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle import recover_statements as statements
from holdfast.db.lifecycle.bundle import in_thread, pages_of
from holdfast.db.lifecycle.bundle_file import BundleReader, BundleRefusedError
from holdfast.db.lifecycle.deletion_closure import DELETION_FORMAT, is_soft
from holdfast.db.lifecycle.graph import GRAPH, Rule
from holdfast.db.lifecycle.row_format import KeyValues, RowFormat, format_of, key_parameters, line_of
from holdfast.db.lifecycle.upgrades import Step
from holdfast.db.sqlite_driver import sqlite3

ROWS_AT_ONCE = 500


class RecoveryConflict(msgspec.Struct, frozen=True):
    """Why a bundle cannot be recovered now: `kind` is `parent`, `name` or `differs`, about the row `key` of `table`."""

    kind: str
    table: str
    key: str
    message: str


class SortedRows(msgspec.Struct, frozen=True):
    """Rows of a bundle: how many are there already, those to insert, and those that are there otherwise.

    `anew` are rows that the database must number itself.
    """

    same: int
    missing: list[Any]
    anew: list[Any]
    differing: list[Any]


class BundleRows:
    """The rows of a bundle, as this version's tables have them."""

    def __init__(self, reader: BundleReader, steps: list[Step]) -> None:
        self.reader = reader
        self._steps = steps

    def of(self, table: Table) -> AsyncGenerator[list[Any], None]:
        """The rows of a table, a page at a time."""
        return self._pages(table.name, format_of(table), is_soft(table))

    def deletions(self) -> AsyncGenerator[list[Any], None]:
        """The deletion itself and those beneath it."""
        return self._pages("deletions", DELETION_FORMAT, soft=False)

    async def _pages(self, name: str, form: RowFormat, soft: bool) -> AsyncGenerator[list[Any], None]:
        async with aclosing(pages_of(self.reader, f"{name}.jsonl", ROWS_AT_ONCE)) as pages:
            async for lines in pages:
                rows = await in_thread(self._decoded, name, form, lines)
                if soft and not all(row.deletion_id for row in rows):
                    raise BundleRefusedError(f"{name}.jsonl holds a row that bears no deletion")
                yield rows

    def _decoded(self, name: str, form: RowFormat, lines: list[bytes]) -> list[Any]:
        try:
            return [form.decode(self._upgraded(name, line)) for line in lines]
        except (msgspec.DecodeError, UnicodeError) as error:
            raise BundleRefusedError(f"a line of {name}.jsonl is no row of that table: {error}") from error

    def _upgraded(self, name: str, line: bytes) -> bytes:
        if not self._steps:
            return line
        fields = msgspec.json.decode(line)
        for step in self._steps:
            fields = step(name, fields)
        return msgspec.json.encode(fields)


class KeyIndex:
    """The keys of a bundle's parents, in a file: a million of them are not to fill the memory.

    The file loses its name as soon as it is open, so that nothing stays of it however the process ends. (What SQLite
    calls a temporary database is kept in memory by some builds.)
    """

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory(prefix="holdfast-recover-") as folder:
            self._connection: Any = sqlite3.connect(
                str(Path(folder) / "keys.db"), isolation_level=None, check_same_thread=False
            )
            # Without a journal SQLite needs no name either.
            self._connection.execute("PRAGMA journal_mode = OFF")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute("CREATE TABLE keys (name TEXT, key TEXT, PRIMARY KEY (name, key)) WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    async def add(self, table: Table, keys: Iterable[str]) -> None:
        """Take in keys."""
        rows = [(table.name, key) for key in keys]

        def insert() -> None:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?)", rows)
            self._connection.execute("COMMIT")

        await in_thread(insert)

    async def holding(self, table: Table, keys: set[str]) -> set[str]:
        """Those of the keys that are in the bundle."""

        def look() -> set[str]:
            query = "SELECT key FROM keys WHERE name = ? AND key IN (SELECT value FROM json_each(?))"
            wanted = msgspec.json.encode(sorted(keys)).decode()
            return {row[0] for row in self._connection.execute(query, (table.name, wanted))}

        return await in_thread(look) if keys else set()


async def parents_of(tx: Transaction, parent: Table, keys: set[str]) -> dict[str, str]:
    """The deletion of each parent that is there, empty where it is live."""
    if not keys:
        return {}
    rows = await tx.fetch_all(statements.PARENTS[parent.name], keys=sorted(keys))
    return {row.key: row.deletion_id for row in rows}


async def with_known_pointers(tx: Transaction, table: Table, rows: list[Any], index: KeyIndex | None) -> list[Any]:
    """The rows, with the pointers (SET NULL columns) emptied whose target is neither here nor in the bundle."""
    for edge in GRAPH.edges:
        if edge.child is not table or edge.rule is not Rule.SET_NULL:
            continue
        column = str(edge.column.name)
        targets = {value for row in rows if (value := getattr(row, column)) is not None}
        known = set(await parents_of(tx, edge.parent, targets))
        if index is not None:
            known |= await index.holding(edge.parent, targets - known)
        rows = [
            row if getattr(row, column) in (None, *known) else msgspec.structs.replace(row, **{column: None})
            for row in rows
        ]
    return rows


async def sort_rows(tx: Transaction, table: Table, rows: list[Any], highest: int) -> SortedRows:
    """Hold rows against what is there. `highest` is the last number that the engine had given when this began."""
    form = format_of(table)
    there = await tx.fetch_all(statements.ROWS_BY_KEY[table.name], **key_parameters([form.key_of(row) for row in rows]))
    by_key = {form.key_of(row): row for row in there}
    others = [row for row in rows if (found := by_key.get(form.key_of(row))) is None or line_of(found) != line_of(row)]
    if statements.is_numbered(table):
        return await _sort_numbered(tx, form, rows, others, set(by_key), highest)
    missing = [row for row in others if form.key_of(row) not in by_key]
    differing = [row for row in others if form.key_of(row) in by_key]
    return SortedRows(same=len(rows) - len(others), missing=missing, anew=[], differing=differing)


async def _sort_numbered(  # noqa: PLR0917
    tx: Transaction, form: RowFormat, rows: list[Any], others: list[Any], taken: set[KeyValues], highest: int
) -> SortedRows:
    """Rows whose number another row has, or the engine may still give away, get a new one, once."""
    (number,) = form.key_names
    if not others:
        return SortedRows(same=len(rows), missing=[], anew=[], differing=[])
    (owner,) = [str(edge.column.name) for edge in GRAPH.cascades_into(form.table)]
    moments = [row.created_at for row in others]
    candidates = await tx.fetch_all(
        statements.SAME_MOMENTS[form.table.name],
        owners=sorted({getattr(row, owner) for row in others}),
        first_moment=min(moments),
        last_moment=max(moments),
    )
    matched = {form.key_of(row) for row in rows} - {form.key_of(row) for row in others}
    twins = Counter(_unnumbered(row, number) for row in candidates if form.key_of(row) not in matched)
    missing, anew = [], []
    for row in others:
        text = _unnumbered(row, number)
        if twins[text]:
            twins[text] -= 1
        elif form.key_of(row) in taken or getattr(row, number) > highest:
            anew.append(row)
        else:
            missing.append(row)
    return SortedRows(same=len(rows) - len(missing) - len(anew), missing=missing, anew=anew, differing=[])


def _unnumbered(row: Any, number: str) -> bytes:
    return line_of(msgspec.structs.replace(row, **{number: 0}))


async def find_row_conflicts(
    tx: Transaction, table: Table, found: SortedRows, becomes_live: Callable[[Any], bool], index: KeyIndex
) -> list[RecoveryConflict]:
    """What stands against inserting the rows: parents that are not there or not live, names that are taken."""
    form = format_of(table)
    conflicts = [
        RecoveryConflict("differs", table.name, _text(form.key_of(row)), "a row with this key is there, and differs")
        for row in found.differing
    ]
    rows = [*found.missing, *found.anew]
    conflicts += await _parent_conflicts(tx, form, rows, becomes_live, index)
    for unique in statements.uniques_of(table):
        for_ever = "deletion_id" not in unique.columns
        concerned = [row for row in rows if for_ever or becomes_live(row)]
        names = [column.name for column in statements.unique_columns(unique)]
        values = {
            form.key_of(row): tuple(getattr(row, name) for name in names)
            for row in concerned
            if all(getattr(row, name) is not None for name in names)
        }
        taken = (
            await tx.fetch_all(statements.TAKEN[str(unique.name)], **key_parameters(values.values())) if values else []
        )
        in_use = {each.value for each in taken}
        conflicts += [
            RecoveryConflict("name", table.name, _text(key), f"another row of {table.name} has {names[-1]} {value[-1]}")
            for key, value in values.items()
            if " ".join(value) in in_use
        ]
    return conflicts


async def rows_without_parent(tx: Transaction, table: Table, rows: list[Any], index: KeyIndex | None) -> list[Any]:
    """The rows of which a parent is neither here nor in the bundle."""
    orphans: dict[KeyValues, Any] = {}
    form = format_of(table)
    for edge in GRAPH.cascades_into(table):
        column = str(edge.column.name)
        wanted = {value for row in rows if (value := getattr(row, column)) is not None}
        if index is not None:
            wanted -= await index.holding(edge.parent, wanted)
        missing = wanted - set(await parents_of(tx, edge.parent, wanted))
        orphans.update((form.key_of(row), row) for row in rows if getattr(row, column) in missing)
    return list(orphans.values())


async def _parent_conflicts(
    tx: Transaction, form: RowFormat, rows: list[Any], becomes_live: Callable[[Any], bool], index: KeyIndex
) -> list[RecoveryConflict]:
    conflicts = []
    for edge in GRAPH.cascades_into(form.table):
        column = str(edge.column.name)
        wanted = {value for row in rows if (value := getattr(row, column)) is not None}
        outside = wanted - await index.holding(edge.parent, wanted)
        there = await parents_of(tx, edge.parent, outside)
        for row in rows:
            parent = getattr(row, column)
            if parent not in outside:
                continue
            if parent not in there:
                message = f"its {edge.parent.name} {parent} is not here: recover the bundle that holds it first"
            elif there[parent] and becomes_live(row):
                message = f"its {edge.parent.name} {parent} is deleted: restore deletion {there[parent]} first"
            else:
                continue
            conflicts.append(RecoveryConflict("parent", form.table.name, _text(form.key_of(row)), message))
    return conflicts


def _text(key: KeyValues) -> str:
    return "/".join(map(str, key))

"""Recovery: a bundle's rows go back into a database, on any engine, and become live when all of them are there.

What stands against it is found before anything is written. Then rows are inserted in short transactions, still marked
as deleted, so that nobody sees a half; the last transaction makes them live, as a restore does. A recovery that died
is run again: rows that are there and equal are left alone.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Table

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ConflictError
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle import recover_statements as statements
from holdfast.db.lifecycle.bundle import Pointer, in_thread, pages_of
from holdfast.db.lifecycle.bundle_file import (
    POINTERS_FILE,
    SUFFIX,
    BundleReader,
    BundleRefusedError,
    Manifest,
    open_bundle,
)
from holdfast.db.lifecycle.deletion_closure import BUNDLED, DELETION_FORMAT, POINTERS, is_soft
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.recover_rows import (
    ROWS_AT_ONCE,
    BundleRows,
    KeyIndex,
    RecoveryConflict,
    SortedRows,
    find_row_conflicts,
    rows_without_parent,
    sort_rows,
    with_known_pointers,
)
from holdfast.db.lifecycle.row_format import KeyValues, format_of, key_parameters
from holdfast.db.lifecycle.trash import count_marked, find_conflicts, unmark
from holdfast.db.lifecycle.upgrades import steps_between
from holdfast.db.retries import with_retries

Result = TypeVar("Result")
Progress = Callable[[float], None]

MOST_CONFLICTS = 100


class RecoveryRefusedError(ConflictError):
    """The bundle cannot be recovered now; nothing became live. `details["conflicts"]` lists up to 100 reasons."""

    code = "recovery_refused"


class Recovery(msgspec.Struct, frozen=True):
    """What a recovery did, or would do.

    Rows per table: `inserted`, those that were there already, and those that became live. Pointers of rows that had
    stayed, per column, and pointers left empty because their target is gone. `conflicts` only of a dry run.
    """

    deletion_id: str
    root_type: str
    root_id: str
    root_label: str | None
    inserted: dict[str, int]
    present: dict[str, int]
    live: dict[str, int]
    pointers: dict[str, int]
    emptied: dict[str, int]
    conflicts: list[RecoveryConflict] = []
    was_recovered: bool = False
    # Rows of other deletions, which hang on what those took, and come back with them.
    left: dict[str, int] = {}


Witness = Callable[[Transaction, Recovery], Awaitable[None]]


async def check_recovery(database: Database, path: Path, *, progress: Progress | None = None) -> Recovery:
    """What recovering the bundle would do, without writing anything."""
    recovering = await _open(database, path, utc_now, progress)
    return await recovering.check()


async def recover(
    database: Database, path: Path, *, witness: Witness, clock: Clock = utc_now, progress: Progress | None = None
) -> Recovery:
    """Recover a bundle; `witness` runs in the transaction in which its rows become live.

    RecoveryRefusedError: something stands against it. A deletion that is restored already is left alone.
    """
    recovering = await _open(database, path, clock, progress)
    plan = await recovering.check()
    if plan.was_recovered:
        return plan
    if plan.conflicts:
        raise _refusal(plan.conflicts)
    return await recovering.run(witness)


async def _open(database: Database, path: Path, clock: Clock, progress: Progress | None) -> "_Recovering":
    reader = await in_thread(open_bundle, path)
    if reader.manifest.kind != "deletion" or not reader.manifest.subject.get("id"):
        raise BundleRefusedError(f"{path} holds {reader.manifest.kind!r}, and only deletions can be recovered")
    _require_known_tables(path, reader.manifest)
    async with database.read() as tx:
        ((revision,),) = await tx.fetch_text("SELECT version_num FROM alembic_version")
    steps = steps_between(reader.manifest.schema_revision, str(revision))
    return _Recovering(database, reader, BundleRows(reader, steps), clock=clock, progress=progress)


def _require_known_tables(path: Path, manifest: Manifest) -> None:
    """Refuse rows that nobody would put back."""
    if unknown := sorted(manifest.rows_by_table().keys() - {table.name for table in BUNDLED}):
        raise BundleRefusedError(f"{path} holds rows of {', '.join(unknown)}, and this version has no such tables")


def _require_root(path: Path, manifest: Manifest) -> None:
    """Refuse what an update of a config file left out: live again, it would contradict the file's content."""
    root = GRAPH.root_types.get(manifest.subject.get("root_type") or "")
    if root is None or not manifest.own_rows_by_table().get(root.name):
        raise RecoveryRefusedError(
            f"{path} holds what an update of a config file left out: put the earlier content back instead"
        )


def _refusal(conflicts: list[RecoveryConflict]) -> RecoveryRefusedError:
    first, more = conflicts[0], f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""
    return RecoveryRefusedError(
        f"it cannot be recovered now: {first.table} {first.key}: {first.message}{more}", conflicts=conflicts
    )


class _Recovering:
    """One run of a recovery."""

    def __init__(
        self, database: Database, reader: BundleReader, rows: BundleRows, *, clock: Clock, progress: Progress | None
    ) -> None:
        self._database = database
        self._reader = reader
        self._rows = rows
        self._clock = clock
        self._progress = progress or (lambda share: None)
        self._deletion_id = str(reader.manifest.subject["id"])
        self._all_rows = max(sum(reader.manifest.rows_by_table().values()), 1)
        self._restored: set[str] = set()
        self._highest: dict[str, int] = {}
        self._seen = 0
        self._inserted: Counter[str] = Counter()
        self._present: Counter[str] = Counter()
        self._pointers: Counter[str] = Counter()
        self._emptied: Counter[str] = Counter()
        self._left: dict[str, set[KeyValues]] = {}

    async def check(self) -> Recovery:
        """What would be done, and what stands against it."""
        state = await self._state()
        if state == "restored":
            return msgspec.structs.replace(self._result({}), was_recovered=True)
        if state == "purging":
            raise RecoveryRefusedError("this deletion is being purged at this moment; recover it when that has ended")
        conflicts = await self._find_conflicts()
        if state == "deleted" and not self._inserted:
            raise RecoveryRefusedError(
                f"nothing of deletion {self._deletion_id} is missing: restore it (`holdfast deletions restore"
                f" {self._deletion_id}`)"
            )
        if not conflicts:
            await self._check_pointers()
        _require_root(self._reader.path, self._reader.manifest)
        live = {name: rows for name, rows in self._own_rows().items() if name in _SOFT_NAMES}
        return msgspec.structs.replace(self._result(live), conflicts=conflicts[:MOST_CONFLICTS])

    async def _find_conflicts(self) -> list[RecoveryConflict]:
        conflicts: list[RecoveryConflict] = []
        with KeyIndex() as index:
            async with aclosing(self._pages()) as pages:
                async for table, rows in pages:
                    async with self._database.read() as tx:
                        conflicts += await self._check_page(tx, table, rows, index)
                    if len(conflicts) >= MOST_CONFLICTS:
                        break
        return conflicts

    async def run(self, witness: Witness) -> Recovery:
        """Insert what is missing, and make it live."""
        for counter in (self._inserted, self._present, self._pointers):
            counter.clear()
        await self._insert_deletions()
        async with aclosing(self._pages()) as pages:
            async for table, rows in pages:
                found = await self._in_transaction(partial(self._insert_page, table, rows))
                self._inserted[table.name] += len(found.missing) + len(found.anew)
                self._present[table.name] += found.same
        await self._relink()
        await self._revive_nested()
        return await self._in_transaction(partial(self._make_live, witness))

    async def _state(self) -> str | None:
        """How far the deletion is here; None where this database does not know it."""
        self._seen = 0
        async with self._database.read() as tx:
            found = await tx.fetch_all(statements.DELETION_STATES, ids=[self._deletion_id])
            for table in BUNDLED:
                if statements.is_numbered(table):
                    self._highest[table.name] = await tx.fetch_count(statements.HIGHEST[table.name])
        async for page in self._rows.deletions():
            async with self._database.read() as tx:
                states = await tx.fetch_all(statements.DELETION_STATES, ids=[row.id for row in page])
            self._restored.update(row.id for row in states if row.state == "restored")
        return found[0].state if found else None

    async def _pages(self) -> AsyncGenerator[tuple[Table, list[Any]], None]:
        for table in BUNDLED:
            async with aclosing(self._rows.of(table)) as pages:
                async for rows in pages:
                    yield table, rows
                    self._seen += len(rows)
                    self._progress(min(self._seen / (2 * self._all_rows), 1.0))

    async def _check_page(
        self, tx: Transaction, table: Table, rows: list[Any], index: KeyIndex
    ) -> list[RecoveryConflict]:
        form = format_of(table)
        rows = await self._without_others(tx, table, rows, index)
        known = await with_known_pointers(tx, table, rows, index)
        self._count_emptied(table, rows, known)
        found = await sort_rows(tx, table, known, self._highest.get(table.name, 0))
        self._inserted[table.name] += len(found.missing) + len(found.anew)
        self._present[table.name] += found.same
        if table in _PARENTS:
            await index.add(table, [form.key_of(row)[0] for row in rows])
        return await find_row_conflicts(tx, table, found, self._becomes_live, index)

    async def _without_others(
        self, tx: Transaction, table: Table, rows: list[Any], index: KeyIndex | None
    ) -> list[Any]:
        """The rows but for those that another deletion brings back.

        Two bundles that were both made before either was purged hold the rows between them twice, and each lacks one
        parent of such a row. It comes back with the deletion that it bears, if that one's own bundle holds it.
        """
        others = [row for row in rows if not self._is_own(row)]
        orphans = await rows_without_parent(tx, table, others, index) if others else []
        form = format_of(table)
        left: set[KeyValues] = set()
        for deletion_id in {row.deletion_id for row in orphans}:
            wanted = {form.key_of(row) for row in orphans if row.deletion_id == deletion_id}
            left |= await self._held_by_own_bundle(deletion_id, table, wanted)
        if left:
            self._left.setdefault(table.name, set()).update(left)
        return [row for row in rows if form.key_of(row) not in left]

    def _is_own(self, row: Any) -> bool:
        return not hasattr(row, "deletion_id") or self._becomes_live(row)

    async def _held_by_own_bundle(self, deletion_id: str, table: Table, wanted: set[KeyValues]) -> set[KeyValues]:
        async with self._database.read() as tx:
            found = await tx.fetch_all(statements.BUNDLE_PATHS, ids=[deletion_id])
        named = [Path(each.bundle_path) for each in found if each.bundle_path]
        beside = self._reader.path.with_name(f"{deletion_id}{SUFFIX}")
        return await in_thread(_keys_held, [*named, beside], table, wanted)

    def _becomes_live(self, row: Any) -> bool:
        # Rows of a deletion beneath this one that was restored meanwhile, without them, come back live as well.
        return hasattr(row, "deletion_id") and (
            row.deletion_id == self._deletion_id or row.deletion_id in self._restored
        )

    def _count_emptied(self, table: Table, rows: list[Any], known: list[Any]) -> None:
        for edge in POINTERS:
            if edge.child is table:
                column = str(edge.column.name)
                emptied = sum(
                    getattr(old, column) != getattr(new, column) for old, new in zip(rows, known, strict=True)
                )
                self._emptied[edge.name] += emptied

    async def _insert_deletions(self) -> None:
        async for page in self._rows.deletions():
            await self._in_transaction(partial(self._insert_deletions_page, page))

    async def _insert_deletions_page(self, page: list[Any], tx: Transaction) -> None:
        there = {row.id for row in await tx.fetch_all(statements.DELETION_STATES, ids=[row.id for row in page])}
        rows = []
        for row in page:
            if row.id not in there:
                # Until its rows are live this one counts as purged.
                own = {"state": "purged", "updated_at": self._clock()} if row.id == self._deletion_id else {}
                rows.append({**DELETION_FORMAT.parameters(row), **own})
        await tx.execute_many(statements.INSERT_DELETION, rows)

    async def _insert_page(self, table: Table, rows: list[Any], tx: Transaction) -> SortedRows:
        form = format_of(table)
        rows = await self._without_others(tx, table, rows, None)
        # By now the rows of the bundle that these may point to are there.
        known = await with_known_pointers(tx, table, rows, None)
        found = await sort_rows(tx, table, known, self._highest.get(table.name, 0))
        if found.differing:
            key = "/".join(map(str, form.key_of(found.differing[0])))
            conflict = RecoveryConflict("differs", table.name, key, "a row with this key is there, and differs")
            raise _refusal([conflict])
        await tx.execute_many(statements.INSERT[table.name], [form.parameters(row) for row in found.missing])
        if found.anew:
            await tx.execute_many(statements.INSERT_ANEW[table.name], [form.parameters(row) for row in found.anew])
        return found

    async def _check_pointers(self) -> None:
        async for page in pages_of(self._reader, POINTERS_FILE, ROWS_AT_ONCE):
            async with self._database.read() as tx:
                for name, _ in await self._empty_pointers(tx, page):
                    self._pointers[name] += 1

    async def _relink(self) -> None:
        async for page in pages_of(self._reader, POINTERS_FILE, ROWS_AT_ONCE):
            for name, count in (await self._in_transaction(partial(self._relink_page, page))).items():
                self._pointers[name] += count

    async def _relink_page(self, page: list[bytes], tx: Transaction) -> Counter[str]:
        counts: Counter[str] = Counter()
        values: dict[str, list[dict[str, Any]]] = {}
        for name, pointer in await self._empty_pointers(tx, page):
            keys = {f"key_{index}": part for index, part in enumerate(pointer.key)}
            values.setdefault(name, []).append({**keys, "value": pointer.value})
            counts[name] += 1
        for name, rows in values.items():
            await tx.execute_many(statements.RELINK[name], rows)
        return counts

    async def _empty_pointers(self, tx: Transaction, page: list[bytes]) -> list[tuple[str, Pointer]]:
        """The pointers whose row is still there and still points nowhere."""
        try:
            pointers = [msgspec.json.decode(line, type=Pointer) for line in page]
        except (msgspec.DecodeError, UnicodeError) as error:
            raise BundleRefusedError(f"a line of {POINTERS_FILE} is no pointer: {error}") from error
        empty = []
        for edge in POINTERS:
            left = self._left.get(edge.parent.name, set())
            ours = [
                each
                for each in pointers
                if (each.table, each.column) == (edge.child.name, edge.column.name) and (each.value,) not in left
            ]
            if ours:
                rows = await tx.fetch_all(
                    statements.UNLINKED[edge.name], **key_parameters([tuple(each.key) for each in ours])
                )
                unlinked = {row.key for row in rows}
                empty += [(edge.name, each) for each in ours if tuple(each.key) in unlinked]
        return empty

    async def _revive_nested(self) -> None:
        """Deletions beneath this one whose rows are back can be restored again."""
        async for page in self._rows.deletions():
            ids = [row.id for row in page if row.id != self._deletion_id]
            if ids:
                await self._in_transaction(partial(self._revive_nested_page, ids))

    async def _revive_nested_page(self, ids: list[str], tx: Transaction) -> None:
        await tx.execute(statements.REVIVE_NESTED, ids=ids, state="deleted", updated_at=self._clock())

    async def _make_live(self, witness: Witness, tx: Transaction) -> Recovery:
        (held,) = await tx.fetch_all(statements.LOCK_DELETION, deletion_id=self._deletion_id)
        if held.state == "restored":
            return msgspec.structs.replace(self._result({}), was_recovered=True)
        if held.state == "purging":
            raise RecoveryRefusedError("this deletion is being purged at this moment; recover it when that has ended")
        marked = await count_marked(tx, self._deletion_id)
        wanted = {name: rows for name, rows in self._own_rows().items() if name in _SOFT_NAMES}
        if any(marked.get(name, 0) < rows for name, rows in wanted.items()):
            raise RecoveryRefusedError(f"{marked} rows are there instead of {wanted}: run it again")
        live: Counter[str] = Counter()
        for deletion_id in (self._deletion_id, *sorted(self._restored - {self._deletion_id})):
            conflicts = await find_conflicts(tx, deletion_id)
            if conflicts:
                raise _refusal([RecoveryConflict(each.kind, each.table, each.key, each.message) for each in conflicts])
            live.update(await unmark(tx, deletion_id))
        await tx.execute(
            statements.SETTLE,
            deletion_id=self._deletion_id,
            state="restored",
            planned_counts=wanted,
            actual_counts=wanted,
            updated_at=self._clock(),
        )
        result = self._result(dict(live))
        await witness(tx, result)
        self._progress(1.0)
        return result

    def _own_rows(self) -> dict[str, int]:
        return self._reader.manifest.own_rows_by_table()

    def _result(self, live: dict[str, int]) -> Recovery:
        subject = self._reader.manifest.subject
        return Recovery(
            deletion_id=self._deletion_id,
            root_type=subject.get("root_type") or "",
            root_id=subject.get("root_id") or "",
            root_label=subject.get("root_label"),
            inserted=dict(+self._inserted),
            present=dict(+self._present),
            live=live,
            pointers=dict(+self._pointers),
            emptied=dict(+self._emptied),
            left={name: len(keys) for name, keys in self._left.items()},
        )

    async def _in_transaction(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        async def attempt() -> Result:
            async with self._database.write() as tx:
                return await work(tx)

        return await with_retries(attempt)


def _keys_held(paths: list[Path], table: Table, wanted: set[KeyValues]) -> set[KeyValues]:
    """Those of the keys that are in the first of the bundles which is there and whole."""
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return set()
    try:
        reader = open_bundle(path)
    except BundleRefusedError:
        return set()
    form = format_of(table)
    names = form.key_names
    held: set[KeyValues] = set()
    for page in reader.pages(f"{table.name}.jsonl", ROWS_AT_ONCE):
        # Only the key is looked at: the rest may be of an older schema.
        keys = ((tuple(fields[name] for name in names)) for fields in map(msgspec.json.decode, page))
        held.update(key for key in keys if key in wanted)
    return held


_SOFT_NAMES = frozenset(table.name for table in BUNDLED if is_soft(table))
_PARENTS = frozenset(edge.parent for edge in GRAPH.edges)

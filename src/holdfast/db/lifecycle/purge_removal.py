"""The rows of a bundle leave the database: by their keys, children first, in transactions that people do not notice."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Table

from holdfast.core.errors import ConflictError
from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle import purge_statements as statements
from holdfast.db.lifecycle.bundle import Pointer, in_thread, pages_of
from holdfast.db.lifecycle.bundle_file import DELETIONS_FILE, POINTERS_FILE, BundleReader
from holdfast.db.lifecycle.deletion_closure import BUNDLED, DELETION_FORMAT, POINTERS, UNBUNDLED_EDGES
from holdfast.db.lifecycle.graph import GRAPH, Edge, Rule
from holdfast.db.lifecycle.purge_lease import Lease
from holdfast.db.lifecycle.row_format import KeyValues, format_of, key_parameters
from holdfast.db.lifecycle.trash import count_marked
from holdfast.db.statements import Count, Query

_KEYS_AT_ONCE = 500


class Pace(msgspec.Struct, frozen=True):
    """How hard a purge works: rows in one transaction, the aim of their removal in seconds, and the pause after the
    transaction as a share of it.
    """

    most_rows: int
    target_seconds: float
    rest_share: float


# On SQLite the purge holds the one writer, and others wait for each of its transactions.
PACES = {"sqlite": Pace(200, 0.004, 2.0), "postgresql": Pace(200, 0.02, 2.0), "mariadb": Pace(200, 0.02, 2.0)}
# Fewer are hardly quicker: what then takes long is waiting, for a busy loop or a busy server.
_FEWEST_ROWS = 50
# Beside many requests a transaction waits more than it works, and a rest as long would never let it end.
_LONGEST_REST_SECONDS = 0.25


class PurgeFailedError(ConflictError):
    """The purge stopped, because going on would take what it must not, or leave what it should take."""

    code = "purge_failed"


class Removal:
    """The removal of one bundle's rows. `actual` counts what went, per table, since the purge began."""

    def __init__(self, lease: Lease, reader: BundleReader, pace: Pace, actual: Counter[str]) -> None:
        self._lease = lease
        self._reader = reader
        self._pace = pace
        self.actual = actual
        self.removed = 0
        self._removal_seconds = 0.0

    async def unlink(self) -> None:
        """Empty the pointers of the rows that stay."""
        async for page in pages_of(self._reader, POINTERS_FILE, self._pace.most_rows):
            started = time.monotonic()
            await self._lease.in_transaction(partial(self._unlink_page, [_pointer(line) for line in page]))
            await self._rest(started)

    async def _unlink_page(self, pointers: list[Pointer], tx: Transaction) -> None:
        for edge in POINTERS:
            ours = [each for each in pointers if (each.table, each.column) == (edge.child.name, edge.column.name)]
            if ours:
                keys = key_parameters([tuple(each.key) for each in ours])
                values = sorted({each.value for each in ours})
                await tx.execute(statements.UNLINK[edge.name], **keys, values=values)
        await self._lease.renew(tx)

    async def remove_rows(self) -> None:
        """Remove every row of the bundle that is still there."""
        for table in reversed(BUNDLED):
            await self._remove_table(table)

    async def _remove_table(self, table: Table) -> None:
        form = format_of(table)
        fewest = at_once = min(_FEWEST_ROWS, self._pace.most_rows)
        async for page in pages_of(self._reader, f"{table.name}.jsonl", _KEYS_AT_ONCE):
            keys = [form.key_of(row) for row in await in_thread(_decoded, form.decode, page)]
            while keys:
                chunk, keys = keys[:at_once], keys[at_once:]
                seconds = await self._remove_rows(table, chunk)
                if seconds > self._pace.target_seconds:
                    at_once = max(at_once // 2, fewest)
                elif seconds < self._pace.target_seconds / 2:
                    at_once = min(at_once * 2, self._pace.most_rows)

    async def _remove_rows(self, table: Table, keys: list[KeyValues]) -> float:
        """Remove rows in one transaction; how many seconds their removal took in it."""
        await self._remove_expiring(table, keys)
        started = time.monotonic()
        removed = await self._lease.in_transaction(partial(self._remove_chunk, table, keys))
        if removed:
            self.actual[table.name] += removed
            self.removed += removed
        await self._rest(started)
        return self._removal_seconds

    async def _remove_chunk(self, table: Table, keys: list[KeyValues], tx: Transaction) -> int:
        parameters = key_parameters(keys)
        if any(edge.parent is table for edge in GRAPH.edges):
            # Once they are locked nobody makes a child of them, which the engine's own cascade would take unseen.
            await tx.fetch_all(statements.LOCK_ROWS[table.name], **parameters)
            await self._require_childless(tx, table, keys)
        started = time.monotonic()
        removed = await tx.execute(statements.REMOVE_ROWS[table.name], **parameters)
        self._removal_seconds = time.monotonic() - started
        if removed < len(keys):
            await self._require_gone(tx, table, parameters)
        actual = self.actual + Counter({table.name: removed})
        await self._lease.update(tx, statements.SET_PROGRESS, actual_counts=dict(actual), lease_until=self._lease.end)
        return removed

    async def _require_childless(self, tx: Transaction, table: Table, keys: list[KeyValues]) -> None:
        parents = [key[0] for key in keys]
        for edge in GRAPH.edges:
            if edge.parent is table and (count := await tx.fetch_count(_children(edge), parents=parents)):
                what = "hang on" if edge.rule is Rule.CASCADE else "point to"
                raise PurgeFailedError(
                    f"{count} rows of {edge.name} still {what} rows of {table.name} that are to go, and are not in the"
                    " bundle: they came after it was made; purge again, which takes them into it"
                )

    async def _require_gone(self, tx: Transaction, table: Table, parameters: dict[str, Any]) -> None:
        """Rows that an earlier run removed are no surprise; rows that are there, and were not taken, are."""
        left = await tx.fetch_all(statements.LOCK_ROWS[table.name], **parameters)
        if left:
            key = f"{left[0].key_0}/{left[0].key_1}".rstrip("/")
            raise PurgeFailedError(f"{len(left)} rows of {table.name} became live again, such as {key}: they stay")

    async def _remove_expiring(self, table: Table, keys: list[KeyValues]) -> None:
        """Rows that no bundle carries, such as the answers kept for a user, go before their parents."""
        for edge in UNBUNDLED_EDGES:
            if edge.parent is not table:
                continue
            removing = partial(self._remove_expiring_chunk, edge.name, edge.child, [key[0] for key in keys])
            started = time.monotonic()
            while await self._lease.in_transaction(removing):
                await self._rest(started)
                started = time.monotonic()

    async def _remove_expiring_chunk(self, edge_name: str, child: Table, parents: list[str], tx: Transaction) -> int:
        rows = await tx.fetch_all(statements.FIND_EXPIRING[edge_name], parents=parents, at_most=self._pace.most_rows)
        if not rows:
            return 0
        width = len(child.primary_key.columns)
        parameters = key_parameters([(row.key_0, row.key_1)[:width] for row in rows])
        await tx.execute(statements.REMOVE_ROWS[child.name], **parameters)
        await self._lease.renew(tx)
        return len(rows)

    async def require_whole(self, planned: Counter[str]) -> None:
        """The numbers of the plan came out, nothing bears the deletion, and nothing points to what is gone."""
        if +self.actual != +planned:
            raise PurgeFailedError(
                f"removed {dict(+self.actual)} instead of {dict(+planned)}: other rows of the bundle had gone"
                " before. Nothing of the deletion is left; purge again to settle it"
            )
        async with self._lease.database.read() as tx:
            if left := await count_marked(tx, self._lease.deletion_id):
                raise PurgeFailedError(f"rows that bear the deletion are left: {left}")
        for table in BUNDLED:
            edges = [edge for edge in GRAPH.edges if edge.parent is table]
            if not edges:
                continue
            form = format_of(table)
            async for page in pages_of(self._reader, f"{table.name}.jsonl", _KEYS_AT_ONCE):
                keys = [form.key_of(row)[0] for row in await in_thread(_decoded, form.decode, page)]
                async with self._lease.database.read() as tx:
                    for edge in edges:
                        if orphans := await tx.fetch_count(_children(edge), parents=keys):
                            raise PurgeFailedError(f"{orphans} rows of {edge.name} point to rows that are gone")
                await self._lease.renew_sometimes()

    async def mark_nested(self) -> None:
        """Deletions beneath this one of which no row is left went with it."""
        async for page in pages_of(self._reader, DELETIONS_FILE, self._pace.most_rows):
            rows = await in_thread(_decoded, DELETION_FORMAT.decode, page)
            ids = [row.id for row in rows if row.id != self._lease.deletion_id]
            if ids:
                await self._lease.in_transaction(partial(self._mark_nested_page, ids))

    async def _mark_nested_page(self, ids: list[str], tx: Transaction) -> None:
        left: set[str] = set()
        for query in statements.FIND_BORNE.values():
            left.update(row.id for row in await tx.fetch_all(query, ids=ids))
        gone = [each for each in ids if each not in left]
        if gone:
            await tx.execute(
                statements.MARK_NESTED_PURGED,
                ids=gone,
                state="purged",
                purged_with=self._lease.deletion_id,
                updated_at=self._lease.clock(),
            )
        await self._lease.renew(tx)

    async def _rest(self, started: float) -> None:
        """Leave the database to others for a while, after the work that began then."""
        seconds = time.monotonic() - started
        await self._lease.database.tidy()
        await asyncio.sleep(min(seconds * self._pace.rest_share, _LONGEST_REST_SECONDS))


async def count_pointers(reader: BundleReader) -> dict[str, int]:
    """How many pointers of each column the bundle holds."""
    counts: Counter[str] = Counter()
    async for page in pages_of(reader, POINTERS_FILE, _KEYS_AT_ONCE):
        counts.update(f"{each.table}.{each.column}" for each in map(_pointer, page))
    return dict(counts)


def _children(edge: Edge) -> Query[Count]:
    return statements.COUNT_CHILDREN[edge.name]


def _pointer(line: bytes) -> Pointer:
    return msgspec.json.decode(line, type=Pointer)


def _decoded(decode: Callable[[bytes], Any], lines: Iterable[bytes]) -> list[Any]:
    return [decode(line) for line in lines]

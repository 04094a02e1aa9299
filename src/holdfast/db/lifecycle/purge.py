"""The purge: the rows of a deletion's verified bundle leave the database, children first, in short transactions.

What is removed is what the bundle holds, by its keys. Every step can be done again: a purge whose process died goes on
where it stood, by any worker that sees the bundle. The lease on the deletion's row keeps others out, and each
transaction proves that it is still held.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Table

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ConflictError
from holdfast.core.ids import new_long_id
from holdfast.db import metrics
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle import purge_statements as statements
from holdfast.db.lifecycle.bundle import (
    Bundle,
    LiveRowBeneathError,
    Pointer,
    bundle_path,
    count_closure,
    in_thread,
    pages_of,
    write_bundle,
)
from holdfast.db.lifecycle.bundle_file import (
    DELETIONS_FILE,
    POINTERS_FILE,
    BundleReader,
    BundleRefusedError,
    open_bundle,
)
from holdfast.db.lifecycle.deletion_closure import BUNDLED, DELETION_FORMAT, POINTERS, UNBUNDLED_EDGES
from holdfast.db.lifecycle.graph import GRAPH, Rule
from holdfast.db.lifecycle.purge_statements import HeldDeletion
from holdfast.db.lifecycle.row_format import KeyValues, format_of, key_parameters
from holdfast.db.lifecycle.trash import count_marked
from holdfast.db.retries import with_retries

Result = TypeVar("Result")

LEASE_SECONDS = 60
# With what the lease tokens of the stored procedures begin.
PROCEDURE_LEASE = "call-"
_KEYS_AT_ONCE = 2000
_MOST_BUNDLES = 3


class Pace(msgspec.Struct, frozen=True):
    """How hard a purge works: rows in one transaction, its aim in seconds, and the pause after it as a share of it."""

    most_rows: int
    target_seconds: float
    rest_share: float


# On SQLite the purge holds the one writer, and others wait for each of its transactions.
PACES = {"sqlite": Pace(200, 0.02, 1.0), "postgresql": Pace(500, 0.1, 0.5), "mariadb": Pace(500, 0.1, 0.5)}
_NO_BUNDLE = {"bundle_path": None, "bundle_sha256": None, "bundle_verified_at": None}
_FIRST_ROWS = 50
_FEWEST_ROWS = 5


class PurgeWaitsError(ConflictError):
    """Another purge is under way, or this one is held by another worker: come back later."""

    code = "purge_waits"


class LeaseLostError(ConflictError):
    """Another worker took this purge over."""

    code = "lease_lost"


class PurgeFailedError(ConflictError):
    """The purge stopped, because going on would take what it must not, or leave what it should take."""

    code = "purge_failed"


class PurgeStep(msgspec.Struct, frozen=True):
    """What the audit log is told: when the removal begins, and when it is done. Rows per table, and per column."""

    done: bool
    deletion: HeldDeletion
    counts: dict[str, int]
    set_null: dict[str, int]
    bundle_path: str
    bundle_sha256: str


Witness = Callable[[Transaction, PurgeStep], Awaitable[None]]


async def purge(
    database: Database,
    deletion_id: str,
    folder: Path,
    *,
    witness: Witness,
    clock: Clock = utc_now,
    pace: Pace | None = None,
) -> int:
    """Purge a deletion, or go on with its purge; how many rows this run removed.

    `witness` runs in the transaction in which the removal begins and in that in which it ends. A purge that cannot be
    finished leaves the deletion `failed`, with the reason, and raises PurgeFailedError; a deletion that is restored or
    purged already is left alone. PurgeWaitsError: try again later.
    """
    pace = pace or PACES[database.dialect_name]
    purging = _Purging(database, deletion_id, folder, witness=witness, clock=clock, pace=pace)
    held = await purging.take_lease()
    if held is None:
        return 0
    try:
        await purging.run(held)
    except (PurgeFailedError, LiveRowBeneathError, BundleRefusedError, OSError) as error:
        reason = getattr(error, "message", None) or f"the bundle cannot be written or read: {error}"
        await purging.settle("failed", reason)
        raise PurgeFailedError(reason) from error
    except LeaseLostError:
        raise
    except PurgeWaitsError:
        await purging.step_back()
        raise
    except BaseException:
        await purging.release()
        raise
    return purging.removed


class _Purging:
    """One run of a purge, by one worker."""

    def __init__(
        self, database: Database, deletion_id: str, folder: Path, *, witness: Witness, clock: Clock, pace: Pace
    ) -> None:
        self._database = database
        self._deletion_id = deletion_id
        self._folder = folder
        self._witness = witness
        self._clock = clock
        self._pace = pace
        self._token = new_long_id()
        self._renewed_at = time.monotonic()
        self._planned: Counter[str] = Counter()
        self._actual: Counter[str] = Counter()
        self._set_null: dict[str, int] = {}
        self._state_before = ""
        self._counts_are_known = True
        self.removed = 0

    async def take_lease(self) -> HeldDeletion | None:
        """Take the deletion for this worker; None where nothing is left to do."""
        held = await self._in_transaction(self._take_lease)
        if held is not None and await self._in_transaction(self._must_wait):
            await self.step_back()
            raise PurgeWaitsError("another deletion is being purged: this one comes after it")
        return held

    async def _take_lease(self, tx: Transaction) -> HeldDeletion | None:
        found = await tx.fetch_one(statements.LOCK_DELETION, deletion_id=self._deletion_id)
        now = self._clock()
        if found is None or found.state in ("purged", "restored"):
            return None
        if found.state == "purging" and found.lease_until is not None and found.lease_until > now:
            raise PurgeWaitsError("another worker purges this deletion")
        self._state_before = found.state
        # A CALL of the database's procedure, left off halfway, keeps no count of what it removed.
        self._counts_are_known = not (found.lease_token or "").startswith(PROCEDURE_LEASE)
        if found.state == "deleted":
            # A bundle made before anything was removed may be out of date.
            await tx.execute(statements.FORGET_BUNDLE, deletion_id=found.id, updated_at=now, **_NO_BUNDLE)
        await tx.execute(
            statements.TAKE_LEASE,
            deletion_id=found.id,
            state="purging",
            failure=None,
            lease_token=self._token,
            lease_until=self._lease_end(),
            updated_at=now,
        )
        return await tx.fetch_one(statements.FIND_DELETION, deletion_id=found.id)

    async def _must_wait(self, tx: Transaction) -> bool:
        """Whether another purge goes first: deletions may overlap, and the numbers of each must come out.

        Of two that prepare their bundles the one with the smaller id goes on; one that removes rows is not disturbed.
        """
        others = await tx.fetch_all(statements.OTHER_PURGES, deletion_id=self._deletion_id)
        return any(other.bundle_verified_at is not None or other.id < self._deletion_id for other in others)

    async def step_back(self) -> None:
        """Undo `take_lease`."""
        if self._state_before == "purging":
            await self.release()
        else:
            await self.settle(self._state_before, None)

    async def run(self, held: HeldDeletion) -> None:
        """Make the bundle, unless the removal had begun, remove its rows, and check what is left."""
        is_resumed = self._state_before == "purging" and held.bundle_verified_at is not None
        if not is_resumed or not self._counts_are_known:
            reader = (await self._prepare(held)).reader
        else:
            reader = await self._reopen(held)
            self._planned.update(_numbers(held.planned_counts))
            self._actual.update(_numbers(held.actual_counts))
            self._set_null = _numbers(held.set_null_counts)
        await self._unlink(reader)
        for table in reversed(BUNDLED):
            await self._remove_table(reader, table)
        await self._require_whole(reader)
        await self._mark_nested(reader)
        await self._finish(reader)

    async def _prepare(self, held: HeldDeletion) -> Bundle:
        """The verified bundle, and the transaction after which rows may go."""
        # Where an earlier run removed rows, its bundle is the only place that has them.
        earlier = await self._reopen(held) if held.bundle_verified_at is not None else None
        for _ in range(_MOST_BUNDLES):
            bundle = await write_bundle(
                self._database,
                self._deletion_id,
                self._folder,
                made_at=self._clock(),
                renew=self._renew_sometimes,
                earlier=earlier,
            )
            async with self._database.snapshot() as tx:
                standing = await count_closure(tx, self._deletion_id)
            if standing == bundle.standing:
                await self._begin(bundle)
                return bundle
        raise PurgeFailedError("rows beneath this deletion still change: nothing was removed; purge again later")

    async def _begin(self, bundle: Bundle) -> None:
        self._planned = Counter(bundle.manifest.rows_by_table())
        self._actual = self._planned - Counter(bundle.standing)
        self._set_null = await self._count_pointers(bundle.reader)
        await self._in_transaction(partial(self._begin_removal, bundle))

    async def _begin_removal(self, bundle: Bundle, tx: Transaction) -> None:
        found = await tx.fetch_one(statements.LOCK_DELETION, deletion_id=self._deletion_id)
        if found is None or found.lease_token != self._token:
            raise LeaseLostError("another worker took this purge over")
        if await self._must_wait(tx):
            raise PurgeWaitsError("another deletion is being purged: this one comes after it")
        await self._update(
            tx,
            statements.BEGIN_REMOVAL,
            planned_counts=dict(self._planned),
            actual_counts=dict(self._actual),
            set_null_counts=self._set_null,
            bundle_path=str(bundle.path),
            bundle_sha256=bundle.reader.sha256,
            bundle_verified_at=self._clock(),
        )
        await self._witness(tx, self._told(found, bundle.reader, done=False))

    async def _reopen(self, held: HeldDeletion) -> BundleReader:
        # The folder may be mounted elsewhere on this machine.
        paths = (Path(held.bundle_path or ""), bundle_path(self._folder, held.id))
        path = await in_thread(_first_file, *paths)
        if path is None:
            raise PurgeFailedError(
                f"the bundle {held.bundle_path} is not to be found, and rows of it may be gone: bring it back, or set"
                " HOLDFAST_BUNDLE_DIR to the folder that all workers share, then purge again"
            )
        reader = await in_thread(open_bundle, path)
        if reader.sha256 != held.bundle_sha256:
            raise PurgeFailedError(f"the bundle {path} was changed after it was written: bring the first one back")
        return reader

    async def _count_pointers(self, reader: BundleReader) -> dict[str, int]:
        counts: Counter[str] = Counter()
        async for page in pages_of(reader, POINTERS_FILE, _KEYS_AT_ONCE):
            counts.update(f"{each.table}.{each.column}" for each in map(_pointer, page))
        return dict(counts)

    async def _unlink(self, reader: BundleReader) -> None:
        """Empty the pointers of the rows that stay."""
        async for page in pages_of(reader, POINTERS_FILE, self._pace.most_rows):
            started = time.monotonic()
            await self._in_transaction(partial(self._unlink_page, [_pointer(line) for line in page]))
            await self._rest(started)

    async def _unlink_page(self, pointers: list[Pointer], tx: Transaction) -> None:
        for edge in POINTERS:
            ours = [each for each in pointers if (each.table, each.column) == (edge.child.name, edge.column.name)]
            if ours:
                keys = key_parameters([tuple(each.key) for each in ours])
                values = sorted({each.value for each in ours})
                await tx.execute(statements.UNLINK[edge.name], **keys, values=values)
        await self._update(tx, statements.RENEW_LEASE, lease_until=self._lease_end())

    async def _remove_table(self, reader: BundleReader, table: Table) -> None:
        form = format_of(table)
        at_once = _FIRST_ROWS
        async for page in pages_of(reader, f"{table.name}.jsonl", _KEYS_AT_ONCE):
            keys = [form.key_of(row) for row in await in_thread(_decoded, form.decode, page)]
            while keys:
                chunk, keys = keys[:at_once], keys[at_once:]
                seconds = await self._remove_rows(table, chunk)
                if seconds > self._pace.target_seconds:
                    at_once = max(at_once // 2, _FEWEST_ROWS)
                elif seconds < self._pace.target_seconds / 2:
                    at_once = min(at_once * 2, self._pace.most_rows)

    async def _remove_rows(self, table: Table, keys: list[KeyValues]) -> float:
        """Remove rows in one transaction; how many seconds it took."""
        await self._remove_expiring(table, keys)
        started = time.monotonic()
        removed = await self._in_transaction(partial(self._remove_chunk, table, keys))
        if removed:
            self._actual[table.name] += removed
            self.removed += removed
        return await self._rest(started)

    async def _remove_chunk(self, table: Table, keys: list[KeyValues], tx: Transaction) -> int:
        parameters = key_parameters(keys)
        if any(edge.parent is table for edge in GRAPH.edges):
            # Once they are locked nobody makes a child of them, which the engine's own cascade would take unseen.
            await tx.fetch_all(statements.LOCK_ROWS[table.name], **parameters)
            await self._require_childless(tx, table, keys)
        removed = await tx.execute(statements.REMOVE_ROWS[table.name], **parameters)
        if removed < len(keys):
            await self._require_gone(tx, table, parameters)
        actual = self._actual + Counter({table.name: removed})
        await self._update(tx, statements.SET_PROGRESS, actual_counts=dict(actual), lease_until=self._lease_end())
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
            while await self._in_transaction(removing):
                await self._rest(started)
                started = time.monotonic()

    async def _remove_expiring_chunk(self, edge_name: str, child: Table, parents: list[str], tx: Transaction) -> int:
        rows = await tx.fetch_all(statements.FIND_EXPIRING[edge_name], parents=parents, at_most=self._pace.most_rows)
        if not rows:
            return 0
        width = len(child.primary_key.columns)
        parameters = key_parameters([(row.key_0, row.key_1)[:width] for row in rows])
        await tx.execute(statements.REMOVE_ROWS[child.name], **parameters)
        await self._update(tx, statements.RENEW_LEASE, lease_until=self._lease_end())
        return len(rows)

    async def _require_whole(self, reader: BundleReader) -> None:
        """The numbers of the plan came out, nothing bears the deletion, and nothing points to what is gone."""
        if +self._actual != +self._planned:
            raise PurgeFailedError(
                f"removed {dict(+self._actual)} instead of {dict(+self._planned)}: other rows of the bundle had gone"
                " before. Nothing of the deletion is left; purge again to settle it"
            )
        async with self._database.read() as tx:
            if left := await count_marked(tx, self._deletion_id):
                raise PurgeFailedError(f"rows that bear the deletion are left: {left}")
        for table in BUNDLED:
            edges = [edge for edge in GRAPH.edges if edge.parent is table]
            if not edges:
                continue
            form = format_of(table)
            async for page in pages_of(reader, f"{table.name}.jsonl", _KEYS_AT_ONCE):
                keys = [form.key_of(row)[0] for row in await in_thread(_decoded, form.decode, page)]
                async with self._database.read() as tx:
                    for edge in edges:
                        if orphans := await tx.fetch_count(_children(edge), parents=keys):
                            raise PurgeFailedError(f"{orphans} rows of {edge.name} point to rows that are gone")
                await self._renew_sometimes()

    async def _mark_nested(self, reader: BundleReader) -> None:
        """Deletions beneath this one of which no row is left went with it."""
        async for page in pages_of(reader, DELETIONS_FILE, self._pace.most_rows):
            rows = await in_thread(_decoded, DELETION_FORMAT.decode, page)
            ids = [row.id for row in rows if row.id != self._deletion_id]
            if ids:
                await self._in_transaction(partial(self._mark_nested_page, ids))

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
                purged_with=self._deletion_id,
                updated_at=self._clock(),
            )
        await self._update(tx, statements.RENEW_LEASE, lease_until=self._lease_end())

    async def _finish(self, reader: BundleReader) -> None:
        async def finish(tx: Transaction) -> None:
            found = await tx.fetch_one(statements.LOCK_DELETION, deletion_id=self._deletion_id)
            await self._update(tx, statements.SETTLE, state="purged", failure=None, lease_token=None, lease_until=None)
            assert found is not None
            await self._witness(tx, self._told(found, reader, done=True))

        await self._in_transaction(finish)

    async def settle(self, state: str, failure: str | None) -> None:
        """End the run in this state, unless the lease was lost."""

        async def settle(tx: Transaction) -> None:
            await tx.execute(
                statements.SETTLE,
                deletion_id=self._deletion_id,
                held_token=self._token,
                state=state,
                failure=failure,
                lease_token=None,
                lease_until=None,
                updated_at=self._clock(),
            )

        await self._in_transaction(settle)

    async def release(self) -> None:
        """Give the lease back, so that the next run need not wait for its end."""

        async def release(tx: Transaction) -> None:
            await tx.execute(
                statements.RELEASE_LEASE,
                deletion_id=self._deletion_id,
                held_token=self._token,
                lease_token=None,
                lease_until=self._clock(),
                updated_at=self._clock(),
            )

        await self._in_transaction(release)

    async def _renew_sometimes(self) -> None:
        if time.monotonic() - self._renewed_at > LEASE_SECONDS / 4:
            await self._in_transaction(
                lambda tx: self._update(tx, statements.RENEW_LEASE, lease_until=self._lease_end())
            )
            self._renewed_at = time.monotonic()

    async def _update(self, tx: Transaction, command: Any, **values: Any) -> None:
        """Change the deletion's row, which proves that the lease is held."""
        matched = await tx.execute(
            command, deletion_id=self._deletion_id, held_token=self._token, updated_at=self._clock(), **values
        )
        if matched != 1:
            raise LeaseLostError("another worker took this purge over")

    async def _rest(self, started: float) -> float:
        """Leave the database to others for a while; how many seconds the work before it took."""
        seconds = time.monotonic() - started
        await asyncio.sleep(seconds * self._pace.rest_share)
        return seconds

    async def _in_transaction(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        async def attempt() -> Result:
            async with self._database.write() as tx:
                started = time.monotonic()
                result = await work(tx)
            metrics.purge_transaction_seconds.observe(time.monotonic() - started)
            return result

        return await with_retries(attempt)

    def _lease_end(self) -> Any:
        return self._clock() + timedelta(seconds=LEASE_SECONDS)

    def _told(self, found: HeldDeletion, reader: BundleReader, *, done: bool) -> PurgeStep:
        return PurgeStep(
            done=done,
            deletion=found,
            counts=dict(self._actual if done else self._planned),
            set_null=self._set_null,
            bundle_path=str(reader.path),
            bundle_sha256=reader.sha256,
        )


def _first_file(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _children(edge: Any) -> Any:
    return statements.COUNT_CHILDREN[edge.name]


def _pointer(line: bytes) -> Pointer:
    return msgspec.json.decode(line, type=Pointer)


def _decoded(decode: Callable[[bytes], Any], lines: Iterable[bytes]) -> list[Any]:
    return [decode(line) for line in lines]


def _numbers(text: msgspec.Raw | None) -> dict[str, int]:
    return {} if text is None else msgspec.json.decode(text, type=dict[str, int])

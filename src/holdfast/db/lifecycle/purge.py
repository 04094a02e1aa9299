"""The purge: the rows of a deletion's verified bundle leave the database, children first, in short transactions.

What is removed is what the bundle holds, by its keys. Every step can be done again: a purge whose process died goes on
where it stood, by any worker that sees the bundle. The lease on the deletion's row keeps others out, and each
transaction proves that it is still held.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle import purge_statements as statements
from holdfast.db.lifecycle.bundle import (
    Bundle,
    LiveRowBeneathError,
    bundle_path,
    count_closure,
    in_thread,
    write_bundle,
)
from holdfast.db.lifecycle.bundle_file import (
    BundleReader,
    BundleRefusedError,
    open_bundle,
)
from holdfast.db.lifecycle.purge_lease import Lease, LeaseLostError, PurgeWaitsError
from holdfast.db.lifecycle.purge_removal import PACES, Pace, PurgeFailedError, Removal, count_pointers
from holdfast.db.lifecycle.purge_statements import HeldDeletion, OtherPurge

Result = TypeVar("Result")

LEASE_SECONDS = 60
# With what the lease tokens of the stored procedures begin.
PROCEDURE_LEASE = "call-"
_MOST_BUNDLES = 3
_SHORTEST_BREATH = 0.004
_LONGEST_BREATH = 0.05


_NO_BUNDLE = {"bundle_path": None, "bundle_sha256": None, "bundle_verified_at": None}


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
        return await purging.run(held)
    except (PurgeFailedError, LiveRowBeneathError, BundleRefusedError, OSError) as error:
        reason = getattr(error, "message", None) or f"the bundle cannot be written or read: {error}"
        await purging.lease.settle("failed", reason)
        raise PurgeFailedError(reason) from error
    except LeaseLostError:
        raise
    except PurgeWaitsError:
        await purging.step_back()
        raise
    except BaseException:
        await purging.lease.release()
        raise


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
        self.lease = Lease(database, deletion_id, clock)
        self._planned: Counter[str] = Counter()
        self._actual: Counter[str] = Counter()
        self._set_null: dict[str, int] = {}
        self._state_before = ""
        self._counts_are_known = True
        self._breathed_at = time.monotonic()

    async def take_lease(self) -> HeldDeletion | None:
        """Take the deletion for this worker; None where nothing is left to do."""
        held = await self.lease.in_transaction(self._take_lease)
        if held is not None and self._must_wait(await self.lease.in_transaction(self._find_others)):
            await self.step_back()
            raise PurgeWaitsError("another deletion is being purged: this one comes after it")
        return held

    async def _find_others(self, tx: Transaction) -> list[OtherPurge]:
        return await tx.fetch_all(statements.OTHER_PURGES, deletion_id=self._deletion_id)

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
            lease_token=self.lease.token,
            lease_until=self.lease.end,
            updated_at=now,
        )
        return await tx.fetch_one(statements.FIND_DELETION, deletion_id=found.id)

    def _must_wait(self, purges: Iterable[OtherPurge]) -> bool:
        """Whether another purge goes first: deletions may overlap, and the numbers of each must come out.

        Of two that prepare their bundles the one with the smaller id goes on; one that removes rows is not disturbed.
        """
        others = [each for each in purges if each.id != self._deletion_id]
        return any(other.bundle_verified_at is not None or other.id < self._deletion_id for other in others)

    async def step_back(self) -> None:
        """Undo `take_lease`."""
        if self._state_before == "purging":
            await self.lease.release()
        else:
            await self.lease.settle(self._state_before, None)

    async def run(self, held: HeldDeletion) -> int:
        """Make the bundle, unless the removal had begun, remove its rows, and check what is left; how many went."""
        is_resumed = self._state_before == "purging" and held.bundle_verified_at is not None
        if not is_resumed or not self._counts_are_known:
            reader = (await self._prepare(held)).reader
        else:
            reader = await self._reopen(held)
            self._planned.update(_numbers(held.planned_counts))
            self._actual.update(_numbers(held.actual_counts))
            self._set_null = _numbers(held.set_null_counts)
        removal = Removal(self.lease, reader, self._pace, self._actual)
        await removal.unlink()
        await removal.remove_rows()
        await removal.require_whole(self._planned)
        await removal.mark_nested()
        await self._finish(reader)
        return removal.removed

    async def _prepare(self, held: HeldDeletion) -> Bundle:
        """The verified bundle, and the transaction after which rows may go."""
        # Where an earlier run removed rows, its bundle is the only place that has them.
        earlier = await self._reopen(held) if held.bundle_verified_at is not None else None
        self._breathed_at = time.monotonic()
        for _ in range(_MOST_BUNDLES):
            async with self._database.read() as tx:
                ended = await tx.fetch_count(statements.COUNT_ENDED)
            bundle = await write_bundle(
                self._database,
                self._deletion_id,
                self._folder,
                made_at=self._clock(),
                renew=self._breathe,
                earlier=earlier,
            )
            async with self._database.snapshot() as tx:
                standing = await count_closure(tx, self._deletion_id)
            if standing == bundle.standing:
                await self._begin(bundle, ended)
                return bundle
            await self._require_turn(ended)
        raise PurgeFailedError("rows beneath this deletion still change: nothing was removed; purge again later")

    async def _require_turn(self, ended: int) -> None:
        """Raise PurgeWaitsError where another purge is what changes the rows beneath this deletion."""
        if self._must_wait(await self.lease.in_transaction(self._find_others)):
            raise PurgeWaitsError("another deletion is being purged: this one comes after it")
        async with self._database.read() as tx:
            if await tx.fetch_count(statements.COUNT_ENDED) != ended:
                raise PurgeWaitsError("another purge ended meanwhile: this one makes its bundle anew")

    async def _breathe(self) -> None:
        """After a page of the bundle: keep the lease, and leave the cores to others for as long as the work took.

        Pages of few rows share a rest: a timer alone takes longer than they do.
        """
        worked = time.monotonic() - self._breathed_at
        await self.lease.renew_sometimes()
        if worked < _SHORTEST_BREATH:
            return
        await asyncio.sleep(min(worked, _LONGEST_BREATH))
        self._breathed_at = time.monotonic()

    async def _begin(self, bundle: Bundle, ended: int) -> None:
        self._planned = Counter(bundle.manifest.rows_by_table())
        self._actual = self._planned - Counter(bundle.standing)
        self._set_null = await count_pointers(bundle.reader)
        await self.lease.in_transaction(partial(self._begin_removal, bundle, ended))

    async def _begin_removal(self, bundle: Bundle, ended: int, tx: Transaction) -> None:
        # Locked, so that one that begins at this moment is seen: either it waits here, or we see that it began.
        purges = await tx.fetch_all(statements.LOCK_PURGES)
        found = await tx.fetch_one(statements.LOCK_DELETION, deletion_id=self._deletion_id)
        if found is None or found.lease_token != self.lease.token:
            raise LeaseLostError("another worker took this purge over")
        if self._must_wait(purges):
            raise PurgeWaitsError("another deletion is being purged: this one comes after it")
        if await tx.fetch_count(statements.COUNT_ENDED) != ended:
            # It may have removed rows that are in this bundle.
            raise PurgeWaitsError("another purge ended meanwhile: this one makes its bundle anew")
        await self.lease.update(
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

    async def _finish(self, reader: BundleReader) -> None:
        async def finish(tx: Transaction) -> None:
            found = await tx.fetch_one(statements.LOCK_DELETION, deletion_id=self._deletion_id)
            await self.lease.update(
                tx, statements.SETTLE, state="purged", failure=None, lease_token=None, lease_until=None
            )
            assert found is not None
            await self._witness(tx, self._told(found, reader, done=True))

        await self.lease.in_transaction(finish)

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


def _numbers(text: msgspec.Raw | None) -> dict[str, int]:
    return {} if text is None else msgspec.json.decode(text, type=dict[str, int])

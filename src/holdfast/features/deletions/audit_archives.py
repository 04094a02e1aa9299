"""Audit entries leave the log by retention: first into a verified file, then, in short transactions, out of the table.

The file has the format of a recovery bundle (docs/recovery-bundles.md), with `audit_logs.jsonl` alone in it.
"""

import asyncio
from contextlib import aclosing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock
from holdfast.core.errors import ConflictError
from holdfast.core.ids import new_long_id
from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.bundle_file import SUFFIX, BundleWriter, open_bundle
from holdfast.db.lifecycle.bundled_revision import revision_to_bundle
from holdfast.db.lifecycle.purge_removal import PACES
from holdfast.db.lifecycle.row_format import line_of
from holdfast.db.retries import with_retries
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.deletions import retention_queries as queries
from holdfast.features.deletions.retention_queries import Archive

# One file, and the snapshot that it is read in, stays small enough to be made again when it fails.
MOST_ENTRIES = 100_000
_ROWS_AT_ONCE = 500


class ArchiveFailedError(ConflictError):
    """The archive does not hold what the log holds; nothing was removed."""

    code = "archive_failed"


async def archive_entries(
    database: Database, folder: Path, made_before: datetime, *, clock: Clock, at_most: int = MOST_ENTRIES
) -> int:
    """Write the oldest entries made before this moment to a verified archive; how many."""
    archive_id = new_long_id()
    path = folder / f"audit-{archive_id}{SUFFIX}"
    with BundleWriter(path) as writer:
        async with database.snapshot() as tx:
            revision = await revision_to_bundle(tx)
            found = await tx.fetch_one(queries.FIND_RANGE, made_before=made_before, at_most=at_most)
            if found is None or found.first_id is None or found.last_id is None:
                return 0
            span = {"first_id": found.first_id, "last_id": found.last_id, "made_before": made_before}
            lines = writer.begin("audit_logs.jsonl")
            async with aclosing(tx.fetch_pages(queries.ENTRIES, _ROWS_AT_ONCE, **span)) as pages:
                async for rows in pages:
                    await in_thread(lines.write, [line_of(row) for row in rows])
            lines.end()
        subject = {
            "id": archive_id,
            "first_id": str(found.first_id),
            "last_id": str(found.last_id),
            "made_before": made_before.isoformat(),
        }
        facts = {"kind": "audit-archive", "subject": subject, "dialect": database.dialect_name}
        await in_thread(partial(writer.finish, made_at=clock(), schema_revision=revision, **facts))
    reader = await in_thread(open_bundle, path)
    if reader.manifest.rows_by_table() != {"audit_logs": found.row_count}:
        raise ArchiveFailedError(f"{path} does not hold the {found.row_count} entries that it should; nothing went")
    row = {"id": archive_id, **span, "row_count": found.row_count, "removed_rows": 0, "bundle_path": str(path)}
    now = clock()
    proof = {"bundle_sha256": reader.sha256, "bundle_verified_at": now, "created_at": now, "updated_at": now}

    async def insert() -> None:
        async with database.write() as tx:
            await tx.execute(queries.INSERT_ARCHIVE, **row, **proof)

    await with_retries(insert)
    return found.row_count


async def remove_archived(database: Database, actor: Actor, before: datetime, *, description: str, clock: Clock) -> int:
    """Remove the entries made before this moment that stand in an archive; how many."""
    async with database.read() as tx:
        archives = await tx.fetch_all(queries.OPEN_ARCHIVES)
    removed = 0
    for archive in archives:
        removal = _Removal(archive, actor, min(before, archive.made_before), description, clock)
        removed += await removal.run(database, archive.made_before <= before)
    return removed


class _Removal:
    """The entries of one archive while they leave the log."""

    def __init__(self, archive: Archive, actor: Actor, before: datetime, description: str, clock: Clock) -> None:
        self._archive = archive
        self._actor = actor
        self._before = before
        self._description = description
        self._clock = clock
        self._next_id = archive.first_id
        self._removed = 0
        self._is_done = False

    async def run(self, database: Database, whole: bool) -> int:
        """Remove them chunk by chunk; `whole` where all of the archive may go."""
        pace = PACES[database.dialect_name]
        while not self._is_done:
            started = asyncio.get_running_loop().time()
            await with_retries(partial(self._remove_chunk, database, pace.most_rows, whole))
            await asyncio.sleep((asyncio.get_running_loop().time() - started) * pace.rest_share)
        return self._removed

    async def _remove_chunk(self, database: Database, at_most: int, whole: bool) -> None:
        async with database.write() as tx:
            archive = await tx.fetch_one(queries.LOCK_ARCHIVE, archive_id=self._archive.id)
            if archive is None:
                self._is_done = True
                return
            if not self._removed and await self._holds_others(tx, archive):
                # Entries came back with the recovery of a user: they are not in this archive, the next one takes them.
                await self._set(tx, archive.removed_rows, removed_at=self._clock())
                self._is_done = True
                return
            end = await tx.fetch_one(queries.FIND_END_OF_CHUNK, **self._span(self._next_id), at_most=at_most)
            end_id = archive.last_id if end is None or end.id is None else end.id
            gone = await tx.execute(queries.REMOVE_ENTRIES, **self._span(self._next_id, end_id))
            left = await tx.fetch_count(queries.COUNT_IN_RANGE, **self._span(end_id + 1))
            now_removed = archive.removed_rows + gone
            await self._set(tx, now_removed, removed_at=self._clock() if whole and not left else None)
            if not left and self._removed + gone:
                await self._record(tx, archive, now_removed)
        self._removed += gone
        self._next_id = end_id + 1
        self._is_done = not left

    async def _holds_others(self, tx: Transaction, archive: Archive) -> bool:
        span = {"first_id": archive.first_id, "last_id": archive.last_id, "made_before": archive.made_before}
        return await tx.fetch_count(queries.COUNT_IN_RANGE, **span) > archive.row_count - archive.removed_rows

    def _span(self, first_id: int, last_id: int | None = None) -> dict[str, Any]:
        return {"first_id": first_id, "last_id": last_id or self._archive.last_id, "made_before": self._before}

    async def _set(self, tx: Transaction, removed_rows: int, removed_at: datetime | None) -> None:
        await tx.execute(
            queries.SET_REMOVED,
            archive_id=self._archive.id,
            removed_rows=removed_rows,
            removed_at=removed_at,
            updated_at=self._clock(),
        )

    async def _record(self, tx: Transaction, archive: Archive, removed_rows: int) -> None:
        new = {
            "counts": {"audit_logs": removed_rows},
            "made_before": self._before,
            "bundle_path": archive.bundle_path,
        }
        await audit.record(
            tx,
            self._actor,
            Action.PURGE,
            "audit-log",
            archive.id,
            label=archive.id,
            new=new,
            description=self._description,
            clock=self._clock,
        )

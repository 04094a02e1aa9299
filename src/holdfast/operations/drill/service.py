"""One drill from beginning to end, and its record."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import ConflictError, HoldfastError
from holdfast.db import runs
from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.engines.base import Database
from holdfast.db.filling import find_unfinished
from holdfast.db.instance_id import find_instance_id
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.migrate import on_database, schema_status
from holdfast.db.migrations.files import known_revisions
from holdfast.db.open import open_database
from holdfast.db.statistics.gauges import DRILL_RUN
from holdfast.db.unfinished import refuse_unfinished
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.deletions.system_actor import get_system_actor
from holdfast.operations.backup.creating import SENTINEL_RUN
from holdfast.operations.backup.reading import NEWEST, is_own, read_manifest, resolve_id
from holdfast.operations.backup.restoring import RESTORE_RUN, restore_backup
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import Manifest
from holdfast.operations.doctor.examination import examine
from holdfast.operations.doctor.types import Severity, Subject
from holdfast.operations.drill import queries
from holdfast.operations.drill.scratch import Scratch, scratch_for
from holdfast.operations.drill.serving import ask_server
from holdfast.operations.drill.types import Doubt, DrillReport
from holdfast.operations.table_rows import count_all
from holdfast.settings import Settings

# Called with the step in words, how much of it is done, and how much there is, where that is known.
Progress = Callable[[str, int, int | None], None]


class DrillFailedError(HoldfastError):
    """A drill that a worker made raised doubts."""

    code = "drill_failed"


class NothingToProveError(ConflictError):
    """The database of the settings has no tables, or not all of its rows."""

    code = "nothing_to_prove"


# What must hold in any instance, wherever it stands. Disks, schedules and the age of things are not the backup's.
INVARIANTS = (
    "migrations",
    "schema",
    "file_damage",
    "invalid_indexes",
    "unproven_constraints",
    "keys_switched_off",
    "table_engines",
    "administrators",
    "orphans",
    "unknown_deletions",
    "finished_deletions",
    "live_under_deleted",
    "deletion_counts",
    "bundles",
    "audit_archives",
    "audit_gaps",
    "audit_numbers",
    "rule_repositories",
    "unique_names",
    "broken_checks",
    "time_forms",
)


async def run_drill(
    settings: Settings,
    *,
    backup: str = NEWEST,
    identities: Path | None = None,
    progress: Progress = lambda step, done, total: None,
    clock: Clock = utc_now,
) -> DrillReport:
    """Make a drill with the newest backup, or the one named, and record it on the real database, however it ends.

    What speaks against the backup stands in the report's doubts. Raised is only what keeps the record from being
    written: a database that cannot be reached, holds no tables, or is being restored or imported.
    """
    await _require_instance(parse_address(settings.resolved_database_url))
    async with open_database(settings).running() as database:
        async with database.read() as tx:
            if await find_unfinished(tx) is not None:
                raise NothingToProveError("an import into this database goes on, or was broken off: wait for its end")
        report = await _Drill(database, settings, progress, clock).run(backup, identities)
        await _record_run(database, report)
        await _record_entry(database, report)
    return report


async def _require_instance(address: DatabaseAddress) -> None:
    # Before the tables are looked for: a restore begins by dropping them.
    await on_database(address, refuse_unfinished)
    if (await schema_status(address)).current is None:
        raise NothingToProveError(
            f"{address.shown} holds no instance of Holdfast, so a drill has nothing to prove: set HOLDFAST_DATABASE_URL"
            " to the database that is backed up"
        )


async def run_drill_as_job(database: Database, settings: Settings, clock: Clock) -> DrillReport:
    """As `run_drill`, for a worker, which records runs itself. NoSuchBackupError: there is nothing to prove yet."""
    async with database.read() as tx:
        instance = await find_instance_id(tx)
    store = await in_thread(open_store, settings)
    await in_thread(partial(resolve_id, store, NEWEST, instance=instance))
    report = await _Drill(database, settings, lambda step, done, total: None, clock).run(NEWEST, None)
    await _record_entry(database, report)
    if not report.passed:
        raise DrillFailedError(report.failure or "")
    return report


class _Drill:
    """One drill under way."""

    def __init__(self, database: Database, settings: Settings, progress: Progress, clock: Clock) -> None:
        self._database = database
        self._settings = settings
        self._progress = progress
        self._clock = clock
        self._began = time.monotonic()
        self._step = "backup"
        self._doubts: list[Doubt] = []
        self._report = DrillReport(
            started_at=clock(), finished_at=clock(), engine=database.dialect_name, passed=False, doubts=[]
        )

    async def run(self, backup: str, identities: Path | None) -> DrillReport:
        """The report, with every doubt that came up."""
        try:
            manifest = await self._find_backup(backup)
            await self._measure_loss(manifest)
            async with self._in_step("scratch"), scratch_for(self._settings) as scratch:
                await self._prove(manifest, scratch, identities)
        except _StoppedError:
            pass
        except Exception as error:
            # Whatever it is: a drill that leaves no record would pass for one that was not due.
            self._doubt(_words_of(error))
        return msgspec.structs.replace(
            self._report, finished_at=self._clock(), passed=not self._doubts, doubts=self._doubts
        )

    async def _find_backup(self, named: str) -> Manifest:
        async with self._in_step("backup"):
            store = open_store(self._settings)
            async with self._database.read() as tx:
                instance = await find_instance_id(tx)
            backup_id = await in_thread(partial(resolve_id, store, named, instance=instance))
            self._tell(backup_id=backup_id)
            manifest = await in_thread(read_manifest, store, backup_id)
        self._tell(
            made_at=manifest.made_at,
            schema_revision=manifest.schema_revision,
            rows=manifest.rows,
            bundles=len(manifest.bundles),
        )
        self._step = "backup"
        if not is_own(manifest.owner, instance):
            self._doubt(f"backup {manifest.id} is of another instance: it proves nothing of what this one could lose")
        head = known_revisions()[-1]
        if manifest.schema_revision != head:
            self._doubt(
                f"backup {manifest.id} is at schema revision {manifest.schema_revision}, and this version needs {head}:"
                " it can only be brought back through a migration; make a new one"
            )
        if manifest.bundles_missing:
            self._doubt(
                f"backup {manifest.id} lacks {len(manifest.bundles_missing)} bundles that its rows name, such as"
                f" {manifest.bundles_missing[0]}"
            )
        return manifest

    async def _measure_loss(self, manifest: Manifest) -> None:
        """How much would be lost with the machine now."""
        now = self._clock()
        age = now - manifest.made_at
        async with self._database.read() as tx:
            newest = await tx.fetch_one(queries.NEWEST_ENTRY)
            at_risk = await tx.fetch_count(queries.ENTRIES_SINCE, moment=manifest.made_at)
        self._tell(
            rpo_seconds=round(age.total_seconds(), 3),
            newest_write_at=None if newest is None else newest.value,
            writes_at_risk=at_risk,
        )
        self._step = "age"
        limit = timedelta(hours=self._settings.drill_max_age_hours)
        if age > limit:
            self._doubt(
                f"backup {manifest.id} is {_hours(age)} old, and HOLDFAST_DRILL_MAX_AGE_HOURS allows {_hours(limit)}:"
                f" {at_risk} entries of the audit log were made since"
            )
        if age < timedelta(0):
            self._doubt(f"backup {manifest.id} is from the future: the clock of one of the machines is wrong")

    async def _prove(self, manifest: Manifest, scratch: Scratch, identities: Path | None) -> None:
        async with self._in_step("restore"):
            restored = await restore_backup(
                scratch.settings,
                manifest.id,
                upgrade=True,
                identities=identities,
                bundles_to=scratch.settings.resolved_bundle_dir,
                progress=self._progress,
                clock=self._clock,
            )
        self._tell(compared=restored.compared)
        if restored.compared != "checksums":
            self._doubt(f"the rows could be held against the manifest by their {restored.compared} only")
        async with open_database(scratch.settings).running() as database:
            async with self._in_step("rows"):
                await self._compare_counts(database, manifest)
            async with self._in_step("sentinel"):
                await self._find_sentinel(database, manifest)
            async with self._in_step("serve"):
                self._progress("Asking a server", 0, None)
                for sentence in await ask_server(scratch.settings, database, scratch.folder):
                    self._doubt(sentence)
            self._tell(rto_seconds=round(time.monotonic() - self._began, 3))
            async with self._in_step("invariants"):
                await self._examine(database, scratch.settings)

    async def _compare_counts(self, database: Database, manifest: Manifest) -> None:
        """Counted once more, by a statement of the drill's own: the restore is not to be its own judge."""
        async with database.snapshot() as tx:
            found = await count_all(tx)
            newest = await tx.fetch_one(queries.NEWEST_ENTRY)
            restores = 1 if await runs.find_latest(tx, RESTORE_RUN) is not None else 0
        self._tell(newest_write_in_backup_at=None if newest is None else newest.value)
        for name, expected in manifest.tables.items():
            # The restore wrote its own run down.
            added = restores if name == "runs" else 0
            if found.get(name, 0) - added not in {expected.rows, expected.rows + added}:
                self._doubt(f"{name} has {found.get(name, 0)} rows, and the manifest says {expected.rows}")

    async def _find_sentinel(self, database: Database, manifest: Manifest) -> None:
        sentinel = manifest.sentinel
        if sentinel is None:
            self._doubt(f"backup {manifest.id} was made without a sentinel: nothing tells that it is of its own moment")
            return
        async with database.read() as tx:
            found = await tx.fetch_one(queries.FIND_RUN, run_id=sentinel.run_id)
        if found is None or found.name != SENTINEL_RUN:
            self._doubt(
                f"the restored database lacks the sentinel of backup {manifest.id}, which was written at"
                f" {sentinel.written_at:%Y-%m-%d %H:%M:%S} UTC: it is of another moment, or of another instance"
            )
            return
        detail = msgspec.json.decode(found.detail or b"null")
        if not isinstance(detail, dict) or detail.get("value") != sentinel.value:
            self._doubt(f"the sentinel of backup {manifest.id} has another value than the manifest says")
            return
        self._tell(sentinel_found=True)

    async def _examine(self, database: Database, settings: Settings) -> None:
        subject = Subject(database=database, settings=settings, clock=self._clock)
        report = await examine(
            subject,
            INVARIANTS,
            progress=lambda share, name: self._progress(f"Checking {name}", round(share * 1000), 1000),
        )
        self._tell(checks=report.checks)
        for finding in report.findings:
            told = f"{finding.check}: {finding.message}" + (f" ({', '.join(finding.rows[:3])})" if finding.rows else "")
            if finding.severity is Severity.ERROR:
                self._doubt(told)
            else:
                self._tell(remarks=[*self._report.remarks, told])

    @asynccontextmanager
    async def _in_step(self, step: str) -> AsyncIterator[None]:
        """What fails within is a doubt of this step, and the drill ends there."""
        began, outer = time.monotonic(), self._step
        self._step = step
        try:
            yield
        except _StoppedError:
            raise
        except Exception as error:
            self._doubt(_words_of(error))
            raise _StoppedError from error
        finally:
            if step != "scratch":
                seconds = round(time.monotonic() - began, 3)
                self._tell(steps=self._report.steps | {step: seconds})
            self._step = outer

    def _doubt(self, message: str) -> None:
        self._doubts.append(Doubt(self._step, message))

    def _tell(self, **facts: object) -> None:
        self._report = msgspec.structs.replace(self._report, **facts)


class _StoppedError(Exception):
    """The drill cannot go on; the doubt is noted."""


async def _record_run(database: Database, report: DrillReport) -> None:
    async with database.write() as tx:
        await runs.record(
            tx,
            DRILL_RUN,
            report.started_at,
            "done" if report.passed else "failed",
            failure=report.failure,
            detail=msgspec.to_builtins(report),
            clock=lambda: report.finished_at,
        )


async def _record_entry(database: Database, report: DrillReport) -> None:
    told = ("passed", "rpo_seconds", "rto_seconds", "writes_at_risk", "doubts")
    detail = msgspec.to_builtins(report)
    async with database.write() as tx:
        try:
            actor = await get_system_actor(tx)
        except ConflictError:
            # Nobody to name: the drill has raised its doubt about that, and its run stands recorded.
            return
        await audit.record(
            tx,
            actor,
            Action.CREATE,
            queries.RESOURCE_TYPE,
            report.backup_id or "",
            new={name: detail[name] for name in told},
            description="the drill passed" if report.passed else "the drill raised doubts",
            clock=lambda: report.finished_at,
        )


def _words_of(error: Exception) -> str:
    if isinstance(error, HoldfastError):
        return error.message
    return str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} hours"

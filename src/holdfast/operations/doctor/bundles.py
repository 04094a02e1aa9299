"""Recovery bundles: each file that a deletion names is there and unchanged, and no file is there that nobody names."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec

from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.bundle_file import SUFFIX, BundleRefusedError, open_bundle
from holdfast.db.retries import with_retries
from holdfast.db.statements import Query
from holdfast.features.deletions.leftover_bundles import PREPARED
from holdfast.operations.doctor import file_queries as queries
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.file_queries import NamedFile
from holdfast.operations.doctor.types import MOST_ROWS, Change, Fault, Severity, Subject

_AT_ONCE = 200
_HOUR_SECONDS, _DAY_SECONDS = 3600, 24 * 3600
_ARCHIVE = "audit-"


class Damaged(msgspec.Struct, frozen=True):
    """A file that is not what its row says, and how. `moved_to` is where the right one lies."""

    file: NamedFile
    reason: str
    moved_to: Path | None = None


async def find_damaged_bundles(subject: Subject) -> AsyncIterator[Fault]:
    """Bundles of deletions that are missing, cut off or changed."""
    alike: dict[tuple[Severity, bool], list[Damaged]] = {}
    async for each in _damaged(subject):
        is_curable = each.file.state == "deleted" or each.moved_to is not None
        severity = Severity.WARNING if is_curable else Severity.ERROR
        alike.setdefault((severity, is_curable), []).append(each)
    for (severity, is_curable), found in alike.items():
        more = f" (and {len(found) - 1:,} more bundles)" if len(found) > 1 else ""
        yield Fault(
            severity=severity,
            message=_told(found[0]) + more,
            table="deletions",
            rows=[each.file.of for each in found[:MOST_ROWS]],
            count=len(found),
            is_curable=is_curable,
        )


def _told(damaged: Damaged) -> str:
    file = damaged.file
    if damaged.moved_to is not None:
        what = f"it lies at {damaged.moved_to}, and the doctor can put down its new place"
    elif file.state == "deleted":
        what = "its rows are all there, and the doctor can have it forgotten and made anew"
    elif file.state == "failed":
        what = "what it held is on no other place. Look for a copy of the file"
    else:
        what = "the deletion cannot be recovered. Bring the file back from a copy"
    return f"the bundle of deletion {file.of} ({file.state}), {file.path or 'no file'}, {damaged.reason}: {what}"


async def find_leftover_files(subject: Subject) -> AsyncIterator[Fault]:
    """Files in the folder of bundles that no deletion or archive knows, and halves that a dead process left."""
    folder = subject.settings.resolved_bundle_dir
    files, halves = await in_thread(_list_files, folder)
    unknown = await _unknown(subject.database, files)
    if unknown:
        yield Fault(
            severity=Severity.NOTICE,
            message=f"{len(unknown):,} files in {folder} belong to no deletion or archive of this database: perhaps to"
            " another one, or to one that a restored backup does not know",
            rows=[path.name for path in unknown[:MOST_ROWS]],
            count=len(unknown),
        )
    if halves:
        yield Fault(
            severity=Severity.WARNING,
            message=f"{len(halves):,} unfinished files in {folder} are older than a day: a process died while it wrote"
            " them, and they only take room",
            rows=[path.name for path in halves[:MOST_ROWS]],
            count=len(halves),
            is_curable=True,
        )


class MendBundles:
    """The new place of a bundle that was moved is put down; one that was only prepared is forgotten and made anew."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        async for each in _damaged(subject):
            if each.moved_to is not None or each.file.state == "deleted":
                yield _change(each, "would be")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        for each in [each async for each in _damaged(subject)]:
            if each.moved_to is None and each.file.state != "deleted":
                continue
            change = _change(each, "is")
            if await with_retries(partial(_mend, subject, each, change)):
                yield change


class RemoveHalves:
    """Unfinished files older than a day go."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        _, halves = await in_thread(_list_files, subject.settings.resolved_bundle_dir)
        if halves:
            yield _removal(halves, "would go")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        _, halves = await in_thread(_list_files, subject.settings.resolved_bundle_dir)
        if not halves:
            return
        change = _removal(halves, "removed")
        async with subject.database.write() as tx:
            await record(tx, subject, change)
        for path in halves:
            await asyncio.to_thread(partial(path.unlink, missing_ok=True))
        yield change


async def files_of(database: Database, query: Query[NamedFile]) -> AsyncIterator[NamedFile]:
    """Every file that the rows of a query name, in the order of their ids."""
    after = ""
    while True:
        async with database.read() as tx:
            page = await tx.fetch_all(query, after_id=after, at_most=_AT_ONCE)
        for each in page:
            yield each
        if len(page) < _AT_ONCE:
            return
        after = page[-1].of


def wrong_with(path: str | None, sha256: str | None) -> str | None:
    """What is wrong with a file, or None. It is read once, and taken apart only where its hash is another."""
    if path is None:
        return "is put down nowhere"
    place = Path(path)
    try:
        with place.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    if found == sha256:
        return None
    try:
        open_bundle(place)
    except BundleRefusedError as error:
        return f"is damaged ({error.message})"
    return "is whole, but another one than was verified"


async def _damaged(subject: Subject) -> AsyncIterator[Damaged]:
    async for file in files_of(subject.database, queries.BUNDLES):
        reason = await in_thread(wrong_with, file.path, file.sha256)
        if reason is None:
            continue
        async with subject.database.read() as tx:
            now = await tx.fetch_all(queries.BUNDLES_NOW, ids=[file.of])
        # A purge, a recovery or a cleanup may have gone on meanwhile.
        if now == [file]:
            yield Damaged(file, reason, await in_thread(_place_beside, subject, file))


def _place_beside(subject: Subject, file: NamedFile) -> Path | None:
    """Where the right file lies, if the folder of the settings has it."""
    if file.path is None:
        return None
    folder = subject.settings.resolved_bundle_dir
    for place in (folder / Path(file.path).name, folder / PREPARED / Path(file.path).name):
        if place != Path(file.path) and wrong_with(str(place), file.sha256) is None:
            return place
    return None


async def _mend(subject: Subject, found: Damaged, change: Change) -> bool:
    """Whether it was; not where the row has gone on since it was looked at."""
    async with subject.database.write() as tx:
        shared = {"deletion_id": found.file.of, "updated_at": subject.clock()}
        if found.moved_to is not None:
            old = {"old_path": found.file.path, "old_sha256": found.file.sha256}
            matched = await tx.execute(queries.SET_PATH, bundle_path=str(found.moved_to), **old, **shared)
        else:
            matched = await tx.execute(queries.FORGET_PREPARED, **shared)
        if matched:
            await record(tx, subject, change, path=found.file.path, reason=found.reason)
        return matched > 0


def _change(found: Damaged, verb: str) -> Change:
    if found.moved_to is not None:
        done = f"the bundle of deletion {found.file.of} {verb} put down at {found.moved_to}"
    else:
        done = f"the prepared bundle of deletion {found.file.of} {verb} forgotten; a purge makes it anew"
    return Change(check="bundles", table="deletions", rows=[found.file.of], done=done)


def _removal(halves: list[Path], done: str) -> Change:
    return Change(check="leftover_files", table=None, rows=[str(path) for path in halves], done=done)


def _list_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The bundles older than an hour, and the halves older than a day."""
    now = time.time()
    found = sorted([*folder.glob(f"*{SUFFIX}"), *(folder / PREPARED).glob(f"*{SUFFIX}")])
    # A younger one may be about to be put down.
    files = [path for path in found if _age_of(path, now) > _HOUR_SECONDS]
    halves = [path for path in sorted(folder.rglob(f".*{SUFFIX}.*.part")) if _age_of(path, now) > _DAY_SECONDS]
    return files, halves


def _age_of(path: Path, now: float) -> float:
    """In seconds; none where the file has just gone."""
    try:
        return now - path.stat().st_mtime
    except FileNotFoundError:
        return 0


async def _unknown(database: Database, files: list[Path]) -> list[Path]:
    unknown: list[Path] = []
    for start in range(0, len(files), _AT_ONCE):
        named = {path: path.name.removesuffix(SUFFIX) for path in files[start : start + _AT_ONCE]}
        archives = [name.removeprefix(_ARCHIVE) for name in named.values() if name.startswith(_ARCHIVE)]
        others = [name for name in named.values() if name.isascii()]
        async with database.read() as tx:
            known = {row.id for row in await tx.fetch_all(queries.KNOWN_DELETIONS, ids=others)}
            found = await tx.fetch_all(queries.KNOWN_ARCHIVES, ids=[name for name in archives if name.isascii()])
            known.update(f"{_ARCHIVE}{row.id}" for row in found)
        unknown += [path for path, name in named.items() if name not in known]
    return unknown

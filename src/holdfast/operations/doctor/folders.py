"""The machine: room on the disks of the database and the bundles, and who else may write to their files."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

from holdfast.db.address import parse_address
from holdfast.operations.doctor.audited import record
from holdfast.operations.doctor.types import Change, Fault, Severity, Subject

_GIB = 1024**3
_LOW_BYTES, _FULL_BYTES = _GIB, _GIB // 5
_OTHERS_WRITE = stat.S_IWOTH


async def find_full_disks(subject: Subject) -> AsyncIterator[Fault]:
    """Folders with little room left."""
    for folder in _folders(subject):
        if not await asyncio.to_thread(folder.is_dir):
            continue
        _, _, free = await asyncio.to_thread(subject.disk_usage, folder)
        if free < _LOW_BYTES:
            is_full = free < _FULL_BYTES
            yield Fault(
                severity=Severity.ERROR if is_full else Severity.WARNING,
                message=f"{free / _GIB:.2f} GiB are free at {folder}: without room no change is taken, and no bundle"
                " is written",
                rows=[str(folder)],
            )


async def find_missing_folder(subject: Subject) -> AsyncIterator[Fault]:
    """The folder of bundles that the settings name, and that is not there: a disk that is not mounted?"""
    folder = subject.settings.resolved_bundle_dir
    if subject.settings.bundle_dir and not await asyncio.to_thread(folder.is_dir):
        yield Fault(
            severity=Severity.ERROR,
            message=f"the folder {folder}, which HOLDFAST_BUNDLE_DIR names, is not there: mount or make it. Until then"
            " nothing can be purged",
            rows=[str(folder)],
        )


async def find_open_files(subject: Subject) -> AsyncIterator[Fault]:
    """The database file and the folder of bundles, where anybody on the machine may write to them."""
    exposed = await asyncio.to_thread(_exposed, subject)
    if exposed:
        yield Fault(
            severity=Severity.ERROR,
            message="everybody on this machine may write to " + ", ".join(map(str, exposed)),
            rows=[str(path) for path in exposed],
            count=len(exposed),
            is_curable=True,
        )


class CloseFiles:
    """Others lose the right to write."""

    async def plan(self, subject: Subject) -> AsyncIterator[Change]:
        exposed = await asyncio.to_thread(_exposed, subject)
        if exposed:
            yield _change(exposed, "others would lose the right to write")

    async def apply(self, subject: Subject) -> AsyncIterator[Change]:
        exposed = await asyncio.to_thread(_exposed, subject)
        if not exposed:
            return
        for path in exposed:
            await asyncio.to_thread(_close, path)
        change = _change(exposed, "others lost the right to write")
        async with subject.database.write() as tx:
            await record(tx, subject, change)
        yield change


def _change(paths: list[Path], done: str) -> Change:
    return Change(check="file_permissions", table=None, rows=[str(path) for path in paths], done=done)


def _close(path: Path) -> None:
    path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_OTHERS_WRITE)


def _exposed(subject: Subject) -> list[Path]:
    address = parse_address(subject.settings.resolved_database_url)
    paths = [subject.settings.resolved_bundle_dir]
    if address.dialect_name == "sqlite":
        paths += [address.path.with_name(address.path.name + suffix) for suffix in ("", "-wal", "-shm")]
    return [path for path in paths if path.exists() and path.stat().st_mode & _OTHERS_WRITE]


def _folders(subject: Subject) -> list[Path]:
    address = parse_address(subject.settings.resolved_database_url)
    folders = [subject.settings.resolved_bundle_dir]
    if address.dialect_name == "sqlite":
        folders.append(address.path.parent.resolve())
    # What is not made yet has the room of the folder above it.
    return list(dict.fromkeys(folder if folder.exists() else folder.parent for folder in folders))

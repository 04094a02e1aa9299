"""A folder, here or on a mounted disk. A backup is written under a part name, which becomes its own at the end."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from holdfast.db.lifecycle.bundle_file import sync_folder
from holdfast.operations.backup.errors import StoreError
from holdfast.operations.backup.stores.base import PartSink, Store, Upload
from holdfast.operations.backup.types import MANIFEST, is_backup_id
from holdfast.operations.backup.workspace import is_abandoned, locked_folder, unlock_file

_BLOCK = 1024 * 1024
# Bit by bit: all at once would hold up the commits of a database on the same disk.
_SYNCED_AT_ONCE = 8 * 1024 * 1024
_PART, _REMOVED = ".part", ".removed"
_MODE = 0o600
_Told = Callable[[], AbstractContextManager[None]]


class FolderStore(Store):
    """`make` is whether the folder itself may be made: one that was named may be a disk that is not mounted."""

    def __init__(self, folder: Path, *, make: bool) -> None:
        self._folder = folder
        self._make = make
        self.shown = str(folder)

    def ids(self) -> list[str]:
        with self._told():
            if not self._is_there():
                return []
            found = [each.name for each in self._folder.iterdir() if is_backup_id(each.name)]
            return sorted((each for each in found if (self._folder / each / MANIFEST).is_file()), reverse=True)

    @contextlib.contextmanager
    def upload(self, backup_id: str) -> Iterator[Upload]:
        part = self._folder / f".{backup_id}{_PART}"
        with contextlib.ExitStack() as stack:
            with self._told():
                self._is_there()
                stack.enter_context(locked_folder(part))
            try:
                yield _FolderUpload(self._folder, part, backup_id, self._told)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def read_small(self, backup_id: str, name: str) -> bytes | None:
        with self._told():
            try:
                return (self._folder / backup_id / name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def write_small(self, backup_id: str, name: str, content: bytes) -> None:
        with self._told():
            part = self._folder / backup_id / f".{name}.{secrets.token_hex(4)}{_PART}"
            try:
                _write_file(part, content)
                part.replace(self._folder / backup_id / name)
                sync_folder(part.parent)
            finally:
                part.unlink(missing_ok=True)

    def blocks(self, backup_id: str, name: str) -> Iterator[bytes]:
        try:
            with (self._folder / backup_id / name).open("rb") as stream:
                while block := stream.read(_BLOCK):
                    yield block
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{name} of backup {backup_id} cannot be read: {error.strerror or error}") from error

    def sizes(self, backup_id: str) -> dict[str, int]:
        with self._told():
            if not (self._folder / backup_id).is_dir():
                return {}
            return {each.name: each.stat().st_size for each in (self._folder / backup_id).iterdir()}

    def remove(self, backup_id: str) -> None:
        with self._told():
            removed = self._folder / f".{backup_id}.{secrets.token_hex(4)}{_REMOVED}"
            (self._folder / backup_id).rename(removed)
            sync_folder(self._folder)
            shutil.rmtree(removed, ignore_errors=True)

    def remove_leftovers(self) -> int:
        with self._told():
            if not self._is_there():
                return 0
            lefts = [
                each
                for each in self._folder.iterdir()
                if each.name.startswith(".") and each.name.endswith((_PART, _REMOVED)) and is_abandoned(each)
            ]
            for left in lefts:
                shutil.rmtree(left, ignore_errors=True)
            return len(lefts)

    def _is_there(self) -> bool:
        if self._make:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._folder.is_dir():
            raise StoreError(f"the folder of backups {self._folder} is not there: mount or make it")
        return True

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.shown} cannot be used for backups: {error.strerror or error}") from error


class _FolderUpload(Upload):
    # Most file systems hold larger files, and copies of the folder elsewhere go piece by piece.
    part_bytes = 1024 * 1024 * 1024

    def __init__(self, folder: Path, part: Path, backup_id: str, told: _Told) -> None:
        self._folder = folder
        self._part = part
        self._backup_id = backup_id
        self._told = told

    def begin_part(self, name: str) -> PartSink:
        with self._told():
            return _FileSink(self._part / name, self._told)

    def copy_part(self, backup_id: str, name: str) -> None:
        source, target = self._folder / backup_id / name, self._part / name
        try:
            # The same bytes under two names: they stay until the last backup that has them goes.
            target.hardlink_to(source)
        except FileNotFoundError:
            raise
        except OSError:
            with self._told():
                shutil.copyfile(source, target)
                with target.open("rb") as stream:
                    os.fsync(stream.fileno())

    def finish(self, manifest: bytes) -> None:
        whole = self._folder / self._backup_id
        with self._told():
            _write_file(self._part / MANIFEST, manifest)
            sync_folder(self._part)
            self._part.rename(whole)
            # Under the part's name a folder without its lock is a left-over, which any other process removes.
            unlock_file(whole)
            sync_folder(whole)
            sync_folder(self._folder)


class _FileSink(PartSink):
    def __init__(self, path: Path, told: _Told) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        self._stream = os.fdopen(descriptor, "wb", buffering=0)
        self._unsynced = 0
        self._told = told

    def write(self, block: memoryview) -> None:
        self._unsynced += len(block)
        with self._told():
            while block:
                block = block[self._stream.write(block) or 0 :]
            if self._unsynced >= _SYNCED_AT_ONCE:
                os.fdatasync(self._stream.fileno())
                self._unsynced = 0

    def close(self) -> None:
        with self._told():
            try:
                os.fsync(self._stream.fileno())
            finally:
                self._stream.close()

    def discard(self) -> None:
        self._stream.close()


def _write_file(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())

"""Folders for work that a killed process leaves behind: each is locked by its owner, and the next one clears them."""

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

_LOCK = ".lock"
_NEW = ".new-"
_NEW_SECONDS = 3600


@contextlib.contextmanager
def locked_folder(path: Path) -> Iterator[Path]:
    """Make a folder that is known to be in use while the block lasts. The folder itself stays."""
    # Under its name it is locked from the first moment, or another process might take it for a left-over.
    new = path.with_name(f"{_NEW}{path.name}")
    new.mkdir(mode=0o700)
    descriptor = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        new.rename(path)
        yield path
    finally:
        os.close(descriptor)


def unlock_file(folder: Path) -> None:
    """Remove the lock's file, for a folder that gets its final name."""
    (folder / _LOCK).unlink(missing_ok=True)


def is_abandoned(folder: Path) -> bool:
    """Whether nobody holds the folder any more."""
    if folder.name.startswith(_NEW):
        return time.time() - folder.stat().st_mtime > _NEW_SECONDS
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextlib.contextmanager
def workspace(root: Path) -> Iterator[Path]:
    """A private folder below `root` that goes with the block; those of processes that died go now."""
    root.mkdir(parents=True, exist_ok=True)
    for left in root.iterdir():
        if left.is_dir() and is_abandoned(left):
            shutil.rmtree(left, ignore_errors=True)
    folder = root / secrets.token_hex(8)
    with locked_folder(folder):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

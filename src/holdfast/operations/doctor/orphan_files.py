"""The recovery files of the cure of orphans: the only copy of the rows that it removed, though no row names them."""

from pathlib import Path

from holdfast.db.lifecycle.bundle_file import SUFFIX

FOLDER = "doctor"
_PREFIX = "orphans-"


def orphan_file(bundle_dir: Path, file_id: str) -> Path:
    """Where the cure writes a file."""
    return bundle_dir / FOLDER / f"{_PREFIX}{file_id}{SUFFIX}"


def list_orphan_files(bundle_dir: Path) -> list[Path]:
    """Those that are there, in the order of their names. Blocks."""
    found = (bundle_dir / FOLDER).glob(f"{_PREFIX}*{SUFFIX}")
    return sorted(path for path in found if path.is_file())

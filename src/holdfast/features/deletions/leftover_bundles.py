"""Bundles that were prepared for the database's own procedure and that nothing needs any more.

Only files in the folder `prepared` are looked at. The bundles of purges beside it are the only way back, and stay.
"""

from functools import partial
from pathlib import Path

from holdfast.db.engines.base import Database
from holdfast.db.lifecycle.bundle import in_thread
from holdfast.db.lifecycle.bundle_file import SUFFIX
from holdfast.features.deletions import queries
from holdfast.features.deletions.types import DeletionRow

PREPARED = "prepared"


async def remove_leftovers(database: Database, folder: Path) -> int:
    """Remove what is left over; how many files. One whose deletion is not known here may belong to another database."""
    removed = 0
    for path in await in_thread(_prepared_files, folder / PREPARED):
        async with database.read() as tx:
            deletion = await tx.fetch_one(queries.GET_DELETION, deletion_id=path.name.removesuffix(SUFFIX))
        if deletion is not None and await in_thread(_is_left_over, deletion):
            await in_thread(partial(path.unlink, missing_ok=True))
            removed += 1
    return removed


def _prepared_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def _is_left_over(deletion: DeletionRow) -> bool:
    """Whether the rows are back, or went with another bundle, which is there."""
    if deletion.bundle_path is None:
        return deletion.state == "restored"
    used = Path(deletion.bundle_path)
    return deletion.state in {"purged", "restored"} and used.parent.name != PREPARED and used.is_file()

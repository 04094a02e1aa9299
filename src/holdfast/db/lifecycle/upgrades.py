"""Rows of older bundles, brought to this version's schema: one step for each migration since bundles exist.

A migration that changes what a bundled row looks like registers a step, which is given a table's name and the fields of
one row, and returns the fields as they are from that revision on. One that changes no bundled row registers None.
"""

from collections.abc import Callable
from typing import Any

from holdfast.db.lifecycle.bundle_file import BundleRefusedError

Fields = dict[str, Any]
Step = Callable[[str, Fields], Fields]

FIRST_REVISION = "0009"
UPGRADES: dict[str, Step | None] = {
    "0010": None,
    "0011": None,
    "0012": None,
    "0013": None,
    "0014": None,
    "0015": None,
    "0016": None,
    "0017": None,
    "0018": None,
    "0019": None,
}


def steps_between(made_at: str, current: str) -> list[Step]:
    """The steps from the revision of a bundle to that of the database; a bundle of a newer revision is refused."""
    if not made_at.isdecimal() or len(made_at) != len(current) or made_at < FIRST_REVISION:
        raise BundleRefusedError(f"the bundle names the schema revision {made_at!r}, which there never was")
    if made_at > current:
        raise BundleRefusedError(
            f"the bundle was made at schema revision {made_at} and this database is at {current}: use a newer Holdfast"
        )
    return [step for revision, step in sorted(UPGRADES.items()) if made_at < revision <= current and step is not None]

"""What an import is told, and what it tells of each row."""

from datetime import UTC, datetime, tzinfo
from enum import StrEnum

import msgspec

from holdfast.core.errors import ConflictError

_LONGEST_SHOWN = 2000


class LegacyError(ConflictError):
    """The older database cannot be read or imported as it is."""

    code = "legacy_refused"


class Outcome(StrEnum):
    """What became of a row."""

    MADE = "made"  # it has a row of its own
    MERGED = "merged"  # a row that is there already stands for it
    LEFT_OUT = "left_out"  # it was not imported; the next import tries again


class Orphans(StrEnum):
    """What becomes of rows whose project or group is gone."""

    DROP = "drop"
    QUARANTINE = "quarantine"


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that was done to a row: `code` is a stable word, `why` says more where that is not enough."""

    code: str
    column: str = ""
    old: str | None = None
    new: str | None = None
    why: str = ""


def note(code: str, column: str = "", old: object = None, new: object = None, why: str = "") -> Note:
    """A note with its values as text, long ones cut."""
    return Note(code, column, _shown(old), _shown(new), why)


class KeyEntry(msgspec.Struct, frozen=True):
    """What the key map says of one old row. `new_id` is empty where it was left out."""

    old_key: str
    new_id: str
    outcome: str
    notes: str
    is_checked: bool


class Options(msgspec.Struct, frozen=True):
    """What whoever imports decides.

    `zone` is that of times which the older database kept without one. `allowed_kinds` are kinds of Kubernetes objects,
    in lower case, which are kept though Holdfast does not know them.
    """

    zone: tzinfo = UTC
    allowed_kinds: frozenset[str] = frozenset()
    orphans: Orphans = Orphans.DROP
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)


def _shown(value: object) -> str | None:
    if value is None:
        return None
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}… ({len(text)} characters)"

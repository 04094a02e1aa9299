"""The report of an import: a file of JSON lines with every row that was changed or left out, and its summary."""

import os
from pathlib import Path
from typing import IO, Self

import msgspec

from holdfast.operations.legacy.importing import Noted
from holdfast.operations.legacy.key_map import notes_of
from holdfast.operations.legacy.types import Note

_MODE = 0o600

# What each code means, as people read it.
MEANINGS = {
    "audit_resolved": "old ids in the text became new ones; the text as it was is kept",
    "clash": "the name was taken: the newest keeps it, this one got another",
    "content_rebuilt": "the text was missing and is written anew from the objects",
    "deleted_with_parent": "what it hangs on is deleted, so it is deleted with it",
    "enum_case": "written as Holdfast writes it",
    "enum_unknown": "a value that Holdfast does not know became the safest that it does",
    "flat_image": "an entry of the flat list became repository, tag and rule",
    "hashed_id": "the id by the rule would be too long, so it is a hash",
    "image_normalised": "the image's name was brought into the form in which images are compared",
    "image_refused": "no registry can have an image of that name: left out",
    "key_clash": "another row has the id by the rule, so it is a hash",
    "kind_allowed": "a kind that Holdfast does not know was kept, as asked",
    "kind_unknown": "a kind that Holdfast does not know: left out",
    "made_from_objects": "there were no files: one was made of the name that its objects bear",
    "merged": "a row that is there stands for it",
    "missing_time": "there was no time: that of the last change, or of the import",
    "missing_value": "there was nothing where something must be",
    "older_table": "from a table that a newer one had replaced",
    "orphan": "what it belongs to is gone",
    "out_of_range": "a number that the column does not take was cut",
    "placeholder": "made for what is gone",
    "renumbered": "the log has entries of its own, so this one has another number",
    "secret_masked": "secrets that the older program wrote into the log are masked",
    "soft_deleted": "it was deleted, and can be restored",
    "super_group": "the group of the super administrators has a fixed id",
    "too_long": "the text was longer than the column and was cut",
    "unlinked": "the row that it names is gone: the reference was emptied",
    "unreadable": "neither a number nor a yes or no where one must be: it became what stands for nothing",
    "unstorable": "characters that the column does not take were taken out",
    "unusual_name": "kept as it is, though a new one could not be called so",
    "well_known_hash": "the password is public knowledge: it opens nothing any more",
    "wrong_time": "a time of the year 1 became that of the last change, or of the import",
}


class Finding(msgspec.Struct):
    """All rows of a table to which one thing was done, with one of them as an example."""

    table: str
    code: str
    column: str
    rows: int
    example: str
    old: str | None
    new: str | None

    @property
    def meaning(self) -> str:
        """What was done, in words."""
        return MEANINGS[self.code]


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the file."""

    table: str
    old_key: str
    outcome: str
    new_id: str = ""
    notes: list[Note] = []


class Report:
    """Takes in what is told of rows, sums it up, and writes it to a file where there is one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stream: IO[bytes] | None = None
        self._findings: dict[tuple[str, str, str], Finding] = {}
        self.lines = 0

    def __enter__(self) -> Self:
        if self._path is not None:
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
            self._stream = os.fdopen(descriptor, "wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._stream is None or self._path is None:
            return
        self._stream.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def tell(self, noted: Noted) -> None:
        """Take in a row."""
        entry = noted.entry
        notes = notes_of(entry.notes)
        self.lines += 1
        for each in notes:
            self._sum_up(noted.table, entry.old_key, each)
        if self._stream is not None:
            line = Line(noted.table, entry.old_key, entry.outcome, entry.new_id, notes)
            self._stream.write(msgspec.json.encode(line) + b"\n")

    @property
    def findings(self) -> list[Finding]:
        """What was done, table by table."""
        return list(self._findings.values())

    @property
    def _part(self) -> Path:
        assert self._path is not None
        return self._path.with_name(f".{self._path.name}.part")

    def _sum_up(self, table: str, old_key: str, each: Note) -> None:
        found = self._findings.get((table, each.code, each.column))
        if found is None:
            found = Finding(table, each.code, each.column, 0, old_key, each.old, each.new)
            self._findings[table, each.code, each.column] = found
        found.rows += 1

"""Old held against new, row by row: every key joined, every value compared, and checksums of what stayed as it was.

It reads the older rows once more, from the snapshot that was imported, and asks the target for the rows that the key
map names. A value that differs is explained where the key map has a note on it, or the row one on all of it.
"""

import hashlib
from typing import Any

import msgspec

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.recover_statements import ROWS_BY_KEY
from holdfast.db.lifecycle.row_format import key_parameters
from holdfast.db.retries import with_retries
from holdfast.operations.legacy import key_map
from holdfast.operations.legacy.desk import keys_of
from holdfast.operations.legacy.fields import Field, Kind, plain_value, reference_key
from holdfast.operations.legacy.key_map import notes_of
from holdfast.operations.legacy.source import Row
from holdfast.operations.legacy.stages import Facts, Stage
from holdfast.operations.legacy.types import KeyEntry, Outcome

_MOST_LISTED = 20
# What differs there is told, but not what it is.
_SECRET = frozenset({"password"})


class Difference(msgspec.Struct, frozen=True):
    """Something that nobody has explained."""

    table: str
    old_key: str
    message: str


class Comparison(msgspec.Struct):
    """What was found of one older table. The checksums are of the rows and values that were to stay as they were."""

    table: str
    becomes: str
    rows: int = 0
    made: int = 0
    merged: int = 0
    left_out: int = 0
    changed: int = 0
    # Rows that an earlier run compared, after which people may change them; and those of them that are no more.
    unchecked: int = 0
    gone: int = 0
    old_sha256: str = ""
    new_sha256: str = ""
    unexplained: int = 0
    listed: list[Difference] = []

    def tell(self, old_key: str, message: str) -> None:
        """Take in a difference; the first ones are listed."""
        self.unexplained += 1
        if len(self.listed) < _MOST_LISTED:
            self.listed = [*self.listed, Difference(self.table, old_key, message)]


class Comparer:
    """Compares one older table with ours."""

    def __init__(self, stage: Stage, facts: Facts, database: Database) -> None:
        self._stage = stage
        self._facts = facts
        self._database = database
        self._fields = [field for field in stage.fields if not field.is_derived]
        self._old, self._new = hashlib.sha256(), hashlib.sha256()
        self.found = Comparison(table=stage.label, becomes=str(stage.table.name))

    async def compare(self, rows: list[Row]) -> None:
        """Compare a page, and remember which of its rows were."""
        stage = self._stage
        keyed = {stage.old_key(row): row for row in rows if stage.only_where is None or stage.only_where(row)}
        self.found.rows += len(keyed)
        checked = await self._compare(keyed)
        if checked:

            async def remember() -> None:
                async with self._database.write() as tx:
                    await tx.execute(key_map.CHECK, source=self._facts.name, table_name=stage.name, keys=checked)

            await with_retries(remember)

    def end(self) -> Comparison:
        """The result, with both checksums."""
        self.found.old_sha256, self.found.new_sha256 = self._old.hexdigest(), self._new.hexdigest()
        if self.found.old_sha256 != self.found.new_sha256 and not self.found.unexplained:
            self.found.tell("", "the checksums differ")
        return self.found

    async def _compare(self, keyed: dict[str, Row]) -> list[str]:
        async with self._database.read() as tx:
            entries = await self._entries(tx, keyed)
            made = {key: entry for key, entry in entries.items() if entry.outcome == Outcome.MADE}
            there = await self._rows_there(tx, [entry.new_id for entry in made.values()])
            references = await self._references(tx, keyed)
        checked = []
        for key, row in keyed.items():
            entry = entries.get(key)
            if entry is None:
                self.found.tell(key, "the key map has no entry of it")
            elif entry.outcome == Outcome.LEFT_OUT:
                self.found.left_out += 1
            elif entry.outcome == Outcome.MERGED:
                self.found.merged += 1
            else:
                self.found.made += 1
                if entry.is_checked:
                    self.found.unchecked += 1
                    self.found.gone += entry.new_id not in there
                    continue
                before = self.found.unexplained
                self._compare_row(key, row, entry, there.get(entry.new_id), references)
                # What differs is told by every run until it is mended.
                if self.found.unexplained == before:
                    checked.append(entry.old_key)
        return checked

    async def _entries(self, tx: Transaction, keyed: dict[str, Row]) -> dict[str, KeyEntry]:
        """By the keys of the rows; of those that a newer table has too, the entries under their own names."""
        stage = self._stage
        own = {f"{stage.source.name}:{key}": key for key in keyed} if stage.newer is not None else {}
        keys = sorted({*keyed, *own})
        rows = await tx.fetch_all(key_map.ENTRIES, source=self._facts.name, table_name=stage.name, keys=keys)
        found = {row.old_key: row for row in rows}
        return {key: found[key] for key in keyed if key in found} | {
            key: found[name] for name, key in own.items() if name in found
        }

    async def _rows_there(self, tx: Transaction, ids: list[str]) -> dict[str, Any]:
        if not ids:
            return {}
        table = self._stage.table
        rows = await tx.fetch_all(ROWS_BY_KEY[table.name], **key_parameters(keys_of(table, ids)))
        if table.name == "user_group":
            return {f"{row.g_id}/{row.u_id}": row for row in rows}
        (key,) = table.primary_key.columns
        return {str(getattr(row, str(key.name))): row for row in rows}

    async def _references(self, tx: Transaction, keyed: dict[str, Row]) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for field in self._fields:
            if field.kind is not Kind.REFERENCE:
                continue
            keys = {key for row in keyed.values() if (key := reference_key(field, row)) is not None}
            rows = await tx.fetch_all(
                key_map.ENTRIES, source=self._facts.name, table_name=field.parent, keys=sorted(keys)
            )
            found |= {(field.parent, row.old_key): row.new_id for row in rows}
        return found

    def _compare_row(
        self, key: str, row: Row, entry: KeyEntry, there: Any, references: dict[tuple[str, str], str]
    ) -> None:
        if there is None:
            self.found.tell(key, f"its row {entry.new_id} is not there")
            return
        noted = {each.column for each in notes_of(entry.notes)}
        self.found.changed += bool(noted)
        if self._stage.changed_since is not None:
            noted |= self._stage.changed_since(row, there)
        old, new = [entry.new_id], [entry.new_id]
        for field in self._fields:
            if field.name in noted:
                continue
            wanted, found = self._wanted(field, row, references), getattr(there, field.name)
            if wanted != found:
                what = "another" if field.name in _SECRET else f"{found!r} instead of {wanted!r}"
                self.found.tell(key, f"{field.name} of {entry.new_id} is {what}")
            old.append(repr(wanted))
            new.append(repr(found))
        self._old.update("\0".join(old).encode(errors="surrogatepass"))
        self._new.update("\0".join(new).encode(errors="surrogatepass"))

    def _wanted(self, field: Field, row: Row, references: dict[tuple[str, str], str]) -> Any:
        if field.kind is Kind.REFERENCE:
            key = reference_key(field, row)
            return None if key is None else references.get((field.parent, key)) or None
        value = plain_value(field, row, self._facts.options)
        if value is None and field.name in {"created_at", "updated_at"}:
            other = _TWIN[field.name]
            twin = next((each for each in self._stage.fields if each.name == other), None)
            return None if twin is None else plain_value(twin, row, self._facts.options)
        return value


_TWIN = {"created_at": "updated_at", "updated_at": "created_at"}

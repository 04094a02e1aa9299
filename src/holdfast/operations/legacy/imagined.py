"""An import that writes nothing: what it would write is kept in a private file, on top of what the target has."""

import tempfile
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Table

from holdfast.db.sqlite_driver import sqlite3
from holdfast.operations.legacy.desk import PLACEHOLDER, Desk, entry_of, placeholder_entry
from holdfast.operations.legacy.key_map import NamedEntry, OutcomeCount
from holdfast.operations.legacy.queries import ParentState
from holdfast.operations.legacy.stages import Draft, Stage
from holdfast.operations.legacy.types import KeyEntry

_TABLES = """
CREATE TABLE entries (name TEXT, old_key TEXT, new_id TEXT, outcome TEXT, notes TEXT, PRIMARY KEY (name, old_key));
CREATE INDEX ids ON entries (name, new_id);
CREATE TABLE rows (name TEXT, id TEXT, state TEXT, label TEXT, PRIMARY KEY (name, id));
CREATE TABLE names (name TEXT, value TEXT, id TEXT, PRIMARY KEY (name, value));
"""


class Imagination:
    """The private file: entries of the key map, rows and names that would be there."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(str(path))
        self._connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def put(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows, in place of those of the same key."""
        for row in rows:
            places = ", ".join("?" * len(row))
            self._connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", row)  # noqa: S608

    def find(self, table: str, column: str, name: str, values: Collection[str]) -> list[tuple[Any, ...]]:
        """The rows of one of our tables with one of the values in a column."""
        listed = msgspec.json.encode(list(values)).decode()
        is_one = f"{column} IN (SELECT value FROM json_each(?))"  # noqa: S608
        query = f"SELECT * FROM {table} WHERE name = ? AND {is_one}"  # noqa: S608
        return list(self._connection.execute(query, (name, listed)))

    def counts(self) -> list[OutcomeCount]:
        """How many rows became what."""
        query = "SELECT name, outcome, count(*) FROM entries GROUP BY 1, 2 ORDER BY 1, 2"
        return [OutcomeCount(*row) for row in self._connection.execute(query)]

    def noted(self, name: str, after: str, at_most: int) -> list[NamedEntry]:
        """The entries with notes, in the order of their keys."""
        query = (
            "SELECT old_key, new_id, outcome, notes FROM entries"
            " WHERE name = ? AND notes <> '' AND old_key > ? ORDER BY old_key LIMIT ?"
        )
        return [NamedEntry(*row) for row in self._connection.execute(query, (name, after, at_most))]


class ImaginedDesk(Desk):
    """Reads what the target has, where there is one, and writes to the imagination only."""

    def __init__(self, imagination: Imagination, beneath: Desk | None, source: str) -> None:
        super().__init__(source)
        self._imagination = imagination
        self._beneath = beneath

    async def entries(self, name: str, keys: Collection[str]) -> dict[str, KeyEntry]:
        found = {} if self._beneath is None else await self._beneath.entries(name, keys)
        for _, old_key, new_id, outcome, notes in self._imagination.find("entries", "old_key", name, keys):
            found[old_key] = KeyEntry(old_key, new_id, outcome, notes, is_checked=False)
        return found

    async def mapped(self, name: str, ids: Collection[str]) -> dict[str, str]:
        found = {} if self._beneath is None else await self._beneath.mapped(name, ids)
        return found | {row[2]: self.source for row in self._imagination.find("entries", "new_id", name, ids)}

    async def parents(self, table: Table, ids: Collection[str]) -> dict[str, ParentState]:
        found = {} if self._beneath is None else await self._beneath.parents(table, ids)
        for _, id_, state, _ in self._imagination.find("rows", "id", str(table.name), ids):
            found[id_] = msgspec.json.decode(state, type=ParentState)
        return found

    async def there(self, table: Table, ids: Collection[str]) -> dict[str, str]:
        found = {} if self._beneath is None else await self._beneath.there(table, ids)
        for _, id_, state, _ in self._imagination.find("rows", "id", str(table.name), ids):
            found[id_] = msgspec.json.decode(state, type=ParentState).deletion_id
        return found

    async def taken(self, stage: Stage, values: Collection[str]) -> dict[str, str]:
        found = {} if self._beneath is None else await self._beneath.taken(stage, values)
        return found | {row[1]: row[2] for row in self._imagination.find("names", "value", stage.name, values)}

    async def usernames(self, ids: set[str]) -> dict[str, str]:
        found = {} if self._beneath is None else await self._beneath.usernames(ids)
        return found | {row[1]: row[3] for row in self._imagination.find("rows", "id", "users", ids)}

    async def save(self, stage: Stage, drafts: list[Draft], known: Collection[str]) -> None:
        entries = [entry_of(self.source, stage.name, draft) for draft in drafts]
        self._imagination.put(
            "entries",
            [(stage.name, each["old_key"], each["new_id"], each["outcome"], each["notes"]) for each in entries],
        )
        for draft in drafts:
            if draft.is_kept:
                state = ParentState(draft.new_id, draft.deletion_id, draft.deleted_at)
                label = str(draft.values.get("username", ""))
                self._imagination.put("rows", [(stage.table.name, draft.new_id, _text(state), label)])
                if stage.unique and not draft.deletion_id:
                    value = " ".join(str(draft.values[name]) for name in stage.unique)
                    self._imagination.put("names", [(stage.name, value, draft.new_id)])

    async def add_row(self, table: Table, row: Mapping[str, Any]) -> None:
        (key,) = table.primary_key.columns
        state = ParentState(row[str(key.name)], "", None)
        self._imagination.put("rows", [(table.name, state.key, _text(state), str(row.get("username", "")))])
        entry = placeholder_entry(self.source, table, row)
        self._imagination.put("entries", [(table.name, PLACEHOLDER, state.key, entry["outcome"], entry["notes"])])


@asynccontextmanager
async def imagining() -> AsyncIterator[Imagination]:
    """An imagination whose file is gone at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="holdfast-legacy-") as folder:
        imagination = Imagination(Path(folder) / "imagined.db")
        try:
            yield imagination
        finally:
            imagination.close()


def _text(state: ParentState) -> str:
    return msgspec.json.encode(state).decode()

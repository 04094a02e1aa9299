"""What the import of one page asks of the target and tells it, in one transaction."""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, Table, UniqueConstraint

from holdfast.db.engines.base import Transaction
from holdfast.db.lifecycle.recover_statements import TAKEN
from holdfast.db.lifecycle.row_format import key_parameters
from holdfast.db.tables import deletions
from holdfast.db.tables.base import policy_of
from holdfast.db.types import Flag
from holdfast.operations.doctor.deletion_counts import settle_counts
from holdfast.operations.legacy import key_map, queries
from holdfast.operations.legacy.queries import ParentState
from holdfast.operations.legacy.stages import Draft, PageReader, Stage
from holdfast.operations.legacy.types import KeyEntry, Outcome, note
from holdfast.operations.transfer.queries import INSERT

PLACEHOLDER = "-"


class Desk(PageReader):
    """The questions, and the one answer: what the page gives."""

    def __init__(self, source: str) -> None:
        self.source = source

    @abstractmethod
    async def entries(self, name: str, keys: Collection[str]) -> dict[str, KeyEntry]:
        """What the key map has of these old keys."""

    @abstractmethod
    async def mapped(self, name: str, ids: Collection[str]) -> dict[str, str]:
        """Of these new ids those that an import gave, with its source."""

    @abstractmethod
    async def parents(self, table: Table, ids: Collection[str]) -> dict[str, ParentState]:
        """Rows that others hang on; they stay as they are until the page is in."""

    @abstractmethod
    async def there(self, table: Table, ids: Collection[str]) -> dict[str, str]:
        """Of these ids those that rows have, each with the deletion that took it, or an empty text."""

    @abstractmethod
    async def taken(self, stage: Stage, values: Collection[str]) -> dict[str, str]:
        """Of these unique values those that live rows have, with their ids."""

    @abstractmethod
    async def save(self, stage: Stage, drafts: list[Draft], known: Collection[str]) -> None:
        """Put in the rows, and what became of each; `known` are the old keys that had an entry."""

    async def settle(self, stage: Stage) -> None:
        """Let the engine see how many rows there are by now."""
        return

    @abstractmethod
    async def add_row(self, table: Table, row: Mapping[str, Any]) -> None:
        """Put in a row that no older one became, and its entry."""

    async def new_ids(self, stage: str, keys: set[str]) -> dict[str, str]:
        return {key: entry.new_id for key, entry in (await self.entries(stage, keys)).items() if entry.new_id}


class TargetDesk(Desk):
    """On the target itself."""

    def __init__(self, tx: Transaction, source: str, *, retention_days: int, now: datetime) -> None:
        super().__init__(source)
        self.tx = tx
        self._purge_after = now + timedelta(days=retention_days)
        self._now = now

    async def entries(self, name: str, keys: Collection[str]) -> dict[str, KeyEntry]:
        if not keys:
            return {}
        rows = await self.tx.fetch_all(key_map.ENTRIES, source=self.source, table_name=name, keys=sorted(keys))
        return {row.old_key: row for row in rows}

    async def mapped(self, name: str, ids: Collection[str]) -> dict[str, str]:
        if not ids:
            return {}
        rows = await self.tx.fetch_all(key_map.MAPPED, table_name=name, ids=sorted(ids))
        # An own one before that of another source, which was merged into the same row.
        return {row.new_id: row.source for row in sorted(rows, key=lambda row: row.source == self.source)}

    async def parents(self, table: Table, ids: Collection[str]) -> dict[str, ParentState]:
        if not ids:
            return {}
        return {row.key: row for row in await self.tx.fetch_all(queries.LOCK_PARENTS[table.name], keys=sorted(ids))}

    async def there(self, table: Table, ids: Collection[str]) -> dict[str, str]:
        if not ids:
            return {}
        rows = await self.tx.fetch_all(queries.THERE[table.name], **key_parameters(keys_of(table, ids)))
        return {row.text: row.deletion_id for row in rows}

    async def taken(self, stage: Stage, values: Collection[str]) -> dict[str, str]:
        if not values:
            return {}
        if stage.unique == ("u_id", "g_id"):
            found = await self.there(stage.table, [member_id_of(value) for value in values])
            return {value: member_id_of(value) for value in values if member_id_of(value) in found}
        keys = [tuple(value.split(" ", len(stage.unique) - 1)) for value in values]
        query = TAKEN[unique_name(stage)]
        return {row.value: row.key for row in await self.tx.fetch_all(query, **key_parameters(keys))}

    async def usernames(self, ids: set[str]) -> dict[str, str]:
        rows = await self.tx.fetch_all(queries.USERNAMES, ids=sorted(ids)) if ids else []
        return {row.u_id: row.username for row in rows}

    async def save(self, stage: Stage, drafts: list[Draft], known: Collection[str]) -> None:
        kept = [draft for draft in drafts if draft.is_kept]
        await self.put(stage, kept)
        again = sorted({draft.old_key for draft in drafts} & set(known))
        if again:
            await self.tx.execute(key_map.REMOVE, source=self.source, table_name=stage.name, keys=again)
        await self.tx.execute_many(key_map.INSERT, [self._entry(stage.name, draft) for draft in drafts])
        inherited = {draft.deletion_id for draft in kept if draft.deletion_id and _is_inherited(draft)}
        await settle_counts(self.tx, inherited, self._now)

    async def put(self, stage: Stage, kept: list[Draft]) -> None:
        """Put in the rows, with the deletions that they begin."""
        rooted = [draft for draft in kept if begins_deletion(draft)]
        await self.tx.execute_many(INSERT["deletions"], [self.deletion(stage, draft) for draft in rooted])
        await self.tx.execute_many(INSERT[stage.table.name], [row_of(stage.table, draft.values) for draft in kept])

    async def settle(self, stage: Stage) -> None:
        # Its plans are still those of empty tables, and each look-up reads them from end to end.
        if self.tx.dialect_name == "postgresql":
            await self.tx.fetch_text(f"ANALYZE {stage.table.name}, legacy_keys")

    async def add_row(self, table: Table, row: Mapping[str, Any]) -> None:
        await self.tx.execute_many(INSERT[table.name], [row_of(table, row)])
        known = await self.entries(str(table.name), [PLACEHOLDER])
        if known:
            await self.tx.execute(key_map.REMOVE, source=self.source, table_name=table.name, keys=[PLACEHOLDER])
        await self.tx.execute_many(key_map.INSERT, [placeholder_entry(self.source, table, row)])

    def deletion(self, stage: Stage, draft: Draft) -> dict[str, Any]:
        """The deletion that the row was in when it was imported."""
        counts = {str(stage.table.name): 1}
        return row_of(
            deletions,
            {
                "id": draft.deletion_id,
                "root_type": policy_of(stage.table).audited_as,
                "root_id": draft.new_id,
                "root_label": draft.new_id,
                "actor_id": "",
                "actor_name": "holdfast",
                "reason": f"it was deleted in the older database {self.source}",
                "state": "deleted",
                "planned_counts": counts,
                "actual_counts": counts,
                "set_null_counts": {},
                "purge_after": self._purge_after,
                "created_at": draft.deleted_at,
                "updated_at": draft.deleted_at,
            },
        )

    def _entry(self, name: str, draft: Draft) -> dict[str, Any]:
        return entry_of(self.source, name, draft)


def entry_of(source: str, name: str, draft: Draft) -> dict[str, Any]:
    """What the key map gets of a row."""
    outcome = Outcome.LEFT_OUT if draft.left_out else Outcome.MERGED if draft.merged_into else Outcome.MADE
    return {
        "source": source,
        "table_name": name,
        "old_key": draft.old_key,
        "new_id": "" if draft.left_out else draft.merged_into or draft.new_id,
        "outcome": str(outcome),
        "notes": key_map.notes_text(draft.notes),
        "is_checked": False,
    }


def placeholder_entry(source: str, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the key map gets of a row that stands for what is gone."""
    (key,) = table.primary_key.columns
    draft = Draft({}, PLACEHOLDER)
    draft.new_id = row[str(key.name)]
    draft.notes = [note("placeholder", "", None, draft.new_id, "it stands for what the older rows name and is gone")]
    return entry_of(source, str(table.name), draft) | {"is_checked": True}


def row_of(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    """A value for every column: what is not given is empty, false or zero."""
    row: dict[str, Any] = {}
    for column in table.columns:
        name = str(column.name)
        if name in values:
            row[name] = values[name]
        elif column.nullable:
            row[name] = None
        else:
            row[name] = False if isinstance(column.type, Flag) else 0 if isinstance(column.type, Integer) else ""
    return row


def unique_name(stage: Stage) -> str:
    """The key of our table that holds the stage's unique columns."""
    wanted = {*stage.unique, "deletion_id"}
    return next(
        str(each.name)
        for each in stage.table.constraints
        if isinstance(each, UniqueConstraint) and {column.name for column in each.columns} == wanted
    )


def keys_of(table: Table, ids: Iterable[str]) -> list[tuple[Any, ...]]:
    """New ids of the key map as primary keys: members are named group first."""
    if table.name == "user_group":
        return [tuple(reversed(each.split("/"))) for each in ids]
    if table.name == "audit_logs":
        return [(int(each),) for each in ids]
    return [(each,) for each in ids]


def member_id_of(value: str) -> str:
    """`user_3 group_7` as `group_7/user_3`."""
    u_id, g_id = value.split(" ")
    return f"{g_id}/{u_id}"


def begins_deletion(draft: Draft) -> bool:
    """Whether the row was deleted by itself, and not with what it hangs on."""
    return bool(draft.deletion_id) and not _is_inherited(draft)


def _is_inherited(draft: Draft) -> bool:
    return any(each.code == "deleted_with_parent" for each in draft.notes)

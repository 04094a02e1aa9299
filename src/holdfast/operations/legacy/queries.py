"""Statements of an import on our own tables, beside those of transfers and recoveries."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Table, literal_column, select

from holdfast.db.lifecycle.row_format import has_keys
from holdfast.db.statements import Query, any_of, locked_as_parent
from holdfast.db.tables import (
    config_files,
    container_repositories,
    container_tags,
    forms,
    group_list,
    image_requests,
    metadata,
    project_list,
    users,
)
from holdfast.db.tables.base import Deletion, policy_of

PARENT_TABLES = (
    users,
    group_list,
    project_list,
    config_files,
    forms,
    container_repositories,
    container_tags,
    image_requests,
)
IMPORTED_TABLES = tuple(
    table for table in metadata.sorted_tables if policy_of(table).in_bundle and table.name != "tokens"
)


class ParentState(msgspec.Struct, frozen=True):
    """A row that others hang on, and the deletion that took it; `deletion_id` is empty where it is live."""

    key: str
    deletion_id: str
    deleted_at: datetime | None


class RowKey(msgspec.Struct, frozen=True):
    """The key of a row that is there, and the deletion that took it."""

    key_0: Any
    key_1: str
    deletion_id: str

    @property
    def text(self) -> str:
        """The key as the key map names the row."""
        return f"{self.key_1}/{self.key_0}" if self.key_1 else str(self.key_0)


class Username(msgspec.Struct, frozen=True):
    """A user's name, deleted or not."""

    u_id: str
    username: str


def _parents(table: Table) -> Query[ParentState]:
    (key,) = table.primary_key.columns
    rows = select(key.label("key"), table.c.deletion_id, table.c.deleted_at).where(any_of(key, "keys"))
    return Query(f"legacy.lock_parents_include_deleted({table.name})", locked_as_parent(rows), ParentState)


def _there(table: Table) -> Query[RowKey]:
    first, *others = table.primary_key.columns
    second = others[0] if others else literal_column("''")
    is_soft = policy_of(table).deletion is Deletion.SOFT
    mark = table.c.deletion_id if is_soft else literal_column("''")
    rows = select(first.label("key_0"), second.label("key_1"), mark.label("deletion_id")).where(has_keys(table))
    return Query(f"legacy.there_include_deleted({table.name})", rows, RowKey)


LOCK_PARENTS: dict[str, Query[ParentState]] = {table.name: _parents(table) for table in PARENT_TABLES}
THERE: dict[str, Query[RowKey]] = {table.name: _there(table) for table in IMPORTED_TABLES}
USERNAMES = Query(
    "legacy.usernames_include_deleted",
    select(users.c.u_id, users.c.username).where(any_of(users.c.u_id, "ids")),
    Username,
)

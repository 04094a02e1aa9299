"""Reading what is deleted: the second form of a query, for the flag `include_deleted` of super administrators (S-01).

It is derived from the first: no condition asks for live rows any more, neither of the row's own table nor of its
parents, and two columns more say when the row went and with which deletion. What subqueries and outer joins fetch
beside the row stays live: counts, and the names that a row points to.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy import Column, FromClause, ScalarSelect, Select, Table, func, true
from sqlalchemy.sql import ClauseElement, visitors

from holdfast.core.actor import Actor
from holdfast.core.errors import ForbiddenError, NotFoundError
from holdfast.db.engines.base import Transaction
from holdfast.db.statements import Query, QueryWithTotal, is_live_condition

Row = TypeVar("Row")


class Deletable(msgspec.Struct, frozen=True, kw_only=True):
    """A row that `include_deleted` also shows once it is deleted.

    The two fields are there only where that was asked for, and null while the row is live.
    """

    deleted_at: datetime | UnsetType | None = UNSET
    deletion_id: str | UnsetType | None = UNSET


class UnfrozenDeletable(msgspec.Struct, kw_only=True):
    """As `Deletable`, for rows to which a service attaches others."""

    deleted_at: datetime | UnsetType | None = UNSET
    deletion_id: str | UnsetType | None = UNSET


def is_deletable(row: type[Any]) -> bool:
    """Whether the rows of this type can show that they are deleted."""
    return issubclass(row, Deletable | UnfrozenDeletable)


class QueryIncludeDeleted(Query[Row]):
    """A query of deleted rows and live ones, made from one of live rows."""

    def __init__(self, name: str, select: Select[Any], row: type[Row], table: Table) -> None:
        super().__init__(name, select, row)
        self.element = _with_columns_of_deletion(select, table)
        self.make = _maker_of(row)


class PageIncludeDeleted(QueryWithTotal[Row]):
    """The same of a page with its total; `counting` counts deleted rows, too."""

    def __init__(self, name: str, select: Select[Any], counting: Select[Any], row: type[Row], table: Table) -> None:
        super().__init__(name, select, counting, row)
        (total,) = list(self.element.selected_columns)[-1:]  # type: ignore[attr-defined]
        self.page = page = _with_columns_of_deletion(select, table)
        self.element = page.add_columns(total)
        self.make = _maker_of(row)


def with_deleted(query: Query[Row], table: Table) -> QueryIncludeDeleted[Row]:
    """The second form of a query: `table` is that of its rows."""
    assert isinstance(query.element, Select)
    return QueryIncludeDeleted(f"{query.name}_include_deleted", query.element, query.row, table)


def _with_columns_of_deletion(select: Select[Any], table: Table) -> Select[Any]:
    return include_deleted(select).add_columns(
        table.c.deleted_at, func.nullif(table.c.deletion_id, "").label("deletion_id")
    )


def include_deleted(select: Select[Any]) -> Select[Any]:
    """The same select without the conditions of its WHERE that rows be live."""
    assert select.whereclause is not None
    # By identity: the same condition in an outer join's ON says which row is joined, and stays.
    conditions = {id(each) for each in visitors.iterate(select.whereclause) if is_live_condition(each)}

    def unconditional(element: Any, **kw: Any) -> ClauseElement | None:
        if id(element) in conditions:
            return true()
        # What is returned as it is, is not looked into: columns, tables, and the selects within this one.
        return element if isinstance(element, Column | FromClause | ScalarSelect) else None

    changed: Any = visitors.replacement_traverse(select, {}, unconditional)
    assert isinstance(changed, Select)
    return changed


def require_sight_of_deleted(is_super_admin: bool) -> None:
    """Refuse everybody but super administrators."""
    if not is_super_admin:
        raise ForbiddenError("only super administrators see what is deleted; ask without include_deleted")


async def get_include_deleted(
    tx: Transaction,
    actor: Actor,
    query: QueryIncludeDeleted[Row],
    absent: Callable[[], NotFoundError],
    **parameters: Any,
) -> Row:
    """The only row, deleted or live, for a super administrator; `absent` where there is none, or no more."""
    require_sight_of_deleted(actor.is_super_admin)
    row = await tx.fetch_one(query, **parameters)
    if row is None:
        raise absent()
    return row


def _maker_of(row: Callable[..., Row]) -> Callable[..., Row]:
    def make(*values: Any) -> Row:
        return row(*values[:-2], deleted_at=values[-2], deletion_id=values[-1])

    return make

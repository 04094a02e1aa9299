"""Lists: filters, search, sort, the seed's page and limit, and keyset cursors, each variant a named statement.

A list is declared once. Each set of filters and each sort that a caller may combine is a statement of its own, named
like `forms.list(mine,status)-created_at`, so that the engine can plan it with its own index. Sort columns are NOT
NULL and end with the row's id, so the order is total.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import BigInteger, Column, ColumnElement, Integer, Select, and_, bindparam, or_

from holdfast.core.errors import InvalidInputError
from holdfast.core.pages import Page, PageRequest
from holdfast.db.engines.base import Transaction
from holdfast.db.include_deleted import (
    PageIncludeDeleted,
    QueryIncludeDeleted,
    include_deleted,
    is_deletable,
    require_sight_of_deleted,
)
from holdfast.db.statements import Count, Query, QueryWithTotal, count_of, search_pattern
from holdfast.db.types import Timestamp

Row = TypeVar("Row")

_PagesByDialect = Mapping[str, tuple[Select[Any], Select[Any]]]

# What the first page and the later ones are called, with their total and without. The first is a statement of its own:
# PostgreSQL keeps one plan for all values once pages far behind have made it look no dearer than one for each, and a
# first page by that plan would read as much as they do.
_COUNTED, _PLAIN = ("list", "list_later"), ("page", "page_later")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SIGNATURE_BYTES = 16
_MAX_CURSOR_CHARACTERS = 2000


class _Cursor(msgspec.Struct, frozen=True, array_like=True):
    """What a cursor says: which list it belongs to, the last row's sort value and id, the page and the total.

    The total is None where the page that it began with was not counted.
    """

    binding: str
    value: str | int
    row_id: str | int
    page: int
    total: int | None


class Listing(Generic[Row]):
    """A list of rows of one kind.

    `select` yields the columns of `row`, from live rows. `filters` maps a parameter's name to its condition, which
    uses a bindparam of the same name. `scopes` are conditions that depend on who asks; exactly one is chosen, and its
    parameters are given beside the filters; `scopes_on_sqlite` words some of them otherwise there. `search` is the
    condition that `q` adds, with the parameter `q`. `sorts` maps the names a caller may sort by to NOT NULL columns;
    each of them and `row_id` must be among the columns of `row`, under the same name. A list whose `row` is
    `Deletable` can also show deleted rows. `count_select` yields the same rows without the tables that only give names;
    where `searches_joined`, `q` needs these, too, and what it finds is counted in `select`.
    """

    def __init__(
        self,
        name: str,
        select: Select[Any],
        row: type[Row],
        *,
        row_id: ColumnElement[Any],
        sorts: Mapping[str, ColumnElement[Any]],
        default_sort: str,
        filters: Mapping[str, ColumnElement[bool]] | None = None,
        scopes: Mapping[str, ColumnElement[bool] | None] | None = None,
        scopes_on_sqlite: Mapping[str, ColumnElement[bool]] | None = None,
        search: ColumnElement[bool] | None = None,
        count_select: Select[Any] | None = None,
        searches_joined: bool = False,
    ) -> None:
        self.name = name
        self.row = row
        self.default_sort = default_sort
        self.filters = dict(filters or {})
        if search is not None:
            self.filters["q"] = search
        self.scopes = dict(scopes or {"all": None})
        self._scopes_by_dialect = {"sqlite": dict(scopes_on_sqlite or {})}
        self.sorts = dict(sorts)
        self._select = select
        # Counting needs no joins that only fetch names.
        self._count_select = select if count_select is None else count_select
        self._search_select = select if searches_joined else self._count_select
        self._row_id = row_id
        self._queries: dict[tuple[str, ...], Query[Any]] = {}
        self._pages: dict[tuple[str, ...], QueryWithTotal[Row]] = {}
        listings[name] = self
        self.including_deleted = self._derive_including_deleted()

    async def fetch_page(
        self,
        tx: Transaction,
        page: PageRequest,
        *,
        scope: str = "all",
        cursor_key: bytes = b"",
        sees_deleted: bool = False,
        **parameters: Any,
    ) -> Page[Row]:
        """One page. Filters whose value is None do not apply. `cursor_key` signs and checks the cursors.

        `sees_deleted` says that the caller is a super administrator, who may ask for deleted rows, too.

        By page and limit the total is counted each time, unless the request leaves that out; a cursor carries the total
        of the page it began with.
        """
        if page.include_deleted:
            require_sight_of_deleted(sees_deleted)
            assert self.including_deleted is not None, f"the rows of {self.name} must be Deletable"
            asked = msgspec.structs.replace(page, include_deleted=False)
            return await self.including_deleted.fetch_page(tx, asked, cursor_key=cursor_key, **parameters)
        filters, values = self._chosen(scope, parameters)
        sort = page.sort or self.default_sort
        self._check_sort(sort)
        if page.cursor:
            binding = _binding(self.name, scope, sort, values)
            return await self._page_after(
                tx,
                page,
                scope=scope,
                filters=filters,
                sort=sort,
                values=values,
                binding=binding,
                cursor_key=cursor_key,
            )
        rows, total = await self._rows_and_total(tx, page, scope=scope, filters=filters, sort=sort, values=values)
        if len(rows) <= page.limit:
            return Page(items=rows, total=total, page=page.page, limit=page.limit, next=None)
        following = _Cursor(_binding(self.name, scope, sort, values), 0, 0, page.page + 1, total)
        next_cursor = self._next_cursor(rows, page.limit, sort, following, cursor_key)
        return Page(items=rows[: page.limit], total=total, page=page.page, limit=page.limit, next=next_cursor)

    async def count(self, tx: Transaction, *, scope: str = "all", **parameters: Any) -> int:
        """How many rows the list has. Filters whose value is None do not apply."""
        filters, values = self._chosen(scope, parameters)
        return await tx.fetch_count(self._count_query(scope, filters), **values)

    def declare_all(self, most_filters: int | None = None) -> Iterator[Query[Any]]:
        """Every statement that this list can run, for the plan review: each scope, set of filters and sort.

        `most_filters` leaves out the larger sets of filters.
        """
        largest = len(self.filters) if most_filters is None else min(most_filters, len(self.filters))
        for scope in self.scopes:
            for size in range(largest + 1):
                for filters in combinations(sorted(self.filters), size):
                    yield self._count_query(scope, filters)
                    for sort in self.sorts:
                        for direction in ("", "-"):
                            yield from (self._page_query(scope, filters, direction + sort, each) for each in _COUNTED)
                            yield from (self._plain_query(scope, filters, direction + sort, each) for each in _PLAIN)
                            yield self._after_query(scope, filters, direction + sort)

    async def _rows_and_total(
        self, tx: Transaction, page: PageRequest, *, scope: str, filters: tuple[str, ...], sort: str, values: Any
    ) -> tuple[list[Row], int | None]:
        """One row more than asked, which tells whether there is a next page; and how many match in all, if asked."""
        part = {"limit": page.limit + 1}
        if page.offset:
            part["offset"] = page.offset
        place = 1 if page.offset else 0
        if not page.is_counted:
            return await tx.fetch_all(self._plain_query(scope, filters, sort, _PLAIN[place]), **values, **part), None
        query = self._page_query(scope, filters, sort, _COUNTED[place])
        rows, total = await tx.fetch_with_total(query, **values, **part)
        if total is None:
            total = await tx.fetch_count(self._count_query(scope, filters), **values) if page.offset else 0
        return rows, total

    async def _page_after(
        self,
        tx: Transaction,
        page: PageRequest,
        *,
        scope: str,
        filters: tuple[str, ...],
        sort: str,
        values: dict[str, Any],
        binding: str,
        cursor_key: bytes,
    ) -> Page[Row]:
        cursor = _read_cursor(page.cursor or "", binding, cursor_key)
        column = self.sorts[sort.removeprefix("-")]
        after = {"after_value": _cursor_value(cursor.value, column), "after_id": cursor.row_id}
        query = self._after_query(scope, filters, sort)
        rows = await tx.fetch_all(query, **values, **after, limit=page.limit + 1)
        following = _Cursor(binding, 0, 0, cursor.page + 1, cursor.total)
        next_cursor = self._next_cursor(rows, page.limit, sort, following, cursor_key)
        total = cursor.total if page.is_counted else None
        return Page(items=rows[: page.limit], total=total, page=cursor.page, limit=page.limit, next=next_cursor)

    def _chosen(self, scope: str, parameters: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
        values = {name: value for name, value in parameters.items() if value is not None}
        if "q" in values:
            values["q"] = search_pattern(values["q"])
        filters = tuple(sorted(name for name in self.filters if name in values))
        return filters, values

    def _check_sort(self, sort: str) -> None:
        if sort.removeprefix("-") not in self.sorts:
            allowed = ", ".join(sorted(self.sorts))
            raise InvalidInputError(f"sort cannot be {sort!r}: use one of {allowed}, with a - before it for descending")

    def _next_cursor(
        self, rows: Sequence[Any], limit: int, sort: str, following: _Cursor, cursor_key: bytes
    ) -> str | None:
        if len(rows) <= limit:
            return None
        last = rows[limit - 1]
        value = getattr(last, self.sorts[sort.removeprefix("-")].key or "")
        if isinstance(value, datetime):
            # Not timestamp(): a float holds no microseconds far from 1970.
            value = (value - _EPOCH) // _MICROSECOND
        row_id = getattr(last, self._row_id.key or "")
        return _write_cursor(msgspec.structs.replace(following, value=value, row_id=row_id), cursor_key)

    def _count_query(self, scope: str, filters: tuple[str, ...]) -> Query[Count]:
        key = ("count", scope, *filters)
        query = self._queries.get(key)
        if query is None:
            counting = self._filtered(self._counted(filters), scope, filters)
            name = self._statement_name("count", scope, filters)
            query = self._queries[key] = count_of(name, counting.pop(""), by_dialect=counting, heavy=True)
        return query

    def _page_query(self, scope: str, filters: tuple[str, ...], sort: str, verb: str) -> QueryWithTotal[Row]:
        key = (verb, scope, sort, *filters)
        query = self._pages.get(key)
        if query is None:
            name = self._statement_name(verb, scope, filters, sort)
            counting = self._filtered(self._counted(filters), scope, filters)
            selects = {
                dialect: (page, counting[dialect])
                for dialect, page in self._numbered(scope, filters, sort, verb).items()
            }
            query = self._pages[key] = self._page_query_of(name, *selects.pop(""), selects)
        return query

    def _plain_query(self, scope: str, filters: tuple[str, ...], sort: str, verb: str) -> Query[Row]:
        """A page without its total."""
        key = (verb, scope, sort, *filters)
        query = self._queries.get(key)
        if query is None:
            selects = self._numbered(scope, filters, sort, verb)
            name = self._statement_name(verb, scope, filters, sort)
            query = self._queries[key] = self._query(name, selects.pop(""), selects)
        return query

    def _after_query(self, scope: str, filters: tuple[str, ...], sort: str) -> Query[Row]:
        key = ("after", scope, sort, *filters)
        query = self._queries.get(key)
        if query is None:
            column = self.sorts[sort.removeprefix("-")]
            value = bindparam("after_value", type_=column.type)
            row_id = bindparam("after_id", type_=self._row_id.type)
            # Written out, because MariaDB reads no range from a comparison of row values.
            if sort.startswith("-"):
                beyond = and_(column <= value, or_(column < value, self._row_id < row_id))
            else:
                beyond = and_(column >= value, or_(column > value, self._row_id > row_id))
            selects = {
                dialect: self._ordered(each.where(beyond), sort)
                for dialect, each in self._filtered(self._select, scope, filters).items()
            }
            name = self._statement_name("after", scope, filters, sort)
            query = self._queries[key] = self._query(name, selects.pop(""), selects)
        return query

    def _query(self, name: str, select: Select[Any], by_dialect: Mapping[str, Select[Any]]) -> Query[Row]:
        return Query(name, select, self.row, by_dialect=by_dialect)

    def _page_query_of(
        self, name: str, select: Select[Any], counting: Select[Any], by_dialect: _PagesByDialect
    ) -> QueryWithTotal[Row]:
        return QueryWithTotal(name, select, counting, self.row, by_dialect=by_dialect)

    def _derive_including_deleted(self) -> "Listing[Row] | None":
        return _ListingIncludeDeleted(self) if is_deletable(self.row) else None

    def _filtered(self, select: Select[Any], scope: str, filters: tuple[str, ...]) -> dict[str, Select[Any]]:
        """The select for every engine under "", and for those that word the scope otherwise under their names."""
        chosen = [self.filters[name] for name in filters]
        conditions = {"": self.scopes[scope]} | {
            dialect: scopes[scope] for dialect, scopes in self._scopes_by_dialect.items() if scope in scopes
        }
        return {name: select.where(*chosen if each is None else (each, *chosen)) for name, each in conditions.items()}

    def _counted(self, filters: tuple[str, ...]) -> Select[Any]:
        return self._search_select if "q" in filters else self._count_select

    def _ordered(self, select: Select[Any], sort: str) -> Select[Any]:
        column = self.sorts[sort.removeprefix("-")]
        columns = (column,) if column is self._row_id else (column, self._row_id)
        order = [each.desc() for each in columns] if sort.startswith("-") else columns
        return select.order_by(*order).limit(bindparam("limit", type_=Integer()))

    def _numbered(self, scope: str, filters: tuple[str, ...], sort: str, verb: str) -> dict[str, Select[Any]]:
        """A page by its number, for every engine as in `_filtered`."""
        pages = {
            dialect: self._ordered(each, sort) for dialect, each in self._filtered(self._select, scope, filters).items()
        }
        if verb in (_COUNTED[0], _PLAIN[0]):
            return pages
        offset = bindparam("offset", type_=BigInteger())
        return {dialect: page.offset(offset) for dialect, page in pages.items()}

    def _statement_name(self, verb: str, scope: str, filters: tuple[str, ...], sort: str = "") -> str:
        chosen = ",".join((scope, *filters))
        return f"{self.name}.{verb}({chosen}){':' if sort else ''}{sort}"


class _ListingIncludeDeleted(Listing[Row]):
    """A list of deleted and live rows, made from one of live rows. Only who sees every row has it: no scopes."""

    def __init__(self, listing: Listing[Row]) -> None:
        super().__init__(
            f"{listing.name}_include_deleted",
            listing._select,
            listing.row,
            row_id=listing._row_id,
            sorts=listing.sorts,
            default_sort=listing.default_sort,
            count_select=include_deleted(listing._count_select),
        )
        self._search_select = include_deleted(listing._search_select)
        self.filters = listing.filters

    def _query(self, name: str, select: Select[Any], by_dialect: Mapping[str, Select[Any]]) -> Query[Row]:
        assert not by_dialect, "a list of all rows is the same on every engine"
        assert isinstance(self._row_id, Column)
        return QueryIncludeDeleted(name, select, self.row, self._row_id.table)

    def _page_query_of(
        self, name: str, select: Select[Any], counting: Select[Any], by_dialect: _PagesByDialect
    ) -> QueryWithTotal[Row]:
        assert not by_dialect, "a list of all rows is the same on every engine"
        assert isinstance(self._row_id, Column)
        return PageIncludeDeleted(name, select, counting, self.row, self._row_id.table)

    def _derive_including_deleted(self) -> None:
        return None


listings: dict[str, Listing[Any]] = {}


def _binding(name: str, scope: str, sort: str, values: Mapping[str, Any]) -> str:
    """A short fingerprint of the list, sort and filters that a cursor is good for."""
    text = repr((name, scope, sort, sorted((key, str(value)) for key, value in values.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_cursor(cursor: _Cursor, key: bytes) -> str:
    body = msgspec.json.encode(cursor)
    return base64.urlsafe_b64encode(_signature(body, key) + body).decode().rstrip("=")


def _read_cursor(text: str, binding: str, key: bytes) -> _Cursor:
    refusal = InvalidInputError("the cursor is not one that this list gave out; start again without it")
    if len(text) > _MAX_CURSOR_CHARACTERS or not text.isascii():
        raise refusal
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise refusal from None
    signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(body, key)):
        raise refusal
    cursor = msgspec.json.decode(body, type=_Cursor)
    if cursor.binding != binding:
        raise InvalidInputError("the cursor belongs to another sort or other filters; start again without it")
    return cursor


def _signature(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, b"holdfast cursor\n" + body, "sha256")[:_SIGNATURE_BYTES]


def _cursor_value(value: str | int, column: ColumnElement[Any]) -> Any:
    if not isinstance(column.type, Timestamp):
        return value
    try:
        return _EPOCH + int(value) * _MICROSECOND
    except (ValueError, OverflowError) as error:
        raise InvalidInputError("the cursor is not one that this list gave out; start again without it") from error

"""Paging: the seed's page and limit, and what every list answers with (seed 3.3)."""

from typing import Generic, TypeVar

import msgspec

Item = TypeVar("Item")

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
# Beyond this an offset is a mistake or an attack: no engine takes a larger one, and cursors exist.
MAX_PAGE = 1_000_000_000


class PageRequest(msgspec.Struct, frozen=True):
    """Which part of a list: `page` (from 1) and `limit`, or `cursor`, and `sort` (`created_at`, `-created_at`).

    `page`, `limit` and `sort` are already settled: make one with `page_request`. `include_deleted` asks for deleted
    rows beside the live ones; whoever lists says whether the caller may see them. Without `is_counted` nobody counts
    how many rows match.
    """

    page: int = 1
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    sort: str | None = None
    include_deleted: bool = False
    is_counted: bool = True

    @property
    def offset(self) -> int:
        """How many rows come before this page."""
        return (self.page - 1) * self.limit


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """One page of a list.

    `total` counts all that match, and is null where that was not asked for; `next` is the next page's cursor, null on
    the last.
    """

    items: list[Item]
    total: int | None
    page: int
    limit: int
    next: str | None = None


def page_request(
    page: int = 1,
    limit: int = DEFAULT_LIMIT,
    *,
    cursor: str | None = None,
    sort: str | None = None,
    include_deleted: bool = False,
    is_counted: bool = True,
    max_limit: int = MAX_LIMIT,
) -> PageRequest:
    """Settle what a caller sent, by the seed's rule: page below 1 is 1; limit below 1 or above `max_limit` is 20."""
    page = max(page, 1)
    if limit < 1 or limit > max_limit:
        limit = DEFAULT_LIMIT
    return PageRequest(
        page=min(page, MAX_PAGE),
        limit=limit,
        cursor=cursor,
        sort=sort,
        include_deleted=include_deleted,
        is_counted=is_counted,
    )

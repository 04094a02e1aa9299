"""Every entry of the key map, table by table and page by page, for an export."""

from collections.abc import AsyncGenerator

import msgspec
from sqlalchemy import bindparam, func, select

from holdfast.db.engines.base import Transaction
from holdfast.db.key_map import legacy_imports, legacy_keys
from holdfast.db.statements import Query
from holdfast.db.types import Key
from holdfast.operations.legacy.types import LegacyError
from holdfast.operations.legacy.upgrade.export_folder import ImportLine, KeyLine

_AT_ONCE = 1000
_columns = legacy_keys.c


class Part(msgspec.Struct, frozen=True):
    """The entries of one source's table."""

    source: str
    table_name: str
    rows: int


PARTS = Query(
    "legacy_keys.parts",
    select(_columns.source, _columns.table_name, func.count().label("rows"))
    .group_by(_columns.source, _columns.table_name)
    .order_by(_columns.source, _columns.table_name),
    Part,
    heavy=True,
)
PAGE = Query(
    "legacy_keys.page",
    select(*_columns)
    .where(
        _columns.source == bindparam("source", type_=Key(60)),
        _columns.table_name == bindparam("table_name", type_=Key(40)),
        _columns.old_key > bindparam("after", type_=Key(64)),
    )
    .order_by(_columns.old_key)
    .limit(bindparam("at_most")),
    KeyLine,
)
IMPORTS = Query("legacy_keys.imports", select(*legacy_imports.c).order_by(legacy_imports.c.source), ImportLine)


async def key_map_pages(tx: Transaction) -> AsyncGenerator[list[KeyLine] | list[ImportLine], None]:
    """All of it, as a transaction of `Database.snapshot` sees it; LegacyError where a page gave other rows."""
    yield await tx.fetch_all(IMPORTS)
    for part in await tx.fetch_all(PARTS):
        after, rows = "", 0
        while page := await tx.fetch_all(
            PAGE, source=part.source, table_name=part.table_name, after=after, at_most=_AT_ONCE
        ):
            yield page
            after, rows = page[-1].old_key, rows + len(page)
        if rows != part.rows:
            raise LegacyError(
                f"the key map of {part.source} gave {rows} entries of {part.table_name} where {part.rows} were counted"
            )

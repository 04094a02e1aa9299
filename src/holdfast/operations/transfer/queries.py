"""Statements of transfers: rows of every table put in as they are, and what names files in the folder of bundles."""

from typing import Any

import msgspec
from sqlalchemy import Table, bindparam, insert, select, update

from holdfast.db.statements import Command, Query, parameters_for
from holdfast.db.tables import audit_archives, deletions, metadata
from holdfast.db.types import LongText


class NamedBundle(msgspec.Struct, frozen=True):
    """A row that names a bundle."""

    id: str
    bundle_path: str
    bundle_sha256: str | None


def _insert(table: Table) -> Command:
    columns = [column.name for column in table.columns]
    return Command(f"transfer.insert({table.name})", insert(table).values(parameters_for(table, *columns)), heavy=True)


def _named(table: Table) -> Query[NamedBundle]:
    rows = select(table.c.id, table.c.bundle_path, table.c.bundle_sha256).where(table.c.bundle_path.is_not(None))
    return Query(f"transfer.named_bundles({table.name})", rows.order_by(table.c.id), NamedBundle, heavy=True)


def _rename(table: Table) -> Command:
    new_path: Any = bindparam("new_path", type_=LongText())
    is_row = table.c.id == bindparam("row_id", type_=table.c.id.type)
    return Command(f"transfer.rename_bundle({table.name})", update(table).where(is_row).values(bundle_path=new_path))


INSERT: dict[str, Command] = {table.name: _insert(table) for table in metadata.sorted_tables}
NAMING_BUNDLES = (deletions, audit_archives)
NAMED_BUNDLES: dict[str, Query[NamedBundle]] = {table.name: _named(table) for table in NAMING_BUNDLES}
RENAME_BUNDLE: dict[str, Command] = {table.name: _rename(table) for table in NAMING_BUNDLES}

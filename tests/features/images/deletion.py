"""Deleting rows as the product will, for tests of what a deleted row still does: nothing."""

from functools import cache

from sqlalchemy import Table, bindparam, update

from holdfast.core.clock import utc_now
from holdfast.db.engines.base import Database
from holdfast.db.statements import Command, live, parameters_for


@cache
def _deleter(table: Table) -> Command:
    values = parameters_for(table, "deleted_at", "deletion_id")
    row_id = next(iter(table.primary_key))
    statement = update(table).where(live(table), row_id == bindparam("row_id", type_=row_id.type)).values(values)
    return Command(f"tests.delete_{table.name}", statement)


@cache
def _emptier(table: Table) -> Command:
    values = parameters_for(table, "deleted_at", "deletion_id")
    return Command(f"tests.delete_all_{table.name}", update(table).where(live(table)).values(values))


async def delete_row(database: Database, table: Table, row_id: str) -> None:
    """Soft-delete one row and nothing beneath it."""
    async with database.write() as tx:
        assert await tx.execute(_deleter(table), row_id=row_id, deleted_at=utc_now(), deletion_id="a-deletion") == 1


async def delete_all_rows(database: Database, *tables: Table) -> None:
    """Soft-delete every live row of the tables."""
    async with database.write() as tx:
        for table in tables:
            await tx.execute(_emptier(table), deleted_at=utc_now(), deletion_id="a-deletion")

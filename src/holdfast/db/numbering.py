"""The numbers that engines give to rows by themselves: those of removed rows are never given again."""

from sqlalchemy import Table

from holdfast.db.engines.base import Transaction

_GREATEST = 2**63 - 1


async def last_number_given(tx: Transaction, table: Table) -> int:
    """The greatest number that the engine gave to a row of the table, whether or not the row is there; 0 for none."""
    if tx.dialect_name == "postgresql":
        ((last, was_given),) = await tx.fetch_text(f"SELECT last_value, is_called FROM {await _sequence(tx, table)}")
        return int(last) if was_given else int(last) - 1
    if tx.dialect_name == "mariadb":
        ((following,),) = await tx.fetch_text(
            "SELECT auto_increment FROM information_schema.tables"
            f" WHERE table_schema = DATABASE() AND table_name = '{table.name}'"
        )
        return int(following) - 1
    rows = await tx.fetch_text(f"SELECT seq FROM sqlite_sequence WHERE name = '{table.name}'")
    return int(rows[0][0]) if rows else 0


async def go_on_after(tx: Transaction, table: Table, number: int) -> None:
    """Give the next row a greater number, and so each one after it; others' new rows wait. (MariaDB commits here.)"""
    if tx.dialect_name == "postgresql":
        # A number that another transaction takes between the reading and the setting would be given twice.
        await tx.fetch_text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE")
    number = max(number, await last_number_given(tx, table))
    if number == 0:
        return
    if tx.dialect_name == "postgresql":
        await tx.fetch_text(f"SELECT setval('{await _sequence(tx, table)}', {number})")
    elif tx.dialect_name == "mariadb":
        await tx.fetch_text(f"ALTER TABLE {table.name} AUTO_INCREMENT = {min(number + 1, _GREATEST)}")
    else:
        await tx.fetch_text(f"DELETE FROM sqlite_sequence WHERE name = '{table.name}'")
        await tx.fetch_text(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{table.name}', {number})")


async def _sequence(tx: Transaction, table: Table) -> str:
    (column,) = table.primary_key.columns
    ((name,),) = await tx.fetch_text(f"SELECT pg_get_serial_sequence('{table.name}', '{column.name}')")
    return str(name)

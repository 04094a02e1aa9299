"""What must hold after every deletion, asked in plain SQL of our own and not through the product's statements."""

from sqlalchemy import Column

from holdfast.db.engines.base import Database
from holdfast.db.tables import metadata
from tests.db.rows import fetch, parent_of

_KEYS = [column for table in metadata.sorted_tables for column in table.columns if column.foreign_keys]
_LIVE_BENEATH_DELETED = "c.deletion_id = '' AND p.deletion_id <> ''"


async def find_inconsistencies(database: Database) -> list[str]:
    """Rows without their parent, and live rows beneath a deleted one: a sentence for each foreign key that has some."""
    parts = []
    for column in _KEYS:
        parts.append(_counting(column, "without their parent", f"p.{parent_of(column).name} IS NULL"))
        if _marks_both_ends(column):
            parts.append(_counting(column, "live beneath a deleted parent", _LIVE_BENEATH_DELETED))
    rows = await fetch(database, " UNION ALL ".join(parts))
    return [f"{what}: {count} rows {wrong}" for what, wrong, count in rows if count]


def _counting(column: Column[object], wrong: str, condition: str) -> str:
    parent = parent_of(column)
    return (
        f"SELECT '{column.table.name}.{column.name}', '{wrong}', count(*) FROM {column.table.name} c"
        f" LEFT JOIN {parent.table.name} p ON p.{parent.name} = c.{column.name}"
        f" WHERE c.{column.name} IS NOT NULL AND {condition}"
    )


def _marks_both_ends(column: Column[object]) -> bool:
    (key,) = column.foreign_keys
    return key.ondelete == "CASCADE" and "deletion_id" in column.table.columns

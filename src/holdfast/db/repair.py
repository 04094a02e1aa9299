"""Putting back what the live schema lacks and can be given again: indexes, constraints, views and procedures.

What is missing is told in the words of `db.catalogue`, so that a difference and its repair are known by one sentence.
Missing tables and columns are not here: whatever they held is gone, and only a backup has it.
"""

from collections.abc import Iterator

import msgspec
from sqlalchemy import (
    CheckConstraint,
    Connection,
    Constraint,
    ForeignKeyConstraint,
    Index,
    Table,
    UniqueConstraint,
    inspect,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import AddConstraint, CreateIndex

from holdfast.db.address import DatabaseAddress
from holdfast.db.catalogue import find_drift, find_wrong_procedures
from holdfast.db.migrate import migrate, on_database
from holdfast.db.tables import metadata
from holdfast.db.tables.views import VIEWS


class Repair(msgspec.Struct, frozen=True):
    """How one difference is mended: `statements`, one after the other; none where `holdfast migrate` does it."""

    sentence: str
    name: str
    table: str | None
    statements: tuple[str, ...]


class Repaired(msgspec.Struct, frozen=True):
    """What became of a repair: `failure` is what the database said, or None."""

    repair: Repair
    failure: str | None


async def read_drift(address: DatabaseAddress) -> tuple[list[str], list[Repair]]:
    """The differences between the live schema and this version's, and the repairs that there are for them."""
    return await on_database(address, lambda connection: (find_drift(connection), list(_repairs(connection))))


async def repair_schema(address: DatabaseAddress) -> list[Repaired]:
    """Mend what can be mended, each for itself; what the database refuses is told and left as it is.

    On PostgreSQL indexes are built beside those who write, and constraints are checked beside them.
    """
    done = await on_database(address, lambda connection: [_mend(connection, each) for each in _own(connection)])
    wrong = await on_database(address, lambda connection: list(_procedure_repairs(connection)))
    if wrong:
        await migrate(address)
    return [*done, *(Repaired(each, None) for each in wrong)]


def _mend(connection: Connection, repair: Repair) -> Repaired:
    connection.commit()
    alone = connection.dialect.name == "postgresql"
    usual = connection.get_isolation_level() if alone else None
    if alone:
        # An index that is built beside writers allows no transaction around it.
        connection.execution_options(isolation_level="AUTOCOMMIT")
    try:
        for statement in repair.statements:
            connection.exec_driver_sql(statement)
        connection.commit()
    except DBAPIError as error:
        connection.rollback()
        return Repaired(repair, str(error.orig))
    finally:
        if usual is not None:
            connection.execution_options(isolation_level=usual)
    return Repaired(repair, None)


def _repairs(connection: Connection) -> Iterator[Repair]:
    yield from _own(connection)
    yield from _procedure_repairs(connection)


def _procedure_repairs(connection: Connection) -> Iterator[Repair]:
    for name in find_wrong_procedures(connection):
        sentence = f"procedure {name} is missing or was changed: `holdfast migrate` makes it anew"
        yield Repair(sentence, name, None, ())


def _own(connection: Connection) -> list[Repair]:
    inspector = inspect(connection)
    live_tables = set(inspector.get_table_names())
    found: list[Repair] = []
    for table in metadata.sorted_tables:
        if table.name in live_tables:
            present = {str(each["name"]) for each in inspector.get_indexes(table.name)}
            found += [_index_repair(connection, index) for index in _indexes(connection, table, present)]
            if connection.dialect.name != "sqlite":
                # SQLite adds no constraint to a table that is there.
                found += _constraint_repairs(connection, table)
    live_views = set(inspector.get_view_names())
    for name, query in VIEWS.items():
        if name not in live_views:
            statements = (f"CREATE VIEW {name} AS {query}",)
            found.append(Repair(f"view {name} is missing", name, None, statements))
    return found


def _indexes(connection: Connection, table: Table, present: set[str]) -> list[Index]:
    dialect_name = connection.dialect.name
    wanted = [each for each in table.indexes if each.info.get("dialect", dialect_name) == dialect_name]
    return sorted((each for each in wanted if str(each.name) not in present), key=lambda each: str(each.name))


def _index_repair(connection: Connection, index: Index) -> Repair:
    assert index.table is not None
    made = str(CreateIndex(index).compile(dialect=connection.dialect))
    if connection.dialect.name == "postgresql":
        made = made.replace("CREATE INDEX", "CREATE INDEX CONCURRENTLY", 1)
    sentence = f"{index.table.name}: index {index.name} is missing"
    return Repair(sentence, str(index.name), str(index.table.name), (made,))


def _constraint_repairs(connection: Connection, table: Table) -> list[Repair]:
    inspector = inspect(connection)
    uniques = {str(each["name"]) for each in inspector.get_unique_constraints(table.name)}
    checks = {str(each["name"]) for each in inspector.get_check_constraints(table.name)}
    keyed = {tuple(each["constrained_columns"]) for each in inspector.get_foreign_keys(table.name)}
    found: list[Repair] = []
    for constraint in sorted(table.constraints, key=lambda each: str(each.name)):
        match constraint:
            case ForeignKeyConstraint() if tuple(constraint.column_keys) not in keyed:
                kind = "foreign key"
            case UniqueConstraint() if str(constraint.name) not in uniques:
                kind = "unique key"
            case CheckConstraint() if str(constraint.name) not in checks and _is_of(connection, constraint):
                kind = "check"
            case _:
                continue
        sentence = f"{table.name}: {kind} {constraint.name} is missing"
        statements = _adding(connection, constraint, kind)
        found.append(Repair(sentence, str(constraint.name), str(table.name), statements))
    return found


def _is_of(connection: Connection, constraint: Constraint) -> bool:
    return bool(constraint.info.get("dialect", connection.dialect.name) == connection.dialect.name)


def _adding(connection: Connection, constraint: Constraint, kind: str) -> tuple[str, ...]:
    added = str(AddConstraint(constraint, isolate_from_table=False).compile(dialect=connection.dialect))
    if connection.dialect.name != "postgresql" or kind == "unique key":
        return (added,)
    # New rows are checked at once; those that are there afterwards, beside those who write.
    table = constraint.table
    return (f"{added} NOT VALID", f"ALTER TABLE {table.name} VALIDATE CONSTRAINT {constraint.name}")

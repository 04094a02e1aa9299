"""The live catalogue held against the tables: what is missing, what is other, by name.

Extra tables, columns and indexes are allowed: an operator may add their own.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import CheckConstraint, Connection, ForeignKeyConstraint, Index, Table, UniqueConstraint, inspect, text
from sqlalchemy.engine.reflection import Inspector

from holdfast.db import filling
from holdfast.db.migrations.files import newest_procedures
from holdfast.db.tables import metadata
from holdfast.db.tables.views import VIEWS


def find_drift(connection: Connection) -> list[str]:
    """One sentence for each difference between the live database and what this version needs."""
    return [*find_drift_of_tables(connection), *_procedure_drift(connection)]


def find_drift_of_newer(connection: Connection) -> list[str]:
    """As `find_drift`, for a database that a newer version has upgraded: its procedures are its own.

    Its new columns must not be in the way of rows that this version writes.
    """
    return [*find_drift_of_tables(connection), *_columns_in_the_way(connection)]


def find_drift_of_tables(connection: Connection) -> list[str]:
    """Differences of tables, columns, keys, constraints and views."""
    inspector = inspect(connection)
    live_tables = set(inspector.get_table_names())
    findings: list[str] = []
    details = _Details(inspector)
    for table in metadata.sorted_tables:
        if table.name not in live_tables:
            findings.append(f"table {table.name} is missing")
        else:
            findings.extend(_table_drift(details, table))
    findings.extend(_collation_drift(connection))
    findings.extend(_numbering_drift(connection))
    live_views = set(inspector.get_view_names())
    findings.extend(f"view {name} is missing" for name in VIEWS if name not in live_views)
    if filling.TABLE in live_tables:
        findings.append(filling.SENTENCE)
    return findings


def _columns_in_the_way(connection: Connection) -> Iterator[str]:
    columns = _by_table(inspect(connection).get_multi_columns())
    for table in metadata.sorted_tables:
        for column in columns.get(table.name, []):
            is_given = column["nullable"] or column["default"] is not None or column.get("computed") is not None
            if column["name"] not in table.columns and not is_given:
                yield f"column {table.name}.{column['name']} wants a value that this version does not give"


class _Details:
    """What the catalogue says of all tables, read in one go."""

    def __init__(self, inspector: Inspector) -> None:
        self.dialect_name = inspector.dialect.name
        self.columns = _by_table(inspector.get_multi_columns())
        self.primary_keys = _by_table(inspector.get_multi_pk_constraint())
        self.uniques = _by_table(inspector.get_multi_unique_constraints())
        self.indexes = _by_table(inspector.get_multi_indexes())
        self.foreign_keys = _by_table(inspector.get_multi_foreign_keys())
        self.checks = _by_table(inspector.get_multi_check_constraints())


def _by_table(found: Any) -> dict[str, Any]:
    return {name: detail for (_, name), detail in found.items()}


def _table_drift(details: _Details, table: Table) -> Iterator[str]:
    yield from _column_drift(details.columns[table.name], table)
    wanted_key = [column.name for column in table.primary_key.columns]
    live_key = details.primary_keys[table.name]["constrained_columns"]
    if live_key != wanted_key:
        yield f"{table.name}: the primary key is {live_key}, not {wanted_key}"
    yield from _key_drift(details, table)
    yield from _foreign_key_drift(details.foreign_keys[table.name], table)
    live_checks = {check["name"] for check in details.checks.get(table.name, [])}
    for constraint in table.constraints:
        if not isinstance(constraint, CheckConstraint) or str(constraint.name) in live_checks:
            continue
        if constraint.info.get("dialect", details.dialect_name) == details.dialect_name:
            yield f"{table.name}: check {constraint.name} is missing"


def _column_drift(live: list[Any], table: Table) -> Iterator[str]:
    by_name = {column["name"]: column for column in live}
    for column in table.columns:
        found = by_name.get(column.name)
        if found is None:
            yield f"column {table.name}.{column.name} is missing"
            continue
        if found["nullable"] != bool(column.nullable):
            yield f"column {table.name}.{column.name} is {'nullable' if found['nullable'] else 'NOT NULL'}"
        wanted_width = getattr(column.type, "width", None)
        live_width = getattr(found["type"], "length", None)
        if wanted_width is not None and live_width != wanted_width:
            yield f"column {table.name}.{column.name} is {live_width} wide, not {wanted_width}"


def _collation_drift(connection: Connection) -> Iterator[str]:
    """Columns whose strings would not compare byte by byte."""
    if connection.dialect.name == "sqlite":
        return
    schema = "current_schema()" if connection.dialect.name == "postgresql" else "DATABASE()"
    rows = connection.execute(
        text(
            f"SELECT table_name, column_name, collation_name FROM information_schema.columns"
            f" WHERE table_schema = {schema} AND character_maximum_length IS NOT NULL"
        )
    )
    for table_name, column_name, collation in rows:
        table = metadata.tables.get(table_name)
        column = None if table is None else table.columns.get(column_name)
        if column is None or getattr(column.type, "width", None) is None:
            continue
        if not (collation == "C" or str(collation).endswith("_nopad_bin")):
            yield f"column {table_name}.{column_name} has the collation {collation}, which does not compare bytes"


def _numbering_drift(connection: Connection) -> Iterator[str]:
    """Tables whose new rows would get the numbers of removed ones, as those of SQLite do where nothing else is said."""
    if connection.dialect.name != "sqlite":
        return
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
    definitions = {name: definition.upper() for name, definition in rows}
    for table in metadata.sorted_tables:
        key = table.autoincrement_column
        if key is not None and table.name in definitions and "AUTOINCREMENT" not in definitions[table.name]:
            yield f"column {table.name}.{key.name} gives numbers of removed rows again: it is not AUTOINCREMENT"


def _key_drift(details: _Details, table: Table) -> Iterator[str]:
    indexes = {index["name"]: index["column_names"] for index in details.indexes.get(table.name, [])}
    uniques = {key["name"]: key["column_names"] for key in details.uniques.get(table.name, [])}
    wanted: list[tuple[str, UniqueConstraint | Index]] = [
        ("index", index)
        for index in table.indexes
        if index.info.get("dialect", details.dialect_name) == details.dialect_name
    ]
    wanted += [("unique key", key) for key in table.constraints if isinstance(key, UniqueConstraint)]
    for kind, key in wanted:
        live = uniques if kind == "unique key" else indexes
        columns = [column.name for column in key.columns]
        if str(key.name) not in live:
            yield f"{table.name}: {kind} {key.name} is missing"
        elif live[str(key.name)] != columns:
            yield f"{table.name}: {kind} {key.name} is on {live[str(key.name)]}, not {columns}"


def _foreign_key_drift(live: list[Any], table: Table) -> Iterator[str]:
    by_columns = {tuple(key["constrained_columns"]): key for key in live}
    for constraint in table.constraints:
        if not isinstance(constraint, ForeignKeyConstraint):
            continue
        found = by_columns.get(tuple(constraint.column_keys))
        if found is None:
            yield f"{table.name}: foreign key {constraint.name} is missing"
            continue
        wanted = (constraint.elements[0].target_fullname, constraint.ondelete, constraint.onupdate)
        options = {name: rule.upper() for name, rule in found["options"].items() if isinstance(rule, str)}
        target = f"{found['referred_table']}.{found['referred_columns'][0]}"
        actual = (target, options.get("ondelete", "NO ACTION"), options.get("onupdate", "NO ACTION"))
        if actual != wanted:
            yield f"{table.name}: foreign key {constraint.name} is {' '.join(actual)}, not {' '.join(map(str, wanted))}"


def find_wrong_procedures(connection: Connection) -> dict[str, str]:
    """The names of procedures that are missing or have another body, each with the statement that creates it."""
    dialect_name = connection.dialect.name
    wanted = {_procedure_name(statement): statement for statement in newest_procedures(dialect_name)}
    if not wanted:
        return {}
    live: dict[str, list[str | None]] = {}
    for name, body in connection.execute(text(_LIVE_PROCEDURES[dialect_name])):
        live.setdefault(name, []).append(body)
    return {
        name: statement
        for name, statement in wanted.items()
        if not any(_is_body_of(body, statement) for body in live.get(name, []))
    }


def _procedure_drift(connection: Connection) -> Iterator[str]:
    for name in find_wrong_procedures(connection):
        yield f"procedure {name} is missing or was changed: `holdfast migrate` makes it anew"


def _procedure_name(statement: str) -> str:
    return statement.partition("(")[0].split()[-1]


def _is_body_of(body: str | None, statement: str) -> bool:
    if body is None:
        # MariaDB shows the text to few; whoever may call it need not be among them.
        return True
    end = statement.removesuffix("$procedure$").rstrip()
    return bool(body.strip()) and end.endswith(body.strip())


_LIVE_PROCEDURES = {
    "postgresql": "SELECT proname, prosrc FROM pg_proc"
    " WHERE prokind = 'p' AND pronamespace = current_schema()::regnamespace",
    "mariadb": "SELECT routine_name, routine_definition FROM information_schema.routines"
    " WHERE routine_type = 'PROCEDURE' AND routine_schema = DATABASE()",
}

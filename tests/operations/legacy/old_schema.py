"""An older database as its program knows it: rows by the column names of February 2026."""

import re
from collections.abc import Mapping
from typing import Any

from tests.operations.legacy.flavours import FLAVOURS, Flavour
from tests.operations.legacy.loading import LegacyDatabase

Values = dict[str, Any]

# What a column may hold; the program draws from them, and Holdfast writes them like this in any case.
CHOICES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("users", "status"): ("online", "offline", "delete"),
    ("memberships", "role"): ("admin", "manager", "user"),
    ("resources", "type"): ("Pod", "Service", "Deployment", "ConfigMap", "Ingress"),
    ("forms", "status"): ("Pending", "Processing", "Completed", "Rejected"),
    ("requests", "status"): ("pending", "approved", "rejected"),
    ("workloads", "status"): ("Pending", "Running", "Succeeded", "Failed"),
}
# The column by which a row that the program made is told from all others.
LABELS: Mapping[str, str] = {
    "users": "username",
    "projects": "project_name",
    "config_files": "filename",
    "resources": "name",
    "forms": "title",
    "messages": "content",
    "requests": "input_image_name",
    "workloads": "k8s_pod_name",
    "audit": "description",
}
_NAME = re.compile(r"\{(\w+)(?:\.(\w+))?\}")
_FOREIGN_KEYS = (
    "SELECT held.relname, a.attname, c.confdeltype = 'c' FROM pg_constraint c"
    " JOIN pg_class held ON held.oid = c.conrelid"
    " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
    " WHERE c.contype = 'f' AND held.relnamespace = current_schema()::regnamespace"
)


class OldSchema:
    """The flavour of a database, told by its tables, and which of a noun's columns it has, by the names of February."""

    def __init__(self, database: LegacyDatabase) -> None:
        there = {table: database.columns(table) for table in database.tables()}
        self.flavour = next(each for each in FLAVOURS.values() if _is_of(each, database.engine, there))
        self.columns = {noun: _by_their_names(self.flavour, noun, there) for noun in self.flavour.tables}
        self._foreign_keys: dict[tuple[str, str], bool] = {}
        if database.engine == "postgresql":
            self._foreign_keys = {(table, column): bool(all_) for table, column, all_ in database.run(_FOREIGN_KEYS)}

    def column(self, noun: str, name: str) -> str:
        return self.flavour.column(noun, name)

    def spell(self, statement: str) -> str:
        """A statement in which `{users}` stands for a noun's table and `{users.u_id}` for a column."""
        return _NAME.sub(
            lambda name: self.column(name[1], name[2]) if name[2] else self.flavour.tables[name[1]], statement
        )

    def guard(self, noun: str, column: str) -> bool | None:
        """Whether the server deletes what the column names the parent of; None where it does not look at it."""
        return self._foreign_keys.get((self.flavour.tables[noun], self.column(noun, column)))

    def identity(self, noun: str) -> tuple[str, ...]:
        """What tells the noun's rows apart; in one without a key of its own, or where nothing keeps it from doubles."""
        return ("u_id", "g_id") if noun == "memberships" else self.flavour.key(noun)

    def label(self, noun: str) -> str | None:
        label = LABELS.get(noun)
        return label and self.column(noun, label)

    def values(self, noun: str, columns: list[str], row: tuple[Any, ...]) -> Values:
        """A row by the names of February; columns that somebody has added since are left away."""
        names = self.columns[noun]
        return {names[column]: value for column, value in zip(columns, row, strict=True) if column in names}

    def is_there(self, database: LegacyDatabase) -> bool:
        """Whether the tables are still the older ones, and not Holdfast's under their names."""
        columns = set(database.columns("users"))
        return columns >= self.columns["users"].keys() and "deletion_id" not in columns


def _is_of(flavour: Flavour, engine: str, there: Mapping[str, list[str]]) -> bool:
    return flavour.engine == engine and all(
        set(flavour.key_columns(noun)) <= set(there.get(table, ())) for noun, table in flavour.tables.items()
    )


def _by_their_names(flavour: Flavour, noun: str, there: Mapping[str, list[str]]) -> dict[str, str]:
    named = {theirs: name for name, theirs in flavour.columns.get(noun, {}).items()}
    return {column: named.get(column, column) for column in there[flavour.tables[noun]]}

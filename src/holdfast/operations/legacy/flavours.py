"""Which of the older schemas a database has: told by its tables and columns, never by a version number."""

import asyncio
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import Boolean, Connection, DateTime, Integer, inspect
from sqlalchemy.types import TypeEngine

from holdfast.db.address import DatabaseAddress
from holdfast.db.migrate import on_database
from holdfast.operations.legacy.sqlite_file import declared_columns
from holdfast.operations.legacy.types import LegacyError

# Each of our tables under the names that the older schemas gave it, the newest first.
NAMES: dict[str, tuple[str, ...]] = {
    "users": ("users",),
    "group_list": ("group_list",),
    "user_group": ("user_group",),
    "project_list": ("project_list", "projects", "project"),
    "config_files": ("config_files", "config_file"),
    "resources": ("resource_list", "resources", "resource"),
    "forms": ("forms",),
    "form_messages": ("form_messages",),
    "container_repositories": ("container_repositories",),
    "container_tags": ("container_tags",),
    "image_requests": ("image_requests",),
    "image_allow_list": ("image_allow_lists", "image_allow_list"),
    "allowed_images": ("allowed_images",),
    "cluster_image_status": ("cluster_image_statuses", "cluster_image_status"),
    "course_workloads": ("course_workloads",),
    "audit_logs": ("audit_logs",),
}
# The words of a type that SQLite takes for one of numbers, more or less.
_NUMBERS = ("INT", "SERIAL", "NUMERIC", "DECIMAL", "REAL", "FLOA", "DOUB")
_NEEDED = ("users", "group_list", "user_group")


class Form(StrEnum):
    """How the values of a column are read."""

    INTEGER = "integer"
    FLAG = "flag"
    LOCAL_TIME = "local time"
    UTC_TIME = "UTC time"
    TEXT = "text"


class Catalogue(msgspec.Struct, frozen=True):
    """The tables of a database, each with its columns and how they are read."""

    dialect_name: str
    tables: dict[str, dict[str, Form]]

    def named(self, ours: str) -> list[str]:
        """The tables that hold what ours does, the newest first."""
        return [name for name in NAMES[ours] if name in self.tables]

    def column(self, table: str, *names: str) -> str | None:
        """The first of the columns that the table has."""
        return next((name for name in names if name in self.tables[table]), None)

    def key_column(self, table: str, *names: str) -> str | None:
        """As `column`, but one that holds numbers before any other: a half upgraded table has both."""
        numbers = [name for name in names if self.tables[table].get(name) is Form.INTEGER]
        return numbers[0] if numbers else self.column(table, *names)

    @property
    def unknown(self) -> list[str]:
        """The tables for which Holdfast has no place."""
        known = {name for names in NAMES.values() for name in names}
        return sorted(self.tables.keys() - known)


async def read_catalogue(address: DatabaseAddress) -> Catalogue:
    """The tables of the older database. LegacyError where it is none, or already a Holdfast."""
    if address.dialect_name == "sqlite":
        catalogue = await asyncio.to_thread(_read_file, address)
    else:
        catalogue = await on_database(address, _reflect)
    missing = [name for name in _NEEDED if not catalogue.named(name)]
    if missing or not catalogue.named("project_list"):
        raise LegacyError(
            f"{address.shown} has none of the older schemas: {', '.join(missing) or 'a table of projects'} is missing"
        )
    if "deletion_id" in catalogue.tables["users"]:
        raise LegacyError(f"{address.shown} is a Holdfast already: `holdfast transfer` moves it")
    return catalogue


def flavour_of(catalogue: Catalogue) -> str:
    """The schema's name for people, with what stands beside it where an installation went through several."""
    tables = catalogue.tables
    if catalogue.key_column("users", "u_id", "id") == "id":
        return "integer ids (the seed's section 7)"
    names = []
    if "project" in tables or "p_id" in tables.get("resource", {}):
        names.append("17 July 2025")
    elif "minio_path" in _columns(catalogue, "config_files"):
        names.append("July 2025")
    elif "projects" in tables:
        is_made_by_code = "gpu_quota" in tables["projects"]
        names.append("December 2025" if is_made_by_code else "September 2025")
    if "project_list" in tables:
        is_flat = "allowed_images" in tables or "gpu_requests" in tables
        names += ["January 2026"] if is_flat else []
        names += ["February 2026"] if not is_flat or catalogue.named("image_allow_list") else []
    return ", then ".join(names)


def _columns(catalogue: Catalogue, ours: str) -> set[str]:
    return {column for name in catalogue.named(ours) for column in catalogue.tables[name]}


def _reflect(connection: Connection) -> Catalogue:
    found = inspect(connection).get_multi_columns()
    tables = {
        name: {column["name"]: _form_of(column["type"], connection.dialect.name) for column in columns}
        for (_, name), columns in found.items()
    }
    return Catalogue(connection.dialect.name, tables)


def _read_file(address: DatabaseAddress) -> Catalogue:
    tables = {
        name: {column: _form_of_declared(column, declared) for column, declared in columns.items()}
        for name, columns in declared_columns(address.path).items()
    }
    return Catalogue("sqlite", tables)


def _form_of(kind: TypeEngine[Any], dialect_name: str) -> Form:
    if isinstance(kind, Boolean):
        return Form.FLAG
    if isinstance(kind, Integer):
        return Form.INTEGER
    if isinstance(kind, DateTime):
        # MariaDB gives a TIMESTAMP in the zone of the session, which is UTC.
        is_moment = kind.timezone or (dialect_name == "mariadb" and type(kind).__name__ == "TIMESTAMP")
        return Form.UTC_TIME if is_moment else Form.LOCAL_TIME
    return Form.TEXT


def _form_of_declared(column: str, declared: str) -> Form:
    """The form of a column of SQLite, which takes any word for a type and keeps any value in any column.

    So the name counts, too: what ends in `_at` is a time and what begins with `is_` a flag, whatever was declared.
    """
    kind = declared.upper()
    if column.endswith("_at") or "TIME" in kind or "DATE" in kind:
        return Form.UTC_TIME if "TIMESTAMPTZ" in kind or "WITH TIME ZONE" in kind else Form.LOCAL_TIME
    if column.startswith("is_") or "BOOL" in kind:
        return Form.FLAG
    is_key_without_type = not kind and (column == "id" or column.endswith("_id"))
    return Form.INTEGER if is_key_without_type or any(word in kind for word in _NUMBERS) else Form.TEXT

"""The clean-up by the application: SQLAlchemy's ORM deletes a group with all beneath it, cascade by cascade.

The classes are mapped on the tables as they are found, and each relationship has `cascade="all, delete-orphan"`, as an
application has it that leaves nothing to the database: children are loaded parent by parent, then deleted by key.
"""

from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.orm import Session, registry, relationship

from holdfast.db.address import parse_address
from holdfast.db.sqlite_driver import sqlite3

# Each table with its parent.
_PARENTS = {
    "user_group": "group_list",
    "project_list": "group_list",
    "config_files": "project_list",
    "resources": "config_files",
    "forms": "project_list",
    "form_messages": "forms",
    "image_requests": "project_list",
    "image_allow_list": "project_list",
    "course_workloads": "project_list",
}


class OrmCascade:
    """The mapped tables of a database."""

    def __init__(self, database_url: str) -> None:
        self._engine = engine_of(database_url)
        found = MetaData()
        found.reflect(self._engine, only=["group_list", *_PARENTS])
        self._group = _mapped(found)

    def delete_group(self, g_id: str) -> None:
        """Delete a group and all that hangs on it, in one transaction."""
        with Session(self._engine) as session:
            session.delete(session.get_one(self._group, g_id))
            session.commit()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def engine_of(database_url: str) -> Engine:
    """SQLAlchemy's engine for an address of the product, on a driver that waits."""
    address = parse_address(database_url)
    if address.dialect_name == "sqlite":
        engine = create_engine(f"sqlite+pysqlite:///{address.path}", module=sqlite3)
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
        return engine
    driver = {"postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}[address.dialect_name]
    return create_engine(database_url.replace(address.dialect_name, driver, 1))


def _mapped(found: MetaData) -> Any:
    classes = {name: type(name, (SimpleNamespace,), {"__hash__": object.__hash__}) for name in found.tables}
    mappers = registry()
    for name in reversed([*_PARENTS, "group_list"]):
        children = [child for child, parent in _PARENTS.items() if parent == name]
        joined = {child: _children(found, child, name, classes[child]) for child in children}
        mappers.map_imperatively(classes[name], found.tables[name], properties=joined)
    mappers.configure()
    return classes["group_list"]


def _children(found: MetaData, child: str, parent: str, mapped: type) -> Any:
    (key,) = [key for key in found.tables[child].foreign_keys if key.column.table.name == parent]
    return relationship(
        mapped, primaryjoin=key.column == key.parent, foreign_keys=key.parent, cascade="all, delete-orphan"
    )

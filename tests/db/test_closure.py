"""The closure of a root where ways part and meet again, which the product's own tables do not do above a leaf."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Connection, ForeignKey, MetaData, String, Table, create_engine, insert, select
from sqlalchemy.pool import StaticPool

from holdfast.db.lifecycle.closure import Closure
from holdfast.db.lifecycle.graph import CascadeGraph
from holdfast.db.sqlite_driver import sqlite3

_METADATA = MetaData()


def _table(name: str, *parents: str) -> Table:
    keys = [Column(parent, String, ForeignKey(f"{parent}.id", ondelete="CASCADE")) for parent in parents]
    return Table(name, _METADATA, Column("id", String, primary_key=True), *keys)


_TOP = _table("tops")
_LEFT = _table("lefts", "tops")
_RIGHT = _table("rights", "tops")
_BOTTOM = _table("bottoms", "lefts", "rights")
_LEAF = _table("leaves", "bottoms")
_ROWS: dict[Table, list[dict[str, Any]]] = {
    _TOP: [{"id": "t1"}, {"id": "t2"}],
    _LEFT: [{"id": "l1", "tops": "t1"}, {"id": "l2", "tops": "t2"}],
    _RIGHT: [{"id": "r1", "tops": "t1"}, {"id": "r2", "tops": "t2"}],
    _BOTTOM: [
        {"id": "both", "lefts": "l1", "rights": "r1"},
        {"id": "by left", "lefts": "l1", "rights": None},
        {"id": "by right", "lefts": "l2", "rights": "r1"},
        {"id": "other", "lefts": "l2", "rights": None},
    ],
    _LEAF: [{"id": f"leaf of {name}", "bottoms": name} for name in ("both", "by left", "by right", "other")],
}


@pytest.fixture
def connection() -> Iterator[Connection]:
    """A database in memory with the rows."""
    engine = create_engine("sqlite+pysqlite://", module=sqlite3, poolclass=StaticPool)
    with engine.connect() as connection:
        _METADATA.create_all(connection)
        for table, rows in _ROWS.items():
            connection.execute(insert(table), rows)
        yield connection
    engine.dispose()


def _ids(connection: Connection, statement: Any) -> list[str]:
    return sorted(row[0] for row in connection.execute(statement, {"key_0": "t1"}))


def test_a_row_on_two_ways_is_in_the_closure_once(connection: Connection) -> None:
    closure = Closure(_TOP, CascadeGraph(_METADATA))
    assert _ids(connection, closure.keys(_TOP)) == ["t1"]
    assert _ids(connection, closure.keys(_BOTTOM)) == ["both", "by left", "by right"]
    assert _ids(connection, closure.keys(_LEAF)) == ["leaf of both", "leaf of by left", "leaf of by right"]


def test_rows_outside_the_closure_hang_on_it_by_no_foreign_key(connection: Connection) -> None:
    closure = Closure(_TOP, CascadeGraph(_METADATA))
    for table, outside in ((_BOTTOM, ["other"]), (_LEAF, ["leaf of other"]), (_LEFT, ["l2"])):
        assert _ids(connection, select(table.c.id).where(*closure.outside(table))) == outside

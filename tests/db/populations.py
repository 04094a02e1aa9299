"""Small random populations over all tables, and what a database holds of them, for Hypothesis."""

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import msgspec
from hypothesis import HealthCheck, assume
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, Table, UniqueConstraint, insert

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.plan import Root
from holdfast.db.statements import Command, parameters_for
from tests.db.rows import plain_value

TABLES = tuple(table for table in GRAPH.tables if any(table in (edge.child, edge.parent) for edge in GRAPH.edges))
Row = dict[str, Any]
RowKey = tuple[str, ...]
# Per table its rows by primary key.
State = dict[str, dict[RowKey, Row]]


class Population(msgspec.Struct):
    """Rows of every table, and the roots to delete one after another."""

    rows: dict[str, list[Row]]
    roots: list[Root]


@st.composite
def populations(draw: st.DrawFn) -> Population:
    """Up to four rows per table on random parents, and up to four roots, which may lie beneath one another."""
    rows: dict[str, list[Row]] = {}
    for table in TABLES:
        rows[table.name] = []
        for number in range(draw(st.integers(0, 4))):
            row = _draw_row(draw, table, number, rows)
            if row is not None and not any(_clash(table, row, other) for other in rows[table.name]):
                rows[table.name].append(row)
    there = _roots_in(rows)
    assume(there)
    return Population(rows, draw(st.lists(st.sampled_from(there), min_size=1, max_size=4)))


async def fill(tx: Transaction, population: Population) -> None:
    """Insert the rows."""
    for table in TABLES:
        if population.rows[table.name]:
            await tx.execute_many(_inserter(table), population.rows[table.name])


async def read_state(tx: Transaction) -> State:
    """The rows of every table, with their foreign keys and, where they know soft deletion, their deletion."""
    state: State = {}
    for table in TABLES:
        columns = [column.name for column in table.columns if column.primary_key or column.foreign_keys]
        columns += ["deletion_id"] if "deletion_id" in table.c else []
        rows = await tx.fetch_text(f"SELECT {', '.join(columns)} FROM {table.name}")
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        state[table.name] = {tuple(row[column.name] for column in table.primary_key): row for row in named}
    return state


def delete_statement(root: Root) -> str:
    """What somebody would type to remove the root."""
    conditions = [f"{column.name} = '{value}'" for column, value in zip(root.table.primary_key, root.key, strict=True)]
    return f"DELETE FROM {root.table.name} WHERE {' AND '.join(conditions)}"


class _UndoneError(Exception):
    pass


# The fixture `database` is emptied once for all examples of a test, each of which is undone.
EMPTY_FOR_ALL_EXAMPLES = [HealthCheck.function_scoped_fixture]


@asynccontextmanager
async def undone(database: Database) -> AsyncIterator[Transaction]:
    """A transaction that leaves nothing behind."""
    with contextlib.suppress(_UndoneError):
        async with database.write() as tx:
            yield tx
            raise _UndoneError


def _roots_in(rows: dict[str, list[Row]]) -> list[Root]:
    return [
        Root(root_type, tuple(row[column.name] for column in table.primary_key))
        for root_type, table in GRAPH.root_types.items()
        for row in rows[table.name]
    ]


def _draw_row(draw: st.DrawFn, table: Table, number: int, rows: dict[str, list[Row]]) -> Row | None:
    row: Row = {}
    for edge in GRAPH.edges:
        if edge.child is table:
            parents = [parent[edge.key.name] for parent in rows[edge.parent.name]]
            choices = ([None] if edge.column.nullable else []) + parents
            if not choices:
                return None
            row[edge.column.name] = draw(st.sampled_from(choices))
    for column in table.columns:
        if column.name in row or not _is_filled(column):
            continue
        row[column.name] = _own_key(column, number) if column.primary_key else plain_value(column)
    return row


def _is_filled(column: Column[Any]) -> bool:
    """Whether the population gives the column a value: keys, and what cannot be left out."""
    required = not column.nullable and column.server_default is None
    return bool(column.primary_key or column.foreign_keys or required)


def _own_key(column: Column[Any], number: int) -> Any:
    return number + 1 if isinstance(column.type, BigInteger) else f"{column.table.name[:12]}-{number}"


def _clash(table: Table, row: Row, other: Row) -> bool:
    keys = [table.primary_key, *(each for each in table.constraints if isinstance(each, UniqueConstraint))]
    names = [[column.name for column in key.columns if column.name != "deletion_id"] for key in keys]
    return any([row[name] for name in each] == [other[name] for name in each] for each in names)


@cache
def _inserter(table: Table) -> Command:
    columns = [column.name for column in table.columns if _is_filled(column)]
    return Command(f"tests.fill({table.name})", insert(table).values(parameters_for(table, *columns)))

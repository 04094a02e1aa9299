"""The closure of a root in SQL: itself and every row that its cascade takes, deleted or not.

Joins only: MariaDB reads the whole outer table for `IN (SELECT … UNION …)` and for two such conditions joined by OR.
"""

from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    Table,
    and_,
    bindparam,
    exists,
    or_,
    select,
    union,
)
from sqlalchemy.sql import CompoundSelect

from holdfast.db.lifecycle.graph import GRAPH, CascadeGraph, Edge


class Closure:
    """The rows beneath a root of one table, whose primary key is given by the parameters `key_0`, `key_1`."""

    def __init__(self, root: Table, graph: CascadeGraph = GRAPH) -> None:
        self.root = root
        self._graph = graph
        self.tables: tuple[Table, ...] = graph.beneath(root)
        self.key: dict[str, BindParameter[Any]] = {
            column.name: bindparam(f"key_{index}", type_=column.type) for index, column in enumerate(root.primary_key)
        }

    def is_root(self) -> ColumnElement[bool]:
        """The root itself."""
        return and_(*(self.root.c[name] == value for name, value in self.key.items()))

    def edges_into(self, child: Table) -> tuple[Edge, ...]:
        """The foreign keys by which the cascade reaches `child`, in the order in which their rows are told apart."""
        return tuple(edge for edge in self._graph.cascades_into(child) if edge.parent in self.tables)

    def unlinked(self) -> tuple[Edge, ...]:
        """The foreign keys that name a table of the closure and are emptied."""
        return tuple(edge for table in self.tables for edge in self._graph.unlinks_from(table))

    def reached_by(self, edge: Edge, *columns: Any) -> Select[Any]:
        """The children whose foreign key names a row of the closure."""
        sources, conditions = self._way_to(edge)
        return select(*columns).select_from(edge.child, *sources).where(*conditions)

    def keys(self, table: Table) -> Select[Any] | CompoundSelect[Any]:
        """The primary keys of a table's rows in the closure, each once."""
        ways = [self.reached_by(edge, *table.primary_key) for edge in self.edges_into(table)]
        if table is self.root:
            return select(*table.primary_key).where(self.is_root())
        return ways[0] if len(ways) == 1 else union(*ways)

    def not_reached_by(self, edge: Edge) -> ColumnElement[bool]:
        """The children whose foreign key names nothing or a row outside the closure."""
        if edge.parent is self.root:
            differs = edge.column != self.key[edge.key.name]
            return or_(edge.column.is_(None), differs) if edge.column.nullable else differs
        sources, conditions = self._way_to(edge)
        return ~exists().select_from(*sources).where(*conditions).correlate(edge.child)

    def outside(self, table: Table) -> list[ColumnElement[bool]]:
        """The rows of a table below the root that are not in the closure."""
        return [self.not_reached_by(edge) for edge in self.edges_into(table)]

    def _way_to(self, edge: Edge) -> tuple[list[FromClause], list[ColumnElement[bool]]]:
        """What to join to the child, and how, to find the children that the foreign key ties to the closure."""
        if edge.parent is self.root:
            return [], [edge.column == self.key[edge.key.name]]
        into = self.edges_into(edge.parent)
        if len(into) > 1:
            parents = self.keys(edge.parent).subquery(f"{edge.parent.name}_beneath")
            return [parents], [edge.column == parents.c[edge.key.name]]
        sources, conditions = self._way_to(into[0])
        return [edge.parent, *sources], [edge.column == edge.key, *conditions]


@cache
def closure_of(root: Table) -> Closure:
    """The closure of a root of this table."""
    return Closure(root)

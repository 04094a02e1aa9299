"""The cascade graph: which rows hang on which, read from the tables' foreign keys.

Pure: no I/O. The live catalogue is compared with the same metadata at the start (`db.catalogue`), so what is derived
here is what the engine will do.
"""

from enum import StrEnum
from functools import cached_property
from typing import Any

from sqlalchemy import Column, ForeignKey, MetaData, Table

from holdfast.db.tables import metadata
from holdfast.db.tables.base import Deletion, policy_of

# MariaDB stops a cascade at fifteen levels; half of that is the most that a design should need.
LONGEST_PATH = 8


class Rule(StrEnum):
    """What becomes of a child when its parent is removed."""

    CASCADE = "CASCADE"
    SET_NULL = "SET NULL"


class Edge:
    """One foreign key: `child.column` names `parent.key`."""

    __slots__ = ("child", "column", "key", "name", "parent", "rule")

    def __init__(self, foreign_key: ForeignKey) -> None:
        self.column: Column[Any] = foreign_key.parent
        self.key: Column[Any] = foreign_key.column
        self.child: Table = self.column.table
        self.parent: Table = self.key.table
        self.rule = Rule(str(foreign_key.ondelete))
        # As plans and reports name it: `image_requests.reviewer_id`.
        self.name = f"{self.child.name}.{self.column.name}"

    def __repr__(self) -> str:
        return f"<{self.name} -> {self.parent.name} {self.rule}>"


class CascadeGraph:
    """The tables and their foreign keys. `tables` and every answer are in topological order: parents first."""

    def __init__(self, source: MetaData) -> None:
        self.tables: tuple[Table, ...] = tuple(source.sorted_tables)
        # By name of the column, because the foreign keys of a table are a set.
        self.edges: tuple[Edge, ...] = tuple(
            Edge(key)
            for table in self.tables
            for key in sorted(table.foreign_keys, key=lambda each: str(each.parent.name))
        )
        # Each deletion asks many times.
        cascades = [edge for edge in self.edges if edge.rule is Rule.CASCADE]
        unlinks = [edge for edge in self.edges if edge.rule is Rule.SET_NULL]
        self._cascades_into = {table: tuple(edge for edge in cascades if edge.child is table) for table in self.tables}
        self._cascades_from = {table: tuple(edge for edge in cascades if edge.parent is table) for table in self.tables}
        self._unlinks_from = {table: tuple(edge for edge in unlinks if edge.parent is table) for table in self.tables}
        self._beneath = {table: self._reached_from(table) for table in self.tables}

    def cascades_into(self, child: Table) -> tuple[Edge, ...]:
        """The foreign keys by which a row of `child` goes with a parent."""
        return self._cascades_into[child]

    def cascades_from(self, parent: Table) -> tuple[Edge, ...]:
        """The foreign keys by which rows go with a row of `parent`."""
        return self._cascades_from[parent]

    def unlinks_from(self, parent: Table) -> tuple[Edge, ...]:
        """The foreign keys that are emptied when a row of `parent` is removed."""
        return self._unlinks_from[parent]

    def beneath(self, root: Table) -> tuple[Table, ...]:
        """`root` and every table that holds rows which its cascade can take."""
        return self._beneath[root]

    @cached_property
    def longest_path(self) -> int:
        """How many tables the longest cascade passes through."""
        lengths: dict[Table, int] = {}
        for table in self.tables:
            lengths[table] = 1 + max((lengths[edge.parent] for edge in self.cascades_into(table)), default=0)
        return max(lengths.values())

    @cached_property
    def soft_tables(self) -> tuple[Table, ...]:
        """The tables whose rows are marked with their deletion."""
        return tuple(table for table in self.tables if policy_of(table).deletion is Deletion.SOFT)

    @cached_property
    def bundled_tables(self) -> tuple[Table, ...]:
        """The tables that a recovery bundle carries."""
        return tuple(table for table in self.tables if policy_of(table).in_bundle)

    @cached_property
    def root_types(self) -> dict[str, Table]:
        """What can be deleted, by the name that the API, the CLI and the audit log use."""
        return {
            name: table
            for table in self.soft_tables
            if (name := policy_of(table).audited_as) is not None and name not in _NEVER_A_ROOT
        }

    def _reached_from(self, root: Table) -> tuple[Table, ...]:
        reached = {root}
        for table in self.tables:
            if any(edge.parent in reached for edge in self.cascades_into(table)):
                reached.add(table)
        return tuple(table for table in self.tables if table in reached)


# Resources are changed with their file, statuses by the cluster, tokens are revoked.
_NEVER_A_ROOT = frozenset({"resource", "image-status", "token"})

GRAPH = CascadeGraph(metadata)

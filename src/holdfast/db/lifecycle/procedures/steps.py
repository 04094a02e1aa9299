"""The order in which a purge goes through the tables, and the rows that each of its steps takes.

The rows of a deletion are those that bear it and all that hang on them, however far down: rows of earlier, nested
deletions and rows of tables without soft deletion. A step follows one path of foreign keys up to a row that bears the
deletion. Children go first, so the rows above a step are there until it is done, and a purge that was cut off begins
again at its first step.
"""

from collections.abc import Iterator
from enum import StrEnum

import msgspec
from sqlalchemy import Table

from holdfast.db.lifecycle.graph import GRAPH, Edge, Rule
from holdfast.db.tables.base import Deletion, policy_of

Path = tuple[Edge, ...]


class Kind(StrEnum):
    """What a step does with the rows it finds."""

    UNLINK = "unlink"  # empty the pointers of rows that stay
    REMOVE = "remove"  # remove them
    NOTE = "note"  # note on earlier deletions whose rows they are that this one takes them
    REFUSE = "refuse"  # there may be none: a live row never goes with a purge


class Step(msgspec.Struct, frozen=True):
    """One statement of a purge. `path` leads from its rows up to a row that bears the deletion.

    `pointer` is the foreign key that an `UNLINK` empties; it is the first of its path.
    """

    kind: Kind
    table: Table
    path: Path
    pointer: Edge | None = None

    @property
    def target(self) -> str:
        """The name under which its rows are counted: a table, or a column that is emptied."""
        return self.table.name if self.pointer is None else self.pointer.name

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key of its rows."""
        return tuple(self.table.primary_key.columns.keys())

    @property
    def bearer(self) -> str:
        """The column that bears the deletion, at the end of the path."""
        return f"{self.path[-1].parent.name if self.path else self.table.name}.deletion_id"


def purge_steps() -> list[Step]:
    """All steps of a purge, in order."""
    return [step for table in reversed(GRAPH.tables) for step in _steps_of(table)]


def newer_edges() -> list[Edge]:
    """The foreign keys by which rows can come to a deleted parent after its bundle was made: audit entries do."""
    return [
        edge
        for edge in GRAPH.edges
        if edge.rule is Rule.CASCADE
        and policy_of(edge.child).in_bundle
        and policy_of(edge.child).deletion is Deletion.PURGE_ONLY
    ]


def _steps_of(table: Table) -> Iterator[Step]:
    paths = list(_paths_to(table))
    is_soft = policy_of(table).deletion is Deletion.SOFT
    ways: list[Path] = [(), *paths] if is_soft else paths
    for pointer in GRAPH.unlinks_from(table):
        yield from (Step(Kind.UNLINK, pointer.child, (pointer, *path), pointer) for path in ways)
    for path in ways:
        if path and is_soft:
            yield Step(Kind.NOTE, table, path)
        yield Step(Kind.REMOVE, table, path)
        if path and is_soft:
            yield Step(Kind.REFUSE, table, path)


def _paths_to(table: Table) -> Iterator[Path]:
    """Every way by which a row of the table goes with a row above it, the shortest first."""
    for edge in GRAPH.cascades_into(table):
        yield (edge,)
        yield from ((edge, *further) for further in _paths_to(edge.parent))

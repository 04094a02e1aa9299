"""Rows whose parent is not there, of every foreign key: what an import, or a load with the keys off, leaves behind."""

from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import Select

from holdfast.db.lifecycle.graph import GRAPH, Edge, Rule
from holdfast.operations.doctor.rows import FaultyRows
from holdfast.operations.doctor.types import Fault, Severity, Subject


def _without_parent(edge: Edge) -> FaultyRows:
    parent = edge.parent.alias("parents")

    def narrow(rows: Select[Any]) -> Select[Any]:
        key = parent.c[edge.key.name]
        joined = rows.outerjoin(parent, edge.column == key)
        return joined.where(edge.column.is_not(None), key.is_(None))

    return FaultyRows("orphans", edge.name, edge.child, narrow, note=edge.column)


ORPHANS = {edge.name: _without_parent(edge) for edge in GRAPH.edges}


async def find_orphans(subject: Subject) -> AsyncIterator[Fault]:
    """For each foreign key the rows that name a parent which does not exist."""
    for edge in GRAPH.edges:
        if edge.rule is Rule.CASCADE:
            message = (
                f"{edge.name} names a row of {edge.parent.name} that does not exist in {{rows}}: no list shows such a"
                " row as it was, and no dump of this database can be loaded with its keys on"
            )
        else:
            message = f"{edge.name} points to a row of {edge.parent.name} that does not exist in {{rows}}"
        found = ORPHANS[edge.name].fault(subject.database, Severity.ERROR, message, is_curable=True)
        async for fault in found:
            yield fault

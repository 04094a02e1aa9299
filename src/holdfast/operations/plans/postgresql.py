"""Plans of PostgreSQL: EXPLAIN (FORMAT JSON), with ANALYZE where the statement may run."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from holdfast.operations.plans.types import Access, AccessKind, Plan

ESTIMATE = "EXPLAIN (FORMAT JSON)"
MEASURE = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON)"

_Node = Mapping[str, Any]


def read_plan(statement: str, answer: str) -> Plan:
    """The plan in the answer of PostgreSQL."""
    (outermost,) = msgspec.json.decode(answer)
    root = outermost["Plan"]
    nodes = list(_nodes(root))
    sorts = [node for node in nodes if node["Node Type"] in ("Sort", "Incremental Sort")]
    return Plan(
        statement,
        tuple(access for node in nodes for access in _accesses(node)),
        sorts=any(node["Node Type"] == "Sort" for node in sorts),
        sorts_equals=any(node["Node Type"] == "Incremental Sort" for node in sorts),
        sorted_rows=max((rows for node in sorts if (rows := _sorted_rows(node)) is not None), default=None),
        returned=_returned(root, nodes),
    )


def _nodes(node: _Node) -> Iterator[_Node]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _accesses(node: _Node) -> Iterator[Access]:
    kind = node["Node Type"]
    if "Relation Name" not in node or kind == "ModifyTable":
        return
    indexes: tuple[str, ...] = ()
    how = AccessKind.SCAN
    if kind in ("Index Scan", "Index Only Scan"):
        indexes = (node["Index Name"],)
        how = AccessKind.LOOK_UP if "Index Cond" in node else AccessKind.WHOLE_INDEX
    elif kind == "Bitmap Heap Scan":
        indexes = tuple(sorted({each["Index Name"] for each in _nodes(node) if "Index Name" in each}))
        how = AccessKind.LOOK_UP
    kept = _actual(node, "Actual Rows")
    removed = (_actual(node, "Rows Removed by Filter") or 0) + (_actual(node, "Rows Removed by Index Recheck") or 0)
    yield Access(
        node["Relation Name"],
        how,
        indexes,
        estimated=node["Plan Rows"],
        examined=None if kept is None else kept + removed,
        kept=kept,
    )


def _sorted_rows(node: _Node) -> float | None:
    """What the sort was given or, where nothing ran, is estimated to be given.

    A sort of equals ends with the page, which the estimate of what it is given leaves out.
    """
    (child, *_) = node["Plans"]
    rows = _actual(child, "Actual Rows")
    return float(child["Plan Rows"]) if rows is None and node["Node Type"] == "Sort" else rows


def _returned(root: _Node, nodes: list[_Node]) -> float | None:
    """Rows that came out, or that were counted and changed: an aggregate returns what it was given."""
    found = [_actual(root, "Actual Rows")]
    for node in nodes:
        if node["Node Type"] in ("Aggregate", "ModifyTable"):
            found += [_actual(child, "Actual Rows") for child in node.get("Plans", ())[:1]]
    known = [rows for rows in found if rows is not None]
    return max(known) if known else None


def _actual(node: _Node, name: str) -> float | None:
    if "Actual Loops" not in node:
        return None
    return float(node.get(name, 0)) * float(node["Actual Loops"])

"""Plans of MariaDB: EXPLAIN FORMAT=JSON, and ANALYZE FORMAT=JSON for statements that only read."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from holdfast.operations.plans.types import Access, AccessKind, Plan

ESTIMATE = "EXPLAIN FORMAT=JSON"
MEASURE = "ANALYZE FORMAT=JSON"

_Node = Mapping[str, Any]
_KINDS = {"ALL": AccessKind.SCAN, "index": AccessKind.WHOLE_INDEX}


def read_plan(statement: str, answer: str, aliases: Mapping[str, str]) -> Plan:
    """The plan in the answer of MariaDB, which names tables by the aliases of the statement."""
    root = msgspec.json.decode(answer)
    accesses = [access for table in _named(root, "table") for access in _accesses(table, aliases)]
    sorts = list(_named(root, "filesort"))
    kept = [access.kept for access in accesses if access.kept is not None]
    return Plan(
        statement,
        tuple(accesses),
        sorts=bool(sorts),
        sorted_rows=max((float(each.get("r_total_filtered_rows", 0) or 0) for each in sorts), default=None),
        # MariaDB does not say how many rows came out: no more than the fullest table gave.
        returned=max(kept) if kept else None,
    )


def _named(node: Any, name: str) -> Iterator[_Node]:
    if isinstance(node, list):
        for each in node:
            yield from _named(each, name)
    elif isinstance(node, dict):
        for key, child in node.items():
            if key == name:
                yield child
            yield from _named(child, name)


def _accesses(table: _Node, aliases: Mapping[str, str]) -> Iterator[Access]:
    name = aliases.get(table.get("table_name", ""))
    if name is None or "access_type" not in table:
        return
    keys = set(_keys(table))
    kind = _KINDS.get(table["access_type"], AccessKind.LOOK_UP)
    rows, loops = table.get("r_rows"), table.get("r_loops")
    examined = None if rows is None or loops is None else float(rows) * float(loops)
    kept = None if examined is None else examined * float(table.get("r_filtered", 100)) / 100
    estimated = table.get("rows")
    yield Access(
        name,
        kind,
        tuple(sorted(f"pk_{name}" if key == "PRIMARY" else key for key in keys)),
        estimated=None if estimated is None else float(estimated) * float(table.get("filtered", 100)) / 100,
        examined=examined,
        kept=kept,
    )


def _keys(node: Any) -> Iterator[str]:
    """The index, those merged for one access, and those that a row id filter is made of."""
    for key in ("key", "index_merge", "rowid_filter", "range", "union", "intersect", "sort_union", "sort_intersect"):
        child = node.get(key)
        if isinstance(child, str):
            yield child
        for each in child if isinstance(child, list) else [child]:
            if isinstance(each, dict):
                yield from _keys(each)

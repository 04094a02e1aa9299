"""Plans of MariaDB: EXPLAIN FORMAT=JSON, and ANALYZE FORMAT=JSON for statements that only read."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.operations.plans.types import Access, AccessKind, Plan

ESTIMATE = "EXPLAIN FORMAT=JSON"
MEASURE = "ANALYZE FORMAT=JSON"

_Node = Mapping[str, Any]
_KINDS = {"ALL": AccessKind.SCAN, "index": AccessKind.WHOLE_INDEX}
# Where a join has another within it: what makes one of its tables, or is asked for each row.
_OTHER_JOINS = ("materialized", "subqueries", "expression_cache", "union_result")
# Of the whole statement: a part of it ends with a parenthesis.
_LIMIT = re.compile(r" LIMIT (?:%s, )?%s(?: FOR UPDATE(?: SKIP LOCKED)?)?$")


def read_plan(statement: str, answer: str, aliases: Mapping[str, str], limit: int | None = None) -> Plan:
    """The plan in the answer of MariaDB, which names tables by the aliases of the statement.

    `limit` is how many rows the statement asks for at most.
    """
    root = msgspec.json.decode(answer)
    accesses = [access for table in _named(root, "table") for access in _accesses(table, aliases)]
    sorted_rows = [rows for sort in _named(root, "filesort") if (rows := _joined_rows(sort)) is not None]
    kept = [access.kept for access in accesses if access.kept is not None]
    return Plan(
        statement,
        tuple(accesses),
        sorts=any(True for _ in _named(root, "filesort")),
        sorted_rows=max(sorted_rows, default=None),
        # MariaDB does not say how many rows came out: no more than the fullest table gave, or than were asked for.
        returned=min(max(kept), math.inf if limit is None else limit) if kept else None,
    )


def limit_of(sql: str, arguments: Sequence[Any]) -> int | None:
    """How many rows a statement asks for at most, where it says so itself."""
    return int(arguments[-1]) if _LIMIT.search(sql) else None


def _named(node: Any, name: str) -> Iterator[_Node]:
    if isinstance(node, list):
        for each in node:
            yield from _named(each, name)
    elif isinstance(node, dict):
        for key, child in node.items():
            if key == name:
                yield child
            yield from _named(child, name)


def _joined_rows(sort: _Node) -> float | None:
    """How many rows a sort is given: what its join was left with or, where nothing ran, is estimated to be left with.

    MariaDB tells what a sort gives, which is no more than the limit, and not what it takes.
    """
    tables = list(_tables_joined(sort))
    if not tables:
        return None
    last = tables[-1]
    if "r_loops" not in last:
        return math.prod(float(table.get("rows", 1)) * _share(table, "filtered") for table in tables)
    # Each table is read once for each row of those before it; an outer join leaves no fewer rows than it was given.
    is_outer = "trigcond(" in last.get("attached_condition", "")
    return max(_kept(last) or 0.0, float(last["r_loops"]) if is_outer else 0.0)


def _tables_joined(node: Any) -> Iterator[_Node]:
    """The tables of one join, in its order, without what one of them is made of or is asked for each row."""
    if isinstance(node, list):
        for each in node:
            yield from _tables_joined(each)
    elif isinstance(node, dict):
        for key, child in node.items():
            if key == "table":
                yield child
            elif key not in _OTHER_JOINS:
                yield from _tables_joined(child)


def _accesses(table: _Node, aliases: Mapping[str, str]) -> Iterator[Access]:
    name = aliases.get(table.get("table_name", ""))
    if name is None or "access_type" not in table:
        return
    keys = set(_keys(table))
    kind = _KINDS.get(table["access_type"], AccessKind.LOOK_UP)
    estimated = table.get("rows")
    yield Access(
        name,
        kind,
        tuple(sorted(f"pk_{name}" if key == "PRIMARY" else key for key in keys)),
        estimated=None if estimated is None else float(estimated) * _share(table, "filtered"),
        examined=_examined(table),
        kept=_kept(table),
    )


def _examined(table: _Node) -> float | None:
    rows, loops = table.get("r_rows"), table.get("r_loops")
    return None if rows is None or loops is None else float(rows) * float(loops)


def _kept(table: _Node) -> float | None:
    examined = _examined(table)
    return None if examined is None else examined * _share(table, "r_filtered")


def _share(table: _Node, name: str) -> float:
    return float(table.get(name, 100)) / 100


def _keys(node: Any) -> Iterator[str]:
    """The index, those merged for one access, and those that a row id filter is made of."""
    for key in ("key", "index_merge", "rowid_filter", "range", "union", "intersect", "sort_union", "sort_intersect"):
        child = node.get(key)
        if isinstance(child, str):
            yield child
        for each in child if isinstance(child, list) else [child]:
            if isinstance(each, dict):
                yield from _keys(each)

"""What PostgreSQL and MariaDB answer to EXPLAIN, read: sorts, scans, whole indexes, and the rows that were examined."""

import json
from typing import Any

import pytest

from holdfast.operations.plans import mariadb, postgresql
from holdfast.operations.plans.rules import find_faults
from holdfast.operations.plans.types import AccessKind, Plan

_PAGE = "forms.after(all):title"
_PAGE_SQL = "SELECT forms.id FROM forms ORDER BY forms.title, forms.id LIMIT %s"
_SIZES = {"forms": 100_000}
_ALIASES = {"forms": "forms", "writers": "users", "project_list": "project_list"}


def _rules(plan: Plan, sql: str = _PAGE_SQL) -> set[str]:
    return {fault.rule for fault in find_faults(plan, sql, _SIZES, accepted=())}


def _postgresql(root: dict[str, Any]) -> Plan:
    return postgresql.read_plan(_PAGE, json.dumps([{"Plan": root}]))


def _mariadb(block: dict[str, Any], limit: int | None = None) -> Plan:
    return mariadb.read_plan(_PAGE, json.dumps({"query_block": {"select_id": 1, **block}}), _ALIASES, limit)


def _node(kind: str, rows: int, actual: int | None = None, **more: Any) -> dict[str, Any]:
    """A node of PostgreSQL's plan; `actual` rows where the statement ran."""
    measured = {} if actual is None else {"Actual Rows": actual, "Actual Loops": 1}
    return {"Node Type": kind, "Plan Rows": rows, **measured, **more}


def _page_of(sort: str, rows: int, actual: int | None = None, returned: int | None = None) -> dict[str, Any]:
    forms = _node("Index Scan", rows, actual, **{"Relation Name": "forms", "Index Name": "ix_f", "Index Cond": "(x)"})
    return _node("Limit", 21, returned, Plans=[_node(sort, rows, returned, Plans=[forms])])


def test_postgresql_sorts_what_the_node_below_gave() -> None:
    plan = _postgresql(_page_of("Sort", 90_000, actual=42_000, returned=21))
    assert (plan.sorts, plan.sorted_rows, plan.returned) == (True, 42_000, 21)
    assert _rules(plan) == {"sort", "examined"}


def test_postgresql_is_held_to_its_estimate_of_a_sort_where_nothing_ran() -> None:
    plan = _postgresql(_page_of("Sort", 90_000))
    assert (plan.sorted_rows, plan.returned) == (90_000, None)
    (fault,) = find_faults(plan, _PAGE_SQL, _SIZES, accepted=())
    assert fault.sentence == f"{_PAGE} sorts about 90,000 rows for one page: no index has its order"
    assert _rules(_postgresql(_page_of("Sort", 900))) == set()


def test_postgresql_does_not_estimate_a_sort_of_equals_which_ends_with_the_page() -> None:
    estimated = _postgresql(_page_of("Incremental Sort", 90_000))
    assert (estimated.sorts, estimated.sorts_equals, estimated.sorted_rows) == (False, True, None)
    assert _rules(estimated) == set()
    measured = _postgresql(_page_of("Incremental Sort", 90_000, actual=42_000, returned=21))
    assert "sort" in _rules(measured)


@pytest.mark.parametrize(
    ("node", "kind", "rule"),
    [
        (_node("Seq Scan", 5, 5, **{"Rows Removed by Filter": 99_995}), AccessKind.SCAN, "scan"),
        (
            _node("Index Only Scan", 5, 5, **{"Index Name": "ix_f", "Rows Removed by Filter": 99_995}),
            AccessKind.WHOLE_INDEX,
            "whole-index",
        ),
    ],
)
def test_postgresql_counts_what_a_filter_removed_as_examined(node: dict[str, Any], kind: AccessKind, rule: str) -> None:
    plan = _postgresql({**node, "Relation Name": "forms"})
    (access,) = plan.accesses
    assert (access.kind, access.examined, access.kept) == (kind, 100_000, 5)
    assert _rules(plan, sql="SELECT forms.id FROM forms") == {rule, "examined"}


def _table(name: str, access: str, rows: float, *, key: str = "", **more: Any) -> dict[str, Any]:
    chosen = {"key": key} if key else {}
    return {"table_name": name, "access_type": access, "rows": rows, "filtered": 100, **chosen, **more}


def _ran(rows: float, loops: float = 1, share: float = 100) -> dict[str, Any]:
    return {"r_loops": loops, "r_rows": rows, "r_filtered": share}


_SORT_KEY = {"sort_key": "forms.title", "r_loops": 1, "r_limit": 21, "r_used_priority_queue": True, "r_output_rows": 22}


def test_mariadb_sorts_what_the_table_below_kept_and_returns_no_more_than_the_limit() -> None:
    forms = _table("forms", "ref", 50_000, key="ix_f", **_ran(40_000, share=50))
    sorted_file = {"read_sorted_file": {"r_rows": 21, "filesort": {**_SORT_KEY, "table": forms}}}
    writers = _table("writers", "eq_ref", 1, key="PRIMARY", **_ran(1, loops=21))
    plan = _mariadb({"nested_loop": [sorted_file, {"table": writers}]}, limit=21)
    assert (plan.sorts, plan.sorted_rows, plan.returned) == (True, 20_000, 21)
    assert [(each.examined, each.kept) for each in plan.accesses] == [(40_000, 20_000), (21, 21)]
    assert plan.accesses[1].indexes == ("pk_users",)
    assert _rules(plan) == {"sort", "examined"}
    (_, sort) = find_faults(plan, _PAGE_SQL, _SIZES, accepted=())
    assert sort.sentence == f"{_PAGE} sorts 20,000 rows for one page: no index has its order"


def _joined(*tables: dict[str, Any], **more: Any) -> dict[str, Any]:
    loop = [{"table": table} for table in tables]
    return {"filesort": {"sort_key": "forms.title", "temporary_table": {"nested_loop": loop, **more}}}


def test_mariadb_sorts_what_its_whole_join_left() -> None:
    forms = _table("forms", "ref", 50_000, key="ix_f", **_ran(40_000))
    inner = _table("writers", "eq_ref", 1, key="PRIMARY", **_ran(1, loops=40_000, share=1))
    assert _mariadb(_joined(forms, inner)).sorted_rows == 400
    # An outer join keeps rows for which it finds nothing.
    outer = _table("project_list", "eq_ref", 1, key="PRIMARY", **_ran(0.1, loops=40_000))
    outer["attached_condition"] = "trigcond(trigcond(forms.project_id is not null))"
    assert _mariadb(_joined(forms, outer)).sorted_rows == 40_000


def test_mariadb_does_not_take_rows_of_a_subquery_for_those_that_are_sorted() -> None:
    asked = _table("writers", "ref", 9_000, key="ix_u", **_ran(9_000))
    derived = _table("<derived2>", "ALL", 30, **_ran(30))
    derived["materialized"] = {"query_block": {"nested_loop": [{"table": asked}]}}
    plan = _mariadb(_joined(derived, subqueries=[{"query_block": {"nested_loop": [{"table": asked}]}}]))
    assert plan.sorted_rows == 30


def test_mariadb_is_held_to_its_estimate_of_a_sort_where_nothing_ran() -> None:
    plan = _mariadb(_joined(_table("forms", "ALL", 90_000) | {"filtered": 50}, _table("writers", "eq_ref", 1)), 21)
    assert (plan.sorted_rows, plan.returned) == (45_000, None)
    assert "sort" in _rules(plan)


def test_mariadb_names_a_scan_and_a_whole_index() -> None:
    scan = _mariadb({"nested_loop": [{"table": _table("forms", "ALL", 100_000, **_ran(100_000, share=0.005))}]})
    assert _rules(scan, sql="SELECT forms.id FROM forms") == {"scan", "examined"}
    index = _table("forms", "index", 100_000, key="ix_f", **_ran(100_000, share=0.005))
    whole = _mariadb({"nested_loop": [{"table": index}]})
    assert _rules(whole, sql="SELECT forms.id FROM forms") == {"whole-index", "examined"}


def test_a_table_that_mariadb_never_reached_was_not_sorted() -> None:
    never = _table("forms", "ALL", 100_000, r_loops=0, r_rows=None)
    plan = _mariadb(_joined(never))
    assert plan.sorted_rows == 0
    assert plan.accesses[0].examined is None


@pytest.mark.parametrize(
    ("sql", "limit"),
    [
        (_PAGE_SQL, 21),
        (_PAGE_SQL + " FOR UPDATE SKIP LOCKED", 21),
        ("SELECT forms.id FROM forms LIMIT %s, %s", 21),
        ("SELECT count(*) FROM (SELECT id FROM forms WHERE title = %s LIMIT %s) AS few", None),
        ("SELECT forms.id FROM forms WHERE id = %s", None),
    ],
)
def test_the_limit_of_a_statement_is_that_of_the_whole(sql: str, limit: int | None) -> None:
    assert mariadb.limit_of(sql, ["x", 21]) == limit

"""What a plan must not do, and which statements may do it all the same, each with the reason beside it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from holdfast.operations.plans.accepted import ACCEPTED, Accepted
from holdfast.operations.plans.types import Access, AccessKind, Fault, Plan

LARGE_TABLE_ROWS = 10_000
# Rows examined for each row returned.
MOST_EXAMINED = 20
# Less work than this is no suffering, whatever came of it.
UNNOTICED_ROWS = 1_000


def find_faults(
    plan: Plan,
    sql: str,
    sizes: Mapping[str, int],
    large: int = LARGE_TABLE_ROWS,
    accepted: Sequence[Accepted] = ACCEPTED,
) -> list[Fault]:
    """What would make the statement suffer; `sizes` are the rows of each table, `large` from when on they count."""
    found = [
        *_scans(plan, sizes, large),
        *_unlimited_indexes(plan, sql, sizes, large),
        *_examined(plan),
        *_sorts(plan),
    ]
    return [
        Fault(plan.statement, rule, sentence, accepted_because(plan.statement, rule, accepted))
        for rule, sentence in found
    ]


def accepted_because(statement: str, rule: str, accepted: Sequence[Accepted] = ACCEPTED) -> str:
    """Why the statement may break the rule; empty where it may not."""
    for each in accepted:
        if rule in each.rules and re.fullmatch(each.statements, statement):
            return each.reason
    return ""


def _scans(plan: Plan, sizes: Mapping[str, int], large: int) -> Iterator[tuple[str, str]]:
    for each in plan.accesses:
        size = sizes.get(each.table, 0)
        if each.kind is AccessKind.SCAN and size >= large and not _wants_most(each, size):
            yield "scan", f"{plan.statement} reads all of {each.table}, {size:,} rows: no index helps it"


def _unlimited_indexes(plan: Plan, sql: str, sizes: Mapping[str, int], large: int) -> Iterator[tuple[str, str]]:
    """An index read from its beginning ends early only where the statement asks for a page in its order."""
    if " LIMIT " in sql and not plan.sorts:
        return
    for each in plan.accesses:
        size = sizes.get(each.table, 0)
        if each.kind is AccessKind.WHOLE_INDEX and size >= large and not _wants_most(each, size):
            names = " + ".join(each.indexes)
            yield "whole-index", f"{plan.statement} reads the whole index {names} of {each.table}, {size:,} entries"


def _wants_most(access: Access, size: int) -> bool:
    """Whether the statement needs so many of the rows that reading all of them is the best that can be done."""
    wanted = access.estimated if access.kept is None else access.kept
    return wanted is not None and wanted * MOST_EXAMINED >= size


def _examined(plan: Plan) -> Iterator[tuple[str, str]]:
    examined = sum(access.examined or 0 for access in plan.accesses)
    if plan.returned is None or examined <= max(UNNOTICED_ROWS, MOST_EXAMINED * plan.returned):
        return
    yield "examined", f"{plan.statement} examines {examined:,.0f} rows to return {plan.returned:,.0f}"


def _sorts(plan: Plan) -> Iterator[tuple[str, str]]:
    """A page by cursor must come out of an index in its order: a sort reads all that is left of the list for it."""
    if ".after(" not in plan.statement or not (plan.sorts or (plan.sorts_equals and plan.sorted_rows is not None)):
        return
    if plan.sorted_rows is None or plan.sorted_rows > UNNOTICED_ROWS:
        told = (
            "rows"
            if plan.sorted_rows is None
            else f"{'about ' if plan.returned is None else ''}{plan.sorted_rows:,.0f} rows"
        )
        yield "sort", f"{plan.statement} sorts {told} for one page: no index has its order"

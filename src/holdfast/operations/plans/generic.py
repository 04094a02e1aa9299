"""Generic plans of PostgreSQL: those that it keeps for a prepared statement, whatever the parameters.

A prepared statement is planned anew at its first five runs. From then on PostgreSQL keeps one plan made without the
parameters, where its cost seems no higher than theirs was on average. Such a plan may be right for common values and
read far too much for rare ones, or the other way round, so what PostgreSQL would keep is reviewed with both.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import ConstraintViolationError
from holdfast.db.statements import CompiledStatement, Statement
from holdfast.operations.plans import postgresql
from holdfast.operations.plans.accepted import ACCEPTED, ACCEPTED_GENERIC
from holdfast.operations.plans.explain import compiled_without_total
from holdfast.operations.plans.parameters import Drawing, draw_samples, rare_samples
from holdfast.operations.plans.review import Review, table_sizes, undone
from holdfast.operations.plans.rules import LARGE_TABLE_ROWS, find_faults
from holdfast.operations.plans.types import Plan

# After so many runs PostgreSQL compares (choose_custom_plan in its plancache.c).
_RUNS_BEFORE = 5
_NAME = "holdfast_plan_review"
# The planner alone: the runs before it decides need not run.
_PLAN_ONLY = "EXPLAIN (COSTS OFF)"


async def review_generic_plans(
    database: Database, statements: Iterable[Statement], *, large: int = LARGE_TABLE_ROWS
) -> Review:
    """Review the generic plans that PostgreSQL would keep; a statement that keeps none is left out.

    They run, with frequent values and with rare ones, and what they change is rolled back. INSERTs are left out: they
    have one plan.
    """
    async with database.read() as tx:
        samples = await draw_samples(tx)
        review = Review(await table_sizes(tx), {}, [])
    accepted = (*ACCEPTED, *ACCEPTED_GENERIC)
    drawings = (Drawing(samples), Drawing(rare_samples(samples)))
    for statement in statements:
        # Values that a constraint refuses tell nothing.
        with contextlib.suppress(ConstraintViolationError):
            for plan in await _kept_plans(database, statement, drawings):
                review.plans[statement.name] = plan
                sql = statement.compiled("postgresql").sql
                review.faults += find_faults(plan, sql, review.sizes, large, accepted)
    return review


async def _kept_plans(database: Database, statement: Statement, drawings: Iterable[Drawing]) -> list[Plan]:
    """The generic plan as it ran with each of the drawings; none where PostgreSQL would not keep it."""
    compiled = compiled_without_total(statement, "postgresql")
    if not compiled.positions or compiled.sql.startswith("INSERT"):
        return []
    runs = [_execute(compiled.arguments(each.parameters_of(statement, "postgresql"))) for each in drawings]
    async with undone(database) as tx:
        if not [run for run in runs if await _keeps_generic_plan(tx, compiled, run)]:
            return []
        async with _prepared(tx, compiled):
            await tx.fetch_text("SET LOCAL plan_cache_mode = force_generic_plan")
            answers = [await tx.fetch_text(f"{postgresql.MEASURE} {run}") for run in runs]
    return [postgresql.read_plan(statement.name, answer) for ((answer,),) in answers]


async def _keeps_generic_plan(tx: Transaction, compiled: CompiledStatement, execute: str) -> bool:
    """Whether PostgreSQL keeps a generic plan after some runs with these values."""
    async with _prepared(tx, compiled):
        for _ in range(_RUNS_BEFORE + 1):
            await tx.fetch_text(f"{_PLAN_ONLY} {execute}")
        ((generic_plans,),) = await tx.fetch_text(
            f"SELECT generic_plans FROM pg_prepared_statements WHERE name = '{_NAME}'"  # noqa: S608
        )
    return bool(generic_plans)


@asynccontextmanager
async def _prepared(tx: Transaction, compiled: CompiledStatement) -> AsyncIterator[None]:
    """The statement prepared under a name: prepared statements outlive a transaction that is rolled back."""
    await tx.fetch_text("SAVEPOINT before_review")
    await tx.fetch_text(f"PREPARE {_NAME} AS {compiled.sql}")
    try:
        yield
    except ConstraintViolationError:
        await tx.fetch_text("ROLLBACK TO before_review")
        raise
    finally:
        await tx.fetch_text(f"DEALLOCATE {_NAME}")


def _execute(arguments: Sequence[Any]) -> str:
    """EXECUTE takes no parameters of its own, so that they are written out."""
    written = ", ".join(map(_literal, arguments))
    return f"EXECUTE {_NAME}({written})"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list | tuple):
        items = (str(each).replace("\\", "\\\\").replace('"', '\\"') for each in value)
        return _literal("{" + ",".join(f'"{each}"' for each in items) + "}")
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    quoted = text.replace("'", "''")
    return f"'{quoted}'"

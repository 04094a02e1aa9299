"""The review: the plan and the faults of every statement on one database."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import msgspec

from holdfast.db.engines.base import Database, Transaction
from holdfast.db.errors import ConstraintViolationError
from holdfast.db.statements import Command, Statement
from holdfast.db.tables import metadata
from holdfast.operations.plans.accepted import ACCEPTED, ACCEPTED_ON_MARIADB
from holdfast.operations.plans.explain import Explainer, find_sqlite_indexes
from holdfast.operations.plans.parameters import draw_samples
from holdfast.operations.plans.rules import LARGE_TABLE_ROWS, find_faults
from holdfast.operations.plans.types import Fault, Plan


class Review(msgspec.Struct):
    """What was found: every plan by its statement, and every fault, the accepted ones included."""

    sizes: dict[str, int]
    plans: dict[str, Plan]
    faults: list[Fault]

    @property
    def suffering(self) -> list[Fault]:
        """The faults that nobody accepted."""
        return [fault for fault in self.faults if not fault.accepted_because]


class _UndoneError(Exception):
    pass


async def review_estimates(
    database: Database, statements: Iterable[Statement], *, large: int = LARGE_TABLE_ROWS
) -> Review:
    """Review without running any statement: nothing is locked and nothing changes, also on a busy database."""
    async with database.read() as tx:
        explainer, review = await _begin(tx)
        for statement in statements:
            _take_in(review, await explainer.estimate(statement), statement, tx.dialect_name, large)
    return review


async def review_measures(
    database: Database, statements: Iterable[Statement], *, large: int = LARGE_TABLE_ROWS
) -> Review:
    """Review with the rows that are really read: the statements run, and what they change is rolled back."""
    async with database.read() as tx:
        explainer, review = await _begin(tx)
        for statement in statements:
            if isinstance(statement, Command):
                plan = await _measure_command(database, explainer, statement)
            else:
                plan = await explainer.measure(statement)
            _take_in(review, plan, statement, tx.dialect_name, large)
    return review


async def table_sizes(tx: Transaction) -> dict[str, int]:
    """About how many rows each table has, as far as the engine knows without counting them."""
    match tx.dialect_name:
        case "postgresql":
            rows = await tx.fetch_text(
                "SELECT relname, reltuples::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace ="
                " current_schema()::regnamespace"
            )
        case "mariadb":
            rows = await tx.fetch_text(
                "SELECT table_name, table_rows FROM information_schema.tables WHERE table_schema = DATABASE()"
            )
        case _:
            names = [table.name for table in metadata.sorted_tables]
            counts = " UNION ALL ".join(f"SELECT '{name}', max(rowid) FROM {name}" for name in names)  # noqa: S608
            rows = await tx.fetch_text(counts)
    return {name: int(count or 0) for name, count in rows if name in metadata.tables}


async def _begin(tx: Transaction) -> tuple[Explainer, Review]:
    explainer = Explainer(tx, await draw_samples(tx), await find_sqlite_indexes(tx))
    return explainer, Review(await table_sizes(tx), {}, [])


async def _measure_command(database: Database, explainer: Explainer, command: Command) -> Plan:
    """In a transaction of its own that is rolled back.

    An INSERT is only estimated, because its row may be there already, and so is what the drawn values do not suit.
    """
    if not command.compiled(database.dialect_name).sql.startswith("INSERT"):
        with contextlib.suppress(ConstraintViolationError):
            async with undone(database) as tx:
                return await explainer.on(tx).measure(command)
    return await explainer.estimate(command)


@asynccontextmanager
async def undone(database: Database) -> AsyncIterator[Transaction]:
    """A transaction that is rolled back at the end of the block."""
    with contextlib.suppress(_UndoneError):
        async with database.write() as tx:
            yield tx
            raise _UndoneError


def _take_in(review: Review, plan: Plan, statement: Statement, dialect_name: str, large: int) -> None:
    review.plans[statement.name] = plan
    accepted = (*ACCEPTED, *ACCEPTED_ON_MARIADB) if dialect_name == "mariadb" else ACCEPTED
    review.faults += find_faults(plan, statement.compiled(dialect_name).sql, review.sizes, large, accepted)

"""The reviewed plans of every statement, and the rules that each plan must keep (seed 3.1, 4.1, 8).

SQLite plans from the schema alone, so its review is part of the everyday tests; the servers need a hundred thousand
rows in the large tables for a plan that says anything.
"""

from pathlib import Path

import pytest

from holdfast.db.engines.base import Database
from holdfast.db.statements import Command
from holdfast.operations.plans.accepted import ACCEPTED, ACCEPTED_GENERIC, ACCEPTED_ON_MARIADB
from holdfast.operations.plans.generic import review_generic_plans
from holdfast.operations.plans.review import Review, review_estimates, review_measures
from holdfast.operations.plans.rules import accepted_because
from holdfast.operations.plans.statements import declared_statements, list_variants
from holdfast.operations.plans.text import write_plans
from tests.operations.plans.conftest import SERVERS
from tests.rules.golden import assert_golden

# The plans of another version of an engine may differ without being worse.
_REVIEWED_VERSIONS = {"sqlite": "3.53", "postgresql": "18", "mariadb": "10.11"}
_VERSION = {"sqlite": "SELECT sqlite_version()", "postgresql": "SHOW server_version", "mariadb": "SELECT version()"}


@pytest.fixture(scope="module")
async def review(populated: Database) -> Review:
    """Every statement measured, and the lists with several filters at once estimated.

    What writes comes last: though it is rolled back, PostgreSQL's tables have grown, and plans of like cost may turn.
    """
    statements = [*declared_statements(), *list_variants()]
    reads = [each for each in statements if not isinstance(each, Command)]
    measured = await review_measures(populated, reads)
    more = [each for each in list_variants(None) if each.name not in measured.plans]
    estimated = await review_estimates(populated, more)
    written = await review_measures(populated, [each for each in statements if isinstance(each, Command)])
    parts = (measured, estimated, written)
    plans = {name: plan for part in parts for name, plan in part.plans.items()}
    return Review(measured.sizes, plans, [fault for part in parts for fault in part.faults])


@pytest.mark.conformance("I-59", "Q-03")
async def test_no_statement_suffers_as_its_tables_grow(review: Review) -> None:
    told = [f"  {fault.sentence}" for fault in review.suffering]
    assert not told, (
        "give these statements an index, or another form; what may be so by its nature is named, with the reason, in"
        " operations/plans/accepted.py:\n" + "\n".join(told)
    )


async def test_the_plans_are_the_reviewed_ones(populated: Database, review: Review) -> None:
    async with populated.read() as tx:
        ((version,),) = await tx.fetch_text(_VERSION[populated.dialect_name])
    if not str(version).startswith(_REVIEWED_VERSIONS[populated.dialect_name]):
        pytest.skip(f"the plans of {populated.dialect_name} {version} were not reviewed")
    assert_golden(f"plans/{populated.dialect_name}.txt", write_plans(review.plans))


@pytest.mark.conformance("I-59")
@pytest.mark.parametrize("populated", [SERVERS[0]], indirect=True)
async def test_no_plan_that_postgresql_keeps_for_all_values_suffers(populated: Database) -> None:
    """A statement prepared once may run by a plan made without its parameters, from the sixth run on."""
    generic = await review_generic_plans(populated, [*declared_statements(), *list_variants()])
    assert len(generic.plans) > 500
    told = [f"  by its generic plan {fault.sentence}" for fault in generic.suffering]
    assert not told, (
        "give these statements an index that serves any value, or another form; what may be so by its nature is named,"
        " with the reason, in ACCEPTED_GENERIC of operations/plans/accepted.py:\n" + "\n".join(told)
    )


async def test_the_review_saw_large_tables(review: Review) -> None:
    assert {name for name, rows in review.sizes.items() if rows >= 90_000} >= {
        "forms",
        "form_messages",
        "audit_logs",
        "course_workloads",
    }
    assert len(review.plans) > 4_000


def test_what_is_accepted_is_still_there() -> None:
    names = [statement.name for statement in (*declared_statements(), *list_variants(None))]
    for each in (*ACCEPTED, *ACCEPTED_ON_MARIADB, *ACCEPTED_GENERIC):
        assert each.reason
        assert any(accepted_because(name, rule, (each,)) == each.reason for name in names for rule in each.rules), (
            f"no statement is called {each.statements} any more: take it out of operations/plans/accepted.py"
        )


def test_the_reviewed_files_are_there() -> None:
    folder = Path(__file__).parents[2] / "golden" / "plans"
    assert {path.stem for path in folder.iterdir()} == {"sqlite", "postgresql", "mariadb"}

"""`holdfast plans`: which statements would suffer on this database, and why."""

import asyncio
import os
from typing import Annotated

import msgspec
import typer

from holdfast.cli import terminal
from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.db.migrate import check_schema
from holdfast.db.open import open_database
from holdfast.operations.plans.review import Review, review_estimates
from holdfast.operations.plans.statements import FEW_FILTERS, declared_statements, list_variants
from holdfast.settings import Settings, load_settings


def plans(
    statement: Annotated[str, typer.Argument(help="Only statements whose name begins so, such as forms.list.")] = "",
    *,
    every_filter: Annotated[
        bool, typer.Option("--all", help="Also lists with several filters at once: thousands of statements.")
    ] = False,
    accepted: Annotated[
        bool, typer.Option("--accepted", help="Also tell what may break a rule, and the reason.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every plan and finding as JSON.")] = False,
) -> None:
    """Ask the database how it would carry out each statement of Holdfast, and tell those that would suffer.

    It only reads: statements are explained, not run. Suffering is a full scan of a large table, a page that sorts
    what an index should order, or an index read from end to end. The exit code is 1 where a statement suffers.

    Example: holdfast plans forms.list --all
    """
    settings = load_settings(os.environ)
    configure_logs("error", "text")
    review = asyncio.run(_review(settings, statement, every_filter=every_filter))
    if as_json:
        terminal.print_json(_as_json(review))
    else:
        _show(review, accepted=accepted)
    if review.suffering:
        raise typer.Exit(1)


async def _review(settings: Settings, beginning: str, *, every_filter: bool) -> Review:
    await check_schema(parse_address(settings.resolved_database_url))
    database = open_database(msgspec.structs.replace(settings, slow_statement_seconds=60))
    statements = [*declared_statements(), *list_variants(None if every_filter else FEW_FILTERS)]
    async with database.running():
        return await review_estimates(database, [each for each in statements if each.name.startswith(beginning)])


def _as_json(review: Review) -> object:
    plans = {name: plan.words for name, plan in review.plans.items()}
    return msgspec.to_builtins({"rows": review.sizes, "plans": plans, "findings": review.faults})


def _show(review: Review, *, accepted: bool) -> None:
    if len(review.plans) == 1:
        (plan,) = review.plans.values()
        terminal.print_sentence(f"{plan.statement}: {plan.words}")
    for fault in review.faults:
        if not fault.accepted_because:
            terminal.print_sentence(fault.sentence + ".")
        elif accepted:
            terminal.print_sentence(f"{fault.sentence}. Accepted: {fault.accepted_because}.")
    rows = sum(review.sizes.values())
    found = len({fault.statement for fault in review.suffering})
    told = "none would suffer" if not found else f"{found:,} would suffer"
    terminal.print_sentence(f"{len(review.plans):,} statements on about {rows:,} rows: {told}.")

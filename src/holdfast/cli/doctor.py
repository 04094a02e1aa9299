"""`holdfast doctor`: check everything that must hold in an instance, and cure what can be cured."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from holdfast.cli import terminal
from holdfast.core.errors import HoldfastError, InvalidInputError
from holdfast.core.logs import configure_logs
from holdfast.db.open import open_database
from holdfast.operations.doctor.examination import apply_cures, chosen, chosen_cures, examine, keep, plan_cures
from holdfast.operations.doctor.registry import CHECKS
from holdfast.operations.doctor.types import Change, Finding, Report, Severity, Subject
from holdfast.settings import load_settings
from holdfast.worker.registry import intervals_of

_ONE_STATEMENT_SECONDS = 3600


def doctor(
    *,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CHECK", help="Make only this check; may come again.")
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option("--fix", metavar="CHECK", help="Cure what this check finds, or `all`; may come again."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --fix: say what would change, row by row, and change nothing.")
    ] = False,
    list_checks: Annotated[bool, typer.Option("--list", help="Name all checks, and which have a cure.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check everything that must hold: schema, keys, deletions, bundles, audit log, quotas, jobs, the engine itself.

    It reads the database of the settings, on this machine, beside a server that runs. Without --fix nothing is changed;
    what a cure removes is written to a verified file first. The exit code is 1 where an error is found.

    Example: holdfast doctor --fix orphans --dry-run
    """
    if list_checks:
        _list(as_json=as_json)
        return
    chosen(only or ())
    cures = chosen_cures(fix or ()) if fix else []
    if dry_run and not cures:
        raise InvalidInputError("--dry-run says what a cure would change: name one with --fix, or --fix all")
    configure_logs("error", "text")
    report, changes = asyncio.run(_run(only or [], fix or [], dry_run=dry_run, as_json=as_json))
    if as_json:
        terminal.print_json(_as_json(report, changes))
    elif report is not None:
        _show(report)
    if report is not None and report.has_errors:
        raise typer.Exit(1)


async def _run(
    only: list[str], fix: list[str], *, dry_run: bool, as_json: bool
) -> tuple[Report | None, list[Change] | None]:
    async with _opened() as subject:
        if fix and dry_run:
            return None, await _told(plan_cures(subject, fix), as_json=as_json)
        changes = await _told(apply_cures(subject, fix), as_json=as_json) if fix else None
        with _progress() as progress:
            task = progress.add_task("", total=1.0)
            report = await examine(
                subject,
                only,
                progress=lambda share, name: progress.update(task, completed=share, description=name.replace("_", " ")),
            )
        if not only:
            # A database that lacks its tables, or may not be written to, keeps no report.
            with suppress(HoldfastError):
                await keep(subject, report)
        return report, changes


@asynccontextmanager
async def _opened() -> AsyncIterator[Subject]:
    settings = load_settings(os.environ)
    # The schema is one of the things that are checked: nothing is refused before.
    patient = msgspec.structs.replace(
        settings,
        slow_statement_seconds=_ONE_STATEMENT_SECONDS,
        statement_timeout_seconds=_ONE_STATEMENT_SECONDS,
        deletion_timeout_seconds=_ONE_STATEMENT_SECONDS,
    )
    periodic = {name: every for name, every in intervals_of(settings).items() if every is not None}
    async with open_database(patient).running() as database:
        yield Subject(database=database, settings=settings, periodic=periodic)


async def _told(changes: AsyncIterator[Change], *, as_json: bool) -> list[Change]:
    """All changes, each shown as it comes."""
    made: list[Change] = []
    async for change in changes:
        made.append(change)
        if not as_json:
            table = "" if change.table is None else f"{change.table}: "
            terminal.print_sentence(f"{change.check}: {table}{change.done}")
            for row in change.rows:
                terminal.print_sentence(f"  {row}")
    if not made and not as_json:
        terminal.print_sentence("There is nothing to cure.")
    return made


def _progress() -> Progress:
    columns: tuple[Any, ...] = (TextColumn("{task.description:24}"), BarColumn(), TaskProgressColumn())
    return Progress(*columns, console=terminal.error_output(), transient=True, disable=not sys.stderr.isatty())


def _as_json(report: Report | None, changes: list[Change] | None) -> dict[str, Any]:
    shown: dict[str, Any] = {} if report is None else msgspec.to_builtins(report)
    return shown if changes is None else shown | {"changes": msgspec.to_builtins(changes)}


def _show(report: Report) -> None:
    for finding in report.findings:
        _show_finding(finding)
    for name, reason in report.left_out.items():
        if not reason.startswith("it is for"):
            terminal.print_sentence(f"{name} was not checked: {reason}.")
    seconds = (report.finished_at - report.started_at).total_seconds()
    checked = f"{len(report.checks)} checks in {seconds:.1f} seconds"
    if report.findings:
        found = ", ".join(f"{report.counts[each]} {each}{'' if report.counts[each] == 1 else 's'}" for each in Severity)
        terminal.print_sentence(f"{checked}: {found}.")
    else:
        terminal.print_sentence(f"{checked}: nothing found.")


def _show_finding(finding: Finding) -> None:
    terminal.print_sentence(f"{finding.severity}: {finding.check}: {finding.message}.")
    if finding.rows:
        more = f" … and {finding.count - len(finding.rows):,} more" if finding.count > len(finding.rows) else ""
        table = "" if finding.table is None else f"{finding.table}: "
        terminal.print_sentence(f"  {table}{', '.join(finding.rows)}{more}")
    if finding.fix is not None:
        terminal.print_sentence(f"  cure: holdfast doctor --fix {finding.fix}")


def _list(*, as_json: bool) -> None:
    rows = [
        {"check": each.name, "cure": each.cure is not None, "engines": list(each.dialects), "holds when": each.summary}
        for each in CHECKS
    ]
    if as_json:
        terminal.print_json(rows)
    else:
        terminal.print_table(rows, ("check", "cure", "holds when"), ("engines",))

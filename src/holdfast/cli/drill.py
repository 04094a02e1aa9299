"""`holdfast drill`: prove that the newest backup can be brought back."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from holdfast.cli import terminal
from holdfast.core.logs import configure_logs
from holdfast.operations.drill.service import run_drill
from holdfast.operations.drill.types import DrillReport
from holdfast.settings import load_settings


def drill(
    *,
    backup: Annotated[
        str, typer.Option("--backup", metavar="BACKUP", help="Another one than the newest: its id, or how it begins.")
    ] = "newest",
    identity: Annotated[
        Path | None, typer.Option("--identity", metavar="FILE", help="The secret key, for an encrypted backup.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Restore the newest backup to a scratch database, look through it, serve it for a moment, and drop it again.

    The real database is only read; the drill is recorded there. The scratch database is a file on SQLite, and on the
    servers a database beside the real one, or the one that HOLDFAST_DRILL_DATABASE_URL names. The exit code is 1 where
    a single doubt came up, and each doubt is named.

    Example: holdfast drill --json
    """
    settings = load_settings(os.environ)
    configure_logs("error", "text")
    quiet = msgspec.structs.replace(settings, slow_statement_seconds=86_400)
    with _progress() as progress:
        report = asyncio.run(run_drill(quiet, backup=backup, identities=identity, progress=progress))
    if as_json:
        terminal.print_json(msgspec.to_builtins(report))
    else:
        _show(report)
    if not report.passed:
        raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator[Any]:
    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    bar = Progress(*columns, console=terminal.error_output(), transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task("Beginning", total=None)
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)


def _show(report: DrillReport) -> None:
    facts = {
        "backup": report.backup_id,
        "made_at": None if report.made_at is None else report.made_at.isoformat(),
        "rows": None if report.rows is None else _told_rows(report),
        "bundles": report.bundles,
        "sentinel": "found" if report.sentinel_found else "not found",
        "invariants": f"{len(report.checks)} checked" if report.checks else None,
        "RPO": None if report.rpo_seconds is None else _told_rpo(report),
        "RTO": None
        if report.rto_seconds is None
        else f"{report.rto_seconds:.1f} s from nothing to a server that answers",
        "steps": ", ".join(f"{step} {seconds:.1f} s" for step, seconds in report.steps.items()),
    }
    terminal.print_record(facts, tuple(facts))
    for remark in report.remarks:
        terminal.print_note(f"Worth knowing: {remark}")
    if report.passed:
        terminal.print_sentence("\nThe backup was restored without any doubt.")
        return
    terminal.print_sentence(f"\n{len(report.doubts)} doubts: do not rely on this backup.")
    for doubt in report.doubts:
        terminal.print_sentence(f"  {doubt.step}: {doubt.message}")


def _told_rows(report: DrillReport) -> str:
    return f"{report.rows:,}, {f'compared by {report.compared}' if report.compared else 'not compared'}"


def _told_rpo(report: DrillReport) -> str:
    return (
        f"{report.rpo_seconds:,.1f} s old, {report.writes_at_risk:,} audited writes since: what a loss now would cost"
    )

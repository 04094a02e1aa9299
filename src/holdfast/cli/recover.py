"""`holdfast recover`: bring a purged deletion back from its recovery bundle."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from holdfast.cli import terminal
from holdfast.cli.failures import CommandFailedError
from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.db.lifecycle.recover import Recovery, RecoveryRefusedError
from holdfast.db.lifecycle.recover_rows import RecoveryConflict
from holdfast.db.migrate import check_schema
from holdfast.db.open import open_database
from holdfast.features.deletions import recovery
from holdfast.settings import Settings, load_settings

_SHOWN_CONFLICTS = 20


def recover(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's file, in HOLDFAST_BUNDLE_DIR.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Check a recovery bundle and put its rows back: those that were purged, and the pointers to them.

    It writes to the database of the settings, on this machine; the server may run. The bundle may come from another
    engine. What stands against it is told before anything is written. Interrupted, it is simply run again.

    Example: holdfast recover data/bundles/AP74QLvNa4LPHsTIzKQyO.bundle.zip --dry-run
    """
    settings = load_settings(os.environ)
    configure_logs("error", "text")
    try:
        done = asyncio.run(_run(settings, bundle, dry_run=dry_run))
    except RecoveryRefusedError as error:
        raise CommandFailedError(
            error.message, lines=_lines(error.details.get("conflicts", [])), code=error.code
        ) from None
    if as_json:
        terminal.print_json(msgspec.to_builtins(done))
    else:
        _show(done, dry_run=dry_run)
    if done.conflicts:
        raise typer.Exit(1)


async def _run(settings: Settings, bundle: Path, *, dry_run: bool) -> Recovery:
    await check_schema(parse_address(settings.resolved_database_url))
    # The last transaction makes all rows live at once.
    database = open_database(
        msgspec.structs.replace(settings, slow_statement_seconds=60, statement_timeout_seconds=3600)
    )
    work = recovery.check_recovery if dry_run else recovery.recover
    async with database.running():
        with _progress() as progress:
            task = progress.add_task("Checking" if dry_run else "Recovering", total=1.0)
            return await work(database, bundle, progress=lambda share: progress.update(task, completed=share))


def _progress() -> Progress:
    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    return Progress(*columns, console=terminal.error_output(), transient=True, disable=not sys.stderr.isatty())


def _show(done: Recovery, *, dry_run: bool) -> None:
    what = f"{done.root_type} {done.root_label or done.root_id} (deletion {done.deletion_id})"
    if done.was_recovered:
        terminal.print_sentence(f"{what} is restored already; nothing was changed.")
        return
    tables = sorted(done.inserted.keys() | done.present.keys() | done.live.keys())
    terminal.print_table(
        [
            {
                "table": name,
                "inserted": f"{done.inserted.get(name, 0):,}",
                "there already": f"{done.present.get(name, 0):,}",
                "live again": f"{done.live.get(name, 0):,}",
            }
            for name in tables
        ],
        ("table", "inserted", "there already", "live again"),
    )
    for column, count in done.pointers.items():
        terminal.print_sentence(f"{column}: {count:,} rows point to it again.")
    for column, count in done.emptied.items():
        terminal.print_sentence(f"{column}: left empty in {count:,} rows, because what they pointed to is gone.")
    for table, count in done.left.items():
        terminal.print_sentence(f"{table}: {count:,} rows that other deletions took come back with those.")
    if done.conflicts:
        terminal.print_sentence(f"\n{what} cannot be recovered now:")
        for line in _lines(done.conflicts):
            terminal.print_sentence(f"  {line}")
    elif dry_run:
        terminal.print_sentence(f"\n{what} can be recovered; nothing was changed.")
    else:
        terminal.print_sentence(f"\n{what} is recovered.")


def _lines(conflicts: list[RecoveryConflict]) -> list[str]:
    lines = [f"{each.table} {each.key}: {each.message}" for each in conflicts[:_SHOWN_CONFLICTS]]
    if len(conflicts) > _SHOWN_CONFLICTS:
        lines.append(f"… and {len(conflicts) - _SHOWN_CONFLICTS} more")
    return lines

"""`holdfast legacy`: look at a database of the older schema with integer keys, and import it."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from holdfast.cli import terminal
from holdfast.cli.failures import CommandFailedError
from holdfast.core.logs import configure_logs
from holdfast.operations.legacy import importing, inspecting
from holdfast.operations.legacy.importing import LegacyReport
from holdfast.operations.legacy.report import Finding, Report
from holdfast.operations.legacy.types import Options, Orphans
from holdfast.settings import Settings, load_settings

application = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Look at a database of the older schema, and import it."
)

UrlArgument = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="The older database: postgresql://…, mariadb://… or sqlite:///…; it is only read."
    ),
]
KindOption = Annotated[
    list[str] | None,
    typer.Option("--allow-kind", metavar="KIND", help="Keep objects of this kind, which Holdfast does not know."),
]
ZoneOption = Annotated[
    str, typer.Option("--time-zone", metavar="NAME", help="The zone of times without one, such as Asia/Taipei.")
]
OrphansOption = Annotated[
    Orphans,
    typer.Option("--orphans", help="Rows whose project or group is gone: leave them out, or attach them to one."),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write every change and every row left out there, as JSON lines."),
]
NameOption = Annotated[
    str | None,
    typer.Option("--source", metavar="NAME", help="The installation's name in the key map, if not its database's."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print what was found or done as JSON.")]


@application.command("inspect")
def inspect_database(
    url: UrlArgument,
    *,
    allow_kind: KindOption = None,
    time_zone: ZoneOption = "UTC",
    orphans: OrphansOption = Orphans.DROP,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which of the older schemas it is, what is in it, what is wrong with it, and what would become of each row.

    It reads every row and applies every rule of an import into an empty Holdfast. It writes nothing, neither there nor
    to the database of the settings.

    Example: holdfast legacy inspect postgresql://reader:secret@db.example.org/platform
    """
    configure_logs("error", "text")
    options = _options(allow_kind, time_zone, orphans)
    with _progress() as progress:
        found = asyncio.run(inspecting.inspect_legacy(url, options, path=report, progress=progress))
    if as_json:
        terminal.print_json(_as_json(found.report, found.findings))
        return
    terminal.print_sentence(f"The schema of {found.report.flavour}.\n")
    _show_outcomes(found.report)
    _show_findings(found.findings)
    _show_left_out(found.report)
    terminal.print_sentence("\nNothing was written.")


@application.command("import")
def import_database(
    url: UrlArgument,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would be done, and write nothing.")] = False,
    allow_kind: KindOption = None,
    time_zone: ZoneOption = "UTC",
    orphans: OrphansOption = Orphans.DROP,
    source: NameOption = None,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import an older database into that of the settings, which may be empty or serve already.

    Every id becomes user_17, proj_3 and so on; the key map keeps which. Run it again as often as you like: what is
    there stays, what is new comes, and a run that was broken off goes on. At the end all rows are compared with the
    older ones, and a difference that nothing explains makes it fail.

    Example: holdfast legacy import postgresql://reader:secret@db.example.org/platform --report import.jsonl
    """
    settings, options = _settings(), _options(allow_kind, time_zone, orphans)
    run = importing.imagine_import if dry_run else importing.import_legacy
    with Report(report) as told, _progress() as progress:
        done = asyncio.run(run(settings, url, options, name=source, progress=progress, tell=told.tell))
    if as_json:
        terminal.print_json(_as_json(done, told.findings))
    else:
        _show_import(done, told, dry_run=dry_run)
    if done.unexplained:
        lines = [f"{each.table} {each.old_key}: {each.message}" for found in done.comparisons for each in found.listed]
        raise CommandFailedError(f"{done.unexplained:,} differences that nothing explains", lines=lines)


def _show_import(done: LegacyReport, told: Report, *, dry_run: bool) -> None:
    terminal.print_sentence(f"The schema of {done.flavour}, in the key map as {done.source}.\n")
    if dry_run:
        _show_outcomes(done)
    else:
        _show_comparisons(done)
    _show_findings(told.findings)
    _show_left_out(done)
    if done.admin_password is not None:
        terminal.print_sentence(f"\nThe first password of user admin, to be changed at once: {done.admin_password}")
    if dry_run:
        terminal.print_sentence("\nNothing was written.")
        return
    added = sum(done.added.values())
    terminal.print_sentence(
        f"\nAdded {added:,} rows. {told.lines:,} rows were changed, merged or left out, each for a reason."
        f" {'Nothing differs without one.' if not done.unexplained else ''}"
    )


def _show_outcomes(report: LegacyReport) -> None:
    rows: dict[str, dict[str, Any]] = {}
    for each in report.outcomes:
        row = rows.setdefault(each.table_name, {"table": each.table_name})
        row[each.outcome] = f"{each.rows:,}"
    terminal.print_table(list(rows.values()), ("table", "made", "merged", "left_out"))


def _show_comparisons(report: LegacyReport) -> None:
    rows = [
        {
            "older table": each.table,
            "rows": f"{each.rows:,}",
            "made": f"{each.made:,}",
            "merged": f"{each.merged:,}",
            "left out": f"{each.left_out:,}",
            "compared": f"{each.made - each.unchecked:,}",
            "old": each.old_sha256[:12] if each.made > each.unchecked else "",
            "new": each.new_sha256[:12] if each.made > each.unchecked else "",
            "gone since": f"{each.gone:,}",
            "unexplained": f"{each.unexplained:,}",
        }
        for each in report.comparisons
        if each.rows
    ]
    columns = (
        "older table",
        "rows",
        "made",
        "merged",
        "left out",
        "compared",
        "old",
        "new",
        "gone since",
        "unexplained",
    )
    terminal.print_table(rows, columns)


def _show_findings(findings: list[Finding]) -> None:
    if not findings:
        return
    terminal.print_sentence("")
    rows = [
        {
            "table": each.table,
            "finding": each.code,
            "column": each.column,
            "rows": f"{each.rows:,}",
            "such as": each.example,
            "what becomes of it": each.meaning,
        }
        for each in findings
    ]
    terminal.print_table(rows, ("table", "finding", "column", "rows", "such as", "what becomes of it"))


def _show_left_out(report: LegacyReport) -> None:
    if report.bcrypt_hashes:
        terminal.print_sentence(
            f"\n{report.bcrypt_hashes:,} users have a password hash of bcrypt. They sign in with the password that they"
            " have, and the first sign-in replaces the hash."
        )
    if report.foreign_hashes:
        terminal.print_sentence(
            f"\n{report.foreign_hashes:,} users have a password hash that Holdfast cannot verify: neither argon2 nor"
            " bcrypt, or of a cost above 16. It is kept, but opens nothing: they sign in once an administrator has set"
            " a new password."
        )
    if not report.left_out:
        return
    terminal.print_sentence("\nHoldfast has no place for these; they are left out:")
    rows = [
        {"table": each.table, "column": each.column or "(all)", "rows": f"{each.rows:,}"} for each in report.left_out
    ]
    terminal.print_table(rows, ("table", "column", "rows"))


def _as_json(report: LegacyReport, findings: list[Finding]) -> Any:
    found = msgspec.to_builtins(report) | {"unexplained": report.unexplained}
    return found | {"findings": [msgspec.to_builtins(each) | {"meaning": each.meaning} for each in findings]}


def _options(kinds: list[str] | None, zone: str, orphans: Orphans) -> Options:
    return Options(zone=_zone(zone), allowed_kinds=frozenset(kind.casefold() for kind in kinds or ()), orphans=orphans)


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise typer.BadParameter(f"there is no time zone {name!r}", param_hint="--time-zone") from error


def _settings() -> Settings:
    settings = load_settings(os.environ)
    configure_logs("error", "text")
    # What reads or writes a whole database takes as long as it takes.
    return msgspec.structs.replace(settings, slow_statement_seconds=86_400, statement_timeout_seconds=3600)


class _Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f} rows/s", style="progress.data.speed")


@contextmanager
def _progress() -> Iterator[importing.Progress]:
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=terminal.error_output(), transient=True, disable=not sys.stderr.isatty())
    parts: dict[str, Any] = {}

    def show(part: str, done: int, whole: int) -> None:
        if part not in parts:
            for other in parts.values():
                bar.update(other, visible=False)
            parts[part] = bar.add_task(part, total=whole)
        bar.update(parts[part], completed=done, total=whole)

    with bar:
        yield show

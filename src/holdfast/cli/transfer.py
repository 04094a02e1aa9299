"""`holdfast transfer`: a whole instance in one file, out of one database and into an empty one of any engine."""

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
from holdfast.operations.transfer import exporting, importing
from holdfast.operations.transfer.file import InstanceManifest, open_export
from holdfast.settings import Settings, load_settings

application = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Move a whole instance: export it to a file, import it elsewhere."
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The export, such as moving.holdfast.zip.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")]


@application.command("export")
def export_instance(file: FileArgument, *, as_json: JsonOption = False) -> None:
    """Write every row of the database, and the recovery bundles that belong to it, into one new file.

    It reads the database of the settings as one moment has it; the server may run. The file is read again before it is
    done. It holds what the tables hold, hashes of passwords included: keep it as safe as the database.

    Example: holdfast transfer export /srv/moving.holdfast.zip
    """
    settings = _settings()
    with _progress("Exporting") as progress:
        done = asyncio.run(exporting.export_instance(settings, file.resolve(), progress=progress))
    if as_json:
        terminal.print_json(msgspec.to_builtins(done))
        return
    _show_rows(done.rows)
    _show_left_out(done.bundles_left_out)
    terminal.print_sentence(
        f"\n{done.path} holds {sum(done.rows.values()):,} rows and {done.bundles:,} bundles ({done.size:,} bytes,"
        f" {done.seconds:.1f} s). It was read again and is whole.\nSHA-256 of the whole: {done.digest}"
    )


@application.command("import")
def import_instance(file: FileArgument, *, as_json: JsonOption = False) -> None:
    """Put an export into the empty database of the settings, which may be of another engine.

    The database is migrated first. One that holds a single row is refused. Until every row was verified no server
    starts on it; where the import is interrupted, run it again: it begins anew. Bundles go to HOLDFAST_BUNDLE_DIR.

    Example: holdfast transfer import /srv/moving.holdfast.zip
    """
    settings = _settings()
    with _progress("Importing") as progress:
        done = asyncio.run(importing.import_instance(settings, file.resolve(), progress=progress))
    if as_json:
        terminal.print_json(msgspec.to_builtins(done))
        return
    if done.was_unfinished:
        terminal.print_note("An earlier import had been broken off: its rows were removed first.")
    _show_rows(done.rows)
    _show_left_out(done.bundles_left_out)
    terminal.print_sentence(
        f"\nImported {sum(done.rows.values()):,} rows and {done.bundles:,} bundles from {done.dialect} in"
        f" {done.seconds:.1f} s. Every table has the SHA-256 that it had.\nSHA-256 of the whole: {done.digest}"
    )


@application.command("check")
def check_export(file: FileArgument, *, as_json: JsonOption = False) -> None:
    """Read an export from its first byte to its last, and say what it holds. No database is needed.

    Example: holdfast transfer check moving.holdfast.zip
    """
    manifest = open_export(file).manifest
    if as_json:
        terminal.print_json(msgspec.to_builtins(manifest))
        return
    _show_rows({name: each.rows for name, each in manifest.checksums().items()})
    _show_left_out(manifest.bundles_left_out)
    terminal.print_sentence(f"\n{file} is whole.\n{_origin(manifest)}\nSHA-256 of the whole: {manifest.digest}")


def _origin(manifest: InstanceManifest) -> str:
    made_at = terminal.shown(manifest.made_at.isoformat(), "made_at")
    return (
        f"Made at {made_at} by Holdfast {manifest.made_by} from {manifest.dialect}, schema revision"
        f" {manifest.schema_revision}; {len(manifest.bundles):,} bundles."
    )


def _settings() -> Settings:
    settings = load_settings(os.environ)
    configure_logs("error", "text")
    # What reads or writes a whole database takes as long as it takes.
    return msgspec.structs.replace(settings, slow_statement_seconds=86_400, statement_timeout_seconds=3600)


@contextmanager
def _progress(what: str) -> Iterator[Any]:
    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    bar = Progress(*columns, console=terminal.error_output(), transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _show_rows(rows: dict[str, int]) -> None:
    shown = [{"table": name, "rows": f"{count:,}"} for name, count in sorted(rows.items()) if count]
    terminal.print_table(shown, ("table", "rows"))


def _show_left_out(left_out: dict[str, str]) -> None:
    for name, reason in left_out.items():
        terminal.print_note(f"The bundle {name} is not in the export: {reason}")

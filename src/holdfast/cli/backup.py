"""`holdfast backup`: make backups, look at them, check them, bring one back, let old ones go."""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from holdfast.cli import terminal
from holdfast.cli.failures import CommandFailedError
from holdfast.core.errors import HoldfastError
from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.db.instance_id import find_instance_id_at
from holdfast.db.open import open_database
from holdfast.operations.backup import job, reading, restoring, retention, verifying
from holdfast.operations.backup.running import Progress as OnProgress
from holdfast.operations.backup.stores.base import Store
from holdfast.operations.backup.stores.opening import open_store
from holdfast.operations.backup.types import SHORT_ID, BackupSummary, Manifest
from holdfast.operations.doctor.orphan_files import FOLDER
from holdfast.settings import Settings, load_settings

Result = TypeVar("Result")

application = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make backups, check them, bring one back, let old ones go."
)
BackupArgument = Annotated[
    str, typer.Argument(metavar="BACKUP", help="An id, as many of its first signs as are its own, or `newest`.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
IdentityOption = Annotated[
    Path | None, typer.Option("--identity", metavar="FILE", help="The secret key of an encrypted backup (age).")
]
_COLUMNS = ("id", "made_at", "dialect", "rows", "size", "encrypted", "verified", "problem")
_MIB = 1024 * 1024
_SECONDS_BETWEEN_DRAWINGS = 0.1


@application.command()
def create(
    *,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Read it back and check it.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Back up the database of the settings, and its recovery bundles, to HOLDFAST_BACKUP_URL.

    The server may run, and everybody may go on writing. Interrupted, nothing counts as a backup.

    Example: holdfast backup create
    """
    settings = _settings()

    async def work(progress: OnProgress) -> Any:
        async with open_database(settings).running() as database:
            return await job.create_and_record(database, settings, verify=verify, progress=progress)

    started = time.monotonic()
    manifest, verification = _run(work)
    if as_json:
        terminal.print_json(_json_of(manifest))
        return
    _note_missing(manifest)
    checked = "not checked" if verification is None else _checked(contents=verification.contents)
    terminal.print_sentence(
        f"{manifest.id}: {manifest.rows:,} rows and {len(manifest.bundles):,} bundles of"
        f" {parse_address(settings.resolved_database_url).shown}, {_size(manifest.stored_size)} in"
        f" {time.monotonic() - started:.1f} s, {'encrypted' if manifest.recipients else 'not encrypted'}, {checked}."
    )


@application.command("list")
def list_backups(*, as_json: JsonOption = False) -> None:
    """List the backups in the store, the newest first; where instances share it, with which each is of.

    Example: holdfast backup list
    """
    settings = _settings()
    store = open_store(settings)
    found = reading.list_backups(store, instance=_instance_in(settings))
    if as_json:
        terminal.print_json(msgspec.to_builtins(found))
        return
    if not found:
        terminal.print_sentence(f"There is no backup in {store.shown}: `holdfast backup create` makes one.")
        return
    are_mixed = any(each.is_own is False for each in found) or len({each.instance for each in found} - {None}) > 1
    columns = (*_COLUMNS[:-1], "instance", "problem") if are_mixed else _COLUMNS
    terminal.print_table([_line(each) for each in found], columns, ("problem",))


@application.command()
def show(backup: BackupArgument = reading.NEWEST, *, as_json: JsonOption = False) -> None:
    """Show what a backup holds and where it comes from, table by table.

    Example: holdfast backup show newest
    """
    settings = _settings()
    store = open_store(settings)
    manifest = reading.read_manifest(store, _resolved(settings, store, backup))
    if as_json:
        terminal.print_json(_json_of(manifest))
        return
    record = _json_of(manifest) | {"size": _size(manifest.stored_size), "bundles": len(manifest.bundles)}
    record["encrypted_for"] = manifest.recipients or None
    fields = ("id", "instance", "made_at", "finished_at", "host", "holdfast", "dialect", "server_version", "tool")
    terminal.print_record(
        record, (*fields, "schema_revision", "size", "bundles", "bundles_missing", "encrypted_for", "previous")
    )
    terminal.print_sentence("")
    terminal.print_table(
        [
            {"table": name, "rows": f"{each.rows:,}", "sha256": each.sha256[:16]}
            for name, each in sorted(manifest.tables.items())
        ],
        ("table", "rows", "sha256"),
    )


@application.command()
def verify(
    backup: BackupArgument = reading.NEWEST, *, identity: IdentityOption = None, as_json: JsonOption = False
) -> None:
    """Read a backup from its first byte to its last and check all of it; exit 1 where it is not whole.

    Example: holdfast backup verify newest
    """
    settings = _settings()
    store = open_store(settings)
    backup_id = _resolved(settings, store, backup)
    done = _run(lambda progress: verifying.verify_backup(settings, backup_id, identities=identity, progress=progress))
    if as_json:
        terminal.print_json(msgspec.to_builtins(done))
    else:
        terminal.print_sentence(f"{backup_id} is whole: {_checked(contents=done.contents)}.")


@application.command()
def restore(
    backup: BackupArgument,
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="URL", help="The database, if not the one of the settings.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Give up what the database holds of Holdfast.")] = False,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Upgrade a backup of an older version afterwards.")
    ] = False,
    bundles: Annotated[bool, typer.Option("--bundles/--no-bundles", help="With the recovery bundles.")] = True,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    identity: IdentityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a backup back into an empty database, which may be on another machine.

    The backup is checked first, and every table against the manifest afterwards. Until that is done nothing serves the
    database; interrupted, run it again. With --replace a SQLite file that was there is kept beside the new one.

    Example: holdfast backup restore newest
    """
    own = settings = _settings()
    if to is not None:
        settings = msgspec.structs.replace(settings, database_url=to)
    address = parse_address(settings.resolved_database_url)
    store = open_store(settings)
    backup_id = _resolved(own, store, backup, target=settings)
    if replace and not yes:
        typer.confirm(f"Replace what {address.shown} holds of Holdfast by backup {backup_id}?", abort=True, err=True)
    done = _run(
        lambda progress: restoring.restore_backup(
            settings,
            backup_id,
            replace=replace,
            upgrade=migrate,
            identities=identity,
            bundles_to=settings.resolved_bundle_dir if bundles else None,
            progress=progress,
        )
    )
    if as_json:
        terminal.print_json(msgspec.to_builtins(done))
        return
    if done.kept:
        terminal.print_note(f"What was there before is kept: {done.kept}")
    if done.bundle_rows_moved:
        terminal.print_note(f"{done.bundle_rows_moved:,} rows name their bundle in {settings.resolved_bundle_dir} now.")
    terminal.print_sentence(
        f"{done.database} is backup {done.backup_id}: {done.rows:,} rows, {done.bundles:,} bundles,"
        f" {done.seconds:.1f} s. Every table has the {done.compared} of the manifest."
    )
    if done.pending:
        terminal.print_note(f"Its schema is of an older version ({done.schema_revision}): run `holdfast migrate`.")


@application.command()
def prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove the backups that the settings do not keep, and what broken-off ones left behind.

    Those of other instances than the database's stay, and do not count.

    Example: holdfast backup prune --dry-run
    """
    settings = _settings()
    instance = asyncio.run(find_instance_id_at(parse_address(settings.resolved_database_url)))
    done = asyncio.run(retention.prune(settings, instance=instance, dry_run=dry_run))
    if as_json:
        terminal.print_json(msgspec.to_builtins(done))
        return
    lines = [{"id": each, "stays": ", ".join(reasons)} for each, reasons in done.kept.items()]
    lines += [{"id": each, "stays": "no" if dry_run else "removed"} for each in done.removed]
    terminal.print_table(sorted(lines, key=lambda line: line["id"], reverse=True), ("id", "stays"))
    would = "would be" if dry_run else "were"
    terminal.print_sentence(f"{len(done.removed)} backups {would} removed; {len(done.kept)} stay.")


def _settings() -> Settings:
    settings = load_settings(os.environ)
    configure_logs("error", "text")
    # What reads or writes a whole database takes as long as it takes.
    return msgspec.structs.replace(settings, slow_statement_seconds=86_400, deletion_timeout_seconds=86_400)


def _resolved(settings: Settings, store: Store, backup: str, *, target: Settings | None = None) -> str:
    """The id of a backup; the newest one is that of the settings' database, or else of the target's."""
    instance = _instance_in(settings) if backup == reading.NEWEST else None
    if instance is None and backup == reading.NEWEST and target not in (None, settings):
        instance = _instance_in(target)
    return reading.resolve_id(store, backup, instance=instance)


def _instance_in(settings: Settings) -> str | None:
    """Which instance the database is; None where there is none, or none that can be asked: it may be lost."""
    try:
        return asyncio.run(find_instance_id_at(parse_address(settings.resolved_database_url)))
    except HoldfastError:
        return None


def _run(work: Callable[[OnProgress], Awaitable[Result]]) -> Result:
    """Run with a bar on a terminal. Ctrl-C ends in order: what is half done is removed or marked."""

    async def main() -> Result:
        with _progress() as progress:
            return await work(progress)

    try:
        return asyncio.run(main())
    except KeyboardInterrupt:
        raise CommandFailedError("interrupted: nothing that is half done counts") from None


@contextmanager
def _progress() -> Iterator[OnProgress]:
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=terminal.error_output(), transient=True, disable=not sys.stderr.isatty())
    tasks: dict[str, Any] = {}
    begun: dict[str, float] = {}
    drawn: dict[str, float] = {}

    def tell(stage: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total, rate="")
            begun[stage] = now
        if now - drawn.get(stage, 0) < _SECONDS_BETWEEN_DRAWINGS and done != total:
            return
        drawn[stage] = now
        # Counts of rows and files have no rate in bytes.
        seconds = now - begun[stage]
        rate = f"{done / seconds / _MIB:,.0f} MiB/s" if seconds > 1 and (total is None or total > _MIB) else ""
        # The size of a dump is known about beforehand.
        bar.update(tasks[stage], completed=done, total=None if total is None else max(total, done), rate=rate)

    with bar:
        yield tell


def _line(summary: BackupSummary) -> dict[str, Any]:
    line: dict[str, Any] = msgspec.to_builtins(summary)
    line["rows"] = "" if summary.rows is None else f"{summary.rows:,}"
    line["size"] = "" if summary.bytes is None else _size(summary.bytes)
    line["encrypted"] = {None: "", True: "yes", False: "no"}[summary.encrypted]
    line["instance"] = "this" if summary.is_own and summary.instance else (summary.instance or "")[:SHORT_ID]
    line["verified"] = {None: "never", True: "yes", False: "no"}[summary.verified]
    return line


def _note_missing(manifest: Manifest) -> None:
    for name in manifest.bundles_missing:
        if name.startswith(f"{FOLDER}/"):
            terminal.print_note(f"The bundle {name} went while the backup was made, and is not in it.")
            continue
        terminal.print_note(f"The bundle {name}, which a row names, is nowhere: `holdfast doctor` tells more.")
    for name in manifest.bundles_damaged or ():
        terminal.print_note(f"The bundle {name} is not what it should be, and was backed up as it is: it is damaged.")


def _checked(*, contents: bool) -> str:
    if contents:
        return "read back, and every byte is what it was"
    return "its stored bytes are what they were; without its secret key nobody can look inside"


def _size(count: int) -> str:
    if count < _MIB:
        return f"{count / 1024:.1f} KiB"
    return f"{count / _MIB:,.1f} MiB"


def _json_of(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(manifest)
    return found

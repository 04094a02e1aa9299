"""`holdfast demo`: fill an empty instance with a believable faculty."""

import asyncio
import os
import sys
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from holdfast.cli import terminal
from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.db.migrate import check_schema, migrate
from holdfast.db.open import open_database
from holdfast.operations.demo.service import DemoResult, fill_with_demo
from holdfast.settings import Settings, load_settings


class DemoSize(StrEnum):
    """How much the demo makes."""

    SMALL = "small"
    FULL = "full"


def demo(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    size: Annotated[
        DemoSize, typer.Option("--size", help="`full`: a dozen courses, about 1,500 people; `small`: three courses.")
    ] = DemoSize.FULL,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Fill an empty instance with a believable faculty and a month of its life, for trying Holdfast out.

    It writes to the database of the settings (HOLDFAST_DATA_DIR or HOLDFAST_DATABASE_URL), on this machine and without
    a server. An instance that holds anything of its own, and one in production, is refused.

    Example: HOLDFAST_DATA_DIR=demo-data holdfast demo --yes && HOLDFAST_DATA_DIR=demo-data holdfast serve
    """
    settings = load_settings(os.environ)
    configure_logs("error", "text")
    address = parse_address(settings.resolved_database_url)
    if not yes:
        typer.confirm(f"Fill {address.shown} with the demo?", abort=True, err=True)
    result = asyncio.run(_fill(settings, size))
    if as_json:
        terminal.print_json(msgspec.to_builtins(result))
    else:
        _show(result)


async def _fill(settings: Settings, size: DemoSize) -> DemoResult:
    address = parse_address(settings.resolved_database_url)
    if address.dialect_name == "sqlite":
        await migrate(address)
    await check_schema(address)
    # One long transaction of many short statements; what it waits for is itself.
    database = open_database(msgspec.structs.replace(settings, slow_statement_seconds=60))
    async with database.running():
        with _progress() as progress:
            task = progress.add_task("A month passes", total=1.0)
            return await fill_with_demo(
                database, settings, size=size, progress=lambda share: progress.update(task, completed=share)
            )


def _progress() -> Progress:
    columns: tuple[Any, ...] = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    return Progress(*columns, console=terminal.error_output(), transient=True, disable=not sys.stderr.isatty())


def _show(result: DemoResult) -> None:
    counts = [{"table": name, "rows": f"{count:,}"} for name, count in result.counts.items()]
    terminal.print_table(counts, ("table", "rows"))
    terminal.print_sentence("\nSign in as one of these, or as anybody else of the faculty:")
    terminal.print_table([msgspec.structs.asdict(each) for each in result.sign_ins], ("username", "role"))
    terminal.print_sentence(f"\nEverybody's password: {result.password}")
    terminal.print_sentence("They all share it, so this instance is for trying out only.")
    if result.admin_password is not None:
        terminal.print_sentence(f"The first password of user admin, to be changed at once: {result.admin_password}")

"""`holdfast migrate`: bring the database to this version's schema, say where it stands, or go back."""

import asyncio
import os
from typing import Annotated

import typer

from holdfast.db.address import DatabaseAddress, parse_address
from holdfast.db.filling import refuse_half_filled
from holdfast.db.migrate import SchemaStatus, check_schema, downgrade, migrate, on_database, schema_status
from holdfast.settings import load_settings

application = typer.Typer(help="Upgrade the database, show where it stands, or go back.", invoke_without_command=True)


@application.callback()
def upgrade(context: typer.Context) -> None:
    """Upgrade the database to this version's schema; run again, it changes nothing.

    Example: HOLDFAST_DATABASE_URL=postgresql://holdfast@db/holdfast holdfast migrate
    """
    if context.invoked_subcommand is None:
        address = _whole_database()
        before = asyncio.run(schema_status(address))
        after = asyncio.run(migrate(address))
        if after.is_ahead:
            typer.echo(f"{address.shown} is at revision {after.current} of a newer Holdfast; nothing was changed.")
            return
        for name in after.made_anew:
            typer.echo(f"{address.shown}: procedure {name} was missing or changed and is made anew.")
        if before.current == after.current and not after.made_anew:
            typer.echo(f"{address.shown} is at revision {after.current} already; nothing was changed.")
        elif before.current != after.current:
            typer.echo(f"{address.shown}: upgraded from {before.current or 'empty'} to {after.current}.")


@application.command()
def status() -> None:
    """Show the revision and what is pending; exit 3 where the live schema is not what this version needs."""
    address = _address()
    _show(address, asyncio.run(schema_status(address)))
    asyncio.run(check_schema(address))
    typer.echo("The live schema holds all that this version needs.")


@application.command("downgrade")
def go_back(
    revision: Annotated[str, typer.Argument(help="The revision to go back to, or `base` for an empty database.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Go back to an older revision; what only the newer one holds is lost.

    Example: holdfast migrate downgrade 0001
    """
    address = _whole_database()
    if not yes:
        typer.confirm(f"Go back to {revision} on {address.shown}? What only newer revisions hold is lost", abort=True)
    _show(address, asyncio.run(downgrade(address, revision)))


def _address() -> DatabaseAddress:
    return parse_address(load_settings(os.environ).resolved_database_url)


def _whole_database() -> DatabaseAddress:
    """The database, unless an import has not filled it yet."""
    address = _address()
    asyncio.run(on_database(address, refuse_half_filled))
    return address


def _show(address: DatabaseAddress, found: SchemaStatus) -> None:
    typer.echo(f"{address.shown}: revision {found.current or 'none (empty)'}, newest {found.head}.")
    if found.is_ahead:
        typer.echo("A newer Holdfast has upgraded it, and this version still runs on it.")
    if found.pending:
        typer.echo(f"Pending: {', '.join(found.pending)}. Run `holdfast migrate`.")

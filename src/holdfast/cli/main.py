"""The command `holdfast`."""

import asyncio
import os

import typer
import uvicorn

from holdfast.app import create_app
from holdfast.core.logs import configure_logs
from holdfast.db.address import parse_address
from holdfast.db.migrate import check_schema, migrate
from holdfast.settings import load_settings

application = typer.Typer(no_args_is_help=True)


@application.callback()
def _root() -> None:
    """The system of record of a shared GPU cluster."""


@application.command()
def serve() -> None:
    """Serve the API."""
    settings = load_settings(os.environ)
    configure_logs(settings.log_level, settings.log_format)
    address = parse_address(settings.resolved_database_url)

    async def prepare() -> None:
        if address.dialect_name == "sqlite":
            await migrate(address)
        await check_schema(address)

    asyncio.run(prepare())
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        loop="uvloop",
        http="httptools",
        server_header=False,
    )


def main() -> None:
    """Run the command line."""
    application()

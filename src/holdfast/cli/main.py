"""The command `holdfast`."""

import sys

import typer

from holdfast.cli import migrate, serve
from holdfast.core.errors import HoldfastError

application = typer.Typer(no_args_is_help=True)
application.command("serve")(serve.serve)
application.add_typer(migrate.application, name="migrate")


@application.callback()
def _root() -> None:
    """The system of record of a shared GPU cluster."""


def main() -> None:
    """Run the command line; an expected error is one sentence and a status."""
    try:
        application()
    except HoldfastError as error:
        typer.echo(f"holdfast: {error.message}", err=True)
        sys.exit(3 if error.status >= 500 else 1)

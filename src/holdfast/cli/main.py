"""The command `holdfast`."""

from typing import Annotated

import typer

from holdfast import __version__
from holdfast.cli.commands import LazyGroup

application = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"max_content_width": 100}
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"holdfast {__version__}")
        raise typer.Exit


@application.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """The system of record of a shared GPU cluster. --help explains every command."""


def main() -> None:
    """Run the command line."""
    application()

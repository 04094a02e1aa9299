"""Which commands there are, each with the module that is imported only when the command runs.

Importing everything takes most of a second, which `holdfast --help` and every completion would pay.
"""

import importlib
from typing import Any

import msgspec
import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from holdfast.cli.failures import CommandFailedError, ExitCode
from holdfast.cli.terminal import visible
from holdfast.core.errors import HoldfastError


class CommandPlace(msgspec.Struct, frozen=True):
    """Where a command is: `place` is `module:attribute`, a Typer application or a plain function."""

    name: str
    place: str
    panel: str
    summary: str


_SHORT_HELP = {"install_completion": "Install completion for your shell."}
# They work, but take a line of the screen.
_HIDDEN = frozenset({"show_completion"})
_SESSION = "Signing in"
_RECORDS = "What the server holds"
_SERVER = "On the server"

COMMANDS = (
    CommandPlace("login", "session:login", _SESSION, "Sign in to a server and keep the token"),
    CommandPlace("logout", "session:logout", _SESSION, "End the session and forget its token"),
    CommandPlace("whoami", "session:whoami", _SESSION, "Show who is signed in, where, and in which groups"),
    CommandPlace("tokens", "tokens:application", _SESSION, "List, make and revoke API tokens"),
    CommandPlace("users", "users:application", _RECORDS, "Find, make and change users"),
    CommandPlace("groups", "groups:application", _RECORDS, "Groups, their members and roles"),
    CommandPlace("import", "imports:application", _RECORDS, "Bring in a course from a roster file"),
    CommandPlace("projects", "projects:application", _RECORDS, "Projects and their GPU quotas"),
    CommandPlace("config-files", "config_files:application", _RECORDS, "Show and apply a project's manifests"),
    CommandPlace("image-requests", "image_requests:application", _RECORDS, "Ask for an image; approve or reject"),
    CommandPlace("images", "images:application", _RECORDS, "The allow list of images"),
    CommandPlace("repositories", "repositories:application", _RECORDS, "Known image repositories and their tags"),
    CommandPlace("workloads", "workloads:application", _RECORDS, "What runs, or asks to run"),
    CommandPlace("forms", "forms:application", _RECORDS, "Open, answer and decide forms"),
    CommandPlace("delete", "delete:delete", _RECORDS, "Delete something with all that hangs on it"),
    CommandPlace("deletions", "deletions:application", _RECORDS, "What was deleted: restore or purge it"),
    CommandPlace("cleanup", "cleanup:application", _RECORDS, "Let go what is older than its retention"),
    CommandPlace("audit", "audit:application", _RECORDS, "Who did what, and when"),
    CommandPlace("stats", "stats:application", _RECORDS, "What the database does: statements, indexes, sizes"),
    CommandPlace("jobs", "jobs:application", _RECORDS, "What the workers do, did and are to do"),
    CommandPlace("serve", "serve:serve", _SERVER, "Start the server"),
    CommandPlace("worker", "worker:work", _SERVER, "Start a worker, which runs jobs and serves nothing"),
    CommandPlace("migrate", "migrate:application", _SERVER, "Upgrade the database, or show where it stands"),
    CommandPlace("recover", "recover:recover", _SERVER, "Bring a purged deletion back from its bundle"),
    CommandPlace("backup", "backup:application", _SERVER, "Make backups, check them, bring one back"),
    CommandPlace("drill", "drill:drill", _SERVER, "Prove that the newest backup can be brought back"),
    CommandPlace("transfer", "transfer:application", _SERVER, "Move a whole instance to another database"),
    CommandPlace("legacy", "legacy:application", _SERVER, "Look at an older database, and import it"),
    CommandPlace("doctor", "doctor:doctor", _SERVER, "Check everything that must hold, and cure what can be"),
    CommandPlace("plans", "plans:plans", _SERVER, "Tell which statements would suffer on this database"),
    CommandPlace("demo", "demo:demo", _SERVER, "Fill an empty instance with a believable faculty"),
)


class LazyGroup(TyperGroup):
    """The root of all commands. It ends every expected failure with a sentence and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the help."""
        return [place.name for place in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What help and completion need to know of a command, without importing it."""
        for place in COMMANDS:
            if place.name == cmd_name:
                return TyperCommand(place.name, help=place.summary, rich_help_panel=place.panel)
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, imported now."""
        # The suggestions for a mistyped name come from this mapping.
        self.commands = {place.name: self.get_command(ctx, place.name) for place in COMMANDS}
        name, stub, rest = super().resolve_command(ctx, args)
        return name, None if stub is None else load(name or ""), rest

    def get_params(self, ctx: Any) -> Any:
        """The options, those of completion in few words: the whole help is to fit a screen."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            if parameter.name in _SHORT_HELP:
                parameter.help = _SHORT_HELP[parameter.name]  # type: ignore[attr-defined]
            if parameter.name in _HIDDEN:
                parameter.hidden = True  # type: ignore[attr-defined]
        return parameters

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CommandFailedError as failure:
            _tell(failure.message, failure.lines)
            raise typer.Exit(failure.exit_code) from failure
        except HoldfastError as error:
            _tell(error.message, [])
            raise typer.Exit(ExitCode.UNAVAILABLE if error.status >= 500 else ExitCode.REFUSED) from error


def load(name: str) -> Any:
    """The command of this name, imported now."""
    place = next(each.place for each in COMMANDS if each.name == name)
    module_name, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(f"holdfast.cli.{module_name}"), attribute)
    if isinstance(found, typer.Typer):
        return get_command(found)
    application = typer.Typer(add_completion=False)
    application.command(name)(found)
    return get_command(application)


def _tell(message: str, lines: list[str]) -> None:
    typer.echo(f"holdfast: {visible(message)}", err=True)
    for line in lines:
        typer.echo(f"  {visible(line)}", err=True)

"""What an `edit` command sends: the fields that were given, and nothing of the others."""

from typing import Any

from holdfast.cli.failures import CommandFailedError, ExitCode


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}


def changes(**fields: Any) -> dict[str, Any]:
    """As `given`, refusing a command that changes nothing. An empty text empties the field."""
    chosen = {name: None if value == "" else value for name, value in given(**fields).items()}
    if not chosen:
        raise CommandFailedError("say what to change: see --help", ExitCode.WRONG_USAGE)
    return chosen

"""Help, versions and mistakes in typing; no server is needed."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from holdfast import __version__
from holdfast.cli.commands import COMMANDS, load
from holdfast.cli.main import application

# What only some commands need.
_HEAVY = ("alembic", "httpx", "litestar", "sqlalchemy", "uvicorn", "yaml")


def _commands() -> Iterator[tuple[str, object]]:
    """Every command with its whole name."""
    for place in COMMANDS:
        loaded = load(place.name)
        children = getattr(loaded, "commands", None)
        if children is None:
            yield place.name, loaded
        else:
            for name, command in children.items():
                yield f"{place.name} {name}", command


_ALL = dict(_commands())


def test_help_fits_a_screen_and_names_every_command() -> None:
    result = CliRunner().invoke(application, ["--help"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) <= 48
    assert all(f" {place.name} " in result.stdout for place in COMMANDS)


def test_version_is_told() -> None:
    assert CliRunner().invoke(application, ["--version"]).stdout == f"holdfast {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['holdfast', '--help']\n"
        "from holdfast.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"sys.exit(' '.join(name for name in {_HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("name", sorted(_ALL))
def test_every_command_explains_itself(name: str) -> None:
    command = _ALL[name]
    result = CliRunner().invoke(application, [*name.split(), "--help"])
    assert result.exit_code == 0, result.output
    parameters = [parameter for parameter in command.params if parameter.name != "help"]  # type: ignore[attr-defined]
    assert all(parameter.help for parameter in parameters), f"an option of {name} has no help"
    if name.split(maxsplit=1)[0] not in {"serve", "migrate", "demo"}:
        assert f"Example: holdfast {name}" in " ".join(command.help.split())  # type: ignore[attr-defined]


def test_a_mistyped_command_is_wrong_usage_and_gets_a_suggestion() -> None:
    result = CliRunner().invoke(application, ["grops"])
    assert result.exit_code == 2
    assert "groups" in result.stderr

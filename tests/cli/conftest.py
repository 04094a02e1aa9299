"""A super administrator and a member at the command line."""

from pathlib import Path

import pytest

from tests.cli.commandline import CommandLine
from tests.factories import make_super_admin, make_token
from tests.instance import Instance


@pytest.fixture
async def anonymous(instance: Instance, tmp_path: Path) -> CommandLine:
    """Nobody is signed in."""
    return CommandLine(instance.base_url, tmp_path / "config")


@pytest.fixture
async def admin(instance: Instance, tmp_path: Path) -> CommandLine:
    """A super administrator, with a token in the environment."""
    token = await make_token(instance.database, await make_super_admin(instance.database))
    return CommandLine(instance.base_url, tmp_path / "config", token)

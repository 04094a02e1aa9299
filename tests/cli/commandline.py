"""The command line as a person uses it: in a folder of its own, with settings of its own, against one server."""

import asyncio
import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from holdfast.cli.main import application


class CommandLine:
    """Runs `holdfast …` in a thread, while the server runs in the test's event loop."""

    def __init__(self, url: str, home: Path, token: str | None = None) -> None:
        self.home = home
        self.environment: dict[str, str | None] = {
            "XDG_CONFIG_HOME": str(home),
            "HOLDFAST_CLI_URL": url,
            "HOLDFAST_CLI_TOKEN": token,
        }

    async def run(self, *arguments: object, input: str | None = None) -> Result:  # noqa: A002 - as the runner calls it
        """Run a command to its end, whatever that is."""
        texts = [str(argument) for argument in arguments]
        return await asyncio.to_thread(
            CliRunner().invoke, application, texts, input=input, env=self.environment, catch_exceptions=False
        )

    async def done(self, *arguments: object, input: str | None = None) -> str:  # noqa: A002
        """What a command that must succeed writes on standard output."""
        result = await self.run(*arguments, input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    async def json(self, *arguments: object) -> Any:
        """The JSON of a command that must succeed."""
        return json.loads(await self.done(*arguments, "--json"))

    async def refused(self, *arguments: object, code: int = 1, input: str | None = None) -> str:  # noqa: A002
        """What a command that must fail with this exit code writes on standard error."""
        result = await self.run(*arguments, input=input)
        assert result.exit_code == code, result.output
        return result.stderr

"""How a command ends when it cannot do what was asked: one sentence on standard error, and an exit code."""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the exit code of every command means; scripts rely on these."""

    DONE = 0
    REFUSED = 1  # the server (or a check of the input) said no: 4xx
    WRONG_USAGE = 2  # a command, option or argument that does not exist or does not fit
    UNAVAILABLE = 3  # the server cannot be reached, or failed: 5xx
    NOT_SIGNED_IN = 4  # no token, or one that is no longer good: 401


class CommandFailedError(Exception):
    """Ends the command. `lines` follow the sentence, one for each field, row or file that was refused."""

    def __init__(
        self, message: str, exit_code: ExitCode = ExitCode.REFUSED, *, lines: Sequence[str] = (), code: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.lines = list(lines)
        self.code = code

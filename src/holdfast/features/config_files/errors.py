"""What is wrong with a config file: every problem with its document, line, path and reason."""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from holdfast.core.errors import UnprocessableError

# An answer with more problems than this helps nobody; reading stops where it is reached.
MAX_PROBLEMS = 100


class ManifestProblem(msgspec.Struct, frozen=True):
    """One reason to refuse a file. `document` and `line` count from 1; `path` is empty for the document as a whole."""

    document: int
    line: int
    path: str
    reason: str

    def __str__(self) -> str:
        place = f"document {self.document}, line {self.line}: "
        return f"{place}{self.path}: {self.reason}" if self.path else f"{place}{self.reason}"


class ManifestError(UnprocessableError):
    """A config file whose text is refused; nothing of it may be stored.

    The message names the first problem, `details["errors"]` holds them all (at most `MAX_PROBLEMS`), in file order.
    """

    code: ClassVar[str] = "invalid_manifest"

    def __init__(self, problems: Iterable[ManifestProblem]) -> None:
        ordered = sorted(problems, key=lambda problem: (problem.document, problem.line))[:MAX_PROBLEMS]
        message = str(ordered[0])
        if len(ordered) > 1:
            message += f" (and {len(ordered) - 1} more)"
        super().__init__(message, errors=[msgspec.to_builtins(problem) for problem in ordered])
        self.problems = tuple(ordered)

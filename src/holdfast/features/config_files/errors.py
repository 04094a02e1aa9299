"""What can go wrong with a config file; for its text: every problem with its document, line, path and reason."""

from collections.abc import Iterable
from typing import ClassVar

import msgspec

from holdfast.core.errors import ConflictError, ForbiddenError, NotFoundError, UnprocessableError

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


class GpuQuotaError(ManifestError):
    """A pod of the file asks for more GPUs than its project may ever have in use."""

    code = "gpu_quota_exceeded"


class FilenameRefusedError(UnprocessableError):
    """The name is not one for a config file."""

    code = "filename_refused"


class FilenameTakenError(ConflictError):
    """The project has a live config file of that name."""

    code = "filename_taken"

    def __init__(self, filename: str) -> None:
        super().__init__(f"the project has a config file {filename!r} already: change that one, or take another name")


class ProjectRulesChangedError(ConflictError):
    """The project lost its privileges between reading the text and storing it."""

    code = "project_rules_changed"

    def __init__(self) -> None:
        super().__init__("what the project allows changed while the file was read: send it again")


class ConfigFileNotFoundError(NotFoundError):
    """There is no such config file, or the caller may not know it."""

    code = "config_file_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such config file, or you are not a member of its project's group")


class ResourceNotFoundError(NotFoundError):
    """The config file holds no such resource."""

    code = "resource_not_found"

    def __init__(self) -> None:
        super().__init__("this config file holds no such resource: GET …/resources lists what it holds")


class ConfigFileForbiddenError(ForbiddenError):
    """The caller sees the project's config files but may not write them."""

    code = "config_file_forbidden"

    def __init__(self) -> None:
        super().__init__("only managers and admins of the project's group write config files")

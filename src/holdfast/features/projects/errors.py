"""What can go wrong with a project."""

from holdfast.core.errors import ForbiddenError, NotFoundError


class ProjectNotFoundError(NotFoundError):
    """There is no such project, or the caller may not know it."""

    code = "project_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such project, or you are not a member of its group")


class ProjectForbiddenError(ForbiddenError):
    """The caller sees the project, or its group, but may not do this."""

    code = "project_forbidden"

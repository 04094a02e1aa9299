"""What can go wrong with a form."""

from holdfast.core.errors import ConflictError, ForbiddenError, NotFoundError


class FormNotFoundError(NotFoundError):
    """There is no such form, or the caller may not know it."""

    code = "form_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such form, or you may not see it")


class FormMessageNotFoundError(NotFoundError):
    """The form has no such message."""

    code = "form_message_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such message on this form")


class FormClosedError(ConflictError):
    """Completed and rejected forms take no message."""

    code = "form_closed"

    def __init__(self, status: str) -> None:
        super().__init__(f"this form is {status}; its staff must reopen it before it takes a message")


class FormStatusError(ConflictError):
    """The status cannot follow the present one."""

    code = "form_status_refused"


class FormForbiddenError(ForbiddenError):
    """The caller sees the form but may not do this to it."""

    code = "form_forbidden"

"""The errors a caller can meet. Each carries an HTTP status, a stable code and a sentence that says what to do.

Features derive their own small classes; the edges turn any of them into problem+json (RFC 9457) or an exit code.
"""

from typing import Any, ClassVar


class HoldfastError(Exception):
    """Base of every expected error. `details` goes into the problem document as extra members."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class InvalidInputError(HoldfastError):
    """A field, parameter or header that does not have the form it must have."""

    status = 400
    code = "invalid_input"


class NotSignedInError(HoldfastError):
    """No token, or one that is unknown, expired or revoked. The answer never says which."""

    status = 401
    code = "not_signed_in"


class ForbiddenError(HoldfastError):
    """The caller sees the object but may not do this to it."""

    status = 403
    code = "forbidden"


class NotFoundError(HoldfastError):
    """The object does not exist, or the caller may not know that it does."""

    status = 404
    code = "not_found"


class ConflictError(HoldfastError):
    """The request is well formed, but the state of the data forbids it."""

    status = 409
    code = "conflict"


class PreconditionFailedError(HoldfastError):
    """If-Match named a version that is no longer the current one."""

    status = 412
    code = "stale_version"


class TooLargeError(HoldfastError):
    """The request is larger than a stated limit."""

    status = 413
    code = "too_large"


class UnprocessableError(HoldfastError):
    """A document that parses as a request but whose content is refused (a config file's YAML)."""

    status = 422
    code = "unprocessable"


class TooManyRequestsError(HoldfastError):
    """A limit on attempts was reached; `retry_after_seconds` says when to come back."""

    status = 429
    code = "too_many_requests"


class UnavailableError(HoldfastError):
    """The service cannot answer now; the same request may be sent again after `retry_after_seconds`."""

    status = 503
    code = "unavailable"

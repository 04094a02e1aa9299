"""What can go wrong with the audit log."""

from holdfast.core.errors import ForbiddenError


class AuditForbiddenError(ForbiddenError):
    """The caller administers nothing."""

    code = "audit_forbidden"

    def __init__(self) -> None:
        super().__init__("the audit log is for super administrators and the admins of a group")

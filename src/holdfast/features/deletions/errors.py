"""What can go wrong with a deletion, its restore or its purge."""

from collections.abc import Sequence
from typing import Any

import msgspec

from holdfast.core.errors import ConflictError, ForbiddenError, HoldfastError, NotFoundError, UnavailableError


class PlanRequiredError(HoldfastError):
    """More than the thing itself would go, and the caller has not shown that they know what."""

    status = 428
    code = "plan_required"

    def __init__(self, plan: msgspec.Struct) -> None:
        super().__init__("more than this would go with it: look at the plan, then send its token as ?plan=", plan=plan)


class PlanChangedError(ConflictError):
    """The numbers moved since the plan was made."""

    code = "plan_changed"

    def __init__(self, plan: msgspec.Struct) -> None:
        super().__init__(
            "what would go has changed since you looked: look at the new plan, then send its token", plan=plan
        )


class DecisionNeededError(ConflictError):
    """Something stands against the deletion until the caller decides what becomes of it."""

    code = "decision_needed"

    def __init__(self, plan: msgspec.Struct, open_kinds: Sequence[str]) -> None:
        super().__init__(
            f"decide about {' and '.join(open_kinds)}: send take_along=true to let them go with it, or, for a user,"
            " hand_over_to= and another user's id",
            decisions_needed=list(open_kinds),
            plan=plan,
        )


class DeletionProtectedError(ConflictError):
    """Something that would go is protected. `details["protected"]` names up to 20."""

    code = "deletion_protected"

    def __init__(self, first: str, protected: Sequence[msgspec.Struct]) -> None:
        others = "" if len(protected) == 1 else f" and {len(protected) - 1} more"
        super().__init__(
            f"{first}{others} may not be deleted: lift deletion_protected with PATCH first", protected=list(protected)
        )


class HandOverForbiddenError(ForbiddenError):
    """Giving a user's things to another takes a super administrator."""

    code = "hand_over_forbidden"

    def __init__(self) -> None:
        super().__init__(
            "only super administrators hand a user's things over; leave hand_over_to out, or ask one of them"
        )


class DeletionTimeoutError(UnavailableError):
    """A statement of a deletion or restore ran into `HOLDFAST_DELETION_TIMEOUT_SECONDS`; the transaction is undone.

    The same request ends the same way, so it names no time to come back.
    """

    code = "deletion_timeout"

    def __init__(self, outcome: str) -> None:
        super().__init__(
            f"this takes longer than HOLDFAST_DELETION_TIMEOUT_SECONDS, so {outcome}; whoever runs the server can raise"
            " that limit"
        )


class DeletionNotFoundError(NotFoundError):
    """There is no such deletion, or the caller may not know it."""

    code = "deletion_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such deletion, or you may not see it")


class DeletionForbiddenError(ForbiddenError):
    """The caller sees the deletion but may not do this with it."""

    code = "deletion_forbidden"


class RestoreRefusedError(ConflictError):
    """The deletion cannot be undone now. `details["conflicts"]` lists why, each with what it is about."""

    code = "restore_refused"

    def __init__(self, message: str, conflicts: Sequence[Any] = ()) -> None:
        super().__init__(message, conflicts=list(conflicts))


class PurgeRefusedError(ConflictError):
    """The deletion is in a state in which it cannot be purged."""

    code = "purge_refused"

"""What can go wrong with groups and their members."""

from holdfast.core.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError


class GroupNotFoundError(NotFoundError):
    """There is no such group, or the caller may not know it."""

    code = "group_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such group, or you are not a member of it")


class GroupForbiddenError(ForbiddenError):
    """The caller sees the group but may not do this to it."""

    code = "group_forbidden"


class ReservedNameError(ForbiddenError):
    """The name `super` belongs to the group of the super administrators alone, and it to the name."""

    code = "reserved_name"


class MemberNotFoundError(NotFoundError):
    """The user is not in the group."""

    code = "member_not_found"

    def __init__(self) -> None:
        super().__init__("this user is not a member of the group")


class AlreadyMemberError(ConflictError):
    """The user is in the group."""

    code = "already_member"

    def __init__(self, username: str) -> None:
        super().__init__(f"{username} is a member of the group already; change their role instead")


class MemberBeingPurgedError(ConflictError):
    """The user was in the group before, and what is left of that is being removed for good at this moment."""

    code = "member_being_purged"

    def __init__(self) -> None:
        super().__init__("the former membership is being purged at this moment: try again in a minute")


class RosterRefusedError(InvalidInputError):
    """Lines of a roster cannot be imported; nothing was stored. `details["errors"]` names line, field and reason."""

    code = "roster_refused"


class RosterChangedError(ConflictError):
    """The accounts changed between the preparation and the import."""

    code = "roster_changed"

    def __init__(self) -> None:
        super().__init__("users were made or removed while this import was prepared; nothing was stored, send it again")

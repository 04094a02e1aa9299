"""What can go wrong with users, sign-in and tokens."""

from holdfast.core.errors import ConflictError, ForbiddenError, NotFoundError, NotSignedInError, TooManyRequestsError


class UserNotFoundError(NotFoundError):
    """There is no such user, or the caller may not know them."""

    code = "user_not_found"

    def __init__(self) -> None:
        super().__init__("there is no such user, or you may not see them")


class UserForbiddenError(ForbiddenError):
    """The caller may not do this with users, or not with this one."""

    code = "user_forbidden"


class UsernameTakenError(ConflictError):
    """Another live user has the name."""

    code = "username_taken"

    def __init__(self, username: str) -> None:
        super().__init__(f"the user name {username} is taken; choose another")


class RegistrationClosedError(NotSignedInError):
    """Somebody without an account asks for one where only super administrators make them."""

    code = "registration_closed"

    def __init__(self) -> None:
        super().__init__("registration is closed: ask an administrator for an account, or sign in as one to make it")


class ProtectedUserError(ForbiddenError):
    """User `admin` keeps its name, its role and its account."""

    code = "protected_user"


class LastSuperAdminError(ConflictError):
    """Nobody would be left who could undo it."""

    code = "last_super_admin"

    def __init__(self) -> None:
        super().__init__("this is the last super administrator; make another one first")


class UserDisabledError(ConflictError):
    """The user's status is `delete`."""

    code = "user_disabled"

    def __init__(self, username: str) -> None:
        super().__init__(f"user {username} is disabled; a super administrator can set another status")


class SignInFailedError(NotSignedInError):
    """An unknown or disabled user, or a wrong password; the answer never says which."""

    code = "sign_in_failed"

    def __init__(self) -> None:
        super().__init__("the user name or the password is not right")


class TooManyAttemptsError(TooManyRequestsError):
    """Too many failures for one user name or from one address."""

    code = "too_many_attempts"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(
            f"too many attempts failed; try again in {retry_after_seconds} seconds",
            retry_after_seconds=retry_after_seconds,
        )


class WrongPasswordError(ForbiddenError):
    """The old password, which a change needs, is not right."""

    code = "wrong_password"

    def __init__(self) -> None:
        super().__init__("old_password is not right; a new password needs the present one")


class PasswordChangedMeanwhileError(ConflictError):
    """Somebody else set the password while this change was on its way."""

    code = "password_changed_meanwhile"

    def __init__(self) -> None:
        super().__init__("the password was changed at the same moment; sign in again")


class TokenNotFoundError(NotFoundError):
    """There is no such token, it was revoked already, or it is somebody else's."""

    code = "token_not_found"

    def __init__(self) -> None:
        super().__init__("you have no such token, or it was revoked already")


class ScopeForbiddenError(ForbiddenError):
    """A new token may not do what the token that makes it may not."""

    code = "scope_forbidden"

"""What accounts hand to others."""

from datetime import datetime

import msgspec

from holdfast.db.include_deleted import Deletable


class Session(msgspec.Struct, frozen=True):
    """What a token's hash finds: the token and its user, as they are now."""

    token_id: str
    kind: str
    scopes: str
    user_id: str
    username: str
    full_name: str | None
    must_change_password: bool
    is_super_admin: bool
    expires_at: datetime


class User(Deletable, frozen=True):
    """A user, without the password. Status `delete` is a disabled account.

    `deletion_protected`: a deletion of the user is refused until a super administrator lifts that.
    """

    u_id: str
    username: str
    email: str | None
    full_name: str | None
    type: str
    status: str
    must_change_password: bool
    deletion_protected: bool
    is_super_admin: bool
    created_at: datetime
    updated_at: datetime


class UserAccess(User, frozen=True):
    """A user as a caller meets them; `actor_administers`: the caller is admin of a group that the user is in."""

    actor_administers: bool


class UserName(msgspec.Struct, frozen=True):
    """Which user an id or a name stands for."""

    u_id: str
    username: str
    full_name: str | None
    status: str


class RosterUser(msgspec.Struct, frozen=True):
    """What an import compares of a user."""

    u_id: str
    username: str
    email: str | None
    full_name: str | None
    status: str
    updated_at: datetime


class Credentials(msgspec.Struct, frozen=True):
    """What a sign-in is held against. `password` is the hash; never hand this to a caller."""

    u_id: str
    username: str
    password: str
    status: str
    updated_at: datetime


class Failures(msgspec.Struct, frozen=True):
    """How many attempts of one user name or address failed since the window began."""

    subject: str
    failures: int
    window_started_at: datetime


class RowId(msgspec.Struct, frozen=True):
    """The key of a row."""

    id: str


class TokenRow(msgspec.Struct, frozen=True):
    """A token as stored: its scopes in one text."""

    id: str
    user_id: str
    username: str
    kind: str
    name: str
    scopes: str
    created_at: datetime
    expires_at: datetime


class Token(msgspec.Struct, frozen=True):
    """A session (`kind` session) or an API token (`kind` api) that was not revoked.

    `token` is the secret itself: only in the answer to the request that made it, and nowhere later.
    """

    id: str
    user_id: str
    username: str
    kind: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    token: str | msgspec.UnsetType | None = msgspec.UNSET


class SignedIn(msgspec.Struct, frozen=True):
    """The answer to a sign-in; `token` is shown this once."""

    token: str
    expires_at: datetime
    user: User

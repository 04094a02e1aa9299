"""Who is acting: the signed-in user of one request, or the system itself.

An actor lives for one request only. Nothing that decides a right may be kept longer: rights are read anew each time.
"""

import msgspec

from holdfast.core.errors import ForbiddenError, NotSignedInError

ALL_SCOPES = frozenset({"*:read", "*:write"})


class Actor(msgspec.Struct, frozen=True):
    """The user on whose behalf a request or a job runs.

    `scopes` limits what an API token may do, as `area:read` and `area:write`; a session holds `ALL_SCOPES`.
    """

    user_id: str
    username: str
    full_name: str | None = None
    is_super_admin: bool = False
    must_change_password: bool = False
    token_id: str | None = None
    scopes: frozenset[str] = ALL_SCOPES
    address: str | None = None
    user_agent: str | None = None

    def may_use(self, area: str, access: str) -> bool:
        """Whether the token's scopes cover `access` ("read" or "write") to an area such as "forms"."""
        return f"*:{access}" in self.scopes or f"{area}:{access}" in self.scopes


class Origin(msgspec.Struct, frozen=True):
    """Where a request came from, for the audit log: the peer's address and its User-Agent, both cut to fit."""

    address: str | None = None
    user_agent: str | None = None


def require_scope(actor: Actor, area: str, access: str) -> None:
    """Refuse a token whose scopes do not cover this area."""
    if not actor.may_use(area, access):
        raise ForbiddenError(
            f"this API token lacks the scope {area}:{access}; make one that has it, or sign in",
            scope=f"{area}:{access}",
        )


def require_actor(actor: Actor | None) -> Actor:
    """The actor, or 401 where the route needs one."""
    if actor is None:
        raise NotSignedInError("sign in first: send a session or API token as 'Authorization: Bearer …'")
    return actor

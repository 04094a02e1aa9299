"""Who may do what with users and tokens (spec: behaviour.md, Roles)."""

from collections.abc import Iterable

from holdfast.core.actor import Actor
from holdfast.features.accounts.types import User, UserAccess

OWN_PROFILE_FIELDS = frozenset({"full_name", "email"})

AREAS = (
    "admin",
    "audit",
    "config-files",
    "deletions",
    "forms",
    "groups",
    "images",
    "projects",
    "tokens",
    "users",
    "workloads",
)
SCOPES = frozenset(f"{area}:{access}" for area in ("*", *AREAS) for access in ("read", "write"))


def can_see(actor: Actor, user: UserAccess) -> bool:
    """The user themselves, admins of a group the user is in, and super administrators."""
    return actor.is_super_admin or is_self(actor, user) or user.actor_administers


def can_change(actor: Actor, user: User) -> bool:
    """The user themselves, and super administrators."""
    return actor.is_super_admin or is_self(actor, user)


def is_self(actor: Actor, user: User) -> bool:
    """Whether the user is the caller."""
    return user.u_id == actor.user_id


def scopes_beyond(actor: Actor, scopes: Iterable[str]) -> list[str]:
    """The scopes that the caller's own token lacks, so that it cannot make a token that has them."""
    return sorted(scope for scope in scopes if not actor.may_use(*scope.split(":", 1)))

"""Who may do what with a project (spec: behaviour.md, Roles)."""

from collections.abc import Iterable

from holdfast.core.actor import Actor
from holdfast.features.groups.policy import is_staff

# What a project may use of the cluster is the super administrators' to say; a new one starts with nothing.
GRANTS = {"gpu_quota": 0, "allow_privileged": False}


def can_see(actor: Actor, actor_role: str | None) -> bool:
    """Any member of the owning group."""
    return actor.is_super_admin or actor_role is not None


def can_create(actor: Actor, actor_role: str | None) -> bool:
    """Admins of the owning group."""
    return actor.is_super_admin or actor_role == "admin"


def can_change(actor: Actor, actor_role: str | None) -> bool:
    """Managers and admins of the owning group."""
    return actor.is_super_admin or is_staff(actor_role)


def can_protect(actor: Actor, actor_role: str | None) -> bool:
    """Who may delete it says whether it may be deleted: admins of the owning group."""
    return actor.is_super_admin or actor_role == "admin"


def can_grant(actor: Actor, fields: Iterable[str]) -> bool:
    """Whether the actor may give these fields a new value, as far as quota and privileges are among them."""
    return actor.is_super_admin or not GRANTS.keys() & set(fields)

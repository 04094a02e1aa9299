"""Who may do what with a group (spec: behaviour.md, Roles)."""

import unicodedata

from holdfast.core.actor import Actor
from holdfast.db.tables.groups import SUPER_GROUP_ID, SUPER_GROUP_NAME
from holdfast.features.groups.types import STAFF_ROLES, GroupAccess


def is_staff(role: str | None) -> bool:
    """Whether a role in the owning group is manager or admin."""
    return role in STAFF_ROLES


def can_see(actor: Actor, group: GroupAccess) -> bool:
    """Members, and super administrators."""
    return actor.is_super_admin or group.actor_role is not None


def can_change(actor: Actor, group: GroupAccess) -> bool:
    """Admins of the group, and super administrators."""
    return actor.is_super_admin or group.actor_role == "admin"


def can_set_role(actor: Actor, old: str | None, new: str) -> bool:
    """Role `admin` is given and taken by super administrators alone; so nobody raises themselves."""
    return actor.is_super_admin or old == new or "admin" not in {old, new}


def is_super(g_id: str) -> bool:
    """Whether this is the group of the super administrators."""
    return g_id == SUPER_GROUP_ID


def is_reserved(group_name: str) -> bool:
    """Whether a name reads as `super`, in whatever case, width or surrounding space, and with invisible characters.

    Rights rest on the group's id alone; this only keeps people from being misled.
    """
    visible = "".join(letter for letter in group_name if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFKC", visible).strip().casefold() == SUPER_GROUP_NAME

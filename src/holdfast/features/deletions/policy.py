"""Who may delete and restore what (spec: behaviour.md, Roles)."""

from collections.abc import Callable

from holdfast.core.actor import Actor
from holdfast.features.deletions.types import RootAccess
from holdfast.features.groups.policy import is_staff

Rule = Callable[[Actor, RootAccess], bool]


def can_see(actor: Actor, root_type: str, root: RootAccess) -> bool:
    """As the feature of the noun has it."""
    return actor.is_super_admin or _SEES[root_type](actor, root)


def can_delete(actor: Actor, root_type: str, root: RootAccess) -> bool:
    """Whether the actor may delete it, all that hangs on it included."""
    return actor.is_super_admin or _DELETES[root_type](actor, root)


def can_restore(actor: Actor, root_type: str, root: RootAccess, *, deleted_by: str) -> bool:
    """Who may delete a thing restores it, but nobody lets themselves in again.

    Restoring a rule allows an image, which is the super administrators' to say: others take back their own act only.
    """
    if actor.is_super_admin:
        return True
    if root_type == "user":
        return False
    if root_type == "member":
        return root.actor_role == "admin" and root.status != "admin"
    return can_delete(actor, root_type, root) and (root_type != "image" or deleted_by == actor.user_id)


def _is_own(actor: Actor, root: RootAccess) -> bool:
    return root.owner_id == actor.user_id


def _is_member(actor: Actor, root: RootAccess) -> bool:
    return root.actor_role is not None


def _is_admin(actor: Actor, root: RootAccess) -> bool:
    return root.actor_role == "admin"


def _is_staff(actor: Actor, root: RootAccess) -> bool:
    return is_staff(root.actor_role)


def _is_own_or_staff(actor: Actor, root: RootAccess) -> bool:
    return _is_own(actor, root) or _is_staff(actor, root)


def _always(actor: Actor, root: RootAccess) -> bool:
    return True


def _never(actor: Actor, root: RootAccess) -> bool:
    return False


def _removes_member(actor: Actor, root: RootAccess) -> bool:
    """Anybody may leave; role `admin` is taken by super administrators alone."""
    return _is_own(actor, root) or (_is_admin(actor, root) and root.status != "admin")


def _removes_request(actor: Actor, root: RootAccess) -> bool:
    return _is_staff(actor, root) or (_is_own(actor, root) and root.status == "pending")


_SEES: dict[str, Rule] = {
    "user": lambda actor, root: _is_own(actor, root) or _is_admin(actor, root),
    "group": _is_member,
    "member": _is_member,
    "project": _is_member,
    "config-file": _is_member,
    "form": _is_own_or_staff,
    "form-message": lambda actor, root: _is_own_or_staff(actor, root) or root.viewer_id == actor.user_id,
    "image-request": _is_own_or_staff,
    "image": lambda actor, root: root.g_id is None or _is_member(actor, root),
    "repository": _always,
    "tag": _always,
    "workload": _is_member,
}
_DELETES: dict[str, Rule] = {
    "user": _is_own,
    "group": _is_admin,
    "member": _removes_member,
    "project": _is_admin,
    "config-file": _is_staff,
    "form": _is_own_or_staff,
    "form-message": _is_own_or_staff,
    "image-request": _removes_request,
    "image": _is_staff,
    "repository": _never,
    "tag": _never,
    "workload": _is_own_or_staff,
}

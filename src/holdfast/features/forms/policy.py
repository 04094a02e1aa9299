"""Who may do what with a form (spec: behaviour.md, Roles and Forms)."""

from holdfast.core.actor import Actor
from holdfast.features.forms.types import FormAccess
from holdfast.features.groups.policy import is_staff

CLOSED = frozenset({"Completed", "Rejected"})

# Pending -> Processing -> Completed or Rejected; staff may take a step back or reopen, and decide at once.
FOLLOWING = {
    "Pending": frozenset({"Processing", "Completed", "Rejected"}),
    "Processing": frozenset({"Pending", "Completed", "Rejected"}),
    "Completed": frozenset({"Pending", "Processing"}),
    "Rejected": frozenset({"Pending", "Processing"}),
}


def can_see(actor: Actor, form: FormAccess) -> bool:
    """The author, the project's managers and admins, and super administrators."""
    return form.user_id == actor.user_id or can_decide(actor, form)


def can_answer(actor: Actor, form: FormAccess) -> bool:
    """Whoever sees a form may write on it."""
    return can_see(actor, form)


def can_decide(actor: Actor, form: FormAccess) -> bool:
    """Staff change the status; a form without project is the super administrators'."""
    return actor.is_super_admin or is_staff(form.actor_role)

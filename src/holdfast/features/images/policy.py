"""Who may do what with image requests and the allow list (spec: behaviour.md, Roles and Images)."""

from holdfast.core.actor import Actor
from holdfast.features.groups.policy import is_staff
from holdfast.features.images.references import ImageReference
from holdfast.features.images.types import AllowedImageAccess, ImageRequestAccess


def can_see_request(actor: Actor, request: ImageRequestAccess) -> bool:
    """Whoever filed it, the project's managers and admins, and super administrators."""
    return actor.is_super_admin or request.user_id == actor.user_id or is_staff(request.actor_role)


def can_see_image(actor: Actor, image: AllowedImageAccess) -> bool:
    """Rules for all are everybody's to read, a project's rule its group's."""
    return actor.is_super_admin or image.project_id is None or image.actor_role is not None


def can_disable_image(actor: Actor, image: AllowedImageAccess) -> bool:
    """A project's rule: its managers and admins. A rule for all: super administrators."""
    return actor.is_super_admin or (image.project_id is not None and is_staff(image.actor_role))


def is_in_registry(reference: ImageReference, private_registry: str) -> bool:
    """Whether the image lies in our own registry, whose address may go on with a path; none lies in ""."""
    prefix = private_registry.rstrip("/").lower()
    return bool(prefix) and reference.full_name.startswith(f"{prefix}/")

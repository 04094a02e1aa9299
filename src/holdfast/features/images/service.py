"""The allow list: which images may run where, and who changes that."""

from typing import Any

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import new_long_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version, require_version
from holdfast.db.engines.base import Transaction
from holdfast.db.include_deleted import get_include_deleted
from holdfast.db.statements import Query
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action, Entry
from holdfast.features.images import policy, queries, repositories
from holdfast.features.images.errors import (
    ImageAlreadyAllowedError,
    ImageForbiddenError,
    ImageNotAllowedError,
    ImageNotFoundError,
)
from holdfast.features.images.references import ImageReference
from holdfast.features.images.types import AllowedImage, AllowedImageAccess, EqualRule
from holdfast.features.projects import service as projects
from holdfast.features.projects.types import ProjectAccess


async def is_image_allowed(tx: Transaction, project_id: str | None, reference: ImageReference) -> bool:
    """Whether a live, enabled rule of the project or for all names the image; None asks the rules for all alone.

    A digest decides alone where there is one, as it does for the container runtime: the tag beside it is a remark.
    """
    count = await tx.fetch_count(
        queries.COUNT_RULES_THAT_ALLOW,
        full_name=reference.full_name,
        project_id=project_id,
        tag=reference.tag if reference.digest is None else None,
        digest=reference.digest,
    )
    return count > 0


async def require_image_allowed(tx: Transaction, project_id: str, reference: ImageReference) -> None:
    """Refuse an image that may not run in the project."""
    if not await is_image_allowed(tx, project_id, reference):
        raise ImageNotAllowedError(str(reference))


async def list_images(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[AllowedImage]:
    """The rules for all and those of the actor's projects; every rule for super administrators."""
    scope = "all" if actor.is_super_admin else "visible"
    return await queries.IMAGES.fetch_page(
        tx,
        page,
        scope=scope,
        cursor_key=cursor_key,
        sees_deleted=actor.is_super_admin,
        actor_id=actor.user_id,
        **filters,
    )


async def get_image(tx: Transaction, actor: Actor, image_id: str) -> AllowedImage:
    """A rule that the actor may see."""
    await _get_image_access(tx, actor, image_id, queries.FIND_IMAGE_ACCESS)
    image = await tx.fetch_one(queries.GET_IMAGE, image_id=image_id)
    if image is None:
        raise ImageNotFoundError
    return image


async def get_image_include_deleted(tx: Transaction, actor: Actor, image_id: str) -> AllowedImage:
    """A rule, deleted or live; super administrators only."""
    return await get_include_deleted(
        tx, actor, queries.GET_IMAGE_INCLUDE_DELETED, ImageNotFoundError, image_id=image_id
    )


async def add_rule(
    tx: Transaction,
    actor: Actor,
    reference: ImageReference,
    *,
    project_id: str | None,
    private_registry: str = "",
    clock: Clock = utc_now,
) -> AllowedImage:
    """Allow an image without a request; every tag of it where the reference has none. Super administrators only."""
    if not actor.is_super_admin:
        raise ImageForbiddenError("only super administrators allow an image without a request")
    project = await lock_rules_of(tx, actor, project_id)
    target, entries = await _find_or_make_target(tx, reference, project, private_registry, clock=clock)
    equal = await _find_equal(tx, target)
    if equal is not None:
        state = "" if equal.is_enabled else " and disabled: enable it with PATCH"
        raise ImageAlreadyAllowedError(f"this rule is there already{state}", image_id=equal.id)
    image_id, entry = await _insert_rule(tx, actor, target, request_id=None, clock=clock)
    await audit.record_all(tx, actor, [*entries, entry], clock)
    return await get_image(tx, actor, image_id)


async def allow_requested(
    tx: Transaction,
    actor: Actor,
    reference: ImageReference,
    *,
    project: ProjectAccess | None,
    request_id: str,
    private_registry: str,
    clock: Clock,
) -> list[Entry]:
    """Write the rule of an approved request, and return what to record. `lock_rules_of` gave the project, or None.

    An equal rule is linked to the request and enabled instead: two rules for one thing could not be told apart.
    """
    target, entries = await _find_or_make_target(tx, reference, project, private_registry, clock=clock)
    equal = await _find_equal(tx, target)
    if equal is None:
        _, entry = await _insert_rule(tx, actor, target, request_id=request_id, clock=clock)
    else:
        entry = await _link_rule(tx, target, equal, request_id, clock)
    return [*entries, entry]


async def lock_rules_of(tx: Transaction, actor: Actor, project_id: str | None) -> ProjectAccess | None:
    """Hold the rules and requests of a live project, or those for all, against others who would write them now.

    Gives the project; `ProjectNotFoundError` where the actor may not see it.
    """
    if project_id is None:
        await tx.fetch_one(queries.LOCK_RULES_FOR_ALL)
        return None
    return await projects.get_access_alone(tx, actor, project_id)


async def change_image(
    tx: Transaction,
    actor: Actor,
    image_id: str,
    *,
    is_enabled: bool,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> AllowedImage:
    """Disable a rule, or enable it again (super administrators only)."""
    image = await _get_image_access(tx, actor, image_id, queries.FIND_IMAGE_ACCESS_ALONE)
    if not policy.can_disable_image(actor, image):
        raise ImageForbiddenError(
            "only managers and admins of its project disable a rule; one for all, nobody but super administrators"
        )
    if is_enabled and not actor.is_super_admin:
        raise ImageForbiddenError("only super administrators enable a rule; file a request for the image instead")
    require_version(image.updated_at, if_match)
    if is_enabled != image.is_enabled:
        await tx.execute(
            queries.UPDATE_RULE,
            image_id=image_id,
            new_is_enabled=is_enabled,
            new_updated_at=next_version(image.updated_at, clock()),
        )
        await audit.record(
            tx,
            actor,
            Action.UPDATE,
            "image",
            image_id,
            label=image.full_name,
            g_id=image.g_id,
            old={"is_enabled": image.is_enabled},
            new={"is_enabled": is_enabled},
            clock=clock,
        )
    return await get_image(tx, actor, image_id)


class _Target(msgspec.Struct, frozen=True):
    """What a rule is about: the image and its rows, and for which project."""

    reference: ImageReference
    repository_id: str
    tag_id: str | None
    project_id: str | None
    g_id: str | None


async def _get_image_access(
    tx: Transaction, actor: Actor, image_id: str, query: Query[AllowedImageAccess]
) -> AllowedImageAccess:
    image = await tx.fetch_one(query, image_id=image_id, actor_id=actor.user_id)
    if image is None or not policy.can_see_image(actor, image):
        raise ImageNotFoundError
    return image


async def _find_or_make_target(
    tx: Transaction, reference: ImageReference, project: ProjectAccess | None, private_registry: str, *, clock: Clock
) -> tuple[_Target, list[Entry]]:
    tag_id = None
    repository_id, entries = await repositories.find_or_make_repository(tx, reference, clock)
    if reference.tag is not None:
        tag_id, made = await repositories.find_or_make_tag(tx, reference, repository_id, clock)
        entries = [*entries, *made]
        if policy.is_in_registry(reference, private_registry):
            entries.append(await repositories.mark_pulled(tx, reference, tag_id, clock))
    target = _Target(
        reference=reference,
        repository_id=repository_id,
        tag_id=tag_id,
        project_id=None if project is None else project.p_id,
        g_id=None if project is None else project.g_id,
    )
    return target, entries


async def _find_equal(tx: Transaction, target: _Target) -> EqualRule | None:
    return await tx.fetch_one(
        queries.FIND_EQUAL_RULE_ALONE,
        repository_id=target.repository_id,
        tag_id=target.tag_id,
        project_id=target.project_id,
    )


async def _insert_rule(
    tx: Transaction, actor: Actor, target: _Target, *, request_id: str | None, clock: Clock
) -> tuple[str, Entry]:
    image_id, now = new_long_id(), clock()
    fields: dict[str, Any] = {
        "project_id": target.project_id,
        "repository_id": target.repository_id,
        "tag_id": target.tag_id,
        "request_id": request_id,
        "is_enabled": True,
    }
    await tx.execute(
        queries.INSERT_RULE, id=image_id, created_by=actor.user_id, created_at=now, updated_at=now, **fields
    )
    return image_id, _rule_entry(Action.CREATE, image_id, target, old=None, new=fields)


async def _link_rule(tx: Transaction, target: _Target, rule: EqualRule, request_id: str, clock: Clock) -> Entry:
    await tx.execute(
        queries.LINK_RULE,
        image_id=rule.id,
        new_request_id=request_id,
        new_is_enabled=True,
        new_updated_at=next_version(rule.updated_at, clock()),
    )
    old = {"request_id": rule.request_id, "is_enabled": rule.is_enabled}
    return _rule_entry(Action.UPDATE, rule.id, target, old=old, new={"request_id": request_id, "is_enabled": True})


def _rule_entry(
    action: Action, image_id: str, target: _Target, *, old: dict[str, Any] | None, new: dict[str, Any]
) -> Entry:
    return Entry(
        action=action,
        resource_type="image",
        resource_id=image_id,
        label=str(target.reference),
        g_id=target.g_id,
        old=old,
        new=new,
    )

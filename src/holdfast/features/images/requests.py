"""Requests for images: filed by members, decided once by super administrators."""

from typing import Any

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.ids import new_long_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version
from holdfast.db.engines.base import Transaction
from holdfast.db.include_deleted import get_include_deleted
from holdfast.db.statements import Query
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action, Entry
from holdfast.features.groups.policy import is_staff
from holdfast.features.images import policy, queries, service
from holdfast.features.images.errors import (
    ImageAlreadyAllowedError,
    ImageForbiddenError,
    ImageRequestDecidedError,
    ImageRequestForbiddenError,
    ImageRequestNotFoundError,
    ImageRequestPendingError,
    InvalidImageReferenceError,
)
from holdfast.features.images.references import ImageReference, parse_image, with_default_tag
from holdfast.features.images.types import AllowedImage, ImageRequest, ImageRequestAccess
from holdfast.features.projects import service as projects


async def file_request(
    tx: Transaction,
    actor: Actor,
    *,
    image_name: str,
    registry: str | None = None,
    tag: str | None = None,
    project_id: str | None = None,
    clock: Clock = utc_now,
) -> ImageRequest:
    """Ask for an image: for a project as a member of its group, without project for all."""
    reference = with_default_tag(_parse_taggable(image_name, registry, tag))
    project = await service.lock_rules_of(tx, actor, project_id)
    if await service.is_image_allowed(tx, project_id, reference):
        raise ImageAlreadyAllowedError(f"{reference} is allowed already", image=str(reference))
    fields: dict[str, Any] = {
        "project_id": project_id,
        "input_registry": reference.registry,
        "input_image_name": reference.path,
        "input_tag": reference.tag,
    }
    pending = await tx.fetch_one(queries.FIND_PENDING_REQUEST, **fields)
    if pending is not None:
        raise ImageRequestPendingError(str(reference), pending.id)
    request_id, now = new_long_id(), clock()
    await tx.execute(
        queries.INSERT_REQUEST,
        id=request_id,
        user_id=actor.user_id,
        status="pending",
        created_at=now,
        updated_at=now,
        **fields,
    )
    await audit.record(
        tx,
        actor,
        Action.CREATE,
        "image-request",
        request_id,
        label=str(reference),
        g_id=None if project is None else project.g_id,
        new=fields,
        clock=clock,
    )
    return ImageRequest(
        id=request_id,
        user_id=actor.user_id,
        username=actor.username,
        full_name=actor.full_name,
        project_name=None if project is None else project.project_name,
        status="pending",
        reviewer_id=None,
        reviewer_name=None,
        reviewed_at=None,
        reviewer_note=None,
        image_id=None,
        created_at=now,
        updated_at=now,
        **fields,
    )


async def get_request(tx: Transaction, actor: Actor, request_id: str) -> ImageRequest:
    """A request that the actor may see."""
    await _get_request_access(tx, actor, request_id, queries.FIND_REQUEST_ACCESS)
    request = await tx.fetch_one(queries.GET_REQUEST, request_id=request_id)
    if request is None:
        raise ImageRequestNotFoundError
    return request


async def get_request_include_deleted(tx: Transaction, actor: Actor, request_id: str) -> ImageRequest:
    """A request, deleted or live; super administrators only."""
    return await get_include_deleted(
        tx, actor, queries.GET_REQUEST_INCLUDE_DELETED, ImageRequestNotFoundError, request_id=request_id
    )


async def list_requests(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[ImageRequest]:
    """The actor's own requests and those of projects where they are staff; all for super administrators."""
    scope = "all" if actor.is_super_admin else "visible"
    return await queries.REQUESTS.fetch_page(
        tx,
        page,
        scope=scope,
        cursor_key=cursor_key,
        sees_deleted=actor.is_super_admin,
        actor_id=actor.user_id,
        **filters,
    )


async def approve_request(
    tx: Transaction,
    actor: Actor,
    request_id: str,
    *,
    note: str | None = None,
    is_global: bool = False,
    private_registry: str = "",
    clock: Clock = utc_now,
) -> ImageRequest:
    """Allow what a pending request asks for, in its project or, where `is_global`, for all.

    Decision, repository, tag, rule and audit rows are one transaction.
    """
    request = await _get_request_access(tx, actor, request_id, queries.FIND_REQUEST_ACCESS)
    _require_decider(actor)
    # The project before the request, as a deletion locks them; the other way round the two could wait for each other.
    project = await service.lock_rules_of(tx, actor, None if is_global else request.project_id)
    request = await _lock_pending(tx, actor, request_id)
    await _decide(tx, actor, request, status="approved", note=note, clock=clock)
    entries = await service.allow_requested(
        tx,
        actor,
        _asked_for(request),
        project=project,
        request_id=request_id,
        private_registry=private_registry,
        clock=clock,
    )
    entry = _decision_entry(request, Action.APPROVE, {"status": "approved", "note": note, "is_global": is_global})
    await audit.record_all(tx, actor, [entry, *entries], clock)
    return await get_request(tx, actor, request_id)


async def reject_request(
    tx: Transaction, actor: Actor, request_id: str, *, note: str, clock: Clock = utc_now
) -> ImageRequest:
    """Turn down a pending request, with the reason."""
    await _get_request_access(tx, actor, request_id, queries.FIND_REQUEST_ACCESS)
    _require_decider(actor)
    request = await _lock_pending(tx, actor, request_id)
    await _decide(tx, actor, request, status="rejected", note=note, clock=clock)
    entry = _decision_entry(request, Action.REJECT, {"status": "rejected", "note": note})
    await audit.record_all(tx, actor, [entry], clock)
    return await get_request(tx, actor, request_id)


async def allow_or_file(
    tx: Transaction,
    actor: Actor,
    *,
    image_name: str,
    registry: str | None = None,
    tag: str | None = None,
    project_id: str | None = None,
    private_registry: str = "",
    clock: Clock = utc_now,
) -> AllowedImage | ImageRequest:
    """Allow an image: at once for super administrators; managers and admins of the project file a request by it.

    Without tag every tag is allowed, which only super administrators may say.
    """
    reference = _parse_taggable(image_name, registry, tag)
    if actor.is_super_admin:
        return await service.add_rule(
            tx, actor, reference, project_id=project_id, private_registry=private_registry, clock=clock
        )
    if project_id is None:
        raise ImageForbiddenError("only super administrators allow an image for all; name your project")
    if not is_staff((await projects.get_access(tx, actor, project_id)).actor_role):
        raise ImageForbiddenError("only managers and admins add images to a project; file a request instead")
    if reference.tag is None:
        raise InvalidImageReferenceError("name a tag: only super administrators allow every tag of an image")
    return await file_request(tx, actor, image_name=str(reference), project_id=project_id, clock=clock)


def _parse_taggable(image_name: str, registry: str | None, tag: str | None) -> ImageReference:
    reference = parse_image(image_name, registry=registry, tag=tag)
    if reference.digest is not None:
        raise InvalidImageReferenceError(
            "name a tag, not a digest: a digest is allowed with the tag that carries it, or with every tag"
        )
    return reference


async def _get_request_access(
    tx: Transaction, actor: Actor, request_id: str, query: Query[ImageRequestAccess]
) -> ImageRequestAccess:
    request = await tx.fetch_one(query, request_id=request_id, actor_id=actor.user_id)
    if request is None or not policy.can_see_request(actor, request):
        raise ImageRequestNotFoundError
    return request


def _require_decider(actor: Actor) -> None:
    if not actor.is_super_admin:
        raise ImageRequestForbiddenError("only super administrators decide image requests")


async def _lock_pending(tx: Transaction, actor: Actor, request_id: str) -> ImageRequestAccess:
    """The request, which nobody else decides before the transaction ends; 409 where somebody has."""
    request = await _get_request_access(tx, actor, request_id, queries.FIND_REQUEST_ACCESS_ALONE)
    if request.status != "pending":
        raise ImageRequestDecidedError(request.status)
    return request


async def _decide(
    tx: Transaction, actor: Actor, request: ImageRequestAccess, *, status: str, note: str | None, clock: Clock
) -> None:
    now = clock()
    await tx.execute(
        queries.DECIDE_REQUEST,
        request_id=request.id,
        new_status=status,
        new_reviewer_id=actor.user_id,
        new_reviewed_at=now,
        new_reviewer_note=note,
        new_updated_at=next_version(request.updated_at, now),
    )


def _asked_for(request: ImageRequestAccess) -> ImageReference:
    """The image of a request. It is read as any other text, because imported requests keep what their users wrote."""
    return parse_image(request.input_image_name, registry=request.input_registry, tag=request.input_tag)


def _decision_entry(request: ImageRequestAccess, action: Action, new: dict[str, Any]) -> Entry:
    return Entry(
        action=action,
        resource_type="image-request",
        resource_id=request.id,
        label=str(_asked_for(request)),
        g_id=request.g_id,
        old={"status": request.status},
        new=new,
    )

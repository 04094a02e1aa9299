"""Repositories and tags: kept by super administrators, found or made when an image is allowed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import InvalidInputError
from holdfast.core.ids import new_long_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version, require_version
from holdfast.db.engines.base import Transaction
from holdfast.db.errors import SerializationError
from holdfast.db.include_deleted import get_include_deleted
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action, Entry
from holdfast.features.images import repository_queries as queries
from holdfast.features.images.errors import (
    InvalidImageReferenceError,
    RepositoryExistsError,
    RepositoryForbiddenError,
    RepositoryNotFoundError,
    TagExistsError,
    TagNotFoundError,
)
from holdfast.features.images.references import ImageReference, check_digest, check_tag, parse_image
from holdfast.features.images.types import Repository, Tag

_EARLIEST_PUSH = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCK_TOLERANCE = timedelta(days=1)


async def list_repositories(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, q: str | None = None
) -> Page[Repository]:
    """All repositories: every signed-in user may see what exists."""
    return await queries.REPOSITORIES.fetch_page(
        tx, page, cursor_key=cursor_key, sees_deleted=actor.is_super_admin, q=q
    )


async def get_repository(tx: Transaction, repository_id: str) -> Repository:
    """One repository."""
    repository = await tx.fetch_one(queries.FIND_REPOSITORY, repository_id=repository_id)
    if repository is None:
        raise RepositoryNotFoundError
    return repository


async def get_repository_include_deleted(tx: Transaction, actor: Actor, repository_id: str) -> Repository:
    """One repository, deleted or live; super administrators only."""
    return await get_include_deleted(
        tx,
        actor,
        queries.FIND_REPOSITORY_INCLUDE_DELETED,
        RepositoryNotFoundError,
        repository_id=repository_id,
    )


async def add_repository(
    tx: Transaction, actor: Actor, *, name: str, registry: str | None = None, clock: Clock = utc_now
) -> Repository:
    """Keep a repository; `name` may hold its namespace and registry. Super administrators only."""
    _require_keeper(actor)
    reference = parse_image(name, registry=registry)
    if reference.tag is not None or reference.digest is not None:
        raise InvalidImageReferenceError("a repository is named without tag and digest")
    repository_id, entries = await find_or_make_repository(tx, reference, clock)
    if not entries:
        raise RepositoryExistsError(reference.full_name)
    await audit.record_all(tx, actor, entries, clock)
    return await get_repository(tx, repository_id)


async def list_tags(
    tx: Transaction, actor: Actor, repository_id: str, page: PageRequest, *, cursor_key: bytes, q: str | None = None
) -> Page[Tag]:
    """The tags of a repository, with what the cluster has pulled of them."""
    if page.include_deleted:
        await get_repository_include_deleted(tx, actor, repository_id)
    else:
        await get_repository(tx, repository_id)
    return await queries.TAGS.fetch_page(
        tx, page, cursor_key=cursor_key, sees_deleted=actor.is_super_admin, repository_id=repository_id, q=q
    )


async def get_tag(tx: Transaction, repository_id: str, tag_id: str) -> Tag:
    """One tag of a repository."""
    tag = await tx.fetch_one(queries.GET_TAG, repository_id=repository_id, tag_id=tag_id)
    if tag is None:
        raise TagNotFoundError
    return tag


async def get_tag_include_deleted(tx: Transaction, actor: Actor, repository_id: str, tag_id: str) -> Tag:
    """One tag of a repository, deleted or live; super administrators only."""
    return await get_include_deleted(
        tx, actor, queries.GET_TAG_INCLUDE_DELETED, TagNotFoundError, repository_id=repository_id, tag_id=tag_id
    )


async def add_tag(
    tx: Transaction,
    actor: Actor,
    repository_id: str,
    *,
    name: str,
    digest: str | None = None,
    size: int | None = None,
    pushed_at: datetime | None = None,
    clock: Clock = utc_now,
) -> Tag:
    """Keep a tag of a repository. Super administrators only."""
    _require_keeper(actor)
    check_tag(name)
    _check_push(digest, pushed_at, clock)
    repository = await tx.fetch_one(queries.FIND_REPOSITORY_AS_PARENT, repository_id=repository_id)
    if repository is None:
        raise RepositoryNotFoundError
    fields: dict[str, Any] = {"name": name, "digest": digest, "size": size, "pushed_at": pushed_at}
    tag_id = await _insert_tag(tx, repository_id, fields, clock)
    if tag_id is None:
        raise TagExistsError(name)
    await audit.record(
        tx,
        actor,
        Action.CREATE,
        "tag",
        tag_id,
        label=f"{repository.full_name}:{name}",
        new={"repository_id": repository_id, **fields},
        clock=clock,
    )
    return await get_tag(tx, repository_id, tag_id)


async def change_tag(
    tx: Transaction,
    actor: Actor,
    repository_id: str,
    tag_id: str,
    changes: dict[str, Any],
    *,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> Tag:
    """Change a tag's digest, size or time of push. Super administrators only."""
    _require_keeper(actor)
    _check_push(changes.get("digest"), changes.get("pushed_at"), clock)
    tag = await tx.fetch_one(queries.FIND_TAG_ALONE, repository_id=repository_id, tag_id=tag_id)
    if tag is None:
        raise TagNotFoundError
    require_version(tag.updated_at, if_match)
    old = {name: getattr(tag, name) for name in ("digest", "size", "pushed_at")}
    new = {name: value for name, value in changes.items() if old[name] != value}
    if new:
        values = {f"new_{name}": value for name, value in (old | new).items()}
        await tx.execute(
            queries.UPDATE_TAG, tag_id=tag_id, new_updated_at=next_version(tag.updated_at, clock()), **values
        )
        await audit.record(
            tx,
            actor,
            Action.UPDATE,
            "tag",
            tag_id,
            label=f"{tag.full_name}:{tag.name}",
            old={name: old[name] for name in new},
            new=new,
            clock=clock,
        )
    return await get_tag(tx, repository_id, tag_id)


async def find_or_make_repository(tx: Transaction, reference: ImageReference, clock: Clock) -> tuple[str, list[Entry]]:
    """The id of the live repository, which stays live to the end of the transaction, and what to record if it is new.

    A deleted one of the same name is left alone: it belongs to its deletion, and what it allowed stays forbidden.
    """
    found = await tx.fetch_one(queries.FIND_REPOSITORY_NAMED, full_name=reference.full_name)
    if found is not None:
        return found.id, []
    repository_id, now = new_long_id(), clock()
    fields = {"registry": reference.registry, "namespace": reference.namespace, "name": reference.name}
    if await tx.insert_unless_present(
        queries.INSERT_REPOSITORY,
        id=repository_id,
        full_name=reference.full_name,
        created_at=now,
        updated_at=now,
        **fields,
    ):
        entry = Entry(
            action=Action.CREATE,
            resource_type="repository",
            resource_id=repository_id,
            label=reference.full_name,
            new={**fields, "full_name": reference.full_name},
        )
        return repository_id, [entry]
    found = await tx.fetch_one(queries.FIND_REPOSITORY_NAMED, full_name=reference.full_name)
    if found is None:
        raise _met_a_deletion()
    return found.id, []


async def find_or_make_tag(
    tx: Transaction, reference: ImageReference, repository_id: str, clock: Clock
) -> tuple[str, list[Entry]]:
    """As `find_or_make_repository`, for the reference's tag in a repository that is held live."""
    found = await tx.fetch_one(queries.FIND_TAG_NAMED, repository_id=repository_id, name=reference.tag)
    if found is not None:
        return found.id, []
    fields: dict[str, Any] = {"name": reference.tag, "digest": None, "size": None, "pushed_at": None}
    tag_id = await _insert_tag(tx, repository_id, fields, clock)
    if tag_id is not None:
        entry = Entry(
            action=Action.CREATE,
            resource_type="tag",
            resource_id=tag_id,
            label=str(reference),
            new={"repository_id": repository_id, "name": reference.tag},
        )
        return tag_id, [entry]
    found = await tx.fetch_one(queries.FIND_TAG_NAMED, repository_id=repository_id, name=reference.tag)
    if found is None:
        raise _met_a_deletion()
    return found.id, []


async def mark_pulled(tx: Transaction, reference: ImageReference, tag_id: str, clock: Clock) -> Entry:
    """Note that the cluster has the tag; what to record of it."""
    now = clock()
    matched = await tx.execute(
        queries.MARK_PULLED,
        tag_id=tag_id,
        new_is_pulled=True,
        new_last_pulled_at=now,
        new_pull_error=None,
        new_updated_at=now,
    )
    if not matched:
        await tx.insert_unless_present(
            queries.INSERT_PULLED,
            id=new_long_id(),
            tag_id=tag_id,
            is_pulled=True,
            last_pulled_at=now,
            created_at=now,
            updated_at=now,
        )
    return Entry(
        action=Action.UPDATE,
        resource_type="tag",
        resource_id=tag_id,
        label=str(reference),
        new={"is_pulled": True},
    )


async def _insert_tag(tx: Transaction, repository_id: str, fields: dict[str, Any], clock: Clock) -> str | None:
    """The new tag's id, or None where the repository has one of that name."""
    tag_id, now = new_long_id(), clock()
    inserted = await tx.insert_unless_present(
        queries.INSERT_TAG, id=tag_id, repository_id=repository_id, created_at=now, updated_at=now, **fields
    )
    return tag_id if inserted else None


def _require_keeper(actor: Actor) -> None:
    if not actor.is_super_admin:
        raise RepositoryForbiddenError


def _check_push(digest: str | None, pushed_at: datetime | None, clock: Clock) -> None:
    if digest is not None:
        check_digest(digest)
    if pushed_at is not None and not _EARLIEST_PUSH <= pushed_at <= clock() + _CLOCK_TOLERANCE:
        raise InvalidInputError("pushed_at must lie between the year 2000 and now")


def _met_a_deletion() -> SerializationError:
    return SerializationError("the repository was deleted at the same moment; try again", retry_after_seconds=1)

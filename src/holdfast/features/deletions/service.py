"""Planning, deleting, restoring, and asking for a purge."""

from datetime import timedelta
from typing import Any

import msgspec

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import InvalidInputError
from holdfast.core.ids import new_long_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import require_version
from holdfast.db import jobs
from holdfast.db.engines.base import Transaction
from holdfast.db.errors import SerializationError, StatementTimeoutError
from holdfast.db.lifecycle import trash
from holdfast.db.lifecycle.graph import GRAPH
from holdfast.db.lifecycle.plan import Root, count_deletion, lock_root, root_of
from holdfast.db.statements import Query
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.deletions import policy, queries, restores
from holdfast.features.deletions.decisions import still_open
from holdfast.features.deletions.errors import (
    DecisionNeededError,
    DeletionForbiddenError,
    DeletionNotFoundError,
    DeletionProtectedError,
    DeletionTimeoutError,
    PlanChangedError,
    PlanRequiredError,
    PurgeRefusedError,
)
from holdfast.features.deletions.hand_over import hand_over
from holdfast.features.deletions.plans import is_token_of, make_plan
from holdfast.features.deletions.roots import find_owning_group, find_root, get_root, require_deletable
from holdfast.features.deletions.types import Deleted, DeletionPlan, DeletionRow, Restored, RootAccess

PURGE_JOB = "deletions.purge"
_LONGEST_LABEL = 255


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How a caller wants something deleted.

    `plan_token` shows that they know what goes; `take_along` and `hand_over_to` answer the plan's decisions. `under` is
    what the request's path names above the thing, `if_match` the version that they read.
    """

    plan_token: str | None = None
    take_along: bool = False
    hand_over_to: str | None = None
    reason: str | None = None
    under: str | None = None
    if_match: str | None = None


async def plan_deletion(tx: Transaction, actor: Actor, type: str, id: str, *, plan_key: bytes) -> DeletionPlan:  # noqa: A002 - the fields' names
    """What a deletion would do, counted and not done. Whoever may delete a thing may ask."""
    root = root_of(type, id)
    found = await get_root(tx, actor, root)
    await require_deletable(tx, root, found, is_locked=False)
    return await make_plan(tx, root, found, await count_deletion(tx, root), plan_key)


async def delete(
    tx: Transaction,
    actor: Actor,
    type: str,  # noqa: A002 - the fields' names
    id: str,  # noqa: A002
    wish: Wish,
    *,
    plan_key: bytes,
    kept_days: int,
    clock: Clock = utc_now,
) -> Deleted:
    """Soft-delete a thing and all that hangs on it, as one deletion; `kept_days` from now it may be purged.

    More than the thing itself takes the plan's token, and every decision of the plan an answer. Its statements may take
    as long as `deletion_timeout_seconds` each; over that DeletionTimeoutError, and nothing is marked.
    """
    root = root_of(type, id)
    await tx.allow_long_statements()
    try:
        return await _delete(tx, actor, root, wish, plan_key=plan_key, kept_days=kept_days, clock=clock)
    except StatementTimeoutError as error:
        raise DeletionTimeoutError(
            "nothing was deleted: delete its parts first, such as the projects of a group"
        ) from error


async def list_deletions(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[DeletionRow]:
    """The actor's own deletions, newest first; all for super administrators."""
    scope = "all" if actor.is_super_admin else "own"
    found = await queries.DELETIONS.fetch_page(
        tx, page, scope=scope, cursor_key=cursor_key, own_id=actor.user_id, **filters
    )
    for row in found.items:
        _make_readable(actor, row)
    return found


async def get_deletion(tx: Transaction, actor: Actor, deletion_id: str) -> DeletionRow:
    """A deletion that the actor made, or of a thing that they may delete."""
    return await _get_deletion(tx, actor, deletion_id, queries.GET_DELETION)


async def restore(
    tx: Transaction, actor: Actor, deletion_id: str, *, rename: bool = False, clock: Clock = utc_now
) -> Restored:
    """Undo a deletion in one transaction. `rename` gives free names to what comes back to a taken one.

    Its statements may take as long as those of the deletion.
    """
    await tx.allow_long_statements()
    try:
        deletion = await _get_deletion(tx, actor, deletion_id, queries.LOCK_DELETION)
        return await restores.restore(tx, actor, deletion, rename=rename, clock=clock)
    except StatementTimeoutError as error:
        raise DeletionTimeoutError("nothing was restored") from error


async def request_purge(tx: Transaction, actor: Actor, deletion_id: str, *, clock: Clock = utc_now) -> DeletionRow:
    """Ask for the purge of a deletion, as a job; super administrators only. One under way is left alone."""
    deletion = await _get_deletion(tx, actor, deletion_id, queries.LOCK_DELETION)
    if not actor.is_super_admin:
        raise DeletionForbiddenError("only super administrators purge")
    if deletion.state in {"restored", "purged"}:
        raise PurgeRefusedError(f"this deletion is {deletion.state}: there is nothing to purge")
    # Asked for twice is asked for once, in the audit log as well.
    if deletion.state == "purging" or await jobs.is_pending(tx, PURGE_JOB, deletion_id=deletion_id):
        return deletion
    arguments = {"deletion_id": deletion_id, "actor_id": actor.user_id, "actor_name": actor.username}
    await jobs.enqueue(tx, PURGE_JOB, arguments, clock=clock)
    await audit.record(
        tx,
        actor,
        Action.PURGE,
        deletion.root_type,
        deletion.root_id,
        label=deletion.root_label,
        g_id=await find_owning_group(tx, deletion.root_type, deletion.root_id, deletion.id),
        new={"deletion_id": deletion_id},
        description="purge asked for",
        clock=clock,
    )
    return deletion


async def _delete(
    tx: Transaction, actor: Actor, root: Root, wish: Wish, *, plan_key: bytes, kept_days: int, clock: Clock
) -> Deleted:
    found = await _lock(tx, actor, root, wish)
    numbers = await count_deletion(tx, root)
    plan = await make_plan(tx, root, found, numbers, plan_key)
    _require_consent(plan, wish)
    if wish.hand_over_to is not None:
        await _hand_over(tx, actor, root, wish.hand_over_to, clock)
        numbers = await count_deletion(tx, root)
        plan = await make_plan(tx, root, found, numbers, plan_key)
    deletion_id = new_long_id()
    counts = await trash.mark(tx, root, deletion_id, clock(), by_edge=numbers.by_edge)
    if counts != plan.counts:
        # Somebody made, removed or protected a row beneath since it was counted: counted again, the plan tells.
        raise SerializationError("what would go changed at the same moment; try again", retry_after_seconds=1)
    await _record(tx, actor, plan, found, deletion_id, reason=wish.reason, kept_days=kept_days, clock=clock)
    return Deleted(deletion_id=deletion_id, counts=counts)


async def _lock(tx: Transaction, actor: Actor, root: Root, wish: Wish) -> RootAccess:
    """The root, live and locked, as the actor may delete it."""
    if not tx.writes_alone:
        if not actor.is_super_admin:
            # So that nobody holds up what they may not delete; and again below, because rights may have changed.
            await get_root(tx, actor, root, under=wish.under)
        if root.type in queries.LOCK_ADMINISTERED:
            await tx.fetch_all(queries.LOCK_ADMINISTERED[root.type], **root.parameters)
        await lock_root(tx, root)
    found = await get_root(tx, actor, root, under=wish.under)
    await require_deletable(tx, root, found, is_locked=True)
    if found.updated_at is not None:
        require_version(found.updated_at, wish.if_match)
    return found


def _require_consent(plan: DeletionPlan, wish: Wish) -> None:
    if plan.protected:
        first = plan.protected[0]
        raise DeletionProtectedError(f"{first.type} {first.label}", plan.protected)
    if wish.plan_token is None and sum(plan.counts.values()) > 1:
        raise PlanRequiredError(plan)
    if wish.plan_token is not None and not is_token_of(plan, wish.plan_token):
        raise PlanChangedError(plan)
    is_handed_over = wish.hand_over_to is not None
    if open_kinds := still_open(plan.decisions, take_along=wish.take_along, is_handed_over=is_handed_over):
        raise DecisionNeededError(plan, open_kinds)


async def _hand_over(tx: Transaction, actor: Actor, root: Root, to_id: str, clock: Clock) -> None:
    if root.type != "user":
        raise InvalidInputError("hand_over_to is for users: a user's rules, open forms and admin seats can be given")
    await hand_over(tx, actor, from_id=root.key[0], to_id=to_id, clock=clock)


async def _record(
    tx: Transaction,
    actor: Actor,
    plan: DeletionPlan,
    found: RootAccess,
    deletion_id: str,
    *,
    reason: str | None,
    kept_days: int,
    clock: Clock,
) -> None:
    now = clock()
    tx.insert_later(
        queries.INSERT_DELETION,
        id=deletion_id,
        root_type=plan.root.type,
        root_id=plan.root.id,
        root_label=plan.root.label[:_LONGEST_LABEL],
        actor_id=actor.user_id,
        actor_name=actor.username,
        reason=reason,
        state="deleted",
        planned_counts=plan.counts,
        actual_counts=plan.counts,
        set_null_counts=plan.set_null,
        purge_after=now + timedelta(days=kept_days),
        created_at=now,
        updated_at=now,
    )
    await audit.record(
        tx,
        actor,
        Action.DELETE,
        plan.root.type,
        plan.root.id,
        label=plan.root.label,
        g_id=found.g_id,
        new={"deletion_id": deletion_id, "counts": plan.counts},
        description=reason,
        clock=clock,
    )


async def _get_deletion(tx: Transaction, actor: Actor, deletion_id: str, query: Query[DeletionRow]) -> DeletionRow:
    deletion = await tx.fetch_one(query, deletion_id=deletion_id)
    if deletion is None or not await _may_see(tx, actor, deletion):
        raise DeletionNotFoundError
    return _make_readable(actor, deletion)


async def _may_see(tx: Transaction, actor: Actor, deletion: DeletionRow) -> bool:
    if actor.is_super_admin or deletion.actor_id == actor.user_id:
        return True
    if deletion.root_type not in GRAPH.root_types:
        return False
    root = root_of(deletion.root_type, deletion.root_id)
    found = await find_root(tx, actor, root, deletion_id=deletion.id)
    return found is not None and policy.can_restore(actor, root.type, found, deleted_by=deletion.actor_id)


def _make_readable(actor: Actor, deletion: DeletionRow) -> DeletionRow:
    """The counts as numbers, and without the server's paths for who does not run it."""
    for name in ("planned_counts", "actual_counts", "removed_counts", "set_null_counts"):
        value: Any = getattr(deletion, name)
        if isinstance(value, msgspec.Raw):
            setattr(deletion, name, msgspec.json.decode(value))
    if not actor.is_super_admin:
        deletion.bundle_path = None
    return deletion

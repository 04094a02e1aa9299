"""The members of a group and their roles."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version, require_version
from holdfast.db.engines.base import Transaction
from holdfast.db.include_deleted import get_include_deleted
from holdfast.features.accounts import service as accounts
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.groups import deletion_queries, policy, queries
from holdfast.features.groups import service as groups
from holdfast.features.groups.errors import (
    AlreadyMemberError,
    GroupForbiddenError,
    MemberBeingPurgedError,
    MemberNotFoundError,
)
from holdfast.features.groups.types import Member


async def list_members(
    tx: Transaction, actor: Actor, g_id: str, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[Member]:
    """The members of a group that the actor is in."""
    if page.include_deleted:
        await groups.get_group_include_deleted(tx, actor, g_id)
    else:
        await groups.get_access(tx, actor, g_id)
    return await queries.MEMBERS.fetch_page(
        tx, page, cursor_key=cursor_key, sees_deleted=actor.is_super_admin, g_id=g_id, **filters
    )


async def get_member(tx: Transaction, actor: Actor, g_id: str, u_id: str) -> Member:
    """A member of a group that the actor is in."""
    await groups.get_access(tx, actor, g_id)
    return await _get_member(tx, g_id, u_id)


async def get_member_include_deleted(tx: Transaction, actor: Actor, g_id: str, u_id: str) -> Member:
    """A member, deleted or live; super administrators only."""
    return await get_include_deleted(
        tx, actor, queries.FIND_MEMBER_INCLUDE_DELETED, MemberNotFoundError, g_id=g_id, u_id=u_id
    )


async def add_member(
    tx: Transaction,
    actor: Actor,
    g_id: str,
    *,
    u_id: str | None = None,
    username: str | None = None,
    role: str = "user",
    clock: Clock = utc_now,
) -> Member:
    """Add a user, named by id or by user name; admins of the group. Who was deleted from it joins anew."""
    group = await groups.get_access_alone(tx, actor, g_id)
    groups.require_admin(actor, group)
    _require_may_set(actor, None, role)
    user = await accounts.get_user_as_parent(tx, u_id=u_id, username=username)
    now = clock()
    present = await tx.fetch_one(queries.FIND_MEMBERSHIP_INCLUDE_DELETED, g_id=g_id, u_id=user.u_id)
    if present is None:
        await tx.execute(queries.INSERT_MEMBER, u_id=user.u_id, g_id=g_id, role=role, created_at=now, updated_at=now)
    elif present.deletion_id:
        await end_deletions_of_members(tx, [present.deletion_id], now)
        joined_at = next_version(present.updated_at, now)
        await tx.execute(
            queries.REVIVE_MEMBERS,
            g_id=g_id,
            u_ids=[user.u_id],
            new_role=role,
            new_created_at=joined_at,
            new_updated_at=joined_at,
        )
    else:
        raise AlreadyMemberError(user.username)
    await audit.record(
        tx,
        actor,
        Action.CREATE,
        "member",
        member_id(g_id, user.u_id),
        label=member_label(user.username, group.group_name),
        g_id=g_id,
        new={"u_id": user.u_id, "g_id": g_id, "role": role},
        clock=clock,
    )
    return await _get_member(tx, g_id, user.u_id)


async def change_role(
    tx: Transaction,
    actor: Actor,
    g_id: str,
    u_id: str,
    role: str,
    *,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> Member:
    """Change a member's role; admins of the group, and role `admin` only super administrators.

    The last super administrator keeps theirs, also when two demote one another at the same moment.
    """
    group = await groups.get_access_alone(tx, actor, g_id)
    groups.require_admin(actor, group)
    # Read after the group is locked: what another caller changed before is seen.
    member = await _get_member(tx, g_id, u_id)
    require_version(member.updated_at, if_match)
    _require_may_set(actor, member.role, role)
    if member.role == role:
        return member
    if policy.is_super(g_id) and member.role == "admin":
        await accounts.require_another_super_admin(tx, await accounts.get_user(tx, actor, u_id))
    await tx.execute(
        queries.SET_ROLE,
        g_id=g_id,
        u_ids=[u_id],
        new_role=role,
        new_updated_at=next_version(member.updated_at, clock()),
    )
    await audit.record(
        tx,
        actor,
        Action.UPDATE,
        "member",
        member_id(g_id, u_id),
        label=member_label(member.username, group.group_name),
        g_id=g_id,
        old={"role": member.role},
        new={"role": role},
        clock=clock,
    )
    return await _get_member(tx, g_id, u_id)


async def end_deletions_of_members(tx: Transaction, deletion_ids: Sequence[str], now: datetime) -> None:
    """Note that the members whom these deletions removed are back: the rows are theirs again, before they are revived.

    `MemberBeingPurgedError` while one of them is on its way out for good.
    """
    if not deletion_ids:
        return
    await tx.execute(deletion_queries.END_DELETIONS, deletion_ids=list(deletion_ids), now=now)
    # Read after the update, which has waited for a purge that was about to begin.
    if await tx.fetch_count(deletion_queries.COUNT_PURGES, deletion_ids=list(deletion_ids)):
        raise MemberBeingPurgedError


def member_id(g_id: str, u_id: str) -> str:
    """How the audit log names a membership, whose key is two ids."""
    return f"{g_id}/{u_id}"


def member_label(username: str, group_name: str) -> str:
    """How the audit log shows a membership."""
    return f"{username} in {group_name}"


def _require_may_set(actor: Actor, old: str | None, new: str) -> None:
    if not policy.can_set_role(actor, old, new):
        raise GroupForbiddenError("only super administrators give or take the role admin")


async def _get_member(tx: Transaction, g_id: str, u_id: str) -> Member:
    member = await tx.fetch_one(queries.FIND_MEMBER, g_id=g_id, u_id=u_id)
    if member is None:
        raise MemberNotFoundError
    return member

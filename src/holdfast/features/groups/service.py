"""Groups: made, read, changed."""

from collections.abc import Mapping
from typing import Any

from holdfast.core.actor import Actor
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import InvalidInputError
from holdfast.core.ids import new_short_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version, require_version
from holdfast.db.engines.base import Transaction
from holdfast.db.include_deleted import get_include_deleted
from holdfast.db.statements import Query
from holdfast.features.accounts import service as accounts
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action
from holdfast.features.groups import policy, queries
from holdfast.features.groups.errors import GroupForbiddenError, GroupNotFoundError, ReservedNameError
from holdfast.features.groups.types import Group, GroupAccess, MemberName, UserGroup

_CHANGEABLE = ("group_name", "description", "deletion_protected")


async def create_group(
    tx: Transaction, actor: Actor, *, group_name: str, description: str | None = None, clock: Clock = utc_now
) -> Group:
    """Make a group without members; super administrators only."""
    if not actor.is_super_admin:
        raise GroupForbiddenError("only super administrators make groups")
    name = _checked_name(group_name)
    now = clock()
    g_id = new_short_id()
    await tx.execute(
        queries.INSERT_GROUP, g_id=g_id, group_name=name, description=description, created_at=now, updated_at=now
    )
    new = {"group_name": name, "description": description}
    await audit.record(tx, actor, Action.CREATE, "group", g_id, label=name, g_id=g_id, new=new, clock=clock)
    return Group(
        g_id=g_id,
        group_name=name,
        description=description,
        deletion_protected=False,
        created_at=now,
        updated_at=now,
        member_count=0,
        project_count=0,
        role=None,
    )


async def get_group(tx: Transaction, actor: Actor, g_id: str) -> Group:
    """A group that the actor is in."""
    group = await tx.fetch_one(queries.GET_GROUP, g_id=g_id, actor_id=actor.user_id)
    if group is None or not (actor.is_super_admin or group.role is not None):
        raise GroupNotFoundError
    return group


async def get_group_include_deleted(tx: Transaction, actor: Actor, g_id: str) -> Group:
    """A group, deleted or live; super administrators only."""
    return await get_include_deleted(
        tx, actor, queries.GET_GROUP_INCLUDE_DELETED, GroupNotFoundError, g_id=g_id, actor_id=actor.user_id
    )


async def get_group_with_members(tx: Transaction, actor: Actor, g_id: str) -> Group:
    """As `get_group`, with its members and their roles."""
    group = await get_group(tx, actor, g_id)
    await _attach_members(tx, [group])
    return group


async def list_groups(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[Group]:
    """The actor's own groups; all for super administrators."""
    scope = "all" if actor.is_super_admin else "own"
    return await queries.GROUPS.fetch_page(
        tx,
        page,
        scope=scope,
        cursor_key=cursor_key,
        sees_deleted=actor.is_super_admin,
        actor_id=actor.user_id,
        **filters,
    )


async def list_groups_with_members(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[Group]:
    """As `list_groups`, each with its members; one statement more, however many groups."""
    groups = await list_groups(tx, actor, page, cursor_key=cursor_key, **filters)
    await _attach_members(tx, groups.items)
    return groups


async def list_groups_of_user(
    tx: Transaction, actor: Actor, u_id: str, page: PageRequest, *, cursor_key: bytes, **filters: Any
) -> Page[UserGroup]:
    """The groups of a user with their roles; to the admin of a group only those that the admin administers."""
    await accounts.get_access(tx, actor, u_id)
    scope = "all" if actor.is_super_admin or u_id == actor.user_id else "administered"
    return await queries.USER_GROUPS.fetch_page(
        tx, page, scope=scope, cursor_key=cursor_key, actor_id=actor.user_id, u_id=u_id, **filters
    )


async def list_own_groups(tx: Transaction, actor: Actor) -> list[UserGroup]:
    """All groups of the actor with their roles."""
    return await tx.fetch_all(queries.ALL_GROUPS_OF_USER, u_id=actor.user_id)


async def change_group(
    tx: Transaction,
    actor: Actor,
    g_id: str,
    changes: Mapping[str, Any],
    *,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> Group:
    """Change the name, the description or the protection from deletion; admins of the group."""
    access = await get_access_alone(tx, actor, g_id)
    require_admin(actor, access)
    require_version(access.updated_at, if_match)
    wanted = dict(changes)
    if "group_name" in wanted:
        wanted["group_name"] = _checked_new_name(access, wanted["group_name"])
    new = {name: value for name, value in wanted.items() if getattr(access, name) != value}
    if new:
        values = {f"new_{name}": new.get(name, getattr(access, name)) for name in _CHANGEABLE}
        await tx.execute(
            queries.UPDATE_GROUP, g_id=g_id, new_updated_at=next_version(access.updated_at, clock()), **values
        )
        old = {name: getattr(access, name) for name in new}
        await audit.record(
            tx, actor, Action.UPDATE, "group", g_id, label=access.group_name, g_id=g_id, old=old, new=new, clock=clock
        )
    return await get_group(tx, actor, g_id)


async def get_access(tx: Transaction, actor: Actor, g_id: str) -> GroupAccess:
    """A group that the actor may see, with their role; `GroupNotFoundError` otherwise."""
    return await _get_access(tx, actor, g_id, queries.FIND_ACCESS)


async def get_access_alone(tx: Transaction, actor: Actor, g_id: str) -> GroupAccess:
    """As `get_access`; no other transaction that asks so gets past before this one ends."""
    return await _get_access(tx, actor, g_id, queries.FIND_ACCESS_ALONE)


def require_admin(actor: Actor, group: GroupAccess) -> None:
    """Refuse whoever sees the group without being its admin."""
    if not policy.can_change(actor, group):
        raise GroupForbiddenError("only admins of the group do this")


async def _get_access(tx: Transaction, actor: Actor, g_id: str, query: Query[GroupAccess]) -> GroupAccess:
    group = await tx.fetch_one(query, g_id=g_id, actor_id=actor.user_id)
    if group is None or not policy.can_see(actor, group):
        raise GroupNotFoundError
    return group


def _checked_name(group_name: str) -> str:
    name = group_name.strip()
    if not name:
        raise InvalidInputError("group_name must hold at least one visible character")
    if policy.is_reserved(name):
        raise ReservedNameError("the name super belongs to the group of the super administrators; choose another")
    return name


def _checked_new_name(group: GroupAccess, group_name: str) -> str:
    if not policy.is_super(group.g_id):
        return _checked_name(group_name)
    if group_name.strip() != group.group_name:
        raise ReservedNameError("the group super cannot be renamed")
    return group.group_name


async def _attach_members(tx: Transaction, groups: list[Group]) -> None:
    by_group: dict[str, list[MemberName]] = {}
    for group in groups:
        group.members = by_group[group.g_id] = []
    if groups:
        for member in await tx.fetch_all(queries.MEMBERS_OF_GROUPS, g_ids=list(by_group)):
            by_group[member.g_id].append(member)

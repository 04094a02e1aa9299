"""Who somebody is: from a token to an actor; and users: made, read, changed."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from holdfast.core.actor import ALL_SCOPES, Actor, Origin
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import NotSignedInError
from holdfast.core.ids import new_short_id
from holdfast.core.pages import Page, PageRequest
from holdfast.core.versions import next_version, require_version
from holdfast.db.engines.base import Transaction
from holdfast.db.errors import UniqueViolationError
from holdfast.db.include_deleted import get_include_deleted
from holdfast.db.statements import Query
from holdfast.features.accounts import policy, queries
from holdfast.features.accounts.errors import (
    LastSuperAdminError,
    ProtectedUserError,
    UserDisabledError,
    UserForbiddenError,
    UsernameTakenError,
    UserNotFoundError,
)
from holdfast.features.accounts.rules import ADMIN_USERNAME, require_username
from holdfast.features.accounts.tokens import is_token, token_hash
from holdfast.features.accounts.types import Session, User, UserAccess, UserName
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action

_CHANGEABLE = ("username", "email", "full_name", "type", "status", "deletion_protected")


async def resolve_actor(tx: Transaction, token: str, origin: Origin, clock: Clock = utc_now) -> Actor:
    """The user whom a token stands for, with the rights of this very moment; 401 for any token that is not good."""
    return await _resolve(tx, queries.FIND_SESSION, token, origin, clock)


async def resolve_actor_for_change(tx: Transaction, token: str, origin: Origin, clock: Clock = utc_now) -> Actor:
    """As `resolve_actor`, and the user cannot be deleted before the transaction ends."""
    return await _resolve(tx, queries.FIND_SESSION_LOCKED, token, origin, clock)


def require_super_admin(actor: Actor) -> None:
    """Refuse the making of accounts by anybody else: for before a password is hashed, and again with the change."""
    if not actor.is_super_admin:
        raise UserForbiddenError("only super administrators make accounts")


async def create_user(
    tx: Transaction,
    actor: Actor,
    *,
    username: str,
    hashed_password: str,
    full_name: str | None = None,
    email: str | None = None,
    type: str = "origin",  # noqa: A002 - the column's name
    status: str = "offline",
    must_change_password: bool = True,
    clock: Clock = utc_now,
) -> User:
    """Make an account; super administrators only. They know the first password, so by default it must be changed."""
    require_super_admin(actor)
    user = new_user(
        username=username,
        full_name=full_name,
        email=email,
        must_change_password=must_change_password,
        now=clock(),
        type=type,
        status=status,
    )
    await insert_user(tx, user, hashed_password)
    await record_creation(tx, actor, user, clock)
    return user


def new_user(
    *,
    username: str,
    full_name: str | None,
    email: str | None,
    must_change_password: bool,
    now: datetime,
    type: str = "origin",  # noqa: A002 - the column's name
    status: str = "offline",
) -> User:
    """A user to insert, with a new id."""
    require_username(username)
    return User(
        u_id=new_short_id(),
        username=username,
        email=email,
        full_name=full_name,
        type=type,
        status=status,
        must_change_password=must_change_password,
        deletion_protected=False,
        is_super_admin=False,
        created_at=now,
        updated_at=now,
    )


async def insert_user(tx: Transaction, user: User, hashed_password: str) -> None:
    """Store a new user; `UsernameTakenError`, also when two are made at one moment."""
    try:
        await tx.execute(queries.INSERT_USER, password=hashed_password, **_columns(user))
    except UniqueViolationError as error:
        raise UsernameTakenError(user.username) from error


async def record_creation(tx: Transaction, actor: Actor, user: User, clock: Clock = utc_now) -> None:
    """The audit row of a new user."""
    new = {name: getattr(user, name) for name in (*_CHANGEABLE, "must_change_password")}
    await audit.record(tx, actor, Action.CREATE, "user", user.u_id, label=user.username, new=new, clock=clock)


async def get_user(tx: Transaction, actor: Actor, u_id: str) -> User:
    """A user whom the actor may see."""
    return _shown(await get_access(tx, actor, u_id))


async def get_user_include_deleted(tx: Transaction, actor: Actor, u_id: str) -> User:
    """A user, deleted or live; super administrators only."""
    return await get_include_deleted(tx, actor, queries.GET_USER_INCLUDE_DELETED, UserNotFoundError, u_id=u_id)


async def get_access(tx: Transaction, actor: Actor, u_id: str) -> UserAccess:
    """A user whom the actor may see, and what the actor is to them; `UserNotFoundError` otherwise."""
    return await _get_access(tx, actor, u_id, queries.FIND_ACCESS)


async def list_users(
    tx: Transaction, actor: Actor, page: PageRequest, *, cursor_key: bytes, g_id: str | None = None, **filters: Any
) -> Page[User]:
    """All users for super administrators; for a group's admin the members of the groups they administer."""
    scope = "all"
    if not actor.is_super_admin:
        scope = "administered"
        await _require_group_admin(tx, actor, g_id)
    return await queries.USERS.fetch_page(
        tx,
        page,
        scope=scope,
        cursor_key=cursor_key,
        sees_deleted=actor.is_super_admin,
        actor_id=actor.user_id,
        g_id=g_id,
        **filters,
    )


async def change_user(
    tx: Transaction,
    actor: Actor,
    u_id: str,
    changes: Mapping[str, Any],
    *,
    if_match: str | None = None,
    clock: Clock = utc_now,
) -> User:
    """Change the profile (the user themselves), or also name, type, status and protection (super administrators).

    Status `delete` disables the account: it works no more at the next request, and its tokens end for good.
    """
    user = await _get_access(tx, actor, u_id, queries.FIND_ACCESS_ALONE)
    _require_may_change(actor, user, changes)
    require_version(user.updated_at, if_match)
    new = {name: value for name, value in changes.items() if getattr(user, name) != value}
    if not new:
        return _shown(user)
    if "username" in new:
        require_username(new["username"])
    if new.get("status") == "delete":
        await require_another_super_admin(tx, user)
        await tx.execute(queries.REVOKE_OTHER_TOKENS, user_id=u_id, kept_token_id="", new_revoked_at=clock())
    await _update(tx, user, new, clock)
    await audit.record(
        tx,
        actor,
        Action.UPDATE,
        "user",
        u_id,
        label=user.username,
        old={name: getattr(user, name) for name in new},
        new=new,
        clock=clock,
    )
    changed = await tx.fetch_one(queries.GET_USER, u_id=u_id)
    if changed is None:
        raise UserNotFoundError
    return changed


async def require_another_super_admin(tx: Transaction, user: User) -> None:
    """Refuse to take away user `admin` or the last super administrator, also when several are taken at one moment."""
    if not user.is_super_admin:
        return
    if user.username == ADMIN_USERNAME:
        raise ProtectedUserError("user admin stays a super administrator; it cannot be disabled or demoted")
    await tx.fetch_all(queries.LOCK_SUPER_GROUP)
    if not await tx.fetch_count(queries.COUNT_OTHER_SUPER_ADMINS, u_id=user.u_id):
        raise LastSuperAdminError


async def get_user_as_parent(tx: Transaction, *, u_id: str | None = None, username: str | None = None) -> UserName:
    """A user, by id or by name, who stays live until the transaction ends; disabled ones are refused."""
    if u_id is not None:
        user = await tx.fetch_one(queries.FIND_NAME_AS_PARENT, u_id=u_id)
    else:
        user = await tx.fetch_one(queries.FIND_NAMED_AS_PARENT, username=username)
    if user is None:
        raise UserNotFoundError
    if user.status == "delete":
        raise UserDisabledError(user.username)
    return user


async def _resolve(tx: Transaction, query: Query[Session], token: str, origin: Origin, clock: Clock) -> Actor:
    session: Session | None = None
    if is_token(token):
        session = await tx.fetch_one(query, token_hash=token_hash(token))
    if session is None or session.expires_at <= clock():
        raise NotSignedInError("this token is unknown, expired or revoked; sign in again")
    return Actor(
        user_id=session.user_id,
        username=session.username,
        full_name=session.full_name,
        is_super_admin=session.is_super_admin,
        must_change_password=session.must_change_password,
        token_id=session.token_id,
        scopes=ALL_SCOPES if session.kind == "session" else frozenset(session.scopes.split()),
        address=origin.address,
        user_agent=origin.user_agent,
    )


async def _get_access(tx: Transaction, actor: Actor, u_id: str, query: Query[UserAccess]) -> UserAccess:
    user = await tx.fetch_one(query, u_id=u_id, actor_id=actor.user_id)
    if user is None or not policy.can_see(actor, user):
        raise UserNotFoundError
    return user


async def _require_group_admin(tx: Transaction, actor: Actor, g_id: str | None) -> None:
    if g_id is None:
        administered = await tx.fetch_count(queries.COUNT_ADMINISTERED_GROUPS, actor_id=actor.user_id)
    else:
        administered = await tx.fetch_count(queries.COUNT_ADMINISTERED_GROUP, actor_id=actor.user_id, g_id=g_id)
    if not administered:
        raise UserForbiddenError("only super administrators and the admins of a group list its users")


def _require_may_change(actor: Actor, user: User, changes: Mapping[str, Any]) -> None:
    if not policy.can_change(actor, user):
        raise UserForbiddenError("only the user and super administrators change a profile")
    beyond = sorted(changes.keys() - policy.OWN_PROFILE_FIELDS)
    if beyond and not actor.is_super_admin:
        raise UserForbiddenError(f"only super administrators change {' and '.join(beyond)}")
    if user.username == ADMIN_USERNAME and changes.get("username", ADMIN_USERNAME) != ADMIN_USERNAME:
        raise ProtectedUserError("user admin cannot be renamed")


async def _update(tx: Transaction, user: User, new: Mapping[str, Any], clock: Clock) -> None:
    values = {f"new_{name}": new.get(name, getattr(user, name)) for name in _CHANGEABLE}
    try:
        await tx.execute(
            queries.UPDATE_USER, u_id=user.u_id, new_updated_at=next_version(user.updated_at, clock()), **values
        )
    except UniqueViolationError as error:
        raise UsernameTakenError(new["username"]) from error


def _columns(user: User) -> dict[str, Any]:
    return {name: getattr(user, name) for name in User.__struct_fields__ if name != "is_super_admin"}


def _shown(user: UserAccess) -> User:
    return User(**{name: getattr(user, name) for name in User.__struct_fields__})

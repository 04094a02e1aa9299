"""Signing in and out.

A sign-in has three steps, because a password is never hashed within a transaction: `find_credentials` (reading),
`passwords.check_password` (no transaction), `complete_sign_in` (writing).
"""

from datetime import datetime, timedelta

from holdfast.core.actor import Actor, Origin
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import HoldfastError
from holdfast.core.ids import new_long_id
from holdfast.core.versions import next_version
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import queries
from holdfast.features.accounts.attempts import (
    AttemptRule,
    Limit,
    count_attempt,
    forget_attempt,
    limits_of,
    require_attempts_left,
)
from holdfast.features.accounts.errors import PasswordChangedMeanwhileError, SignInFailedError, UserNotFoundError
from holdfast.features.accounts.passwords import PasswordCheck
from holdfast.features.accounts.tokens import new_token, token_hash
from holdfast.features.accounts.types import Credentials, SignedIn, User
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action

_LONGEST_NAME = 100


def sign_in_limits(rule: AttemptRule, username: str, origin: Origin) -> list[Limit]:
    """What a sign-in counts against."""
    return limits_of(rule, f"sign-in:{username}", origin.address)


async def find_credentials(
    tx: Transaction, rule: AttemptRule, *, username: str, origin: Origin, clock: Clock = utc_now
) -> Credentials | None:
    """What the password is to be held against; None for an unknown user, whose sign-in then goes the same way."""
    await require_attempts_left(tx, rule, sign_in_limits(rule, username, origin), clock)
    return await tx.fetch_one(queries.FIND_CREDENTIALS_NAMED, username=username)


async def complete_sign_in(
    tx: Transaction,
    rule: AttemptRule,
    credentials: Credentials | None,
    check: PasswordCheck,
    *,
    username: str,
    origin: Origin,
    session_seconds: int,
    clock: Clock = utc_now,
) -> SignedIn | HoldfastError:
    """The new session, or the refusal, which the edge raises after the commit: the failed attempt stays counted.

    `PasswordChangedMeanwhileError`: begin again. Another sign-in may just have replaced the hash of the same password.
    """
    limits = sign_in_limits(rule, username, origin)
    throttled = await count_attempt(tx, rule, limits, clock)
    if throttled is not None:
        return throttled
    if credentials is None or not check.matches:
        return SignInFailedError()
    user = await tx.fetch_one(queries.FIND_CREDENTIALS_ALONE, u_id=credentials.u_id)
    if user is None or user.status == "delete":
        return SignInFailedError()
    if user.password != credentials.password:
        return PasswordChangedMeanwhileError()
    await forget_attempt(tx, limits)
    return await _open_session(tx, user, check, origin=origin, session_seconds=session_seconds, clock=clock)


async def sign_out(tx: Transaction, actor: Actor, *, clock: Clock = utc_now) -> None:
    """End the session or API token that the actor used."""
    assert actor.token_id is not None
    await end_token(tx, actor.user_id, actor.token_id, clock)
    await audit.record(
        tx, actor, Action.LOGOUT, "user", actor.user_id, label=actor.username, new={"id": actor.token_id}, clock=clock
    )


async def end_token(tx: Transaction, user_id: str, token_id: str, clock: Clock) -> None:
    """Revoke a token; with the last session its user goes offline."""
    now = clock()
    await tx.execute(queries.REVOKE_TOKEN, token_id=token_id, new_revoked_at=now)
    user = await tx.fetch_one(queries.FIND_CREDENTIALS_ALONE, u_id=user_id)
    if user is None or user.status != "online":
        return
    if not await tx.fetch_count(queries.COUNT_SESSIONS, user_id=user_id, now=now):
        await _set_status(tx, user, "offline", now)


async def _open_session(
    tx: Transaction,
    user: Credentials,
    check: PasswordCheck,
    *,
    origin: Origin,
    session_seconds: int,
    clock: Clock,
) -> SignedIn:
    now = clock()
    token, token_id = new_token(), new_long_id()
    expires_at = now + timedelta(seconds=session_seconds)
    await tx.execute(
        queries.INSERT_TOKEN,
        id=token_id,
        user_id=user.u_id,
        kind="session",
        name=(origin.user_agent or "session")[:_LONGEST_NAME],
        token_hash=token_hash(token),
        scopes="*:read *:write",
        created_at=now,
        expires_at=expires_at,
    )
    if check.new_hash is not None:
        await tx.execute(queries.REPLACE_HASH, u_id=user.u_id, new_password=check.new_hash)
    if user.status != "online":
        await _set_status(tx, user, "online", now)
    actor = Actor(user_id=user.u_id, username=user.username, address=origin.address, user_agent=origin.user_agent)
    await audit.record(
        tx, actor, Action.LOGIN, "user", user.u_id, label=user.username, new={"id": token_id}, clock=clock
    )
    return SignedIn(token=token, expires_at=expires_at, user=await _get_user(tx, user.u_id))


async def _set_status(tx: Transaction, user: Credentials, status: str, now: datetime) -> None:
    await tx.execute(
        queries.SET_STATUS, u_id=user.u_id, new_status=status, new_updated_at=next_version(user.updated_at, now)
    )


async def _get_user(tx: Transaction, u_id: str) -> User:
    user = await tx.fetch_one(queries.GET_USER, u_id=u_id)
    if user is None:
        raise UserNotFoundError
    return user

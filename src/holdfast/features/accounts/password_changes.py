"""Changing a password, in three steps like a sign-in: `prepare`, hashing outside of transactions, `set_password`."""

import msgspec

from holdfast.core.actor import Actor, Origin
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import HoldfastError
from holdfast.core.versions import next_version
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import policy, queries
from holdfast.features.accounts import service as accounts
from holdfast.features.accounts.attempts import AttemptRule, Limit, count_attempt, limits_of, require_attempts_left
from holdfast.features.accounts.errors import (
    PasswordChangedMeanwhileError,
    UserForbiddenError,
    UserNotFoundError,
    WrongPasswordError,
)
from holdfast.features.accounts.types import Credentials
from holdfast.features.audit import service as audit
from holdfast.features.audit.types import Action


class PasswordChange(msgspec.Struct, frozen=True):
    """What a change rests on. `credentials` hold the present hash: never hand them to a caller."""

    credentials: Credentials
    needs_old_password: bool


async def prepare(
    tx: Transaction, actor: Actor, u_id: str, rule: AttemptRule, *, origin: Origin, clock: Clock = utc_now
) -> PasswordChange:
    """What the old password is to be held against: the user's own, or anybody's for super administrators."""
    await _require_may_change(tx, actor, u_id)
    credentials = await tx.fetch_one(queries.FIND_CREDENTIALS, u_id=u_id)
    if credentials is None:
        raise UserNotFoundError
    own = u_id == actor.user_id
    if own:
        await require_attempts_left(tx, rule, _limits(rule, actor, origin), clock)
    return PasswordChange(credentials=credentials, needs_old_password=own)


async def count_wrong_password(
    tx: Transaction, actor: Actor, rule: AttemptRule, *, origin: Origin, clock: Clock = utc_now
) -> HoldfastError:
    """Count a wrong old password, so that a stolen session cannot try them all; the refusal, to raise after commit."""
    throttled = await count_attempt(tx, rule, _limits(rule, actor, origin), clock)
    return throttled or WrongPasswordError()


async def set_password(
    tx: Transaction, actor: Actor, credentials: Credentials, hashed_password: str, *, clock: Clock = utc_now
) -> None:
    """Set a new password, and end every other session and token of the user.

    `credentials` are those that the old password was checked against. Where a super administrator sets it for
    somebody else, the user must choose another at the next sign-in.
    """
    await _require_may_change(tx, actor, credentials.u_id)
    locked = await tx.fetch_one(queries.FIND_CREDENTIALS_ALONE, u_id=credentials.u_id)
    if locked is None or locked.password != credentials.password:
        raise PasswordChangedMeanwhileError
    for_other = credentials.u_id != actor.user_id
    now = clock()
    await tx.execute(
        queries.SET_PASSWORD,
        u_id=locked.u_id,
        new_password=hashed_password,
        new_must_change_password=for_other,
        new_updated_at=next_version(locked.updated_at, now),
    )
    kept = "" if for_other or actor.token_id is None else actor.token_id
    await tx.execute(queries.REVOKE_OTHER_TOKENS, user_id=locked.u_id, kept_token_id=kept, new_revoked_at=now)
    await audit.record(
        tx,
        actor,
        Action.UPDATE,
        "user",
        locked.u_id,
        label=locked.username,
        new={"password": "set anew", "must_change_password": for_other},
        description="password changed; all other sessions and tokens ended",
        clock=clock,
    )


async def _require_may_change(tx: Transaction, actor: Actor, u_id: str) -> None:
    if not policy.can_change(actor, await accounts.get_access(tx, actor, u_id)):
        raise UserForbiddenError("only the user and super administrators change a password")


def _limits(rule: AttemptRule, actor: Actor, origin: Origin) -> list[Limit]:
    return limits_of(rule, f"password:{actor.user_id}", origin.address)

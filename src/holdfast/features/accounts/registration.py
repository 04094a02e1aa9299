"""Making one's own account, which only the edge may allow (setting `registration_open`)."""

from holdfast.core.actor import Actor, Origin
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import attempts, queries
from holdfast.features.accounts import service as accounts
from holdfast.features.accounts.attempts import AttemptRule, Limit
from holdfast.features.accounts.errors import UsernameTakenError
from holdfast.features.accounts.types import User


async def require_attempts_left(tx: Transaction, rule: AttemptRule, origin: Origin, clock: Clock = utc_now) -> None:
    """Refuse an address that registered many accounts, before another password is hashed."""
    await attempts.require_attempts_left(tx, rule, _limits(rule, origin), clock)


async def register(
    tx: Transaction,
    rule: AttemptRule,
    origin: Origin,
    *,
    username: str,
    hashed_password: str,
    full_name: str | None = None,
    email: str | None = None,
    clock: Clock = utc_now,
) -> User | HoldfastError:
    """Make the account, its maker being its actor; or the refusal, which the edge raises after the commit."""
    throttled = await attempts.count_attempt(tx, rule, _limits(rule, origin), clock)
    if throttled is not None:
        return throttled
    # Looked up, not only left to the key, so that this attempt stays counted, too.
    if await tx.fetch_one(queries.FIND_CREDENTIALS_NAMED, username=username) is not None:
        return UsernameTakenError(username)
    user = accounts.new_user(
        username=username, full_name=full_name, email=email, must_change_password=False, now=clock()
    )
    await accounts.insert_user(tx, user, hashed_password)
    actor = Actor(user_id=user.u_id, username=username, address=origin.address, user_agent=origin.user_agent)
    await accounts.record_creation(tx, actor, user, clock)
    return user


def _limits(rule: AttemptRule, origin: Origin) -> list[Limit]:
    """Ten times as many accounts per address as passwords may be tried: a class registers from one room."""
    name, *addresses = attempts.limits_of(rule, "", origin.address)
    return [Limit(f"register:{each.subject}"[:80], each.attempts) for each in addresses] or [name]

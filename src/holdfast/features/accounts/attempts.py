"""Failed attempts at a password, counted per user name and per address in the database, for all replicas together.

An attempt is counted before its outcome is told, and the count's row is held until then: of any number of attempts
at one moment, no more learn their outcome than the limit allows.
"""

import hashlib
import ipaddress
import math
from collections.abc import Sequence
from datetime import timedelta

import msgspec

from holdfast.core.clock import Clock, utc_now
from holdfast.db.engines.base import Transaction
from holdfast.features.accounts import queries
from holdfast.features.accounts.errors import TooManyAttemptsError
from holdfast.features.accounts.types import Failures

# A laboratory's machines share one address, and one of them may be full of people who forgot.
_ADDRESS_FACTOR = 10
_IPV6_NETWORK_BITS = 64


class AttemptRule(msgspec.Struct, frozen=True):
    """How many attempts may fail within a window, per user name; an address may fail ten times as often."""

    attempts: int
    window_seconds: int


class Limit(msgspec.Struct, frozen=True):
    """What is counted, and how many failures are the most."""

    subject: str
    attempts: int


def limits_of(rule: AttemptRule, name: str, address: str | None) -> list[Limit]:
    """The limits that hold for attempts at one name (such as `sign-in:anna`) from one address; the name's first."""
    # Hashed, so that what people type into the wrong field is not kept, and any name fits.
    limits = [Limit(f"name:{hashlib.sha256(name.encode()).hexdigest()}", rule.attempts)]
    if address is not None:
        limits.append(Limit(f"address:{_network(address)}", rule.attempts * _ADDRESS_FACTOR))
    return limits


async def require_attempts_left(
    tx: Transaction, rule: AttemptRule, limits: Sequence[Limit], clock: Clock = utc_now
) -> None:
    """Refuse early, before a password is hashed, whoever has used up their attempts."""
    counted = await _failures(tx, limits)
    for limit in limits:
        failures = counted.get(limit.subject)
        if failures is not None and failures.failures >= limit.attempts and _seconds_left(failures, rule, clock) > 0:
            raise TooManyAttemptsError(_seconds_left(failures, rule, clock))


async def count_attempt(
    tx: Transaction, rule: AttemptRule, limits: Sequence[Limit], clock: Clock = utc_now
) -> TooManyAttemptsError | None:
    """Count an attempt as failed. The error, where it is one too many: then its outcome must not be told.

    It is returned, not raised, because the count must be committed. A success takes the count back.
    """
    now = clock()
    for limit in limits:
        await tx.execute(
            queries.COUNT_FAILURE,
            subject=limit.subject,
            window_started_at=now,
            window_opened_after=now - timedelta(seconds=rule.window_seconds),
        )
    counted = await _failures(tx, limits)
    for limit in limits:
        failures = counted[limit.subject]
        if failures.failures > limit.attempts:
            return TooManyAttemptsError(max(1, _seconds_left(failures, rule, clock)))
    return None


async def forget_attempt(tx: Transaction, limits: Sequence[Limit]) -> None:
    """After a success: the name starts anew, the address is as before."""
    name, *addresses = limits
    await tx.execute(queries.FORGET_FAILURES, subject=name.subject)
    for address in addresses:
        await tx.execute(queries.TAKE_BACK_FAILURE, subject=address.subject)


async def _failures(tx: Transaction, limits: Sequence[Limit]) -> dict[str, Failures]:
    found = await tx.fetch_all(queries.FIND_FAILURES, subjects=[limit.subject for limit in limits])
    return {failures.subject: failures for failures in found}


def _seconds_left(failures: Failures, rule: AttemptRule, clock: Clock) -> int:
    over_at = failures.window_started_at + timedelta(seconds=rule.window_seconds)
    return math.ceil((over_at - clock()).total_seconds())


def _network(address: str) -> str:
    """The address, or its /64 for IPv6, where one machine may use any address of its network."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address.encode("ascii", "replace").decode()[:45]
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((int(parsed), _IPV6_NETWORK_BITS), strict=False))

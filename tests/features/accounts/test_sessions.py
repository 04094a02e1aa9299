"""Sign-in below the edge: races and time, which HTTP does not show."""

from datetime import timedelta

from holdfast.core.actor import Origin
from holdfast.core.clock import Clock, utc_now
from holdfast.core.errors import HoldfastError
from holdfast.db.engines.base import Database
from holdfast.features.accounts import passwords, sessions
from holdfast.features.accounts.attempts import AttemptRule
from holdfast.features.accounts.passwords import PasswordCheck
from holdfast.features.accounts.types import Credentials, SignedIn
from tests.factories import PASSWORD, make_user

_RULE = AttemptRule(attempts=3, window_seconds=600)
_HOME = Origin(address="2001:db8::1")


async def find(database: Database, clock: Clock = utc_now, origin: Origin = _HOME) -> Credentials | None:
    async with database.read() as tx:
        return await sessions.find_credentials(tx, _RULE, username="anna", origin=origin, clock=clock)


async def complete(
    database: Database, credentials: Credentials | None, check: PasswordCheck, clock: Clock = utc_now
) -> SignedIn | HoldfastError:
    async with database.write() as tx:
        return await sessions.complete_sign_in(
            tx, _RULE, credentials, check, username="anna", origin=_HOME, session_seconds=60, clock=clock
        )


async def refused(database: Database, clock: Clock = utc_now) -> int:
    answer = await complete(database, await find(database, clock), PasswordCheck(matches=False), clock)
    assert isinstance(answer, HoldfastError)
    return answer.status


async def test_attempts_are_given_back_when_the_window_is_over(database: Database) -> None:
    await make_user(database, "anna")
    start = utc_now()
    credentials = await find(database)
    wrong = PasswordCheck(matches=False)
    answers = [await complete(database, credentials, wrong, lambda: start) for _ in range(4)]
    assert [answer.status for answer in answers if isinstance(answer, HoldfastError)] == [401, 401, 401, 429]
    assert await refused(database, lambda: start + timedelta(seconds=600)) == 401


async def test_a_password_that_was_changed_while_it_was_checked_opens_nothing(database: Database) -> None:
    await make_user(database, "anna")
    credentials = await find(database)
    assert credentials is not None
    check = await passwords.check_password(credentials.password, PASSWORD)
    assert check.new_hash is not None
    first = await complete(database, credentials, check)
    assert isinstance(first, SignedIn)
    second = await complete(database, credentials, check)
    assert isinstance(second, HoldfastError)
    assert second.code == "password_changed_meanwhile"


async def test_one_ipv6_network_shares_its_attempts() -> None:
    def subject(address: str) -> str:
        return sessions.sign_in_limits(_RULE, "anna", Origin(address=address))[1].subject

    assert subject("2001:db8::1") == subject("2001:db8::ffff:1")
    assert subject("2001:db8::1") != subject("2001:db8:0:1::1")
    assert subject("192.0.2.1") != subject("192.0.2.2")
    assert subject("not an address \N{SNOWMAN}").isascii()
    longest = subject("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")
    assert len(longest) <= 80

"""Passwords: what they cost, and that every kind of stored hash is verified alike."""

import time
from collections import Counter

import pytest
from argon2 import PasswordHasher, extract_parameters

from holdfast.core.errors import InvalidInputError
from holdfast.features.accounts import passwords
from tests.factories import PASSWORD, PASSWORD_HASH


async def test_a_hash_fits_its_password_alone() -> None:
    stored = await passwords.hash_password(PASSWORD)
    assert stored.startswith("$argon2id$")
    assert (await passwords.check_password(stored, PASSWORD)) == passwords.PasswordCheck(matches=True)
    assert not (await passwords.check_password(stored, PASSWORD + " ")).matches


async def test_nobody_has_no_password() -> None:
    for password in ("", PASSWORD, "\x00", "\U0001f511" * 128):
        assert not (await passwords.check_password(None, password)).matches


@pytest.mark.parametrize("stored", ["", "secret", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=8,t=1,p=1$AA"])
async def test_a_hash_of_another_kind_fits_nothing(stored: str) -> None:
    assert not (await passwords.check_password(stored, stored)).matches


async def test_a_hash_with_old_parameters_is_replaced_when_it_fits() -> None:
    check = await passwords.check_password(PASSWORD_HASH, PASSWORD)
    assert check.new_hash is not None
    assert (await passwords.check_password(check.new_hash, PASSWORD)) == passwords.PasswordCheck(matches=True)
    assert (await passwords.check_password(PASSWORD_HASH, "wrong")) == passwords.PasswordCheck(matches=False)


@pytest.mark.parametrize("password", ["", "7 chars", "x" * 129])
async def test_a_short_and_a_long_password_are_not_hashed(password: str) -> None:
    with pytest.raises(InvalidInputError):
        await passwords.hash_password(password)


async def test_the_length_of_a_password_counts_in_characters() -> None:
    assert await passwords.hash_password("\U0001f511" * 128)


async def test_first_passwords_are_all_different_and_hashed_in_seconds() -> None:
    made = [passwords.new_first_password() for _ in range(2000)]
    assert len(set(made)) == 2000
    assert {len(password) for password in made} == {29}
    # Each of the 32 letters is as likely as any other: of 50,000 about 1,560, give or take 40.
    counts = Counter("".join(made).replace("-", ""))
    assert len(counts) == 32
    assert all(1250 < count < 1900 for count in counts.values())
    started = time.perf_counter()
    hashes = await passwords.hash_first_passwords(made)
    assert time.perf_counter() - started < 30
    for number in (0, 49, 50, 1999):
        assert (await passwords.check_password(hashes[number], made[number])).matches


@pytest.mark.conformance("A-02")
async def test_unknown_user_cheap_hash_and_proper_hash_cost_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is not measured, as the machine may be busy; the work is counted: each spends one proper hash."""
    costs: list[int] = []
    verify = PasswordHasher.verify

    def counting(self: PasswordHasher, stored: str, password: str) -> bool:
        costs[-1] = max(costs[-1], extract_parameters(stored).memory_cost)
        return verify(self, stored, password)

    proper = await passwords.hash_password(PASSWORD)
    (cheap,) = await passwords.hash_first_passwords([passwords.new_first_password()])
    monkeypatch.setattr(PasswordHasher, "verify", counting)
    for stored in (None, cheap, proper):
        costs.append(0)
        await passwords.check_password(stored, "wrong")
    assert costs == [extract_parameters(proper).memory_cost] * 3

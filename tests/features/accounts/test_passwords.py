"""Passwords: what they cost, and that every kind of stored hash is verified alike."""

import time
from collections import Counter

import bcrypt
import pytest
from argon2 import PasswordHasher, extract_parameters

from holdfast.core.errors import InvalidInputError
from holdfast.features.accounts import bcrypt_hashes, passwords
from holdfast.features.accounts.bcrypt_hashes import PUBLIC_HASHES, is_bcrypt
from tests.factories import BCRYPT_HASH, PASSWORD, PASSWORD_HASH


async def test_a_hash_fits_its_password_alone() -> None:
    stored = await passwords.hash_password(PASSWORD)
    assert stored.startswith("$argon2id$")
    assert (await passwords.check_password(stored, PASSWORD)) == passwords.PasswordCheck(matches=True)
    assert not (await passwords.check_password(stored, PASSWORD + " ")).matches


async def test_nobody_has_no_password() -> None:
    for password in ("", PASSWORD, "\x00", "\U0001f511" * 128):
        assert not (await passwords.check_password(None, password)).matches


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "secret",
        "ein geheimes Wört",
        "\x00",
        "$1$AbCdEfGh$k6bYsmZrY8bJnUbVNd3zl1",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=8,t=1,p=1$AA",
        "$argon2id$v=19$m=8,t=1,p=1$ü$ü",
    ],
)
async def test_a_hash_of_another_kind_fits_nothing(stored: str) -> None:
    assert not (await passwords.check_password(stored, stored)).matches


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
async def test_a_hash_of_bcrypt_is_replaced_when_it_fits(prefix: str) -> None:
    stored = prefix + BCRYPT_HASH[4:]
    assert passwords.can_be_opened(stored)
    check = await passwords.check_password(stored, PASSWORD)
    assert check.matches
    assert check.new_hash is not None
    assert (await passwords.check_password(check.new_hash, PASSWORD)) == passwords.PasswordCheck(matches=True)
    assert (await passwords.check_password(stored, PASSWORD + " ")) == passwords.PasswordCheck(matches=False)


@pytest.mark.parametrize(
    ("stored", "password"),
    [
        # Of the test vectors of crypt_blowfish and of Go.
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
        ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy", ""),
        ("$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga", "allmine"),
    ],
)
async def test_hashes_of_other_programs_open(stored: str, password: str) -> None:
    check = await passwords.check_password(stored, password)
    assert check.matches
    assert check.new_hash is not None
    assert (await passwords.check_password(check.new_hash, password)).matches


@pytest.mark.parametrize(
    "stored",
    [
        BCRYPT_HASH[:-1],
        BCRYPT_HASH + "u",
        BCRYPT_HASH + "\n",
        " " + BCRYPT_HASH,
        BCRYPT_HASH[:29],
        "$2x$" + BCRYPT_HASH[4:],
        "$2c$" + BCRYPT_HASH[4:],
        "$2$" + BCRYPT_HASH[4:],
        "$2b$4$" + BCRYPT_HASH[7:],
        "$2b$03$" + BCRYPT_HASH[7:],
        # Days of a thread, and minutes.
        "$2b$31$" + BCRYPT_HASH[7:],
        "$2b$17$" + BCRYPT_HASH[7:],
        "$2b$99$" + BCRYPT_HASH[7:],
        "$2b$٠٤$" + BCRYPT_HASH[7:],
        "$2b$04$" + "!" * 53,
        "$2b$04$" + "é" * 53,
        # A salt of more than 128 bits.
        BCRYPT_HASH[:28] + "z" + BCRYPT_HASH[29:],
    ],
)
async def test_a_spoilt_or_dear_hash_of_bcrypt_is_never_computed(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bcrypt, "checkpw", None)
    assert not passwords.can_be_opened(stored)
    assert (await passwords.check_password(stored, PASSWORD)) == passwords.PasswordCheck(matches=False)


async def test_a_hash_whose_password_is_public_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (stored,) = PUBLIC_HASHES
    assert not is_bcrypt(stored)
    assert is_bcrypt(stored[:-1] + "e")
    monkeypatch.setattr(bcrypt_hashes, "PUBLIC_HASHES", frozenset({BCRYPT_HASH}))
    assert (await passwords.check_password(BCRYPT_HASH, PASSWORD)) == passwords.PasswordCheck(matches=False)


async def test_bcrypt_reads_72_bytes_and_what_it_did_not_read_replaces_nothing() -> None:
    whole = "\U0001f511" * 18
    stored = bcrypt.hashpw(whole.encode(), bcrypt.gensalt(4)).decode()
    assert (await passwords.check_password(stored, whole)).new_hash is not None
    longer = await passwords.check_password(stored, whole + "mistyped")
    assert longer == passwords.PasswordCheck(matches=True, new_hash=None)
    assert not (await passwords.check_password(stored, whole[:-1] + "mistyped")).matches
    # The 72nd byte may be within a letter.
    stored = bcrypt.hashpw(("x" + whole).encode()[:72], bcrypt.gensalt(4)).decode()
    assert (await passwords.check_password(stored, "x" + whole)).matches


async def test_bcrypt_reads_beyond_a_nul() -> None:
    stored = bcrypt.hashpw(b"before\x00after", bcrypt.gensalt(4)).decode()
    assert (await passwords.check_password(stored, "before\x00after")).matches
    for password in ("before", "before\x00", "before\x00other"):
        assert not (await passwords.check_password(stored, password)).matches


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
    for stored in (None, cheap, proper, BCRYPT_HASH):
        costs.append(0)
        await passwords.check_password(stored, "wrong")
    assert costs == [extract_parameters(proper).memory_cost] * 4

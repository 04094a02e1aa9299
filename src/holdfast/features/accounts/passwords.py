"""Passwords: argon2id, in a few threads of their own, and never inside a transaction. Bcrypt is verified, and replaced.

A hash takes tens of milliseconds of a core: in the event loop it would stop every request, and inside a transaction
it would hold locks (on SQLite, all writers).
"""

import asyncio
import base64
import os
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import msgspec
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from holdfast.core.errors import UnavailableError
from holdfast.features.accounts.bcrypt_hashes import fits_bcrypt, is_bcrypt, is_read_whole
from holdfast.features.accounts.rules import require_password

Result = TypeVar("Result")

# OWASP's first choice for argon2id where memory counts: 19 MiB, two passes, one lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

# For generated first passwords alone, so that a course of 2,000 is imported in seconds. A slow hash protects passwords
# that people choose and that can be guessed; 125 random bits cannot be guessed whatever one guess costs. The
# parameters are part of the hash, so it is verified like any other, and the first sign-in replaces it.
_FIRST_PASSWORD_HASHER = PasswordHasher(time_cost=1, memory_cost=256, parallelism=1)
# 32 characters that nobody takes for one another.
_UNMISTAKABLE = b"abcdefghijkmnpqrstuvwxyz23456789"
_TO_UNMISTAKABLE = _UNMISTAKABLE * 8
_FIRST_PASSWORD_GROUPS = 5
_FIRST_PASSWORDS_AT_ONCE = 50
# One of them takes a tenth of a millisecond, and a thread nearly as much again.
_FIRST_PASSWORDS_IN_PLACE = 1

_THREADS = max(2, min(4, os.cpu_count() or 1))
_MOST_WAITING = 256


class _Threads:
    """The threads that hash. Who would wait behind hundreds of others is turned away at once instead."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="password")
        self._waiting = 0

    async def run(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= _MOST_WAITING:
            raise UnavailableError("too many people sign in at this moment; try again shortly", retry_after_seconds=5)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


_threads = _Threads()


def _hash_of_nobody() -> str:
    """A hash with the present parameters that no password fits, for the time it takes to verify one."""
    salt, digest = (base64.b64encode(bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}${salt}${digest}"


_HASH_OF_NOBODY = _hash_of_nobody()


class PasswordCheck(msgspec.Struct, frozen=True):
    """Whether a password fits. `new_hash` replaces the stored one where that was made in another way."""

    matches: bool
    new_hash: str | None = None


async def hash_password(password: str) -> str:
    """The hash to store of a new password; 400 where it is too short or too long."""
    require_password(password)
    return await _threads.run(partial(_HASHER.hash, password))


async def hash_passwords(passwords: Sequence[str]) -> list[str]:
    """The hashes of several new passwords, one at a time, so that people who sign in meanwhile get their turn."""
    return [await hash_password(password) for password in passwords]


async def hash_first_passwords(passwords: Sequence[str]) -> list[str]:
    """The hashes of passwords made by `new_first_password`, and of no others: see `_FIRST_PASSWORD_HASHER`."""
    if len(passwords) <= _FIRST_PASSWORDS_IN_PLACE:
        return _hash_all(_FIRST_PASSWORD_HASHER, passwords)
    hashes: list[str] = []
    for start in range(0, len(passwords), _FIRST_PASSWORDS_AT_ONCE):
        some = passwords[start : start + _FIRST_PASSWORDS_AT_ONCE]
        hashes += await _threads.run(partial(_hash_all, _FIRST_PASSWORD_HASHER, some))
    return hashes


async def check_password(stored: str | None, password: str) -> PasswordCheck:
    """Hold a password against a stored hash. None, for a user that does not exist, takes as long as a wrong one.

    A hash of bcrypt takes its own time besides, until it is replaced: to spend that for everybody would make every
    sign-in slow for good.
    """
    return await _threads.run(partial(_check, stored, password))


def is_argon2(stored: str) -> bool:
    """Whether it is a hash of argon2, with whatever parameters."""
    try:
        extract_parameters(stored)
    except InvalidHashError:
        return False
    return stored.isascii()


def can_be_opened(stored: str) -> bool:
    """Whether any password can fit what is stored."""
    return is_argon2(stored) or is_bcrypt(stored)


def new_first_password() -> str:
    """A random password of 125 bits for a new account: five groups of five characters, easy to copy from paper."""
    # Five bits of each byte: one question to the system for all of them, where `secrets.choice` asks for each.
    letters = secrets.token_bytes(5 * _FIRST_PASSWORD_GROUPS).translate(_TO_UNMISTAKABLE).decode()
    return "-".join(letters[start : start + 5] for start in range(0, len(letters), 5))


def _check(stored: str | None, password: str) -> PasswordCheck:
    current = stored is not None and _is_current(stored)
    if stored is None or not current:
        # Also where the stored hash is a cheap one: the time must not tell that an account was never used.
        _matches(_HASH_OF_NOBODY, password)
    if stored is None or not (_matches(stored, password) or fits_bcrypt(stored, password)):
        return PasswordCheck(matches=False)
    # What bcrypt did not read may be mistyped, and would shut out its owner if it became part of the hash.
    is_kept = current or (is_bcrypt(stored) and not is_read_whole(password))
    return PasswordCheck(matches=True, new_hash=None if is_kept else _HASHER.hash(password))


def _is_current(stored: str) -> bool:
    try:
        return not _HASHER.check_needs_rehash(stored)
    except InvalidHashError:
        return False


def _matches(stored: str, password: str) -> bool:
    try:
        return is_argon2(stored) and _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _hash_all(hasher: PasswordHasher, passwords: Sequence[str]) -> list[str]:
    return [hasher.hash(password) for password in passwords]

"""Bcrypt hashes, which users brought along from an older program; the first sign-in replaces each by argon2id.

Nothing is hashed with it anew. It reads 72 bytes of a password and never looks at the rest.
"""

import re

import bcrypt

# The hash that the schema file of the older program gave user `admin`: anybody can look up its password.
PUBLIC_HASHES = frozenset({"$2a$10$nsXJXOUAbVyLbvtPizj0RectJWdInu17C2NpWEVKNvwzKQcg8bchu"})

# 128 bits of salt leave four letters for its last place. $2x$ is not among them: it marks what a faulty program made.
_HASH = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
# Each step doubles the time: a cost of 10 takes 60 ms, one of 16 four seconds, one of 31 a day and a half.
_COSTS = range(4, 17)
_BYTES_READ = 72


def is_bcrypt(stored: str) -> bool:
    """Whether it is a hash that a password can open: of bcrypt, whole, of a bearable cost, and not a public one."""
    found = _HASH.fullmatch(stored)
    return found is not None and int(found["cost"]) in _COSTS and stored not in PUBLIC_HASHES


def fits_bcrypt(stored: str, password: str) -> bool:
    """Whether a password fits the hash: its first 72 bytes, NUL among them, as in Go's `CompareHashAndPassword`."""
    return is_bcrypt(stored) and bcrypt.checkpw(password.encode()[:_BYTES_READ], stored.encode())


def is_read_whole(password: str) -> bool:
    """Whether bcrypt looks at all of a password."""
    return len(password.encode()) <= _BYTES_READ

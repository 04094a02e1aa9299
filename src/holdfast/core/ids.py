"""Ids: strings of the nanoid alphabet, 20 wide for users, groups and projects, 21 elsewhere (spec decision 7).

New ids are time-ordered: eight characters hold the milliseconds since 1970, the rest is random (72 bits at width 20,
78 at width 21), so that rows made together lie together in every index. Any string of the alphabet that fits is
accepted as an id, because imported ones look like `user_17`.
"""

import base64
import re
import secrets
import time

# In byte order, so that ids compare as their times do.
ALPHABET = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
SHORT_WIDTH = 20
LONG_WIDTH = 21

_RANDOM_BYTES = 12
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_TO_ALPHABET = bytes.maketrans(_BASE64.encode(), ALPHABET.encode())
# The first six bits count spans of 139 years. Starting them at 11 makes the first character a letter ("A" until 2109):
# an id that began with "-" would read as an option on a command line.
_TIME_OFFSET = 11 << 42
_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,21}\Z")


def new_short_id() -> str:
    """An id for a user, a group or a project: 20 characters."""
    return _new_id(SHORT_WIDTH)


def new_long_id() -> str:
    """An id for any other row: 21 characters."""
    return _new_id(LONG_WIDTH)


def is_id(text: str, *, width: int = LONG_WIDTH) -> bool:
    """Whether `text` could be an id of at most `width` characters."""
    return len(text) <= width and _PATTERN.match(text) is not None


def _new_id(width: int) -> str:
    milliseconds = (time.time_ns() // 1_000_000) + _TIME_OFFSET
    # Base64 writes six bits a character, so only its alphabet differs: three bytes make four characters.
    encoded = base64.b64encode(milliseconds.to_bytes(6, "big") + secrets.token_bytes(_RANDOM_BYTES))
    return encoded[:width].translate(_TO_ALPHABET).decode()

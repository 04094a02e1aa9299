"""Ids: strings of the nanoid alphabet, 20 wide for users, groups and projects, 21 elsewhere (spec decision 7).

New ids are time-ordered: eight characters hold the milliseconds since 1970, the rest is random (72 bits at width 20,
78 at width 21), so that rows made together lie together in every index. Any string of the alphabet that fits is
accepted as an id, because imported ones look like `user_17`.
"""

import re
import secrets
import time

# In byte order, so that ids compare as their times do.
ALPHABET = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
SHORT_WIDTH = 20
LONG_WIDTH = 21

_TIME_CHARACTERS = 8
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
    random_characters = width - _TIME_CHARACTERS
    number = (time.time_ns() // 1_000_000) + _TIME_OFFSET
    number = (number << (6 * random_characters)) | secrets.randbits(6 * random_characters)
    characters = []
    for _ in range(width):
        characters.append(ALPHABET[number & 63])
        number >>= 6
    characters.reverse()
    return "".join(characters)

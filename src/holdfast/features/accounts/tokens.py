"""Session and API tokens: random, shown once, stored only as a hash."""

import hashlib
import re
import secrets

_PREFIX = "hf_"
_PATTERN = re.compile(r"hf_[A-Za-z0-9_-]{43}\Z")


def new_token() -> str:
    """A token with 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Whether the text has the form of a token."""
    return _PATTERN.match(text) is not None


def token_hash(token: str) -> str:
    """What is stored of a token: its SHA-256. A slow hash would guard nothing here, as the token cannot be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()

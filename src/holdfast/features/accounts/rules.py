"""The forms that user names, passwords and profiles must have (spec: behaviour.md, Users and sign-in)."""

import re

from holdfast.core.errors import InvalidInputError

# The first start makes this user; it stays enabled, keeps its name, and stays a super administrator.
ADMIN_USERNAME = "admin"

# In Python `$` alone would let a last line break pass; other languages, which read these in the API's description, have
# no `\Z`.
USERNAME_PATTERN = r"^[A-Za-z0-9_-]{3,50}$(?!\n)"
EMAIL_PATTERN = r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$(?!\n)"
FULL_NAME_PATTERN = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$(?!\n)"
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 128
LONGEST_EMAIL = 100
LONGEST_FULL_NAME = 100

_USERNAME = re.compile(USERNAME_PATTERN)
_EMAIL = re.compile(EMAIL_PATTERN)
_FULL_NAME = re.compile(FULL_NAME_PATTERN)


def username_problem(username: str) -> str | None:
    """What is wrong with a user name, or None."""
    if _USERNAME.match(username):
        return None
    return "must be 3 to 50 characters of A-Z, a-z, 0-9, _ and -"


def password_problem(password: str) -> str | None:
    """What is wrong with a new password, or None. Its length counts in characters, of any alphabet."""
    if SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        return None
    return f"must be {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters long"


def email_problem(email: str) -> str | None:
    """What is wrong with an e-mail address, or None."""
    if len(email) <= LONGEST_EMAIL and _EMAIL.match(email):
        return None
    return f"must be an address like name@example.org, at most {LONGEST_EMAIL} characters"


def full_name_problem(full_name: str) -> str | None:
    """What is wrong with a person's name, or None."""
    if len(full_name) <= LONGEST_FULL_NAME and _FULL_NAME.match(full_name):
        return None
    return f"must be one line of at most {LONGEST_FULL_NAME} characters"


def require_username(username: str) -> None:
    """Refuse a malformed user name."""
    if problem := username_problem(username):
        raise InvalidInputError(f"username {problem}")


def require_password(password: str) -> None:
    """Refuse a password that is too short or too long."""
    if problem := password_problem(password):
        raise InvalidInputError(f"the password {problem}")

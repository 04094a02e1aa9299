"""The statements that may break a rule of the review by their nature, and why."""

import msgspec


class Accepted(msgspec.Struct, frozen=True):
    """Statements whose whole name matches the pattern may break the rules."""

    statements: str
    rules: tuple[str, ...]
    reason: str


ACCEPTED: tuple[Accepted, ...] = ()

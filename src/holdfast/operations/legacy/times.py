"""Times as the older program kept them: without a zone, missing, or of the year 1 by a known bug."""

from datetime import UTC, datetime, tzinfo
from typing import Any

_OLDEST = datetime(1970, 1, 1, tzinfo=UTC)


def moment_of(value: Any, zone: tzinfo) -> datetime | None:
    """The moment in UTC; None for no time, and for one before there were computers to write it."""
    if not isinstance(value, datetime):
        return None
    if value.year < 1969:
        return None
    moment = (value if value.tzinfo is not None else value.replace(tzinfo=zone)).astimezone(UTC)
    return moment if moment >= _OLDEST else None


def is_wrong(value: Any, zone: tzinfo) -> bool:
    """Whether something is there that is no believable time."""
    return value is not None and moment_of(value, zone) is None

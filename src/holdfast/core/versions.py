"""Versions of a row for ETag and If-Match: `updated_at`, which every change makes greater."""

from datetime import UTC, datetime, timedelta

from holdfast.core.errors import PreconditionFailedError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def version_of(updated_at: datetime) -> str:
    """The entity tag of a row that last changed at this moment, in its quotes."""
    return f'"{(updated_at - _EPOCH) // _MICROSECOND:x}"'


def require_version(updated_at: datetime, if_match: str | None) -> None:
    """Refuse a change that was made looking at an older version. Without If-Match, or with `*`, any version will do."""
    if if_match is None or if_match.strip() == "*":
        return
    if version_of(updated_at) not in [tag.strip() for tag in if_match.split(",")]:
        raise PreconditionFailedError(
            "somebody changed this since you read it: read it again, then repeat your change with the new ETag",
            current_etag=version_of(updated_at),
        )


def next_version(previous: datetime, now: datetime) -> datetime:
    """The `updated_at` of a change: now, or just after the previous one where the clock has not moved on."""
    return max(now, previous + _MICROSECOND)

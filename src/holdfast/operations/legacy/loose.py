"""Values as SQLite keeps them: anything in any column, times as numbers or text of any spelling, flags as words."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

_WORDS = {
    **dict.fromkeys(("1", "t", "true", "y", "yes", "on"), True),
    **dict.fromkeys(("0", "f", "false", "n", "no", "off"), False),
}
# `2025-10-01 08:00:00.123456789 +0800 CST m=+0.01` is how Go prints a time; SQLite's own functions give a part of it.
_TIME = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})(?:[T ](?P<hour>\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?))?"
    r" ?(?P<zone>Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)?(?: [A-Z]{2,5}| [+-]\d{2,4})?(?: m=[+-][\d.]+)?\Z"
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?\Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds, milliseconds, microseconds and nanoseconds of the years 2001 to 2286 have each so many digits.
_UNITS = {10: 1, 13: 10**3, 16: 10**6, 19: 10**9}
_JULIAN_EPOCH = 2_440_587.5
_JULIAN_DAYS = range(2_400_000, 2_600_000)
_LAST_YEAR = 9990


def text_of(value: Any) -> str | None:
    """A value of any type as text; bytes that are none are written out as `\\xe9`."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return None if value is None else str(value)


def flag_of(value: Any) -> Any:
    """`true`, `t` and 1 alike; a word that says neither stays as it is."""
    if isinstance(value, int | float):
        return bool(value)
    text = text_of(value)
    return _WORDS.get(text.strip().lower(), text) if text and text.strip() else None


def time_of(value: Any) -> Any:
    """A time of any spelling; what is none stays as it is, and an empty text is no time at all.

    Numbers are seconds since 1970 in UTC, or parts of them, or Julian days.
    """
    if isinstance(value, int | float):
        return _time_of_number(value) or value
    text = (text_of(value) or "").strip()
    if not text:
        return None
    if _NUMBER.match(text):
        return _time_of_number(float(text) if "." in text else int(text)) or text
    return _time_of_text(text) or text


def sortable_time(value: Any) -> str | None:
    """A time as text that sorts as times do. Nothing for none, and an empty text for what cannot be read."""
    moment = time_of(value)
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        return ""
    if moment.tzinfo is not None and moment.year > 1:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds")


def _time_of_text(text: str) -> datetime | None:
    found = _TIME.match(text)
    if found is None:
        return None
    zone = found["zone"] or ""
    hour = (found["hour"] or "00:00").replace(",", ".")
    try:
        moment = datetime.fromisoformat(f"{found['day']}T{hour}{'Z' if zone in {'UTC', 'GMT'} else zone}")
    except ValueError:
        return None
    return moment if moment.year < _LAST_YEAR else None


def _time_of_number(number: float) -> datetime | None:
    if not math.isfinite(number):
        return None
    if int(number) in _JULIAN_DAYS:
        return _EPOCH + timedelta(days=number - _JULIAN_EPOCH)
    unit = _UNITS.get(len(str(int(number)))) if number > 0 else None
    return None if unit is None else _EPOCH + timedelta(microseconds=number * 10**6 // unit)

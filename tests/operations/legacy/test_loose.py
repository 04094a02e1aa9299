"""Values as SQLite keeps them, read as a server would give them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from holdfast.operations.legacy.loose import flag_of, sortable_time, text_of, time_of

_LOCAL = datetime(2025, 10, 1, 8)  # noqa: DTZ001 - the spelling says no zone.
_MOMENT = _LOCAL.replace(tzinfo=UTC)
_IN_TAIPEI = _LOCAL.replace(tzinfo=timezone(timedelta(hours=8)))


@pytest.mark.parametrize(
    ("kept", "read"),
    [
        ("2025-10-01 08:00:00", _LOCAL),
        ("2025-10-01T08:00:00.000000", _LOCAL),
        ("2025-10-01 08:00", _LOCAL),
        (" 2025-10-01 08:00:00 ", _LOCAL),
        (b"2025-10-01 08:00:00", _LOCAL),
        ("2025-10-01", _LOCAL.replace(hour=0)),
        ("2025-10-01T08:00:00Z", _MOMENT),
        ("2025-10-01 08:00:00 UTC", _MOMENT),
        ("2025-10-01 08:00:00.000000001+00:00", _MOMENT),
        ("2025-10-01 08:00:00 +0000 UTC", _MOMENT),
        ("2025-10-01 08:00:00.000000001 +0800 CST m=+0.012345", _IN_TAIPEI),
        ("2025-10-01 08:00:00+08", _IN_TAIPEI),
        (1759305600, _MOMENT),
        (1759305600.0, _MOMENT),
        ("1759305600", _MOMENT),
        (1759305600000, _MOMENT),
        (1759305600000000, _MOMENT),
        (1759305600000000000, _MOMENT),
        (2460949.8333333335, _MOMENT),
        ("0001-01-01 00:00:00+00:00", datetime(1, 1, 1, tzinfo=UTC)),
        ("", None),
        (" ", None),
        (None, None),
        # These are no times, and the rules say what becomes of them.
        ("0000-00-00 00:00:00", "0000-00-00 00:00:00"),
        ("2025-13-01", "2025-13-01"),
        ("9999-12-31 23:59:59-07:00", "9999-12-31 23:59:59-07:00"),
        ("yesterday", "yesterday"),
        (20251001, 20251001),
        (0, 0),
        (-5, -5),
        (float("inf"), float("inf")),
    ],
)
def test_a_time_of_any_spelling_is_read(kept: Any, read: Any) -> None:
    found = time_of(kept)
    if isinstance(read, datetime) and isinstance(kept, float):
        assert abs(found - read) < timedelta(milliseconds=1)
        return
    assert found == read
    assert not isinstance(read, datetime) or found.tzinfo == read.tzinfo


def test_times_of_many_spellings_sort_as_times_do() -> None:
    kept = [
        "0000-00-00 00:00:00",
        "0001-01-01 00:00:00+08:00",
        "2025-10-01T07:59:59",
        "2025-10-01 08:00:00",
        "2025-10-01 16:00:01 +0800 CST",
        1759305602,
        "2025-10-01 08:00:03",
    ]
    assert sorted(kept, key=lambda each: sortable_time(each) or "") == kept
    assert sortable_time("") is None


@pytest.mark.parametrize(
    ("kept", "read"),
    [
        (1, True),
        (2.0, True),
        ("true", True),
        (" on ", True),
        (b"1", True),
        (0, False),
        ("F", False),
        ("0", False),
        ("maybe", "maybe"),
        ("", None),
        (None, None),
    ],
)
def test_a_flag_of_any_spelling_is_read(kept: Any, read: Any) -> None:
    assert flag_of(kept) == read


def test_what_is_no_text_is_written_out() -> None:
    assert [text_of(kept) for kept in (17, 2.5, "é", "é".encode(), b"caf\xe9", None)] == [
        "17",
        "2.5",
        "é",
        "é",
        "caf\\xe9",
        None,
    ]

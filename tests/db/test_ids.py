"""Ids that the product generates: width, alphabet, order and uniqueness (spec decisions 7 and 8)."""

import re
import time
from collections.abc import Callable

import pytest

from holdfast.core.ids import is_id, new_long_id, new_short_id


@pytest.mark.conformance("T-03")
@pytest.mark.parametrize(("make", "width"), [(new_short_id, 20), (new_long_id, 21)])
def test_100_000_ids_are_all_different_and_fit(make: Callable[[], str], width: int) -> None:
    made = [make() for _ in range(100_000)]
    assert len(set(made)) == 100_000
    assert all(len(each) == width and re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", each) for each in made)
    assert all(is_id(each, width=width) for each in made[:100])


@pytest.mark.conformance("T-03")
def test_later_ids_sort_after_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [
        0,
        1_000_000_000_000_000_000,
        1_770_000_000_000_000_000,
        1_770_000_000_001_000_000,
        4_000_000_000_000_000_000,
    ]
    made = []
    for moment in moments:
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
        made.append(new_long_id())
    assert made == sorted(made)


@pytest.mark.parametrize(
    ("text", "fits"), [("user_17", True), ("", False), ("a b", False), ("é", False), ("x" * 22, False)]
)
def test_an_id_of_elsewhere_is_taken_when_it_fits(text: str, fits: bool) -> None:
    assert is_id(text) is fits

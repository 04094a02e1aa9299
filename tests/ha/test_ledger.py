"""The notes of the load find what they are there to find."""

from collections import Counter

import pytest

from tests.ha.ledger import Figures, Register, Told, Write


def _figures(told: Told, count: int) -> Figures:
    figures = Figures()
    figures.count_writes(
        [Write("other", "forms", keyed=False, told=Told.ACKNOWLEDGED), Write("text", "forms", keyed=True, told=told)],
        Counter({"text": count, "other": 1}),
    )
    return figures


@pytest.mark.parametrize(
    ("told", "count", "broken"),
    [
        (Told.ACKNOWLEDGED, 0, "lost"),
        (Told.ACKNOWLEDGED, 2, "doubled"),
        (Told.UNKNOWN, 2, "doubled"),
        (Told.REFUSED, 1, "kept_though_refused"),
    ],
)
def test_a_broken_promise_is_found(told: Told, count: int, broken: str) -> None:
    with pytest.raises(AssertionError, match=broken):
        _figures(told, count).require_kept_promises()


@pytest.mark.parametrize(
    ("told", "count"), [(Told.ACKNOWLEDGED, 1), (Told.UNKNOWN, 0), (Told.UNKNOWN, 1), (Told.REFUSED, 0)]
)
def test_a_kept_promise_is_none(told: Told, count: int) -> None:
    _figures(told, count).require_kept_promises()


def test_a_reader_may_find_what_was_acknowledged_or_is_unknown_and_nothing_older() -> None:
    register = Register()
    register.before_writing(1)
    assert register.allowed == {0, 1}
    register.after_writing(1, Told.ACKNOWLEDGED)
    assert not register.read(0)
    register.before_writing(2)
    register.after_writing(2, Told.REFUSED)
    assert not register.read(2)
    register.before_writing(3)
    register.after_writing(3, Told.UNKNOWN)
    assert register.read(1)
    assert register.read(3)
    # What was seen once stays.
    assert not register.read(1)

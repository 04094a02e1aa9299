"""The conformance marks name rows that exist."""

import pytest

from tests.rules.conformance import known_rows, marked_rows


def test_the_list_names_each_row_once() -> None:
    rows = known_rows()
    assert len(rows) == len(set(rows))
    assert {"T-01", "I-56", "C-13", "N-01"} <= set(rows)


def test_every_mark_names_a_row(request: pytest.FixtureRequest) -> None:
    unknown = set(marked_rows(request.session.items)) - set(known_rows())
    assert unknown == set(), "correct these marks, or add the rows to tests/rules/conformance_rows.txt"

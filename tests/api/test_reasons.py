"""Why a value does not fit is told in words."""

from typing import Annotated, Any

import msgspec
import pytest

from holdfast.api.reasons import field_of, plain_reason


class Person(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=3, max_length=5, pattern="^[a-z]+$")]
    age: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tags: list[str] = []


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        ({}, "name", "is missing"),
        ({"name": "abc", "colour": 1}, "colour", "is not a field of this request"),
        ({"name": "ab"}, "name", "must have at least 3 characters"),
        ({"name": "abcdef"}, "name", "must have at most 5 characters"),
        ({"name": "ABC"}, "name", "is empty or holds a character that it may not hold"),
        ({"name": 7}, "name", "must be a text, not a whole number"),
        ({"name": "abc", "age": -1}, "age", "must be at least 0"),
        ({"name": "abc", "age": "1"}, "age", "must be a whole number or null, not a text"),
        ({"name": "abc", "tags": ["a", 2]}, "tags[1]", "must be a text, not a whole number"),
        ([], "", "must be an object, not a list"),
    ],
)
def test_each_reason_names_its_field_in_words(body: Any, field: str, reason: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(body), type=Person)
    given, _, path = str(caught.value).partition(" - at `$")
    assert (field_of(path, given), plain_reason(given)) == (field, reason)


def test_a_reason_that_no_rule_knows_stays() -> None:
    assert plain_reason("the moon is in the wrong phase") == "the moon is in the wrong phase"

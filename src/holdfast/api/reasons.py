"""Why a value does not fit, in words: the decoder's own sentences speak of Python's types and regular expressions."""

import re
from collections.abc import Callable

_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "date": "a date",
    "datetime": "a time such as 2026-03-01T12:00:00Z",
    "float": "a number",
    "int": "a whole number",
    "null": "null",
    "object": "an object",
    "str": "a text",
}

_RULES: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
    (re.compile(r"Object missing required field"), lambda found: "is missing"),
    (re.compile(r"Object contains unknown field"), lambda found: "is not a field of this request"),
    (re.compile(r"Expected `str` of length >= 1\Z"), lambda found: "must not be empty"),
    (re.compile(r"Expected `str` of length >= (\d+)"), lambda found: f"must have at least {found[1]} characters"),
    (re.compile(r"Expected `str` of length <= (\d+)"), lambda found: f"must have at most {found[1]} characters"),
    (re.compile(r"Expected `array` of length <= (\d+)"), lambda found: f"must have at most {found[1]} entries"),
    (re.compile(r"Expected `array` of length >= (\d+)"), lambda found: f"must have at least {found[1]} entries"),
    (re.compile(r"Expected `(?:int|float)` >= (\S+)"), lambda found: f"must be at least {found[1]}"),
    (re.compile(r"Expected `(?:int|float)` <= (\S+)"), lambda found: f"must be at most {found[1]}"),
    (re.compile(r"Expected `str` matching regex"), lambda found: "is empty or holds a character that it may not hold"),
    (
        re.compile(r"Invalid enum value (.+)"),
        lambda found: f"cannot be {found[1]}; the API's description lists the values",
    ),
    (
        re.compile(r"Expected `([\w |]+)`, got `(\w+)`"),
        lambda found: f"must be {_kinds(found[1])}, not {_kinds(found[2])}",
    ),
]


def plain_reason(reason: str) -> str:
    """The reason in words; as it was where no rule knows it."""
    for pattern, say in _RULES:
        found = pattern.match(reason)
        if found is not None:
            return say(found)
    return reason


def field_of(path: str, reason: str) -> str:
    """The name of the field that a decoder's path and reason speak of, such as `rows[2].username`; "" for the whole."""
    named = re.match(r"Object (?:missing required|contains unknown) field `(\w+)`", reason)
    parts = [path.strip("`").lstrip("."), named[1] if named else ""]
    return ".".join(part for part in parts if part)


def _kinds(types: str) -> str:
    return " or ".join(_KINDS.get(each.strip(), each.strip()) for each in types.split("|"))

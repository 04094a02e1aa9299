"""What an unquoted YAML value means to Kubernetes.

kubectl and the API server read YAML through sigs.k8s.io/yaml, which resolves scalars as go-yaml v2 does: YAML 1.1's
booleans (`yes`, `on`, `y`), octal `0644`, `1_000`, but timestamps and base-60 numbers stay strings, and what JSON can
not hold cannot be stored. A manifest must mean here what it will mean to the cluster.
"""

import math
import re
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NOT_A_JSON_NUMBER = frozenset(
    (".nan", ".NaN", ".NAN", *(sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")))
)
_INTEGER = re.compile(
    r"([-+]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<binary>[01]+)|0[oO]?(?P<octal>[0-7]+)|(?P<decimal>0|[1-9][0-9]*))"
)
_BASES = {"hex": 16, "binary": 2, "octal": 8, "decimal": 10}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMBER_STARTS = frozenset("+-.0123456789")

_MAX_INTEGER = 2**63 - 1
# 64 binary digits are the longest text of a number that fits; int() itself refuses texts of more than 4,300 digits.
_MAX_INTEGER_DIGITS = 66
# Up to here a float holds every whole number, so that writing it as an integer changes nothing.
_MAX_EXACT_FLOAT = 2.0**53

_TAG = "tag:yaml.org,2002:"
_TAGGED_TYPES: dict[str, tuple[type, ...]] = {
    f"{_TAG}int": (int,),
    f"{_TAG}float": (float, int),
    f"{_TAG}bool": (bool,),
    f"{_TAG}null": (type(None),),
}


class ScalarError(ValueError):
    """A scalar that JSON or this product cannot hold; the text is a reason for a person."""


def resolve_scalar(text: str, *, tag: str | None, is_plain: bool) -> Scalar:
    """The JSON value of a YAML scalar; raises `ScalarError` for one that has none."""
    if "\0" in text:
        raise ScalarError("holds a NUL character, which cannot be stored")
    if tag is None:
        return _resolve_plain(text) if is_plain else text
    if tag in ("!", f"{_TAG}str", f"{_TAG}timestamp"):
        return text
    if tag not in _TAGGED_TYPES:
        raise ScalarError(f"the tag {tag[:80]} is not supported; leave it out")
    value = _resolve_plain(text)
    is_mistaken_boolean = isinstance(value, bool) and bool not in _TAGGED_TYPES[tag]
    if is_mistaken_boolean or not isinstance(value, _TAGGED_TYPES[tag]):
        raise ScalarError(f"{text[:80]!r} is not of the type {tag.removeprefix(_TAG)}")
    return value


def _resolve_plain(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if text in _NOT_A_JSON_NUMBER:
        raise ScalarError(f"{text} cannot be written in JSON; put it in quotes if a text is meant")
    digits = text if text[0] == "." else text.replace("_", "")
    integer = _INTEGER.fullmatch(digits)
    if integer is not None:
        return _to_integer(integer)
    if _FLOAT.fullmatch(digits) is not None:
        return _to_float(digits, text)
    return text


def _to_integer(match: re.Match[str]) -> int:
    kind = match.lastgroup or "decimal"
    if len(match[0]) <= _MAX_INTEGER_DIGITS:
        number = int(match[1] + match[kind], _BASES[kind])
        if -_MAX_INTEGER - 1 <= number <= _MAX_INTEGER:
            return number
    raise ScalarError("a whole number must fit in 64 bits; put it in quotes if a text is meant")


def _to_float(digits: str, text: str) -> Scalar:
    number = float(digits)
    if not math.isfinite(number):
        return text
    if number.is_integer() and abs(number) <= _MAX_EXACT_FLOAT:
        return int(number)
    return number

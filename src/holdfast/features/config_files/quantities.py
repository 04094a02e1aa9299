"""Kubernetes quantities: `500m`, `1.5Gi`, `2e3`, exactly, without floating point.

The grammar is that of k8s.io/apimachinery's resource.Quantity. Two of its leniencies are not kept: texts without a
digit (`+`, `.`), which it reads as zero, and amounts that pass 64 bits, which it cuts silently.
"""

import re
from decimal import Decimal

NANO = 10**9
MAX_UNITS = 2**63 - 1

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]+))?",
    re.ASCII,
)
_BINARY = {name: 1024**power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
# Longer texts cannot be a sensible amount, and exact arithmetic on them costs time.
_MAX_CHARACTERS = 64
_MAX_EXPONENT = 64


class QuantityError(ValueError):
    """A text that is no quantity, or one out of bounds; the text is a reason for a person."""


def parse_quantity(value: object) -> int:
    """An amount in billionths of its unit (cores, bytes, devices): `500m` is 500,000,000.

    Takes what a manifest may hold, a text or a number. Rounds away from zero below a billionth, as Kubernetes does.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise QuantityError(f"{_describe(value)} is not a quantity such as 500m, 2 or 1.5Gi")
    text = str(value)
    match = _QUANTITY.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
    if match is None:
        raise QuantityError(f"{_describe(value)} is not a quantity such as 500m, 2 or 1.5Gi")
    nanos = _to_nanos(match)
    if nanos is None or abs(nanos) > MAX_UNITS * NANO:
        raise QuantityError(f"{_describe(value)} is larger than a 64-bit number can hold")
    return nanos


def _to_nanos(match: re.Match[str]) -> int | None:
    """The exact product, rounded away from zero; None where the exponent alone puts it out of all bounds."""
    suffix = match["suffix"] or ""
    exponent = _DECIMAL.get(suffix, 0) + 9
    if match["exponent"] is not None:
        exponent += int(match["exponent"])
    sign, digits, point = Decimal(match["number"]).as_tuple()
    mantissa: int = int("".join(map(str, digits))) * _BINARY.get(suffix, 1)
    power = int(point) + exponent
    if mantissa == 0:
        return 0
    if power > _MAX_EXPONENT:
        return None
    if power >= 0:
        nanos: int = mantissa * 10**power
    else:
        # Below -200 nothing but the rounding is left of the 64 digits that the text can hold.
        nanos = -(-mantissa // 10 ** min(-power, 200))
    return -nanos if sign else nanos


def _describe(value: object) -> str:
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    text = str(value)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")

"""Kubernetes quantities, exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.features.config_files.quantities import MAX_UNITS, NANO, QuantityError, parse_quantity

BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
DECIMAL = {"n": "1e-9", "u": "1e-6", "m": "1e-3", "": "1", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12", "P": "1e15"}


@pytest.mark.parametrize(
    ("value", "nanos"),
    [
        ("0", 0),
        ("-0", 0),
        ("0e99999999999", 0),
        (1, NANO),
        (0.5, NANO // 2),
        (1e-7, 100),
        ("500m", NANO // 2),
        ("+1", NANO),
        ("-1", -NANO),
        ("1.", NANO),
        (".5", NANO // 2),
        ("1.5Gi", 3 * 2**29 * NANO),
        ("1E", 10**18 * NANO),
        ("1E3", 1000 * NANO),
        ("1e3", 1000 * NANO),
        ("1e+3", 1000 * NANO),
        ("1e-3", NANO // 1000),
        ("007", 7 * NANO),
        ("9223372036854775807", MAX_UNITS * NANO),
        ("7Ei", 7 * 2**60 * NANO),
        ("1n", 1),
    ],
)
def test_a_quantity_is_read_exactly(value: object, nanos: int) -> None:
    assert parse_quantity(value) == nanos


@pytest.mark.parametrize(("value", "nanos"), [("0.1n", 1), ("-0.1n", -1), ("1e-999999", 1), ("1.0000000001", NANO + 1)])
def test_less_than_a_billionth_is_rounded_away_from_zero(value: str, nanos: int) -> None:
    assert parse_quantity(value) == nanos


@pytest.mark.conformance("F-02")
@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "1 Gi", " 1", "1\n", "Gi", "+", "-", ".", "+.", "1.2.3", "1gi", "1GI", "1K", "1ki", "1mi", "1Mib"),
        *("1e", "1e1.5", "1e3k", "1Ki3", "0x10", "1_000", "\u0661", "1,5", "NaN", "inf", "--1", "{{cpu}}", "1" * 65),
        *(None, True, False, [], {}, float("inf"), float("nan")),
    ],
)
def test_what_is_no_quantity_is_refused(value: object) -> None:
    with pytest.raises(QuantityError, match="is not a quantity"):
        parse_quantity(value)


@pytest.mark.parametrize("value", ["8Ei", "9223372036854775808", "10E", "1e19", "1e99999999", "-8.1Ei", 1e300])
def test_what_passes_64_bits_is_refused(value: object) -> None:
    with pytest.raises(QuantityError, match="larger than"):
        parse_quantity(value)


@given(number=st.decimals(-8000, 8000, places=3), suffix=st.sampled_from([*BINARY, *DECIMAL]))
def test_every_suffix_multiplies(number: Decimal, suffix: str) -> None:
    factor = BINARY[suffix] if suffix in BINARY else Decimal(DECIMAL[suffix])
    exact = number * factor * NANO
    if abs(exact) <= MAX_UNITS * NANO:
        nanos = parse_quantity(f"{number:f}{suffix}")
        assert abs(nanos) >= abs(exact)
        assert abs(nanos - exact) < 1


@given(st.text() | st.integers() | st.floats() | st.text("0123456789.+-eEinumkKMGTP"))
def test_no_value_raises_anything_else(value: object) -> None:
    try:
        nanos = parse_quantity(value)
    except QuantityError:
        return
    assert abs(nanos) <= MAX_UNITS * NANO

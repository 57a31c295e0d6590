"""Prices of Yahoo: float32 values widened to float64, coarse hints, hundredths."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.venues.yahoo.prices import price_of, unit_of

DOLLAR = unit_of("USD", 2)
PENCE = unit_of("GBp", 2)


@pytest.mark.parametrize(
    ("wire", "price"),
    [
        (129.0399932861328, 129.04),
        (25.6200008392334, 25.62),
        (0.1, 0.1),
        (0.0, 0.0),
        (-37.630001068115234, -37.63),
        (9.999999747378752e-05, 0.0001),
        (1108.06005859375, 1108.06),  # four decimals would keep 1108.0601
        (1.25e-7, 1.25e-7),
        (0.12834799289703369, 0.128348),  # adjusted for splits: more decimals than the hint says
        (69000.123456789, 69000.1235),  # no float32 value: rounded by the hint
    ],
)
def test_a_price_is_without_the_digits_of_the_widening(wire: float, price: float) -> None:
    assert price_of(wire, DOLLAR) == price


@given(st.integers(1, 9_999_999).map(lambda cents: cents / 100))
def test_every_price_in_cents_is_recovered_from_its_float32(price: float) -> None:
    (wire,) = struct.unpack("f", struct.pack("f", price))
    assert price_of(wire, DOLLAR) == price


@given(st.integers(1, 9_999_999))
def test_pence_are_divided_without_a_rounding_error(pence: int) -> None:
    assert price_of(float(pence), PENCE) == float(f"{pence}e-2")


@pytest.mark.parametrize("wire", [float("nan"), float("inf"), -float("inf"), 1e13])
def test_an_impossible_price_is_refused(wire: float) -> None:
    with pytest.raises(ValueError, match="no possible price"):
        price_of(wire, DOLLAR)


def test_an_absurd_hint_counts_as_two() -> None:
    assert unit_of("USD", 99) == unit_of("USD", None) == DOLLAR

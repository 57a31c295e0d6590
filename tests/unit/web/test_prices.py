"""Prices read as the venue writes them: with the decimals of the tick, or with those that the number has."""

import pytest

from recorder.web.answers.prices import between, cents, digits_of, price, shortest
from recorder.web.browser.cells import text
from recorder.web.market_data.bars import _cell


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1e-05, "0.00001"), (1e-8, "0.00000001"), (77569.14, "77569.14"), (1e16, "10000000000000000"), (5.0, "5"),
     (-0.1, "-0.1")],
)  # fmt: skip
def test_the_shortest_text_is_exact_and_has_no_exponent(value: float, expected: str) -> None:
    assert shortest(value) == expected
    assert float(shortest(value)) == value
    assert text(value) == expected, "in a cell of the table browser"
    assert _cell(value) == expected, "in a CSV of bars"


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (77569.140000001, 0.01, "77,569.14"),
        (77569.1, 0.1, "77,569.1"),
        (77569.0, 0.1, "77,569.0"),
        (1e-05, 1e-08, "0.00001000"),
        (1e-05, None, "0.00001"),
        (12.5, 0.25, "12.50"),
        (3000.0, 5.0, "3,000"),
        (None, 0.1, "–"),
    ],
)
def test_a_price_has_the_decimals_of_its_instrument(value: float | None, step: float | None, expected: str) -> None:
    assert price(value, step) == expected


def test_a_difference_of_prices_has_no_digits_of_float_arithmetic() -> None:
    assert between(999.9, 1000.2) == (0.3, 1000.05)
    assert between(0.29, 0.3) == (0.01, 0.295)
    assert digits_of(0.0) is None
    assert (cents(0.295), cents(0.5), cents(0.0015), cents(None)) == ("29.5 ¢", "50.0 ¢", "0.15 ¢", "–")

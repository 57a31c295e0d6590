"""Prices as texts: with the decimals of the instrument, or with those that the number has. Pure.

A price is stored as a float of 64 bits, so the shortest text that means the same float is what the venue sent.
"""

from decimal import Decimal

MISSING = "–"
MOST_DECIMALS = 12


def shortest(value: float) -> str:
    """Return the shortest exact text of a finite number, without an exponent: 0.00001, never 1e-05."""
    text = f"{Decimal(repr(value)):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def decimals(value: float) -> int:
    """Return how many digits the shortest exact text has behind the point."""
    return len(shortest(value).partition(".")[2])


def digits_of(step: float | None) -> int | None:
    """Return the digits behind the point of prices that are multiples of a step; None where it is not known."""
    return min(MOST_DECIMALS, decimals(step)) if step is not None and step > 0 else None


def price(value: float | None, step: float | None = None) -> str:
    """Return a price for a page; a missing one is a dash, never 0.

    Args:
        value: Quote units.
        step: Tick size of the instrument; None shows the digits that the price has.
    """
    if value is None:
        return MISSING
    digits = digits_of(step)
    return f"{value:,.{decimals(value) if digits is None else digits}f}"


def cents(value: float | None) -> str:
    """Return a probability in cents of a USDC, with one decimal or as many as it has, up to four."""
    if value is None:
        return MISSING
    digits = min(4, max(1, decimals(round(value, 6)) - 2))
    return f"{value * 100:.{digits}f} ¢"


def between(low: float, high: float) -> tuple[float, float]:
    """Return the difference and the middle of two prices, without what the arithmetic of floats adds."""
    digits = min(MOST_DECIMALS, max(decimals(low), decimals(high)))
    return round(high - low, digits), round((high + low) / 2, digits + 1)

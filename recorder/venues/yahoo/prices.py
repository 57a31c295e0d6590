"""Prices of the wire: float32 values widened to float64, at times in hundredths of the currency."""

import struct
from typing import NamedTuple

MINOR_UNITS = {"GBp": "GBP", "GBX": "GBP", "ZAc": "ZAR", "ILA": "ILS"}
"""Currencies by Yahoo's name for their hundredth."""

PRICE_MAX = 1e12
_FLOAT32_NOISE = 2.0**-23
_FLOAT32_DIGITS = 9
_HINT_MAX = 10
_float32 = struct.Struct("f")


class Unit(NamedTuple):
    """How the prices of one answer are read."""

    currency: str | None  # ISO code of the major unit
    digits: int  # decimals of a wire price that mean something
    minor: bool  # whether the wire price is in hundredths


def unit_of(currency: str | None, price_hint: int | None) -> Unit:
    """Return the unit of an answer from its currency and its number of decimals."""
    hint = price_hint if price_hint is not None and 0 <= price_hint <= _HINT_MAX else 2
    if currency in MINOR_UNITS:
        return Unit(MINOR_UNITS[currency], hint + 2, True)
    return Unit(currency or None, hint + 2, False)


def price_of(value: float, unit: Unit) -> float:
    """Return a wire price in the major unit, without the digits that the widening from float32 invented.

    Raises:
        ValueError: The price is not finite, or absurdly large.
    """
    if not abs(value) <= PRICE_MAX:
        raise ValueError(f"no possible price: {value!r}")
    text = _shortest(value, unit.digits)
    # Shifting the decimal point of the text gives the same number as a division that is exact.
    return float(f"{text}e-2") if unit.minor else float(text)


def _shortest(value: float, digits: int) -> str:
    """Return the shortest decimal with the same float32 value, or a true float64 rounded to `digits` decimals.

    Rounding alone leaves 1108.0601 of 1108.06, and takes digits from a penny stock. So it is applied only where it
    stays within the precision of float32.
    """
    wire = _float32.pack(value)
    if _float32.unpack(wire)[0] == value:
        for length in range(6, _FLOAT32_DIGITS + 1):
            text = f"{value:.{length}g}"
            if _float32.pack(float(text)) == wire:
                return _plain(text)
    rounded = round(value, digits)
    return _plain(repr(rounded if abs(rounded - value) <= abs(value) * _FLOAT32_NOISE else value))


def _plain(text: str) -> str:
    """Return a number without an exponent."""
    return f"{float(text):.20f}" if "e" in text else text

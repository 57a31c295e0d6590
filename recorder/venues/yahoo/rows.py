"""The parallel arrays of a chart answer as rows. Every element is read alone, so that an odd one costs its row."""

from typing import NamedTuple

import msgspec

from recorder.errors import RestInvalidResponse
from recorder.timestamps import NS_PER_DAY
from recorder.venues.wire import MALFORMED
from recorder.venues.yahoo.meta import FIRST_S

ROWS_MAX = 100_000
"""More than any history has: a day a row since 1900 is half of it."""

_PRICES = ("open", "high", "low", "close")
_DAY_S = NS_PER_DAY // 10**9
_VOLUME_MAX = 2**63 - 1

_Column = list[msgspec.Raw] | None


class Row(NamedTuple):
    """One bar with the numbers of the wire."""

    at_s: int
    prices: tuple[float, float, float, float]  # open, high, low, close
    volume: int | None
    adjclose: float | None


class _Indicators(msgspec.Struct, gc=False):
    quote: list[dict[str, _Column]] = []
    adjclose: list[dict[str, _Column]] = []


_times = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_indicators = msgspec.json.Decoder(_Indicators).decode
_number = msgspec.json.Decoder(float | None).decode
_integer = msgspec.json.Decoder(int).decode


def rows_of(timestamp: msgspec.Raw, indicators: msgspec.Raw, received_s: int, odd: list[str]) -> list[Row]:
    """Return the rows whose four prices are numbers.

    A minute without a trade has nulls, and is dropped in silence. An answer without bars has no timestamps.

    Args:
        timestamp: The array of times.
        indicators: The arrays of prices and volumes.
        received_s: When the answer was received; a time more than a day later is odd.
        odd: Receives the reason of each row that is left out.

    Raises:
        RestInvalidResponse: The arrays do not have the documented shape.
    """
    try:
        times = _times(timestamp) or []
        arrays = _indicators(indicators)
    except MALFORMED as error:
        raise RestInvalidResponse(f"rows of a chart: {error}") from error
    if len(times) > ROWS_MAX:
        raise RestInvalidResponse(f"a chart of {len(times)} rows")
    quote = arrays.quote[0] if arrays.quote else {}
    adjusted = (arrays.adjclose[0] if arrays.adjclose else {}).get("adjclose")
    rows = []
    for index, raw_time in enumerate(times):
        try:
            at_s = _integer(raw_time)
            if not FIRST_S <= at_s <= received_s + _DAY_S:
                raise ValueError(f"no possible time {at_s}")
            prices = [_element(quote.get(name), index) for name in _PRICES]
            if any(price is None for price in prices):
                continue
            rows.append(Row(at_s, _four(prices), _volume(quote.get("volume"), index), _element(adjusted, index)))
        except MALFORMED as error:
            odd.append(f"row {index}: {error}")
    return rows


def _element(column: _Column, index: int) -> float | None:
    return _number(column[index]) if column is not None and index < len(column) else None


def _four(prices: list[float | None]) -> tuple[float, float, float, float]:
    opened, high, low, close = (price for price in prices if price is not None)
    return opened, high, low, close


def _volume(column: _Column, index: int) -> int | None:
    value = _element(column, index)
    if value is None:
        return None
    if not 0 <= value <= _VOLUME_MAX or value != int(value):
        raise ValueError(f"no possible volume {value!r}")
    return min(int(value), _VOLUME_MAX)  # a float next to the bound may be above it

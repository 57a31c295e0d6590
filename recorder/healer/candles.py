"""Whether the candles of a venue agree with the trades that are stored. Pure."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from recorder.healer.hole import StoredTrade
from recorder.venues.history import Candle

MINUTE_NS = 60 * 10**9
MINUTES_MAX = 10
"""A run of ids that lasts longer than this many minutes is not compared with candles."""

_DIGITS_MAX = 10  # of a candle's volume; further ones are the noise of a binary sum


def minutes_of(low: StoredTrade, high: StoredTrade) -> range:
    """Return the minutes, in seconds since 1970, that two trades and what is between them fall into."""
    first, last = (one.ts_event_ns // MINUTE_NS * 60 for one in (low, high))
    return range(min(first, last), max(first, last) + 60, 60)


def agree(minutes: range, candles: Iterable[Candle], stored: Iterable[StoredTrade]) -> bool:
    """Return whether the candle of every minute is that of the stored trades: prices, and volume to its last digit."""
    by_minute: dict[int, list[StoredTrade]] = {minute: [] for minute in minutes}
    for one in stored:
        minute = one.ts_event_ns // MINUTE_NS * 60
        if minute in by_minute:
            by_minute[minute].append(one)
    listed = {one.start_s: one for one in candles if one.start_s in by_minute}
    return all(agrees(listed.get(minute), trades) for minute, trades in by_minute.items())


def agrees(candle: Candle | None, trades: Sequence[StoredTrade]) -> bool:
    """Return whether a candle is that of some trades; None stands for a minute that the venue left out.

    Some venues print volumes without trailing zeros, so few digits need not be rounded ones: a volume is compared at
    its last digit, or at the last one of the sizes where they have more.
    """
    if not trades or candle is None:
        return not trades and (candle is None or not candle.volume)
    ordered = sorted(trades, key=lambda one: (one.ts_event_ns, one.trade_id))
    prices = [Decimal(repr(one.price)) for one in ordered]
    shown = (prices[0], max(prices), min(prices), prices[-1])
    if shown != (candle.open, candle.high, candle.low, candle.close):
        return False
    if candle.trade_count not in (None, len(trades)):
        return False
    volume = sum((Decimal(repr(one.size)) for one in trades), Decimal(0))
    digits = max(min(decimals(candle.volume), _DIGITS_MAX), decimals(volume))
    return abs(volume - candle.volume) <= Decimal(1).scaleb(-digits) / 2


def decimals(number: Decimal) -> int:
    """Return the number of digits behind the point."""
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0

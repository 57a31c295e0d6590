"""Whether the candles of a venue agree with the trades that are stored. Pure."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from recorder.healer.hole import StoredTrade
from recorder.venues.history import Candle

MINUTE_NS = 60 * 10**9
MINUTES_MAX = 10
"""A run of ids that lasts longer than this many minutes is not compared with candles."""


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
    return all(_agrees(listed.get(minute), trades) for minute, trades in by_minute.items())


def _agrees(candle: Candle | None, trades: Sequence[StoredTrade]) -> bool:
    if not trades or candle is None:
        return not trades and (candle is None or not candle.volume)
    ordered = sorted(trades, key=lambda one: (one.ts_event_ns, one.trade_id))
    prices = [Decimal(repr(one.price)) for one in ordered]
    shown = (prices[0], max(prices), min(prices), prices[-1])
    if shown != (candle.open, candle.high, candle.low, candle.close):
        return False
    volume = sum((Decimal(repr(one.size)) for one in trades), Decimal(0))
    exponent = candle.volume.as_tuple().exponent
    digit = Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)
    return abs(volume - candle.volume) <= digit / 2

"""Compares the trades of an hour with the candles that the venue made of its minutes. Pure.

A candle counts from five minutes after its minute on. A minute without a candle was quiet at the venue only where one
answer had a candle before it and one after it; without such an answer nothing is known of it.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec

from recorder.certify.document import HOUR_US, CandleFacts
from recorder.healer.candles import agrees, decimals
from recorder.healer.hole import StoredTrade
from recorder.pgcopy.decode import is_null, number
from recorder.pgcopy.scalars import PG_EPOCH_US
from recorder.venues.history import Candle

MINUTE_US = 60 * 10**6
MINUTES = HOUR_US // MINUTE_US
MARGIN_US = HOUR_US
"""Candles of this time beside the hour are read too: they show that an answer covers its ends."""

_FINAL_US = 5 * MINUTE_US  # a candle may still change until this long after its minute
_DIGITS_MAX = 10
_LINES_MAX = 3
_FLOAT = struct.Struct(">d")

Verdict = Literal["equal", "differs", "unknown"]


class VenueBar(NamedTuple):
    """A candle of a minute, as it was read from the venue."""

    start_us: int  # since 1970
    candle: Candle
    received_us: int
    revision: int  # of its answer


def bar_of(named: Mapping[str, bytes]) -> VenueBar:
    """Return the candle in a row of table venue_bar, by column as COPY writes them."""
    start_us = number(named["start"]) + PG_EPOCH_US
    opened, high, low, close = (Decimal(repr(_float(named[name]))) for name in ("open", "high", "low", "close"))
    volume = Decimal(repr(_float(named["volume"])))
    digits = min(int.from_bytes(named["volume_digits"][4:], "big"), _DIGITS_MAX)
    if decimals(volume) < digits:
        volume = volume.quantize(Decimal(1).scaleb(-digits))
    count = None if is_null(named["trade_count"]) else number(named["trade_count"])
    candle = Candle(start_us // 10**6, opened, high, low, close, volume, count)
    return VenueBar(start_us, candle, number(named["ts_recv"]) + PG_EPOCH_US, number(named["revision"]))


def compare(begin_us: int, rows: Iterable[bytes], bars: Iterable[VenueBar]) -> CandleFacts | msgspec.UnsetType:
    """Return what the candles of a venue say of the trades of an hour; UNSET without any of this hour.

    Args:
        begin_us: Begin of the hour, microseconds since 1970.
        rows: Its trades, as COPY writes them.
        bars: Candles of it and of the time beside it.
    """
    newest: dict[int, VenueBar] = {}
    for bar in bars:
        known = newest.get(bar.start_us)
        if bar.received_us >= begin_us and (known is None or bar.revision > known.revision):
            newest[bar.start_us] = bar
    starts = range(begin_us, begin_us + HOUR_US, MINUTE_US)
    if newest.keys().isdisjoint(starts):
        return msgspec.UNSET
    trades: dict[int, list[StoredTrade]] = {start: [] for start in starts}
    for row in rows:
        one = _trade(row)
        trades[one.ts_event_ns // 1000 // MINUTE_US * MINUTE_US].append(one)
    quiet = _covered(newest)
    verdicts: list[Verdict] = [
        _verdict(start, trades[start], newest.get(start), quiet.get(start, 0)) for start in starts
    ]
    _forgive_borders(starts, verdicts, trades, newest)
    lines = [
        _line(start, trades[start], newest.get(start))
        for start, verdict in zip(starts, verdicts, strict=True)
        if verdict == "differs"
    ]
    return CandleFacts(equal=verdicts.count("equal"), differing=len(lines), differences=lines[:_LINES_MAX])


def _covered(bars: Mapping[int, VenueBar]) -> dict[int, int]:
    """Return the minutes without a candle that lie between two candles of one answer, and when that was received."""
    found: dict[int, int] = {}
    ordered = sorted(bars)
    for before, after in pairwise(ordered):
        if bars[before].revision == bars[after].revision:
            found.update(dict.fromkeys(range(before + MINUTE_US, after, MINUTE_US), bars[before].received_us))
    return found


def _verdict(start_us: int, trades: Sequence[StoredTrade], bar: VenueBar | None, quiet_us: int) -> Verdict:
    received_us = quiet_us if bar is None else bar.received_us
    if received_us < start_us + MINUTE_US + _FINAL_US:
        return "unknown"
    return "equal" if agrees(None if bar is None else bar.candle, trades) else "differs"


def _forgive_borders(
    starts: Sequence[int], verdicts: list[Verdict], trades: Mapping[int, list[StoredTrade]],
    bars: Mapping[int, VenueBar],
) -> None:  # fmt: skip
    """Take two minutes beside each other as equal that are so together: a candle may hold a trade of its neighbour."""
    for place in range(len(starts) - 1):
        first, second = bars.get(starts[place]), bars.get(starts[place + 1])
        if verdicts[place : place + 2] != ["differs", "differs"] or first is None or second is None:
            continue
        one, other = first.candle, second.candle
        counts = [count for count in (one.trade_count, other.trade_count) if count is not None]
        both = Candle(
            one.start_s, one.open, max(one.high, other.high), min(one.low, other.low), other.close,
            one.volume + other.volume, sum(counts) if len(counts) == 2 else None,
        )  # fmt: skip
        if agrees(both, trades[starts[place]] + trades[starts[place + 1]]):
            verdicts[place : place + 2] = ["equal", "equal"]


def _line(start_us: int, trades: Sequence[StoredTrade], bar: VenueBar | None) -> str:
    minute = start_us % HOUR_US // MINUTE_US
    ours = sum((Decimal(repr(one.size)) for one in trades), Decimal(0))
    theirs = "no candle" if bar is None else f"the candle has a volume of {bar.candle.volume.normalize():f}"
    if bar is not None and trades and ours == bar.candle.volume:
        return f"minute {minute:02d}: other prices in the candle, the same volume"
    return f"minute {minute:02d}: {theirs}, the trades {ours.normalize():f}"


def _trade(row: bytes) -> StoredTrade:
    at_us = int.from_bytes(row[30:38], "big", signed=True) + PG_EPOCH_US
    price, size = (_FLOAT.unpack_from(row, place)[0] for place in (54, 66))
    return StoredTrade(int.from_bytes(row[18:26], "big", signed=True), at_us * 1000, price, size, None)


def _float(field: bytes) -> float:
    return float(_FLOAT.unpack_from(field, 4)[0])

"""How past trades of a venue are read from its REST service, one page at a time. Pure.

A venue states its call in `VENUE/history.py`; `recorder/healer` plans the reads and judges what they prove.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from recorder.timestamps import EARLIEST_NS, NS_PER_DAY

_INT64 = range(-(2**63), 2**63)
_SECONDS = range(2**33)
_DIGITS = 30


class PastTrade(NamedTuple):
    """One trade of a venue's history."""

    trade_id: int  # as in the feed
    ts_event_ns: int
    price: float
    size: float
    aggressor: Literal["b", "s"] | None  # side of the taker
    venue_trade_id: str | None = None  # the venue's own text, where trade_id is a hash of it


class PastPage(NamedTuple):
    """One answer.

    Attributes:
        trades: In any order.
        following: Cursor of the next page; None where the answer names none.
    """

    trades: Sequence[PastTrade]
    following: int | None


class TradeHistory(NamedTuple):
    """The call of a venue whose trade ids rise by one for each trade of a symbol.

    Attributes:
        rows: The most trades of one page.
        rising: Whether a later page holds later trades, with a greater cursor; else earlier ones, with a smaller one.
        cursor_at: The cursor whose page begins with a trade of this id and time in nanoseconds, or just before it.
        path: The path of a page, from a symbol and a cursor.
        decode: Decodes an answer; raises DecodeError, or RestUnavailable where the answer asks to wait.
        merged: Whether the feed joins several trades of the history into one, with the id of the last of them.
        newest: The path of the newest page, from a symbol; None where the cursor is a time.
    """

    rows: int
    rising: bool
    cursor_at: Callable[[int, int], int]
    path: Callable[[str, int], str]
    decode: Callable[[bytes], PastPage]
    merged: bool = False
    newest: Callable[[str], str] | None = None


class TimedHistory(NamedTuple):
    """The call of a venue whose trade ids show no loss: it lists the trades of a time, oldest first.

    Attributes:
        rows: The most trades of one page; a page with fewer is the last.
        path: The path of a page, from a symbol and two times in nanoseconds, both included.
        decode: Decodes an answer; raises DecodeError, or RestUnavailable where the answer asks to wait.
    """

    rows: int
    path: Callable[[str, int, int], str]
    decode: Callable[[bytes], Sequence[PastTrade]]


class Candle(NamedTuple):
    """The trades of one minute, as the venue sums them up."""

    start_s: int  # since 1970
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal  # base units, with the digits that the venue prints
    trade_count: int | None = None  # None where the venue does not say


class MinuteCandles(NamedTuple):
    """The call for the candles of minutes. A minute without a trade has none, or one without volume.

    Attributes:
        path: The path of the candles from a symbol and the first and the last minute, in seconds since 1970.
        decode: Decodes an answer; raises DecodeError, or RestUnavailable where the answer asks to wait.
        rows: The most candles of one answer.
        kept: The minutes before now that the venue keeps; None: years.
    """

    path: Callable[[str, int, int], str]
    decode: Callable[[bytes], Sequence[Candle]]
    rows: int
    kept: int | None = None


def checked(trades: Sequence[PastTrade], rows: int) -> Sequence[PastTrade]:
    """Return the trades of an answer, each of which can be stored.

    Raises:
        ValueError: There are more than a page may hold, or one has a value that the feed cannot carry.
    """
    if len(trades) > rows:
        raise ValueError(f"{len(trades)} trades in a page of {rows}")
    for one in trades:
        if one.trade_id not in _INT64 or not EARLIEST_NS <= one.ts_event_ns < 2**63 - NS_PER_DAY:
            raise ValueError(f"trade {str(one.trade_id)[:40]} at {str(one.ts_event_ns)[:40]} ns")
        if not (0 < one.size <= 1e300 and one.price <= 1e300):
            raise ValueError(f"trade {one.trade_id}: {one.size} at {one.price}")
    return trades


def checked_candles(candles: Sequence[Candle]) -> Sequence[Candle]:
    """Return the candles of an answer, each of which can be reckoned with.

    Raises:
        ValueError: A number is none, or has more digits than any price or volume.
    """
    for one in candles:
        if one.start_s not in _SECONDS or (one.trade_count or 0) not in _INT64:
            raise ValueError(f"a candle at {str(one.start_s)[:40]}")
        for number in one[1:6]:
            exponent = Decimal(number).as_tuple().exponent
            if not isinstance(exponent, int) or not -_DIGITS <= exponent <= _DIGITS or Decimal(number) < 0:
                raise ValueError(f"a candle at {str(one.start_s)[:40]} with {str(number)[:40]}")
    return candles

"""Candles of Binance: `GET /api/v3/klines?interval=1m&startTime=&endTime=`, both in ms and included, oldest first.

Rows are `[open time, open, high, low, close, volume, close time, ...]`; a minute without a trade has no volume.
Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import quote

from recorder.venues.history import Candle, MinuteCandles, checked_candles
from recorder.venues.wire import Int64, lenient
from recorder.venues.witness import decoded

_ROWS = 1_000


class _Row(NamedTuple):
    opened_ms: Int64
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    closed_ms: Int64
    quote_volume: Decimal
    trade_count: Int64
    taker_volume: Decimal
    taker_quote_volume: Decimal
    unused: str


_decode = lenient(list[_Row])


def path(symbol: str, first_s: int, last_s: int) -> str:
    """Return the path of the candles of some minutes."""
    times = f"startTime={first_s * 1000}&endTime={last_s * 1000}"
    return f"/api/v3/klines?symbol={quote(symbol, safe='')}&interval=1m&limit={_ROWS}&{times}"


def candles(body: bytes) -> Sequence[Candle]:
    """Decode an answer of `klines`.

    Raises:
        DecodeError: The answer is not understood.
    """

    def read(body: bytes) -> Sequence[Candle]:
        rows = _decode(body)[:_ROWS]
        return checked_candles(
            [Candle(row.opened_ms // 1000, row.open, row.high, row.low, row.close, row.volume, row.trade_count)
             for row in rows]
        )  # fmt: skip

    return decoded("candles", body, read)


MINUTE_CANDLES = MinuteCandles(path, candles, _ROWS)

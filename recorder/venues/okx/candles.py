"""Candles of OKX: `GET /api/v5/market/history-candles?bar=1m&after=MS&before=MS`, newest first, both ends excluded.

Rows are texts: `[ms, open, high, low, close, volume, ...]`. The last is `confirm`: only with "1" a candle is final. The
volume is in base units for spot, and in contracts for derivatives, as the sizes of trades are. A minute without a trade
has no volume. Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-candlesticks-history
"""

from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import quote

import msgspec

from recorder.venues.history import Candle, MinuteCandles, checked_candles
from recorder.venues.wire import Int64, lenient
from recorder.venues.witness import decoded

_ROWS = 100

_Row = tuple[Int64, Decimal, Decimal, Decimal, Decimal, Decimal, str, str, str]
"""Time in ms, open, high, low, close, volume, volume in base units, volume in quote units, whether it is final."""


class _Candles(msgspec.Struct, gc=False):
    code: str
    data: list[_Row] = []


_decode = lenient(_Candles)


def path(symbol: str, first_s: int, last_s: int) -> str:
    """Return the path of the candles of some minutes."""
    times = f"after={(last_s + 60) * 1000}&before={first_s * 1000 - 1}"
    return f"/api/v5/market/history-candles?instId={quote(symbol, safe='')}&bar=1m&limit={_ROWS}&{times}"


def candles(body: bytes) -> Sequence[Candle]:
    """Decode an answer of `history-candles`.

    Raises:
        DecodeError: The answer is not understood, or refuses the question.
    """

    def read(body: bytes) -> Sequence[Candle]:
        answer = _decode(body)
        if answer.code != "0":
            raise ValueError(f"refused with code {answer.code[:40]}")
        return checked_candles([Candle(row[0] // 1000, *row[1:6]) for row in answer.data[:_ROWS] if row[8] == "1"])

    return decoded("candles", body, read)


MINUTE_CANDLES = MinuteCandles(path, candles, _ROWS)

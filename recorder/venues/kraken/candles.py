"""Candles of Kraken: `GET /0/public/OHLC?interval=1&since=S`, the newest 720 minutes whatever `since` says.

Rows are `[time in s, open, high, low, close, vwap, volume, count]`, and the last one is not final. Volumes of closed
hours have changed (ccxt#6742): an equal candle proves, another one does not disprove. Source:
https://docs.kraken.com/api/docs/rest-api/get-ohlc-data
"""

import re
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from recorder.errors import RestUnavailable
from recorder.venues.history import Candle, MinuteCandles, checked_candles
from recorder.venues.kraken.witness import pair_of
from recorder.venues.wire import Int64, lenient
from recorder.venues.witness import decoded

_KEPT = 720
_ROWS = 1_000

_WAIT = re.compile("Too many requests|Rate limit exceeded")

_Row = tuple[Int64, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, Int64]
"""Time in seconds, open, high, low, close, average price, volume, number of trades."""


class _Candles(msgspec.Struct, gc=False):
    error: list[str]
    result: dict[str, list[_Row] | str | int] = {}


_decode = lenient(_Candles)


def path(symbol: str, first_s: int, _last_s: int) -> str:
    """Return the path of the candles from a minute on; whether `since` includes its instant is not documented."""
    return f"/0/public/OHLC?pair={pair_of(symbol)}&interval=1&since={first_s - 1}"


def candles(body: bytes) -> Sequence[Candle]:
    """Decode an answer of `OHLC`.

    Raises:
        DecodeError: The answer is not understood, or refuses the question.
        RestUnavailable: There were too many questions.
    """

    def read(body: bytes) -> Sequence[Candle]:
        answer = _decode(body)
        if any(_WAIT.search(error) for error in answer.error):
            raise RestUnavailable(f"Kraken answers {answer.error[0][:100]}")
        if answer.error:
            raise ValueError(f"refused: {', '.join(answer.error)[:100]}")
        lists = [value for name, value in answer.result.items() if name != "last" and isinstance(value, list)]
        if len(lists) != 1:
            raise ValueError(f"{len(lists)} lists of candles")
        return checked_candles(
            [
                Candle(start_s, opened, high, low, close, volume, count)
                for start_s, opened, high, low, close, _, volume, count in lists[0][:_ROWS]
            ]
        )

    return decoded("candles", body, read)


MINUTE_CANDLES = MinuteCandles(path, candles, _KEPT, kept=_KEPT)

"""Candles of Bitfinex: `GET /v2/candles/trade:1m:SYMBOL/hist?start=MS&end=MS&sort=1`, both ends included, oldest first.

Rows are `[ms, open, close, high, low, volume]`: close before high and low. A minute without a trade has no row. Volumes
of some days were lower than the sum of their trades (bitfinex-api-py#144): an equal candle proves, another one does not
disprove. Source: https://docs.bitfinex.com/reference/rest-public-candles
"""

from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import quote

from recorder.venues.history import Candle, MinuteCandles, checked_candles
from recorder.venues.wire import Int64, lenient
from recorder.venues.witness import decoded

_ROWS = 10_000

_decode = lenient(list[tuple[Int64, Decimal, Decimal, Decimal, Decimal, Decimal]])


def path(symbol: str, first_s: int, last_s: int) -> str:
    """Return the path of the candles of some minutes."""
    times = f"start={first_s * 1000}&end={last_s * 1000}"
    return f"/v2/candles/trade:1m:{quote(symbol, safe='')}/hist?limit={_ROWS}&sort=1&{times}"


def candles(body: bytes) -> Sequence[Candle]:
    """Decode an answer of `candles/trade:1m:SYMBOL/hist`.

    Raises:
        DecodeError: The answer is not understood.
    """

    def read(body: bytes) -> Sequence[Candle]:
        return checked_candles(
            [
                Candle(ms // 1000, opened, high, low, close, volume)
                for ms, opened, close, high, low, volume in _decode(body)[:_ROWS]
            ]
        )

    return decoded("candles", body, read)


MINUTE_CANDLES = MinuteCandles(path, candles, _ROWS)

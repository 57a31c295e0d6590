"""Candles of Coinbase Exchange: `GET /products/ID/candles?granularity=60&start=&end=`, at most 300.

Rows are `[time in s, low, high, open, close, volume]`: low before high before open. Rows before `start` may come, and a
minute without a trade has none. The venue calls them possibly incomplete: an equal candle proves, another one does not
disprove. Source: https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-candles
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import quote

import msgspec

from recorder.venues.history import Candle, MinuteCandles, checked_candles
from recorder.venues.witness import decoded

_ROWS = 1_000
_ASKED = 300  # more are refused

_decode = msgspec.json.Decoder(list[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal]]).decode


def path(symbol: str, first_s: int, last_s: int) -> str:
    """Return the path of the candles of some minutes."""
    start, end = (f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}" for at_s in (first_s, last_s))
    return f"/products/{quote(symbol, safe='')}/candles?granularity=60&start={start}&end={end}"


def candles(body: bytes) -> Sequence[Candle]:
    """Decode an answer of `candles`.

    Raises:
        DecodeError: The answer is not understood.
    """

    def read(body: bytes) -> Sequence[Candle]:
        rows = _decode(body)[:_ROWS]
        return checked_candles(
            [Candle(start_s, opened, high, low, close, volume) for start_s, low, high, opened, close, volume in rows]
        )

    return decoded("candles", body, read)


MINUTE_CANDLES = MinuteCandles(path, candles, _ASKED)

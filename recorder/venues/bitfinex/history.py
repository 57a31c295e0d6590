"""Past trades of Bitfinex: `GET /v2/trades/SYMBOL/hist?start=MS&end=MS&sort=1`, both ends included, by time only.

Rows are `[id, ms, amount, price]`; a positive amount was bought by the taker. Ids are those of the feed, counted over
all pairs, and rows of one millisecond are in no order (bitfinex-api-py#124). Answers come through a cache of five
seconds, so a window ends a minute ago at the latest. Source: https://docs.bitfinex.com/reference/rest-public-trades
"""

from collections.abc import Sequence
from urllib.parse import quote

from recorder.venues.history import PastTrade, TimedHistory, checked
from recorder.venues.wire import Int64, lenient
from recorder.venues.witness import decoded

_ROWS = 10_000
_MS = 1_000_000

_decode = lenient(list[tuple[Int64, Int64, float, float]])


def path(symbol: str, from_ns: int, until_ns: int) -> str:
    """Return the path of the trades of a time."""
    times = f"start={from_ns // _MS}&end={-(-until_ns // _MS)}"
    return f"/v2/trades/{quote(symbol, safe='')}/hist?limit={_ROWS}&sort=1&{times}"


def page(body: bytes) -> Sequence[PastTrade]:
    """Decode an answer of `trades/SYMBOL/hist`.

    Raises:
        DecodeError: The answer is not understood.
    """

    def read(body: bytes) -> Sequence[PastTrade]:
        trades = [
            PastTrade(trade_id, ms * _MS, price, abs(amount), "b" if amount > 0 else "s")
            for trade_id, ms, amount, price in _decode(body)
        ]
        return checked(trades, _ROWS)

    return decoded("trades", body, read)


TRADE_HISTORY = TimedHistory(_ROWS, path, page)

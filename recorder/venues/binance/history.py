"""Past trades of Binance spot: `GET /api/v3/historicalTrades?fromId=N`, rising, N included; it costs 25 units.

`isBuyerMaker` true means that the taker sold. Times are milliseconds, as `T` of the feed. Below a floor that is
documented nowhere the answer begins at the floor, without an error (binance-public-data#376), so the first id must be
the one that was asked for. Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api
"""

from urllib.parse import quote

import msgspec

from recorder.venues.history import PastPage, PastTrade, TradeHistory, checked
from recorder.venues.wire import Amount, Int64, lenient
from recorder.venues.witness import decoded

_ROWS = 1000


class _Row(msgspec.Struct, rename="camel", gc=False):
    id: Int64
    price: Amount
    qty: Amount
    time: Int64  # ms
    is_buyer_maker: bool


_decode = lenient(list[_Row])


def path(symbol: str, cursor: int) -> str:
    """Return the path of the page that begins with an id."""
    return f"/api/v3/historicalTrades?symbol={quote(symbol, safe='')}&limit={_ROWS}&fromId={cursor}"


def newest(symbol: str) -> str:
    """Return the path of the newest page."""
    return f"/api/v3/trades?symbol={quote(symbol, safe='')}&limit={_ROWS}"


def page(body: bytes) -> PastPage:
    """Decode an answer of `historicalTrades`.

    Raises:
        DecodeError: The answer is not understood.
    """

    def read(body: bytes) -> PastPage:
        trades = [
            PastTrade(row.id, row.time * 10**6, row.price, row.qty, "s" if row.is_buyer_maker else "b")
            for row in _decode(body)
        ]
        return PastPage(checked(trades, _ROWS), max((one.trade_id + 1 for one in trades), default=None))

    return decoded("trades", body, read)


TRADE_HISTORY = TradeHistory(_ROWS, True, lambda trade_id, _ts_ns: trade_id, path, page, newest=newest)

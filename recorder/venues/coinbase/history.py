"""Past trades of Coinbase Exchange: `GET /products/ID/trades?after=N`, newest first, ids below N.

`side` is the maker's, as in the feed. Ids are those of `matches` and of Advanced Trade. Rows of 2020 have times in
milliseconds where the feed has microseconds, so only ids identify a trade. `before` is useless for walking: it gives
the newest page above an id. Source:
https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades
"""

from typing import Literal
from urllib.parse import quote

import msgspec

from recorder.timestamps import Rfc3339
from recorder.venues.history import PastPage, PastTrade, TradeHistory, checked
from recorder.venues.wire import Amount, Int64, lenient
from recorder.venues.witness import decoded

_ROWS = 1000
_TAKER_OF_MAKER: dict[str, Literal["b", "s"]] = {"buy": "s", "sell": "b"}


class _Row(msgspec.Struct, gc=False):
    trade_id: Int64
    side: Literal["buy", "sell"]
    price: Amount
    size: Amount
    time: str


_decode = lenient(list[_Row])


def path(symbol: str, cursor: int) -> str:
    """Return the path of the page with the trades below an id."""
    return f"/products/{quote(symbol, safe='')}/trades?limit={_ROWS}&after={cursor}"


def newest(symbol: str) -> str:
    """Return the path of the newest page."""
    return f"/products/{quote(symbol, safe='')}/trades?limit={_ROWS}"


def page(body: bytes) -> PastPage:
    """Decode an answer of `trades`.

    Raises:
        DecodeError: The answer is not understood.
    """
    ns = Rfc3339().ns

    def read(body: bytes) -> PastPage:
        trades = [
            PastTrade(row.trade_id, ns(row.time), row.price, row.size, _TAKER_OF_MAKER[row.side])
            for row in _decode(body)
        ]
        return PastPage(checked(trades, _ROWS), min((one.trade_id for one in trades), default=None))

    return decoded("trades", body, read)


TRADE_HISTORY = TradeHistory(_ROWS, False, lambda trade_id, _ts_ns: trade_id + 1, path, page, newest=newest)

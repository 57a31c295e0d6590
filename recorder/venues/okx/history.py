"""Past trades of OKX: `GET /api/v5/market/history-trades?type=1&after=ID`, newest first, ids below ID; three months.

REST lists single fills, the feed joins those of one taker at one price: its id is that of the last. An answer without
rows and with code 0 is what lies beyond three months. The status is 200 even for an error, whose number is `code`.
Source: https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history
"""

from typing import Literal
from urllib.parse import quote

import msgspec

from recorder.venues.history import PastPage, PastTrade, TradeHistory, checked
from recorder.venues.wire import Amount, Int64, lenient
from recorder.venues.witness import decoded

_ROWS = 100
_TAKER: dict[str, Literal["b", "s"]] = {"buy": "b", "sell": "s"}


class _Row(msgspec.Struct, rename="camel", gc=False):
    trade_id: Int64
    px: Amount
    sz: Amount
    side: Literal["buy", "sell"]
    ts: Int64  # ms


class _Trades(msgspec.Struct, gc=False):
    code: str
    data: list[_Row] = []


_decode = lenient(_Trades)


def path(symbol: str, cursor: int) -> str:
    """Return the path of the page with the fills below an id."""
    return f"/api/v5/market/history-trades?instId={quote(symbol, safe='')}&type=1&limit={_ROWS}&after={cursor}"


def newest(symbol: str) -> str:
    """Return the path of the newest page."""
    return f"/api/v5/market/trades?instId={quote(symbol, safe='')}&limit={_ROWS}"


def page(body: bytes) -> PastPage:
    """Decode an answer of `history-trades`.

    Raises:
        DecodeError: The answer is not understood, or refuses the question.
    """

    def read(body: bytes) -> PastPage:
        answer = _decode(body)
        if answer.code != "0":
            raise ValueError(f"refused with code {answer.code[:40]}")
        trades = [PastTrade(row.trade_id, row.ts * 10**6, row.px, row.sz, _TAKER[row.side]) for row in answer.data]
        return PastPage(checked(trades, _ROWS), min((one.trade_id for one in trades), default=None))

    return decoded("trades", body, read)


TRADE_HISTORY = TradeHistory(
    _ROWS, False, lambda trade_id, _ts_ns: trade_id + 1, path, page, merged=True, newest=newest
)  # fmt: skip

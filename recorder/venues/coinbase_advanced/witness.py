"""What the public part of Coinbase Advanced Trade's REST service says about trades and books, for the witnesses.

The trades are those of `ticker` (coinbase_advanced.md), whose ids are texts, some of them no numbers. The book is
`product_book`, without a sequence. Source:
https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-product-book
"""

from urllib.parse import quote

import msgspec

from recorder.timestamps import Rfc3339
from recorder.venues.wire import Amount, lenient
from recorder.venues.witness import (
    TRADES_ASKED,
    BookQuestion,
    SeenBook,
    SeenTrade,
    TradeQuestion,
    WitnessQuestions,
    best_first,
    decoded,
    seen,
)

_BASE = "/api/v3/brokerage/market"
_DEPTH = 50
_DIGITS = 19  # of the largest id that a column holds


class _Trade(msgspec.Struct, gc=False):
    trade_id: str
    time: str


class _Trades(msgspec.Struct, gc=False):
    trades: list[_Trade]


class _Level(msgspec.Struct, gc=False):
    price: Amount
    size: Amount


class _Book(msgspec.Struct, gc=False):
    bids: list[_Level]
    asks: list[_Level]


class _PriceBook(msgspec.Struct, gc=False):
    pricebook: _Book


_decode_trades, _decode_book = msgspec.json.Decoder(_Trades).decode, lenient(_PriceBook)


def trades_path(symbol: str, _now_ns: int) -> str:
    """Return the path of the newest trades of a symbol."""
    return f"{_BASE}/products/{quote(symbol, safe='')}/ticker?limit={TRADES_ASKED}"


def trades(body: bytes) -> list[SeenTrade]:
    """Decode an answer of `ticker`, newest first; a row whose id is no number is left out.

    Raises:
        DecodeError: The answer is not understood.
    """
    ns = Rfc3339().ns

    def rows(body: bytes) -> list[SeenTrade]:
        numbered = [row for row in _decode_trades(body).trades if _is_number(row.trade_id)]
        return seen([SeenTrade(int(row.trade_id), ns(row.time)) for row in numbered])

    return decoded("trades", body, rows)


def book_path(symbol: str) -> str:
    """Return the path of the best levels of a symbol's book."""
    return f"{_BASE}/product_book?product_id={quote(symbol, safe='')}&limit={_DEPTH}"


def book(body: bytes) -> SeenBook:
    """Decode an answer of `product_book`.

    Raises:
        DecodeError: The answer is not understood.
    """

    def read(body: bytes) -> SeenBook:
        answer = _decode_book(body).pricebook
        bids, asks = ([(level.price, level.size) for level in side] for side in (answer.bids, answer.asks))
        return best_first(bids, asks)

    return decoded("book", body, read)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS


WITNESS_QUESTIONS = WitnessQuestions(TradeQuestion(trades_path, trades), BookQuestion(book_path, book))

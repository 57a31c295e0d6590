"""What Coinbase Exchange's REST service says about trades and books, for the witnesses.

coinbase.md describes the trades. The book is `GET /products/ID/book?level=2`, all levels aggregated; the feed of books
has no sequence to compare with. Source:
https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-book
"""

from urllib.parse import quote

import msgspec

from recorder.timestamps import Rfc3339
from recorder.venues.wire import Amount, Int64, lenient
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


class _Trade(msgspec.Struct, gc=False):
    trade_id: Int64
    time: str


class _Book(msgspec.Struct, gc=False):
    bids: list[tuple[Amount, Amount, object]]
    asks: list[tuple[Amount, Amount, object]]


_decode_trades, _decode_book = lenient(list[_Trade]), lenient(_Book)


def trades_path(symbol: str, _now_ns: int) -> str:
    """Return the path of the newest trades of a symbol."""
    return f"/products/{quote(symbol, safe='')}/trades?limit={TRADES_ASKED}"


def trades(body: bytes) -> list[SeenTrade]:
    """Decode an answer of `trades`, newest first.

    Raises:
        DecodeError: The answer is not understood.
    """
    ns = Rfc3339().ns
    return decoded(
        "trades", body, lambda body: seen([SeenTrade(row.trade_id, ns(row.time)) for row in _decode_trades(body)])
    )


def book_path(symbol: str) -> str:
    """Return the path of a symbol's book."""
    return f"/products/{quote(symbol, safe='')}/book?level=2"


def book(body: bytes) -> SeenBook:
    """Decode an answer of `book` at level 2: levels of price, size and number of orders.

    Raises:
        DecodeError: The answer is not understood.
    """

    def read(body: bytes) -> SeenBook:
        answer = _decode_book(body)
        bids, asks = ([(price, size) for price, size, _ in side] for side in (answer.bids, answer.asks))
        return best_first(bids, asks)

    return decoded("book", body, read)


WITNESS_QUESTIONS = WitnessQuestions(TradeQuestion(trades_path, trades), BookQuestion(book_path, book))

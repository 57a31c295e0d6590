"""What Figure's REST service says about trades and books, for the witnesses. figure.md describes the calls.

The ids of trades are texts without an order, so trades are compared by their times, which both services have alike.
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


class _Match(msgspec.Struct, gc=False):
    created: str


class _Matches(msgspec.Struct, gc=False):
    matches: list[_Match]


class _Level(msgspec.Struct, gc=False):
    price: Amount
    quantity: Amount


class _Book(msgspec.Struct, gc=False):
    bids: list[_Level]
    asks: list[_Level]


_decode_trades, _decode_book = lenient(_Matches), lenient(_Book)


def trades_path(symbol: str, _now_ns: int) -> str:
    """Return the path of the newest trades of a symbol."""
    return f"/trades/{quote(symbol, safe='')}?size={TRADES_ASKED}"


def trades(body: bytes) -> list[SeenTrade]:
    """Decode an answer of `trades`, in any order.

    Raises:
        DecodeError: The answer is not understood.
    """
    ns = Rfc3339().ns
    return decoded(
        "trades", body, lambda body: seen([SeenTrade(None, ns(row.created)) for row in _decode_trades(body).matches])
    )


def book_path(symbol: str) -> str:
    """Return the path of a symbol's book, aggregated by price."""
    return f"/markets/{quote(symbol, safe='')}/orderbook"


def book(body: bytes) -> SeenBook:
    """Decode an answer of `orderbook`.

    Raises:
        DecodeError: The answer is not understood.
    """

    def read(body: bytes) -> SeenBook:
        answer = _decode_book(body)
        bids, asks = ([(level.price, level.quantity) for level in side] for side in (answer.bids, answer.asks))
        return best_first(bids, asks)

    return decoded("book", body, read)


WITNESS_QUESTIONS = WitnessQuestions(TradeQuestion(trades_path, trades), BookQuestion(book_path, book))

"""What Binance's REST service says about trades and books, for the witnesses. binance.md describes the calls."""

from urllib.parse import quote

import msgspec

from recorder.venues.binance.book import Snapshot
from recorder.venues.wire import Int64, lenient
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

_DEPTH = 50  # levels a side: the cheapest weight


class _Trade(msgspec.Struct, gc=False):
    id: Int64
    time: Int64  # ms


_decode_trades = lenient(list[_Trade])
_decode_book = lenient(Snapshot)


def trades_path(symbol: str, _now_ns: int) -> str:
    """Return the path of the newest trades of a symbol, which come from memory and not from a database."""
    return f"/api/v3/trades?symbol={quote(symbol, safe='')}&limit={TRADES_ASKED}"


def trades(body: bytes) -> list[SeenTrade]:
    """Decode an answer of `trades`.

    Raises:
        DecodeError: The answer is not understood.
    """
    return decoded(
        "trades", body, lambda body: seen([SeenTrade(row.id, row.time * 10**6) for row in _decode_trades(body)])
    )


def book_path(symbol: str) -> str:
    """Return the path of the best levels of a symbol's book."""
    return f"/api/v3/depth?symbol={quote(symbol, safe='')}&limit={_DEPTH}"


def book(body: bytes) -> SeenBook:
    """Decode an answer of `depth`.

    Raises:
        DecodeError: The answer is not understood.
    """

    def read(body: bytes) -> SeenBook:
        answer = _decode_book(body)
        return best_first(answer.bids, answer.asks, answer.last_update_id)

    return decoded("book", body, read)


WITNESS_QUESTIONS = WitnessQuestions(TradeQuestion(trades_path, trades), BookQuestion(book_path, book))

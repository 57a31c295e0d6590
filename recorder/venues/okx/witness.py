"""What OKX's REST service says about trades and books, for the witnesses. okx.md describes the calls.

The status is 200 even for an error, whose number is `code`. REST lists single fills; a print of the feed carries the id
of the last one of its group, so the newest id of both is the same.
"""

from urllib.parse import quote

import msgspec

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

_DEPTH = 50


class _Trade(msgspec.Struct, rename="camel", gc=False):
    trade_id: Int64
    ts: Int64  # ms


class _Trades(msgspec.Struct, gc=False):
    code: str
    data: list[_Trade] = []


class _Book(msgspec.Struct, rename="camel", gc=False):
    bids: list[tuple[Amount, Amount, object, object]]
    asks: list[tuple[Amount, Amount, object, object]]
    seq_id: Int64 | None = None  # absent in older answers


class _Books(msgspec.Struct, gc=False):
    code: str
    data: list[_Book] = []


_decode_trades, _decode_books = lenient(_Trades), lenient(_Books)


def trades_path(symbol: str, _now_ns: int) -> str:
    """Return the path of the newest trades of a symbol."""
    return f"/api/v5/market/trades?instId={quote(symbol, safe='')}&limit={TRADES_ASKED}"


def trades(body: bytes) -> list[SeenTrade]:
    """Decode an answer of `trades`.

    Raises:
        DecodeError: The answer is not understood, or refuses the question.
    """

    def rows(body: bytes) -> list[SeenTrade]:
        answer = _decode_trades(body)
        _require_success(answer.code)
        return seen([SeenTrade(row.trade_id, row.ts * 10**6) for row in answer.data])

    return decoded("trades", body, rows)


def book_path(symbol: str) -> str:
    """Return the path of the best levels of a symbol's book."""
    return f"/api/v5/market/books?instId={quote(symbol, safe='')}&sz={_DEPTH}"


def book(body: bytes) -> SeenBook:
    """Decode an answer of `books`.

    Raises:
        DecodeError: The answer is not understood, or refuses the question.
    """

    def read(body: bytes) -> SeenBook:
        answer = _decode_books(body)
        _require_success(answer.code)
        (book,) = answer.data
        bids, asks = ([(price, size) for price, size, *_ in side] for side in (book.bids, book.asks))
        return best_first(bids, asks, book.seq_id)

    return decoded("book", body, read)


def _require_success(code: str) -> None:
    if code != "0":
        raise ValueError(f"refused with code {code[:40]}")


WITNESS_QUESTIONS = WitnessQuestions(TradeQuestion(trades_path, trades), BookQuestion(book_path, book))

"""What a venue's REST service says about its trades and books: the questions of the witnesses. Pure.

A venue states for each kind how to ask, or why it cannot be asked. `recorder/capture/witness` asks and judges.
"""

from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest, nsmallest
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from recorder.errors import DecodeError
from recorder.events import Channel, Levels
from recorder.timestamps import EARLIEST_NS, NS_PER_DAY
from recorder.venues.wire import MALFORMED

TRADES_ASKED = 50
"""Trades that a question asks for, where the venue lets us choose: enough to find one that is not brand-new."""
LEVELS_COMPARED = 10
"""Levels a side in which two books are compared."""
TRADES_MAX = 1000
"""Trades of one answer that are looked at, however many it lists."""

Answer = TypeVar("Answer")


class SeenTrade(NamedTuple):
    """A trade in an answer of REST."""

    trade_id: int | None  # as in the feed; None where the feed has no id that shows an order
    ts_event_ns: int


class SeenBook(NamedTuple):
    """The best `LEVELS_COMPARED` levels of a book, of REST or of a decoder, best first."""

    bids: Levels
    asks: Levels
    sequence: int | None = None  # as in the feed, where the venue counts the states of a book


class TradeQuestion(NamedTuple):
    """How to ask for the newest trades of a symbol."""

    path: Callable[[str, int], str]  # of a symbol, at a time in nanoseconds
    decode: Callable[[bytes], list[SeenTrade]]  # raises DecodeError


class BookQuestion(NamedTuple):
    """How to ask for the book of a symbol."""

    path: Callable[[str], str]
    decode: Callable[[bytes], SeenBook]  # raises DecodeError


class WitnessQuestions(NamedTuple):
    """What can be asked at a venue; a text is the reason why it cannot."""

    trades: TradeQuestion | str
    books: BookQuestion | str

    @property
    def channels(self) -> list[Channel]:
        """The channels that can be asked about."""
        asked: dict[Channel, object] = {"trade": self.trades, "book": self.books}
        return [channel for channel, question in asked.items() if not isinstance(question, str)]


NOTHING_TO_ASK = WitnessQuestions("the venue states no call for it", "the venue states no call for it")


@runtime_checkable
class ShowsBooks(Protocol):
    """A decoder that shows its books. Only the thread that decodes may ask it."""

    def book_of(self, symbol: str) -> SeenBook | None:
        """Return the best levels of the book of a symbol; None while there is none that agrees with the feed."""
        ...


def decoded(what: str, body: bytes, decode: Callable[[bytes], Answer]) -> Answer:
    """Decode an answer.

    Args:
        what: What the answer should be, for the error.
        body: The answer.
        decode: May raise anything that `MALFORMED` names, KeyError and IndexError too.

    Raises:
        DecodeError: The answer does not have the documented shape.
    """
    try:
        return decode(body)
    except (*MALFORMED, KeyError, IndexError, OverflowError) as error:
        raise DecodeError(f"{what}: {str(error)[:200]}") from error


def seen(rows: list[SeenTrade]) -> list[SeenTrade]:
    """Return the trades of an answer that are looked at.

    Raises:
        ValueError: A time or an id is outside of what the feed could carry.
    """
    rows = rows[:TRADES_MAX]
    for trade_id, ts_event_ns in rows:
        if not EARLIEST_NS <= ts_event_ns < 2**63 - NS_PER_DAY:
            raise ValueError(f"a trade at {str(ts_event_ns)[:40]} ns")
        if trade_id is not None and not -(2**63) <= trade_id < 2**63:
            raise ValueError(f"a trade id {str(trade_id)[:40]}")
    return rows


def best_first(
    bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]], sequence: int | None = None
) -> SeenBook:
    """Return the best levels of sides in any order; a size of 0 is no level."""
    return SeenBook(
        nlargest(LEVELS_COMPARED, ((price, size) for price, size in bids if size)),
        nsmallest(LEVELS_COMPARED, ((price, size) for price, size in asks if size)),
        sequence,
    )


def levels_at(prices: Iterable[float], sizes: Mapping[float, float]) -> Levels:
    """Return the levels at some prices of a side, in their order; negated prices are shown as they are."""
    return [(abs(price), sizes[price]) for price in prices]

"""Our own books of tokens whose stream a test writes."""

from recorder.events import Gap, Levels, Stream
from recorder.identity import instrument_id
from recorder.journal.block import StreamCheckpoint
from recorder.poller.polymarket.own_book.books import Message, OwnBooks
from recorder.venues.polymarket.polls.books import Book

S = 10**9
NOW_NS = 1_764_000_000 * S
SESSION = 7
TOKEN = "100"
BIDS: Levels = [(0.45, 100.0), (0.44, 50.0)]
ASKS: Levels = [(0.47, 300.0)]


def number(token: str = TOKEN) -> int:
    """Return the instrument id of a token."""
    return instrument_id("polymarket", token)


def message(
    at_s: float = 0.0,
    *,
    bids: Levels = BIDS,
    asks: Levels = ASKS,
    snapshot: bool = False,
    session: int = SESSION,
    token: str = TOKEN,
) -> Message:
    """Return a row of table book that was made and received at a time."""
    at_ns = NOW_NS + int(at_s * S)
    return Message(number(token), at_ns, at_ns, session, snapshot, bids, asks)


def checkpoint(
    *, session: int = SESSION, watched: bool = True, gap_s: float | None = None, token: str = TOKEN
) -> StreamCheckpoint:
    """Return the state of the book stream of a token."""
    gap = None
    if gap_s is not None:
        started_ns = NOW_NS + int(gap_s * S)
        gap = Gap.opened(
            1, Stream("book", token), "disconnect", started_ns, session_id=session, last_id=None, last_ts_event_ns=None
        )
    return StreamCheckpoint(token, "book", session, watched, None, None, None, None, NOW_NS - 100 * S, gap)


def streamed(*, snapshot: bool = True) -> OwnBooks:
    """Return books of one token that is streamed and wanted."""
    books = OwnBooks("polymarket", 30 * S)
    books.want([TOKEN], NOW_NS - 10 * S)
    books.heard(SESSION, NOW_NS)
    if snapshot:
        books.apply(message(-5, snapshot=True))
    books.stream(checkpoint(), NOW_NS)
    return books


def answered(at_s: float = 0.0, bids: Levels = BIDS, asks: Levels = ASKS, token: str = TOKEN) -> Book:
    """Return a book as the venue answers it."""
    return Book(token, None, NOW_NS + int(at_s * S), "aa", bids, asks, 0.01, 5.0, 0.46, None)

"""Which outputs of a decoder are rows: one rule for recording, for a replay, and for `tapedeck decode`.

A trade whose event time is not plausible is quarantined with its frame, once for each frame, and the other rows of the
frame count. A frame that cannot be decoded, or on which the decoder fails, gives no row and is quarantined.

Recording spends most of its time here, so `Ingest.take` has the loop of `Counted.add` inlined together with the
accounting of gaps; a test holds the two together.
"""

from collections.abc import Iterable, Sequence

from recorder.events import Book, Output, Quote, Trade
from recorder.process.log import get_logger
from recorder.timestamps import plausible

OUT_OF_RANGE = "event time out of range"
_REASON_LENGTH = 500
_ROWS_LOGGED = 20  # of those that arrived together
_TEXT_LENGTH = 80

_log = get_logger(__name__)


def undecodable(error: Exception) -> str:
    """Return why a frame is quarantined that the decoder refused with a DecodeError."""
    return str(error)[:_REASON_LENGTH]


def decoder_fault(error: Exception) -> str:
    """Return why a frame is quarantined on which the decoder failed: that costs the frame, never the connection."""
    return f"fault in the adapter: {error!r}"[:_REASON_LENGTH]


class Counted:
    """The rows of some frames."""

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self.quotes: list[Quote] = []
        self.books: list[Book] = []

    def add(self, outputs: Iterable[Output], frame_seq: int, ts_recv_ns: int) -> str | None:
        """Add the rows among the outputs of one frame.

        Returns:
            The symbol of the first trade with an implausible time, for which the frame is quarantined; None without.
        """
        implausible: str | None = None
        for output in outputs:
            if isinstance(output, Book):
                output.frame_seq = frame_seq
                self.books.append(output)
            elif isinstance(output, Quote):
                output.frame_seq = frame_seq
                self.quotes.append(output)
            elif isinstance(output, Trade):
                if plausible(output.ts_event_ns, ts_recv_ns):
                    self.trades.append(output)
                elif implausible is None:
                    implausible = output.symbol
        return implausible


def log_rows(venue: str, trades: Sequence[Trade], quotes: Sequence[Quote], books: Sequence[Book]) -> None:
    """Log rows that were recorded together, at DEBUG; of many only the first.

    Args:
        venue: Whose.
        trades: The write buffer has them, as it has the others: they are on disk within `journal.flush_ms`.
        quotes: Best bids and asks.
        books: Snapshots and deltas.
    """
    for trade in trades[:_ROWS_LOGGED]:
        _log.debug(
            "trade.recorded",
            venue=venue,
            symbol=trade.symbol[:_TEXT_LENGTH],
            trade_id=(trade.venue_trade_id or str(trade.trade_id))[:_TEXT_LENGTH],
            price=trade.price,
            quantity=trade.size,
            side=trade.aggressor,
        )
    for quote in quotes[:_ROWS_LOGGED]:
        symbol = quote.symbol[:_TEXT_LENGTH]
        _log.debug("quote.recorded", venue=venue, symbol=symbol, bid_price=quote.bid, ask_price=quote.ask)
    for book in books[:_ROWS_LOGGED]:
        bids, asks = ([price for price, size in side if size] for side in (book.bids, book.asks))
        _log.debug(
            "book.recorded",
            venue=venue,
            symbol=book.symbol[:_TEXT_LENGTH],
            snapshot=book.snapshot,
            bids=len(book.bids),
            asks=len(book.asks),
            bid_price=max(bids, default=None),
            ask_price=min(asks, default=None),
        )
    left_out = sum(max(0, len(rows) - _ROWS_LOGGED) for rows in (trades, quotes, books))
    if left_out:
        _log.debug("rows.recorded", venue=venue, left_out=left_out)

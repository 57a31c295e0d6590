"""Which outputs of a decoder are rows: one rule for recording, for a replay, and for `tapedeck decode`.

A trade whose event time is not plausible is quarantined with its frame, once for each frame, and the other rows of the
frame count. A frame that cannot be decoded, or on which the decoder fails, gives no row and is quarantined.

Recording spends most of its time here, so `Ingest.take` has the loop of `Counted.add` inlined together with the
accounting of gaps; a test holds the two together.
"""

from collections.abc import Iterable

from recorder.events import Book, Output, Quote, Trade
from recorder.timestamps import plausible

OUT_OF_RANGE = "event time out of range"
_REASON_LENGTH = 500


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

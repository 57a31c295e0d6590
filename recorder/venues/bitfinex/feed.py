"""The stream behind one chanId of a Bitfinex connection, and data that comes before its chanId is known."""

import json
from typing import NamedTuple

import msgspec

from recorder.events import Stream
from recorder.venues.bitfinex.messages import TradeRow

SEEN_TRADES = 512  # ids remembered per stream: te and tu are at most a few frames apart

MAX_EARLY = 256  # frames kept until their channel is acknowledged


class EarlyFrame(NamedTuple):
    """A data frame of a channel that is not acknowledged yet."""

    parts: list[msgspec.Raw]
    ts_recv_ns: int
    sequence: int | None


class EarlyFrames:
    """Data frames by chanId that came before the acknowledgement, in the order they came."""

    def __init__(self) -> None:
        self._frames: dict[bytes, list[EarlyFrame]] = {}
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether no more are kept."""
        return self._count >= MAX_EARLY

    def add(self, number: bytes, frame: EarlyFrame) -> None:
        """Keep a frame."""
        self._frames.setdefault(number, []).append(frame)
        self._count += 1

    def take(self, number: bytes) -> list[EarlyFrame]:
        """Return the frames of a channel, and forget them."""
        frames = self._frames.pop(number, [])
        self._count -= len(frames)
        return frames


class Feed:
    """One subscription of a connection.

    Attributes:
        stream: Its stream; None where it is known, but not recorded as rows.
        book_of: The symbol, if it carries a book.
        closing: Whether its end was requested.
        seen: The latest trade ids.
    """

    __slots__ = ("book_of", "closing", "seen", "stream")

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self.book_of = stream.symbol if stream is not None and stream.channel == "book" else None
        self.closing = False
        self.seen: dict[int, None] = {}

    def unseen(self, rows: list[TradeRow]) -> list[TradeRow]:
        """Return the new trades by rising id. The venue sends each twice, as te and as tu with the same values."""
        fresh = [row for row in sorted(rows, key=lambda row: row.id) if row.id not in self.seen]
        self.seen |= dict.fromkeys(row.id for row in fresh)
        while len(self.seen) > SEEN_TRADES:
            del self.seen[next(iter(self.seen))]
        return fresh

    def end(self, number: bytes) -> str:
        """Return the request that ends it, and remember that it was requested."""
        self.closing = True
        return json.dumps({"event": "unsubscribe", "chanId": int(number)})

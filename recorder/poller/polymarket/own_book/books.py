"""Our own books of outcome tokens, kept from the rows that a recorder journalled. Pure: no clock, no I/O.

A book begins with a snapshot, either of the stream or of `/books`. It ends with everything that may have cost a
message: a gap, another session, a damaged journal. Its last messages are kept, so that its earlier states can be
compared with an answer that was made a moment ago.
"""

from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

from recorder.events import Levels
from recorder.identity import instrument_id
from recorder.journal.block import StreamCheckpoint
from recorder.venues.polymarket.polls.books import Book

Unfit = Literal["not streamed", "gap", "no snapshot", "silent", "crossed", "stamp", "journal"]
"""Why there is no own book of a token: `silent`: its session; `stamp`: a time ahead of our clock."""

KEPT_NS = 5 * 10**9
KEPT_MESSAGES = 512
"""Of one token: its messages of the last 5 s, and no more than these. An answer takes less than a second."""

AHEAD_NS = 5 * 10**9
"""A book stamped further ahead of its receipt has no time that could be stored."""

MOST_TOKENS = 10_000
_WANTED_NS = 900 * 10**9  # a token that is not asked for any more is forgotten

Sides = tuple[dict[float, float], dict[float, float]]
"""Bids and asks: sizes by price."""


class Step(NamedTuple):
    """What one message changed in a book."""

    received_ns: int
    before: Sides | None  # of a snapshot: both sides before it
    undo: list[tuple[int, float, float]]  # side (0 or 1), price and size before, in the reverse order


class Message(NamedTuple):
    """One row of table book."""

    instrument_id: int
    received_ns: int
    stamp_ns: int | None
    session_id: int
    snapshot: bool
    bids: Levels
    asks: Levels


class OwnBook:
    """The book of one token from its snapshot on."""

    __slots__ = ("received_ns", "session_id", "sides", "since_ns", "stamp_ns", "steps", "truncated")

    def __init__(self, session_id: int, since_ns: int, stamp_ns: int, bids: Levels, asks: Levels) -> None:
        self.session_id = session_id
        self.since_ns = since_ns  # receipt of the snapshot
        self.received_ns = since_ns  # of the last message
        self.stamp_ns = stamp_ns  # the venue's time of the last message
        self.sides: Sides = _sides(bids, asks)
        self.steps: deque[Step] = deque(maxlen=KEPT_MESSAGES)
        self.truncated = False  # whether a message of the last 5 s is not in the steps any more

    def apply(self, message: Message) -> None:
        """Apply a message of the same session."""
        while self.steps and self.steps[0].received_ns < message.received_ns - KEPT_NS:
            self.steps.popleft()
            self.truncated = False
        self.truncated = self.truncated or len(self.steps) == KEPT_MESSAGES
        if message.snapshot:
            self.steps.append(Step(message.received_ns, self.sides, []))
            self.sides = _sides(message.bids, message.asks)
        else:
            undo: list[tuple[int, float, float]] = []
            for place, levels in enumerate((message.bids, message.asks)):
                side = self.sides[place]
                for price, size in levels:
                    undo.append((place, price, side.get(price, 0.0)))
                    if size:
                        side[price] = size
                    else:
                        side.pop(price, None)
            undo.reverse()
            self.steps.append(Step(message.received_ns, None, undo))
        self.received_ns = message.received_ns
        if message.stamp_ns is not None:
            self.stamp_ns = max(self.stamp_ns, message.stamp_ns)

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask."""
        bids, asks = self.sides
        return bool(bids and asks) and max(bids) >= min(asks)


class _Token:
    __slots__ = ("book", "dropped_ns", "lost_ns", "recent", "symbol", "wanted_ns", "wanted_since_ns")

    def __init__(self, symbol: str, now_ns: int) -> None:
        self.symbol = symbol
        self.wanted_ns = self.wanted_since_ns = now_ns
        self.book: OwnBook | None = None
        self.lost_ns = 0  # the latest time at which a message may have been missed
        self.recent: deque[Message] = deque(maxlen=KEPT_MESSAGES)
        self.dropped_ns = 0  # receipt of the newest message that is not in `recent` any more


class _Stream(NamedTuple):
    session_id: int | None
    watched: bool
    gap: bool


class OwnBooks:
    """The books of the tokens that one recorder streams. Not safe for threads: the caller has a lock.

    Args:
        venue: Name of the venue, a part of instrument ids.
        silence_ns: After this time without a frame a session proves nothing.
    """

    def __init__(self, venue: str, silence_ns: int) -> None:
        self._venue = venue
        self._silence_ns = silence_ns
        self._tokens: dict[int, _Token] = {}
        self._ids: dict[str, int] = {}
        self._streams: dict[str, _Stream] = {}
        self._last_frame_ns: dict[int, int] = {}  # by session

    # ---- what the journal says ------------------------------------------------------------------------------

    @property
    def wanted(self) -> dict[int, _Token]:
        """The tokens whose rows are read, by instrument id."""
        return self._tokens

    def heard(self, session_id: int, last_ns: int) -> None:
        """Note when a session received its last frame."""
        if len(self._last_frame_ns) > MOST_TOKENS:
            self._last_frame_ns.clear()
        self._last_frame_ns[session_id] = max(last_ns, self._last_frame_ns.get(session_id, 0))

    def apply(self, message: Message) -> None:
        """Apply a row."""
        token = self._tokens.get(message.instrument_id)
        if token is None:
            return
        if message.snapshot:  # what came before it is in it
            token.recent.clear()
        while token.recent and token.recent[0].received_ns < message.received_ns - KEPT_NS:
            token.dropped_ns = token.recent.popleft().received_ns
        if len(token.recent) == KEPT_MESSAGES:
            token.dropped_ns = token.recent[0].received_ns
        token.recent.append(message)
        book = token.book
        if book is not None and book.session_id == message.session_id:
            book.apply(message)
        elif message.snapshot:
            token.book = OwnBook(
                message.session_id, message.received_ns, message.stamp_ns or message.received_ns,
                message.bids, message.asks,
            )  # fmt: skip
        elif book is not None:
            self._lose(token, message.received_ns)

    def gap(self, instrument_id: int, ended_ns: int | None, now_ns: int) -> None:
        """Note a gap of a book. A snapshot at or after its end began a book that it does not concern."""
        token = self._tokens.get(instrument_id)
        if token is None:
            return
        if ended_ns is None:
            self._lose(token, now_ns)
        elif token.book is None or token.book.since_ns < ended_ns:
            self._lose(token, ended_ns)

    def stream(self, checkpoint: StreamCheckpoint, now_ns: int) -> None:
        """Note the state of a stream after a block."""
        if checkpoint.channel != "book":
            return
        if len(self._streams) > 4 * MOST_TOKENS:
            self.lost(now_ns)
        self._streams[checkpoint.symbol] = _Stream(
            checkpoint.session_id, checkpoint.watched, checkpoint.gap is not None
        )
        token = self._tokens.get(self._ids.get(checkpoint.symbol, 0))
        if token is not None and (
            checkpoint.gap is not None
            or not checkpoint.watched
            or (token.book is not None and token.book.session_id != checkpoint.session_id)
        ):
            self._lose(token, now_ns)

    def lost(self, now_ns: int) -> None:
        """Forget everything that the journal said: a part of it is missing."""
        self._streams.clear()
        for token in self._tokens.values():
            self._lose(token, now_ns)

    # ---- what the poller asks -------------------------------------------------------------------------------

    def want(self, symbols: Iterable[str], now_ns: int) -> None:
        """Read the rows of these tokens from now on, until they have not been asked for during 15 minutes."""
        for symbol in symbols:
            number = self._ids.get(symbol)
            if number is not None:
                self._tokens[number].wanted_ns = now_ns
            elif len(self._tokens) < MOST_TOKENS:
                self._ids[symbol] = number = instrument_id(self._venue, symbol)
                self._tokens[number] = _Token(symbol, now_ns)
        for number, token in list(self._tokens.items()):
            if token.wanted_ns < now_ns - _WANTED_NS:
                del self._tokens[number], self._ids[token.symbol]

    def streams(self, symbol: str) -> bool:
        """Return whether the recorder is subscribed to the book of a token."""
        stream = self._streams.get(symbol)
        return stream is not None and stream.watched

    def get(self, symbol: str, now_ns: int) -> OwnBook | Unfit:
        """Return the book of a token; where it is not certain to be complete, why."""
        stream, token = self._streams.get(symbol), self._tokens.get(self._ids.get(symbol, 0))
        if stream is None or not stream.watched or token is None:
            return "not streamed"
        if stream.gap:
            return "gap"
        if now_ns - self._last_frame_ns.get(stream.session_id or 0, 0) > self._silence_ns:
            return "silent"
        if token.book is None:
            return "no snapshot"
        if token.book.stamp_ns > token.book.received_ns + AHEAD_NS:
            return "stamp"
        return "crossed" if token.book.crossed else token.book

    def seed(self, symbol: str, asked_ns: int, received_ns: int, theirs: Book) -> bool:
        """Begin a book with an answer of the venue and the messages after it, and return whether that is certain.

        A quiet market sends no snapshot for hours. Its stream must have been complete since the request: then each
        change that the answer does not contain has come as a message. One that it contains sets the same size again.
        """
        stream, token = self._streams.get(symbol), self._tokens.get(self._ids.get(symbol, 0))
        if stream is None or token is None or not stream.watched or stream.gap or stream.session_id is None:
            return False
        if max(token.lost_ns, token.dropped_ns) >= asked_ns or token.wanted_since_ns > asked_ns:
            return False
        book = OwnBook(stream.session_id, received_ns, theirs.ts_event_ns, theirs.bids, theirs.asks)
        for message in token.recent:
            if message.session_id == book.session_id and (message.stamp_ns or 0) >= theirs.ts_event_ns:
                book.apply(message)
        token.book = book
        return True

    def _lose(self, token: _Token, at_ns: int) -> None:
        token.book = None
        token.lost_ns = max(token.lost_ns, at_ns)
        token.recent.clear()


def _sides(bids: Levels, asks: Levels) -> Sides:
    return {price: size for price, size in bids if size}, {price: size for price, size in asks if size}

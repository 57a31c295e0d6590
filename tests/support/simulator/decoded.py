"""A decoder fed by a simulated venue over a real socket, and the items that it must have decoded by the truth log."""

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.capture.rest_fetcher import framed
from recorder.errors import DecodeError
from recorder.events import CHANNELS, Book, Fetch, Output, Quote, Reply, Resync, Stream, Trade
from recorder.simulator.running import Running
from recorder.truth import BookItem, Opened, QuoteItem, Sent, TradeItem, read_truth
from recorder.venues.base import BooksByRest, Venue, requests_of
from recorder.verify.expected import book_values
from support.simulator.client import ask, client

LIMIT_S = 45.0  # a busy machine decodes a backlog first

Values = tuple[Any, ...]


def streams(*symbols: str) -> list[Stream]:
    """Return the streams of all channels of each symbol."""
    return [Stream(channel, symbol) for symbol in symbols for channel in CHANNELS]


class Decoding:
    """One connection of a recorder, without the recorder.

    Attributes:
        late: Frames that come between a REST answer and its arrival at the decoder.
    """

    def __init__(self, socket: ClientConnection, venue: Venue, rest_url: str | None = None) -> None:
        """Begin a session.

        Args:
            rest_url: REST address of the venue, to obey all commands of the decoder; None obeys only replies.
        """
        self.socket = socket
        self.session = venue.decoder()
        self.requests = requests_of(venue, self.session)
        self.asked: set[Stream] = set()
        self.outputs: list[Output] = []
        self.unreadable: list[str] = []
        self.frames = 0
        self.late = 0
        self._rest_url = rest_url
        self._by_rest = isinstance(venue, BooksByRest)
        self._answers: deque[tuple[int, bytes]] = deque()  # the number of frames after which each arrives

    def subscribe(self, streams: Iterable[Stream]) -> None:
        """Subscribe to streams."""
        self.asked.update(streams)
        self._send(self.requests.subscribe(streams))

    def unsubscribe(self, streams: Iterable[Stream]) -> None:
        """Unsubscribe from streams."""
        self.asked.difference_update(streams)
        self._send(self.requests.unsubscribe(streams))

    def until(self, enough: Callable[["Decoding"], bool]) -> "Decoding":
        """Decode up to the first frame that satisfies the condition."""
        deadline = time.monotonic() + LIMIT_S
        while not enough(self):
            self._read(max(0.01, deadline - time.monotonic()))
        return self

    def more(self, frames: int = 20) -> "Decoding":
        """Decode that many more frames."""
        last = self.frames + frames
        return self.until(lambda one: one.frames >= last)

    def to_the_end(self) -> "Decoding":
        """Decode until the venue closes, without sending anything."""
        while True:
            try:
                self._read(LIMIT_S, obey=False)
            except ConnectionClosed:
                return self

    def of(self, kind: type[Any] | UnionType, symbol: str | None = None) -> list[Any]:
        """Return the outputs of one kind, of all symbols or one."""
        return [
            one
            for one in self.outputs
            if isinstance(one, kind) and (symbol is None or getattr(one, "symbol", None) == symbol)
        ]

    def _read(self, timeout_s: float, *, obey: bool = True) -> None:
        frame = self.socket.recv(timeout=timeout_s, decode=False)
        self.frames += 1
        self._take(frame, obey)
        while self._answers and self._answers[0][0] <= self.frames:
            self._take(self._answers.popleft()[1], obey)

    def _take(self, frame: bytes, obey: bool) -> None:
        try:
            found = self.session.decode(frame, time.time_ns())
        except DecodeError as error:
            self.unreadable.append(str(error))
            return
        self.outputs += found
        for one in found if obey else ():
            match one:
                case Reply(text):
                    self._send([text])
                case Fetch(_, path) if self._rest_url is not None:
                    answer = framed(path, *ask(self._rest_url + path))
                    self._answers.append((self.frames + self.late, answer))
                case Resync(symbol) if self._rest_url is not None and not self._by_rest:
                    book = [Stream("book", symbol)]
                    self.unsubscribe(book)
                    self.subscribe(book)
                case _:
                    pass

    def _send(self, frames: Sequence[str]) -> None:
        for frame in frames:
            self.socket.send(frame)


@contextmanager
def decoding(running: Running, venue: Venue, streams: Sequence[Stream] = ()) -> Iterator[Decoding]:
    """Yield a connection that has subscribed to these streams and sends only replies."""
    with client(running.url) as socket:
        one = Decoding(socket, venue)
        one.subscribe(streams)
        yield one


def live(one: Decoding) -> bool:
    """Return whether every subscribed stream has data."""
    return len({(type(row), row.symbol) for row in one.of(Trade | Quote | Book)}) == len(one.asked)


def finish(running: Running, *found: Decoding) -> None:
    """Let the venue close, and decode everything that it sent before."""
    running.do("close", how="frame")
    for one in found:
        one.to_the_end()


class Truth:
    """The items that a venue wrote to its clients, or to one of them, in the order of the truth log."""

    def __init__(self, path: Path, connection: int | None = None) -> None:
        lines = list(read_truth(path))
        self.items = {line.n: line for line in lines if isinstance(line, TradeItem | QuoteItem | BookItem)}
        self.held = [item for item in self.items.values() if item.held is not None]
        self.sent: list[TradeItem | QuoteItem | BookItem] = []
        self.by_rest: list[TradeItem | QuoteItem | BookItem] = []  # full books
        answers = {line.c for line in lines if isinstance(line, Opened) and line.c < 0}
        for line in lines:
            if isinstance(line, Sent) and (connection is None or line.c == connection or line.c in answers):
                numbers = [number for first, last in line.n for number in range(first, last + 1)]
                found = self.by_rest if line.c in answers else self.sent
                found += [self.items[number] for number in numbers if number in self.items]


def values(one: Any) -> Values:
    """Return a row or an item of the truth in a form to compare; it begins with the symbol."""
    match one:
        case Trade():
            return one.symbol, one.trade_id, one.ts_event_ns, one.price, one.size, one.aggressor, one.count
        case TradeItem():
            return one.s, one.id, one.ts, float(one.p), float(one.q), one.side, one.count
        case Quote():
            return one.symbol, one.ts_event_ns, one.sequence, one.bid, one.bid_size, one.ask, one.ask_size
        case QuoteItem():
            texts = (one.b, one.bq, one.a, one.aq)
            return one.s, one.ts, one.seq, *(None if text is None else float(text) for text in texts)
        case Book():
            return one.symbol, one.ts_event_ns, *book_values(one.snapshot, one.bids, one.asks)
        case BookItem():
            return one.s, one.ts, *book_values(one.snap, one.bids, one.asks)
    raise TypeError(one)


def trades_of(found: Iterable[Any]) -> dict[tuple[str, int], Values]:
    """Return the trades of outputs or items by symbol and id; repeated ones must be equal."""
    trades: dict[tuple[str, int], Values] = {}
    for trade in (values(one) for one in found if isinstance(one, Trade | TradeItem)):
        assert trades.setdefault((trade[0], trade[1]), trade) == trade
    return trades


def rows_of(found: Iterable[Any]) -> dict[tuple[str, str], list[Values]]:
    """Return the quotes and book messages of outputs or items, in order, by stream."""
    rows: dict[tuple[str, str], list[Values]] = {}
    for one in found:
        if isinstance(one, Quote | QuoteItem | Book | BookItem):
            row = values(one)
            rows.setdefault((row[0], "quote" if isinstance(one, Quote | QuoteItem) else "book"), []).append(row)
    return rows


def compare(found: Decoding, truth: Truth) -> Counter[str]:
    """Assert that the decoder returned exactly the items of the truth in their order; return how many of each kind.

    A book made from a REST answer must be a book that the venue served. Changes that it already contains may be absent
    after it, and so may items that were published before.
    """
    figures: Counter[str] = Counter()
    for channel, row, kind in (("trade", Trade, TradeItem), ("quote", Quote, QuoteItem)):
        ours = [values(one) for one in found.of(row)]
        theirs = [values(one) for one in truth.sent if isinstance(one, kind)]
        for place, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            assert one == other, f"{channel} {place} of {len(theirs)}"
        assert len(ours) == len(theirs)
        figures[channel] = len(ours)
    given = {values(one) for one in truth.by_rest}
    books: deque[Book] = deque(found.of(Book))
    held: dict[str, int] = {}  # sequence of the last book from REST, by symbol
    for item in (one for one in truth.sent if isinstance(one, BookItem)):
        while given and books and books[0].snapshot:
            _joined(books.popleft(), given, held, figures)
        if books and values(books[0]) == values(item):
            books.popleft()
            figures["book"] += 1
        else:
            excused = item.again or (item.seq is not None and item.seq <= held.get(item.s, -1))
            assert excused, f"{item}; decoded instead: {list(books)[:1]}; unreadable: {found.unreadable[:3]}"
    for book in books:
        _joined(book, given, held, figures)
    return figures


def _joined(book: Book, given: set[Values], held: dict[str, int], figures: Counter[str]) -> None:
    assert book.snapshot
    assert book.sequence is not None
    assert values(book) in given, f"no such book of {book.symbol} at {book.sequence}"
    held[book.symbol] = book.sequence
    figures["joined"] += 1


FAULTS: list[tuple[str, dict[str, Any]]] = [
    *(("skip", {"times": 3, "channel": channel}) for channel in CHANNELS),
    *(("repeat", {"times": 3, "channel": channel}) for channel in CHANNELS),
    *(("malformed", {"kind": "truncated", "instead": True, "channel": channel}) for channel in CHANNELS),
    ("reorder", {"times": 2}),
    ("republish", {"count": 30, "now": True}),
    ("checksum", {"times": 2}),
    ("malformed", {}),
    ("oversized", {"megabytes": 2.0}),
    ("fragment", {"largest": 40}),
    ("burst", {"events": 1000}),
]
"""The faults of every venue that leave a connection open, except freezes and restarted ids."""


def misbehave(running: Running, found: Decoding, symbol: str, rng: random.Random) -> None:
    """Cause every fault on a live connection, in a random order, and wait until each has happened."""
    faults = list(FAULTS)
    rng.shuffle(faults)
    for action, arguments in faults:
        running.do(action, **arguments)
        # A venue without checksums never applies that fault; `heal` ends it.
        found.until(lambda _: all(rule.do == "checksum" for rule in running.venue.faults.rules)).more()
        running.do("heal")
    running.do("fragment", largest=0)
    for channel in CHANNELS:
        running.do("freeze", symbol=symbol, channel=channel)
        found.more()
        running.do("heal")
        found.more()
    running.do("reset_ids", symbol=symbol, first=7)
    seen = len(found.of(Trade, symbol))
    found.until(lambda one: any(trade.trade_id < 1000 for trade in one.of(Trade, symbol)[seen:]))

"""A decoder of ours fed by a simulated venue over a real socket, and what the truth log says it must have found."""

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any

from simulator_client import ask, client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.errors import DecodeError
from recorder.events import CHANNELS, Book, Fetch, Output, Quote, Reply, Resync, Stream, Trade
from recorder.fetches import framed
from recorder.published import book_values
from recorder.simulator.running import Running
from recorder.simulator.truth import BookItem, Opened, QuoteItem, Sent, TradeItem, read_truth
from recorder.venues.base import BooksByRest, Venue, requests_of

LIMIT_S = 15.0

Values = tuple[Any, ...]


def streams(*symbols: str) -> list[Stream]:
    """All channels of each symbol."""
    return [Stream(channel, symbol) for symbol in symbols for channel in CHANNELS]


class Decoding:
    """One connection of a recorder, without the recorder.

    Attributes:
        late: Frames that come between a REST answer and its arrival at the decoder.
    """

    def __init__(self, socket: ClientConnection, venue: Venue, rest_url: str | None = None) -> None:
        """Begin a session.

        Args:
            rest_url: Of the venue, to do all that the decoder asks for; None: its replies are sent, and nothing else.
        """
        self.socket = socket
        self.session = venue.session()
        self.requests = requests_of(venue, self.session)
        self.asked: set[Stream] = set()
        self.outputs: list[Output] = []
        self.unreadable: list[str] = []
        self.frames = 0
        self.late = 0
        self._rest_url = rest_url
        self._by_rest = isinstance(venue, BooksByRest)
        self._answers: deque[tuple[int, bytes]] = deque()  # by which number of frames they arrive

    def subscribe(self, streams: Iterable[Stream]) -> None:
        """Ask for streams."""
        self.asked.update(streams)
        self._send(self.requests.subscribe(streams))

    def unsubscribe(self, streams: Iterable[Stream]) -> None:
        """End streams."""
        self.asked.difference_update(streams)
        self._send(self.requests.unsubscribe(streams))

    def until(self, enough: Callable[["Decoding"], bool]) -> "Decoding":
        """Decode up to the frame that makes it enough."""
        deadline = time.monotonic() + LIMIT_S
        while not enough(self):
            self._read(max(0.01, deadline - time.monotonic()))
        return self

    def more(self, frames: int = 20) -> "Decoding":
        """Decode so many frames more."""
        last = self.frames + frames
        return self.until(lambda one: one.frames >= last)

    def to_the_end(self) -> "Decoding":
        """Decode until the venue closes; it is asked for nothing any more."""
        while True:
            try:
                self._read(LIMIT_S, obey=False)
            except ConnectionClosed:
                return self

    def of(self, kind: type[Any] | UnionType, symbol: str | None = None) -> list[Any]:
        """What was found of one kind, of all symbols or one."""
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
    """A connection that subscribed to these streams and sends replies alone."""
    with client(running.url) as socket:
        one = Decoding(socket, venue)
        one.subscribe(streams)
        yield one


def live(one: Decoding) -> bool:
    """Whether every stream that was asked for has data."""
    return len({(type(row), row.symbol) for row in one.of(Trade | Quote | Book)}) == len(one.asked)


def finish(running: Running, *found: Decoding) -> None:
    """Let the venue close, and decode all that it sent before."""
    running.do("close", how="frame")
    for one in found:
        one.to_the_end()


class Truth:
    """What a venue wholly wrote to its clients, or to one of them, in the order in which it says so."""

    def __init__(self, path: Path, connection: int | None = None) -> None:
        lines = list(read_truth(path))
        self.items = {line.n: line for line in lines if isinstance(line, TradeItem | QuoteItem | BookItem)}
        self.held = [item for item in self.items.values() if item.held is not None]
        self.sent: list[TradeItem | QuoteItem | BookItem] = []
        self.by_rest: list[TradeItem | QuoteItem | BookItem] = []  # whole books
        answers = {line.c for line in lines if isinstance(line, Opened) and line.c < 0}
        for line in lines:
            if isinstance(line, Sent) and (connection is None or line.c == connection or line.c in answers):
                numbers = [number for first, last in line.n for number in range(first, last + 1)]
                found = self.by_rest if line.c in answers else self.sent
                found += [self.items[number] for number in numbers if number in self.items]


def values(one: Any) -> Values:
    """A row, or the item of the truth that it was made from, as something to compare; begins with its symbol."""
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
    """Trades, among outputs or items, by symbol and id; one found twice must say the same."""
    trades: dict[tuple[str, int], Values] = {}
    for trade in (values(one) for one in found if isinstance(one, Trade | TradeItem)):
        assert trades.setdefault((trade[0], trade[1]), trade) == trade
    return trades


def rows_of(found: Iterable[Any]) -> dict[tuple[str, str], list[Values]]:
    """Quotes and book messages, among outputs or items, of each stream in order."""
    rows: dict[tuple[str, str], list[Values]] = {}
    for one in found:
        if isinstance(one, Quote | QuoteItem | Book | BookItem):
            row = values(one)
            rows.setdefault((row[0], "quote" if isinstance(one, Quote | QuoteItem) else "book"), []).append(row)
    return rows


def compare(found: Decoding, truth: Truth) -> Counter[str]:
    """Assert that the decoder gave exactly the items of the truth, in their order; gives how many of each kind.

    A book joined from a REST answer must be one the venue says it gave, and changes that it holds already may be
    left out behind it; so may what was published before.
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
    held: dict[str, int] = {}  # sequence that the last joined book of a symbol holds
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


MISDEEDS: list[tuple[str, dict[str, Any]]] = [
    *(("skip", {"times": 3, "channel": channel}) for channel in CHANNELS),
    *(("repeat", {"times": 3, "channel": channel}) for channel in CHANNELS),
    *(("junk", {"kind": "truncated", "instead": True, "channel": channel}) for channel in CHANNELS),
    ("reorder", {"times": 2}),
    ("republish", {"count": 30, "now": True}),
    ("checksum", {"times": 2}),
    ("junk", {}),
    ("oversized", {"megabytes": 2.0}),
    ("fragment", {"largest": 40}),
    ("burst", {"events": 1000}),
]
"""What every venue can do wrong while a connection lives. Freezes and restarted ids are provoked one by one."""


def misbehave(running: Running, found: Decoding, symbol: str, rng: random.Random) -> None:
    """Provoke every misdeed in some order on a live connection, each until it happened."""
    misdeeds = list(MISDEEDS)
    rng.shuffle(misdeeds)
    for action, arguments in misdeeds:
        running.do(action, **arguments)
        # A checksum that nobody sends stays as it is, and is ended with everything else.
        found.until(lambda _: all(rule.do == "checksum" for rule in running.venue.mischief.rules)).more()
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

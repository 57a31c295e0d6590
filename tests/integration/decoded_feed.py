"""What our decoder makes of a simulated venue over a real socket, compared with that venue's truth log."""

import random
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.errors import DecodeError
from recorder.events import CHANNELS, Book, Fetch, Output, Quote, Reply, Resync, Stream, Trade
from recorder.fetches import framed
from recorder.published import book_values
from recorder.simulator.running import Running
from recorder.simulator.truth import BookItem, Opened, QuoteItem, Sent, TradeItem, read_truth
from recorder.venues import venue_class
from recorder.venues.base import BooksByRest, requests_of

LIMIT_S = 15.0


def ask(url: str) -> tuple[int, bytes]:
    """Status and body of a REST request."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Tap:
    """One connection with our decoder behind it, which gets what it asks for.

    Attributes:
        late: Frames that come between a REST answer and its arrival at the decoder.
    """

    def __init__(self, venue: Running, socket: ClientConnection) -> None:
        ours = venue_class(venue.venue.name)(venue.url)
        self.session = ours.session()
        self.outputs: list[Output] = []
        self.frames: list[bytes] = []
        self.refused: list[bytes] = []  # frames that were not understood
        self.late = 0
        self._answers: list[tuple[int, bytes]] = []  # by which number of frames they arrive
        self._socket = socket
        self._rest_url = venue.rest_url
        self._by_rest = isinstance(ours, BooksByRest)
        self._requests = requests_of(ours, self.session)

    def subscribe(self, *streams: Stream) -> None:
        """Ask for streams as the recorder does."""
        for text in self._requests.subscribe(streams):
            self._socket.send(text)

    def of(self, kind: type[Any]) -> list[Any]:
        """Outputs of one kind so far."""
        return [one for one in self.outputs if isinstance(one, kind)]

    def until(self, enough: Callable[["Tap"], bool]) -> None:
        """Decode frames up to the one that makes it enough."""
        deadline = time.monotonic() + LIMIT_S
        while not enough(self):
            self._read(max(0.01, deadline - time.monotonic()))

    def more(self, frames: int = 20) -> None:
        """Decode so many frames more."""
        until = len(self.frames) + frames
        self.until(lambda tap: len(tap.frames) >= until)

    def drain(self) -> None:
        """Decode whatever still comes until the connection ends."""
        while True:
            try:
                self._read(LIMIT_S, obey=False)
            except ConnectionClosed:
                return

    def _read(self, timeout_s: float, *, obey: bool = True) -> None:
        self.frames.append(self._socket.recv(timeout=timeout_s, decode=False))
        self._take(self.frames[-1], obey)
        while self._answers and self._answers[0][0] <= len(self.frames):
            self._take(self._answers.pop(0)[1], obey)

    def _take(self, frame: bytes, obey: bool) -> None:
        try:
            outputs = self.session.decode(frame, time.time_ns())
        except DecodeError:
            self.refused.append(frame)
            return
        self.outputs += outputs
        for output in outputs if obey else ():
            match output:
                case Fetch(_, path):
                    answer = framed(path, *ask(self._rest_url + path))
                    self._answers.append((len(self.frames) + self.late, answer))
                case Reply(text):
                    self._socket.send(text)
                case Resync(symbol) if not self._by_rest:
                    book = [Stream("book", symbol)]
                    for text in [*self._requests.unsubscribe(book), *self._requests.subscribe(book)]:
                        self._socket.send(text)
                case _:
                    pass


class Truth:
    """What a venue wholly wrote to one connection, and which whole books it gave by REST."""

    def __init__(self, path: Path, connection: int = 1) -> None:
        lines = list(read_truth(path))
        items = {line.n: line for line in lines if isinstance(line, TradeItem | QuoteItem | BookItem)}
        answers = {line.c for line in lines if isinstance(line, Opened) and line.c < 0}
        sent: dict[bool, list[Any]] = {False: [], True: []}
        for line in lines:
            if isinstance(line, Sent) and (line.c == connection or line.c in answers):
                numbers = [number for first, last in line.n for number in range(first, last + 1)]
                sent[line.c in answers] += [items[number] for number in numbers if number in items]
        self.items = sent[False]
        self.by_rest: list[BookItem] = sent[True]


def trade_row(trade: Trade | TradeItem) -> tuple[Any, ...]:
    if isinstance(trade, TradeItem):
        return trade.s, trade.id, trade.ts, float(trade.p), float(trade.q), trade.side, trade.count
    return (
        trade.symbol, trade.trade_id, trade.ts_event_ns, trade.price, trade.size, trade.aggressor, trade.count
    )  # fmt: skip


def quote_row(quote: Quote | QuoteItem) -> tuple[Any, ...]:
    if isinstance(quote, QuoteItem):
        numbers = [None if text is None else float(text) for text in (quote.b, quote.bq, quote.a, quote.aq)]
        return quote.s, quote.ts, quote.seq, *numbers
    return (
        quote.symbol, quote.ts_event_ns, quote.sequence, quote.bid, quote.bid_size, quote.ask, quote.ask_size
    )  # fmt: skip


def book_row(book: Book | BookItem) -> tuple[Any, ...]:
    if isinstance(book, BookItem):
        return book.s, book.ts, book_values(book.snap, book.bids, book.asks)
    return book.symbol, book.ts_event_ns, book_values(book.snapshot, book.bids, book.asks)


def compare(tap: Tap, truth: Truth) -> Counter[str]:
    """Assert that the decoder gave exactly the items of the truth, in their order; gives how many of each kind.

    A book joined from a REST answer must be one the venue says it gave, and changes that it holds already may be
    left out behind it; so may what was published before.
    """

    def same(ours: Sequence[Any], theirs: Sequence[Any]) -> int:
        for place, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            assert one == other, f"item {place} of {len(theirs)}"
        assert len(ours) == len(theirs)
        return len(ours)

    figures: Counter[str] = Counter()
    figures["trade"] = same(
        [trade_row(one) for one in tap.of(Trade)],
        [trade_row(one) for one in truth.items if isinstance(one, TradeItem)],
    )
    figures["quote"] = same(
        [quote_row(one) for one in tap.of(Quote)],
        [quote_row(one) for one in truth.items if isinstance(one, QuoteItem)],
    )
    given = {book_row(one) for one in truth.by_rest}
    books: deque[Book] = deque(tap.of(Book))
    held: dict[str, int] = {}  # sequence that the last joined book of a symbol holds
    for item in (one for one in truth.items if isinstance(one, BookItem)):
        while given and books and books[0].snapshot:
            _joined(books.popleft(), given, held, figures)
        if books and book_row(books[0]) == book_row(item):
            books.popleft()
            figures["book"] += 1
        else:
            excused = item.again or (item.seq is not None and item.seq <= held.get(item.s, -1))
            assert excused, f"{item}; decoded instead: {list(books)[:1]}; unreadable: {tap.refused[:3]}"
    for book in books:
        _joined(book, given, held, figures)
    return figures


def _joined(book: Book, given: set[tuple[Any, ...]], held: dict[str, int], figures: Counter[str]) -> None:
    assert book.snapshot
    assert book.sequence is not None
    assert book_row(book) in given, f"no such book of {book.symbol} at {book.sequence}"
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


def misbehave(venue: Running, tap: Tap, symbol: str, rng: random.Random) -> None:
    """Provoke every misdeed in some order on a live connection, each until it happened."""
    misdeeds = list(MISDEEDS)
    rng.shuffle(misdeeds)
    for action, arguments in misdeeds:
        venue.do(action, **arguments)
        # A checksum that nobody sends stays as it is, and is ended with everything else.
        tap.until(lambda _: all(rule.do == "checksum" for rule in venue.venue.mischief.rules))
        tap.more()
        venue.do("heal")
    venue.do("fragment", largest=0)
    for channel in CHANNELS:
        venue.do("freeze", symbol=symbol, channel=channel)
        tap.more()
        venue.do("heal")
        tap.more()
    venue.do("reset_ids", symbol=symbol, first=7)
    seen = len(tap.outputs)
    tap.until(
        lambda tap: any(isinstance(one, Trade) and one.symbol == symbol and one.trade_id < 1000
                        for one in tap.outputs[seen:])
    )  # fmt: skip

"""What our decoder makes of a simulated venue over a real socket, compared with that venue's truth log."""

import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.events import Book, Fetch, Output, Quote, Reply, Resync, Stream, Trade
from recorder.reconcile import book_values
from recorder.simulator.running import Running
from recorder.simulator.truth import BookItem, Opened, QuoteItem, Sent, TradeItem, read_truth
from recorder.venues import venue_class
from recorder.venues.base import requests_of

LIMIT_S = 15.0


def ask(url: str) -> tuple[int, bytes]:
    """Status and body of a REST request."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Tap:
    """One connection with our decoder behind it, which gets what it asks for."""

    def __init__(self, venue: Running, socket: ClientConnection) -> None:
        ours = venue_class(venue.venue.name)(venue.url)
        self.session = ours.session()
        self.outputs: list[Output] = []
        self.frames: list[bytes] = []
        self._socket = socket
        self._rest_url = venue.rest_url
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
            self._take(self._socket.recv(timeout=max(0.01, deadline - time.monotonic()), decode=False))

    def drain(self) -> None:
        """Decode whatever still comes until the connection ends."""
        while True:
            try:
                frame = self._socket.recv(timeout=LIMIT_S, decode=False)
            except ConnectionClosed:
                return
            self._take(frame, obey=False)

    def _take(self, frame: bytes, *, obey: bool = True) -> None:
        self.frames.append(frame)
        for output in self.session.decode(frame, time.time_ns()):
            self.outputs.append(output)
            match output:
                case Fetch(_, path) if obey:
                    status, body = ask(self._rest_url + path)
                    self._take(b'{"rest":"%s","status":%d,"body":%s}' % (path.encode(), status, body))
                case Reply(text) if obey:
                    self._socket.send(text)
                case Resync(symbol) if obey:
                    book = Stream("book", symbol)
                    if not any(isinstance(one, Fetch) for one in self.outputs):  # else the book comes by REST
                        for text in [*self._requests.unsubscribe([book]), *self._requests.subscribe([book])]:
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

    A book joined from a REST answer must be one the venue says it gave.
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
    books = [book_row(one) for one in tap.of(Book)]
    joined = [row for row in books if given and row[2][0]]
    assert [row for row in joined if row not in given] == []
    figures["joined"] = len(joined)
    figures["book"] = same(
        [row for row in books if not (given and row[2][0])],
        [book_row(one) for one in truth.items if isinstance(one, BookItem)],
    )
    return figures

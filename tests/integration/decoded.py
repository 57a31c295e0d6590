"""A decoder of ours fed by a simulated venue over a real socket, and what the truth log says it must have found."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simulator_client import LIMIT_S, client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.errors import DecodeError
from recorder.events import Book, Output, Quote, Reply, Stream, Trade
from recorder.published import book_values
from recorder.simulator.running import Running
from recorder.simulator.truth import BookItem, QuoteItem, Sent, TradeItem, read_truth
from recorder.venues.base import Venue, requests_of

Values = tuple[Any, ...]


class Decoding:
    """One connection of a recorder, without the recorder."""

    def __init__(self, socket: ClientConnection, venue: Venue) -> None:
        self.socket = socket
        self.session = venue.session()
        self.requests = requests_of(venue, self.session)
        self.outputs: list[Output] = []
        self.unreadable: list[str] = []
        self.frames = 0

    def subscribe(self, streams: Iterable[Stream]) -> None:
        """Ask for streams."""
        self._send(self.requests.subscribe(streams))

    def unsubscribe(self, streams: Iterable[Stream]) -> None:
        """End streams."""
        self._send(self.requests.unsubscribe(streams))

    def until(self, enough: Callable[["Decoding"], bool]) -> "Decoding":
        """Decode up to the frame that makes it enough."""
        deadline = time.monotonic() + LIMIT_S
        while not enough(self):
            self._take(self.socket.recv(timeout=max(0.01, deadline - time.monotonic()), decode=False))
        return self

    def to_the_end(self) -> "Decoding":
        """Decode until the venue closes."""
        while True:
            try:
                self._take(self.socket.recv(timeout=LIMIT_S, decode=False))
            except ConnectionClosed:
                return self

    def of(self, kind: type[Any], symbol: str | None = None) -> list[Any]:
        """What was found of one kind, of all symbols or one."""
        return [
            one
            for one in self.outputs
            if isinstance(one, kind) and (symbol is None or getattr(one, "symbol", None) == symbol)
        ]

    def _take(self, frame: bytes) -> None:
        self.frames += 1
        try:
            found = self.session.decode(frame, time.time_ns())
        except DecodeError as error:
            self.unreadable.append(str(error))
            return
        self.outputs += found
        self._send([one.frame for one in found if isinstance(one, Reply)])

    def _send(self, frames: Sequence[str]) -> None:
        for frame in frames:
            self.socket.send(frame)


@contextmanager
def decoding(running: Running, venue: Venue, streams: Sequence[Stream] = ()) -> Iterator[Decoding]:
    """A connection that subscribed to these streams."""
    with client(running.url) as socket:
        one = Decoding(socket, venue)
        one.subscribe(streams)
        yield one


def trades_of(found: Decoding) -> dict[tuple[str, int], Values]:
    """Trades by symbol and id; one found twice must say the same."""
    trades: dict[tuple[str, int], Values] = {}
    for one in found.of(Trade):
        values = (one.ts_event_ns, one.price, one.size, one.aggressor)
        assert trades.setdefault((one.symbol, one.trade_id), values) == values
    return trades


def rows_of(found: Decoding) -> dict[tuple[str, str], list[Values]]:
    """Quotes and book messages of each stream, in order."""
    rows: dict[tuple[str, str], list[Values]] = {}
    for one in found.outputs:
        if isinstance(one, Quote):
            values: Values = (one.ts_event_ns, one.sequence, one.bid, one.bid_size, one.ask, one.ask_size)
            rows.setdefault((one.symbol, "quote"), []).append(values)
        elif isinstance(one, Book):
            values = (one.ts_event_ns, *book_values(one.snapshot, one.bids, one.asks))
            rows.setdefault((one.symbol, "book"), []).append(values)
    return rows


class Truth:
    """What was wholly written to a venue's clients, in order."""

    def __init__(self, path: Path) -> None:
        lines = list(read_truth(path))
        self.items = {line.n: line for line in lines if isinstance(line, TradeItem | QuoteItem | BookItem)}
        numbers = [n for line in lines if isinstance(line, Sent) for a, b in line.n for n in range(a, b + 1)]
        self.sent = [self.items[n] for n in numbers if n in self.items]
        self.held = [item for item in self.items.values() if item.held is not None]

    def trades(self) -> dict[tuple[str, int], Values]:
        """As `trades_of`."""
        return {
            (one.s, one.id): (one.ts, float(one.p), float(one.q), one.side)
            for one in self.sent
            if isinstance(one, TradeItem)
        }

    def rows(self) -> dict[tuple[str, str], list[Values]]:
        """As `rows_of`."""
        rows: dict[tuple[str, str], list[Values]] = {}
        for one in self.sent:
            if isinstance(one, QuoteItem):
                texts = (one.b, one.bq, one.a, one.aq)
                values: Values = (one.ts, one.seq, *(None if text is None else float(text) for text in texts))
                rows.setdefault((one.s, "quote"), []).append(values)
            elif isinstance(one, BookItem):
                rows.setdefault((one.s, "book"), []).append((one.ts, *book_values(one.snap, one.bids, one.asks)))
        return rows

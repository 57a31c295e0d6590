"""Our decoder on a real socket of a fake venue, beside the venue's truth log: both as rows to compare."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.errors import DecodeError
from recorder.events import Book, Output, Quote, Stream, Trade
from recorder.simulator.running import Running
from recorder.simulator.truth import BookItem, QuoteItem, Sent, TradeItem, read_truth
from recorder.venues.base import Session, Venue, requests_of

LIMIT_S = 10.0

Row = tuple[object, ...]


class Tap:
    """One connection, decoded as it arrives."""

    def __init__(self, venue: Venue, socket: ClientConnection) -> None:
        self.session: Session = venue.session()
        self.requests = requests_of(venue, self.session)
        self.socket = socket
        self.outputs: list[Output] = []
        self.refused = 0  # frames that were not understood

    def subscribe(self, *streams: Stream) -> None:
        """Ask for streams."""
        for frame in self.requests.subscribe(streams):
            self.socket.send(frame)

    def unsubscribe(self, *streams: Stream) -> None:
        """End streams."""
        for frame in self.requests.unsubscribe(streams):
            self.socket.send(frame)

    def read(self) -> None:
        """Decode the next frame."""
        frame = self.socket.recv(timeout=LIMIT_S, decode=False)
        try:
            self.outputs += self.session.decode(bytes(frame), time.time_ns())
        except DecodeError:
            self.refused += 1

    def read_until(self, enough: Callable[[list[Output]], bool]) -> list[Output]:
        """Outputs from here on, up to the one that makes it enough."""
        deadline = time.monotonic() + LIMIT_S
        first = len(self.outputs)
        while not enough(self.outputs[first:]):
            assert time.monotonic() < deadline, f"not enough in {LIMIT_S} s: {self.outputs[-3:]}"
            self.read()
        return self.outputs[first:]

    def finish(self, venue: Running) -> None:
        """Let the venue say goodbye, and read all that it sent before."""
        venue.do("close", how="frame")
        while True:
            try:
                self.read()
            except ConnectionClosed:
                return


def count(outputs: Sequence[Output], kind: type[Output]) -> int:
    """How many of a kind."""
    return sum(isinstance(output, kind) for output in outputs)


def stored_rows(outputs: Sequence[Output]) -> list[Row]:
    """What would be stored."""
    rows: list[Row] = []
    for one in outputs:
        match one:
            case Trade():
                rows.append(("trade", one.symbol, one.trade_id, one.ts_event_ns, one.price, one.size, one.aggressor))
            case Quote():
                prices = (one.bid, one.bid_size, one.ask, one.ask_size)
                rows.append(("quote", one.symbol, one.ts_event_ns, one.sequence, *prices))
            case Book():
                rows.append(("book", one.symbol, one.ts_event_ns, one.snapshot, tuple(one.bids), tuple(one.asks)))
            case _:
                pass
    return rows


def sent_rows(path: Path, connection: int = 1) -> list[Row]:
    """What the truth log says was written to a connection, in order."""
    items: dict[int, Row] = {}
    rows: list[Row] = []
    for line in read_truth(path):
        match line:
            case TradeItem():
                items[line.n] = ("trade", line.s, line.id, line.ts, float(line.p), float(line.q), line.side)
            case QuoteItem():
                prices = (None if text is None else float(text) for text in (line.b, line.bq, line.a, line.aq))
                items[line.n] = ("quote", line.s, line.ts, line.seq, *prices)
            case BookItem():
                sides = (tuple((float(price), float(size)) for price, size in side) for side in (line.bids, line.asks))
                items[line.n] = ("book", line.s, line.ts, line.snap, *sides)
            case Sent(c=number) if number == connection:
                rows += [items[n] for first, last in line.n for n in range(first, last + 1) if n in items]
            case _:
                pass
    return rows

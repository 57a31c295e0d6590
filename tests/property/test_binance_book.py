"""The life of a Binance book against a venue that knows every state its book had: no snapshot is anything else."""

import json
import random
from collections.abc import Sequence
from typing import Literal

import hypothesis.strategies as st
from hypothesis import given, settings

from recorder.events import Book, Fetch, Output, Resync
from recorder.venues.binance.stream import PATIENCE_NS, Binance

STEP_NS = 100_000_000
BEGIN_NS = 1_793_000_000 * 10**9
SYMBOL = "AUSDT"
PATH = Binance().snapshot_path(SYMBOL)

Kind = Literal["sent", "lost", "repeated", "current", "older", "again", "foreign", "failed", "restarted", "pause"]
KINDS: tuple[Kind, ...] = (
    "sent", "sent", "sent", "lost", "repeated", "current", "older", "again", "foreign", "failed", "restarted", "pause",
)  # fmt: skip
Levels = dict[int, int]
State = tuple[int, tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]  # last id, bids, asks


class FakeVenue:
    """One book by its update ids, and everything that it ever was."""

    def __init__(self) -> None:
        self.now_ns = BEGIN_NS
        self.bids: Levels = {90: 1, 95: 2}
        self.asks: Levels = {105: 1, 110: 2}
        self.last = self.flushed = 5_000_000
        self._starts = self.last
        self._changed: tuple[Levels, Levels] = ({}, {})
        self.states: list[State] = [self.state()]
        self.frame = b""

    def state(self) -> State:
        """Return the book as it is."""
        return self.last, tuple(sorted(self.bids.items())), tuple(sorted(self.asks.items()))

    def change(self, price: int, size: int) -> None:
        """Make one update."""
        side = 0 if price < 100 else 1
        levels = (self.bids, self.asks)[side]
        levels.pop(price, None)
        if size:
            levels[price] = size
        self._changed[side][price] = size
        self.last += 1
        self.states.append(self.state())

    def delta(self) -> bytes:
        """Return the frame of the updates since the last one."""
        first, self.flushed = self.flushed + 1, self.last
        bids, asks = ([[str(price), str(size)] for price, size in side.items()] for side in self._changed)
        self._changed = ({}, {})
        time_ms = self.now_ns // 10**6
        data = {"e": "depthUpdate", "E": time_ms, "s": SYMBOL, "U": first, "u": self.last, "b": bids, "a": asks}
        self.frame = json.dumps({"stream": "ausdt@depth@100ms", "data": data}).encode()
        return self.frame

    def restart(self) -> None:
        """Begin the ids again, lower, with another book."""
        self._starts -= 1_000_000
        self.last = self.flushed = self._starts
        self.bids, self.asks = {80: 5}, {120: 5}
        self._changed = ({}, {})
        self.states.append(self.state())


def answer(state: State) -> bytes:
    """Return the REST answer of a state."""
    last, bids, asks = state
    body = {
        "lastUpdateId": last,
        "bids": [[str(price), str(size)] for price, size in reversed(bids)],
        "asks": [[str(price), str(size)] for price, size in asks],
    }
    return json.dumps({"rest": PATH, "status": 200, "body": body}).encode()


class Reader:
    """What the rows alone tell: the book, and whether a gap is declared."""

    def __init__(self) -> None:
        self.gap = True
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.fetching = False
        self.snapshot_ns = 0
        self.snapshots: list[State] = []

    def read(self, outputs: Sequence[Output]) -> None:
        """Apply the outputs of one frame."""
        for output in outputs:
            if isinstance(output, Resync):
                self.gap = True
            elif isinstance(output, Fetch):
                self.fetching = True
            elif isinstance(output, Book):
                if output.snapshot:
                    self.bids, self.asks, self.gap, self.snapshot_ns = {}, {}, False, output.ts_recv_ns
                for side, levels in ((self.bids, output.bids), (self.asks, output.asks)):
                    for price, size in levels:
                        side.pop(price, None)
                        if size:
                            side[price] = size
                if output.snapshot:
                    self.snapshots.append(self.state(output.sequence or 0))

    def state(self, last: int) -> State:
        """Return the book in the form of the venue."""
        bids, asks = (
            tuple(sorted((int(price), int(size)) for price, size in side.items())) for side in (self.bids, self.asks)
        )
        return last, bids, asks


PRICES = (*range(82, 99), *range(102, 119))


# The scenario is drawn from a seed: hypothesis would need most of the time to draw it value by value.
@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32))
def test_every_snapshot_is_a_book_the_venue_had_and_no_loss_is_silent(seed: int) -> None:
    rng = random.Random(seed)
    foreign = rng.choice((-50_000_000, 50_000_000, 10**15))

    def changes() -> list[tuple[int, int]]:
        return [(rng.choice(PRICES), rng.randrange(4)) for _ in range(rng.randrange(1, 4))]

    venue, reader, decoder = FakeVenue(), Reader(), Binance().decoder()
    given_answer = answer(venue.state())

    def take(frame: bytes) -> None:
        reader.read(decoder.decode(frame, venue.now_ns))

    def send(changes: list[tuple[int, int]]) -> None:
        venue.now_ns += STEP_NS
        for price, size in changes:
            venue.change(price, size)
        take(venue.delta())

    send([(95, 3)])
    for _ in range(rng.randrange(60)):
        kind = rng.choice(KINDS)
        for price, size in changes():
            venue.change(price, size)
        match kind:
            case "sent":
                send(changes())
            case "lost":
                venue.delta()
            case "repeated":
                take(venue.frame)
            case "current" | "older" | "again":
                if kind != "again":
                    back = rng.randrange(min(40, len(venue.states))) if kind == "older" else 0
                    given_answer = answer(venue.states[-1 - back])
                take(given_answer)
            case "foreign":
                send(changes())  # the stream lives
                take(answer((venue.last + foreign, ((70, 1),), ((130, 1),))))
            case "failed":
                take(json.dumps({"rest": PATH, "status": 503, "body": "busy"}).encode())
            case "restarted":
                venue.restart()
            case "pause":
                venue.now_ns += 5 * 10**9
        if kind in ("sent", "foreign"):
            noticed_by_ns = reader.snapshot_ns + PATIENCE_NS  # a snapshot may be ahead of the deltas for this long
            assert reader.gap or venue.now_ns <= noticed_by_ns or reader.state(venue.last) == venue.state()
    for _ in range(6):  # the session requests a book as long as there is a gap
        venue.now_ns += 2 * 10**9
        send([(96, 1)])
        if reader.gap or reader.fetching:
            reader.fetching = False
            take(answer(venue.state()))
    assert set(reader.snapshots) <= set(venue.states)
    assert not reader.gap
    assert reader.state(venue.last) == venue.state()

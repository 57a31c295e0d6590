"""What the simulated venues published, read from their truth logs, part by part. Pure but for the reading."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from recorder.errors import ConfigError
from recorder.events import CHANNELS, Channel
from recorder.simulator.truth import (
    BookItem,
    Closed,
    Item,
    JunkItem,
    Opened,
    QuoteItem,
    RawItem,
    Reset,
    Sent,
    Started,
    Subscribed,
    TradeItem,
    read_truth,
)

_SETTLED_US = 2_000_000  # after this long, nothing of an earlier part of a log is on its way any more

Values = tuple[object, ...]


class Published(msgspec.Struct, gc=False):
    """One item of the truth."""

    at_us: int  # event time, or when it was made where the venue prints none
    ts_us: int | None
    values: Values
    id: int = 0
    count: int = 1  # prints merged into this one
    unheard: bool = False  # by anybody: withheld, or of the past that a run of the simulator begins with
    again: bool = False  # published before: it may be stored once more, it need not
    sent: int = 0  # connections it was wholly written to
    maybe: int = 0  # connections of which the log does not say
    due: int = 0  # how often it must be stored at least
    sequence: int | None = None  # of a book message that a snapshot may hold already
    whole: bool = False  # a snapshot


class StreamTruth(msgspec.Struct):
    """What a venue published on one stream, in order."""

    items: list[Published] = []
    resets: int = 0
    begun_us: int | None = None  # when anybody was first sent it
    joined_us: list[int] = []  # when a second session began to carry it, to take over from the first


class VenueTruth(msgspec.Struct):
    """The truth of one venue, from one or several runs of the simulator."""

    venue: str
    origin_us: int  # venue time of the oldest item
    since_us: int  # from here on the truth is complete: what is stored and not in it is wrong
    streams: dict[tuple[str, Channel], StreamTruth]


def load_truth(paths: Sequence[Path], agent: str | None = None) -> dict[str, VenueTruth]:
    """Read truth logs, one or several per venue.

    Args:
        paths: Files of the simulator.
        agent: Count only what was sent to clients whose User-Agent begins with this; None counts all.

    Raises:
        ConfigError: a file is no truth log.
    """
    runs: dict[tuple[str, int], _Run] = {}
    for path, started in sorted(_openings(paths), key=lambda one: (one[1].t, one[1].part)):
        run = runs.setdefault((started.venue, started.t), _Run(started, agent))
        run.read(path)
    venues: dict[str, VenueTruth] = {}
    for run in runs.values():
        run.finish(venues)
    return venues


def _openings(paths: Sequence[Path]) -> Iterator[tuple[Path, Started]]:
    for path in paths:
        first = next(read_truth(path), None)
        if isinstance(first, Started):
            yield path, first
        elif first is not None:  # None: killed before its first line was whole, so nothing was sent
            raise ConfigError(f"{path} does not begin like a truth log")


class _Run:
    """One run of the simulator, read part by part."""

    def __init__(self, first: Started, agent: str | None) -> None:
        self._first = first
        self._agent = agent
        self._streams: dict[tuple[str, Channel], StreamTruth] = {}
        self._items: dict[int, tuple[tuple[str, Channel], Published]] = {}
        self._open: dict[int, set[tuple[str, str]]] = {}  # connections that count: their streams
        self._last: dict[int, int] = {}

    def read(self, path: Path) -> None:
        """Read the next part."""
        for line in read_truth(path):
            match line:
                case TradeItem() | QuoteItem() | BookItem():
                    self._item(line)
                case Sent():
                    self._sent(line)
                case Opened() if self._agent is None or line.agent.startswith(self._agent):
                    self._open.setdefault(line.c, set())
                case Closed():
                    self._open.pop(line.c, None)
                case Subscribed() if line.c in self._open:
                    if line.on:
                        self._begin(line)
                    elif line.why is None:
                        self._open[line.c].discard((line.s, line.ch))
                case Reset():
                    self._streams.setdefault((line.s, "trade"), StreamTruth()).resets += 1
                case _:
                    pass

    def finish(self, venues: dict[str, VenueTruth]) -> None:
        """Add this run to its venue's truth; runs come in the order of time."""
        self._in_flight()
        name, part_t = self._first.venue, self._first.part_t
        if self._first.part == 1:
            truth = venues.setdefault(name, VenueTruth(name, self._first.origin_ns // 1000, self._first.t // 1000, {}))
        else:
            # Its first parts are gone, and with them all that was before: begin where this part is settled.
            since_us = part_t // 1000 + _SETTLED_US
            truth = venues[name] = VenueTruth(name, since_us, since_us, {})
        for stream, found in self._streams.items():
            known = truth.streams.setdefault(stream, StreamTruth())
            known.items += [item for item in found.items if item.at_us >= truth.origin_us]
            known.resets += found.resets
            known.begun_us = found.begun_us if known.begun_us is None else known.begun_us
            known.joined_us += found.joined_us

    def _item(self, line: TradeItem | QuoteItem | BookItem) -> None:
        stream, item = _understand(line)
        if isinstance(line, TradeItem) and line.ts < self._first.t:
            item.unheard = True  # a restarted simulator has a past nobody saw, so that its REST has pages
        self._streams.setdefault(stream, StreamTruth()).items.append(item)
        self._items[line.n] = (stream, item)

    def _sent(self, line: Sent) -> None:
        if line.c not in self._open:
            return
        for first, last in line.n:
            self._last[line.c] = max(last, self._last.get(line.c, 0))
            for number in range(first, last + 1):
                if number in self._items:
                    stream, item = self._items[number]
                    item.sent += 1
                    if item.whole and any(stream in carried for c, carried in self._open.items() if c != line.c):
                        item.again = True  # a book sent to a session that is being replaced: the other's book counts

    def _begin(self, line: Subscribed) -> None:
        stream = (line.s, line.ch)
        if line.ch in CHANNELS:
            truth = self._streams.setdefault((line.s, line.ch), StreamTruth())
            if truth.begun_us is None:
                truth.begun_us = line.t // 1000
            if any(stream in carried for c, carried in self._open.items() if c != line.c):
                truth.joined_us.append(line.t // 1000)
        self._open[line.c].add(stream)

    def _in_flight(self) -> None:
        """Items after the last known ones of a connection that never closed: perhaps sent."""
        for connection, streams in self._open.items():
            for number, (stream, item) in self._items.items():
                if number > self._last.get(connection, 0) and stream in streams:
                    item.maybe += 1


def _understand(line: Item) -> tuple[tuple[str, Channel], Published]:
    match line:
        case TradeItem():
            values: Values = (float(line.p), float(line.q), line.side)
            return (line.s, "trade"), Published(
                line.ts // 1000,
                line.ts // 1000,
                values,
                line.id,
                line.count,
                unheard=line.held is not None,
                again=line.again,
            )
        case QuoteItem():
            values = (line.seq, *(None if text is None else float(text) for text in (line.b, line.bq, line.a, line.aq)))
            return (line.s, "quote"), Published(*_times(line), values, again=line.again)
        case BookItem():
            values = book_values(line.snap, line.bids, line.asks)
            return (line.s, "book"), Published(
                *_times(line), values, again=line.again, sequence=line.seq, whole=line.snap
            )
        case JunkItem() | RawItem():
            raise ConfigError("junk has no stream")


def _times(line: QuoteItem | BookItem) -> tuple[int, int | None]:
    """When it was made or said to be made, and the venue's own time, in microseconds."""
    ts_us = line.ts // 1000 if line.ts is not None else None
    return ts_us if ts_us is not None else line.t // 1000, ts_us


def book_values(snapshot: bool, bids: Iterable[Sequence[str | float]], asks: Iterable[Sequence[str | float]]) -> Values:
    """A book message as something to compare: kind, then every level in the order of the wire."""
    return (
        snapshot,
        tuple((float(price), float(size)) for price, size in bids),
        tuple((float(price), float(size)) for price, size in asks),
    )

"""The messages that simulated venues sent, read from their truth logs. Pure except for reading the files."""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec

from recorder.errors import ConfigError
from recorder.events import CHANNELS, Channel
from recorder.truth import (
    BookItem,
    Closed,
    Opened,
    QuoteItem,
    Reset,
    Sent,
    Started,
    Subscribed,
    TradeItem,
    read_truth,
)

_SETTLED_US = 2_000_000  # nothing of an earlier part of a log is in flight after this long
_LINES = 5_000  # between two reports of progress

Values = tuple[object, ...]


class Published(msgspec.Struct, gc=False):
    """One item of the truth."""

    at_us: int  # event time, or when the item was made where the venue prints no time
    ts_us: int | None
    values: Values
    id: int = 0
    undelivered: bool = False  # withheld from every client, or older than the run of the simulator
    may_repeat: bool = False  # published before, so it may be stored once more but need not be
    sent: int = 0  # connections to which all of it was written
    possibly_sent: int = 0  # connections for which the log does not say
    required: int = 0  # how often it must be stored at least
    stored: int = 0  # how often it is stored
    sequence: int | None = None  # of a book message that a snapshot may already contain
    snapshot: bool = False
    count: int = 1  # trades of the venue's history that the feed joined into this one, whose id is the last of them


class StreamTruth(msgspec.Struct):
    """The messages that a venue published on one stream, in order."""

    items: list[Published] = []
    resets: int = 0
    begun_us: int | None = None  # when it was first sent to any client
    joined_us: list[int] = []  # when a second session began to carry it, to replace the first
    absences: list[tuple[int, int]] = []  # from its last subscription to the next one no connection carried it
    absent_since_us: int | None = None  # no connection carries it since then, and none has again so far


class VenueTruth(msgspec.Struct):
    """The truth of one venue, from one or several runs of the simulator."""

    venue: str
    origin_us: int  # venue time of the oldest item
    since_us: int  # the truth is complete from here on, so a stored row that it lacks is wrong
    streams: dict[tuple[str, Channel], StreamTruth]


def find_runs(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the truth logs of each venue, in the order in which they must be read.

    Raises:
        ConfigError: A file is not a truth log.
    """
    venues: dict[str, list[Path]] = {}
    for path, started in sorted(_openings(paths), key=lambda one: (one[1].t, one[1].part)):
        venues.setdefault(started.venue, []).append(path)
    return venues


def load_truth(
    paths: Sequence[Path], agent: str | None = None, progress: Callable[[int], None] = lambda lines: None
) -> dict[str, VenueTruth]:
    """Read truth logs, one or several per venue.

    Args:
        paths: Files of the simulator.
        agent: Count only what was sent to clients whose User-Agent begins with this; None counts all.
        progress: Receives the number of lines read so far.

    Raises:
        ConfigError: A file is not a truth log.
    """
    runs: dict[tuple[str, int], _Run] = {}
    read = 0
    for path, started in sorted(_openings(paths), key=lambda one: (one[1].t, one[1].part)):
        run = runs.setdefault((started.venue, started.t), _Run(started, agent))
        for line in read_truth(path):
            run.add(line)
            read += 1
            if read % _LINES == 0:
                progress(read)
    venues: dict[str, VenueTruth] = {}
    for run in runs.values():
        run.finish(venues)
    return venues


def _openings(paths: Sequence[Path]) -> Iterator[tuple[Path, Started]]:
    for path in paths:
        first = next(read_truth(path), None)
        if isinstance(first, Started):
            yield path, first
        elif first is not None:  # None: the simulator was killed before its first line was complete
            raise ConfigError(f"{path} does not begin like a truth log")


class _Run:
    """One run of the simulator, read line by line."""

    def __init__(self, first: Started, agent: str | None) -> None:
        self._first = first
        self._agent = agent
        self._streams: dict[tuple[str, str], StreamTruth] = {}
        self._items: dict[int, tuple[tuple[str, str], Published]] = {}
        self._open: dict[int, set[tuple[str, str]]] = {}  # streams of the connections that count
        self._last: dict[int, int] = {}  # highest item known to be sent, by connection
        self._begun_us: dict[tuple[str, str], int] = {}  # first subscription of each stream in this run
        self._last_us = first.t // 1000  # of the latest line with a time

    def add(self, line: object) -> None:
        """Add the next line of the log."""
        match line:
            case BookItem() | QuoteItem() | TradeItem():
                self._item(line)
            case Sent():
                self._sent(line)
            case Opened() if self._agent is None or line.agent.startswith(self._agent):
                self._open.setdefault(line.c, set())
            case Closed():
                self._leave(line.t, self._open.pop(line.c, set()))
            case Subscribed() if line.c in self._open:
                if line.on:
                    self._begin(line)
                elif line.why is None and (line.s, line.ch) in self._open[line.c]:
                    self._open[line.c].discard((line.s, line.ch))
                    self._leave(line.t, {(line.s, line.ch)})
            case Reset():
                self._stream((line.s, "trade")).resets += 1
            case _:
                pass

    def finish(self, venues: dict[str, VenueTruth]) -> None:
        """Add this run to the truth of its venue. Runs must be finished in the order of time."""
        self._in_flight()
        self._items.clear()
        for number in list(self._open):  # the simulator was killed: its connections ended with it
            self._leave(self._last_us * 1000, self._open.pop(number))
        name, part_t = self._first.venue, self._first.part_t
        if self._first.part == 1:
            truth = venues.setdefault(name, VenueTruth(name, self._first.origin_ns // 1000, self._first.t // 1000, {}))
        else:
            # The first parts of this run are deleted, and so is all that was before them.
            since_us = part_t // 1000 + _SETTLED_US
            truth = venues[name] = VenueTruth(name, since_us, since_us, {})
        for stream, found in self._streams.items():
            known = truth.streams.setdefault(stream, StreamTruth())  # type: ignore[arg-type]
            known.items += [item for item in found.items if item.at_us >= truth.origin_us]
            known.resets += found.resets
            known.begun_us = found.begun_us if known.begun_us is None else known.begun_us
            known.joined_us += found.joined_us
            begun_us = self._begun_us.get(stream)
            if known.absent_since_us is not None and begun_us is not None:
                known.absences.append((known.absent_since_us, begun_us))
            known.absences += found.absences
            if begun_us is not None:
                known.absent_since_us = found.absent_since_us

    def _stream(self, stream: tuple[str, str]) -> StreamTruth:
        found = self._streams.get(stream)
        if found is None:
            found = self._streams[stream] = StreamTruth()
        return found

    def _item(self, line: TradeItem | QuoteItem | BookItem) -> None:
        if isinstance(line, BookItem):
            stream = (line.s, "book")
            item = Published(*_times(line), book_values(line.snap, line.bids, line.asks))
            item.sequence, item.snapshot, item.may_repeat = line.seq, line.snap, line.again
        elif isinstance(line, QuoteItem):
            stream = (line.s, "quote")
            item = Published(
                *_times(line), (line.seq, _float(line.b), _float(line.bq), _float(line.a), _float(line.aq))
            )
            item.may_repeat = line.again
        else:
            stream = (line.s, "trade")
            ts_us = line.ts // 1000
            item = Published(ts_us, ts_us, (float(line.p), float(line.q), line.side), line.id)
            item.may_repeat, item.count = line.again, line.count
            # A restarted simulator has a past that no client received, so that its REST API has pages.
            item.undelivered = line.held is not None or line.ts < self._first.t
        self._stream(stream).items.append(item)
        self._items[line.n] = (stream, item)

    def _leave(self, t_ns: int, streams: set[tuple[str, str]]) -> None:
        """Note that a connection carries these streams no longer."""
        for stream in streams:
            if stream[1] in CHANNELS and not any(stream in carried for carried in self._open.values()):
                self._stream(stream).absent_since_us = t_ns // 1000

    def _sent(self, line: Sent) -> None:
        self._last_us = max(self._last_us, line.t // 1000)
        if line.c not in self._open:
            return
        others = [carried for connection, carried in self._open.items() if connection != line.c]
        for first, last in line.n:
            self._last[line.c] = max(last, self._last.get(line.c, 0))
            for number in range(first, last + 1):
                found = self._items.get(number)
                if found is not None:
                    stream, item = found
                    item.sent += 1
                    if item.snapshot and any(stream in carried for carried in others):
                        item.may_repeat = True  # sent to a session that is being replaced: the other's book counts

    def _begin(self, line: Subscribed) -> None:
        stream = (line.s, line.ch)
        if line.ch in CHANNELS:
            truth = self._stream(stream)
            if truth.begun_us is None:
                truth.begun_us = line.t // 1000
            if any(stream in carried for connection, carried in self._open.items() if connection != line.c):
                truth.joined_us.append(line.t // 1000)
            self._begun_us.setdefault(stream, line.t // 1000)
            if truth.absent_since_us is not None:
                truth.absences.append((truth.absent_since_us, line.t // 1000))
                truth.absent_since_us = None
        self._open[line.c].add(stream)

    def _in_flight(self) -> None:
        """Mark items after the last known one of a connection that never closed: they were perhaps sent."""
        for connection, streams in self._open.items():
            last = self._last.get(connection, 0)
            for number, (stream, item) in self._items.items():
                if number > last and stream in streams:
                    item.possibly_sent += 1


def _times(line: QuoteItem | BookItem) -> tuple[int, int | None]:
    """Return when a message was made, and the venue's own time for it, in microseconds."""
    if line.ts is None:
        return line.t // 1000, None
    ts_us = line.ts // 1000
    return ts_us, ts_us


def _float(text: str | None) -> float | None:
    return None if text is None else float(text)


# The bytes that Postgres' array_send() gives for float8[n][2]: dimensions, flag for nulls, element type, then size and
# lower bound of each dimension; each number follows its length.
# https://www.postgresql.org/docs/current/sql-copy.html and src/backend/utils/adt/arrayfuncs.c, array_send.
_FLOAT8_OID = 701
_NO_LEVELS = struct.pack("!3i", 0, 0, _FLOAT8_OID)


def levels_bytes(levels: Iterable[Sequence[str | float]]) -> bytes:
    """Return the levels of one side as Postgres sends the array."""
    numbers = [float(number) for level in levels for number in level]
    count = len(numbers)
    if not count:
        return _NO_LEVELS
    cells: list[float] = [8] * (2 * count)
    cells[1::2] = numbers
    return struct.pack("!7i", 2, 0, _FLOAT8_OID, count // 2, 1, 2, 1) + struct.pack(f"!{'id' * count}", *cells)


def book_values(snapshot: bool, bids: Iterable[Sequence[str | float]], asks: Iterable[Sequence[str | float]]) -> Values:
    """Return a book message in a form to compare: its kind, and a digest of every level in the order of the message.

    A digest takes 32 bytes where the levels take kilobytes, so a long tape fits into memory.
    """
    return snapshot, sha256(levels_bytes(bids) + levels_bytes(asks)).digest()

"""CPU of the decoder of each dialect on captures of its venue, and the ratio of the dearest to the cheapest.

An event is what is stored: a trade or a quote is one; a book message is one, and one more for each of its levels. A
cost per row would call a message of one level and one of a hundred the same work, and a cost per level would leave out
what every message costs before its levels are read. Both are printed as well.

Frames are classified before anything is timed, and only the stream counts per event:

- stream: frames that bring rows;
- snapshots: full books of a dialect that sends deltas; their number depends on when a capture began;
- others: acknowledgements, heartbeats, repeats, channels that are not recorded.

What is measured is CPU time of this process, in rounds that alternate between the dialects; medians count. Captures of
a few frames are decoded by many decoders side by side, frame by frame, so that each timed stretch is long. The capture
of Polymarket is eight single messages and that of Figure 53, so their figures are rough. Figures of one invocation
compare with each other, not with those of another day; on a busy machine the ratio varies by a tenth.
"""

import gc
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
from support.venues.message_types import capture_files

from bench.measure import Figure, print_table
from recorder.cli.decode.frame_files import received
from recorder.errors import DecodeError
from recorder.events import Book, Quote, Trade
from recorder.venues import VENUES
from recorder.venues.dialects import Dialect, dialects_of, match_dialect

FRAMES_A_ROUND = 5000
FRAMES_AT_ONCE = 300
LIMIT = 2.5

Part = Literal["stream", "snapshots", "others"]
CLOCK_S = statistics.median(-(time.process_time() - time.process_time()) for _ in range(10_001))
"""The cost of reading the clock, which matters because some stretches are only ten frames long."""

PARTS: tuple[Part, ...] = ("stream", "snapshots", "others")
Frames = list[tuple[bytes, int]]
"""Frames and their receipt times."""


class Stretch(NamedTuple):
    """Consecutive frames of one part."""

    part: Part
    frames: Frames


class Load:
    """The captures of one dialect."""

    def __init__(self, dialect: Dialect, captures: Sequence[Frames]) -> None:
        self.dialect = dialect
        self.frames: Counter[Part] = Counter()
        self.rows = self.levels = self.items = 0  # of the stream; an item is a trade, a quote or a level
        self._cpu_us: dict[Part, list[float]] = {part: [] for part in PARTS}
        decoded = [self._decoded(frames) for frames in captures]
        # Where no deltas are sent, full books are the stream.
        self._deltas = any(not book.snapshot for capture in decoded for _, rows in capture for book in _books(rows))
        self._captures = [self._cut(capture) for capture in decoded if capture]  # some hold answers of REST alone

    def _decoded(self, frames: Frames) -> "DecodedFrames":
        """Return the frames that can be decoded, with the rows that they bring."""
        decoder = self.dialect.decoder()
        decoded = []
        for pair in frames:
            try:
                outputs = decoder.decode(*pair)
            except DecodeError:
                continue  # an answer of REST that no decoder reads
            decoded.append((pair, [row for row in outputs if isinstance(row, Trade | Quote | Book)]))
        return decoded

    def _cut(self, decoded: "DecodedFrames") -> list[Stretch]:
        parts = []
        for _, rows in decoded:
            books = _books(rows)
            full = self._deltas and any(book.snapshot for book in books)
            part: Part = "snapshots" if full else "stream" if rows else "others"
            parts.append(part)
            self.frames[part] += 1
            if part == "stream":
                levels = sum(len(book.bids) + len(book.asks) for book in books)
                self.rows += len(rows)
                self.levels += levels
                self.items += len(rows) - len(books) + levels
        cut = itertools.groupby(zip(parts, decoded, strict=True), key=lambda pair: pair[0])
        return [Stretch(part, [pair for _, (pair, _) in pairs]) for part, pairs in cut]

    @property
    def events(self) -> int:
        """Events of the stream."""
        return self.rows + self.levels

    def measure(self) -> None:
        """Measure one round: CPU of each part for a pass over all captures, or for several where they are short."""
        spent_us = dict.fromkeys(PARTS, 0.0)
        total = self.frames.total()
        passes = max(1, FRAMES_A_ROUND // total) if total > FRAMES_AT_ONCE else 1
        for stretches in self._captures * passes:
            side_by_side = max(1, FRAMES_AT_ONCE // sum(len(stretch.frames) for stretch in stretches))
            decoders = [self.dialect.decoder().decode for _ in range(side_by_side)]
            for part, frames in stretches:
                began_s = time.process_time()
                for decode in decoders:
                    for frame, ts_ns in frames:
                        decode(frame, ts_ns)
                spent_us[part] += (time.process_time() - began_s - CLOCK_S) / side_by_side * 1e6
        for part in PARTS:
            self._cpu_us[part].append(spent_us[part] / passes)

    def cost_us(self, *parts: Part) -> float:
        """Return the median CPU of some parts of all captures."""
        return statistics.median(map(sum, zip(*(self._cpu_us[part] for part in parts), strict=True)))


DecodedFrames = list[tuple[tuple[bytes, int], list[Trade | Quote | Book]]]


def _books(rows: Sequence[Trade | Quote | Book]) -> list[Book]:
    return [row for row in rows if isinstance(row, Book)]


def loads() -> list[Load]:
    """Return a load for each dialect that is recorded."""
    found: dict[str, tuple[Dialect, list[Frames]]] = {}
    now_ns = time.time_ns()
    for venue in sorted({kind.name for kind in VENUES.values()}):
        for file in capture_files(venue):
            frames = [(item.frame, item.ts_ns or now_ns) for item in received(file)]
            recorded = [one for one in dialects_of(venue) if one.name in VENUES]
            dialect = match_dialect(recorded, [frame for frame, _ in frames[:100]], now_ns)
            found.setdefault(dialect.name, (dialect, []))[1].append(frames)
    loads = [Load(*found[name]) for name in VENUES if name in found]
    return [load for load in loads if load.events]


class DecoderCost(msgspec.Struct):
    """Cost of one dialect, CPU microseconds."""

    dialect: str
    frames: int
    per_frame: float
    per_event: float
    per_row: float
    per_item: float  # a trade, a quote or a level
    levels_a_book: float | None
    per_snapshot: float | None
    snapshots: int
    per_other: float | None
    others: int


def measure(rounds: int) -> list[DecoderCost]:
    """Measure every dialect of which there are captures; none without captures."""
    measured = loads()
    for _ in range(rounds):
        for load in measured:
            gc.collect()
            gc.disable()
            load.measure()
            gc.enable()
    return [_cost(load) for load in measured]


def _cost(load: Load) -> DecoderCost:
    stream, books = load.cost_us("stream"), load.levels + load.rows - load.items
    frames = load.frames.total()

    def each(part: Part) -> float | None:
        return load.cost_us(part) / load.frames[part] if load.frames[part] else None

    return DecoderCost(
        load.dialect.name,
        frames,
        load.cost_us(*PARTS) / frames,
        stream / load.events,
        stream / load.rows,
        stream / load.items,
        load.levels / books if books else None,
        each("snapshots"),
        load.frames["snapshots"],
        each("others"),
        load.frames["others"],
    )


def spread(measured: list[DecoderCost]) -> Figure:
    """Return the ratio of the dearest to the cheapest dialect per event."""
    costs = [cost.per_event for cost in measured]
    return Figure("dearest decoder to cheapest, per event", max(costs) / min(costs), at_most=LIMIT)


def show(measured: list[DecoderCost]) -> None:
    """Print the costs."""
    cheapest = min(cost.per_event for cost in measured)
    columns = (
        "dialect", "frames", "frames/s", "per frame", "events/s", "per event", "ratio", "per row", "per item",
        "levels a book", "snapshots", "others",
    )  # fmt: skip
    rows = [
        (
            cost.dialect,
            f"{cost.frames:,}",
            f"{1e6 / cost.per_frame:,.0f}",
            f"{cost.per_frame:.2f}",
            f"{1e6 / cost.per_event:,.0f}",
            f"{cost.per_event:.2f}",
            f"{cost.per_event / cheapest:.2f}",
            f"{cost.per_row:.2f}",
            f"{cost.per_item:.2f}",
            "" if cost.levels_a_book is None else f"{cost.levels_a_book:.1f}",
            "" if cost.per_snapshot is None else f"{cost.per_snapshot:,.1f} x {cost.snapshots:,}",
            "" if cost.per_other is None else f"{cost.per_other:,.1f} x {cost.others:,}",
        )
        for cost in measured
    ]
    print_table("Decoders on captures: CPU microseconds", columns, rows)

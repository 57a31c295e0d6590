"""What the decoder of each dialect costs on the captures of its venue, and how far the dearest is from the cheapest.

    .venv/bin/python tests/bench/decoders.py

An event is what is stored: a trade or a quote is one; a book message is one, and one more for each of its levels. A row
alone would call a message of one level and one of a hundred the same work, a level alone would leave out what every
message costs before its levels are looked at. Both are printed as well: compare venues by the one you pay for.

Frames are told apart before they are timed, and only the stream counts per event:

- stream: frames that bring rows;
- snapshots: whole books of a dialect that sends deltas; how many a capture holds depends on when it was begun;
- others: acknowledgements, heartbeats, repeats, channels that are not recorded.

CPU time of this process, rounds interleaved over the dialects, medians. Captures of a few frames are decoded by many
sessions side by side, frame by frame, so that each timed stretch is long. Polymarket's capture is eight single messages
and Figure's are 53: their figures are rough. Figures of one invocation compare with each other, not with those of
another day; on a machine that others use the ratio moves by a tenth between invocations.
"""

import gc
import itertools
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "captures"))
from message_types import CAPTURES, capture_files

from recorder.cli.frame_files import received
from recorder.errors import DecodeError
from recorder.events import Book, Quote, Trade
from recorder.venues import VENUES
from recorder.venues.dialects import Dialect, dialects_of, spoken

ROUNDS = 21
FRAMES_A_ROUND = 5000
FRAMES_AT_ONCE = 300
LIMIT = 2.5

Part = Literal["stream", "snapshots", "others"]
CLOCK_S = statistics.median(-(time.process_time() - time.process_time()) for _ in range(10_001))
"""What it costs to read the clock: some stretches are but ten frames long."""

PARTS: tuple[Part, ...] = ("stream", "snapshots", "others")
Frames = list[tuple[bytes, int]]
"""Frames and their receipt times."""


class Stretch(NamedTuple):
    """Frames of one part that follow each other."""

    part: Part
    frames: Frames


class Load:
    """The captures of one dialect."""

    def __init__(self, dialect: Dialect, captures: Sequence[Frames]) -> None:
        self.dialect = dialect
        self.frames: Counter[Part] = Counter()
        self.rows = self.levels = self.items = 0  # of the stream; an item is a trade, a quote or a level
        self._cpu_us: dict[Part, list[float]] = {part: [] for part in PARTS}
        told = [self._told(frames) for frames in captures]
        # Where no deltas are sent the whole books are the stream.
        self._deltas = any(not book.snapshot for said in told for _, rows in said for book in _books(rows))
        self._captures = [self._cut(said) for said in told]

    def _told(self, frames: Frames) -> "Told":
        """Frames that are understood, with the rows they bring."""
        session = self.dialect.session()
        told = []
        for pair in frames:
            try:
                outputs = session.decode(*pair)
            except DecodeError:
                continue  # an answer of REST that no session reads
            told.append((pair, [row for row in outputs if isinstance(row, Trade | Quote | Book)]))
        return told

    def _cut(self, told: "Told") -> list[Stretch]:
        parts = []
        for _, rows in told:
            books = _books(rows)
            whole = self._deltas and any(book.snapshot for book in books)
            part: Part = "snapshots" if whole else "stream" if rows else "others"
            parts.append(part)
            self.frames[part] += 1
            if part == "stream":
                levels = sum(len(book.bids) + len(book.asks) for book in books)
                self.rows += len(rows)
                self.levels += levels
                self.items += len(rows) - len(books) + levels
        cut = itertools.groupby(zip(parts, told, strict=True), key=lambda pair: pair[0])
        return [Stretch(part, [pair for _, (pair, _) in pairs]) for part, pairs in cut]

    @property
    def events(self) -> int:
        """Of the stream."""
        return self.rows + self.levels

    def measure(self) -> None:
        """One round: CPU of each part, per pass over all captures; several passes where they are short."""
        spent_us = dict.fromkeys(PARTS, 0.0)
        total = self.frames.total()
        passes = max(1, FRAMES_A_ROUND // total) if total > FRAMES_AT_ONCE else 1
        for stretches in self._captures * passes:
            side_by_side = max(1, FRAMES_AT_ONCE // sum(len(stretch.frames) for stretch in stretches))
            decoders = [self.dialect.session().decode for _ in range(side_by_side)]
            for part, frames in stretches:
                began_s = time.process_time()
                for decode in decoders:
                    for frame, ts_ns in frames:
                        decode(frame, ts_ns)
                spent_us[part] += (time.process_time() - began_s - CLOCK_S) / side_by_side * 1e6
        for part in PARTS:
            self._cpu_us[part].append(spent_us[part] / passes)

    def cost_us(self, *parts: Part) -> float:
        """Median CPU of some parts of all captures."""
        return statistics.median(map(sum, zip(*(self._cpu_us[part] for part in parts), strict=True)))


Told = list[tuple[tuple[bytes, int], list[Trade | Quote | Book]]]


def _books(rows: Sequence[Trade | Quote | Book]) -> list[Book]:
    return [row for row in rows if isinstance(row, Book)]


def loads() -> list[Load]:
    """A load for each dialect that is recorded."""
    found: dict[str, tuple[Dialect, list[Frames]]] = {}
    now_ns = time.time_ns()
    for venue in sorted({kind.name for kind in VENUES.values()}):
        for file in capture_files(venue):
            taken = [(item.frame, item.ts_ns or now_ns) for item in received(file)]
            dialect = spoken(dialects_of(venue), [frame for frame, _ in taken[:100]], now_ns)
            found.setdefault(dialect.name, (dialect, []))[1].append(taken)
    return [Load(*found[name]) for name in VENUES if name in found]


def main() -> None:
    """Measure and print."""
    measured = loads()
    if not measured:
        print(f"decoders: no captures in {CAPTURES} (set TAPEDECK_DATA)")
        return
    for _ in range(ROUNDS):
        for load in measured:
            gc.collect()
            gc.disable()
            load.measure()
            gc.enable()
    per_event = {load.dialect.name: load.cost_us("stream") / load.events for load in measured}
    cheapest = min(per_event.values())
    table = Table(title="Decoders on captures: CPU in microseconds")
    for column in (
        "dialect", "frames", "frames/s", "per frame", "events/s", "per event", "ratio", "per row", "per item",
        "levels a book", "snapshots", "others",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column == "dialect" else "right")
    for load in measured:
        name = load.dialect.name
        frames, stream = sum(load.frames.values()), load.cost_us("stream")
        per_frame = load.cost_us(*PARTS) / frames
        books = load.levels + load.rows - load.items
        table.add_row(
            name,
            f"{frames:,}",
            f"{1e6 / per_frame:,.0f}",
            f"{per_frame:.2f}",
            f"{1e6 / per_event[name]:,.0f}",
            f"{per_event[name]:.2f}",
            f"{per_event[name] / cheapest:.2f}",
            f"{stream / load.rows:.2f}",
            f"{stream / load.items:.2f}",
            f"{load.levels / books:.1f}" if books else "",
            *(
                f"{load.cost_us(part) / load.frames[part]:,.1f} x {load.frames[part]:,}" if load.frames[part] else ""
                for part in ("snapshots", "others")
            ),
        )
    console = Console(width=150)
    console.print(table)
    held = max(per_event.values()) / cheapest
    console.print(f"dearest to cheapest per event: {held:.2f}; the limit is {LIMIT}")


if __name__ == "__main__":
    main()

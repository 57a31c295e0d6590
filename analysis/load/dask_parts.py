"""Split a range of an archive into parts that a cluster can read independently.

    ddf = dd.from_map(load.part, load.parts("archive", "trade", "kraken", "BTC/USD", start, end))

A part names the folder of the archive, so every worker must see the archive under the same path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from analysis.load.archive import ArchiveSource
from analysis.load.frames import Frame, To, framed, ready
from analysis.load.hours.grades import Grade
from analysis.load.missing_ranges import OnGap, find, require_complete
from analysis.load.rows import chosen, concatenated, instruments, stretches
from analysis.load.source import DAY, Instant, Range, to_instant
from analysis.load.tables import LAYOUTS, Channel


@dataclass(frozen=True, slots=True)
class Part:
    """Up to one day of rows of an archive."""

    root: str
    channel: Channel
    venue: str
    symbols: tuple[str, ...]
    start: datetime
    end: datetime
    on_gap: OnGap
    columns: tuple[str, ...]
    min_grade: Grade | None = None


def parts(
    archive: str | Path,
    channel: Channel,
    venue: str,
    symbols: str | Sequence[str],
    start: Instant,
    end: Instant,
    *,
    on_gap: OnGap = "raise",
    min_grade: Grade | None = None,
    columns: Sequence[str] | None = None,
) -> list[Part]:
    """Return one part for each day of a range; together they equal what `load` returns for the range, row for row.

    Raises:
        GapError: on_gap is "raise" and rows may be missing; raised here rather than by a worker.
        ConfigError: There is no such symbol, column or archive.
    """
    layout = next(one for one in LAYOUTS if one.name == channel)
    wanted, span = tuple(chosen(layout, columns)), Range(to_instant(start), to_instant(end))
    root = Path(archive).absolute()
    with ArchiveSource(root).reading() as reader:
        whose = instruments(reader, venue, symbols)
        if on_gap == "raise":
            require_complete(find(reader, whose, channel, span, min_grade), whose)
    names = tuple(one.symbol for one in whose)
    return [
        Part(str(root), channel, venue, names, piece.start, piece.end, on_gap, wanted, min_grade)
        for piece in span.pieces(DAY)
    ]


def part(one: Part, to: To = "pandas") -> Frame:
    """Read the rows of a part."""
    ready(to)
    layout = next(layout for layout in LAYOUTS if layout.name == one.channel)
    with ArchiveSource(Path(one.root)).reading() as reader:
        whose = instruments(reader, one.venue, one.symbols)
        span = Range(one.start, one.end)
        found = stretches(reader, layout, whose, span, one.columns, on_gap=one.on_gap, min_grade=one.min_grade)
        return framed(concatenated(found, whose, layout, one.columns, one.on_gap), to)

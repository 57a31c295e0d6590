"""An archive in parts that can be read anywhere: the unit of work of a cluster.

    ddf = dd.from_map(load.part, load.parts("archive", "trade", "kraken", "BTC/USD", start, end))

A part names its files by the archive's folder, so every worker has to see it under the same path.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from analysis.load.archive import ArchiveSource
from analysis.load.frames import Frame, To, framed
from analysis.load.holes import OnGap, missing, require_whole
from analysis.load.rows import chosen, instruments, stretches, whole
from analysis.load.source import Range
from analysis.load.tables import LAYOUTS, Channel


@dataclass(frozen=True, slots=True)
class Part:
    """Up to a day of rows."""

    root: str
    channel: Channel
    venue: str
    symbols: tuple[str, ...]
    start: datetime
    end: datetime
    on_gap: OnGap
    columns: tuple[str, ...]


def parts(
    archive: str | Path,
    channel: Channel,
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    *,
    on_gap: OnGap = "raise",
    columns: Sequence[str] | None = None,
) -> list[Part]:
    """A range of an archive, a part for each day; together they are what `load` gives of the range, row for row.

    Raises:
        GapError: on_gap is "raise" and the range is not whole: told now, not by a worker.
        ConfigError: no such symbol, column or archive.
    """
    layout = next(one for one in LAYOUTS if one.name == channel)
    wanted, span = tuple(chosen(layout, columns)), Range(start, end)
    root = Path(archive).absolute()
    with ArchiveSource(root).reading() as reader:
        whose = instruments(reader, venue, symbols)
        if on_gap == "raise":
            require_whole(missing(reader, whose, channel, span), whose)
    names = tuple(one.symbol for one in whose)
    return [
        Part(str(root), channel, venue, names, piece.start, piece.end, on_gap, wanted)
        for piece in span.pieces(timedelta(days=1))
    ]


def part(one: Part, to: To = "pandas") -> Frame:
    """The rows of a part."""
    layout = next(layout for layout in LAYOUTS if layout.name == one.channel)
    with ArchiveSource(Path(one.root)).reading() as reader:
        whose = instruments(reader, one.venue, one.symbols)
        found = stretches(reader, layout, whose, Range(one.start, one.end), one.columns, on_gap=one.on_gap)
        return framed(whole(found, whose, layout, one.columns, one.on_gap), to)

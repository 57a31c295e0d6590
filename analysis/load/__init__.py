"""The doors to the tape: rows of a time range, from Postgres or from a Parquet archive, as frames.

    from datetime import UTC, datetime
    from analysis import load

    day = datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 6, tzinfo=UTC)
    frame = load.trades(None, "kraken", "BTC/USD", *day, on_gap="mask", to="polars")

`source` is the folder of an archive, a postgresql:// address, or None for the database of the settings. Instants are
aware; a range begins with `start` and ends before `end`. Trades are bounded and sorted by the venue's clock, quotes and
books by ours. A range that is not whole raises GapError unless `on_gap` says otherwise: "mask" adds the column in_gap,
True where something may be missing; "ignore" takes the rows as they are.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa

from analysis.load import holes
from analysis.load.frames import Frame, To, framed, named
from analysis.load.holes import OnGap
from analysis.load.rows import Where, chosen, instruments, open_source, stretches, whole
from analysis.load.source import Instrument, Range, Reader, Source
from analysis.load.tables import BOOK, LAYOUTS, QUOTE, TRADE, Channel, Layout


def trades(
    source: Where,
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    *,
    on_gap: OnGap = "raise",
    to: To = "arrow",
    columns: Sequence[str] | None = None,
    progress: bool = True,
) -> Frame:
    """Trades of a range of the venue's clock, by (ts_event, trade_id).

    Args:
        source: Where from.
        venue: Where they traded.
        symbols: One or several, in the venue's spelling.
        start: First instant.
        end: First instant after.
        on_gap: What to do where something may be missing.
        to: Form of the frame.
        columns: Only these, beside venue and symbol; all unless given.
        progress: Show a bar, where the error output is a terminal.

    Raises:
        GapError: the range is not whole.
        ConfigError: no such symbol, column or source.
        StoreUnavailable: the database cannot be reached now.
    """
    return _rows(source, TRADE, venue, symbols, start, end, on_gap, to, columns, progress)


def quotes(
    source: Where,
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    *,
    on_gap: OnGap = "raise",
    to: To = "arrow",
    columns: Sequence[str] | None = None,
    progress: bool = True,
) -> Frame:
    """Best bids and asks received in a range, by (ts_recv, session_id, frame_seq). Arguments as for `trades`."""
    return _rows(source, QUOTE, venue, symbols, start, end, on_gap, to, columns, progress)


def books(
    source: Where,
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    *,
    on_gap: OnGap = "raise",
    to: To = "arrow",
    columns: Sequence[str] | None = None,
    progress: bool = True,
) -> Frame:
    """Book messages received in a range, by (ts_recv, session_id, frame_seq). Arguments as for `trades`.

    A side is a flat list of price, size, price, size, ...; `depths` makes books of them.
    """
    return _rows(source, BOOK, venue, symbols, start, end, on_gap, to, columns, progress)


def chunks(
    source: Where,
    channel: Channel,
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    *,
    on_gap: OnGap = "raise",
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """The same rows in the same order, some hours at a time: memory holds one stretch, whatever the range."""
    layout = next(one for one in LAYOUTS if one.name == channel)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        yield from stretches(reader, layout, whose, Range(start, end), chosen(layout, columns), on_gap=on_gap)


def gaps(
    source: Where,
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    *,
    channel: Channel = "trade",
    to: To = "arrow",
) -> Frame:
    """What may be missing of a channel in a range: declared gaps that are not healed, and time nobody recorded.

    `state` is open, unhealable, or unrecorded: before the first frame about an instrument, or after the latest of its
    venue.
    """
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        found = holes.missing(reader, whose, channel, Range(start, end))
        columns = [name for name in found.schema.names if name != "instrument_id"]
        return framed(named(found, whose, columns), to)


def _rows(
    source: Where,
    layout: Layout,
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    on_gap: OnGap,
    to: To,
    columns: Sequence[str] | None,
    progress: bool,
) -> Frame:
    wanted, span = chosen(layout, columns), Range(start, end)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        parts = stretches(reader, layout, whose, span, wanted, on_gap=on_gap, progress=progress)
        return framed(whole(parts, whose, layout, wanted, on_gap), to)


__all__ = [
    "Instrument",
    "OnGap",
    "Range",
    "Reader",
    "Source",
    "Where",
    "books",
    "chunks",
    "gaps",
    "open_source",
    "quotes",
    "trades",
]

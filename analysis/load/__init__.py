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
from datetime import datetime, timedelta

import pyarrow as pa

from analysis.features.moment import Tape
from analysis.load import holes, tapes, timebars, views
from analysis.load.archive import ArchiveSource
from analysis.load.frames import Frame, To, framed, named
from analysis.load.holes import OnGap
from analysis.load.parts import Part, part, parts
from analysis.load.postgres import PostgresSource
from analysis.load.rows import Where, chosen, instruments, open_source, stretches, whole
from analysis.load.source import Instrument, Range, Reader, Source
from analysis.load.tables import BOOK, LAYOUTS, QUOTE, TRADE, Channel, Layout
from analysis.snapshots.view import MarketTape


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

    Returns:
        (n, 9): venue and symbol; ts_event and ts_recv, the venue's clock and ours, UTC, us; trade_id, a hash where the
        venue's is a text (then in venue_trade_id); price in quote units, size in base units; aggressor, a category: b
        the taker bought, s sold, null where the venue does not say.

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
    """Best bids and asks received in a range, by (ts_recv, session_id, frame_seq). Arguments as for `trades`.

    Prices are in quote units, sizes in base units; what a venue does not tell (a size, ts_event, sequence) is null.
    """
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

    A side is a flat list of price, size, price, size, ...; kind is a category: s a whole book, d a change, where size 0
    removes a level. `snapshots` and `tape` make books of them.
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
    """The same rows in the same order, a piece at a time: hours of quotes and books, a day of trades, or quiet days.

    Memory holds one piece, whatever the range.
    """
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


def bars(
    source: Where,
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    timeframe: str = "1m",
    *,
    on_gap: OnGap = "raise",
    to: To = "arrow",
    progress: bool = True,
) -> Frame:
    """Time bars of a range, made of its trades, by (start, symbol); a span without a trade has no bar.

    `coverage` is the share of a bar that no gap touches, healed ones left out; with on_gap="mask", in_gap is True where
    it is less than 1.

    Args:
        source: Where from.
        venue: Where they traded.
        symbols: One or several.
        start: First instant, between two bars.
        end: First instant after, between two bars.
        timeframe: 1m, 5m, 15m, 1h, 4h or 1d.
        on_gap: What to do where trades may be missing.
        to: Form of the frame.
        progress: Show a bar, where the error output is a terminal.
    """
    span = Range(start, end)
    width_ns = timebars.width(timeframe, span)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        missing = holes.missing(reader, whose, "trade", span)
        if on_gap == "raise":
            holes.require_whole(missing, whose)
        found = timebars.bars(reader, whose, span, width_ns, missing, progress=progress)
        return framed(timebars.table(found, whose, mask=on_gap == "mask"), to)


def snapshots(
    source: Where,
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    every: timedelta,
    *,
    channels: Sequence[Channel] = ("quote", "trade"),
    levels: int = 5,
    warmup: timedelta = timedelta(minutes=5),
    on_gap: OnGap = "raise",
    to: To = "arrow",
) -> Frame:
    """What was known at each instant of a regular grid: the last rows received by then, by (ts, symbol).

    Point-in-time by ts_recv: a trade that came late is not seen before it came. Null where nothing was received since
    the warm-up began, and where an outage, healed since or not, has begun since.

    Args:
        source: Where from.
        venue: Where they trade.
        symbols: One or several.
        start: First instant of the grid.
        end: First instant after.
        every: Its step.
        channels: "quote" gives bid, bid_size, ask, ask_size and quote_age_s; "trade" last_price, last_size, last_side
            (1 the taker bought, -1 sold) and trade_age_s; "book" bid_1, bid_size_1, ... and book_age_s.
        levels: Of the book.
        warmup: How long before `start` rows are read; nothing older is.
        on_gap: What to do where one of the channels may be missing something between `start` and `end`.
        to: Form of the frame.
    """
    span = Range(start, end)
    at = views.grid(span, every)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        if on_gap == "raise":
            for channel in channels:
                holes.require_whole(holes.missing(reader, whose, channel, span), whose)
        found = {
            one: views.view(reader, one, span, at, channels=channels, levels=levels, warmup=warmup) for one in whose
        }
        return framed(views.table(found, at, mask=on_gap == "mask"), to)


def tape(
    source: Where,
    venue: str,
    symbol: str,
    start: datetime,
    end: datetime,
    *,
    warmup: timedelta = timedelta(days=21),
    book_warmup: timedelta = timedelta(hours=5),
    others: Sequence[tuple[str, str]] = (),
    leader: tuple[str, str] | None = None,
) -> Tape:
    """The tape of an instrument, for `analysis.features.compute` at decision times in a range.

    Nothing is refused for a gap: outages are handed over, and a feature is null where its window has too much of one.

    Args:
        source: Where from.
        venue: Where it trades.
        symbol: The instrument.
        start: First decision time.
        end: First instant after the last.
        warmup: How long before `start` trades are read: what the longest feature needs, unless less is asked for.
        book_warmup: The same for quotes and books; a book is known from its first snapshot on.
        others: (venue, symbol) of the same instrument elsewhere, in the same quote currency.
        leader: (venue, symbol) of the venue whose moves come first.
    """
    with open_source(source).reading() as reader:
        near = [instruments(reader, *one)[0] for one in others]
        first = instruments(reader, *leader)[0] if leader is not None else None
        whose = instruments(reader, venue, symbol)[0]
        return tapes.tape(
            reader, whose, Range(start, end), warmup=warmup, book_warmup=book_warmup, others=near, leader=first
        )


def market_tape(
    source: Where,
    venue: str,
    yes: str,
    no: str | None,
    start: datetime,
    end: datetime,
    *,
    warmup: timedelta = timedelta(days=1, minutes=11),
    interval: timedelta = timedelta(minutes=1),
) -> MarketTape:
    """The tape of a prediction market, for `analysis.snapshots.compute` at snapshots in a range.

    Args:
        source: Where from.
        venue: Where it trades.
        yes: Symbol of outcome 0.
        no: Symbol of outcome 1, whose trades are turned to YES; None leaves them out.
        start: First snapshot.
        end: First instant after the last.
        warmup: How long before `start` is read; windows that reach further back are null.
        interval: Between two books.
    """
    with open_source(source).reading() as reader:
        tokens = [instruments(reader, venue, token)[0] for token in (yes, no) if token is not None]
        other = tokens[1] if no is not None else None
        return tapes.market_tape(reader, tokens[0], other, Range(start, end), warmup=warmup, interval=interval)


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
    "ArchiveSource",
    "Frame",
    "Instrument",
    "OnGap",
    "Part",
    "PostgresSource",
    "Range",
    "Reader",
    "Source",
    "To",
    "Where",
    "bars",
    "books",
    "chunks",
    "gaps",
    "market_tape",
    "open_source",
    "part",
    "parts",
    "quotes",
    "snapshots",
    "tape",
    "trades",
]

"""The functions of `analysis.load`.

Three lines read recorded trades into pandas:

    from analysis import load

    frame = load.trades("kraken", "BTC/USD", "2026-03-05", "2026-03-06", to="pandas")

`source` is the folder of an archive, a postgresql:// address, or a Source; without it the database of the settings in
the present folder is read, which is the appliance's own. `start` and `end` are aware datetimes or ISO 8601 text, where
text without an offset is UTC; the range includes `start` and excludes `end`. Without `start` the range begins with the
first recorded instant of the instruments, and without `end` it ends with the latest frame that is stored when the
function is called: two calls without `end` may differ.

Trades are selected and sorted by the venue's clock, quotes and books by receipt. A range in which rows may be missing
raises GapError, unless `on_gap` is "mask", which adds the boolean column in_gap, or "ignore". With `min_grade`, hours
whose certificate has a lower grade, or that have none, count as ranges in which rows may be missing (`grades`).
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pyarrow as pa

from analysis.features.point_in_time import Tape
from analysis.load import missing_ranges, tapes, time_bars, views
from analysis.load.frames import Frame, To, framed, named, ready, with_masked
from analysis.load.hours import quality
from analysis.load.hours.grades import Grade, masked
from analysis.load.missing_ranges import OnGap
from analysis.load.polled import rows as polled
from analysis.load.polled import tapes as market_tapes
from analysis.load.rows import SourceLike, chosen, concatenated, instruments, open_source, stretches
from analysis.load.source import Instant, Range, recorded_range, to_instant
from analysis.load.tables import BOOK, LAYOUTS, QUOTE, TRADE, Channel, Layout
from analysis.prediction_markets.view import MarketTape


def trades(
    venue: str,
    symbols: str | Sequence[str],
    start: Instant | None = None,
    end: Instant | None = None,
    *,
    source: SourceLike = None,
    on_gap: OnGap = "raise",
    min_grade: Grade | None = None,
    to: To = "arrow",
    columns: Sequence[str] | None = None,
    progress: bool = True,
    min_quality: float | None = None,
) -> Frame:
    """Return the trades of a range of the venue's clock, by (ts_event, trade_id).

    Args:
        venue: Name of the venue, such as kraken.
        symbols: One symbol or several, in the venue's spelling.
        start: First instant; without it, the first recorded one.
        end: First instant after the range; without it, the end of the recording.
        source: Archive, address or Source; without it, the database of the settings.
        on_gap: What to do where rows may be missing.
        min_grade: Least grade of an hour: proved, witnessed, consistent or claimed; without it, grades do not count.
            The ranges that are masked because of it are in `frames.masked_of`.
        to: Form of the frame: arrow, pandas or polars.
        columns: Columns besides venue and symbol; all when not given.
        progress: Show a progress bar when the error output is a terminal.
        min_quality: Hours with a lower score of quality count as gaps, 0 to 1 (`quality_hour`).

    Returns:
        (n, 9) frame: venue and symbol; ts_event and ts_recv, the venue's clock and ours, UTC, us; trade_id, a hash
        where the venue's id is text (then in venue_trade_id); price in quote units, size in base units; aggressor, a
        category: b when the taker bought, s when it sold, null when the venue does not say.

    Raises:
        GapError: Rows may be missing and `on_gap` is "raise".
        InvalidRange: `start` or `end` cannot be used.
        ConfigError: There is no such symbol, column or source.
        StoreUnavailable: The database cannot be reached now.
    """
    source = quality.strict(source, min_quality)
    return _rows(source, TRADE, venue, symbols, start, end, on_gap, min_grade, to, columns, progress)


def quotes(
    venue: str,
    symbols: str | Sequence[str],
    start: Instant | None = None,
    end: Instant | None = None,
    *,
    source: SourceLike = None,
    on_gap: OnGap = "raise",
    min_grade: Grade | None = None,
    to: To = "arrow",
    columns: Sequence[str] | None = None,
    progress: bool = True,
) -> Frame:
    """Return the best bids and asks received in a range, by (ts_recv, session_id, frame_seq).

    Arguments and errors are those of `trades`.

    Returns:
        (n, 11) frame: venue, symbol, ts_recv, ts_event, session_id, frame_seq, sequence, bid, bid_size, ask, ask_size.
        Prices are in quote units, sizes in base units; a value that the venue does not send is null.
    """
    return _rows(source, QUOTE, venue, symbols, start, end, on_gap, min_grade, to, columns, progress)


def books(
    venue: str,
    symbols: str | Sequence[str],
    start: Instant | None = None,
    end: Instant | None = None,
    *,
    source: SourceLike = None,
    on_gap: OnGap = "raise",
    min_grade: Grade | None = None,
    to: To = "arrow",
    columns: Sequence[str] | None = None,
    progress: bool = True,
) -> Frame:
    """Return the book messages received in a range, by (ts_recv, session_id, frame_seq).

    Arguments and errors are those of `trades`. `snapshots` and `tape` rebuild books from these messages.

    Returns:
        (n, 10) frame: venue, symbol, ts_recv, ts_event, session_id, frame_seq, kind, sequence, bids, asks. `kind` is a
        category: s for a snapshot, d for a delta, in which size 0 removes a level. A side is a flat list: price, size,
        price, size, ...
    """
    return _rows(source, BOOK, venue, symbols, start, end, on_gap, min_grade, to, columns, progress)


def chunks(
    channel: Channel,
    venue: str,
    symbols: str | Sequence[str],
    start: Instant | None = None,
    end: Instant | None = None,
    *,
    source: SourceLike = None,
    on_gap: OnGap = "raise",
    min_grade: Grade | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield the rows of a range piece by piece, so that memory holds one piece at a time.

    A piece is one hour of books, six hours of quotes, or a day of trades; an archive joins quiet days. Together the
    pieces equal the table that `trades`, `quotes` or `books` returns. Errors are those of `trades`.

    Args:
        channel: trade, quote or book.
        venue: Name of the venue.
        symbols: One symbol or several.
        start: First instant.
        end: First instant after the range.
        source: As for `trades`.
        on_gap: What to do where rows may be missing.
        min_grade: As for `trades`.
        columns: Columns besides venue and symbol.
    """
    layout = next(one for one in LAYOUTS if one.name == channel)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        span = recorded_range(reader, whose, start, end)
        yield from stretches(reader, layout, whose, span, chosen(layout, columns), on_gap=on_gap, min_grade=min_grade)


def gaps(
    venue: str,
    symbols: str | Sequence[str],
    start: Instant | None = None,
    end: Instant | None = None,
    *,
    channel: Channel = "trade",
    source: SourceLike = None,
    min_grade: Grade | None = None,
    to: To = "arrow",
) -> Frame:
    """Return the ranges in which rows of a channel may be missing.

    Args:
        venue: Name of the venue.
        symbols: One symbol or several.
        start: First instant.
        end: First instant after the range.
        channel: trade, quote or book.
        source: As for `trades`.
        min_grade: As for `trades`.
        to: Form of the frame.

    Returns:
        Rows of the table `gap` that are not healed, with venue and symbol. `state` is open, unhealable, below_grade, or
        unrecorded: before the first frame about an instrument, or after the latest frame of its venue.
    """
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        found = missing_ranges.find(reader, whose, channel, recorded_range(reader, whose, start, end), min_grade)
        columns = [name for name in found.schema.names if name != "instrument_id"]
        return framed(named(found, whose, columns), to)


def bars(
    venue: str,
    symbols: str | Sequence[str],
    start: Instant | None = None,
    end: Instant | None = None,
    timeframe: str = "1m",
    *,
    source: SourceLike = None,
    on_gap: OnGap = "raise",
    min_grade: Grade | None = None,
    to: To = "arrow",
    progress: bool = True,
    min_quality: float | None = None,
) -> Frame:
    """Return time bars computed from the trades of a range, by (start, symbol); a span without a trade has no bar.

    Args:
        venue: Name of the venue.
        symbols: One symbol or several.
        start: First instant, on a border between two bars; without it, the first bar that was recorded completely.
        end: First instant after the range, on a border; without it, the end of the last complete bar.
        timeframe: 1m, 5m, 15m, 1h, 4h or 1d.
        source: As for `trades`.
        on_gap: What to do where trades may be missing.
        min_grade: As for `trades`; an hour below it reduces the coverage of its bars to 0.
        to: Form of the frame.
        progress: Show a progress bar when the error output is a terminal.
        min_quality: Hours with a lower score of quality count as gaps, 0 to 1 (`quality_hour`).

    Returns:
        One row a bar with the columns of `analysis.bars.Bars`. `coverage` is the fraction of the bar outside every gap
        that is not healed; with on_gap="mask", in_gap is True where it is below 1.

    Raises:
        ConfigError: There is no such timeframe, or `start` or `end` cuts a bar.
        GapError: Trades may be missing and `on_gap` is "raise".
    """
    ready(to)
    width_ns = time_bars.width(timeframe)
    source = quality.strict(source, min_quality)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        span = recorded_range(reader, whose, start, end, timedelta(microseconds=width_ns // 1000))
        time_bars.require_borders(timeframe, span)
        missing = missing_ranges.find(reader, whose, "trade", span, min_grade)
        if on_gap == "raise":
            missing_ranges.require_complete(missing, whose)
        found = time_bars.bars(reader, whose, span, width_ns, missing, progress=progress)
        table = time_bars.table(found, whose, mask=on_gap == "mask")
        return framed(with_masked(table, masked(reader, missing, whose, "trade", min_grade)), to)


def snapshots(
    venue: str,
    symbols: str | Sequence[str],
    start: Instant,
    end: Instant,
    every: timedelta,
    *,
    channels: Sequence[Channel] = ("quote", "trade"),
    levels: int = 5,
    warmup: timedelta = timedelta(minutes=5),
    source: SourceLike = None,
    on_gap: OnGap = "raise",
    min_grade: Grade | None = None,
    to: To = "arrow",
) -> Frame:
    """Return what was known at each instant of a regular grid: the last rows received by then, by (ts, symbol).

    The view is point-in-time by ts_recv: a late trade appears from its receipt on. A value is null when nothing was
    received since the warm-up began, or when an outage, healed since or not, began after its receipt.

    Args:
        venue: Name of the venue.
        symbols: One symbol or several.
        start: First instant of the grid.
        end: First instant after the grid.
        every: Step of the grid.
        channels: "quote" gives bid, bid_size, ask, ask_size and quote_age_s; "trade" last_price, last_size, last_side
            (1 when the taker bought, -1 when it sold) and trade_age_s; "book" bid_1, bid_size_1, ... and book_age_s.
        levels: Levels of each side of the book.
        warmup: How long before `start` rows are read; older rows are not.
        source: As for `trades`.
        on_gap: What to do where rows of one of the channels may be missing.
        min_grade: As for `trades`, of each channel.
        to: Form of the frame.
    """
    ready(to)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        span = recorded_range(reader, whose, start, end)
        at = views.grid(span, every)
        if on_gap == "raise":
            for channel in channels:
                missing_ranges.require_complete(missing_ranges.find(reader, whose, channel, span, min_grade), whose)
        asked = views.Asked(channels, levels, warmup, min_grade)
        found = {one: views.view(reader, one, span, at, asked) for one in whose}
        return framed(views.table(found, at, mask=on_gap == "mask"), to)


def tape(
    venue: str,
    symbol: str,
    start: Instant,
    end: Instant,
    *,
    source: SourceLike = None,
    warmup: timedelta = timedelta(days=21),
    book_warmup: timedelta = timedelta(hours=5),
    others: Sequence[tuple[str, str]] = (),
    leader: tuple[str, str] | None = None,
    min_grade: Grade | None = None,
    min_quality: float | None = None,
) -> Tape:
    """Return everything recorded of an instrument, for `analysis.features.compute` at decision times in a range.

    Gaps do not raise: they are part of the result, and a feature is null where its window has too much of one.

    Args:
        venue: Name of the venue.
        symbol: Symbol of the instrument.
        start: First decision time.
        end: First instant after the last decision time.
        source: As for `trades`.
        warmup: How long before `start` trades are read; the default is what the longest feature needs.
        book_warmup: The same for quotes and books; a book is known from its first snapshot on.
        others: (venue, symbol) of the same instrument on other venues, in the same quote currency.
        leader: (venue, symbol) of the venue that tends to move first.
        min_grade: As for `trades`, of each channel; hours below it are gaps of the tape, and `masked` has them.
        min_quality: Hours with a lower score of quality count as gaps, 0 to 1 (`quality_hour`).
    """
    source = quality.strict(source, min_quality)
    with open_source(source).reading() as reader:
        near = [instruments(reader, *one)[0] for one in others]
        first = instruments(reader, *leader)[0] if leader is not None else None
        whose = instruments(reader, venue, symbol)[0]
        span = recorded_range(reader, [whose], start, end)
        return tapes.tape(
            reader, whose, span, warmup=warmup, book_warmup=book_warmup, others=near, leader=first, min_grade=min_grade
        )


def market_tape(
    venue: str,
    yes: str,
    no: str | None,
    start: Instant,
    end: Instant,
    *,
    source: SourceLike = None,
    warmup: timedelta = timedelta(days=1, minutes=11),
    interval: timedelta = timedelta(minutes=1),
    min_grade: Grade | None = None,
) -> MarketTape:
    """Return everything recorded of a prediction market, for `analysis.prediction_markets.compute` in a range.

    Args:
        venue: Name of the venue.
        yes: Symbol of outcome 0.
        no: Symbol of outcome 1, whose trades are converted to YES; None leaves them out.
        start: First snapshot.
        end: First instant after the last snapshot.
        source: As for `trades`.
        warmup: How long before `start` rows are read; a feature with a longer window is null.
        interval: Time between two books.
        min_grade: As for `tape`.
    """
    with open_source(source).reading() as reader:
        tokens = [instruments(reader, venue, token)[0] for token in (yes, no) if token is not None]
        other = tokens[1] if no is not None else None
        span = recorded_range(reader, tokens, start, end)
        return tapes.market_tape(reader, tokens[0], other, span, warmup=warmup, interval=interval, min_grade=min_grade)


def recorded_market(
    market_id: int,
    start: Instant,
    end: Instant,
    *,
    source: SourceLike = None,
    warmup: timedelta = timedelta(days=1, hours=1),
    min_grade: Grade | None = None,
) -> MarketTape:
    """Return everything that poller and recorder stored of a market, for `analysis.prediction_markets.compute`.

    Unlike `market_tape`, it has the listing and the event, and it needs no stream: without one, features of the flow
    are null.

    Args:
        market_id: The market, as `markets` names it.
        start: First snapshot.
        end: First instant after the last snapshot.
        source: A database, as for `trades`.
        warmup: How long before `start` rows are read; a feature with a longer window is null.
        min_grade: As for `tape`, of the streams; snapshots are not graded.
    """
    with open_source(source).reading() as reader:
        span = Range(to_instant(start), to_instant(end))
        return market_tapes.market_tape(reader, market_id, span, warmup=warmup, min_grade=min_grade)


def markets(*, source: SourceLike = None, to: To = "arrow") -> Frame:
    """Return the prediction markets that are known, in their newest state, by market_id.

    Args:
        source: A database, as for `trades`.
        to: Form of the frame.

    Returns:
        Columns of the table `market`. What changed in the life of a market stands in `market_history`; a feature must
        not use closed_at, phase, or the volume of this frame, which were not known before the end.

    Raises:
        ConfigError: The source is an archive.
    """
    with open_source(source).reading() as reader:
        return framed(polled.markets(reader), to)


def resolutions(
    start: Instant | None = None, end: Instant | None = None, *, source: SourceLike = None, to: To = "arrow"
) -> Frame:
    """Return how markets ended, by the time at which it became known.

    Args:
        start: First instant of known_at; all resolutions without it.
        end: First instant after the range; without it, all later ones.
        source: A database, as for `trades`.
        to: Form of the frame.

    Returns:
        `payout` is what a share of outcome 0 is worth: 1, 0, or a split such as 0.5, which is no label.

    Raises:
        ConfigError: The source is an archive.
    """
    with open_source(source).reading() as reader:
        span = Range(to_instant(start or "2009-01-01"), to_instant(end or "2200-01-01"))
        return framed(polled.resolutions(reader, span), to)


def market_snapshots(
    market_ids: int | Sequence[int] | None,
    start: Instant,
    end: Instant,
    *,
    source: SourceLike = None,
    to: To = "arrow",
    columns: Sequence[str] | None = None,
) -> Frame:
    """Return the snapshots that the poller received in a range, by (ts_recv, market_id).

    Args:
        market_ids: One market or several; None for all.
        start: First instant, of receipt.
        end: First instant after the range.
        source: A database, as for `trades`.
        to: Form of the frame.
        columns: Columns; all when not given.

    Returns:
        Columns of the table `market_snapshot`: prices are probabilities of outcome 0, sizes are shares.

    Raises:
        ConfigError: The source is an archive, or there is no such column.
    """
    ids = [market_ids] if isinstance(market_ids, int) else market_ids
    with open_source(source).reading() as reader:
        span = Range(to_instant(start), to_instant(end))
        return framed(polled.snapshots(reader, ids, span, columns or polled.SNAPSHOT_COLUMNS), to)


def _rows(
    source: SourceLike,
    layout: Layout,
    venue: str,
    symbols: str | Sequence[str],
    start: Instant | None,
    end: Instant | None,
    on_gap: OnGap,
    min_grade: Grade | None,
    to: To,
    columns: Sequence[str] | None,
    progress: bool,
) -> Frame:
    ready(to)
    wanted = chosen(layout, columns)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        span = recorded_range(reader, whose, start, end)
        parts = stretches(reader, layout, whose, span, wanted, on_gap=on_gap, min_grade=min_grade, progress=progress)
        return framed(concatenated(parts, whose, layout, wanted, on_gap), to)

"""Build tapes for features: everything stored of an instrument, with both clocks and every outage.

Features see what was known at the time, so outages are measured by receipt and include healed ones. Each feature
decides whether its window has too much of an outage, so gaps do not raise here.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import Depths, Gaps, Quotes, Trades
from analysis.features.point_in_time import ReceiptIndex, Tape
from analysis.load import missing_ranges
from analysis.load.book_builder import books_at, depths
from analysis.load.frames import nanoseconds, quotes_of, trades_of
from analysis.load.hours import grades
from analysis.load.hours.grades import Grade
from analysis.load.rows import ordered_rows
from analysis.load.source import US, Instrument, Range, Reader, to_ns
from analysis.load.tables import BOOK, GAP, QUOTE, TRADE, Channel
from analysis.prediction_markets.view import Fills, MarketBook, MarketTape, Mids, converted_to_yes
from recorder.identity import stable_hash64
from recorder.venues import VENUES
from recorder.venues.orderbook import uncut

_LAYOUTS = {layout.name: layout for layout in (TRADE, QUOTE, BOOK)}
_TRADE_COLUMNS = ("ts_event", "ts_recv", "trade_id", "price", "size", "aggressor")
_QUOTE_COLUMNS = ("ts_event", "ts_recv", "bid", "bid_size", "ask", "ask_size")
_BOOK_COLUMNS = ("ts_event", "ts_recv", "session_id", "kind", "bids", "asks")


def outages(
    reader: Reader, one: Instrument, channels: Sequence[Channel], span: Range, min_grade: Grade | None = None
) -> Gaps:
    """Return when a channel was not recorded, by receipt: gaps in any state, and time outside the recording.

    Hours with a grade below `min_grade` are outages too.
    """
    found = reader.gaps([one], span)
    declared = found.filter(pc.is_in(found["channel"], pa.array(list(channels))))
    absent = missing_ranges.find(reader, [one], channels[0], span)
    absent = absent.filter(pc.equal(absent["state"], missing_ranges.UNRECORDED))
    low = [row for name in channels for row in low_hours(reader, one, name, span, min_grade)]
    together = pa.concat_tables([declared, absent, pa.Table.from_pylist(low, GAP)])
    return missing_ranges.spans_by_receipt(together).merged()


def low_hours(
    reader: Reader, one: Instrument, channel: Channel, span: Range, min_grade: Grade | None
) -> list[dict[str, Any]]:
    """Return rows of GAP for the hours of a channel whose grade is too low; none without a minimum."""
    return [] if min_grade is None else grades.below(reader, [one], channel, span, min_grade)


def masked(
    reader: Reader, one: Instrument, channels: Sequence[Channel], span: Range, min_grade: Grade | None
) -> tuple[str, ...]:
    """Return one line for each range of some channels that was masked because of its grade (`grades.masked`)."""
    lines: list[str] = []
    for name in channels if min_grade is not None else ():
        table = pa.Table.from_pylist(low_hours(reader, one, name, span, min_grade), GAP)
        lines += grades.masked(reader, table, [one], name, min_grade)
    return tuple(lines)


def rows_of(reader: Reader, one: Instrument, channel: Channel, span: Range, columns: Sequence[str]) -> list[pa.Table]:
    """Return the rows of one channel, in order."""
    return list(ordered_rows(reader, _LAYOUTS[channel], [one], span, columns))


def trades(reader: Reader, one: Instrument, span: Range) -> Trades:
    """Return the trades of an instrument."""
    return Trades.empty().then(*(trades_of(table) for table in rows_of(reader, one, "trade", span, _TRADE_COLUMNS)))


def quotes(reader: Reader, one: Instrument, span: Range) -> Quotes:
    """Return the quotes of an instrument."""
    return Quotes.empty().then(*(quotes_of(table) for table in rows_of(reader, one, "quote", span, _QUOTE_COLUMNS)))


def book_levels(reader: Reader, one: Instrument, span: Range, levels: int, min_grade: Grade | None = None) -> Depths:
    """Return the top levels of an instrument's book, from the first snapshot in the range on."""
    tables = ordered_rows(reader, BOOK, [one], span, _BOOK_COLUMNS)
    venue = VENUES.get(one.venue)
    cut_depth = venue.cut_depth if venue is not None else uncut
    return depths(tables, levels, outages(reader, one, ["book"], span, min_grade), cut_depth)


def tape(
    reader: Reader,
    one: Instrument,
    span: Range,
    *,
    warmup: timedelta,
    book_warmup: timedelta,
    others: Sequence[Instrument] = (),
    leader: Instrument | None = None,
    levels: int = 10,
    min_grade: Grade | None = None,
) -> Tape:
    """Return the tape of an instrument for features in a range.

    Args:
        reader: Open source.
        one: The instrument.
        span: Range of the decision times.
        warmup: How long before the range trades are read.
        book_warmup: The same for quotes and books; a book is known from its first snapshot on.
        others: The same instrument on other venues.
        leader: The venue that tends to move first.
        levels: Levels of each side of the book.
        min_grade: Hours with a lower grade are gaps.
    """
    early, late = Range(span.start - warmup, span.end), Range(span.start - book_warmup, span.end)
    found = trades(reader, one, early), quotes(reader, one, late), book_levels(reader, one, late, levels, min_grade)

    def elsewhere(other: Instrument) -> ReceiptIndex[Quotes]:
        return ReceiptIndex(quotes(reader, other, late), outages(reader, other, ["quote"], late, min_grade))

    held: list[Channel] = [name for name, rows in zip(_LAYOUTS, found, strict=True) if len(rows)]
    return Tape(
        ReceiptIndex(found[0]),
        ReceiptIndex(found[1]),
        ReceiptIndex(found[2]),
        # An empty channel has null features anyway; its outage must not null the features of the others.
        outages(reader, one, held or ["trade"], early, min_grade),
        others=[elsewhere(other) for other in others],
        leader=None if leader is None else elsewhere(leader),
        masked=masked(reader, one, held or ["trade"], early, min_grade),
    )


def market_tape(
    reader: Reader,
    yes: Instrument,
    no: Instrument | None,
    span: Range,
    *,
    warmup: timedelta,
    interval: timedelta,
    min_grade: Grade | None = None,
) -> MarketTape:
    """Return what the stream of a prediction market sent: its book and mid at every interval, its fills, its changes.

    Features of the listing and of the event are null: they come from REST polls (`market_tapes`).

    Args:
        reader: Open source.
        yes: Token of outcome 0.
        no: Token of outcome 1, whose trades are converted to YES; None leaves them out.
        span: Range of the snapshots.
        warmup: How long before the range rows are read; longer windows are null.
        interval: Time between two books.
        min_grade: Hours with a lower grade are gaps.
    """
    early = Range(span.start - warmup, span.end)
    begin, step = early.start_ns, interval // US * 1000
    at = np.arange(-(-begin // step) * step, early.end_ns, step, dtype=np.int64)
    tables = rows_of(reader, yes, "book", early, _BOOK_COLUMNS)
    missing = outages(reader, yes, ["book"], early, min_grade)
    books = books_at(tables, at, missing)
    found = flow(reader, yes, no, early, book_tables=tables, min_grade=min_grade)
    return replace(found, books=books, mids=ReceiptIndex(_mids(books)), book_gaps=missing, interval_ns=step)


def flow(
    reader: Reader,
    yes: Instrument,
    no: Instrument | None,
    span: Range,
    *,
    book_tables: Sequence[pa.Table] | None = None,
    min_grade: Grade | None = None,
) -> MarketTape:
    """Return the trades of both tokens and the changes of the book that the stream sent, without the books.

    Args:
        reader: Open source.
        yes: Token of outcome 0.
        no: Token of outcome 1; None leaves its trades out.
        span: Range of receipt.
        book_tables: Book messages of outcome 0 in the range, where they have been read already.
        min_grade: Hours with a lower grade are gaps.
    """
    tables = rows_of(reader, yes, "book", span, ("ts_recv", "kind")) if book_tables is None else book_tables
    changes = [nanoseconds(table.filter(pc.equal(table["kind"], "d"))["ts_recv"]) for table in tables]
    tokens = [one for one in (yes, no) if one is not None]
    fills = [_fills(reader, one, span, on_no=one is not yes) for one in tokens]
    channels: dict[Instrument, list[Channel]] = {one: ["trade", "book"] if one is yes else ["trade"] for one in tokens}
    lost = [outages(reader, one, names, span, min_grade) for one, names in channels.items()]
    lines = [masked(reader, one, names, span, min_grade) for one, names in channels.items()]
    return MarketTape(
        fills=ReceiptIndex(Fills.empty().then(*fills)),
        book_changes=np.concatenate([np.zeros(0, np.int64), *changes]),
        gaps=Gaps.empty().then(*lost).merged(),
        subscribed_ns=max(span.start_ns, to_ns(yes.first_seen)),
        masked=tuple(chain.from_iterable(lines)),
    )


def _mids(books: Sequence[MarketBook]) -> Mids:
    """Return the middle of each book that has two sides."""
    both = [book for book in books if len(book.bid) and len(book.ask)]
    at = np.array([book.ts_recv for book in both], np.int64)
    return Mids(at, at, np.array([(book.bid[0] + book.ask[0]) / 2 for book in both], np.float64))


def _fills(reader: Reader, one: Instrument, span: Range, *, on_no: bool) -> Fills:
    parts = []
    for table in rows_of(reader, one, "trade", span, (*_TRADE_COLUMNS, "venue_trade_id")):
        rows = trades_of(table)
        # A print without a transaction hash counts as a transaction of its own.
        text = pc.coalesce(table["venue_trade_id"], table["trade_id"].cast(pa.string()))
        transaction = np.array([stable_hash64(word) for word in text.to_pylist()], np.int64)
        wallet = np.full(len(rows), -1)
        fills = Fills(rows.ts_event, rows.ts_recv, rows.price, rows.size, rows.side, transaction, wallet)
        parts.append(converted_to_yes(fills, np.full(len(rows), on_no)))
    return Fills.empty().then(*parts)

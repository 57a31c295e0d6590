"""Tapes, as features read them: everything stored of an instrument, with both clocks and every outage.

Features know what was known: so outages are by our clock, and healed ones are among them. Whether a window has too
much of an outage is for each feature to say, so nothing is refused here.
"""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import Depths, Gaps, Quotes, Trades
from analysis.features.moment import Arrivals, Tape
from analysis.load import holes
from analysis.load.depth import books_at, depths
from analysis.load.frames import nanoseconds, quotes_of, trades_of
from analysis.load.rows import ordered_rows
from analysis.load.source import US, Instrument, Range, Reader
from analysis.load.tables import BOOK, QUOTE, TRADE, Channel
from analysis.snapshots.view import Fills, MarketBook, MarketTape, Mids, turned_to_yes
from recorder.instruments import stable_hash64

_LAYOUTS = {layout.name: layout for layout in (TRADE, QUOTE, BOOK)}
_TRADE_COLUMNS = ("ts_event", "ts_recv", "trade_id", "price", "size", "aggressor")
_QUOTE_COLUMNS = ("ts_event", "ts_recv", "bid", "bid_size", "ask", "ask_size")
_BOOK_COLUMNS = ("ts_event", "ts_recv", "session_id", "kind", "bids", "asks")


def outages(reader: Reader, one: Instrument, channels: Sequence[Channel], span: Range) -> Gaps:
    """When a channel of an instrument was not recorded, by our clock: gaps in any state, and time before and after."""
    found = reader.gaps([one], span)
    declared = found.filter(pc.is_in(found["channel"], pa.array(list(channels))))
    absent = holes.missing(reader, [one], channels[0], span)
    absent = absent.filter(pc.equal(absent["state"], holes.UNRECORDED))
    return holes.outages(pa.concat_tables([declared, absent])).merged()


def rows_of(reader: Reader, one: Instrument, channel: Channel, span: Range, columns: Sequence[str]) -> list[pa.Table]:
    """The rows of one channel, in order."""
    return list(ordered_rows(reader, _LAYOUTS[channel], [one], span, columns))


def trades(reader: Reader, one: Instrument, span: Range) -> Trades:
    """Trades of an instrument."""
    return Trades.none().then(*(trades_of(table) for table in rows_of(reader, one, "trade", span, _TRADE_COLUMNS)))


def quotes(reader: Reader, one: Instrument, span: Range) -> Quotes:
    """Quotes of an instrument."""
    return Quotes.none().then(*(quotes_of(table) for table in rows_of(reader, one, "quote", span, _QUOTE_COLUMNS)))


def book_levels(reader: Reader, one: Instrument, span: Range, levels: int) -> Depths:
    """Top levels of the book of an instrument, from the first snapshot in the range on."""
    tables = ordered_rows(reader, BOOK, [one], span, _BOOK_COLUMNS)
    return depths(tables, levels, outages(reader, one, ["book"], span))


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
) -> Tape:
    """The tape of an instrument for features in a range.

    Args:
        reader: Where from.
        one: The instrument.
        span: Of the decision times.
        warmup: How long before it trades are read.
        book_warmup: The same for quotes and books; a book is known from its first snapshot on.
        others: The same instrument on other venues.
        leader: The venue whose moves come first.
        levels: Of the book.
    """
    early, late = Range(span.start - warmup, span.end), Range(span.start - book_warmup, span.end)
    found = trades(reader, one, early), quotes(reader, one, late), book_levels(reader, one, late, levels)
    held: list[Channel] = [name for name, rows in zip(_LAYOUTS, found, strict=True) if len(rows)]
    return Tape(
        Arrivals(found[0]),
        Arrivals(found[1]),
        Arrivals(found[2]),
        # A channel that gave nothing has null features anyway; its outage must not null those of the others.
        outages(reader, one, held or ["trade"], early),
        others=[Arrivals(quotes(reader, other, late)) for other in others],
        leader=None if leader is None else Arrivals(quotes(reader, leader, late)),
    )


def market_tape(
    reader: Reader, yes: Instrument, no: Instrument | None, span: Range, *, warmup: timedelta, interval: timedelta
) -> MarketTape:
    """What the stream of a prediction market told: its book and mid at every interval, its fills, its changes.

    What polls tell (listings, events, wallets) is not on the tape: the features of it are null.

    Args:
        reader: Where from.
        yes: Token of outcome 0.
        no: Token of outcome 1, whose trades are turned to YES; None leaves them out.
        span: Of the snapshots.
        warmup: How long before it is read; windows that reach further back are null.
        interval: Between two books.
    """
    early = Range(span.start - warmup, span.end)
    begin, step = holes.nanoseconds(early.start), interval // US * 1000
    at = np.arange(-(-begin // step) * step, holes.nanoseconds(early.end), step, dtype=np.int64)
    tables = rows_of(reader, yes, "book", early, _BOOK_COLUMNS)
    books = books_at(tables, at, outages(reader, yes, ["book"], early))
    changes = [nanoseconds(table.filter(pc.equal(table["kind"], "d"))["ts_recv"]) for table in tables]
    fills = [_fills(reader, one, early, on_no=one is not yes) for one in (yes, no) if one is not None]
    return MarketTape(
        books=books,
        fills=Arrivals(Fills.none().then(*fills)),
        book_changes=np.concatenate([np.zeros(0, np.int64), *changes]),
        mids=Arrivals(_mids(books)),
        gaps=outages(reader, yes, ["trade", "book"], early),
        subscribed_ns=max(begin, holes.nanoseconds(yes.first_seen)),
        interval_ns=step,
    )


def _mids(books: Sequence[MarketBook]) -> Mids:
    """Middle of each book that has two sides."""
    both = [book for book in books if len(book.bid) and len(book.ask)]
    at = np.array([book.ts_recv for book in both], np.int64)
    return Mids(at, at, np.array([(book.bid[0] + book.ask[0]) / 2 for book in both], np.float64))


def _fills(reader: Reader, one: Instrument, span: Range, *, on_no: bool) -> Fills:
    parts = []
    for table in rows_of(reader, one, "trade", span, (*_TRADE_COLUMNS, "venue_trade_id")):
        rows = trades_of(table)
        # A print without a hash of its transaction is one of its own.
        text = pc.coalesce(table["venue_trade_id"], table["trade_id"].cast(pa.string()))
        transaction = np.array([stable_hash64(word) for word in text.to_pylist()], np.int64)
        wallet = np.full(len(rows), -1)
        fills = Fills(rows.ts_event, rows.ts_recv, rows.price, rows.size, rows.side, transaction, wallet)
        parts.append(turned_to_yes(fills, np.full(len(rows), on_no)))
    return Fills.none().then(*parts)

"""Rebuild books from book messages: the top levels after each message, or the full book at given instants."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import Depths, Floats, Gaps, Ints
from analysis.gap_policy import complete
from analysis.load.frames import nanoseconds
from analysis.prediction_markets.view import MarketBook
from recorder.venues.orderbook import CutDepth, Sides, uncut

Levels = list[tuple[float, float]]


class Message(NamedTuple):
    """One row of the table book."""

    ts_recv: int
    ts_event: int
    session_id: int
    snapshot: bool
    bids: Levels
    asks: Levels


class Book(NamedTuple):
    """Both sides of a book; the next message changes them in place."""

    ts_recv: int
    sides: Sides


class BookBuilder:
    """Keep the book of one instrument, apart for each session, because planned reconnects overlap.

    After a gap the book is unknown until the next snapshot: a delta applied to a stale book gives a book that never
    existed.
    """

    def __init__(self, gaps: Gaps, cut_depth: CutDepth = uncut) -> None:
        """
        Args:
            gaps: Spans of receipt in which the stream was not recorded.
            cut_depth: See `Venue.cut_depth`: without the cut, levels that left the book would come back.
        """
        self._gaps = gaps.merged()
        self._cut_depth = cut_depth
        self._next = 0
        self._books: dict[int, Sides] = {}

    def apply(self, message: Message) -> Book | None:
        """Return the book after a message; None while no snapshot precedes it."""
        while self._next < len(self._gaps) and self._gaps.start[self._next] < message.ts_recv:
            self._books.clear()
            self._next += 1
        if message.snapshot:
            self._books[message.session_id] = Sides(message.bids, message.asks, self._cut_depth)
        elif message.session_id not in self._books:
            return None
        else:
            self._books[message.session_id].apply(message.bids, message.asks)
        return Book(message.ts_recv, self._books[message.session_id])


def depths(tables: Iterable[pa.Table], levels: int, gaps: Gaps, cut_depth: CutDepth = uncut) -> Depths:
    """Return the top levels after each message.

    Args:
        tables: Book rows of one instrument, in order.
        levels: Levels of each side.
        gaps: Spans of receipt in which the stream was not recorded.
        cut_depth: See `Venue.cut_depth`.
    """
    builder = BookBuilder(gaps, cut_depth)
    return Depths.empty(levels).then(*(_depths(builder, table, levels) for table in tables))


def _depths(builder: BookBuilder, table: pa.Table, levels: int) -> Depths:
    out = np.full((4, table.num_rows, levels), np.nan)
    times = np.zeros((2, table.num_rows), np.int64)
    row = 0
    for message in messages(table):
        book = builder.apply(message)
        if book is None:
            continue
        sides = book.sides
        bids, asks = sides.bids.prices[: -levels - 1 : -1], sides.asks.prices[:levels]
        out[0, row, : len(bids)], out[2, row, : len(asks)] = bids, asks
        out[1, row, : len(bids)] = [sides.bids.values[price] for price in bids]
        out[3, row, : len(asks)] = [sides.asks.values[price] for price in asks]
        times[:, row] = message.ts_event, message.ts_recv
        row += 1
    return Depths(times[0, :row], times[1, :row], *(side[:row] for side in out))


def books_at(tables: Iterable[pa.Table], at: Ints, gaps: Gaps) -> list[MarketBook]:
    """Return the full book at each instant; an instant is left out when a gap began after its last message.

    Args:
        tables: Book rows of one instrument, in order.
        at: (n,) instants, ns, ascending.
        gaps: As for `depths`.
    """
    builder = BookBuilder(gaps)
    found: list[MarketBook] = []
    book: Book | None = None
    k = 0

    def record_until(recv: int | None) -> int:
        end = len(at) if recv is None else int(np.searchsorted(at, recv))
        if book is not None and end > k:
            good = complete(np.full(end - k, book.ts_recv), at[k:end] + 1, gaps)
            found.extend(_market_book(book, int(t)) for t in at[k:end][good])
        return max(k, end)

    for table in tables:
        for message in messages(table):
            k = record_until(message.ts_recv)
            book = builder.apply(message)
    record_until(None)
    return found


def _market_book(book: Book, at: int) -> MarketBook:
    buying, selling = book.sides.bids, book.sides.asks
    bids, asks = buying.prices[::-1], selling.prices
    sizes = [buying.values[price] for price in bids], [selling.values[price] for price in asks]
    return MarketBook(at, *(np.array(side, np.float64) for side in (bids, sizes[0], asks, sizes[1])))


def messages(table: pa.Table) -> Iterator[Message]:
    """Yield the rows of a table one by one."""
    recv = nanoseconds(table["ts_recv"]).tolist()
    event = nanoseconds(pc.coalesce(table["ts_event"], table["ts_recv"])).tolist()
    kinds = pc.equal(table["kind"], "s").to_pylist()
    sides = _levels(table["bids"]), _levels(table["asks"])
    for row in zip(recv, event, table["session_id"].to_pylist(), kinds, *sides, strict=True):
        yield Message(*row)


def _levels(column: pa.ChunkedArray) -> list[Levels]:
    """Return the (price, size) pairs of each message."""
    lists = column.combine_chunks()
    values: Floats = lists.values.to_numpy(zero_copy_only=False)
    pairs = list(zip(values[0::2].tolist(), values[1::2].tolist(), strict=True))
    return [pairs[begin:end] for begin, end in pairwise((lists.offsets.to_numpy() // 2).tolist())]

"""Views of a regular grid: the last quote, trade and book received by each instant."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from analysis.arrays import Bools, Depths, Floats, Gaps, Ints, Quotes, Received, Trades
from analysis.features.point_in_time import ReceiptIndex
from analysis.gap_policy import complete
from analysis.load import tapes
from analysis.load.frames import named, table_of
from analysis.load.hours.grades import Grade
from analysis.load.rows import IN_GAP
from analysis.load.source import US, Instrument, Range, Reader
from analysis.load.tables import UTC_US, Channel

Columns = Mapping[str, Floats]

_SIDES = np.array([np.nan, 1.0, -1.0])


def grid(span: Range, every: timedelta) -> Ints:
    """Return (n,) instants from the start of a range, ns."""
    step = every // US * 1000
    if step <= 0:
        raise ValueError("the step of a grid must be positive")
    return np.arange(span.start_ns, span.end_ns, step, dtype=np.int64)


class Asked(NamedTuple):
    """What a view shows."""

    channels: Sequence[Channel]
    levels: int  # of each side of the book
    warmup: timedelta  # how long before the range rows are read
    min_grade: Grade | None = None  # hours with a lower grade are outages


def view(reader: Reader, one: Instrument, span: Range, at: Ints, asked: Asked) -> tuple[Columns, Bools]:
    """Return columns of an instrument at each instant, and whether the instant lies in a missing range of a channel.

    A value is null where nothing was received since `warmup` before the range, and where an outage began after its
    receipt, because it may have changed since.
    """
    levels, min_grade = asked.levels, asked.min_grade
    early = Range(span.start - asked.warmup, span.end)
    columns: dict[str, Floats] = {}
    hidden = np.zeros(len(at), np.bool_)
    for channel in asked.channels:
        gaps = tapes.outages(reader, one, [channel], early, min_grade)
        hidden |= gaps.missing(at, at + 1) > 0
        if channel == "quote":
            columns.update(_quotes(tapes.quotes(reader, one, early), at, gaps))
        elif channel == "trade":
            columns.update(_trades(tapes.trades(reader, one, early), at, gaps))
        else:
            columns.update(_book(tapes.book_levels(reader, one, early, levels, min_grade), at, gaps, levels))
    return columns, hidden


def table(found: Mapping[Instrument, tuple[Columns, Bools]], at: Ints, *, mask: bool) -> pa.Table:
    """Return views of several instruments as one table, by (ts, symbol)."""
    tables = []
    for one, (columns, hidden) in found.items():
        keys = {"instrument_id": np.full(len(at), one.instrument_id), "ts": at}
        part = table_of({**keys, **columns}, {"instrument_id": pa.int64(), "ts": UTC_US})
        tables.append(part.append_column(IN_GAP, pa.array(hidden)) if mask else part)
    together = pa.concat_tables(tables)
    order = np.argsort(np.tile(at, len(tables)), kind="stable")
    names = [name for name in together.schema.names if name != "instrument_id"]
    return named(together.take(pa.array(order)), list(found), names)


def _standing(rows: Received, at: Ints, gaps: Gaps) -> tuple[Ints, Bools, Floats]:
    """Return (n,) the position of the row received last, whether it is still valid, and its age in s."""
    last = np.searchsorted(rows.ts_recv, at, side="right") - 1
    since = np.append(rows.ts_recv, 0)[last]
    stands = (last >= 0) & complete(since, at + 1, gaps)
    return last, stands, np.where(stands, (at - since) / 1e9, np.nan)


def _valid(values: Floats, last: Ints, stands: Bools) -> Floats:
    return np.where(stands, np.append(values, np.nan)[last], np.nan)


def _quotes(rows: Quotes, at: Ints, gaps: Gaps) -> Columns:
    last, stands, age = _standing(rows, at, gaps)
    names = ("bid", "bid_size", "ask", "ask_size")
    return {**{name: _valid(getattr(rows, name), last, stands) for name in names}, "quote_age_s": age}


def _trades(found: Trades, at: Ints, gaps: Gaps) -> Columns:
    rows = ReceiptIndex(found).rows
    last, stands, age = _standing(rows, at, gaps)
    side = _SIDES[rows.side]
    values = {"last_price": rows.price, "last_size": rows.size, "last_side": side}
    return {**{name: _valid(column, last, stands) for name, column in values.items()}, "trade_age_s": age}


def _book(rows: Depths, at: Ints, gaps: Gaps, levels: int) -> Columns:
    last, stands, age = _standing(rows, at, gaps)
    columns: dict[str, Floats] = {}
    for name in ("bid", "bid_size", "ask", "ask_size"):
        for level in range(levels):
            columns[f"{name}_{level + 1}"] = _valid(getattr(rows, name)[:, level], last, stands)
    return {**columns, "book_age_s": age}

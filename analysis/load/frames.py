"""Arrow tables in order, in the form a caller wants, and as the columns that the core computes with."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import Floats, Ints, Quotes, Trades
from analysis.load.source import Instrument
from analysis.load.tables import SYMBOL, WORDS, Layout

To = Literal["arrow", "pandas", "polars"]

Frame: TypeAlias = Any
"""What `to` asked for: a pyarrow.Table, a pandas.DataFrame or a polars.DataFrame."""

_SIGNS = np.array([{"b": 1, "s": -1}[word] for word in WORDS["aggressor"].to_pylist()] + [0], np.int8)


def framed(table: pa.Table, to: To) -> Frame:
    """The same rows as the library that was asked for knows them.

    Raises:
        ValueError: there is no such form.
    """
    match to:
        case "arrow":
            return table
        case "pandas":
            return table.to_pandas(timestamp_as_object=False)
        case "polars":
            import polars as pl

            return pl.from_arrow(table, rechunk=False)
    raise ValueError(f'to={to!r}: there are "arrow", "pandas" and "polars"')


def ordered(table: pa.Table, layout: Layout) -> pa.Table:
    """The rows in the order of their layout; rows that are in order already come back uncopied."""
    keys = [_integers(table[name]) for name in layout.order if name in table.schema.names]
    if len(keys[0]) < 2 or _sorted(keys):
        return table
    return table.take(pa.array(np.lexsort(keys[::-1])))


def _sorted(keys: Sequence[Ints]) -> bool:
    equal: Any = slice(None)
    for key in keys:
        before, after = key[:-1][equal], key[1:][equal]
        if (after < before).any():
            return False
        ties = np.flatnonzero(after == before)
        if not len(ties):
            return True
        equal = ties if isinstance(equal, slice) else equal[ties]
    return True


def named(table: pa.Table, instruments: Sequence[Instrument], columns: Sequence[str]) -> pa.Table:
    """Rows with venue and symbol in place of instrument_id, which those of one instrument need not have.

    The dictionaries hold the instruments asked for, so that tables of several doors and parts are equal and add up.
    """
    venues = sorted({one.venue for one in instruments})
    symbols = sorted({one.symbol for one in instruments})
    place = {one.instrument_id: (venues.index(one.venue), symbols.index(one.symbol)) for one in instruments}
    arrays = []
    if len(place) == 1:
        codes = [np.zeros(table.num_rows, np.int32)] * 2
    else:
        found, row = np.unique(_integers(table["instrument_id"]), return_inverse=True)
        codes = [np.array([place[one][side] for one in found.tolist()], np.int32)[row] for side in (0, 1)]
    for code, words in zip(codes, (venues, symbols), strict=True):
        arrays.append(pa.DictionaryArray.from_arrays(pa.array(code), pa.array(words, pa.string())))
    fields = [pa.field("venue", SYMBOL), pa.field("symbol", SYMBOL), *(table.schema.field(name) for name in columns)]
    return pa.table([*arrays, *(table[name] for name in columns)], schema=pa.schema(fields))


def nothing(instruments: Sequence[Instrument], layout: Layout, columns: Sequence[str]) -> pa.Table:
    """No rows, in the form of `named`."""
    return named(layout.schema.empty_table(), instruments, columns)


def nanoseconds(column: pa.ChunkedArray) -> Ints:
    """(n,) instants as ns since 1970. No null among them."""
    found: Ints = _integers(column) * 1000
    return found


def floats(column: pa.ChunkedArray) -> Floats:
    """(n,) float64, NaN where null."""
    return np.asarray(column.to_numpy(), np.float64)


def trades_of(table: pa.Table) -> Trades:
    """Rows of trades as columns of the core. Of one instrument."""
    if table.num_rows == 0:
        return Trades.none()
    side = pa.chunked_array([chunk.indices for chunk in table["aggressor"].chunks], pa.int8())
    signs = _SIGNS[pc.fill_null(side, len(_SIGNS) - 1).to_numpy()]
    return Trades(
        ts_event=nanoseconds(table["ts_event"]),
        ts_recv=nanoseconds(table["ts_recv"]),
        trade_id=_integers(table["trade_id"]),
        price=floats(table["price"]),
        size=floats(table["size"]),
        side=signs,
    )


def quotes_of(table: pa.Table) -> Quotes:
    """Rows of quotes as columns of the core. Of one instrument; our clock stands in where the venue gives none."""
    if table.num_rows == 0:
        return Quotes.none()
    return Quotes(
        ts_event=nanoseconds(pc.coalesce(table["ts_event"], table["ts_recv"])),
        ts_recv=nanoseconds(table["ts_recv"]),
        bid=floats(table["bid"]),
        bid_size=floats(table["bid_size"]),
        ask=floats(table["ask"]),
        ask_size=floats(table["ask_size"]),
    )


def table_of(columns: Mapping[str, object], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Columns of the core as a table; NaN becomes null, ns become instants."""
    arrays = []
    for name, values in columns.items():
        kind = types.get(name, pa.float64())
        if pa.types.is_timestamp(kind):
            values = np.asarray(values) // 1000
        arrays.append(pa.array(values, type=kind, from_pandas=kind == pa.float64()))
    return pa.table(arrays, names=list(columns))


def _integers(column: pa.ChunkedArray) -> Ints:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return np.asarray(column.to_numpy(), np.int64)

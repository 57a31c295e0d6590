"""Convert Arrow tables: into their order, into the form a caller wants, and into the columns of the core."""

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import Floats, Ints, Quotes, Trades
from analysis.errors import extra_packages
from analysis.load.source import Instrument
from analysis.load.tables import SYMBOL, WORDS, Layout

To = Literal["arrow", "pandas", "polars"]

Frame: TypeAlias = Any
"""The form named by `to`: a pyarrow.Table, a pandas.DataFrame or a polars.DataFrame."""

_SIGNS = np.array([{"b": 1, "s": -1}[word] for word in WORDS["aggressor"].to_pylist()] + [0], np.int8)


MASKED = b"tapedeck.masked"
"""Key of a table's metadata: a JSON list of the ranges that were masked because of their grade."""


def with_masked(table: pa.Table, lines: Sequence[str]) -> pa.Table:
    """Return the same table with the ranges that were masked in its metadata; the same where none was."""
    return table.replace_schema_metadata({MASKED: json.dumps(list(lines)).encode()}) if lines else table


def masked_of(frame: Frame) -> list[str]:
    """Return the ranges of a frame that were masked because of their grade; of polars, which keeps none, nothing."""
    if isinstance(frame, pa.Table):
        return list(json.loads((frame.schema.metadata or {}).get(MASKED, b"[]")))
    return list(getattr(frame, "attrs", {}).get("masked", []))


def ready(to: To) -> None:
    """Require that rows can be given in a form, before they are read.

    Raises:
        PackageMissing: Its library is not installed.
        ValueError: `to` names no known form.
    """
    if to not in ("arrow", "pandas", "polars"):
        raise ValueError(f'to={to!r} is unknown; use "arrow", "pandas" or "polars"')
    if to != "arrow":
        with extra_packages(f'to="{to}"'):
            importlib.import_module(to)


def framed(table: pa.Table, to: To) -> Frame:
    """Return the same rows in the form of a library.

    Raises:
        PackageMissing: The library is not installed.
        ValueError: `to` names no known form.
    """
    ready(to)
    match to:
        case "pandas":
            frame = table.to_pandas(timestamp_as_object=False)
            if lines := masked_of(table):
                frame.attrs["masked"] = lines
            return frame
        case "polars":
            import polars as pl

            return pl.from_arrow(table, rechunk=False)
    return table


def ordered(table: pa.Table, layout: Layout) -> pa.Table:
    """Return the rows in the order of their layout; rows already in order are not copied."""
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
    """Replace instrument_id by venue and symbol; rows of one instrument need no instrument_id.

    The dictionaries hold the requested instruments, so that tables of all sources and parts are equal and concatenate.
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


def empty_table(instruments: Sequence[Instrument], layout: Layout, columns: Sequence[str]) -> pa.Table:
    """Return a table without rows in the form of `named`."""
    return named(layout.schema.empty_table(), instruments, columns)


def nanoseconds(column: pa.ChunkedArray) -> Ints:
    """Return (n,) instants as ns since 1970, from a column without nulls."""
    found: Ints = _integers(column) * 1000
    return found


def floats(column: pa.ChunkedArray) -> Floats:
    """Return (n,) float64, NaN for null."""
    return np.asarray(column.to_numpy(), np.float64)


def trades_of(table: pa.Table) -> Trades:
    """Return trade rows of one instrument as columns of the core."""
    if table.num_rows == 0:
        return Trades.empty()
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
    """Return quote rows of one instrument as columns of the core; ts_recv replaces a missing ts_event."""
    if table.num_rows == 0:
        return Quotes.empty()
    (bid, bid_size), (ask, ask_size) = (_best(table, side) for side in ("bid", "ask"))
    return Quotes(
        ts_event=nanoseconds(pc.coalesce(table["ts_event"], table["ts_recv"])),
        ts_recv=nanoseconds(table["ts_recv"]),
        bid=bid,
        bid_size=bid_size,
        ask=ask,
        ask_size=ask_size,
    )


def _best(table: pa.Table, side: str) -> tuple[Floats, Floats]:
    """Return the prices and sizes of a side; NaN for an empty one, which older rows have as price 0."""
    price, size = floats(table[side]), floats(table[f"{side}_size"])
    empty = price == 0
    return (np.where(empty, np.nan, price), np.where(empty, np.nan, size)) if empty.any() else (price, size)


def table_of(columns: Mapping[str, object], types: Mapping[str, pa.DataType]) -> pa.Table:
    """Return columns of the core as a table; NaN becomes null, ns become instants."""
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

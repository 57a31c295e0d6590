"""Rows of a range, piece by piece: read, ordered, marked where something may be missing."""

import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.arrays import Ints
from analysis.load import holes
from analysis.load.archive import ArchiveSource
from analysis.load.frames import named, nanoseconds, nothing, ordered
from analysis.load.holes import OnGap
from analysis.load.postgres import PostgresSource
from analysis.load.source import Instrument, Range, Reader, Source
from analysis.load.tables import Layout
from recorder.errors import ConfigError
from recorder.settings import Settings

Where = Source | str | Path | None
"""A source; the folder of an archive; postgresql://...; None for the database of the settings."""

IN_GAP = "in_gap"


def open_source(where: Where = None) -> Source:
    """A source, from whatever names it.

    Raises:
        ConfigError: there is no archive in that folder, or the settings lead to no database.
    """
    if where is None:
        return PostgresSource.of(Settings.load())
    if isinstance(where, str) and where.startswith(("postgresql://", "postgres://")):
        return PostgresSource(where)
    if isinstance(where, str | Path):
        return ArchiveSource(Path(where))
    return where


def instruments(reader: Reader, venue: str, symbols: str | Sequence[str]) -> list[Instrument]:
    """The instruments of these symbols.

    Raises:
        ConfigError: one of them was never recorded; the sentence names what was.
    """
    wanted = [symbols] if isinstance(symbols, str) else list(symbols)
    if not wanted:
        raise ConfigError(f"name at least one symbol of {venue}")
    found = reader.instruments(venue, wanted)
    absent = sorted(set(wanted) - {one.symbol for one in found})
    if absent:
        known = [one.symbol for one in reader.instruments(venue)]
        near = difflib.get_close_matches(absent[0], known, 3) or known[:3]
        there = f"there is {', '.join(near)}" if near else f"nothing of {venue} was recorded"
        raise ConfigError(f"{venue} {absent[0]} is not on this tape; {there}")
    return found


def chosen(layout: Layout, columns: Sequence[str] | None) -> list[str]:
    """The columns of a frame besides venue and symbol.

    Raises:
        ConfigError: the table has no such column.
    """
    wanted = list(layout.columns) if columns is None else [one for one in columns if one not in ("venue", "symbol")]
    unknown = [name for name in wanted if name not in layout.columns]
    if unknown:
        raise ConfigError(f"{layout.name} has no column {unknown[0]!r}; there are {', '.join(layout.columns)}")
    return wanted


def stretches(
    reader: Reader,
    layout: Layout,
    whose: Sequence[Instrument],
    span: Range,
    columns: Sequence[str],
    *,
    on_gap: OnGap,
    progress: bool = False,
) -> Iterator[pa.Table]:
    """The rows of a range in order, a table for each piece that has any.

    Raises:
        GapError: on_gap is "raise" and the range is not whole; before anything is read.
    """
    if on_gap not in ("raise", "mask", "ignore"):
        raise ValueError(f'on_gap={on_gap!r}: there are "raise", "mask" and "ignore"')
    missing = None if on_gap == "ignore" else holes.missing(reader, whose, layout.name, span)
    if missing is not None and on_gap == "raise":
        holes.require_whole(missing, whose)
    for table in ordered_rows(reader, layout, whose, span, columns, progress=progress):
        frame = named(table, whose, columns)
        if on_gap == "mask" and missing is not None:
            mark = holes.inside(missing, owners(table, whose), nanoseconds(table[layout.clock]))
            frame = frame.append_column(IN_GAP, pa.array(mark))
        yield frame


def ordered_rows(
    reader: Reader,
    layout: Layout,
    whose: Sequence[Instrument],
    span: Range,
    columns: Sequence[str],
    *,
    progress: bool = False,
) -> Iterator[pa.Table]:
    """The rows of a range in order, a table for each piece that has any: the columns, and those that order them.

    instrument_id is there when several are asked for.
    """
    needed = list(dict.fromkeys(["instrument_id", *layout.order, *columns]))
    if len(whose) == 1:
        needed.remove("instrument_id")
    for piece in _shown(reader.pieces(layout, whose, span), layout.name, progress):
        table = reader.rows(layout, whose, piece, needed)
        if table.num_rows:
            yield table if reader.in_order and len(whose) == 1 else ordered(table, layout)


def owners(table: pa.Table, whose: Sequence[Instrument]) -> Ints:
    """(n,) instrument_id of rows of `ordered_rows`."""
    if len(whose) == 1:
        return np.full(table.num_rows, whose[0].instrument_id, np.int64)
    return np.asarray(table["instrument_id"].to_numpy(), np.int64)


def whole(
    parts: Iterable[pa.Table], whose: Sequence[Instrument], layout: Layout, columns: Sequence[str], on_gap: OnGap
) -> pa.Table:
    """All pieces as one table."""
    tables = list(parts)
    if tables:
        return pa.concat_tables(tables)
    empty = nothing(whose, layout, columns)
    return empty.append_column(IN_GAP, pa.array([], pa.bool_())) if on_gap == "mask" else empty


def _shown(pieces: Sequence[Range], what: str, progress: bool) -> Iterator[Range]:
    """The pieces, with a bar on a terminal while they are worked on."""
    if not (progress and sys.stderr.isatty()) or len(pieces) < 2:
        yield from pieces
        return
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed} of {task.total}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with shown:
        yield from shown.track(pieces, description=f"{what} {pieces[0].start:%Y-%m-%d}")

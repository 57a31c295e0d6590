"""Rows of a range, piece by piece: read, sorted, and marked where rows may be missing."""

import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from analysis.arrays import Ints
from analysis.load import missing_ranges
from analysis.load.archive import ArchiveSource
from analysis.load.frames import empty_table, named, nanoseconds, ordered, with_masked
from analysis.load.hours.grades import Grade, check, masked
from analysis.load.missing_ranges import OnGap
from analysis.load.postgres import PostgresSource
from analysis.load.source import Instrument, Range, Reader, Source
from analysis.load.tables import Layout
from recorder.errors import ConfigError
from recorder.printable import printable
from recorder.settings import Settings

SourceLike = Source | str | Path | None
"""A Source; the folder of an archive; a postgresql:// address; None for the database of the settings."""

IN_GAP = "in_gap"
_NAMED = 4  # instruments in a message


def open_source(where: SourceLike = None) -> Source:
    """Return the Source that a folder, an address or None names.

    Raises:
        ConfigError: The settings do not lead to a database.
    """
    if where is None:
        return PostgresSource.of(Settings.load())
    if isinstance(where, str) and where.startswith(("postgresql://", "postgres://")):
        return PostgresSource(where)
    if isinstance(where, str | Path):
        return ArchiveSource(Path(where))
    return where


def instruments(reader: Reader, venue: str, symbols: str | Sequence[str]) -> list[Instrument]:
    """Return the instruments with these symbols, or with these canonical names where one instrument has it.

    Raises:
        ConfigError: A symbol was never recorded; the message names the nearest ones that were. Or a canonical name
            stands for several instruments; the message names these.
    """
    wanted = [symbols] if isinstance(symbols, str) else list(symbols)
    if not wanted:
        raise ConfigError(f"name at least one symbol of {venue}")
    found = reader.instruments(venue, wanted)
    absent = sorted(set(wanted) - {one.symbol for one in found})
    if not absent:
        return found
    recorded = reader.instruments(venue)
    by_name = [_called(venue, name, recorded) for name in absent]
    return sorted({one.symbol: one for one in (*found, *by_name)}.values(), key=lambda one: one.symbol)


def _called(venue: str, name: str, recorded: Sequence[Instrument]) -> Instrument:
    found = [one for one in recorded if one.canonical == name]
    if len(found) == 1:
        return found[0]
    if found:
        symbols = ", ".join(one.symbol for one in found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        raise ConfigError(f"{venue} has several recorded instruments {name}: {symbols}; give the symbol of one of them")
    known = [one.symbol for one in recorded]
    near = difflib.get_close_matches(name, known, 3) or known[:3]
    there = f"recorded are {', '.join(near)}" if near else f"nothing of {venue} was recorded"
    raise ConfigError(f"{venue} {name} was not recorded; {there}")


def chosen(layout: Layout, columns: Sequence[str] | None) -> list[str]:
    """Return the columns of a frame besides venue and symbol.

    Raises:
        ConfigError: The table has no such column.
    """
    wanted = list(layout.columns) if columns is None else [one for one in columns if one not in ("venue", "symbol")]
    unknown = [name for name in wanted if name not in layout.columns]
    if unknown:
        raise ConfigError(f"{layout.name} has no column {unknown[0]!r}; it has {', '.join(layout.columns)}")
    return wanted


def stretches(
    reader: Reader,
    layout: Layout,
    whose: Sequence[Instrument],
    span: Range,
    columns: Sequence[str],
    *,
    on_gap: OnGap,
    min_grade: Grade | None = None,
    progress: bool = False,
) -> Iterator[pa.Table]:
    """Yield the rows of a range in order, one table for each piece that has rows.

    What was masked because of its grade is in the metadata of each table (`frames.MASKED`).

    Raises:
        GapError: on_gap is "raise" and rows may be missing; raised before anything is read.
    """
    if on_gap not in ("raise", "mask", "ignore"):
        raise ValueError(f'on_gap={on_gap!r} is unknown; use "raise", "mask" or "ignore"')
    check(min_grade)
    missing = None if on_gap == "ignore" else missing_ranges.find(reader, whose, layout.name, span, min_grade)
    lines = () if missing is None else masked(reader, missing, whose, layout.name, min_grade)
    if missing is not None and on_gap == "raise":
        missing_ranges.require_complete(missing, whose)
    for table in ordered_rows(reader, layout, whose, span, columns, progress=progress):
        frame = named(table, whose, columns)
        if on_gap == "mask" and missing is not None:
            in_gap = missing_ranges.contains(missing, owners(table, whose), nanoseconds(table[layout.clock]))
            frame = frame.append_column(IN_GAP, pa.array(in_gap))
        yield with_masked(frame, lines)


def ordered_rows(
    reader: Reader,
    layout: Layout,
    whose: Sequence[Instrument],
    span: Range,
    columns: Sequence[str],
    *,
    progress: bool = False,
) -> Iterator[pa.Table]:
    """Yield the rows of a range in order, one table for each piece that has rows.

    A table has the requested columns, the columns that define the order, and, for several instruments, instrument_id.
    """
    needed = list(dict.fromkeys(["instrument_id", *layout.order, *columns]))
    if len(whose) == 1:
        needed.remove("instrument_id")
    for piece in _with_progress(reader.pieces(layout, whose, span), layout.name, progress):
        table = reader.rows(layout, whose, piece, needed)
        if table.num_rows:
            yield table if reader.in_order and len(whose) == 1 else ordered(table, layout)


def owners(table: pa.Table, whose: Sequence[Instrument]) -> Ints:
    """Return (n,) the instrument_id of each row of a table from `ordered_rows`."""
    if len(whose) == 1:
        return np.full(table.num_rows, whose[0].instrument_id, np.int64)
    return np.asarray(table["instrument_id"].to_numpy(), np.int64)


def concatenated(
    parts: Iterable[pa.Table], whose: Sequence[Instrument], layout: Layout, columns: Sequence[str], on_gap: OnGap
) -> pa.Table:
    """Return all pieces as one table; without a piece, an empty table of the same schema."""
    tables = list(parts)
    if tables:
        return pa.concat_tables(tables)
    empty = empty_table(whose, layout, columns)
    return empty.append_column(IN_GAP, pa.array([], pa.bool_())) if on_gap == "mask" else empty


def _with_progress(pieces: Sequence[Range], what: str, progress: bool) -> Iterator[Range]:
    """Yield the pieces and, on a terminal, show a progress bar meanwhile."""
    if not (progress and sys.stderr.isatty()) or len(pieces) < 2:
        yield from pieces
        return
    shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed} of {task.total}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with shown:
        yield from shown.track(pieces, description=printable(f"{what} {pieces[0].start:%Y-%m-%d}"))

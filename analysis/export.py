"""Whole days of the tape to a Parquet archive: at once or not at all, and only what is not there yet.

A day that is in the archive is written anew when the database knows more of it: rows that came late, gaps that were
healed. What a replay corrected without changing a count is written anew on request.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.load.archive import touches
from analysis.load.frames import ordered
from analysis.load.manifest import (
    FORMAT,
    FileEntry,
    InstrumentRow,
    Manifest,
    data_folder,
    day_range,
    digest,
    gap_rows,
    manifest_path,
    problems,
    read_manifest,
    sync,
    write_durably,
)
from analysis.load.postgres import PostgresReader, PostgresSource
from analysis.load.source import Instrument, Range
from analysis.load.tables import LAYOUTS, WORDS, Layout
from recorder import __version__
from recorder.errors import ConfigError

SETTLED = timedelta(minutes=10)
"""A day is over this long after midnight: the writer has what was on its way."""

_ROW_GROUP = 1 << 17


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of a day."""

    venue: str
    day: date
    outcome: Literal["written", "unchanged"]
    rows: dict[str, int]  # by table
    gaps: int  # not healed


def export(
    source: PostgresSource,
    root: Path,
    venue: str,
    days: Sequence[date],
    *,
    now: datetime,
    open_day: bool = False,
    again: bool = False,
    done: Callable[[Exported], None] = lambda _: None,
) -> list[Exported]:
    """Write days of a venue.

    Args:
        source: The database.
        root: Folder of the archive; made where it is missing.
        venue: Its name.
        days: UTC days.
        now: The instant that decides whether a day is over.
        open_day: Take a day that is not over, too; it is written anew once more is known.
        again: Write also what is there and seems unchanged.
        done: Called after each day.

    Raises:
        ConfigError: a day is not over; nothing of the venue was recorded; another export is at work in this folder.
        StoreUnavailable: the database cannot be reached now; what was written stays, and the same call goes on.
    """
    early = [day for day in days if day_range(day).end + SETTLED > now]
    if early and not open_day:
        raise ConfigError(f"{early[0]} is not over (or only just); export it tomorrow, or say --open-day")
    finished = []
    with _alone(root):
        for day in days:
            with source.reading() as reader:
                finished.append(_day(reader, root, venue, day, now, again))
            done(finished[-1])
    return finished


def _day(reader: PostgresReader, root: Path, venue: str, day: date, now: datetime, again: bool) -> Exported:
    span = day_range(day)
    known = reader.instruments(venue)
    if not known:
        raise ConfigError(f"nothing of {venue} was recorded")
    whose = [one for one in known if one.first_seen < span.end]
    gaps = [row for row in gap_rows(reader.gaps(whose, span)) if touches(row, span)]
    until = reader.recorded_until(venue)
    old = read_manifest(root, venue, day)
    head = Manifest(
        format=FORMAT,
        venue=venue,
        date=day,
        start=span.start,
        end=span.end,
        recorded_until=None if until is None else min(until, span.end),
        schema_version=reader.schema_version(),
        tapedeck=__version__,
        exported_at=now,
        files=old.files if old is not None else {},
        instruments=[
            InstrumentRow(instrument_id=one.instrument_id, symbol=one.symbol, first_seen=one.first_seen)
            for one in whose
        ],
        gaps=gaps,
    )
    stale = [layout for layout in LAYOUTS if again or not _holds(reader, root, old, layout, whose, span)]
    same = old is not None and not stale and _same(old, head)
    if not same:
        fresh: dict[str, FileEntry] = {layout.name: _write(reader, root, venue, day, layout, whose) for layout in stale}
        head = msgspec.structs.replace(head, files={**head.files, **fresh})
        path = manifest_path(root, venue, day)
        _make_folder(path.parent, root)
        write_durably(path, msgspec.json.format(msgspec.json.encode(head)))
        _sweep(root, head)
    rows = {name: entry.rows for name, entry in head.files.items()}
    return Exported(venue, day, "unchanged" if same else "written", rows, sum(row.state != "healed" for row in gaps))


def _holds(
    reader: PostgresReader, root: Path, old: Manifest | None, layout: Layout, whose: Sequence[Instrument], span: Range
) -> bool:
    """Whether the archive has a good file of a table with as many rows as the database."""
    if old is None or problems(root, old, hashes=False):
        return False
    return layout.name in old.files and old.files[layout.name].rows == reader.count(layout, whose, span)


def _same(old: Manifest, new: Manifest) -> bool:
    def told(one: Manifest) -> Manifest:
        return msgspec.structs.replace(one, exported_at=new.exported_at, tapedeck=new.tapedeck, files={})

    return told(old) == told(new)


def _write(
    reader: PostgresReader, root: Path, venue: str, day: date, layout: Layout, whose: Sequence[Instrument]
) -> FileEntry:
    """One file: stretch after stretch in time, within a stretch by instrument, so that a reader can skip most of it."""
    folder = data_folder(root, layout.name, venue, day)
    _make_folder(folder, root)
    fresh = folder / ".part.new"
    ids = [one.instrument_id for one in whose]
    order = np.argsort(np.array(ids, np.int64))
    known, symbols = np.array(ids, np.int64)[order], pa.array([whose[place].symbol for place in order], pa.string())
    # Words are written as text: every reader of Parquet knows what to make of it, and a file is no larger.
    plain = [pa.field(one.name, pa.string() if one.name in WORDS else one.type) for one in layout.schema]
    schema = pa.schema([plain[0], pa.field("symbol", pa.string()), *plain[1:]])
    rows = 0
    try:
        with pq.ParquetWriter(fresh, schema, compression="zstd", **_encodings(schema)) as writer:
            for piece in day_range(day).pieces(layout.stretch):
                table = reader.rows(layout, whose, piece, layout.schema.names)
                if not table.num_rows:
                    continue
                table = ordered(table, layout)
                table = table.take(pa.array(np.argsort(table["instrument_id"].to_numpy(), kind="stable")))
                symbol = symbols.take(pa.array(np.searchsorted(known, table["instrument_id"].to_numpy())))
                writer.write_table(table.add_column(1, "symbol", symbol).cast(schema), _ROW_GROUP)
                rows += table.num_rows
        sync(fresh)
        sha256 = digest(fresh)
        path = folder / f"part-{sha256[:16]}.parquet"
        size = fresh.stat().st_size
        fresh.replace(path)
        sync(folder)
    finally:
        fresh.unlink(missing_ok=True)
    return FileEntry(path=str(path.relative_to(root)), rows=rows, bytes=size, sha256=sha256)


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Differences for what counts up, a dictionary for what repeats: half the size of the defaults, and read faster."""
    rising = [
        field.name
        for field in schema
        if field.name != "instrument_id" and (pa.types.is_timestamp(field.type) or pa.types.is_int64(field.type))
    ]
    lists = [f"{field.name}.list.element" for field in schema if pa.types.is_list(field.type)]
    others = [field.name for field in schema if field.name not in rising and not pa.types.is_list(field.type)]
    return {"use_dictionary": [*others, *lists], "column_encoding": dict.fromkeys(rising, "DELTA_BINARY_PACKED")}


def _make_folder(folder: Path, root: Path) -> None:
    """A folder below the root, of which every name lasts."""
    if folder.is_dir():
        return
    _make_folder(folder.parent, root) if folder != root else folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def _sweep(root: Path, manifest: Manifest) -> None:
    """Remove the files of a day that its manifest does not name any more."""
    named = {root / entry.path for entry in manifest.files.values()}
    for layout in LAYOUTS:
        for path in data_folder(root, layout.name, manifest.venue, manifest.date).glob("part-*.parquet"):
            if path not in named:
                path.unlink()


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"{root} cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another export is writing to {root}; wait for it, or take another folder") from None
        yield
    finally:
        os.close(descriptor)


def days_of(start: datetime, end: datetime) -> list[date]:
    """The UTC days from the one of `start` up to the one that holds the instant before `end`."""
    return [piece.start.astimezone(UTC).date() for piece in Range(start, end).pieces(timedelta(days=1))]

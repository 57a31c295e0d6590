"""Export whole days of a recording to a Parquet archive: each day completely or not at all, and only when needed.

A day in the archive is written again when the database has more of it: late rows, healed gaps. A replay that corrects
rows without changing their number is exported on request only.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
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
    grades_of,
    manifest_path,
    problems,
    read_manifest,
    sync,
    write_durably,
)
from analysis.load.postgres import PostgresReader, PostgresSource
from analysis.load.source import DAY, Instrument, Range
from analysis.load.tables import LAYOUTS, WORDS, Layout
from recorder import __version__
from recorder.errors import ConfigError

Step = Callable[[str, int], None]
"""Called with a description and the number of steps done."""

SETTLED = timedelta(minutes=10)
"""A day counts as over this long after midnight, when the writer has loaded the last rows."""

STEPS_PER_DAY = sum(DAY // layout.stretch for layout in LAYOUTS)
"""Progress steps that the export of one day of a venue reports."""

_ROW_GROUP = 1 << 17


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of a day."""

    venue: str
    day: date
    outcome: Literal["written", "unchanged"]
    rows: dict[str, int]  # by table
    gaps: int  # gaps that are not healed


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
    step: Step = lambda _what, _steps: None,
) -> list[Exported]:
    """Write days of a venue to an archive.

    Args:
        source: The database.
        root: Folder of the archive; created when missing.
        venue: Name of the venue.
        days: UTC days.
        now: The instant that decides whether a day is over.
        open_day: Export a day that is not over, too; a later export writes it again.
        again: Write days again that seem unchanged.
        done: Called after each day.
        step: Called as work proceeds, STEPS_PER_DAY steps in all for each day.

    Raises:
        ConfigError: A day is not over, nothing of the venue was recorded, or another export uses this folder.
        StoreUnavailable: The database cannot be reached now. Written days stay, and the same call continues.
    """
    early = [day for day in days if day_range(day).end + SETTLED > now]
    if early and not open_day:
        over = day_range(early[0]).end + SETTLED
        raise ConfigError(
            f"{early[0]} is not over: export it after {over:%Y-%m-%d %H:%M} UTC, or add --open-day to export it now"
        )
    if (root / KEEPERS).exists():
        raise ConfigError(f"{root} is the archive of the keeper, which writes it alone; choose another folder")
    finished = []
    with exclusive(root):
        for day in days:
            with source.reading() as reader:
                finished.append(_day(reader, root, venue, day, now, again, step))
            done(finished[-1])
    return finished


def _day(reader: PostgresReader, root: Path, venue: str, day: date, now: datetime, again: bool, step: Step) -> Exported:
    span = day_range(day)
    known = reader.instruments(venue)
    if not known:
        raise ConfigError(f"nothing of {venue} was recorded")
    whose = [one for one in known if one.first_seen < span.end]
    old = read_manifest(root, venue, day)
    head = manifest_of(reader, venue, day, whose, now, old.files if old is not None else {})
    stale = [layout for layout in LAYOUTS if again or not _is_current(reader, root, old, layout, whose, span)]
    what = f"{venue} {day}"
    step(what, sum(DAY // layout.stretch for layout in LAYOUTS if layout not in stale))
    same = old is not None and not stale and _same(old, head)
    if not same:
        fresh: dict[str, FileEntry] = {
            layout.name: write_table(reader, root, venue, day, layout, whose, partial(step, f"{what} {layout.name}"))
            for layout in stale
        }
        head = msgspec.structs.replace(head, files={**head.files, **fresh})
        path = manifest_path(root, venue, day)
        make_folder(path.parent, root)
        write_durably(path, msgspec.json.format(msgspec.json.encode(head)))
        _sweep(root, head)
    rows = {name: entry.rows for name, entry in head.files.items()}
    unhealed = sum(row.state != "healed" for row in head.gaps)
    return Exported(venue, day, "unchanged" if same else "written", rows, unhealed)


def manifest_of(
    reader: PostgresReader,
    venue: str,
    day: date,
    whose: Sequence[Instrument],
    now: datetime,
    files: Mapping[str, FileEntry],
) -> Manifest:
    """Return the manifest of a day: its instruments and gaps as the database has them, and these files."""
    span, until = day_range(day), reader.recorded_until(venue)
    return Manifest(
        format=FORMAT,
        venue=venue,
        date=day,
        start=span.start,
        end=span.end,
        recorded_until=None if until is None else min(until, span.end),
        schema_version=reader.schema_version(),
        tapedeck=__version__,
        exported_at=now,
        files=dict(files),
        instruments=[
            InstrumentRow(
                instrument_id=one.instrument_id, symbol=one.symbol, first_seen=one.first_seen, canonical=one.canonical
            )
            for one in whose
        ],
        gaps=[row for row in gap_rows(reader.gaps(whose, span)) if touches(row, span)],
        grades=grades_of(day, [reader.certificates(whose, layout.name, span) for layout in LAYOUTS]),
    )


def _is_current(
    reader: PostgresReader, root: Path, old: Manifest | None, layout: Layout, whose: Sequence[Instrument], span: Range
) -> bool:
    """Return whether the archive has a good file of a table with as many rows as the database."""
    if old is None or problems(root, old, hashes=False):
        return False
    return layout.name in old.files and old.files[layout.name].rows == reader.count(layout, whose, span)


def _same(old: Manifest, new: Manifest) -> bool:
    def content(one: Manifest) -> Manifest:
        return msgspec.structs.replace(one, exported_at=new.exported_at, tapedeck=new.tapedeck, files={})

    return content(old) == content(new)


def write_table(
    reader: PostgresReader,
    root: Path,
    venue: str,
    day: date,
    layout: Layout,
    whose: Sequence[Instrument],
    step: Callable[[int], None],
) -> FileEntry:
    """Write one file, ordered by stretch of time and then by instrument, so that a reader can skip most of it."""
    folder = data_folder(root, layout.name, venue, day)
    make_folder(folder, root)
    fresh = folder / ".part.new"
    ids = [one.instrument_id for one in whose]
    order = np.argsort(np.array(ids, np.int64))
    known, symbols = np.array(ids, np.int64)[order], pa.array([whose[place].symbol for place in order], pa.string())
    # Coded columns are written as text: every reader of Parquet understands it, and the file is no larger.
    plain = [pa.field(one.name, pa.string() if one.name in WORDS else one.type) for one in layout.schema]
    schema = pa.schema([plain[0], pa.field("symbol", pa.string()), *plain[1:]])
    rows = 0
    try:
        with pq.ParquetWriter(fresh, schema, compression="zstd", **_encodings(schema)) as writer:
            for piece in day_range(day).pieces(layout.stretch):
                table = reader.rows(layout, whose, piece, layout.schema.names)
                step(1)
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
    """Return encodings that halve the size and read faster: deltas for rising columns, otherwise dictionaries."""
    rising = [
        field.name
        for field in schema
        if field.name != "instrument_id" and (pa.types.is_timestamp(field.type) or pa.types.is_int64(field.type))
    ]
    lists = [f"{field.name}.list.element" for field in schema if pa.types.is_list(field.type)]
    others = [field.name for field in schema if field.name not in rising and not pa.types.is_list(field.type)]
    return {"use_dictionary": [*others, *lists], "column_encoding": dict.fromkeys(rising, "DELTA_BINARY_PACKED")}


def make_folder(folder: Path, root: Path) -> None:
    """Create a folder below the root, with every name on the way flushed to disk."""
    if folder.is_dir():
        return
    make_folder(folder.parent, root) if folder != root else folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def _sweep(root: Path, manifest: Manifest) -> None:
    """Remove files of a day that its manifest does not name."""
    named = {root / entry.path for entry in manifest.files.values()}
    for layout in LAYOUTS:
        for path in data_folder(root, layout.name, manifest.venue, manifest.date).glob("part-*.parquet"):
            if path not in named:
                path.unlink()


KEEPERS = ".keeper"
"""File that marks a folder as the keeper's: only what table archive names may be replaced there."""


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """Hold the lock of an archive, whose folder is created when missing.

    Raises:
        ConfigError: The folder cannot be written, or another process writes to it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"cannot write to {root}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another export is writing to {root}; wait for it, or choose another folder") from None
        yield
    finally:
        os.close(descriptor)


def days_of(start: datetime, end: datetime) -> list[date]:
    """Return the UTC days of [start, end), from the day of `start` to the day that holds the last instant."""
    return [piece.start.astimezone(UTC).date() for piece in Range(start, end).pieces(timedelta(days=1))]

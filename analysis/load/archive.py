"""Read an exported Parquet archive, checked against its manifests."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import ArchiveError
from analysis.load.manifest import (
    FileEntry,
    GapRow,
    Manifest,
    day_range,
    exported_days,
    gap_table,
    grade_rows,
    instruments_of,
    problems,
    read_manifest,
)
from analysis.load.source import DAY, US, Instrument, Range, Unrecorded
from analysis.load.tables import CERTIFICATE, WORDS, Channel, Layout, of_codes
from recorder.errors import ConfigError

_ROWS_PER_READ = 1 << 23  # rows


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """An archive that `analysis.export` wrote.

    Attributes:
        root: Folder of the archive.
        verify: Compare the SHA-256 of each file that is read; sizes and row counts are always compared.
    """

    root: Path
    verify: bool = False

    @contextmanager
    def reading(self) -> Iterator["ArchiveReader"]:
        """Open the archive as its files are now.

        Raises:
            ConfigError: The folder holds no archive.
        """
        if not (self.root / "manifest").is_dir():
            raise ConfigError(f"there is no archive in {self.root}; tapedeck-analysis export writes one")
        yield ArchiveReader(self.root, verify=self.verify)


class ArchiveReader:
    """Read the files of an archive."""

    in_order = True  # export sorts each stretch
    graded = True

    def __init__(self, root: Path, *, verify: bool) -> None:
        self._root = root
        self._verify = verify
        self._manifests: dict[tuple[str, date], Manifest | None] = {}
        self._counted: set[str] = set()

    def venues(self) -> list[str]:
        """Return the venues with an exported day."""
        return sorted(path.name.removeprefix("venue=") for path in (self._root / "manifest").glob("venue=*"))

    def recorded_until(self, venue: str) -> datetime | None:
        """Return what the latest exported day states; a day whose manifest has no value was recorded to its end."""
        days = exported_days(self._root, venue)
        latest = self._manifest(venue, days[-1]) if days else None
        return None if latest is None else latest.recorded_until or latest.end

    def instruments(self, venue: str, symbols: Sequence[str] | None = None) -> list[Instrument]:
        """Return the instruments of the latest day, which names all that were known by its end."""
        days = exported_days(self._root, venue)
        latest = self._manifest(venue, days[-1]) if days else None
        found = instruments_of(latest) if latest is not None else []
        return found if symbols is None else [one for one in found if one.symbol in set(symbols)]

    def unrecorded(self, venue: str, span: Range) -> list[Unrecorded]:
        """Return days that were not exported, and the rest of a day that was not recorded to its end."""
        found: list[Unrecorded] = []
        for day in _days(span):
            whole, manifest = day_range(day), self._manifest(venue, day)
            if manifest is None:
                follows = bool(found) and found[-1].end == whole.start
                begin = found.pop().start if follows else whole.start
                found.append(Unrecorded(begin, whole.end, "on days missing from this archive"))
                continue
            until = manifest.recorded_until
            if until is not None and until + US < min(whole.end, span.end):
                found.append(Unrecorded(until, whole.end, "after the latest frame"))
        return found

    def gaps(self, whose: Sequence[Instrument], span: Range) -> pa.Table:
        """Return each gap in the latest revision that a day of the range holds."""
        wanted = {one.instrument_id for one in whose}
        latest: dict[int, GapRow] = {}
        for day in _days(Range(span.start - DAY, span.end + DAY)):
            for venue in {one.venue for one in whose}:
                manifest = self._manifest(venue, day)
                for row in manifest.gaps if manifest is not None else ():
                    known = latest.get(row.gap_id)
                    if row.instrument_id in wanted and (known is None or known.revision < row.revision):
                        latest[row.gap_id] = row
        rows = [row for row in latest.values() if touches(row, span)]
        return gap_table(sorted(rows, key=lambda row: (row.started_at, row.gap_id)))

    def certificates(self, whose: Sequence[Instrument], channel: Channel, span: Range) -> pa.Table:
        """Return the grades as they were at the export of each day; days of earlier versions have none."""
        wanted = {one.instrument_id for one in whose}
        first, rows = span.start - timedelta(hours=1), []
        for day in _days(span):
            for venue in sorted({one.venue for one in whose}):
                manifest = self._manifest(venue, day)
                for row in grade_rows(manifest) if manifest is not None else ():
                    mine = row["instrument_id"] in wanted and row["channel"] == channel
                    if mine and first < row["hour"] < span.end:
                        rows.append(row)
        rows.sort(key=lambda row: (row["hour"], row["instrument_id"]))
        return pa.Table.from_pylist(rows, CERTIFICATE)

    def pieces(self, layout: Layout, whose: Sequence[Instrument], span: Range) -> list[Range]:
        """Return the stretches of a table; days with few rows are read together, which keeps all processors busy."""
        stretches = span.pieces(layout.stretch)
        if layout.stretch < DAY:
            return stretches
        joined: list[Range] = []
        held = 0
        for piece in stretches:
            rows = sum(entry.rows for _, entry in self._files(layout, whose, piece))
            if joined and held + rows <= _ROWS_PER_READ:
                joined[-1] = Range(joined[-1].start, piece.end)
                held += rows
            else:
                joined.append(piece)
                held = rows
        return joined

    def rows(self, layout: Layout, whose: Sequence[Instrument], span: Range, columns: Sequence[str]) -> pa.Table:
        """Return rows of the files of some days."""
        files = self._files(layout, whose, span)
        wanted = {one.instrument_id for one in whose}
        there = {row.instrument_id for manifest, _ in files for row in manifest.instruments}
        return read_files(
            [self._root / entry.path for _, entry in files],
            layout,
            columns,
            wanted=None if there <= wanted else wanted,
            start=span.start if files and span.start > files[0][0].start else None,
            end=span.end if files and span.end < files[-1][0].end else None,
        )

    def _files(self, layout: Layout, whose: Sequence[Instrument], span: Range) -> list[tuple[Manifest, FileEntry]]:
        """Return the non-empty files of a range, by day."""
        found = []
        for day in _days(span):
            for venue in sorted({one.venue for one in whose}):
                manifest = self._manifest(venue, day)
                entry = manifest.files.get(layout.name) if manifest is not None else None
                if manifest is not None and entry is None:
                    raise ArchiveError(
                        f"the archive in {self._root} has no {layout.name} of {venue} {day}: the keeper leaves what it "
                        "has not archived in the database; read it from there, without naming this folder"
                    )
                if manifest is not None and entry is not None and entry.rows:
                    self._count(entry)
                    found.append((manifest, entry))
        return found

    def _count(self, entry: FileEntry) -> None:
        if entry.path in self._counted:
            return
        path = self._root / entry.path
        try:
            rows = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            raise ArchiveError(f"{path} is damaged ({str(error).strip()}); export the day again") from error
        if rows != entry.rows:
            raise ArchiveError(f"{path} has {rows} rows, but its manifest states {entry.rows}; export the day again")
        self._counted.add(entry.path)

    def _manifest(self, venue: str, day: date) -> Manifest | None:
        if (venue, day) not in self._manifests:
            manifest = read_manifest(self._root, venue, day)
            wrong = problems(self._root, manifest, hashes=self._verify) if manifest is not None else []
            if wrong:
                raise ArchiveError(f"{wrong[0]}; export the day again")
            self._manifests[venue, day] = manifest
        return self._manifests[venue, day]


def read_files(
    paths: Sequence[Path],
    layout: Layout,
    columns: Sequence[str],
    *,
    wanted: Collection[int] | None,
    start: datetime | None,
    end: datetime | None,
) -> pa.Table:
    """Return columns of the rows of some files, in the order of the files.

    Args:
        paths: Data files of one table.
        layout: The table.
        columns: Names of its columns.
        wanted: Instruments; None takes all rows.
        start: First instant by the clock of the table; None takes all.
        end: First instant after; None takes all.

    Raises:
        ArchiveError: A file is damaged or missing.
    """
    schema = pa.schema([layout.schema.field(name) for name in columns])
    if not paths:
        return schema.empty_table()
    scan = pl.scan_parquet(list(paths), hive_partitioning=False, glob=False)
    clock = pl.col(layout.clock)
    if wanted is not None:
        scan = scan.filter(pl.col("instrument_id").is_in(sorted(wanted)))
    if start is not None:
        scan = scan.filter(clock >= start)
    if end is not None:
        scan = scan.filter(clock < end)
    try:
        return _table(scan.select(_expression(name) for name in columns).collect(), schema)
    except (pl.exceptions.PolarsError, OSError) as error:
        named = "\n".join(map(str, paths))
        raise ArchiveError(f"one of these files is damaged, export its day again: {error}\n{named}") from error


def touches(row: GapRow, span: Range) -> bool:
    """Return whether a gap may touch a range by either clock, as `Reader.gaps` requires."""
    first = min(row.started_at, row.last_ts_event or row.started_at)
    if row.ended_at is None:
        return first < span.end
    return first < span.end and max(row.ended_at, row.first_ts_event or row.ended_at) >= span.start


def _days(span: Range) -> list[date]:
    return [piece.start.date() for piece in span.pieces(timedelta(days=1))]


def _expression(name: str) -> pl.Expr:
    """Return a column as stored, but a coded column as the index of its value, before text is made of it."""
    column = pl.col(name)
    return (column == WORDS[name][1].as_py()).cast(pl.Int8).alias(name) if name in WORDS else column


def _table(frame: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    read = frame.to_arrow(compat_level=pl.CompatLevel.newest())
    columns = [
        of_codes(read[name], name) if name in WORDS else read[name].cast(schema.field(name).type)
        for name in schema.names
    ]
    return pa.table(columns, schema=schema)

"""The tape in a Parquet archive: the same rows through the same Reader, checked against their manifest."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.errors import ArchiveError
from analysis.load.manifest import (
    FileEntry,
    GapRow,
    Manifest,
    day_range,
    exported_days,
    gap_table,
    instruments_of,
    problems,
    read_manifest,
)
from analysis.load.source import DAY, US, Instrument, Range, Unrecorded
from analysis.load.tables import UTC_US, Layout
from recorder.errors import ConfigError

_FEW_WORDS = ("aggressor", "kind")


@dataclass(frozen=True, slots=True)
class ArchiveSource:
    """A folder that `export` wrote.

    Attributes:
        verify: Compare the SHA-256 of each file that is read; sizes and rows are compared always.
    """

    root: Path
    verify: bool = False

    @contextmanager
    def reading(self) -> Iterator["ArchiveReader"]:
        """Its files as they are now.

        Raises:
            ConfigError: there is no archive in this folder.
        """
        if not (self.root / "manifest").is_dir():
            raise ConfigError(f"there is no archive in {self.root}; tapedeck-analysis export makes one")
        yield ArchiveReader(self.root, verify=self.verify)


class ArchiveReader:
    """A Reader of files."""

    in_order = True  # export sorts each stretch

    def __init__(self, root: Path, *, verify: bool) -> None:
        self._root = root
        self._verify = verify
        self._manifests: dict[tuple[str, date], Manifest | None] = {}
        self._open: tuple[str, pq.ParquetFile] | None = None

    def venues(self) -> list[str]:
        """Venues with an exported day."""
        return sorted(path.name.removeprefix("venue=") for path in (self._root / "manifest").glob("venue=*"))

    def recorded_until(self, venue: str) -> datetime | None:
        """As the latest exported day says; a day whose manifest does not was recorded to its end."""
        days = exported_days(self._root, venue)
        latest = self._manifest(venue, days[-1]) if days else None
        return None if latest is None else latest.recorded_until or latest.end

    def instruments(self, venue: str, symbols: Sequence[str] | None = None) -> list[Instrument]:
        """Those of the latest day: a day names all that were known by its end."""
        days = exported_days(self._root, venue)
        latest = self._manifest(venue, days[-1]) if days else None
        found = instruments_of(latest) if latest is not None else []
        return found if symbols is None else [one for one in found if one.symbol in set(symbols)]

    def unrecorded(self, venue: str, span: Range) -> list[Unrecorded]:
        """Days that were not exported, and the rest of a day that was not recorded to its end."""
        found: list[Unrecorded] = []
        for day in _days(span):
            whole, manifest = day_range(day), self._manifest(venue, day)
            if manifest is None:
                follows = bool(found) and found[-1].end == whole.start
                begin = found.pop().start if follows else whole.start
                found.append(Unrecorded(begin, whole.end, "on days this archive does not have"))
                continue
            until = manifest.recorded_until
            if until is not None and until + US < min(whole.end, span.end):
                found.append(Unrecorded(until, whole.end, "after the latest frame"))
        return found

    def gaps(self, whose: Sequence[Instrument], span: Range) -> pa.Table:
        """Gaps in the latest revision that a day of the range knows."""
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

    def rows(self, layout: Layout, whose: Sequence[Instrument], span: Range, columns: Sequence[str]) -> pa.Table:
        """Rows of one day's files."""
        schema = pa.schema([layout.schema.field(name) for name in columns])
        ids = {one.instrument_id for one in whose}
        found = []
        for venue in sorted({one.venue for one in whose}):
            manifest = self._manifest(venue, span.start.date())
            entry = manifest.files.get(layout.name) if manifest is not None else None
            if entry is not None and entry.rows:
                found.append(self._part(entry, layout, ids, span, schema))
        return pa.concat_tables(found) if found else schema.empty_table()

    def _part(self, entry: FileEntry, layout: Layout, wanted: set[int], span: Range, schema: pa.Schema) -> pa.Table:
        file = self._file(entry, layout)
        low, high = min(wanted), max(wanted)
        columns = file.schema_arrow.names
        places = {name: columns.index(name) for name in ("instrument_id", layout.clock)}
        runs: list[tuple[bool, list[int]]] = []  # neighbouring row groups that are wanted whole, or in part
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            whose, when = (group.column(places[name]).statistics for name in ("instrument_id", layout.clock))
            if whose.max < low or whose.min > high or when.max < span.start or when.min >= span.end:
                continue
            one = whose.min == whose.max and whose.min in wanted
            whole = one and when.min >= span.start and when.max < span.end
            if not runs or runs[-1][0] != whole:
                runs.append((whole, []))
            runs[-1][1].append(number)
        names = list(dict.fromkeys([*schema.names, "instrument_id", layout.clock]))
        ids = pa.array(sorted(wanted), pa.int64())
        parts = []
        for whole, numbers in runs:
            table = file.read_row_groups(numbers, columns=schema.names if whole else names)
            if not whole:
                at = table[layout.clock]
                inside = pc.and_(pc.greater_equal(at, _scalar(span.start)), pc.less(at, _scalar(span.end)))
                table = table.filter(pc.and_(pc.is_in(table["instrument_id"], ids), inside))
            parts.append(table.select(schema.names).cast(schema))
        return pa.concat_tables(parts) if parts else schema.empty_table()

    def _file(self, entry: FileEntry, layout: Layout) -> pq.ParquetFile:
        if self._open is None or self._open[0] != entry.path:
            # Decoding a column of few words as a dictionary and casting it is a third faster than decoding each word.
            words = [name for name in layout.columns if name in _FEW_WORDS]
            path = self._root / entry.path
            file = pq.ParquetFile(path, memory_map=True, pre_buffer=False, read_dictionary=words)
            if file.metadata.num_rows != entry.rows:
                raise ArchiveError(
                    f"{path} has {file.metadata.num_rows} rows, its manifest says {entry.rows}; export the day again"
                )
            self._open = entry.path, file
        return self._open[1]

    def _manifest(self, venue: str, day: date) -> Manifest | None:
        if (venue, day) not in self._manifests:
            manifest = read_manifest(self._root, venue, day)
            wrong = problems(self._root, manifest, hashes=self._verify) if manifest is not None else []
            if wrong:
                raise ArchiveError(f"{wrong[0]}; export the day again")
            self._manifests[venue, day] = manifest
        return self._manifests[venue, day]


def touches(row: GapRow, span: Range) -> bool:
    """Whether a gap may touch a range by either clock: what `gaps` of a Reader gives."""
    first = min(row.started_at, row.last_ts_event or row.started_at)
    if row.ended_at is None:
        return first < span.end
    return first < span.end and max(row.ended_at, row.first_ts_event or row.ended_at) >= span.start


def _days(span: Range) -> list[date]:
    return [piece.start.date() for piece in span.pieces(timedelta(days=1))]


def _scalar(at: datetime) -> pa.Scalar:
    return pa.scalar(at, UTC_US)

"""What an archive says of itself: a manifest for each venue and day.

    <archive>/manifest/venue=kraken/date=2026-03-05.json
    <archive>/trade/venue=kraken/date=2026-03-05/part-<hash>.parquet      and quote, book

A day is in the archive when its manifest is: it is written last. Any tool that knows hive partitions reads the files;
the manifest tells what they should be, and what is missing of the day.
"""

import os
from datetime import UTC, date, datetime, time
from hashlib import file_digest
from pathlib import Path

import msgspec
import pyarrow as pa

from analysis.errors import ArchiveError
from analysis.load.source import DAY, Instrument, Range
from analysis.load.tables import GAP

FORMAT = 1


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One data file."""

    path: str  # in the archive
    rows: int
    bytes: int
    sha256: str


class GapRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of table gap as it was at export; columns as there."""

    instrument_id: int
    gap_id: int
    channel: str
    session_id: int | None
    cause: str
    state: str
    reason: str | None
    last_id: int | None
    first_id: int | None
    started_at: datetime
    ended_at: datetime | None
    last_ts_event: datetime | None
    first_ts_event: datetime | None
    revision: int


class InstrumentRow(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument that was known by the end of the day."""

    instrument_id: int
    symbol: str
    first_seen: datetime


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A day of a venue."""

    format: int
    venue: str
    date: date
    start: datetime  # of the span the files hold, by the clock each table is bounded by
    end: datetime
    recorded_until: datetime | None  # latest frame of the venue at export, no later than `end`; None: not known
    schema_version: int  # last migration of the database it came from
    tapedeck: str  # version that wrote it
    exported_at: datetime
    files: dict[str, FileEntry]  # by table
    instruments: list[InstrumentRow]
    gaps: list[GapRow]  # that touch the day by either clock, in any state

    def gap_table(self) -> pa.Table:
        """The gaps as rows of GAP."""
        return gap_table(self.gaps)


def gap_table(rows: list[GapRow]) -> pa.Table:
    """Rows of GAP."""
    return pa.Table.from_pylist([msgspec.structs.asdict(row) for row in rows], GAP)


def gap_rows(table: pa.Table) -> list[GapRow]:
    """The same the other way round."""
    return [GapRow(**row) for row in table.to_pylist()]


def day_range(day: date) -> Range:
    """From midnight to midnight, UTC."""
    start = datetime.combine(day, time(), UTC)
    return Range(start, start + DAY)


def manifest_path(root: Path, venue: str, day: date) -> Path:
    """Where the manifest of a day is."""
    return root / "manifest" / f"venue={venue}" / f"date={day.isoformat()}.json"


def data_folder(root: Path, table: str, venue: str, day: date) -> Path:
    """Where the file of a day is."""
    return root / table / f"venue={venue}" / f"date={day.isoformat()}"


def exported_days(root: Path, venue: str) -> list[date]:
    """The days of a venue that an archive has, oldest first."""
    names = (path.stem.removeprefix("date=") for path in (root / "manifest" / f"venue={venue}").glob("date=*.json"))
    return sorted(date.fromisoformat(name) for name in names)


def read_manifest(root: Path, venue: str, day: date) -> Manifest | None:
    """The manifest of a day; None where the archive does not have the day.

    Raises:
        ArchiveError: it cannot be understood, or was written by a later version.
    """
    path = manifest_path(root, venue, day)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{path} is no manifest of this archive format ({error}); export the day again") from error
    if found.format != FORMAT:
        raise ArchiveError(f"{path} has format {found.format}, this version reads {FORMAT}; export the day again")
    return found


def instruments_of(manifest: Manifest) -> list[Instrument]:
    """Its instruments."""
    return [Instrument(row.instrument_id, manifest.venue, row.symbol, row.first_seen) for row in manifest.instruments]


def digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file at once and for good: after a power cut it is the old one or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, last."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def problems(root: Path, manifest: Manifest, *, hashes: bool) -> list[str]:
    """What is wrong with the files of a day, a sentence each; sizes, and with `hashes` every byte."""
    found = []
    for entry in manifest.files.values():
        path = root / entry.path
        if not path.is_file():
            found.append(f"{path} is missing")
        elif path.stat().st_size != entry.bytes:
            found.append(f"{path} has {path.stat().st_size} bytes, its manifest says {entry.bytes}")
        elif hashes and digest(path) != entry.sha256:
            found.append(f"{path} is not the file its manifest names: its SHA-256 differs")
    return found

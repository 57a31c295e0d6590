"""The manifest of an archive: one file for each venue and day.

    <archive>/manifest/venue=kraken/date=2026-03-05.json
    <archive>/trade/venue=kraken/date=2026-03-05/part-<hash>.parquet      and quote, book

The manifest is written last, so a day belongs to the archive when its manifest exists. Any tool that knows hive
partitions can read the data files; the manifest states their hashes and the gaps of the day.
"""

import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from hashlib import file_digest
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from analysis.errors import ArchiveError
from analysis.load.source import DAY, Instrument, Range
from analysis.load.tables import GAP

FORMAT = 1
_VENUE = re.compile(r"[A-Za-z0-9_-]{1,64}")


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One data file."""

    path: str  # relative to the archive
    rows: int
    bytes: int
    sha256: str


class GapRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of table gap at the time of the export, with the columns of that table."""

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


class CertificateRow(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate of a stream and hour at the time of the archive."""

    instrument_id: int
    channel: str
    hour: datetime
    revision: int
    grade: str
    sha256: str


class InstrumentRow(msgspec.Struct, frozen=True, kw_only=True):
    """An instrument known by the end of the day."""

    instrument_id: int
    symbol: str
    first_seen: datetime
    canonical: str | None = None  # absent in days of earlier versions


class GradeRow(msgspec.Struct, frozen=True, kw_only=True):
    """The grades of a stream on the day of the manifest, as certificates had them at the time of the export."""

    instrument_id: int
    channel: str
    grades: list[str | None]  # of the 24 UTC hours in order; None where an hour had no certificate


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One day of a venue."""

    format: int
    venue: str
    date: date
    start: datetime  # span of the files, by the clock of each table
    end: datetime
    recorded_until: datetime | None  # latest frame of the venue at export, at most `end`; None when unknown
    schema_version: int  # last migration of the exported database
    tapedeck: str  # version that wrote it
    exported_at: datetime
    files: dict[str, FileEntry]  # by table
    instruments: list[InstrumentRow]
    gaps: list[GapRow]  # gaps that touch the day by either clock, in any state
    grades: list[GradeRow] = []  # of streams with a certificate; absent in days of earlier versions
    certificates: list[CertificateRow] = []  # of the keeper's archive: the highest revision of each hour


def gap_table(rows: list[GapRow]) -> pa.Table:
    """Return gaps as rows of GAP."""
    return pa.Table.from_pylist([msgspec.structs.asdict(row) for row in rows], GAP)


def gap_rows(table: pa.Table) -> list[GapRow]:
    """Return rows of GAP as gaps of a manifest."""
    return [GapRow(**row) for row in table.to_pylist()]


def grade_rows(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yield the graded hours of a day as rows of CERTIFICATE."""
    for row in manifest.grades:
        for number, grade in enumerate(row.grades):
            if grade is not None:
                hour = manifest.start + timedelta(hours=number)
                yield {"instrument_id": row.instrument_id, "channel": row.channel, "hour": hour, "grade": grade}


def grades_of(day: date, certificates: Sequence[pa.Table]) -> list[GradeRow]:
    """Return rows of CERTIFICATE of one day as grades of a manifest."""
    start = day_range(day).start
    found: dict[tuple[int, str], list[str | None]] = {}
    for table in certificates:
        for row in table.to_pylist():
            hours = found.setdefault((row["instrument_id"], row["channel"]), [None] * 24)
            hours[(row["hour"] - start) // timedelta(hours=1)] = row["grade"]
    return [
        GradeRow(instrument_id=one, channel=channel, grades=hours) for (one, channel), hours in sorted(found.items())
    ]


def day_range(day: date) -> Range:
    """Return a day as a range from midnight to midnight, UTC."""
    start = datetime.combine(day, time(), UTC)
    return Range(start, start + DAY)


def _folder_of(venue: str) -> str:
    """Return the name of a venue's folder.

    Raises:
        ArchiveError: the name could lead out of the archive; the table `instrument` may hold any name.
    """
    if not _VENUE.fullmatch(venue):
        raise ArchiveError(f"{venue!r} cannot name a folder; a venue is named by letters, digits, _ and -")
    return f"venue={venue}"


def manifest_path(root: Path, venue: str, day: date) -> Path:
    """Return the path of the manifest of a day."""
    return root / "manifest" / _folder_of(venue) / f"date={day.isoformat()}.json"


def data_folder(root: Path, table: str, venue: str, day: date) -> Path:
    """Return the folder of the data file of a day."""
    return root / table / _folder_of(venue) / f"date={day.isoformat()}"


def exported_days(root: Path, venue: str) -> list[date]:
    """Return the days of a venue in an archive, oldest first."""
    names = (path.stem.removeprefix("date=") for path in (root / "manifest" / _folder_of(venue)).glob("date=*.json"))
    return sorted(date.fromisoformat(name) for name in names)


def read_manifest(root: Path, venue: str, day: date) -> Manifest | None:
    """Return the manifest of a day; None when the archive does not hold the day.

    Raises:
        ArchiveError: The manifest is unreadable, or has another format version.
    """
    path = manifest_path(root, venue, day)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise ArchiveError(
            f"{path} is not a manifest of this archive format ({error}); export the day again"
        ) from error
    if found.format != FORMAT:
        raise ArchiveError(f"{path} has format {found.format}, this version reads {FORMAT}; export the day again")
    return found


def instruments_of(manifest: Manifest) -> list[Instrument]:
    """Return the instruments of a manifest."""
    return [
        Instrument(row.instrument_id, manifest.venue, row.symbol, row.first_seen, row.canonical)
        for row in manifest.instruments
    ]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably: after a power cut either the old or the new content exists."""
    fresh = path.with_name(f".{path.name}.new")
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush the bytes of a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def problems(root: Path, manifest: Manifest, *, hashes: bool) -> list[str]:
    """Return one sentence for each fault of the files of a day; `hashes` compares every byte."""
    found = []
    for entry in manifest.files.values():
        path = root / entry.path
        if not path.is_file():
            found.append(f"{path} is missing")
        elif path.stat().st_size != entry.bytes:
            found.append(f"{path} has {path.stat().st_size} bytes, but its manifest states {entry.bytes}")
        elif hashes and digest(path) != entry.sha256:
            found.append(f"{path} is not the file that its manifest names: its SHA-256 differs")
    return found

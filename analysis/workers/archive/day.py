"""Archives one day of one table, and lets it leave the table when archive and table agree in every value.

The order is what keeps a row from being in neither place. The files and their manifest are written and synced; they are
read back and summed; a transaction keeps the day from being changed, sums it by SQL, compares, writes the ledger and
drops the partition. A kill before its COMMIT leaves the day in the table (and perhaps in files that the next run writes
again); after it the ledger names the files. Rows that come later make another revision of the files in the same way.
The manifest of a run waits beside that of the run before, and takes its place after the COMMIT.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg2
import pyarrow as pa

from analysis.errors import ArchiveError
from analysis.export import KEEPERS, exclusive, make_folder, manifest_of, write_table
from analysis.load.archive import read_files
from analysis.load.kept.ledger import KEYS, is_known
from analysis.load.manifest import (
    CertificateRow,
    FileEntry,
    Manifest,
    data_folder,
    day_range,
    digest,
    manifest_path,
    read_manifest,
    sync,
    write_durably,
)
from analysis.load.postgres import PostgresReader, PostgresSource
from analysis.load.source import Instrument
from analysis.load.tables import LAYOUTS, TRADE, Layout
from analysis.workers.archive import row_checksum
from recorder.store.archive_files import REPLACED, coming, manifest_fault, sealed
from recorder.store.database import KEEPER, Connection, Cursor, classify, connect

SUPERSEDED = "superseded"
"""Folder of files that neither the ledger nor a manifest names, such as those of a database that was restored since."""

_STATEMENT_S = 3 * 3600.0
_WHOSE = "SELECT DISTINCT instrument_id FROM {table} WHERE {clock} >= %s AND {clock} < %s"
_NAMES = "SELECT instrument_id, venue, symbol, first_seen, canonical FROM instrument WHERE instrument_id = ANY (%s)"
_LEDGER = """
SELECT venue, path, row_count, duplicates, checksum FROM archive WHERE table_name = %s AND day = %s"""
_DIGESTS = "SELECT venue, table_name, sha256 FROM archive WHERE day = %s"
_CERTIFICATES = """
SELECT DISTINCT ON (instrument_id, channel, hour) instrument_id, channel, hour, revision, grade, sha256
  FROM certificate WHERE instrument_id = ANY (%s) AND hour >= %s AND hour < %s
 ORDER BY instrument_id, channel, hour, revision DESC"""
_STORE = """
INSERT INTO archive AS a (table_name, day, venue, revision, state, folder, path, row_count, duplicates, bytes, sha256,
                          checksum)
VALUES (%s, %s, %s, 1, 'kept', %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (table_name, day, venue) DO UPDATE
   SET revision = a.revision + 1, state = 'kept', folder = excluded.folder, path = excluded.path,
       row_count = excluded.row_count,
       duplicates = excluded.duplicates, bytes = excluded.bytes, sha256 = excluded.sha256,
       checksum = excluded.checksum, archived_at = now(), here = true, copied_to = NULL, copied_at = NULL"""


class Result(msgspec.Struct, frozen=True):
    """What became of a day."""

    outcome: str  # released, nothing
    rows: int = 0  # that left the table
    bytes: int = 0  # of the files
    files: int = 0


class _Earlier(NamedTuple):
    """A venue of the day in the ledger."""

    path: str
    rows: int  # 0 after they were let go
    duplicates: int
    checksum: int


class _Filed(NamedTuple):
    """A venue of the day as it was written and read back."""

    entry: FileEntry
    rows: int
    checksum: int


class Archiver:
    """Archives days of one database into one folder.

    Args:
        url: Of the database, with the login of the keeper.
        root: Folder of the archive; created when missing.
    """

    def __init__(self, url: str, root: Path) -> None:
        self._url = url
        self._root = root
        self._digests: dict[str, dict[str, str]] = {}  # of the day at work: SHA-256 by venue and table in the ledger

    def archive(self, table: str, day: date) -> Result:
        """Archive a day of a table and drop it.

        Raises:
            ArchiveError: The archive differs from the table, or lacks a file: nothing was dropped.
            ConfigError: Another process writes to the folder, or a person must act.
            StoreError: The database cannot be used now: nothing was dropped.
        """
        layout = next(layout for layout in LAYOUTS if layout.name == table)
        with exclusive(self._root):
            (self._root / KEEPERS).touch()
            with PostgresSource(self._url).reading() as reader:
                self._settle(day)
                earlier, whose, certificates = self._facts(layout, day)
                if not whose and not earlier:
                    return self._empty(layout, day)
                if not whose:
                    return Result("nothing")
                filed = {
                    venue: self._write(reader, layout, venue, day, whose[venue], certificates)
                    for venue in sorted(whose)
                }
            rows = self._release(layout, day, filed, earlier)
            for venue, one in filed.items():
                self._put_manifest(venue, day)
                self._sweep(layout, venue, day, one.entry.path, earlier.get(venue))
        return Result("released", rows, sum(one.entry.bytes for one in filed.values()), len(filed))

    def _connect(self) -> Connection:
        return connect(self._url, application_name="keeper", role=KEEPER, statement_timeout_s=_STATEMENT_S)

    def _settle(self, day: date) -> None:
        """Put manifests in their places whose transaction was committed before a kill, and remove the others."""
        with closing(self._connect()) as one:
            try:
                with one.cursor() as cursor:
                    cursor.execute(_DIGESTS, (day,))
                    self._digests = {}
                    for venue, table, sha256 in cursor.fetchall():
                        self._digests.setdefault(venue, {})[table] = sha256
            except psycopg2.Error as error:
                raise classify(error) from error
        for path in (self._root / "manifest").glob(f"venue=*/.date={day}.json.next"):
            venue = path.parent.name.removeprefix("venue=")
            digests = self._digests.get(venue, {})
            named = set(self._decoded(path).files) if manifest_fault(path, venue, day, digests) is None else None
            if named is not None and named <= digests.keys():
                self._put_manifest(venue, day)
            else:
                path.unlink()

    def _put_manifest(self, venue: str, day: date) -> None:
        path = manifest_path(self._root, venue, day)
        coming(path).replace(path)
        sync(path.parent)

    @staticmethod
    def _decoded(path: Path) -> Manifest:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)

    def _old_manifest(self, venue: str, day: date) -> Manifest | None:
        """Return the manifest of a day, without files that the ledger does not name; None where it has none.

        Raises:
            ArchiveError: It is damaged, or missing though the ledger has files of the day.
        """
        path, digests = manifest_path(self._root, venue, day), self._digests.get(venue, {})
        fault = manifest_fault(path, venue, day, {})
        if fault is not None and (digests or path.exists()):
            raise ArchiveError(
                f"{path} {fault}: bring it back from the second place, or from a backup of the archive; "
                "nothing was dropped"
            )
        found = read_manifest(self._root, venue, day)
        if found is None:
            return None
        # Of a database that was restored since, the manifest may name files that the ledger does not know.
        files = {table: entry for table, entry in found.files.items() if digests.get(table) == entry.sha256}
        return msgspec.structs.replace(found, files=files)

    def _facts(
        self, layout: Layout, day: date
    ) -> tuple[dict[str, _Earlier], dict[str, list[Instrument]], list[CertificateRow]]:
        """Return the ledger of a day, the instruments with rows in the table by venue, and their certificates."""
        span = day_range(day)
        with closing(
            connect(self._url, application_name="keeper", role=KEEPER, statement_timeout_s=_STATEMENT_S)
        ) as one:
            try:
                with one.cursor() as cursor:
                    earlier = _ledger(cursor, layout, day)
                    cursor.execute(_WHOSE.format(table=layout.name, clock=layout.clock), (span.start, span.end))
                    numbers = [int(number) for (number,) in cursor.fetchall()]
                    cursor.execute(_NAMES, (numbers,))
                    whose: dict[str, list[Instrument]] = {}
                    for number, venue, symbol, first_seen, canonical in cursor.fetchall():
                        whose.setdefault(venue, []).append(Instrument(number, venue, symbol, first_seen, canonical))
                    known = {one.instrument_id for found in whose.values() for one in found}
                    nameless = sorted(set(numbers) - known)
                    if nameless:
                        raise ArchiveError(
                            f"{layout.name} of {day} has rows of {len(nameless)} instruments without a name in table "
                            f"instrument, such as {nameless[0]}: the writer names them when it reads their journal"
                        )
                    for venue in earlier.keys() & whose.keys():  # the file holds all instruments of earlier revisions
                        whose[venue] = self._with_archived(cursor, layout, venue, day, whose[venue])
                    cursor.execute(_CERTIFICATES, (sorted(known), span.start, span.end))
                    names = CertificateRow.__struct_fields__
                    certificates = [CertificateRow(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]
            except psycopg2.Error as error:
                raise classify(error) from error
        return earlier, whose, certificates

    def _with_archived(
        self, cursor: Cursor, layout: Layout, venue: str, day: date, late: Sequence[Instrument]
    ) -> list[Instrument]:
        """Return instruments with those of the archived file of the day."""
        manifest = self._old_manifest(venue, day)
        if manifest is None:
            raise ArchiveError(
                f"{manifest_path(self._root, venue, day)} is missing, though table archive names the day"
            )
        known = {one.instrument_id for one in late}
        cursor.execute(_NAMES, ([row.instrument_id for row in manifest.instruments if row.instrument_id not in known],))
        return [*late, *(Instrument(row[0], venue, row[2], row[3], row[4]) for row in cursor.fetchall())]

    def _write(
        self,
        reader: PostgresReader,
        layout: Layout,
        venue: str,
        day: date,
        whose: Sequence[Instrument],
        certificates: Sequence[CertificateRow],
    ) -> _Filed:
        """Write the file and the manifest of a venue, and read the file back."""
        old = self._old_manifest(venue, day)
        entry = write_table(reader, self._root, venue, day, layout, whose, lambda _steps: None)
        head = manifest_of(reader, venue, day, whose, datetime.now(UTC), {})
        named = {row.instrument_id: row for row in (*(old.instruments if old else ()), *head.instruments)}
        numbers = {one.instrument_id for one in whose}
        earlier = [row for row in (old.certificates if old else ()) if row.instrument_id not in numbers]
        head = msgspec.structs.replace(
            head,
            files={**(old.files if old else {}), layout.name: entry},
            instruments=list(named.values()),
            gaps=list({row.gap_id: row for row in (*(old.gaps if old else ()), *head.gaps)}.values()),
            certificates=[*earlier, *(row for row in certificates if row.instrument_id in numbers)],
        )
        path = coming(manifest_path(self._root, venue, day))
        make_folder(path.parent, self._root)
        write_durably(path, sealed(msgspec.json.format(msgspec.json.encode(head))))
        return _Filed(entry, *self._read_back(entry, layout))

    def _read_back(self, entry: FileEntry, layout: Layout) -> tuple[int, int]:
        """Return rows and checksum of a file as it is on disk now.

        Raises:
            ArchiveError: It is missing, damaged, or not the file that was written.
        """
        path = self._root / entry.path
        try:
            if digest(path) != entry.sha256:
                raise ArchiveError(f"{path} is not the file that was written: its SHA-256 differs; nothing was dropped")
            rows, checksum = row_checksum.of_file(str(path), layout)
        except (OSError, pa.ArrowException) as error:
            raise ArchiveError(f"{path} cannot be read back ({error}); nothing was dropped") from error
        if rows != entry.rows:
            raise ArchiveError(f"{path} has {rows} rows, but {entry.rows} were written; nothing was dropped")
        return rows, checksum

    def _release(self, layout: Layout, day: date, filed: Mapping[str, _Filed], earlier: Mapping[str, _Earlier]) -> int:
        """Compare the table with the files and drop the day in one transaction; return the rows that left the table."""
        span = day_range(day)
        with closing(
            connect(self._url, application_name="keeper", role=KEEPER, statement_timeout_s=_STATEMENT_S)
        ) as one:
            try:
                with one.cursor() as cursor:
                    cursor.execute("BEGIN")
                    cursor.execute("SELECT hold_day(%s, %s)", (layout.name, day))
                    held = cursor.fetchone() == (True,)
                    if not held:  # its rows are in the default partition, and more may come: one snapshot for all
                        cursor.execute("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ")
                    cursor.execute(row_checksum.query(layout), {"low": span.start, "high": span.end})
                    stored = {venue: (int(rows), int(checksum)) for venue, rows, checksum in cursor.fetchall()}
                    if stored.keys() != filed.keys():
                        raise ArchiveError(
                            f"{layout.name} of {day} got rows while it was archived; the next run repeats it"
                        )
                    for venue, (rows, checksum) in stored.items():
                        self._compare(cursor, layout, venue, day, (rows, checksum), filed[venue], earlier.get(venue))
                    if held:
                        cursor.execute("SELECT release_day(%s, %s)", (layout.name, day))
                    else:
                        cursor.execute("SELECT remove_late(%s, %s)", (layout.name, day))
                    cursor.execute("COMMIT")
                    return sum(rows for rows, _ in stored.values())
            except psycopg2.Error as error:
                raise classify(error) from error

    def _compare(
        self,
        cursor: Cursor,
        layout: Layout,
        venue: str,
        day: date,
        stored: tuple[int, int],
        filed: _Filed,
        earlier: _Earlier | None,
    ) -> None:
        """Require that the file holds what the table and the earlier file held, and write the ledger."""
        rows, checksum = stored
        duplicates = 0
        if earlier is not None:
            known_rows, known_sum = self._known(cursor, layout, venue, day, earlier)
            rows, checksum = rows - known_rows + earlier.rows, checksum - known_sum + earlier.checksum
            duplicates = earlier.duplicates + known_rows
        if (filed.rows, filed.checksum) != (rows, checksum % row_checksum.MODULUS):
            raise ArchiveError(
                f"the archive of {layout.name} of {venue} {day} has {filed.rows} rows with checksum "
                f"{filed.checksum:x}, the table {rows} with {checksum % row_checksum.MODULUS:x}; nothing was dropped"
            )
        entry = filed.entry
        cursor.execute(
            _STORE,
            (layout.name, day, venue, str(self._root), entry.path, entry.rows, duplicates, entry.bytes, entry.sha256,
             filed.checksum),
        )  # fmt: skip

    def _known(self, cursor: Cursor, layout: Layout, venue: str, day: date, earlier: _Earlier) -> tuple[int, int]:
        """Return number and checksum of the late rows that are in the earlier file, or come twice."""
        if layout is not TRADE or not earlier.rows:
            return 0, 0
        span = day_range(day)
        cursor.execute(
            f"SELECT {', '.join(KEYS)}, {row_checksum.expression(layout)} FROM trade"
            " JOIN instrument i USING (instrument_id) WHERE i.venue = %s AND ts_event >= %s AND ts_event < %s",
            (venue, span.start, span.end),
        )
        found = cursor.fetchall()
        if not found:
            return 0, 0
        late = pa.table({name: [row[at] for row in found] for at, name in enumerate(KEYS)}, layout_schema(layout))
        archived = read_files([self._root / earlier.path], layout, KEYS, wanted=None, start=None, end=None)
        known = is_known(late, archived)
        return int(known.sum()), sum(int(row[-1]) for row, one in zip(found, known, strict=True) if one)

    def _empty(self, layout: Layout, day: date) -> Result:
        """Drop a partition without a row; the ledger needs no file for it."""
        with closing(self._connect()) as one:
            try:
                with one.cursor() as cursor:
                    cursor.execute("SELECT drop_empty_day(%s, %s)", (layout.name, day))
                    return Result("released" if cursor.fetchone() == (True,) else "nothing")
            except psycopg2.Error as error:
                raise classify(error) from error

    def _sweep(self, layout: Layout, venue: str, day: date, path: str, earlier: _Earlier | None) -> None:
        """Put aside the file that a revision replaced, and files that the ledger does not know."""
        for found in data_folder(self._root, layout.name, venue, day).glob("part-*.parquet"):
            name = str(found.relative_to(self._root))
            if name == path:
                continue
            replaced = earlier is not None and name == earlier.path
            aside = self._root / (REPLACED if replaced else SUPERSEDED) / name
            if replaced:  # a database that is restored from a backup before this revision needs it
                os.utime(found)
            make_folder(aside.parent, self._root)
            found.replace(aside)
            sync(aside.parent)


def layout_schema(layout: Layout) -> pa.Schema:
    """Return the schema of KEYS."""
    return pa.schema([layout.schema.field(name) for name in KEYS])


def _ledger(cursor: Cursor, layout: Layout, day: date) -> dict[str, _Earlier]:
    cursor.execute(_LEDGER, (layout.name, day))
    return {row[0]: _Earlier(row[1], row[2], row[3], int(row[4])) for row in cursor.fetchall()}

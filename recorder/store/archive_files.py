"""The files that table archive names, compared with it: existence, size and SHA-256."""

from collections.abc import Callable
from datetime import date
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg2

from recorder.store.database import Connection, classify

_CHUNK = 1 << 20  # bytes
_KEPT = """
SELECT table_name, day, venue, folder, path, row_count, bytes, sha256, here, copied_to FROM archive
 WHERE state = 'kept' AND row_count > 0 ORDER BY day, table_name, venue"""
_STILL = """
SELECT count(*) FROM archive
 WHERE table_name = %s AND day = %s AND venue = %s AND path = %s AND sha256 = %s AND state = 'kept' AND here"""

Progress = Callable[[int, int], None]
"""Receives the bytes read so far, and the bytes to read."""


class Fault(msgspec.Struct, frozen=True):
    """A file of the archive that is missing or differs."""

    table: str
    path: str
    rows: int
    reason: str
    copied_to: str | None = None

    def __str__(self) -> str:
        place = self.copied_to or "a backup of the archive"
        return f"{self.path} ({self.rows:,} rows of {self.table}) {self.reason}: bring it back from {place}"


class Elsewhere(msgspec.Struct, frozen=True):
    """A file of the archive that is in the second place only."""

    table: str
    path: str
    rows: int
    copied_to: str


class FilesCheck(msgspec.Struct):
    """What a look at the files of the archive found."""

    files: int = 0  # read and found as archived
    rows: int = 0  # in them
    faults: list[Fault] = []
    elsewhere: list[Elsewhere] = []  # not looked at
    complete: bool = True  # False where it was stopped

    def lost(self) -> dict[str, int]:
        """Return the rows of files with a fault, by table."""
        found: dict[str, int] = {}
        for one in self.faults:
            found[one.table] = found.get(one.table, 0) + one.rows
        return found


class _Named(NamedTuple):
    """A row of table archive."""

    table: str
    day: date
    venue: str
    folder: str
    path: str
    rows: int
    bytes: int
    sha256: str
    here: bool
    copied_to: str | None


def check_files(
    connection: Connection,
    progress: Progress = lambda done, total: None,
    stopped: Callable[[], bool] = lambda: False,
) -> FilesCheck:
    """Read every file of the archive that should be on this host, and compare it with its row of table archive.

    A file that the archiver replaced or removed meanwhile has no fault.

    Args:
        connection: Any role that may read, outside a transaction with an older snapshot.
        progress: Called after every MiB.
        stopped: Whether to end before all is read.

    Raises:
        StoreUnavailable: The database cannot be read.
    """
    check = FilesCheck()
    try:
        with connection.cursor() as cursor:
            cursor.execute(_KEPT)
            named = [_Named(*row) for row in cursor.fetchall()]
            total, before = sum(one.bytes for one in named if one.here), 0
            for one in named:
                path = Path(one.folder) / one.path
                if not one.here:
                    check.elsewhere.append(Elsewhere(one.table, one.path, one.rows, one.copied_to or ""))
                    continue
                reason = _fault(path, one, partial(_report, progress, before, total), stopped)
                if stopped():
                    check.complete = False
                    break
                before += one.bytes
                progress(before, total)
                if reason is None:
                    check.files, check.rows = check.files + 1, check.rows + one.rows
                    continue
                cursor.execute(_STILL, (one.table, one.day, one.venue, one.path, one.sha256))
                if cursor.fetchone() != (0,):
                    check.faults.append(Fault(one.table, str(path), one.rows, reason, one.copied_to))
    except psycopg2.Error as error:
        raise classify(error) from error
    return check


def _report(progress: Progress, before: int, total: int, read: int) -> None:
    progress(before + read, total)


def _fault(path: Path, named: _Named, progress: Callable[[int], None], stopped: Callable[[], bool]) -> str | None:
    """Return what is wrong with a file; None when it is as archived."""
    try:
        size = path.stat().st_size
        if size != named.bytes:
            return f"has {size:,} bytes and not {named.bytes:,}"
        found, read = sha256(), 0
        with open(path, "rb") as file:
            while (chunk := file.read(_CHUNK)) and not stopped():
                found.update(chunk)
                read += len(chunk)
                progress(read)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if found.hexdigest() == named.sha256 else "differs from what was archived by its SHA-256"

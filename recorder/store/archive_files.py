"""The files that table archive names, compared with it: existence, size and SHA-256; and the manifests of its days.

A manifest ends with a seal, the SHA-256 of everything before it. One of an earlier version has none, and only what it
says of the files is compared. A new one is written beside the old one and replaces it after the COMMIT, so that a kill
leaves one of the two that agrees with the table.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg2

from recorder.store.database import Connection, Cursor, classify

_CHUNK = 1 << 20  # bytes
_KEPT = """
SELECT table_name, day, venue, folder, path, row_count, bytes, sha256, here, copied_to FROM archive
 WHERE state = 'kept' AND row_count > 0 ORDER BY day, table_name, venue"""
_STILL = """
SELECT count(*) FROM archive
 WHERE table_name = %s AND day = %s AND venue = %s AND path = %s AND sha256 = %s AND state = 'kept' AND here"""

REPLACED = "replaced"
"""Folder of files that a later revision of their day replaced, for a database that is restored from before it."""

MANIFEST = "manifest"
"""The kind of a file of the archive that is no table."""

_SEAL = re.compile(rb',\n  "seal": "([0-9a-f]{64})"\n\}\Z')
_END = b"\n}"

DIGESTS = """
SELECT table_name, sha256 FROM archive WHERE venue = %s AND day = %s AND state = 'kept' AND row_count > 0"""

"""The files of a venue and day by table, with their SHA-256."""

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
        what = MANIFEST if self.table == MANIFEST else f"{self.rows:,} rows of {self.table}"
        return f"{self.path} ({what}) {self.reason}: bring it back from {place}"


class Elsewhere(msgspec.Struct, frozen=True):
    """A file of the archive that is in the second place only."""

    table: str
    path: str
    rows: int
    copied_to: str


class FilesCheck(msgspec.Struct):
    """What a look at the files of the archive found."""

    files: int = 0  # read and found as archived
    manifests: int = 0  # read and found as written
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


class _Entry(msgspec.Struct):
    """A file, as a manifest names it."""

    sha256: str


class _Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What a manifest says of files. Fields are listed, so that a damaged name is no field that is left out."""

    format: int
    venue: str
    date: date
    start: msgspec.Raw
    end: msgspec.Raw
    recorded_until: msgspec.Raw
    schema_version: msgspec.Raw
    tapedeck: msgspec.Raw
    exported_at: msgspec.Raw
    files: dict[str, _Entry]
    instruments: msgspec.Raw
    gaps: msgspec.Raw
    grades: msgspec.Raw = msgspec.Raw(b"[]")
    certificates: msgspec.Raw = msgspec.Raw(b"[]")
    seal: str = ""


def sealed(content: bytes) -> bytes:
    """Return a manifest, formatted JSON of an object, with its seal."""
    return content.removesuffix(_END) + f',\n  "seal": "{sha256(content).hexdigest()}"\n}}'.encode()


def manifest_fault(path: Path, venue: str, day: date, digests: Mapping[str, str]) -> str | None:
    """Return what is wrong with a manifest; None when it is as written and names these files.

    Args:
        path: The manifest.
        venue: Its venue.
        day: Its day.
        digests: SHA-256 of the files by table, as table archive has them.
    """
    try:
        content = path.read_bytes()
        found = msgspec.json.decode(content, type=_Manifest)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "is damaged: it is no manifest any more"
    seal = _SEAL.search(content)
    if found.seal and (seal is None or sha256(content[: seal.start()] + _END).hexdigest() != seal[1].decode()):
        return "differs from what was written by its seal"
    if (found.venue, found.date) != (venue, day):
        return f"is of {found.venue} {found.date}"
    for table, digest in digests.items():
        if table not in found.files or found.files[table].sha256 != digest:
            return f"names another file of {table} than table archive"
    return None


def manifest_path(folder: Path, venue: str, day: date) -> Path:
    """Return the path of the manifest of a day."""
    return folder / MANIFEST / f"venue={venue}" / f"date={day}.json"


def coming(path: Path) -> Path:
    """Return where a manifest is until the transaction that it belongs to is committed."""
    return path.with_name(f".{path.name}.next")


def current_manifest(path: Path, venue: str, day: date, digests: Mapping[str, str]) -> tuple[Path, str | None]:
    """Return the file of the manifest of a day that agrees with table archive, and what is wrong where none does."""
    fault = manifest_fault(path, venue, day, digests)
    if fault is not None and manifest_fault(coming(path), venue, day, digests) is None:
        return coming(path), None
    return path, fault


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
    *,
    sizes_only: bool = False,
) -> FilesCheck:
    """Read every file of the archive that should be on this host, and compare it with its row of table archive.

    The manifest of each day is read, too: those of days whose files are in the second place only stay here.

    A file that the archiver replaced or removed meanwhile has no fault.

    Args:
        connection: Any role that may read, outside a transaction with an older snapshot.
        progress: Called after every MiB.
        stopped: Whether to end before all is read.
        sizes_only: Compare the sizes of data files only, which reads none of them.

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
                reason = _fault(path, one, partial(_report, progress, before, total), stopped, sizes_only=sizes_only)
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
            if check.complete:
                _check_manifests(cursor, named, check)
    except psycopg2.Error as error:
        raise classify(error) from error
    return check


def bring_back(connection: Connection) -> list[Path]:
    """Put files back that a later revision replaced, where table archive names them: it is that of a restored database.

    Returns:
        Their paths.

    Raises:
        StoreUnavailable: The database cannot be read.
        OSError: A file cannot be moved.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(_KEPT)
            named = [_Named(*row) for row in cursor.fetchall()]
    except psycopg2.Error as error:
        raise classify(error) from error
    found = []
    for one in named:
        path, aside = Path(one.folder) / one.path, Path(one.folder) / REPLACED / one.path
        if not one.here or path.exists() or not aside.exists():
            continue
        if _fault(aside, one, lambda _: None, lambda: False, sizes_only=False) is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.replace(path)
            found.append(path)
    return found


def _check_manifests(cursor: Cursor, named: Iterable[_Named], check: FilesCheck) -> None:
    days: dict[tuple[str, str, date], dict[str, str]] = {}
    places: dict[tuple[str, str, date], str | None] = {}
    for one in named:
        key = one.folder, one.venue, one.day
        days.setdefault(key, {})[one.table] = one.sha256
        places[key] = places.get(key) or one.copied_to
    for (folder, venue, day), digests in days.items():
        path = manifest_path(Path(folder), venue, day)
        if current_manifest(path, venue, day, digests)[1] is None:
            check.manifests += 1
            continue
        cursor.execute(DIGESTS, (venue, day))  # the archiver may have written another one meanwhile
        _, fault = current_manifest(path, venue, day, dict(cursor.fetchall()))
        if fault is None:
            check.manifests += 1
        else:
            check.faults.append(Fault(MANIFEST, str(path), 0, fault, places[folder, venue, day]))


def _report(progress: Progress, before: int, total: int, read: int) -> None:
    progress(before + read, total)


def _fault(
    path: Path, named: _Named, progress: Callable[[int], None], stopped: Callable[[], bool], *, sizes_only: bool
) -> str | None:
    """Return what is wrong with a file; None when it is as archived."""
    try:
        size = path.stat().st_size
        if size != named.bytes:
            return f"has {size:,} bytes and not {named.bytes:,}"
        if sizes_only:
            return None
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

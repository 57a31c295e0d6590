"""The job `copies`: files of the archive in a second place, read back and compared there.

The place is a folder, or an address that fsspec knows, such as s3://bucket/tape, which needs s3fs. Credentials are in
the environment of the keeper, where s3fs finds them.
"""

import importlib
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import psycopg2

from recorder.errors import ConfigError
from recorder.keeper.job import Outcome, Work
from recorder.process import files
from recorder.store.archive_files import DIGESTS, current_manifest, manifest_path
from recorder.store.database import KEEPER, classify, connect

_CHUNK = 1 << 20
_OPEN = """
SELECT table_name, day, venue, folder, path, sha256 FROM archive
 WHERE state = 'kept' AND here AND copied_to IS DISTINCT FROM %s ORDER BY day, table_name, venue"""
_COPIED = """
UPDATE archive SET copied_to = %s, copied_at = now()
 WHERE table_name = %s AND day = %s AND venue = %s AND sha256 = %s AND here"""


class Place(Protocol):
    """Where copies are."""

    def put(self, source: Path, name: str) -> None:
        """Write a file under a name."""
        ...

    def digest(self, name: str) -> str:
        """Read a file back, and return its SHA-256, hexadecimal."""
        ...


class Folder:
    """A folder, such as another disk that is mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, source: Path, name: str) -> None:
        """Write a file durably under a name."""
        path = self._root / name
        files.make_home(path.parent)
        files.write(path, source.read_bytes())

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file."""
        with open(self._root / name, "rb") as file:
            return _digest(file)


class Remote:
    """An address of fsspec."""

    def __init__(self, address: str) -> None:
        try:
            fsspec = importlib.import_module("fsspec")
            self._system, self._root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"keeper.copy_to cannot be used ({error}): install fsspec, and s3fs for s3://") from error

    def put(self, source: Path, name: str) -> None:
        """Write a file under a name."""
        path = f"{self._root}/{name}"
        if not self._system.exists(path.rpartition("/")[0]):
            self._system.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._system.put_file(str(source), path)

    def digest(self, name: str) -> str:
        """Return the SHA-256 of a file, which is read again from the place."""
        self._system.invalidate_cache()
        with self._system.open(f"{self._root}/{name}", "rb") as file:
            return _digest(file)


def place_of(address: str) -> Place:
    """Return the place of an address.

    Raises:
        ConfigError: A package for the address is missing, or the address is none.
    """
    return Remote(address) if "://" in address else Folder(Path(address).absolute())


def copy_archive(work: Work) -> Outcome:
    """Copy what the second place does not have yet.

    Raises:
        StoreError, ConfigError: The database or the place cannot be used.
        OSError: A file cannot be read or written; what was copied counts.
    """
    address = work.settings.keeper.copy_to
    if address is None:
        return Outcome("skipped", "keeper.copy_to names no second place")
    place, copied, wrong = place_of(address), 0, []
    with closing(connect(work.url(), application_name="keeper", role=KEEPER)) as connection:
        try:
            with connection.cursor() as cursor:
                cursor.execute(_OPEN, (address,))
                for table, day, venue, folder, path, digest in cursor.fetchall():
                    if work.stop.is_set():
                        break
                    place.put(Path(folder) / path, path)
                    if place.digest(path) != digest:
                        wrong.append(f"{path} differs there from what was written")
                        continue
                    cursor.execute(DIGESTS, (venue, day))
                    there = manifest_path(Path(folder), venue, day)
                    manifest, fault = current_manifest(there, venue, day, dict(cursor.fetchall()))
                    if fault is not None:
                        wrong.append(f"the manifest {manifest} {fault}")
                        continue
                    place.put(manifest, str(there.relative_to(folder)))
                    if place.digest(str(there.relative_to(folder))) != sha256(manifest.read_bytes()).hexdigest():
                        wrong.append(f"{there.relative_to(folder)} differs there from what was written")
                        continue
                    cursor.execute(_COPIED, (address, table, day, venue, digest))
                    copied += 1
        except psycopg2.Error as error:
            raise classify(error) from error
    problem = "; ".join(wrong[:3])
    if not copied and not wrong:
        return Outcome("skipped", "the second place has everything")
    return Outcome("done", f"{copied} files copied and compared", problem)


def _digest(file: Any) -> str:
    result = sha256()
    while chunk := file.read(_CHUNK):
        result.update(chunk)
    return result.hexdigest()

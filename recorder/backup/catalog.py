"""The backups of a folder: one subfolder each, complete when it has its note."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from recorder.appliance.disk import folder_bytes
from recorder.errors import ConfigError, StoreError
from recorder.process import files
from recorder.process.log import get_logger

NOTE = "backup.json"
DATA = "data"
_UNFINISHED = ".new"

_log = get_logger(__name__)


class Note(msgspec.Struct, frozen=True):
    """What a backup says of itself."""

    name: str
    began_at: float  # unix seconds: every row committed until then is in it
    ended_at: float
    bytes: int
    server: str  # version of Postgres
    database: str
    system: str  # what distinguishes the server from every other
    level_at: float  # unix seconds: what was received until then was loaded when the backup began
    journals: dict[str, int]  # segment that the database had reached, by identity of the journal


class Backup(msgspec.Struct, frozen=True):
    """A complete backup."""

    folder: Path
    note: Note

    @property
    def data(self) -> Path:
        """Return its copy of the data folder."""
        return self.folder / DATA


def name_at(at: float) -> str:
    """Return the name of a backup that begins now."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H-%M-%SZ}"


def backups(folder: Path) -> list[Backup]:
    """Return the complete backups, oldest first; one whose note cannot be read is left out and reported in the log."""
    found = []
    for path in sorted(folder.glob(f"*/{NOTE}")):
        if path.parent.suffix == _UNFINISHED:
            continue
        try:
            found.append(Backup(path.parent, msgspec.json.decode(path.read_bytes(), type=Note)))
        except (OSError, msgspec.MsgspecError) as error:
            _log.error("backup.unreadable", backup=path.parent.name, error=str(error))
    return sorted(found, key=lambda one: one.note.began_at)


def named(folder: Path, name: str) -> Backup:
    """Return a backup by its name; without a name the newest one.

    Raises:
        ConfigError: There is none.
    """
    found = backups(folder)
    chosen = [one for one in found if one.note.name == name] if name else found
    if not chosen:
        what = f"no backup {name!r}" if name else "no backup"
        raise ConfigError(f"there is {what} in {folder}: `tapedeck backups` lists them, `tapedeck backup` takes one")
    return chosen[-1]


def finish(unfinished: Path, note: Note) -> Backup:
    """Make a verified copy a backup, durably."""
    files.write(unfinished / NOTE, msgspec.json.format(msgspec.json.encode(note)) + b"\n")
    folder = unfinished.with_suffix("")
    unfinished.rename(folder)
    files.sync_folder(folder.parent)
    return Backup(folder, note)


def unfinished(folder: Path, name: str) -> Path:
    """Return the folder of a backup that is being taken; what a killed attempt left is removed."""
    for path in folder.glob(f"*{_UNFINISHED}"):
        shutil.rmtree(path)
    made = folder / f"{name}{_UNFINISHED}"
    made.mkdir(mode=0o700)
    return made


def remove_old(folder: Path, keep_days: float, now: float) -> list[str]:
    """Remove the backups beyond the age, but never the newest one; return their names."""
    removed = []
    for one in backups(folder)[:-1]:
        if one.note.began_at < now - keep_days * 86_400:
            dying = one.folder.with_name(f"{one.folder.name}{_UNFINISHED}")
            one.folder.rename(dying)  # a kill in between leaves no backup that misses files
            shutil.rmtree(dying)
            removed.append(one.note.name)
            _log.info("backup.removed", backup=one.note.name)
    return removed


def require_room(folder: Path, bytes_: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        StoreError: It has not.
    """
    free = os.statvfs(folder)
    have = free.f_bavail * free.f_frsize
    if have < bytes_:
        raise StoreError(
            f"{folder} has {have >> 20} MiB free, and {bytes_ >> 20} MiB are needed: make room, or set backup.dir"
        )


def size_of(folder: Path) -> int:
    """Return the bytes that a folder takes."""
    return folder_bytes(folder)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of backups, so that none is taken, proved and removed at once.

    Raises:
        ConfigError: Another process holds it, or the folder cannot be used.
    """
    try:
        files.make_home(folder)
        handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be used: {error.strerror}; set backup.dir") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(f"another backup, proof or restore is at work in {folder}: wait until it ends") from None
    try:
        yield
    finally:
        os.close(handle)

"""Takes a base backup: copied while the server runs, verified, and only then counted."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2

from recorder.appliance.embedded_postgres import SUPERUSER
from recorder.backup import catalog
from recorder.backup.catalog import DATA, Backup, Note
from recorder.backup.tools import login_of, run, tool
from recorder.errors import JournalError, StoreError
from recorder.journal.reader import JournalReader
from recorder.journal.retention import write_claim
from recorder.position import Position
from recorder.process.log import get_logger
from recorder.settings import Settings
from recorder.store.database import Cursor, classify, connect, database_name

CLAIM = "backup"
"""Name of the claim on a journal: retention keeps what the oldest backup lacks."""

_STATEMENT_S = 60.0
_LEVEL_S = 60.0  # a journal that is loaded up to so long ago is level
_SPARE = 1.05
_STATE = """
SELECT current_setting('server_version'), (SELECT system_identifier::text FROM pg_control_system()),
       (SELECT sum(pg_database_size(oid)) FROM pg_database)::bigint"""
_JOURNALS = "SELECT journal_id, segment, position, extract(epoch FROM written_at)::float8 FROM journal"

_log = get_logger(__name__)

Progress = Callable[[int, int], None]
"""Receives the bytes copied so far, and about how many there will be."""


def take(
    settings: Settings,
    url: str,
    stop: threading.Event,
    *,
    now: Callable[[], float] = time.time,
    progress: Progress = lambda done, total: None,
) -> Backup:
    """Take a backup of the server of `url`, verify it, remove those that are too old.

    Args:
        settings: Where backups are, and how long they are kept.
        url: The database, with a login that may replicate; in the embedded server that is the superuser.
        stop: Gives up at once; nothing of the attempt counts.
        now: Unix seconds.
        progress: For a person who waits.

    Raises:
        StoreError, ConfigError: There is no backup, for the reason given.
        OSError: The disk does not take it.
    """
    folder = settings.backup.dir
    with catalog.exclusive(folder):
        server, system, size, places = _state(url)
        catalog.require_room(folder, int(size * _SPARE))
        began_at = now()
        level_at = _level_at(settings.journal.dir, places, began_at)
        draft = catalog.unfinished(folder, catalog.name_at(began_at))
        data = draft / DATA
        words: list[str | Path] = [
            tool("pg_basebackup"), "--pgdata", data, "--wal-method", "stream", "--checkpoint", "fast",
            "--manifest-checksums", "SHA256", "--no-password", "--label", f"tapedeck {draft.stem}",
        ]  # fmt: skip
        reason = run(
            words, stop, settings.backup.timeout_s,
            environment=login_of(url), look=lambda: progress(catalog.size_of(data), size),
        )  # fmt: skip
        if reason:
            raise StoreError(f"no backup was taken: {reason}")
        reason = verify(data, stop, settings.backup.timeout_s)
        if reason:
            raise StoreError(f"the backup does not agree with its manifest, and does not count: {reason}")
        segments = {journal: segment for journal, (segment, _, _) in places.items()}
        ended_at, bytes_ = now(), catalog.size_of(data)
        note = Note(
            draft.stem, began_at, ended_at, bytes_, server, database_name(url), system, level_at, segments
        )  # fmt: skip
        backup = catalog.finish(draft, note)
        _log.info("backup.taken", backup=note.name, bytes=note.bytes, seconds=round(ended_at - began_at, 1))
        removed = catalog.remove_old(folder, settings.backup.keep_days, ended_at)
        _record(url, note, removed)
        claim(settings)
        return backup


def verify(data: Path, stop: threading.Event, timeout_s: float) -> str:
    """Return how a copy differs from its manifest, by pg_verifybackup; empty where every file is as it was written.

    Raises:
        StoreError, ConfigError: It cannot be checked.
    """
    return run([tool("pg_verifybackup"), "--quiet", data], stop, timeout_s)


def claim(settings: Settings) -> None:
    """Let retention keep the segments of the journals that the oldest backup lacks."""
    kept = catalog.backups(settings.backup.dir)
    if not kept:
        return
    oldest = kept[0].note
    for identity in settings.journal.dir.glob("*/journal.id"):
        segment = oldest.journals.get(identity.read_text().strip(), 0)
        write_claim(identity.parent, CLAIM, Position(segment, 0), days=settings.backup.keep_days + 2)


def login(settings: Settings, url: str) -> str:
    """Return the login that a restored server has for certain: the one that takes backups."""
    return SUPERUSER if settings.database.url is None else login_of(url).get("PGUSER", "postgres")


def recorded_s(url: str) -> float:
    """Return for how long there has been a recording in a database, seconds; 0 where there is none.

    Raises:
        StoreError, ConfigError: The database failed (see `classify`).
    """
    connection = connect(url, application_name="backup", statement_timeout_s=_STATEMENT_S)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(extract(epoch FROM now() - min(started_at)), 0)::float8 FROM session")
            row = cursor.fetchone()
            return float(row[0]) if row is not None else 0.0
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


_Places = dict[str, tuple[int, int, float | None]]


def _state(url: str) -> tuple[str, str, int, _Places]:
    connection = connect(url, application_name="backup", statement_timeout_s=_STATEMENT_S)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_STATE)
            row = cursor.fetchone()
            assert row is not None
            server, system, size = row
            return str(server), str(system), int(size), _places(cursor)
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


def _places(cursor: Cursor) -> _Places:
    cursor.execute(_JOURNALS)
    return {str(journal): (segment, offset, written) for journal, segment, offset, written in cursor.fetchall()}


def _level_at(journals: Path, places: _Places, now: float) -> float:
    """Return until when everything that was received is loaded, unix seconds."""
    level = now - _LEVEL_S
    for identity in journals.glob("*/journal.id"):
        try:
            reader = JournalReader(identity.parent)
            place = places.get(reader.journal_id)
            if place is None:
                return 0.0
            if reader.lag_bytes(Position(place[0], place[1])):
                level = min(level, place[2] or 0.0)
        except (OSError, JournalError) as error:
            _log.warning("backup.journal_unreadable", journal=identity.parent.name, error=str(error))
    return level


def _record(url: str, note: Note, removed: list[str]) -> None:
    connection = connect(url, application_name="backup", statement_timeout_s=_STATEMENT_S)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO backup (name, began_at, ended_at, bytes) "
                "VALUES (%s, to_timestamp(%s), to_timestamp(%s), %s) ON CONFLICT DO NOTHING",
                (note.name, note.began_at, note.ended_at, note.bytes),
            )
            cursor.execute("UPDATE backup SET removed_at = now() WHERE name = ANY(%s)", (removed,))
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()

"""Proves that the newest backup can be restored: it is checked, started on a server of the moment, and compared."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
import psycopg2
from psycopg2.extras import Json

from recorder.backup import catalog, compare
from recorder.backup.catalog import Backup
from recorder.backup.compare import Span
from recorder.backup.take import login, verify
from recorder.errors import ConfigError, RecorderError, StoreError
from recorder.process.log import get_logger
from recorder.settings import Settings
from recorder.store.database import Connection, classify, connect, with_database
from recorder.store.scratch_server import restored_server

Verdict = Literal["proved", "damaged", "differs", "failed"]

_SPARE = 1.05
_PREFIX = "proof-"

_log = get_logger(__name__)


class Proof(msgspec.Struct, frozen=True):
    """The result of one proof."""

    name: str
    began_at: float  # unix seconds
    ended_at: float
    verdict: Verdict
    detail: str
    since: datetime | None = None
    until: datetime | None = None
    rows: dict[str, int] = {}


def prove(
    settings: Settings, url: str, stop: threading.Event, *, name: str = "", now: Callable[[], float] = time.time
) -> Proof:
    """Restore a backup beside the server, compare it with the tables, and record the verdict.

    Args:
        settings: Where backups are.
        url: The database, with a login that may write the table restore_proof.
        stop: Gives up at once.
        name: Of the backup; without it the newest.
        now: Unix seconds.

    Raises:
        ConfigError: There is no backup.
        StoreUnavailable: The database cannot be asked, so nothing is known of the backup.
        StoreError: The proof was given up.
        OSError: The disk does not take the copy.
    """
    with catalog.exclusive(settings.backup.dir):
        backup = catalog.named(settings.backup.dir, name)
        began_at = now()
        proof = _proof(settings, url, stop, backup, began_at)
        proof = msgspec.structs.replace(proof, ended_at=now())
        (_log.info if proof.verdict == "proved" else _log.error)(
            "backup.proof", backup=proof.name, verdict=proof.verdict, detail=proof.detail
        )
        _record(url, proof)
        return proof


def _proof(settings: Settings, url: str, stop: threading.Event, backup: Backup, began_at: float) -> Proof:
    def verdict(word: Verdict, detail: str) -> Proof:
        return Proof(backup.note.name, began_at, began_at, word, detail)

    reason = verify(backup.data, stop, settings.backup.timeout_s)
    if reason:
        return verdict("damaged", reason)
    stored = connect(url, application_name="restore-proof", statement_timeout_s=settings.backup.timeout_s)
    try:
        with copied(settings.backup.dir, backup) as home:
            try:
                with restored_server(home, login(settings, url), settings.backup.timeout_s) as scratch:
                    other = with_database(scratch, backup.note.database)
                    restored = connect(other, application_name="restore-proof",
                                       statement_timeout_s=settings.backup.timeout_s)  # fmt: skip
                    try:
                        return _compared(backup, began_at, stored, restored)
                    finally:
                        restored.close()
            except ConfigError as error:
                return verdict("failed", str(error))
    finally:
        stored.close()


def _compared(backup: Backup, began_at: float, stored: Connection, restored: Connection) -> Proof:
    span = compare.last_day(backup.note.level_at)
    if not compare.has_rows(stored, span) and not _restored_has_rows(restored, span):
        span = compare.begun_day(backup.note.level_at)
    columns = compare.common_columns(stored, restored)
    ours = compare.digests(stored, span, columns)
    try:
        theirs = compare.digests(restored, span, columns)
    except StoreError as error:
        return Proof(backup.note.name, began_at, began_at, "failed", f"the restored server: {error}")
    rows = {table: digest.rows for table, digest in theirs.items()}
    words = compare.difference(ours, theirs)
    detail = words or f"{sum(rows.values())} rows are equal in count and hash"
    return Proof(
        backup.note.name, began_at, began_at, "differs" if words else "proved", detail, span.since, span.until, rows
    )


def _restored_has_rows(restored: Connection, span: Span) -> bool:
    try:
        return compare.has_rows(restored, span)
    except RecorderError:
        return True  # the comparison meets and reports it


@contextmanager
def copied(folder: Path, backup: Backup) -> Iterator[Path]:
    """Copy a backup into a temporary home of a server beside it, so that the backup itself is never started.

    Raises:
        StoreError: There is no room.
        OSError: It cannot be copied.
    """
    for left in folder.glob(f"{_PREFIX}*"):  # of a proof that was killed; the lock of the folder is ours
        shutil.rmtree(left)
    catalog.require_room(folder, int(backup.note.bytes * _SPARE))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=folder) as name:
        home = Path(name)
        (home / "postgres").mkdir(mode=0o700)
        shutil.copytree(backup.data, home / "postgres" / "data", symlinks=True)
        yield home


def _record(url: str, proof: Proof) -> None:
    connection = connect(url, application_name="restore-proof", statement_timeout_s=60.0)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO restore_proof (began_at, name, ended_at, verdict, detail, since, until, row_counts) "
                "VALUES (to_timestamp(%s), %s, to_timestamp(%s), %s, %s, %s, %s, %s)",
                (proof.began_at, proof.name, proof.ended_at, proof.verdict, proof.detail, proof.since, proof.until,
                 Json(proof.rows)),
            )  # fmt: skip
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()

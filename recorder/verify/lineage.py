"""Compares the journals on disk with what the database has of them, and reads the losses found while loading."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg2

from recorder.errors import JournalError
from recorder.journal.reader import JournalReader
from recorder.store import lineage
from recorder.store.database import Connection, Cursor, classify

_LOSSES = """
SELECT recorder, reason, started_at, ended_at, gaps FROM journal_break ORDER BY ended_at, recorder"""
_RECORDERS = "SELECT DISTINCT recorder FROM journal"


class Loss(msgspec.Struct):
    """A part of a journal that was never loaded. It is declared in gap."""

    recorder: str
    reason: str
    started_at: datetime | None  # None where nothing had been loaded before
    ended_at: datetime
    gaps: int

    def __str__(self) -> str:
        began = "the beginning" if self.started_at is None else _moment(self.started_at)
        span = "" if self.started_at is None else f" ({_span(self.started_at, self.ended_at)})"
        gaps = "1 gap" if self.gaps == 1 else f"{self.gaps} gaps"
        return f"{self.recorder}: {began} to {_moment(self.ended_at)}{span}: {self.reason}; declared in {gaps}"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _span(start: datetime, end: datetime) -> str:
    seconds = max(0, round((end - start).total_seconds()))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds % 60} s"


class JournalComparison(msgspec.Struct):
    """How the journals on disk and the database agree."""

    problems: list[str] = []
    notes: list[str] = []
    waiting: int = 0  # bytes that the database does not have yet
    seen: bool = True  # False where there is no folder of journals


def losses(cursor: Cursor) -> list[Loss]:
    """Return what was found to be missing while journals were loaded, oldest first."""
    cursor.execute(_LOSSES)
    return [Loss(*row) for row in cursor.fetchall()]


def compare(connection: Connection, folder: Path, expected: Iterable[str]) -> JournalComparison:
    """Compare every journal in a folder with the database.

    Args:
        connection: Any role that may read, in autocommit.
        folder: Of all journals. Where it does not exist, nothing is compared, and a note says so: the journals may be
            on another machine, or lost.
        expected: Recorders whose journals should be there.

    Raises:
        StoreUnavailable: The database cannot be read.
    """
    result = JournalComparison()
    if not folder.is_dir():
        result.notes.append(f"the journals were not compared: there is no folder {folder}")
        result.seen = False
        return result
    waiting: list[int] = []  # bytes of each journal that the writer has not loaded
    try:
        with connection.cursor() as cursor:
            for path in sorted(path.parent for path in folder.glob("*/journal.id")):
                try:
                    waiting.append(_compare(cursor, path, result))
                except (JournalError, OSError) as error:
                    result.problems.append(f"journal {path.name} cannot be compared: {error}")
            cursor.execute(_RECORDERS)
            loaded = {str(row[0]) for row in cursor.fetchall()}
            result.problems += [
                f"{name}: the database has a journal of it, and {folder} has none: it was removed, or is elsewhere"
                for name in sorted(loaded & set(expected))
                if not (folder / name / "journal.id").exists()
            ]
    except psycopg2.Error as error:
        raise classify(error) from error
    waiting = [count for count in waiting if count]
    if waiting:
        noun = "1 journal" if len(waiting) == 1 else f"{len(waiting)} journals"
        result.waiting = sum(waiting)
        result.notes.append(f"{result.waiting:,} bytes of {noun} wait for the writer")
    return result


def _compare(cursor: Cursor, folder: Path, result: JournalComparison) -> int:
    """Compare one journal, and return how many bytes of it the database does not have yet."""
    reader = JournalReader(folder)
    try:
        known = lineage.known(cursor, reader.journal_id)
        place = reader.locate(known.history.last, known.position)
        end, lag_bytes = reader.end(), reader.lag_bytes(place)
    finally:
        reader.close()
    if known.position is not None and place >= end and known.position > end:
        result.problems.append(
            f"{folder.name}: the database has loaded up to block {known.history.last[known.history.head]} "
            f"(segment {known.position.segment}), and the journal ends before it (segment {end.segment}): "
            "files were removed, or it is an older copy; what its recorder writes next is loaded, and the rest declared"
        )
        return 0
    return lag_bytes

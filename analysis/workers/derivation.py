"""Derives the bars that are marked, each time in one transaction: marks are gone exactly when their bars are stored.

The transaction sees one snapshot. A mark that it sees was committed with the trades that it is about, so these are seen
too; a mark of a later change is another row, which stays. Where another deriver was faster with a bar, Postgres refuses
the transaction and it is repeated, so no older state replaces a newer one.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec
import psycopg2
import psycopg2.errors

from analysis.workers import bar_sql
from recorder.store.database import Connection, Cursor, classify

DAY_S = 86_400
MARKS = 2_000
"""Marks of minutes or gaps that one transaction takes."""

_BARS = 20_000  # of one statement
_NEVER_ARCHIVED_DAYS = 6

Key = tuple[int, int]
"""instrument_id, and the start of a bar, seconds since 1970."""


class Counts(msgspec.Struct):
    """What was done."""

    bars: int = 0  # written, of any length
    revised: int = 0  # of these, that had been complete
    removed: int = 0  # because they have no trade any more
    marks: int = 0  # that were taken


class Derivation:
    """Derives over one connection, and counts what it did."""

    def __init__(self, lateness_s: float) -> None:
        """
        Args:
            lateness_s: So long after its end a bar waits for late trades before it is complete.
        """
        self._parameters: dict[str, Any] = {"lateness": timedelta(seconds=lateness_s), "marks": MARKS}
        self._complete_until: dict[str, int] = {}  # by venue; minutes since 1970
        self.counts = Counts()

    def prepare(self, connection: Connection) -> None:
        """Prepare the statements; a connection needs it once.

        Raises:
            RecorderError: As `classify` says; the schema may be too old.
        """
        with _classified(), connection.cursor() as cursor:
            cursor.execute(bar_sql.prepare(bar_sql.MINUTE_S))
            for part_s, width_s in bar_sql.ROLL_UPS:
                cursor.execute(bar_sql.prepare(width_s, part_s))

    def recent(self, connection: Connection, *, forming: bool) -> bool:
        """Derive the minutes whose trades changed, and complete the bars that are over.

        Args:
            connection: In autocommit, prepared.
            forming: Take the minutes that still form, too. Those are derived again and again while trades come, so
                this is for once in a while.

        Returns:
            Whether there may be more to do at once.

        Raises:
            RecorderError: As `classify` says; the transaction does not count.
        """
        with self._transaction(connection) as cursor:
            marked = _rows(cursor, bar_sql.TAKE_MINUTES, {**self._parameters, "forming": forming})
            self._derive(cursor, ((start, number) for start, numbers in marked for number in numbers))
            self._complete(cursor, certainly=forming)
            self.counts.marks += len(marked)
        return len(marked) == MARKS

    def backlog(self, connection: Connection) -> bool:
        """Compute the coverage of bars whose gaps changed, else derive one range that was marked.

        Returns and raises as `recent`.
        """
        with self._transaction(connection) as cursor:
            ((marks, written, revised),) = _rows(cursor, bar_sql.TAKE_GAPS, self._parameters)
            if not marks:
                for numbers, low, high in _rows(cursor, bar_sql.TAKE_RANGE):
                    marks = 1
                    found = _rows(cursor, bar_sql.MINUTES_OF_RANGE, {"ids": numbers, "low": low, "high": high})
                    self._derive(cursor, ((start, number) for start, ids in found for number in ids))
            self.counts.bars += written
            self.counts.revised += revised
            self.counts.marks += marks
        return bool(marks)

    def waiting(self, connection: Connection) -> tuple[float, int]:
        """Return the age of the oldest mark of a minute or gap, seconds, 0 without one; and the number of ranges."""
        with _classified(), connection.cursor() as cursor:
            ((age_s, ranges),) = _rows(cursor, bar_sql.WAITING)
        return float(age_s), int(ranges)

    def _derive(self, cursor: Cursor, minutes: Iterable[tuple[int, int]]) -> None:
        """Derive minutes, given as (start, instrument_id), and then the longer bars of those that changed."""
        days: dict[int, set[Key]] = {}
        for start_s, number in minutes:
            days.setdefault(start_s // DAY_S, set()).add((number, start_s))
        changed: set[Key] = set()
        for day in self._archived(cursor, days):
            del days[day]  # its trades are in the archive; its bars stand as they are
        for day, keys in sorted(days.items()):  # one partition of trade each
            bounds = {"first": day * DAY_S, "last": (day + 1) * DAY_S}
            changed |= self._store(cursor, bar_sql.DERIVE_MINUTES, keys, bounds)
        for _, width_s in bar_sql.ROLL_UPS:
            keys = {(number, start_s // width_s * width_s) for number, start_s in changed}
            changed = self._store(cursor, bar_sql.ROLL_UP.format(width_s=width_s), keys, {})

    def _archived(self, cursor: Cursor, days: Iterable[int]) -> list[int]:
        """Return which of these days have left table trade; none does that ended less than a week ago."""
        old = [day for day in days if day < time.time() // DAY_S - _NEVER_ARCHIVED_DAYS]
        return [day for (day,) in _rows(cursor, bar_sql.ARCHIVED, {"days": old})] if old else []

    def _store(self, cursor: Cursor, statement: str, keys: set[Key], bounds: dict[str, int]) -> set[Key]:
        """Derive bars of one length, and return those that changed."""
        changed: set[Key] = set()
        ordered = sorted(keys)
        for at in range(0, len(ordered), _BARS):
            part = ordered[at : at + _BARS]
            bars = {"ids": [number for number, _ in part], "starts": [start_s for _, start_s in part]}
            for number, start_s, revision in _rows(cursor, statement, {**self._parameters, **bounds, **bars}):
                changed.add((number, start_s))
                self.counts.bars += revision > 0
                self.counts.revised += revision > 1
                self.counts.removed += revision == 0
        return changed

    def _complete(self, cursor: Cursor, *, certainly: bool) -> None:
        """Complete the bars that are over; looks at them only where a venue has come to another minute."""
        until: dict[str, int] = dict(_rows(cursor, bar_sql.LOADED_MINUTES, self._parameters))
        if certainly or until != self._complete_until:
            cursor.execute(bar_sql.COMPLETE, self._parameters)
            self.counts.bars += cursor.rowcount
            self._complete_until = until

    @contextmanager
    def _transaction(self, connection: Connection) -> Iterator[Cursor]:
        """Open a transaction of one snapshot; what it counted does not count where it fails."""
        before = msgspec.structs.replace(self.counts)
        try:
            with _classified(), connection.cursor() as cursor:
                # Before the snapshot: no archived day leaves the table between the ledger's answer and the trades'.
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE ONLY trade IN ACCESS SHARE MODE")
                try:
                    yield cursor
                except BaseException:
                    if not connection.closed:
                        cursor.execute("ROLLBACK")
                    raise
                cursor.execute("COMMIT")
        except BaseException:
            self.counts = before
            raise


def _rows(cursor: Cursor, statement: str, parameters: dict[str, Any] | None = None) -> Sequence[tuple[Any, ...]]:
    cursor.execute(statement, parameters)
    return cursor.fetchall()


@contextmanager
def _classified() -> Iterator[None]:
    try:
        yield
    except psycopg2.errors.SerializationFailure:
        raise
    except psycopg2.Error as error:
        raise classify(error) from error

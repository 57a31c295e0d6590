"""Derives the bars that are marked, each time in one transaction: marks are gone exactly when their bars are stored.

The transaction sees one snapshot. A mark that it sees was committed with the trades that it is about, so these are seen
too; a mark of a later change is another row, which stays. Where another deriver was faster with a bar, Postgres refuses
the transaction and it is repeated, so no older state replaces a newer one.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec
import psycopg2
import psycopg2.errors

from analysis.errors import ArchiveError
from analysis.workers import bar_sql
from recorder.store.database import Connection, Cursor, classify

DAY_S = 86_400
MARKS = 2_000
"""Marks of minutes or gaps that one transaction takes."""

_BARS = 20_000  # of one statement
_NEVER_ARCHIVED_DAYS = 6
_AGAIN_S = 60.0  # between two attempts to read a file of the archive
_INSTRUMENTS = 20  # whose archived trades are in memory at a time

Key = tuple[int, int]
"""instrument_id, and the start of a bar, seconds since 1970."""


class Counts(msgspec.Struct):
    """What was done."""

    bars: int = 0  # written, of any length
    revised: int = 0  # of these, that had been complete
    removed: int = 0  # because they have no trade any more
    marks: int = 0  # that were taken


class Unreadable(Exception):
    """Trades of an archived day cannot be read, so that its bars cannot be derived.

    Attributes:
        day: Days since 1970.
    """

    def __init__(self, day: int, reason: str) -> None:
        super().__init__(reason)
        self.day = day


class _Left(NamedTuple):
    """A venue of a day that left table trade."""

    day: int  # since 1970
    venue: str
    folder: str
    path: str
    rows: int
    sha256: str
    state: str
    here: bool
    copied_to: str | None
    instruments: list[int]  # that are asked for


class Derivation:
    """Derives over one connection, and counts what it did."""

    def __init__(self, lateness_s: float) -> None:
        """
        Args:
            lateness_s: So long after its end a bar waits for late trades before it is complete.
        """
        self._parameters: dict[str, Any] = {"lateness": timedelta(seconds=lateness_s), "marks": MARKS}
        self._complete_until: dict[str, int] = {}  # by venue; minutes since 1970
        self._lacks = ""  # what keeps it from reading archived days
        self._again_s: dict[int, float] = {}  # by day: monotonic
        self.unreadable: dict[int, str] = {}  # by day that left the table: why its bars cannot be derived
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
            try:
                cursor.execute(bar_sql.ARCHIVED_TRADES)
                cursor.execute(bar_sql.prepare_archived())
                self._lacks = ""
            except psycopg2.errors.InsufficientPrivilege as error:  # of a server whose roles are of an earlier version
                self._lacks = str(error).strip()

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
        try:
            with self._transaction(connection) as cursor:
                parameters = {**self._parameters, "forming": forming, "left": self._left()}
                marked = _rows(cursor, bar_sql.TAKE_MINUTES, parameters)
                self._derive(cursor, ((start, number) for start, numbers in marked for number in numbers))
                self._complete(cursor, certainly=forming)
                self.counts.marks += len(marked)
        except Unreadable as error:
            self._leave(connection, error)
            return True
        return len(marked) == MARKS

    def backlog(self, connection: Connection) -> bool:
        """Compute the coverage of bars whose gaps changed, else derive one range that was marked.

        Returns and raises as `recent`.
        """
        try:
            with self._transaction(connection) as cursor:
                ((marks, written, revised),) = _rows(cursor, bar_sql.TAKE_GAPS, self._parameters)
                if not marks:
                    for numbers, low, high in _rows(cursor, bar_sql.TAKE_RANGE, {"left": self._left()}):
                        marks = 1
                        found = _rows(cursor, bar_sql.MINUTES_OF_RANGE, {"ids": numbers, "low": low, "high": high})
                        self._derive(cursor, ((start, number) for start, ids in found for number in ids))
                self.counts.bars += written
                self.counts.revised += revised
                self.counts.marks += marks
        except Unreadable as error:
            self._leave(connection, error)
            return True
        if not marks:
            self._forget()
        return bool(marks)

    def _forget(self) -> None:
        """Forget the days that nothing marks any more, because another deriver has derived them."""
        left = self._left()
        for day in [day for day in self.unreadable if day not in left]:
            del self.unreadable[day], self._again_s[day]

    def _left(self) -> list[int]:
        """Return the days whose marks are left for now, because their file was not readable a moment before."""
        now_s = time.monotonic()
        return [day for day, again_s in self._again_s.items() if again_s > now_s]

    def _leave(self, connection: Connection, error: Unreadable) -> None:
        """Leave the marks of a day, and note that its bars are not complete."""
        self._again_s[error.day] = time.monotonic() + _AGAIN_S
        self.unreadable[error.day] = str(error)
        with self._transaction(connection) as cursor:
            cursor.execute(bar_sql.UNCERTAIN, {"day": error.day})

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
        for one in self._archived(cursor, days):
            mine = {key for key in days[one.day] if key[0] in set(one.instruments)}
            days[one.day] -= mine
            if one.state == "kept":  # else its trades were let go, which a gap declares, and its bars stand
                changed |= self._store_archived(cursor, one, mine)
        for day, keys in sorted(days.items()):  # one partition of trade each
            bounds = {"first": day * DAY_S, "last": (day + 1) * DAY_S}
            changed |= self._store(cursor, bar_sql.DERIVE_MINUTES, keys, bounds)
        for _, width_s in bar_sql.ROLL_UPS:
            keys = {(number, start_s // width_s * width_s) for number, start_s in changed}
            changed = self._store(cursor, bar_sql.ROLL_UP.format(width_s=width_s), keys, {})

    def _archived(self, cursor: Cursor, days: dict[int, set[Key]]) -> list[_Left]:
        """Return which of these days have left table trade; none does that ended less than a week ago."""
        old = [day for day in days if day < time.time() // DAY_S - _NEVER_ARCHIVED_DAYS]
        if not old:
            return []
        ids = sorted({number for day in old for number, _ in days[day]})
        return [_Left(*row) for row in _rows(cursor, bar_sql.ARCHIVED, {"days": old, "ids": ids})]

    def _store_archived(self, cursor: Cursor, left: _Left, keys: set[Key]) -> set[Key]:
        """Derive bars of a day that left the table from the archive and what came later; return those that changed.

        Raises:
            Unreadable: The archive cannot be read now.
        """
        if self._lacks:
            raise Unreadable(left.day, f"{self._lacks}; `tapedeck migrate` or `tapedeck roles --sql` grants it")
        try:
            from analysis.load.kept.ledger import Archived
            from analysis.workers.archived_trades import copy_trades
        except ImportError as error:
            raise Unreadable(left.day, f"bars of archived days need the extra `derive` ({error})") from error
        file = Archived(left.folder, left.path, left.rows, left.sha256, left.state, left.here, left.copied_to)
        changed: set[Key] = set()
        minutes: dict[int, set[int]] = {}
        for number, start_s in keys:
            minutes.setdefault(number, set()).add(start_s)
        numbers = sorted(minutes)
        for at in range(0, len(numbers), _INSTRUMENTS):
            lot = {number: minutes[number] for number in numbers[at : at + _INSTRUMENTS]}
            try:
                copy_trades(cursor, left.venue, date(1970, 1, 1) + timedelta(days=left.day), file, lot)
            except ArchiveError as error:
                raise Unreadable(left.day, str(error)) from error
            mine = {(number, start_s) for number, starts in lot.items() for start_s in starts}
            changed |= self._store(cursor, bar_sql.DERIVE_ARCHIVED, mine, {})
            cursor.execute("DELETE FROM archived_trade")
        self._again_s.pop(left.day, None)
        self.unreadable.pop(left.day, None)
        return changed

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

"""The SQL of the writer: rows by binary COPY, the journal's position and the counts, in one transaction.

A batch is first copied straight into its tables. When Postgres refuses rows, the transaction is rolled back and
repeated with a slower mode for the table in question: through a staging table when keys exist already, then by
bisection to find the rejected rows. The common case pays nothing for this.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import IntEnum
from typing import NoReturn

import psycopg2
import psycopg2.errors

from recorder.errors import ConfigError, RowRejected, StoreError, StoreUnavailable
from recorder.journal.lineage import LastRow, StreamKey
from recorder.pgcopy.stream import CopyReader, copy_stream, int8_field
from recorder.position import Position
from recorder.process.log import get_logger
from recorder.store import lineage, refused_rows
from recorder.store.batch import Batch, Broken, Counts, Group, Loaded, Place, Row, groups_of
from recorder.store.database import WRITER, Connection, Cursor, classify, connect
from recorder.store.journal_lock import try_lock
from recorder.store.lifeline import Lifeline
from recorder.store.partitions import Partitions
from recorder.store.restore import unfinished_restore
from recorder.store.staging.merge import column_list, identifier, merge
from recorder.store.staging.tables import ENTERS, StagedTables
from recorder.store.upkeep import end_idle_readers, fold_bar_marks, name_instruments

_log = get_logger(__name__)

PARTITIONED = ("trade", "quote", "book", "market_snapshot", "market_book")
SAMPLE_BYTES = 1024
STATEMENT_S = 60.0
_MAX_STATEMENT_S = 3600.0
_ANSWER_S = 30.0  # a server that keeps its own limit needs this long at most to report it
_REASON_CHARS = 500

_ADVANCE = """
SELECT advance_journal(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::integer[], %s::text[], %s::bigint[],
                       %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]); COMMIT"""
_QUARANTINE = """
INSERT INTO quarantine (journal_id, segment, position, item, scope, table_name, instrument_id, session_id, ts_recv,
                        reason, sample, sha256)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, now(), %s, %s, %s)
ON CONFLICT (journal_id, segment, position, scope, item) DO NOTHING"""


class _LoadMode(IntEnum):
    """How a group is loaded, from fast to slow."""

    DIRECT = 0  # COPY into the table
    STAGED = 1  # COPY into a staging table, then insert the new rows into the table
    BISECT = 2  # the same in ever smaller halves, until the rejected rows are isolated


class _RefusedError(Exception):
    """Postgres refused rows of a group, and the transaction is over."""

    def __init__(self, group: int, mode: _LoadMode) -> None:
        super().__init__(group)
        self.group = group
        self.mode = mode


class Store:
    """The writer's connection to Postgres. It connects when first needed, and again after the connection is lost.

    Every method raises StoreUnavailable (try again later), ConfigError (a person must act) or StoreError (another
    writer is active). Not thread-safe.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        *,
        application_name: str = "writer",
        statement_s: float = STATEMENT_S,
    ) -> None:
        """
        Args:
            url: DATABASE_URL, or a function that returns it at each connect.
            application_name: Program, as pg_stat_activity shows it.
            statement_s: Limit of one statement. A batch that needs longer is tried again with twice the time.
        """
        self.lifeline = Lifeline()
        self._statement_s = self._usual_statement_s = statement_s
        self._url = url
        self._application_name = application_name
        self._connection: Connection | None = None
        self._locked: set[str] = set()
        self._staging: set[str] = set()  # tables whose staging table this connection has
        self._partitions = Partitions()
        self._staged = StagedTables()

    @property
    def connected(self) -> bool:
        """Whether the last call left a working connection."""
        return self._connection is not None

    @property
    def patience_s(self) -> float:
        """Seconds after which a call is hanging for certain: the server would have ended its statement by then."""
        return self._statement_s + _ANSWER_S

    def close(self) -> None:
        """Release the connection and the locks."""
        self._locked.clear()
        self._drop()

    def lock(self, journal_id: str) -> bool:
        """Lock a journal until this store is closed. Return False when another writer has locked it."""
        try:
            if not try_lock(self._cursor(), journal_id):
                return False
        except psycopg2.Error as error:
            self._fail(error)
        self._locked.add(journal_id)
        return True

    def position(self, journal_id: str) -> Position | None:
        """Return where the next batch of a journal begins; None before its first batch."""
        try:
            with self._cursor() as cursor:
                cursor.execute("SELECT segment, position FROM journal WHERE journal_id = %s", (journal_id,))
                row = cursor.fetchone()
        except psycopg2.Error as error:
            self._fail(error)
        return None if row is None else Position(*row)

    def known(self, journal_id: str) -> lineage.Known:
        """Return what the database has of a journal."""
        try:
            with self._cursor() as cursor:
                return lineage.known(cursor, journal_id)
        except psycopg2.Error as error:
            self._fail(error)

    def lost_journal(self, recorder: str, present: Collection[str]) -> lineage.Known | None:
        """Return what the database has of the journal of a recorder that is not among those present."""
        try:
            with self._cursor() as cursor:
                return lineage.lost_journal(cursor, recorder, present)
        except psycopg2.Error as error:
            self._fail(error)

    def replaced(self, returned: lineage.Known, present: Collection[str]) -> lineage.Known:
        """Return a journal that others have replaced, as it goes on after the last of those (see `lineage`)."""
        try:
            with self._cursor() as cursor:
                return lineage.replaced(cursor, returned, present)
        except psycopg2.Error as error:
            self._fail(error)

    def last_rows(self, venue: str, streams: Iterable[StreamKey], until_ns: int) -> dict[StreamKey, LastRow]:
        """Return the newest row of each stream that was received until a time."""
        try:
            with self._cursor() as cursor:
                return lineage.last_rows(cursor, venue, streams, until_ns)
        except psycopg2.Error as error:
            self._fail(error)

    def identity(self) -> tuple[str, list[str]]:
        """Return what distinguishes this database from every other one, and the same of all on its server."""
        try:
            with self._cursor() as cursor:
                return lineage.identity(cursor)
        except psycopg2.Error as error:
            self._fail(error)

    def look(self) -> list[str]:
        """Look whether the database is still what it was, and return the names of partitions that were dropped.

        Their loss is declared, and they are created again when rows come, or by the keeper.
        """
        try:
            with self._cursor() as cursor:
                restoring = unfinished_restore(cursor)
                if restoring is None:
                    return self._partitions.declare_dropped(cursor)
        except psycopg2.Error as error:
            self._fail(error)
        raise StoreUnavailable(f"a restore of the database is not complete: {restoring}")

    def end_idle_readers(self) -> None:
        """End the sessions of readers that keep a transaction open."""
        try:
            with self._cursor() as cursor:
                end_idle_readers(cursor)
        except psycopg2.Error as error:
            self._fail(error)

    def fold_bar_marks(self) -> None:
        """Bound the marks of bars that no deriver takes (see `upkeep`)."""
        try:
            with self._cursor() as cursor:
                fold_bar_marks(cursor)
        except psycopg2.Error as error:
            self._fail(error)

    def name_instruments(self, venue: str, symbols: Iterable[tuple[str, int]]) -> None:
        """Insert the instruments of a journal that the database does not know (see `upkeep`)."""
        try:
            with self._cursor() as cursor:
                name_instruments(cursor, venue, symbols)
        except psycopg2.Error as error:
            self._fail(error)

    def load(self, batch: Batch) -> Loaded:
        """Store a batch and advance its journal, all or nothing.

        After StoreUnavailable the batch may nevertheless be stored, because the answer to COMMIT may be lost. Call
        `position` before trying again. A batch whose `start` is not the position of the journal changes nothing.
        """
        groups = groups_of(batch)
        received_day = (batch.since_ns // 1_000_000_000 or int(time.time())) // 86_400
        for group in groups:
            if group.table in PARTITIONED:
                for day in sorted(group.days):
                    self._ensure_partition(group.table, day, received_day)
            elif group.table in ENTERS:  # its days were asked for, however old they are
                for day in sorted(group.days):
                    self._ensure_partition(ENTERS[group.table], day, day)
        try:
            with self._cursor() as cursor:
                self._staged.look_for_history(cursor)
        except psycopg2.Error as error:
            self._fail(error)
        modes = [_LoadMode.STAGED if staged else _LoadMode.DIRECT for staged in self._staged.of(groups)]
        while True:
            try:
                loaded = self._transaction(batch, groups, modes)
                self._statement_s = self._usual_statement_s
                return loaded
            except _RefusedError as refused:
                modes[refused.group] = refused.mode
            except psycopg2.Error as error:
                if isinstance(error, psycopg2.errors.QueryCanceled):  # slow, not refused: it may need longer
                    self._statement_s = min(2 * self._statement_s, _MAX_STATEMENT_S)
                self._fail(error)
            except BaseException:
                self._drop()  # rows of an open transaction must not enter the next one
                raise

    def _transaction(self, batch: Batch, groups: list[Group], modes: list[_LoadMode]) -> Loaded:
        cursor = self._cursor()
        for group, mode in zip(groups, modes, strict=True):
            if mode is not _LoadMode.DIRECT:
                self._ensure_staging(cursor, group.table)
        results = [Counts()] * len(groups)
        opening = "BEGIN; "
        if not groups or batch.damage or batch.breaks or batch.ended is not None:
            cursor.execute("BEGIN")
            opening = ""
        for damage in batch.damage:
            place = Place(damage.position, damage.item)
            _quarantine(cursor, batch, place, "block", None, damage.reason, (damage.sample, damage.sha256))
        lineage.record_breaks(cursor, batch)
        # Groups in slow modes come last, so that a refusal repeats no bisection.
        for index in sorted(range(len(groups)), key=lambda number: modes[number]):
            group = groups[index]
            try:
                if modes[index] is _LoadMode.DIRECT:
                    results[index] = _copy_direct(cursor, group, opening)
                elif modes[index] is _LoadMode.STAGED:
                    results[index] = _copy_staged(cursor, group, opening)
                else:
                    results[index] = _bisect(cursor, batch, group, opening)
            except (psycopg2.Error, RowRejected) as error:
                refusal = _refusal(error, index, modes[index])
                if refusal is None:
                    raise
                cursor.execute("ROLLBACK")
                raise refusal from error
            opening = ""
        if batch.ended is not None:  # after the rows of sessions in this batch
            lineage.end_sessions(cursor, batch.ended)
        cursor.execute(_ADVANCE, _advance_arguments(batch, groups, results))
        cursor.close()
        return self._loaded(batch, groups, results)

    def _loaded(self, batch: Batch, groups: list[Group], results: list[Counts]) -> Loaded:
        tables: dict[str, Counts] = {}
        for group, counts in zip(groups, results, strict=True):
            tables.setdefault(group.table, Counts()).add(counts)
            self._staged.loaded(group.table, duplicate=counts.duplicate)
        return Loaded(batch.end, tables)

    def _ensure_partition(self, table: str, day: int, received_day: int) -> None:
        if not self._partitions.wanted(table, day, received_day):
            return
        try:
            with self._cursor() as cursor:
                self._partitions.ensure(cursor, table, day)
        except psycopg2.Error as error:
            self._fail(error)

    def _ensure_staging(self, cursor: Cursor, table: str) -> None:
        if table not in self._staging:
            stage = f"{identifier('stage_' + table)} (LIKE {identifier(table)} INCLUDING DEFAULTS)"
            cursor.execute(f"CREATE TEMP TABLE IF NOT EXISTS {stage} ON COMMIT DELETE ROWS")
            self._staging.add(table)

    def _cursor(self) -> Cursor:
        if self._connection is None or self._connection.closed:
            self._drop()
            url = self._url if isinstance(self._url, str) else self._url()
            connection = connect(
                url, application_name=self._application_name, role=WRITER, statement_timeout_s=self._statement_s
            )
            self.lifeline.attach(connection)
            try:
                for journal_id in self._locked:
                    if not try_lock(connection.cursor(), journal_id):
                        raise StoreUnavailable(f"another writer has locked journal {journal_id}")
            except psycopg2.Error as error:
                connection.close()
                raise classify(error) from error
            except StoreUnavailable:
                connection.close()
                raise
            self._connection = connection
        return self._connection.cursor()

    def _fail(self, error: psycopg2.Error) -> NoReturn:
        trouble = classify(error)
        if isinstance(trouble, StoreUnavailable | ConfigError):
            self._drop()  # a new connection may reach a healthy server, and has no open transaction
        elif self._connection is not None:
            try:
                self._connection.cursor().execute("ROLLBACK")
            except psycopg2.Error:
                self._drop()
        if isinstance(trouble, RowRejected):
            raise StoreError(f"Postgres refused a statement: {trouble}") from error
        raise trouble from error

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.lifeline.detach()
        self._staging.clear()
        self._partitions.forget()


def _copy_direct(cursor: Cursor, group: Group, opening: str) -> Counts:
    rows = _copy(cursor, opening, group.table, group.columns, group.pieces())
    if rows != group.rows:
        _log.error("store.row_count", table=group.table, promised=group.rows, stored=rows)
    return Counts(len(group.parts), rows, rows)


def _copy_staged(cursor: Cursor, group: Group, opening: str) -> Counts:
    rows = _copy(cursor, opening, f"stage_{group.table}", group.columns, group.pieces())
    inserted = merge(cursor, group)
    return Counts(len(group.parts), rows, inserted, rows - inserted)


def _bisect(cursor: Cursor, batch: Batch, group: Group, opening: str) -> Counts:
    """Load all rows except those that Postgres refuses; these go into quarantine."""
    rows, broken = group.split()
    if opening:
        cursor.execute("BEGIN")
    counts = Counts(len(group.parts))
    ranges = [(0, len(rows))] if rows else []
    while ranges:
        first, last = ranges.pop()
        try:
            pieces = copy_stream([row.data for row in rows[first:last]])
            _copy(cursor, "SAVEPOINT half; ", f"stage_{group.table}", group.columns, pieces)
            inserted = merge(cursor, group)
            cursor.execute(f"TRUNCATE {identifier('stage_' + group.table)}; RELEASE SAVEPOINT half")
        except (psycopg2.Error, RowRejected) as error:
            reason = _row_fault(error)
            if reason is None:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT half; RELEASE SAVEPOINT half")
            if last - first == 1:
                _quarantine_row(cursor, batch, group, rows[first], reason, rows)
                counts.quarantined += 1
            else:
                middle = (first + last) // 2
                ranges += [(middle, last), (first, middle)]
            continue
        counts.inserted += inserted
        counts.duplicate += last - first - inserted
    for rest in broken:
        reason = f"{rest.rows} rows cannot be split into tuples: {rest.reason}"
        _quarantine_row(cursor, batch, group, rest, reason, rows)
        counts.quarantined += rest.rows
    counts.offered = counts.inserted + counts.duplicate + counts.quarantined
    return counts


def _copy(cursor: Cursor, opening: str, table: str, columns: tuple[str, ...], pieces: Iterator[bytes]) -> int:
    # All of it is one message to the server: psycopg2 accepts statements in front of a COPY.
    statement = f"{opening}COPY {identifier(table)} ({column_list(columns)}) FROM STDIN BINARY"
    reader = CopyReader(pieces)
    try:
        cursor.copy_expert(statement, reader)
    except psycopg2.Error as error:
        if reader.failure is not None:
            raise reader.failure from error
        raise
    return cursor.rowcount


def _refusal(error: psycopg2.Error | RowRejected, index: int, mode: _LoadMode) -> _RefusedError | None:
    """Return the mode to retry with after an error; None when the error is not about rows."""
    if mode is _LoadMode.BISECT or _row_fault(error) is None:
        return None
    if mode is _LoadMode.DIRECT and isinstance(error, psycopg2.errors.UniqueViolation):
        return _RefusedError(index, _LoadMode.STAGED)
    return _RefusedError(index, _LoadMode.BISECT)


def _row_fault(error: psycopg2.Error | RowRejected) -> str | None:
    trouble = error if isinstance(error, RowRejected) else classify(error)
    return str(trouble) if isinstance(trouble, RowRejected) else None


def _quarantine_row(
    cursor: Cursor, batch: Batch, group: Group, row: Row | Broken, reason: str, others: list[Row]
) -> None:
    _log.error(
        "row.quarantined",
        table=group.table,
        journal=batch.journal_id,
        segment=row.place.position.segment,
        offset=row.place.position.offset,
        item=row.place.item,
        reason=reason,
    )
    ids = (int8_field(row.data, group.columns, "instrument_id"), int8_field(row.data, group.columns, "session_id"))
    evidence = (row.data[:SAMPLE_BYTES], hashlib.sha256(row.data).digest())
    _quarantine(cursor, batch, row.place, "row", group.table, reason, evidence, ids)
    refused_rows.declare(cursor, batch, group, row, reason, others)


def _quarantine(
    cursor: Cursor,
    batch: Batch,
    place: Place,
    scope: str,
    table: str | None,
    reason: str,
    evidence: tuple[bytes | None, bytes | None],
    ids: tuple[int | None, int | None] = (None, None),
) -> None:
    where = (batch.journal_id, place.position.segment, place.position.offset, place.item, scope, table, *ids)
    sample, digest = evidence
    cursor.execute(
        _QUARANTINE, (*where, reason[:_REASON_CHARS], None if sample is None else sample[:SAMPLE_BYTES], digest)
    )


def _advance_arguments(batch: Batch, groups: list[Group], results: list[Counts]) -> tuple[object, ...]:
    # After an upgrade a segment may have two column lists of one table. They share a row of the ledger.
    lines: dict[tuple[int, str], Counts] = {}
    for group, counts in zip(groups, results, strict=True):
        lines.setdefault((group.segment, group.table), Counts()).add(counts)
    values = lines.values()
    return (
        batch.journal_id,
        batch.recorder,
        batch.start.segment if batch.start else None,
        batch.start.offset if batch.start else None,
        batch.end.segment,
        batch.end.offset,
        batch.blocks[-1].seq if batch.blocks else None,
        batch.incarnation,
        lineage.instant(batch.written_ns),
        batch.state,
        [segment for segment, _ in lines],
        [table for _, table in lines],
        [counts.blocks for counts in values],
        [counts.offered for counts in values],
        [counts.inserted for counts in values],
        [counts.duplicate for counts in values],
        [counts.quarantined for counts in values],
    )

"""SQL of the writer: rows by binary COPY, with the journal's position and the counts, in one transaction.

A batch is tried the fast way first: COPY straight into its tables. The transaction itself is the savepoint: when
Postgres refuses rows, all of it is rolled back, the table in question is taken more carefully (a staging table for
keys that exist, then a search for the rows to blame), and the batch is tried again. So the usual batch pays for none
of it.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NoReturn

import psycopg2
import psycopg2.errors

from recorder.database import WRITER, Connection, Cursor, classify, connect
from recorder.errors import ConfigError, RowRejected, StoreError, StoreUnavailable
from recorder.log import get_logger
from recorder.position import Position
from recorder.store_batch import (
    Batch,
    Broken,
    CopyReader,
    Counts,
    Group,
    Loaded,
    Place,
    Row,
    copy_stream,
    groups_of,
    int8_field,
)

_log = get_logger(__name__)

PARTITIONED = ("trade", "quote", "book")
SAMPLE_BYTES = 1024
_FIRST_DAY = 14_245  # 2009-01-01
_LAST_DAY_AHEAD = 60  # a day further ahead is a venue's broken clock: its rows may wait in the default partition
_PARTITION_RETRY_S = 60.0
_STAGE_AFTER_DUPLICATE_S = 5.0
_REASON_CHARS = 500

_KEYS = {
    "trade": ("instrument_id", "trade_id", "ts_event"),
    "quarantine": ("journal_id", "segment", "position", "scope", "item"),
    "book_audit": ("session_id", "instrument_id", "started_at"),
    "gap": ("gap_id",),
    "session": ("session_id",),
    "instrument": ("instrument_id",),
}
_REVISED = ("gap", "session")
_STAGED_ALWAYS = (*_REVISED, "instrument")

_ADVANCE = """
SELECT advance_journal(%s, %s, %s, %s, %s, %s, %s, %s::integer[], %s::text[], %s::bigint[], %s::bigint[],
                       %s::bigint[], %s::bigint[], %s::bigint[]); COMMIT"""
_QUARANTINE = """
INSERT INTO quarantine (journal_id, segment, position, item, scope, table_name, instrument_id, session_id, ts_recv,
                        reason, sample, sha256)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, now(), %s, %s, %s)
ON CONFLICT (journal_id, segment, position, scope, item) DO NOTHING"""
_OTHER_NAME = """
SELECT format('instrument_id %s of %s:%s is taken by %s:%s', s.instrument_id, s.venue, s.symbol, i.venue, i.symbol)
  FROM pg_temp.stage_instrument s
  LEFT JOIN instrument i ON i.instrument_id = s.instrument_id
 WHERE (i.venue, i.symbol) IS DISTINCT FROM (s.venue, s.symbol) LIMIT 1"""


class _Care(IntEnum):
    """How much trouble is taken with a group."""

    DIRECT = 0  # COPY into the table
    STAGED = 1  # COPY into a staging table, then what is new into the table
    SEARCHED = 2  # the same in ever smaller halves, until the rows to blame stand alone


class _RefusedError(Exception):
    """Postgres refused rows of a group; the transaction is over."""

    def __init__(self, group: int, care: _Care) -> None:
        super().__init__(group)
        self.group = group
        self.care = care


class Store:
    """The writer's connection to Postgres. Connects when first needed, and again after it was lost.

    Every method raises StoreUnavailable (try again later), ConfigError (a person must act) or StoreError (another
    writer is at work). Not for several threads.
    """

    def __init__(self, url: str | Callable[[], str], *, application_name: str = "writer") -> None:
        """
        Args:
            url: DATABASE_URL, or what gives it at each connect.
            application_name: Program, as pg_stat_activity shows it.
        """
        self._url = url
        self._application_name = application_name
        self._connection: Connection | None = None
        self._locked: set[str] = set()
        self._staging: set[str] = set()  # tables whose staging table this connection has
        self._days: set[tuple[str, int]] = set()  # partitions known to exist
        self._day_retry_at: dict[tuple[str, int], float] = {}
        self._stage_until: dict[str, float] = {}

    @property
    def connected(self) -> bool:
        """Whether the last call left a working connection."""
        return self._connection is not None

    def close(self) -> None:
        """Let go of the connection and of the locks."""
        self._locked.clear()
        self._drop()

    def lock(self, journal_id: str) -> bool:
        """Claim a journal, for as long as this store is open; False when another writer has it."""
        try:
            if not _try_lock(self._cursor(), journal_id):
                return False
        except psycopg2.Error as error:
            self._fail(error)
        self._locked.add(journal_id)
        return True

    def position(self, journal_id: str) -> Position | None:
        """Where the next batch of a journal begins; None before its first."""
        try:
            with self._cursor() as cursor:
                cursor.execute("SELECT segment, position FROM journal WHERE journal_id = %s", (journal_id,))
                row = cursor.fetchone()
        except psycopg2.Error as error:
            self._fail(error)
        return None if row is None else Position(*row)

    def ensure_ahead(self, days: int, today: int | None = None) -> None:
        """Have partitions from yesterday until `days` from now.

        Args:
            today: Days since 1970, UTC; the clock's without it.
        """
        if today is None:
            today = int(time.time()) // 86_400
        for day in range(today - 1, today + days + 1):
            for table in PARTITIONED:
                self._ensure_partition(table, day)

    def load(self, batch: Batch) -> Loaded:
        """Store a batch and move its journal, all or nothing.

        When this raises StoreUnavailable the batch may be stored all the same (the answer to COMMIT was lost): ask
        `position` before trying again. A batch whose `start` is not where the journal stands changes nothing.
        """
        groups = groups_of(batch)
        for group in groups:
            if group.table in PARTITIONED:
                for day in sorted(group.days):
                    self._ensure_partition(group.table, day)
        now = time.monotonic()
        care = [
            _Care.STAGED
            if group.table in _STAGED_ALWAYS or self._stage_until.get(group.table, 0.0) > now
            else _Care.DIRECT
            for group in groups
        ]
        while True:
            try:
                return self._transaction(batch, groups, care)
            except _RefusedError as refused:
                care[refused.group] = refused.care
            except psycopg2.Error as error:
                self._fail(error)
            except BaseException:
                self._drop()  # rows of a transaction left open must not slip into the next one
                raise

    def _transaction(self, batch: Batch, groups: list[Group], care: list[_Care]) -> Loaded:
        cursor = self._cursor()
        for group, level in zip(groups, care, strict=True):
            if level is not _Care.DIRECT:
                self._ensure_staging(cursor, group.table)
        results = [Counts()] * len(groups)
        opening = "BEGIN; "
        if not groups or batch.damage:
            cursor.execute("BEGIN")
            opening = ""
        for damage in batch.damage:
            place = Place(damage.position, damage.item)
            _quarantine(cursor, batch, place, "block", None, damage.reason, (damage.sample, damage.sha256))
        # Groups with known trouble last: a refusal then costs no repeated search.
        for index in sorted(range(len(groups)), key=lambda number: care[number]):
            group = groups[index]
            try:
                if care[index] is _Care.DIRECT:
                    results[index] = _copy_direct(cursor, group, opening)
                elif care[index] is _Care.STAGED:
                    results[index] = _copy_staged(cursor, group, opening)
                else:
                    results[index] = _search(cursor, batch, group, opening)
            except (psycopg2.Error, RowRejected) as error:
                refusal = _refusal(error, index, care[index])
                if refusal is None:
                    raise
                cursor.execute("ROLLBACK")
                raise refusal from error
            opening = ""
        cursor.execute(_ADVANCE, _advance_arguments(batch, groups, results))
        cursor.close()
        return self._loaded(batch, groups, results)

    def _loaded(self, batch: Batch, groups: list[Group], results: list[Counts]) -> Loaded:
        tables: dict[str, Counts] = {}
        for group, counts in zip(groups, results, strict=True):
            tables.setdefault(group.table, Counts()).add(counts)
            if counts.duplicate and group.table not in _STAGED_ALWAYS:
                # Duplicates come in runs: do not let each batch of a replay fail first.
                self._stage_until[group.table] = time.monotonic() + _STAGE_AFTER_DUPLICATE_S
        return Loaded(batch.end, tables)

    def _ensure_partition(self, table: str, day: int) -> None:
        key = (table, day)
        if key in self._days or not _FIRST_DAY <= day <= int(time.time()) // 86_400 + _LAST_DAY_AHEAD:
            return
        if time.monotonic() < self._day_retry_at.get(key, 0.0):
            return
        try:
            with self._cursor() as cursor:
                cursor.execute("SELECT ensure_partition(%s, DATE '1970-01-01' + %s)", (table, day))
        except psycopg2.errors.LockNotAvailable as error:
            # A long query holds the default partition. It takes the rows until the next call moves them.
            self._day_retry_at[key] = time.monotonic() + _PARTITION_RETRY_S
            _log.warning("partition.delayed", table=table, day=day, reason=str(error).strip())
            return
        except psycopg2.Error as error:
            self._fail(error)
        self._days.add(key)

    def _ensure_staging(self, cursor: Cursor, table: str) -> None:
        if table not in self._staging:
            cursor.execute(
                f"CREATE TEMP TABLE IF NOT EXISTS {_name('stage_' + table)} (LIKE {_name(table)}) ON COMMIT DELETE ROWS"
            )
            self._staging.add(table)

    def _cursor(self) -> Cursor:
        if self._connection is None or self._connection.closed:
            self._drop()
            url = self._url if isinstance(self._url, str) else self._url()
            connection = connect(url, application_name=self._application_name, role=WRITER)
            try:
                for journal_id in self._locked:
                    if not _try_lock(connection.cursor(), journal_id):
                        raise StoreUnavailable(f"another writer has taken journal {journal_id}")
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
            self._drop()  # a fresh connection may reach a healthy server, and has no transaction left open
        elif self._connection is not None:
            try:
                self._connection.cursor().execute("ROLLBACK")
            except psycopg2.Error:
                self._drop()
        if isinstance(trouble, RowRejected):
            raise StoreError(f"Postgres refused what is no row: {trouble}") from error
        raise trouble from error

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._staging.clear()
        self._days.clear()


def _copy_direct(cursor: Cursor, group: Group, opening: str) -> Counts:
    rows = _copy(cursor, opening, group.table, group.columns, group.pieces())
    if rows != group.rows:
        _log.error("store.row_count", table=group.table, promised=group.rows, stored=rows)
    return Counts(len(group.parts), rows, rows)


def _copy_staged(cursor: Cursor, group: Group, opening: str) -> Counts:
    rows = _copy(cursor, opening, f"stage_{group.table}", group.columns, group.pieces())
    inserted = _take_over(cursor, group)
    return Counts(len(group.parts), rows, inserted, rows - inserted)


def _search(cursor: Cursor, batch: Batch, group: Group, opening: str) -> Counts:
    """Load all rows but those Postgres refuses, which go into quarantine."""
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
            inserted = _take_over(cursor, group)
            cursor.execute(f"TRUNCATE {_name('stage_' + group.table)}; RELEASE SAVEPOINT half")
        except (psycopg2.Error, RowRejected) as error:
            reason = _row_fault(error)
            if reason is None:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT half; RELEASE SAVEPOINT half")
            if last - first == 1:
                _quarantine_row(cursor, batch, group, rows[first], reason)
                counts.quarantined += 1
            else:
                middle = (first + last) // 2
                ranges += [(middle, last), (first, middle)]
            continue
        counts.inserted += inserted
        counts.duplicate += last - first - inserted
    for rest in broken:
        _quarantine_row(cursor, batch, group, rest, f"{rest.rows} rows cannot be told apart: {rest.reason}")
        counts.quarantined += rest.rows
    counts.offered = counts.inserted + counts.duplicate + counts.quarantined
    return counts


def _take_over(cursor: Cursor, group: Group) -> int:
    """Move what is new from the staging table into the table; how many rows that were."""
    table, stage = _name(group.table), _name(f"stage_{group.table}")
    columns = _names(group.columns)
    key = _KEYS.get(group.table)
    if key is None:
        cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {stage}")
        return cursor.rowcount
    if group.table == "instrument":
        cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {stage} ON CONFLICT DO NOTHING")
        inserted = cursor.rowcount
        cursor.execute(_OTHER_NAME)
        other = cursor.fetchone()
        if other is not None:
            raise RowRejected(str(other[0]))
        return inserted
    if group.table not in _REVISED:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {stage} ON CONFLICT ({_names(key)}) DO NOTHING"
        )
        return cursor.rowcount
    newest = f"SELECT DISTINCT ON ({_names(key)}) {columns} FROM {stage} ORDER BY {_names(key)}, revision DESC"
    cursor.execute(f"INSERT INTO {table} ({columns}) {newest} ON CONFLICT ({_names(key)}) DO NOTHING")
    inserted = cursor.rowcount
    changes = ", ".join(f"{_name(column)} = s.{_name(column)}" for column in group.columns if column not in key)
    match = " AND ".join(f"t.{_name(column)} = s.{_name(column)}" for column in key)
    cursor.execute(f"UPDATE {table} t SET {changes} FROM ({newest}) s WHERE {match} AND s.revision > t.revision")
    return inserted


def _copy(cursor: Cursor, opening: str, table: str, columns: tuple[str, ...], pieces: Iterator[bytes]) -> int:
    # One message to the server: psycopg2 stops at the COPY, whatever stands before it.
    statement = f"{opening}COPY {_name(table)} ({_names(columns)}) FROM STDIN BINARY"
    reader = CopyReader(pieces)
    try:
        cursor.copy_expert(statement, reader)
    except psycopg2.Error as error:
        if reader.failure is not None:
            raise reader.failure from error
        raise
    return cursor.rowcount


def _refusal(error: psycopg2.Error | RowRejected, index: int, care: _Care) -> _RefusedError | None:
    """How to go on after an error; None when it is not about rows."""
    if care is _Care.SEARCHED or _row_fault(error) is None:
        return None
    if care is _Care.DIRECT and isinstance(error, psycopg2.errors.UniqueViolation):
        return _RefusedError(index, _Care.STAGED)
    return _RefusedError(index, _Care.SEARCHED)


def _row_fault(error: psycopg2.Error | RowRejected) -> str | None:
    trouble = error if isinstance(error, RowRejected) else classify(error)
    return str(trouble) if isinstance(trouble, RowRejected) else None


def _quarantine_row(cursor: Cursor, batch: Batch, group: Group, row: Row | Broken, reason: str) -> None:
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
    # Two column lists of one table in one segment, after an upgrade, share a line of the ledger.
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
        [segment for segment, _ in lines],
        [table for _, table in lines],
        [counts.blocks for counts in values],
        [counts.offered for counts in values],
        [counts.inserted for counts in values],
        [counts.duplicate for counts in values],
        [counts.quarantined for counts in values],
    )


def _try_lock(cursor: Cursor, journal_id: str) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"tapedeck.writer.{journal_id}",))
    return cursor.fetchone() == (True,)


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _names(identifiers: tuple[str, ...]) -> str:
    return ", ".join(map(_name, identifiers))

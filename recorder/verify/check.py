"""Checks the database: the ledger and the keys, and with the truth of a simulator every message.

One consistent snapshot of the database is read, and nothing is changed. Rows that are still in the journal are not
stored yet: wait for the writer first, or give an instant until which to check (`until_ns`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from recorder.events import Channel
from recorder.identity import instrument_id
from recorder.pgcopy.polled import POLLED
from recorder.store.archive_files import FilesCheck, check_files
from recorder.store.database import Connection, Cursor, classify
from recorder.venues import venue_class
from recorder.venues.base import BooksByRest, Venue
from recorder.verify.declared import GapCounts, count_gaps
from recorder.verify.expected import StreamTruth, VenueTruth, find_runs, load_truth
from recorder.verify.lineage import Loss, losses
from recorder.verify.polls import PollCheck, check_polls
from recorder.verify.reconcile import (
    DeclaredGap,
    Span,
    StoredRow,
    StoredTrade,
    StreamCheck,
    check_absences,
    check_rows,
    check_trades,
)
from recorder.verify.served.check import check_served
from recorder.verify.served.logs import choose
from recorder.verify.served.result import ServedCheck

_TABLES = ("trade", "quote", "book")
# Nothing removes their rows, and a revision replaces its row. Old rows of poll_run become daily sums.
_SUMMED = ("poll_run", "poll_schedule", "instrument")
_KEPT = ("gap", "session", "witness", *(table for table in POLLED if table not in _SUMMED))
_OTHER_TABLES = ("book_audit", "gap", "instrument", "quarantine", "session", "witness")
_COUNT = {table: f"SELECT count(*) FROM {table}" for table in (*_TABLES, *_OTHER_TABLES, *POLLED)}
_FETCH = 20_000  # rows of one round trip
_REPORT = 10_000  # rows between two reports of progress
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER_US = 1 << 62

# Instants leave Postgres as microseconds. extract(epoch) is numeric, so nothing is rounded.
_TRADES = """
    SELECT trade_id, (extract(epoch FROM ts_event) * 1000000)::bigint, price, size, aggressor
      FROM trade WHERE instrument_id = %s AND ts_event >= %s"""
_QUOTES = """
    SELECT (extract(epoch FROM ts_recv) * 1000000)::bigint, (extract(epoch FROM ts_event) * 1000000)::bigint,
           sequence, bid, bid_size, ask, ask_size
      FROM quote WHERE instrument_id = %s AND ts_recv >= %s"""
# The digest is that of expected.book_values: the levels need not leave Postgres as text.
_BOOKS = """
    SELECT (extract(epoch FROM ts_recv) * 1000000)::bigint, (extract(epoch FROM ts_event) * 1000000)::bigint,
           kind, sequence, sha256(array_send(bids) || array_send(asks))
      FROM book WHERE instrument_id = %s AND ts_recv >= %s"""
_GAPS = """
    SELECT cause, last_id, first_id, (extract(epoch FROM started_at) * 1000000)::bigint,
           (extract(epoch FROM ended_at) * 1000000)::bigint, (extract(epoch FROM last_ts_event) * 1000000)::bigint,
           (extract(epoch FROM first_ts_event) * 1000000)::bigint
      FROM gap WHERE instrument_id = %s AND channel = %s AND state <> 'healed'"""
_LAST_FRAMES = """
    SELECT (extract(epoch FROM last_frame_at) * 1000000)::bigint FROM session
     WHERE venue = %s AND last_frame_at IS NOT NULL"""
_ARCHIVED = "SELECT table_name, sum(row_count + duplicates + gone)::bigint, count(DISTINCT day) FROM archive GROUP BY 1"
# A day in the archive is declared as a gap would: its rows were compared value by value when they left the table.
_ARCHIVED_DAYS = """
    SELECT 'archived', NULL, NULL, extract(epoch FROM day)::bigint * 1000000,
           extract(epoch FROM day + 1)::bigint * 1000000, extract(epoch FROM day)::bigint * 1000000,
           extract(epoch FROM day + 1)::bigint * 1000000
      FROM archive WHERE table_name = %s AND venue = %s"""
# Before the snapshot, so that no day leaves a table between its ledger and its rows.
_HOLD = "LOCK TABLE ONLY trade, ONLY quote, ONLY book IN ACCESS SHARE MODE"
_LEDGER = """
    SELECT table_name, sum(offered)::bigint, sum(inserted)::bigint, sum(duplicate)::bigint, sum(quarantined)::bigint,
           bool_and(offered = inserted + duplicate + quarantined)
      FROM load_ledger GROUP BY table_name ORDER BY table_name"""
# A trade id may be stored with two times only if the venue restarted its ids in between.
_DOUBLED = """
    SELECT count(*) FROM (
        SELECT instrument_id, min(ts_event) AS low, max(ts_event) AS high
          FROM trade GROUP BY instrument_id, trade_id HAVING count(*) > 1
    ) AS twice
    WHERE NOT EXISTS (
        SELECT FROM gap
         WHERE gap.instrument_id = twice.instrument_id AND gap.channel = 'trade' AND gap.cause = 'sequence_reset'
           AND coalesce(gap.last_ts_event, gap.started_at) <= twice.high
           AND coalesce(gap.first_ts_event, gap.ended_at, 'infinity') >= twice.low
    )"""


Progress = Callable[[str, int, int], None]
"""Receives what is being read, the number of rows read so far, and the number of rows to read; of ARCHIVE MiB."""
ARCHIVE = "archive"


class LedgerCheck(msgspec.Struct):
    """The counts of one table."""

    table: str
    offered: int
    inserted: int
    duplicate: int
    quarantined: int
    rows: int | None  # count(*) now; None for a table that this version does not know
    ok: bool
    archived: int = 0  # rows that left the table for the archive, without those lost
    lost: int = 0  # rows in files of the archive that are missing or differ


class Report(msgspec.Struct):
    """The result of `tapedeck verify`."""

    ok: bool
    ledger: list[LedgerCheck]
    doubled_ids: int  # trade ids stored with two event times without a declared reset
    streams: list[StreamCheck]  # only with a truth log
    problems: list[str]  # one sentence each; empty when ok
    losses: list[Loss] = []  # parts of journals that were never loaded; they are declared
    polls: PollCheck | None = None  # None where the poller never ran
    served: list[ServedCheck] = []  # only with truth logs of services
    archive: FilesCheck | None = None  # None where no day is archived
    notes: list[str] = []
    gaps: GapCounts = msgspec.field(default_factory=GapCounts)
    unseen: list[str] = []  # what was not looked at, as parts of a sentence


def verify(
    connection: Connection,
    truth: Sequence[Path] = (),
    *,
    until_ns: int | None = None,
    agent: str | None = None,
    large: tuple[float, float] = (1000.0, 100.0),
    progress: Progress = lambda what, rows, total: None,
    files: FilesCheck | None = None,
) -> Report:
    """Check the ledger and the files of the archive, and with truth logs every message and every answer.

    The truth is read one venue at a time, so memory grows with the logs of the largest venue. Logs of services are read
    beside the tables, so memory does not grow with them.

    Args:
        connection: Any role that may read. It must not be inside a transaction.
        truth: Logs of the simulator; those of one venue or of one group of services are taken together.
        until_ns: Check only messages up to this venue time; later ones may still be in flight.
        agent: Check only what was sent to clients whose User-Agent begins with this; None takes all clients.
        large: The settings of large trades: least cash of a transaction, and of a fill that is asked for, USDC.
        progress: Called now and then while rows, or files of the archive, are read.
        files: What an earlier call found of the archive, so that its files are not read once more.

    Raises:
        ConfigError: A truth log cannot be read.
        StoreUnavailable: The database cannot be read.
    """
    until_us = until_ns // 1000 if until_ns is not None else _FOREVER_US
    before = connection.isolation_level, connection.autocommit
    streams: list[StreamCheck] = []
    served: list[ServedCheck] = []
    try:
        connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True, autocommit=False)
        try:
            with connection.cursor() as cursor:
                progress("tables", 0, 0)
                cursor.execute(_HOLD)
                cursor.execute(_ARCHIVED)
                archived = {table: (int(rows), int(days)) for table, rows, days in cursor.fetchall()}
                ledger = _ledger(cursor, progress, {table: rows for table, (rows, _) in archived.items()})
                progress("truth logs", 0, 0)
                logs = choose(truth)  # behind the snapshot of the database: it must show all that is stored
                runs = find_runs(logs.venues)
                progress("trade ids", 0, 0)
                doubled = _number(cursor, _DOUBLED)
                progress("gaps", 0, 0)
                lost, gaps = losses(cursor), count_gaps(cursor)
                progress("slots of polls", 0, 0)
                polls = check_polls(cursor, until_ns)
            counter = _Counter(progress, sum(one.rows or 0 for one in ledger if one.table in _TABLES))
            for name, paths in runs.items():
                counter.begin(f"{name} truth log")
                venues = load_truth(paths, agent, lambda _lines: counter.report())
                streams += _streams(connection, venues.pop(name), until_us, counter)
            counter.begin("answers of services")
            served = check_served(connection, logs.services, until_ns=until_ns, agent=agent, large=large)
        finally:
            connection.rollback()
            connection.set_session(isolation_level=before[0], readonly=False, autocommit=before[1])
        if files is None and archived:  # after the snapshot, which would hold up the archiver and vacuum for so long
            files = check_files(connection, lambda done, total: progress(ARCHIVE, done >> 20, total >> 20))
            connection.rollback()
    except psycopg2.Error as error:
        raise classify(error) from error
    _count_lost(ledger, files)
    problems = [*_problems(ledger, doubled, streams), *polls.problems()]
    problems += [one.problem() for one in served if not one.ok]
    notes, unseen = polls.notes(), []
    notes += [
        f"{rows:,} rows of {table} of {days} days left for the archive"
        for table, (rows, days) in sorted(archived.items())
    ]
    if files is not None:
        problems += [f"archive: {fault}" for fault in files.faults]
        notes += _archive_notes(files)
        if files.elsewhere:
            unseen.append(f"{len(files.elsewhere):,} files of the archive that are elsewhere")
    return Report(
        not problems, ledger, doubled, streams, problems, lost, polls if polls.jobs else None, served, files, notes,
        gaps, unseen,
    )  # fmt: skip


class _Counter:
    """Counts rows over all streams and reports them."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._rows = 0
        self._what = ""

    def begin(self, what: str) -> None:
        """Name what is read next."""
        self._what = what
        self.report()

    def report(self) -> None:
        """Report the rows so far."""
        self._progress(self._what, self._rows, self._total)

    def counted(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """Pass rows through and count them."""
        for row in rows:
            self._rows += 1
            if self._rows % _REPORT == 0:
                self.report()
            yield row


def _problems(ledger: list[LedgerCheck], doubled: int, streams: list[StreamCheck]) -> list[str]:
    problems = [
        f"table {one.table}: offered {one.offered}, inserted {one.inserted}, duplicate {one.duplicate}, "
        f"quarantined {one.quarantined}, rows {one.rows}{_beside(one)}"
        for one in ledger
        if not one.ok
    ]
    if doubled:
        problems.append(f"{doubled} trade ids are stored with two event times, and no reset is declared")
    problems += [
        f"{one.venue} {one.symbol} {one.channel}: {one.missing} missing and not declared, "
        f"{one.duplicates} stored twice, {one.wrong} wrong, {one.absent} times without a connection not declared, "
        f"{one.overdeclared} stored and declared missing ({'; '.join(one.examples)})"
        for one in streams
        if not one.ok
    ]
    return problems


def _beside(one: LedgerCheck) -> str:
    archived = f", archived {one.archived}" if one.archived or one.lost else ""
    return f"{archived}, lost from the archive {one.lost}" if one.lost else archived


def _count_lost(ledger: list[LedgerCheck], files: FilesCheck | None) -> None:
    """Count the rows of archive files with a fault as lost."""
    lost = {} if files is None else files.lost()
    for one in ledger:
        one.lost = lost.get(one.table, 0)
        one.archived -= one.lost
        one.ok = one.ok and not one.lost


def _archive_notes(files: FilesCheck) -> Iterator[str]:
    """Yield what was read of the archive, and each file that was not looked at."""
    yield f"{files.files} files of the archive with {files.rows:,} rows were read: size and SHA-256 are as archived"
    yield f"{files.manifests} manifests of the archive were read: they are as written and name these files"
    for one in files.elsewhere:
        yield f"not looked at: {one.path} ({one.rows:,} rows of {one.table}) is in {one.copied_to} only"


def _number(cursor: Cursor, query: str) -> int:
    cursor.execute(query)
    row = cursor.fetchone()
    return int(row[0]) if row is not None else 0


def _ledger(cursor: Cursor, progress: Progress, archived: Mapping[str, int]) -> list[LedgerCheck]:
    cursor.execute(_LEDGER)
    counts = {str(row[0]): row[1:] for row in cursor.fetchall()}
    checks = []
    for table in sorted({*counts, *_TABLES}):
        offered, inserted, duplicate, quarantined, balanced = counts.get(table, (0, 0, 0, 0, True))
        progress(f"rows of {table}", 0, 0)
        rows = _number(cursor, _COUNT[table]) if table in _COUNT else None
        # Other programs write into the other tables too, so more rows prove nothing.
        by_history = counts["past_trade"][1] if table == "trade" and "past_trade" in counts else 0
        kept = (rows or 0) + archived.get(table, 0)
        complete = kept == inserted + by_history if table in _TABLES else table not in _KEPT or (rows or 0) >= inserted
        ok = bool(balanced) and complete
        checks.append(LedgerCheck(table, offered, inserted, duplicate, quarantined, rows, ok, archived.get(table, 0)))
    return checks


def _streams(connection: Connection, venue: VenueTruth, until_us: int, counter: _Counter) -> Iterator[StreamCheck]:
    for symbol, channel in sorted(venue.streams):
        check = _stream(connection, venue, symbol, channel, venue.streams.pop((symbol, channel)), until_us, counter)
        if check.sent or check.stored:
            yield check


def _stream(
    connection: Connection,
    venue: VenueTruth,
    symbol: str,
    channel: Channel,
    truth: StreamTruth,
    until_us: int,
    counter: _Counter,
) -> StreamCheck:
    instrument = instrument_id(venue.venue, symbol)
    check = StreamCheck(venue.venue, symbol, channel)
    span = Span(venue.since_us, until_us)
    with connection.cursor() as cursor:
        cursor.execute(_GAPS, (instrument, channel))
        gaps = [DeclaredGap(*row) for row in cursor.fetchall()]
        cursor.execute(_ARCHIVED_DAYS, (channel, venue.venue))
        gaps += [DeclaredGap(*row) for row in cursor.fetchall()]
        if channel != "trade":  # the ids of trades, and their times, are checked one by one
            cursor.execute(_LAST_FRAMES, (venue.venue,))
            check_absences(check, truth, gaps, [int(row[0]) for row in cursor.fetchall()], span)
    kind = venue_class(venue.venue)
    query = {"trade": _TRADES, "quote": _QUOTES, "book": _BOOKS}[channel]
    counter.begin(f"{venue.venue} {symbol} {channel}")
    with connection.cursor(name="verify") as cursor:
        cursor.itersize = _FETCH
        cursor.execute(query, (instrument, _EPOCH + timedelta(microseconds=venue.origin_us)))
        rows = counter.counted(cursor)
        if channel == "trade":
            contiguous = "trade" in kind.contiguous
            return check_trades(check, truth, map(_trade, rows), gaps, span, contiguous=contiguous)
        stored = map(_quote, rows) if channel == "quote" else (_book(row, kind) for row in rows)
        return check_rows(check, truth, stored, gaps, span, books_by_rest=issubclass(kind, BooksByRest))


def _trade(row: tuple[Any, ...]) -> StoredTrade:
    return StoredTrade(row[0], row[1], row[2:])


def _quote(row: tuple[Any, ...]) -> StoredRow:
    recv_us, ts_us = row[:2]
    return StoredRow(ts_us if ts_us is not None else recv_us, ts_us, row[2:])


def _book(row: tuple[Any, ...], kind: type[Venue]) -> StoredRow:
    recv_us, ts_us, form, sequence, digest = row
    at_us = ts_us if ts_us is not None else recv_us
    comparable = sequence is not None and not kind.connection_sequences
    snapshot = (recv_us, sequence) if form == "s" and comparable else None
    return StoredRow(at_us, ts_us, (form == "s", bytes(digest)), snapshot)

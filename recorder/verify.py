"""`tapedeck verify`: what the database must satisfy at any moment, and against the truth of a simulator.

Reads one consistent snapshot of the database and changes nothing. Rows still on their way from the journal
are not stored yet: wait for the writer first, or name an instant up to which to judge (`until_ns`).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from recorder.database import Connection, Cursor, classify
from recorder.events import Channel
from recorder.instruments import instrument_id
from recorder.published import StreamTruth, VenueTruth, book_values, load_truth
from recorder.reconcile import (
    DeclaredGap,
    Span,
    StoredRow,
    StoredTrade,
    StreamCheck,
    check_rows,
    check_trades,
)
from recorder.venues import venue_class

_TABLES = ("trade", "quote", "book")
_FETCH = 5000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER_US = 1 << 62
_COUNT = {table: f"SELECT count(*) FROM {table}" for table in _TABLES}

# Instants leave Postgres as whole microseconds: extract(epoch) is numeric, so nothing is rounded.
_TRADES = """
    SELECT trade_id, (extract(epoch FROM ts_event) * 1000000)::bigint, price, size, aggressor
      FROM trade WHERE instrument_id = %s AND ts_event >= %s ORDER BY ts_event, trade_id"""
_QUOTES = """
    SELECT (extract(epoch FROM ts_recv) * 1000000)::bigint, (extract(epoch FROM ts_event) * 1000000)::bigint,
           sequence, bid, bid_size, ask, ask_size
      FROM quote WHERE instrument_id = %s AND ts_recv >= %s"""
_BOOKS = """
    SELECT (extract(epoch FROM ts_recv) * 1000000)::bigint, (extract(epoch FROM ts_event) * 1000000)::bigint,
           kind, sequence, bids, asks
      FROM book WHERE instrument_id = %s AND ts_recv >= %s"""
_GAPS = """
    SELECT cause, last_id, first_id, (extract(epoch FROM started_at) * 1000000)::bigint,
           (extract(epoch FROM ended_at) * 1000000)::bigint, (extract(epoch FROM last_ts_event) * 1000000)::bigint,
           (extract(epoch FROM first_ts_event) * 1000000)::bigint
      FROM gap WHERE instrument_id = %s AND channel = %s AND state <> 'healed'"""
_LEDGER = """
    SELECT table_name, sum(offered)::bigint, sum(inserted)::bigint, sum(duplicate)::bigint, sum(quarantined)::bigint,
           bool_and(offered = inserted + duplicate + quarantined)
      FROM load_ledger GROUP BY table_name ORDER BY table_name"""
# A trade id may come twice with different times only if the venue was seen to count anew in between.
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


class LedgerCheck(msgspec.Struct):
    """The account of one table."""

    table: str
    offered: int
    inserted: int
    duplicate: int
    quarantined: int
    rows: int | None  # count(*) now; None where rows come and go otherwise too
    ok: bool


class Report(msgspec.Struct):
    """What `tapedeck verify` found."""

    ok: bool
    ledger: list[LedgerCheck]
    doubled_ids: int  # trade ids stored with two event times without a declared reset
    streams: list[StreamCheck]  # with a truth log only
    problems: list[str]  # one sentence each; empty when ok


def verify(
    connection: Connection, truth: Sequence[Path] = (), *, until_ns: int | None = None, agent: str | None = None
) -> Report:
    """Check the ledger, and with truth logs every item.

    Args:
        connection: Any role that may read; must not be inside a transaction.
        truth: Logs of the simulator; those of one venue are taken together.
        until_ns: Judge only items up to this venue time; what is later may still be on its way.
        agent: Judge only what went to clients whose User-Agent begins with this; None takes all clients.

    Raises:
        ConfigError: a truth log cannot be read.
        StoreUnavailable: the database cannot be read.
    """
    venues = load_truth(truth, agent)
    until_us = until_ns // 1000 if until_ns is not None else _FOREVER_US
    before = connection.isolation_level, connection.autocommit
    try:
        connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True, autocommit=False)
        try:
            with connection.cursor() as cursor:
                ledger = _ledger(cursor)
                doubled = _number(cursor, _DOUBLED)
            streams = [check for venue in venues.values() for check in _streams(connection, venue, until_us)]
        finally:
            connection.rollback()
            connection.set_session(isolation_level=before[0], readonly=False, autocommit=before[1])
    except psycopg2.Error as error:
        raise classify(error) from error
    problems = _problems(ledger, doubled, streams)
    return Report(not problems, ledger, doubled, streams, problems)


def _problems(ledger: list[LedgerCheck], doubled: int, streams: list[StreamCheck]) -> list[str]:
    problems = [
        f"table {one.table}: offered {one.offered}, inserted {one.inserted}, duplicate {one.duplicate}, "
        f"quarantined {one.quarantined}, rows {one.rows}"
        for one in ledger
        if not one.ok
    ]
    if doubled:
        problems.append(f"{doubled} trade ids are stored with two event times and no reset is declared")
    problems += [
        f"{one.venue} {one.symbol} {one.channel}: {one.missing} missing and not declared, "
        f"{one.duplicates} stored twice, {one.wrong} wrong ({'; '.join(one.examples)})"
        for one in streams
        if not one.ok
    ]
    return problems


def _number(cursor: Cursor, query: str) -> int:
    cursor.execute(query)
    row = cursor.fetchone()
    return int(row[0]) if row is not None else 0


def _ledger(cursor: Cursor) -> list[LedgerCheck]:
    cursor.execute(_LEDGER)
    accounts = {str(row[0]): row[1:] for row in cursor.fetchall()}
    checks = []
    for table in sorted({*accounts, *_TABLES}):
        offered, inserted, duplicate, quarantined, balanced = accounts.get(table, (0, 0, 0, 0, True))
        rows = _number(cursor, _COUNT[table]) if table in _COUNT else None
        ok = bool(balanced) and (rows is None or rows == inserted)
        checks.append(LedgerCheck(table, offered, inserted, duplicate, quarantined, rows, ok))
    return checks


def _streams(connection: Connection, venue: VenueTruth, until_us: int) -> Iterator[StreamCheck]:
    for (symbol, channel), truth in sorted(venue.streams.items()):
        check = _stream(connection, venue, symbol, channel, truth, until_us)
        if check.sent or check.stored:
            yield check


def _stream(
    connection: Connection, venue: VenueTruth, symbol: str, channel: Channel, truth: StreamTruth, until_us: int
) -> StreamCheck:
    instrument = instrument_id(venue.venue, symbol)
    check = StreamCheck(venue.venue, symbol, channel)
    span = Span(venue.since_us, until_us)
    with connection.cursor() as cursor:
        cursor.execute(_GAPS, (instrument, channel))
        gaps = [DeclaredGap(*row) for row in cursor.fetchall()]
    query = {"trade": _TRADES, "quote": _QUOTES, "book": _BOOKS}[channel]
    with connection.cursor(name="verify") as rows:
        rows.itersize = _FETCH
        rows.execute(query, (instrument, _EPOCH + timedelta(microseconds=venue.origin_us)))
        if channel == "trade":
            contiguous = "trade" in venue_class(venue.venue).contiguous
            return check_trades(check, truth, (_trade(row) for row in rows), gaps, span, contiguous=contiguous)
        make = _quote if channel == "quote" else _book
        return check_rows(check, truth, (make(row) for row in rows), gaps, span)


def _trade(row: tuple[Any, ...]) -> StoredTrade:
    trade_id, ts_us, *values = row
    return StoredTrade(trade_id, ts_us, tuple(values))


def _quote(row: tuple[Any, ...]) -> StoredRow:
    recv_us, ts_us, *values = row
    return StoredRow(ts_us if ts_us is not None else recv_us, ts_us, tuple(values))


def _book(row: tuple[Any, ...]) -> StoredRow:
    recv_us, ts_us, kind, sequence, bids, asks = row
    at_us = ts_us if ts_us is not None else recv_us
    snapshot = (recv_us, sequence) if kind == "s" and sequence is not None else None
    return StoredRow(at_us, ts_us, book_values(kind == "s", bids, asks), snapshot)

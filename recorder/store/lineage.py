"""The SQL of lineage: what a database has loaded of a journal, where the succession of its blocks broke, and the rows
from which the begin of a gap follows.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from recorder.identity import instrument_id
from recorder.journal.lineage import History, LastRow, LoadState, StreamKey, decode_state, encode_state
from recorder.position import Position
from recorder.store.batch import Batch, EndedSessions
from recorder.store.database import Cursor

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_JOURNAL = """
SELECT journal_id, segment, position, block_seq, incarnation, (extract(epoch FROM written_at) * 1000000)::bigint, state
  FROM journal WHERE journal_id = %s"""
_INCARNATIONS = "SELECT incarnation, block_seq FROM journal_incarnation WHERE journal_id = %s"
# The journal that another one replaced has no successor in name any more: the newest row is the one to go on from.
# A journal that is locked has a writer somewhere, so that it is not gone.
_LOST = """
SELECT journal_id, segment, position, block_seq, incarnation, (extract(epoch FROM written_at) * 1000000)::bigint, state
  FROM journal
 WHERE recorder = %s AND incarnation <> 0 AND NOT journal_id = ANY(%s)
   AND pg_try_advisory_xact_lock(hashtextextended('tapedeck.writer.' || journal_id, 0))
 ORDER BY updated_at DESC LIMIT 1"""
_LATER = """
SELECT journal_id, segment, position, block_seq, incarnation, (extract(epoch FROM written_at) * 1000000)::bigint, state
  FROM journal
 WHERE journal_id = %s AND NOT journal_id = ANY(%s)
   AND pg_try_advisory_xact_lock(hashtextextended('tapedeck.writer.' || journal_id, 0))"""
_STATE = "SELECT state FROM journal WHERE journal_id = %s"
_REPLACED = "UPDATE journal SET state = %s WHERE journal_id = %s"
_RECENT = """
SELECT reason, extract(epoch FROM now() - found_at) FROM journal_break
 WHERE journal_id = %s AND found_at > now() - interval '1 hour' ORDER BY found_at"""
_BREAK = """
INSERT INTO journal_break (journal_id, incarnation, block_seq, recorder, reason, started_at, ended_at, gaps)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"""
# The revision stays, so that a later report of the recorder itself replaces this one.
_END_SESSIONS = """
UPDATE session SET ended_at = greatest(started_at, last_frame_at), end_reason = %s
 WHERE recorder = %s AND ended_at IS NULL AND NOT session_id = ANY(%s)"""
_MICROS = "(extract(epoch FROM {0}) * 1000000)::bigint"
_NEWEST = f"""
SELECT i.id, r.number, {_MICROS.format("r.ts_event")}, {_MICROS.format("r.ts_recv")}
  FROM unnest(%s::bigint[]) AS i(id)
 CROSS JOIN LATERAL (SELECT {{number}} AS number, ts_event, ts_recv FROM {{table}}
                      WHERE instrument_id = i.id AND ts_recv <= %s ORDER BY {{order}} LIMIT 1) AS r"""
_NEWEST_OF = {
    "trade": _NEWEST.format(number="trade_id", table="trade", order="ts_event DESC, trade_id DESC"),
    "quote": _NEWEST.format(number="sequence", table="quote", order="ts_recv DESC"),
    "book": _NEWEST.format(number="sequence", table="book", order="ts_recv DESC"),
}


class Known(msgspec.Struct):
    """What a database has of a journal.

    Attributes:
        position: Where the next batch begins; None before the first.
        history: The blocks that are loaded.
        state: The loader's, at most some seconds before the last block loaded.
        written_ns: When the last block loaded was written; 0 before the first.
        breaks: The reasons of recent breaks, and how many seconds ago each was found.
    """

    position: Position | None
    history: History
    state: LoadState
    written_ns: int
    breaks: list[tuple[str, float]] = []


def known(cursor: Cursor, journal_id: str) -> Known:
    """Return what the database has of a journal."""
    cursor.execute(_JOURNAL, (journal_id,))
    row = cursor.fetchone()
    return Known(None, History({}), LoadState(), 0) if row is None else _known(cursor, row)


def lost_journal(cursor: Cursor, recorder: str, present: Collection[str]) -> Known | None:
    """Return what the database has of the newest journal of a recorder that is neither present nor loaded elsewhere."""
    cursor.execute(_LOST, (recorder, list(present)))
    row = cursor.fetchone()
    if row is None:
        return None
    found = _known(cursor, row)
    return Known(None, History({}, replaces=str(row[0])), found.state, found.written_ns)


def replaced(cursor: Cursor, returned: Known, present: Collection[str]) -> Known:
    """Return a journal that was replaced by others and has been put back, as it goes on after the last of those.

    Args:
        cursor: Of the writer.
        returned: The journal.
        present: Journals whose files are there: each of them goes on by itself.
    """
    seen, last, last_id = set(present), returned, ""
    while last.state.replaced_by and last.state.replaced_by not in seen:
        cursor.execute(_LATER, (last.state.replaced_by, list(seen)))
        row = cursor.fetchone()
        if row is None:
            break
        last, last_id = _known(cursor, row), str(row[0])
        seen.add(last_id)
    if not last_id:
        return returned
    history = History(returned.history.last, returned.history.head, last_id)
    return Known(returned.position, history, last.state, last.written_ns, returned.breaks)


def _record_replaced(cursor: Cursor, journal_id: str, by: str) -> None:
    """Record which journal goes on in place of another one of the same recorder."""
    cursor.execute(_STATE, (journal_id,))
    row = cursor.fetchone()
    state = decode_state(bytes(row[0]) if row is not None and row[0] is not None else None)
    state.replaced_by = by
    cursor.execute(_REPLACED, (encode_state(state), journal_id))


def _known(cursor: Cursor, row: tuple[object, ...]) -> Known:
    journal_id, segment, offset, seq, incarnation, written_us, state = row
    cursor.execute(_INCARNATIONS, (journal_id,))
    last = {int(number): int(block) for number, block in cursor.fetchall()}
    if incarnation:
        last[int(str(incarnation))] = int(str(seq))
    cursor.execute(_RECENT, (journal_id,))
    breaks = [(str(reason), float(age_s)) for reason, age_s in cursor.fetchall()]
    return Known(
        Position(int(str(segment)), int(str(offset))),
        History(last, int(str(incarnation))),
        decode_state(bytes(state) if isinstance(state, memoryview) else None),
        0 if written_us is None else int(str(written_us)) * 1000,
        breaks,
    )


def last_rows(cursor: Cursor, venue: str, streams: Iterable[StreamKey], until_ns: int) -> dict[StreamKey, LastRow]:
    """Return the newest row of each stream that was received until a time."""
    ids = {(channel, instrument_id(venue, symbol)): (symbol, channel) for symbol, channel in streams}
    rows: dict[StreamKey, LastRow] = {}
    for channel, query in _NEWEST_OF.items():
        wanted = [number for of, number in ids if of == channel]
        if wanted:
            cursor.execute(query, (wanted, instant(until_ns + 1000)))  # microseconds were truncated
            for found, number, ts_event_us, ts_recv_us in cursor.fetchall():
                ts_event_ns = None if ts_event_us is None else ts_event_us * 1000
                rows[ids[channel, found]] = LastRow(number, ts_event_ns, ts_recv_us * 1000)
    return rows


def record_breaks(cursor: Cursor, batch: Batch) -> None:
    """Insert the breaks of a batch, and record which journal it replaces."""
    for one in batch.breaks:
        times = instant(one.started_ns), instant(one.ended_ns)
        values = batch.journal_id, batch.incarnation, one.seq, batch.recorder, one.reason, *times, one.gaps
        cursor.execute(_BREAK, values)
    if batch.replaces:
        _record_replaced(cursor, batch.replaces, batch.journal_id)


def end_sessions(cursor: Cursor, ended: EndedSessions) -> None:
    """Give sessions an end whose own end is lost."""
    cursor.execute(_END_SESSIONS, (ended.reason, ended.recorder, list(ended.alive)))


def identity(cursor: Cursor) -> tuple[str, list[str]]:
    """Return what distinguishes this database from every other one, also from its own copy, and those of its server."""
    cursor.execute(
        "SELECT (SELECT system_identifier FROM pg_control_system()) || '-' || oid, datname = current_database() "
        "FROM pg_database"
    )
    rows = [(str(name), bool(own)) for name, own in cursor.fetchall()]
    return next(name for name, own in rows if own), [name for name, _ in rows]


def instant(ns: int) -> datetime | None:
    """Return a time for psycopg2; None for 0."""
    return _EPOCH + timedelta(microseconds=ns // 1000) if ns else None

"""What the page of monitoring asks Postgres, each panel in one question that is bounded in time and rows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg2 import sql

from recorder.store.database import Cursor

MOST_STREAMS = 2_000
MOST_ERRORS = 200
_NO_FIELDS = ("market_id", "ts_recv", "instrument_id", "tier", "source", "event_id", "book_check", "check_reason")


class VenueRows(NamedTuple):
    """What Postgres has of one venue."""

    venue: str
    trades_minute: int  # executed in the last minute, by the venue's clock
    gaps_going_on: int
    gaps_waiting: int  # that ended, and are not healed yet
    quarantined: int  # in the last hour
    checksums_passed: int  # of books, in the last hour
    checksums_failed: int


class StreamRow(NamedTuple):
    """A stream that should be recorded, and the gap that goes on in it."""

    venue: str
    symbol: str
    channel: str
    origin: str  # hand, or poller
    cause: str | None  # None: no gap goes on
    since: datetime | None


class PollRow(NamedTuple):
    """The slots of a job in the last hour."""

    job: str
    slots: int  # that were polled, or should have been; without skipped ones
    good: int  # of these, done or late
    failed: int
    missed: int
    skipped: int
    last_slot: datetime | None


class FieldRow(NamedTuple):
    """How many snapshots of markets of a category and tier have each field."""

    category: str
    tier: str
    rows: int
    filled: dict[str, int]  # by field


class ErrorRow(NamedTuple):
    """Something that failed."""

    at: datetime
    source: str  # poll, quarantine, connection, journal
    name: str  # job, venue or recorder
    text: str
    traceback: str | None


_VENUES = """
WITH venues AS (SELECT DISTINCT venue FROM subscription WHERE active),
recent AS (SELECT i.venue, count(*) AS n FROM trade t JOIN instrument i USING (instrument_id)
            WHERE t.ts_event > now() - interval '1 minute' AND t.ts_event <= now() GROUP BY 1),
gaps AS (SELECT i.venue, count(*) FILTER (WHERE g.ended_at IS NULL) AS going_on,
                count(*) FILTER (WHERE g.ended_at IS NOT NULL) AS waiting
           FROM gap g JOIN instrument i USING (instrument_id)
          WHERE g.state = 'open' AND g.cause <> 'unsubscribed' GROUP BY 1),
odd AS (SELECT coalesce(s.venue, i.venue) AS venue, count(*) AS n
          FROM quarantine q LEFT JOIN session s USING (session_id)
          LEFT JOIN instrument i ON i.instrument_id = q.instrument_id
         WHERE q.ts_recv > now() - interval '1 hour' GROUP BY 1),
books AS (SELECT s.venue, sum(a.checksums_passed) AS passed, sum(a.checksums_failed) AS failed
            FROM session s JOIN book_audit a USING (session_id)
           WHERE s.started_at > now() - interval '2 days' AND a.ended_at > now() - interval '1 hour' GROUP BY 1)
SELECT v.venue, coalesce(r.n, 0), coalesce(g.going_on, 0), coalesce(g.waiting, 0), coalesce(o.n, 0),
       coalesce(b.passed, 0)::bigint, coalesce(b.failed, 0)::bigint
  FROM venues v LEFT JOIN recent r USING (venue) LEFT JOIN gaps g USING (venue) LEFT JOIN odd o USING (venue)
  LEFT JOIN books b USING (venue)
 ORDER BY 1 LIMIT 100"""

# A stream that is subscribed and not recorded has a gap that goes on, whatever the reason. A pattern stands for the
# recorded instruments that it matches and that were not unsubscribed since.
_STREAMS = r"""
WITH expected AS (
    SELECT venue, symbol, channel, origin FROM subscription WHERE active AND symbol !~ '[*?]|^top:'
     UNION
    SELECT s.venue, i.symbol, s.channel, s.origin
      FROM subscription s JOIN instrument i ON i.venue = s.venue AND i.recorded
     WHERE s.active AND s.symbol ~ '[*?]|^top:'
       AND (s.symbol LIKE 'top:%%'
            OR i.symbol LIKE replace(replace(replace(replace(s.symbol, '\', '\\'), '%%', '\%%'), '*', '%%'), '?', '_'))
       AND NOT EXISTS (SELECT FROM gap g WHERE g.instrument_id = i.instrument_id AND g.channel = s.channel
                          AND g.cause = 'unsubscribed' AND g.ended_at IS NULL)
       AND NOT EXISTS (SELECT FROM subscription o WHERE o.venue = s.venue AND o.symbol = i.symbol
                          AND o.channel = s.channel)
)
SELECT e.venue, e.symbol, e.channel, e.origin, g.cause, g.started_at
  FROM expected e
  LEFT JOIN instrument i ON i.venue = e.venue AND i.symbol = e.symbol
  LEFT JOIN LATERAL (SELECT cause, started_at FROM gap
                      WHERE instrument_id = i.instrument_id AND channel = e.channel AND state = 'open'
                        AND ended_at IS NULL AND cause <> 'unsubscribed'
                      ORDER BY started_at LIMIT 1) AS g ON true
 ORDER BY g.started_at IS NULL, g.started_at, 1, 2, 3 LIMIT %(most)s"""

_POLLS = """
SELECT job, coalesce(sum(greatest(slots, 1)) FILTER (WHERE state <> 'skipped'), 0)::bigint,
       coalesce(sum(greatest(slots, 1)) FILTER (WHERE state IN ('done', 'late')), 0)::bigint,
       coalesce(sum(greatest(slots, 1)) FILTER (WHERE state = 'failed'), 0)::bigint,
       coalesce(sum(greatest(slots, 1)) FILTER (WHERE state = 'missed'), 0)::bigint,
       coalesce(sum(greatest(slots, 1)) FILTER (WHERE state = 'skipped'), 0)::bigint, max(slot)
  FROM poll_run WHERE slot > now() - interval '1 hour' GROUP BY 1 ORDER BY 1 LIMIT 500"""

_FIELDS = """
SELECT attname FROM pg_attribute
 WHERE attrelid = 'market_snapshot'::regclass AND attnum > 0 AND NOT attisdropped AND attname <> ALL (%(known)s)
 ORDER BY attnum"""

_FILLED = """
SELECT coalesce(m.category, 'unknown'), s.tier, count(*), {counts}
  FROM market_snapshot s LEFT JOIN market m USING (market_id)
 WHERE s.ts_recv > now() - interval '1 hour' GROUP BY 1, 2 ORDER BY 1, 2 LIMIT 100"""

_ERRORS = """
SELECT * FROM (
    (SELECT coalesce(started_at, slot), 'poll', job, state || ': ' || reason, traceback FROM poll_run
      WHERE slot > now() - interval '1 day' AND (state = 'failed' OR traceback IS NOT NULL)
      ORDER BY slot DESC LIMIT %(most)s)
    UNION ALL
    (SELECT q.ts_recv, 'quarantine', coalesce(s.venue, i.venue, q.journal_id), q.scope || ': ' || q.reason, NULL
       FROM quarantine q LEFT JOIN session s USING (session_id)
       LEFT JOIN instrument i ON i.instrument_id = q.instrument_id
      WHERE q.ts_recv > now() - interval '1 day' ORDER BY q.ts_recv DESC LIMIT %(most)s)
    UNION ALL
    (SELECT found_at, 'journal', recorder, reason, NULL FROM journal_break
      WHERE found_at > now() - interval '1 day' ORDER BY found_at DESC LIMIT %(most)s)
    UNION ALL
    (SELECT ended_at, 'connection', venue, end_reason, NULL FROM session
      WHERE started_at > now() - interval '2 days' AND ended_at > now() - interval '1 day'
        AND end_reason IS NOT NULL AND end_reason NOT IN ('stopped', 'handed over')
      ORDER BY ended_at DESC LIMIT %(most)s)
) AS found ORDER BY 1 DESC LIMIT %(most)s"""


def venues(cursor: Cursor) -> list[VenueRows]:
    """Return what Postgres has of each venue with subscriptions."""
    cursor.execute(_VENUES)
    return [VenueRows(*row) for row in cursor.fetchall()]


def streams(cursor: Cursor) -> list[StreamRow]:
    """Return the streams that should be recorded: first those with a gap that goes on, the longest first."""
    cursor.execute(_STREAMS, {"most": MOST_STREAMS})
    return [StreamRow(*row) for row in cursor.fetchall()]


def polls(cursor: Cursor) -> list[PollRow]:
    """Return what became of the slots of the last hour, by job."""
    cursor.execute(_POLLS)
    return [PollRow(*row) for row in cursor.fetchall()]


def fields(cursor: Cursor) -> list[FieldRow]:
    """Return how many snapshots of the last hour have each field, by category and tier of their market."""
    cursor.execute(_FIELDS, {"known": list(_NO_FIELDS)})
    names = [name for (name,) in cursor.fetchall()]
    counts = sql.SQL(", ").join(sql.SQL("count(s.{})").format(sql.Identifier(name)) for name in names)
    cursor.execute(sql.SQL(_FILLED).format(counts=counts))
    return [_field_row(names, row) for row in cursor.fetchall()]


def _field_row(names: Sequence[str], row: Sequence[Any]) -> FieldRow:
    category, tier, total, *found = row
    return FieldRow(category, tier, total, dict(zip(names, found, strict=True)))


def errors(cursor: Cursor, most: int) -> list[ErrorRow]:
    """Return what failed in the last day, the newest first.

    Args:
        cursor: A cursor.
        most: At most MOST_ERRORS.
    """
    cursor.execute(_ERRORS, {"most": min(most, MOST_ERRORS)})
    return [ErrorRow(*row) for row in cursor.fetchall()]

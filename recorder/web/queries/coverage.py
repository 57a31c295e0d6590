"""The heat map: the state of each instrument and hour, from certificates and gaps, never from the number of rows.

A quiet market has few rows and misses none. So an hour is complete because its certificate says so, and it is
incomplete because a gap or its certificate says so. An hour of which neither says anything is unknown.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from recorder.store.database import Cursor

HOUR = timedelta(hours=1)
MOST_HOURS = 24 * 31
MOST_ROWS = 200
MOST_CELL_GAPS = 50
CHANNELS = ("trade", "quote", "book")

STATES = {
    "o": ("open", "a gap goes on, or waits to be healed"),
    "g": ("gap", "something is missing and cannot be filled, or the certificate found a hole"),
    "n": ("not subscribed", "nothing was to be recorded"),
    "p": ("subscribed in part", "its recording began within the hour, and the certificate found no other hole"),
    "h": ("healed", "a gap was filled"),
    "c": ("complete", "the certificate found nothing missing"),
    "u": ("unknown", "no certificate yet, and no gap"),
}
"""Letter of a state: its name and meaning. The first that holds counts."""


class Window(NamedTuple):
    """What a heat map shows."""

    channel: str
    start: datetime  # begin of its first hour
    hours: int
    venue: str = ""  # only this one
    text: str = ""  # only symbols with this text in them
    rows: int = MOST_ROWS
    after: tuple[str, str] = ("", "")  # venue and symbol of the last row of the page before
    trouble: bool = False  # only instruments with an hour that is open or a gap
    instrument: int | None = None  # only this one

    @property
    def end(self) -> datetime:
        """The end of its last hour."""
        return self.start + self.hours * HOUR


class Row(NamedTuple):
    """One instrument."""

    instrument_id: int
    venue: str
    symbol: str
    cells: str  # a letter of STATES for each hour, oldest first
    missing: dict[str, float]  # by number of the hour: the share that is missing, 0 to 1; left out where it is 0


class GapLine(NamedTuple):
    """A gap that touches an hour."""

    gap_id: int
    cause: str
    state: str
    reason: str | None
    started_at: datetime
    ended_at: datetime | None
    last_id: int | None
    first_id: int | None
    revision: int


class CertificateLine(NamedTuple):
    """The certificate of an hour."""

    revision: int
    number: int
    grade: str
    replay: str
    row_count: int
    open_gaps: int
    made_at: datetime
    sha256: str
    document: str


# Trades are counted by the venue's clock, as their certificates are; quotes and books by ours.
_EXTENT = """CASE WHEN g.channel = 'trade'
                 THEN gap_extent(g.last_ts_event, g.started_at, g.first_ts_event, g.ended_at)
                 ELSE tstzrange(g.started_at, g.ended_at, '[]') END"""

# The one reason of a certificate of an hour in which the recording of a stream began; its text is of certify/grade.py.
_PARTLY = """(c.grade = 'holed' AND c.open_gaps = 0
                           AND c.document LIKE '%%"reasons":["subscribed only since __:__ of the hour"]%%')"""

# An instrument is listed where something is known of it in the window; one that is only not subscribed is not.
_GRID = f"""
WITH listed AS (
    SELECT i.instrument_id, i.venue, i.symbol, i.first_seen
      FROM instrument i
     WHERE i.recorded AND (%(instrument)s IS NULL OR i.instrument_id = %(instrument)s)
       AND (%(venue)s = '' OR i.venue = %(venue)s)
       AND (%(text)s = '' OR strpos(lower(i.symbol), lower(%(text)s)) > 0)
       AND (i.venue, i.symbol) > (%(after_venue)s, %(after_symbol)s)
       AND i.first_seen < %(end)s
       AND (i.first_seen >= %(start)s
            OR EXISTS (SELECT FROM certificate c WHERE c.instrument_id = i.instrument_id AND c.channel = %(channel)s
                          AND c.hour >= %(start)s AND c.hour < %(end)s
                          AND (NOT %(trouble)s OR c.grade = 'holed' AND NOT {_PARTLY}))
            OR EXISTS (SELECT FROM gap g WHERE g.instrument_id = i.instrument_id AND g.channel = %(channel)s
                          AND g.cause <> 'unsubscribed' AND g.started_at < %(end)s
                          AND (g.ended_at IS NULL OR g.ended_at >= %(start)s)
                          AND (NOT %(trouble)s OR g.state <> 'healed')))
     ORDER BY i.venue, i.symbol LIMIT %(rows)s
), hours AS (
    SELECT n, %(start)s + n * interval '1 hour' AS hour FROM generate_series(0, %(hours)s - 1) AS n
), piece AS (
    SELECT s.instrument_id, h.hour, s.class,
           range_agg(s.span * tstzrange(h.hour, h.hour + interval '1 hour')) AS spans
      FROM (SELECT g.instrument_id,
                   CASE WHEN g.cause = 'unsubscribed' THEN 'n' WHEN g.state = 'open' THEN 'o'
                        WHEN g.state = 'healed' THEN 'h' ELSE 'g' END AS class,
                   {_EXTENT} * tstzrange(%(start)s, least(%(end)s, now())) AS span
              FROM gap g JOIN listed l USING (instrument_id)
             WHERE g.channel = %(channel)s AND g.started_at < %(end)s + interval '1 day'
               AND (g.ended_at IS NULL OR g.ended_at >= %(start)s - interval '1 day')) AS s
     CROSS JOIN LATERAL generate_series(date_trunc('hour', lower(s.span), 'UTC'), upper(s.span), '1 hour') AS h (hour)
     WHERE NOT isempty(s.span)
     GROUP BY 1, 2, 3
), touched AS (
    SELECT instrument_id, hour, bool_or(class = 'o') AS o, bool_or(class = 'g') AS g, bool_or(class = 'n') AS n,
           bool_or(class = 'h') AS h,
           (SELECT sum(extract(epoch FROM upper(one) - lower(one))) / 3600
              FROM unnest(range_agg(spans) FILTER (WHERE class <> 'h')) AS one) AS missing
      FROM piece WHERE spans <> '{{}}' GROUP BY 1, 2
), certified AS (
    SELECT DISTINCT ON (c.instrument_id, c.hour) c.instrument_id, c.hour, c.grade, c.open_gaps, {_PARTLY} AS partly
      FROM certificate c JOIN listed USING (instrument_id)
     WHERE c.channel = %(channel)s AND c.hour >= %(start)s AND c.hour < %(end)s
     ORDER BY c.instrument_id, c.hour, c.revision DESC
)
SELECT l.instrument_id, l.venue, l.symbol,
       string_agg(CASE WHEN t.o THEN 'o' WHEN t.g THEN 'g' WHEN t.n THEN 'n' WHEN c.partly THEN 'p'
                       WHEN c.grade = 'holed' AND (c.open_gaps = 0 OR t.h IS NOT TRUE) THEN 'g'
                       WHEN t.h THEN 'h' WHEN c.grade IS NOT NULL THEN 'c'
                       WHEN h.hour + interval '1 hour' <= l.first_seen THEN 'n' ELSE 'u' END, '' ORDER BY h.n),
       coalesce(jsonb_object_agg(h.n, round(least(t.missing, 1), 4)) FILTER (WHERE t.missing > 0), '{{}}')
  FROM listed l
 CROSS JOIN hours h
  LEFT JOIN touched t ON t.instrument_id = l.instrument_id AND t.hour = h.hour
  LEFT JOIN certified c ON c.instrument_id = l.instrument_id AND c.hour = h.hour
 GROUP BY l.instrument_id, l.venue, l.symbol
 ORDER BY l.venue, l.symbol"""

_GAPS = f"""
SELECT g.gap_id, g.cause, g.state, g.reason, g.started_at, g.ended_at, g.last_id, g.first_id, g.revision
  FROM gap g
 WHERE g.instrument_id = %(instrument)s AND g.channel = %(channel)s
   AND g.started_at < %(end)s + interval '1 day'
   AND (g.ended_at IS NULL OR g.ended_at >= %(start)s - interval '1 day')
   AND {_EXTENT} && tstzrange(%(start)s, %(end)s)
 ORDER BY g.started_at LIMIT %(most)s"""

_CERTIFICATE = """
SELECT revision, number, grade, replay, row_count, open_gaps, made_at, sha256, document
  FROM certificate
 WHERE instrument_id = %(instrument)s AND channel = %(channel)s AND hour = %(start)s
 ORDER BY revision DESC LIMIT %(most)s"""


def grid(cursor: Cursor, window: Window) -> list[Row]:
    """Return the rows of a heat map, by venue and symbol; as many as the window asks for, or the rest."""
    cursor.execute(
        _GRID,
        {
            **window._asdict(),
            "end": window.end,
            "after_venue": window.after[0],
            "after_symbol": window.after[1],
        },
    )
    return [Row(*row) for row in cursor.fetchall()]


def gaps(cursor: Cursor, instrument: int, channel: str, start: datetime, end: datetime) -> list[GapLine]:
    """Return the gaps of a stream that touch a time, oldest first; at most MOST_CELL_GAPS."""
    cursor.execute(_GAPS, _of_cell(instrument, channel, start, end))
    return [GapLine(*row) for row in cursor.fetchall()]


def certificates(cursor: Cursor, instrument: int, channel: str, hour: datetime) -> list[CertificateLine]:
    """Return the certificates of an hour, the newest revision first."""
    cursor.execute(_CERTIFICATE, _of_cell(instrument, channel, hour, hour + HOUR))
    return [CertificateLine(*row) for row in cursor.fetchall()]


def window_before(now: datetime, hours: int) -> datetime:
    """Return the begin of a window that ends with the hour of an instant."""
    return now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - (hours - 1) * HOUR


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """Return how many hours have each state, by letter."""
    return {letter: sum(row.cells.count(letter) for row in rows) for letter in STATES}


def _of_cell(instrument: int, channel: str, start: datetime, end: datetime) -> dict[str, Any]:
    return {"instrument": instrument, "channel": channel, "start": start, "end": end, "most": MOST_CELL_GAPS}

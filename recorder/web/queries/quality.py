"""How complete a range of a stream is, from declared gaps; never from row counts, because a quiet market is no hole."""

import hashlib
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from recorder.store.database import Cursor
from recorder.web.answers.encode import instant
from recorder.web.answers.ranges import Span
from recorder.web.queries.instruments import Instrument
from recorder.web.queries.loaded import loaded_until

_MOST_GAPS = 200
_LATE = timedelta(seconds=5)  # so long after its end a range waits for rows that were still on their way

_MISSING_TRADES = """
SELECT lower(r), upper(r)
  FROM unnest((SELECT range_agg(span * tstzrange(%(start)s, %(end)s)) FROM (
               SELECT span FROM trade_gap
                WHERE instrument_id = %(id)s AND span && tstzrange(%(start)s, %(end)s)) AS g)) AS r
 WHERE NOT isempty(r) ORDER BY 1"""
_MISSING_OTHERS = """
SELECT lower(r), upper(r)
  FROM unnest((SELECT range_agg(span * tstzrange(%(start)s, %(end)s)) FROM (
               SELECT tstzrange(started_at, greatest(started_at, ended_at), '[]') AS span FROM gap
                WHERE instrument_id = %(id)s AND channel = %(channel)s AND state <> 'healed'
                  AND started_at < %(end)s AND (ended_at IS NULL OR ended_at >= %(start)s)
                UNION ALL
               SELECT tstzrange(NULL, recording_begin(recorded, first_seen)) FROM instrument
                WHERE instrument_id = %(id)s) AS g
                WHERE span && tstzrange(%(start)s, %(end)s))) AS r
 WHERE NOT isempty(r) ORDER BY 1"""
_COUNTS = """
SELECT count(*), count(*) FILTER (WHERE state = 'open'), count(*) FILTER (WHERE state = 'healed'),
       coalesce(sum(revision), 0)
  FROM gap
 WHERE instrument_id = %(id)s AND channel = %(channel)s AND started_at < %(end)s
   AND (ended_at IS NULL OR ended_at >= %(start)s)"""
_BARS = """
SELECT count(*), coalesce(sum(revision), 0), max(updated_at), coalesce(bool_and(complete), false) FROM bar
 WHERE instrument_id = %(id)s AND interval_s IN (60, %(width)s)
   AND start >= date_trunc('minute', %(start)s::timestamptz) AND start < %(end)s"""
# The transaction that changes trades or gaps leaves a mark; the one that brings the bars up to date takes it away.
_MARKS = """
SELECT count(*), max(dirty_id) FROM bar_dirty
 WHERE low < %(end)s + %(width)s * interval '1 second' AND high > %(start)s AND %(id)s = ANY (instrument_ids)"""
_CERTIFIED = """
SELECT count(DISTINCT hour), coalesce(sum(revision), 0) FROM certificate
 WHERE instrument_id = %(id)s AND channel = %(channel)s AND hour >= date_trunc('hour', %(start)s::timestamptz, 'UTC')
   AND hour < %(end)s"""


class Quality(NamedTuple):
    """How complete a range is."""

    coverage: float  # part of it in which nothing can be missing, 0 to 1
    gaps: int
    open: int
    healed: int
    certified: bool  # whether each hour that it touches has a certificate
    revision: str  # changes when rows of the range change
    settled: bool  # whether that is known, so that an answer may be kept
    missing: tuple[tuple[datetime, datetime], ...]  # the ranges in which rows may be missing, in order
    not_loaded: tuple[datetime, datetime] | None = None  # the end of the range that Postgres does not have yet
    declared: bool = False  # whether a gap, or time without recording, is in the range

    def document(self) -> dict[str, Any]:
        """Return it as answers carry it."""
        return {
            "coverage": round(self.coverage, 6),
            "gaps": self.gaps,
            "open": self.open,
            "healed": self.healed,
            "certified": self.certified,
            "revision": self.revision,
            "not_loaded": None if self.not_loaded is None else _range(*self.not_loaded),
        }

    def header(self) -> str:
        """Return it as the header `Tapedeck-Quality`."""
        known = f"coverage={self.coverage:.6g}; gaps={self.gaps}; open={self.open}"
        return known if self.not_loaded is None else f"{known}; not-loaded-since={instant(self.not_loaded[0])}"

    def listed(self) -> list[dict[str, str]]:
        """Return the missing ranges, at most 200; that of rows which are only not loaded yet says so."""
        since = None if self.not_loaded is None else self.not_loaded[0]
        return [
            _range(low, high) | ({"reason": "not loaded yet"} if since is not None and low >= since else {})
            for low, high in self.missing[:_MOST_GAPS]
        ]

    def touches(self, low: datetime, high: datetime) -> bool:
        """Return whether something may be missing between two instants, both included."""
        return any(start <= high and end > low for start, end in self.missing)


def measure(cursor: Cursor, one: Instrument, channel: str, span: Span, width_s: int = 60) -> Quality:
    """Return the quality of a range of a stream. It is read before the rows, so that these are at least what it knows.

    Args:
        cursor: Of a connection that reads.
        one: Whose stream.
        channel: trade, quote or book.
        span: The range, by the clock of the channel.
        width_s: Length of the bars that are answered; the last one may reach beyond the range.
    """
    until = loaded_until(cursor, one.venue, late=_LATE if channel == "trade" else timedelta())
    given = {"id": one.instrument_id, "channel": channel, "start": span.start, "end": span.end, "width": width_s}
    cursor.execute(_MISSING_TRADES if channel == "trade" else _MISSING_OTHERS, given)
    declared = [(low, high) for low, high in cursor.fetchall()]
    not_loaded = (max(until, span.start), span.end) if until < span.end else None
    missing = _with_end(declared, not_loaded)
    lost_s = sum((high - low).total_seconds() for low, high in missing)
    cursor.execute(_COUNTS, given)
    gaps, opened, healed, gap_revisions = cursor.fetchone() or (0, 0, 0, 0)
    cursor.execute(_CERTIFIED, given)
    hours, certificates = cursor.fetchone() or (0, 0)
    cursor.execute(_BARS, given)
    bars, bar_revisions, updated, complete = cursor.fetchone() or (0, 0, None, False)
    cursor.execute(_MARKS, given)
    marks, last_mark = cursor.fetchone() or (0, None)
    closed = span.end + _LATE <= until
    facts = (f"{gaps} {gap_revisions} {len(missing)} {lost_s} {hours} {certificates} {bars} {bar_revisions} {updated} "
             f"{complete} {marks} {last_mark} {closed or until}")  # fmt: skip
    touched = int(span.end.timestamp() - 1e-6) // 3600 - int(span.start.timestamp()) // 3600 + 1
    return Quality(
        max(0.0, min(1.0, 1 - lost_s / span.seconds)),
        gaps,
        opened,
        healed,
        hours >= touched,
        hashlib.sha256(facts.encode()).hexdigest()[:12],
        channel == "trade" and closed and complete and marks == 0,
        missing,
        not_loaded,
        bool(declared),
    )


def _with_end(
    declared: list[tuple[datetime, datetime]], end: tuple[datetime, datetime] | None
) -> tuple[tuple[datetime, datetime], ...]:
    """Return ranges in order, merged with the end of all of them."""
    if end is None:
        return tuple(declared)
    before = [(low, min(high, end[0])) for low, high in declared if low < end[0]]
    if before and before[-1][1] == end[0]:
        return (*before[:-1], (before[-1][0], end[1]))
    return (*before, end)


def _range(low: datetime, high: datetime) -> dict[str, str]:
    return {"start": instant(low), "end": instant(high)}

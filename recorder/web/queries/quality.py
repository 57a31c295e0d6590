"""How complete a range of a stream is, from declared gaps; never from row counts, because a quiet market is no hole."""

import hashlib
from datetime import datetime
from typing import Any, NamedTuple

from recorder.store.database import Cursor
from recorder.web.answers.encode import instant
from recorder.web.answers.ranges import Span
from recorder.web.queries.instruments import Instrument

_MOST_GAPS = 200

_MISSING_TRADES = """
SELECT lower(r), upper(r)
  FROM unnest((SELECT range_agg(span * tstzrange(%(start)s, %(end)s)) FROM trade_gap
                WHERE instrument_id = %(id)s AND span && tstzrange(%(start)s, %(end)s))) AS r
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
SELECT count(*), coalesce(sum(revision), 0), max(updated_at) FROM bar
 WHERE instrument_id = %(id)s AND interval_s = 60 AND start >= date_trunc('minute', %(start)s::timestamptz)
   AND start < %(end)s"""
_CERTIFIED = """
SELECT count(DISTINCT hour) FROM certificate
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

    def document(self) -> dict[str, Any]:
        """Return it as answers carry it."""
        return {
            "coverage": round(self.coverage, 6),
            "gaps": self.gaps,
            "open": self.open,
            "healed": self.healed,
            "certified": self.certified,
            "revision": self.revision,
        }

    def header(self) -> str:
        """Return it as the header `Tapedeck-Quality`."""
        return f"coverage={self.coverage:.6g}; gaps={self.gaps}; open={self.open}"

    def listed(self) -> list[dict[str, str]]:
        """Return the missing ranges, at most 200."""
        return [{"start": instant(low), "end": instant(high)} for low, high in self.missing[:_MOST_GAPS]]

    def touches(self, low: datetime, high: datetime) -> bool:
        """Return whether something may be missing between two instants, both included."""
        return any(start <= high and end > low for start, end in self.missing)


def measure(cursor: Cursor, one: Instrument, channel: str, span: Span) -> Quality:
    """Return the quality of a range of a stream.

    Args:
        cursor: Of a connection that reads.
        one: Whose stream.
        channel: trade, quote or book.
        span: The range, by the clock of the channel.
    """
    given = {"id": one.instrument_id, "channel": channel, "start": span.start, "end": span.end}
    cursor.execute(_MISSING_TRADES if channel == "trade" else _MISSING_OTHERS, given)
    missing = tuple((low, high) for low, high in cursor.fetchall())
    lost_s = sum((high - low).total_seconds() for low, high in missing)
    cursor.execute(_COUNTS, given)
    gaps, opened, healed, gap_revisions = cursor.fetchone() or (0, 0, 0, 0)
    cursor.execute(_CERTIFIED, given)
    (hours,) = cursor.fetchone() or (0,)
    cursor.execute(_BARS, given)
    bars, bar_revisions, updated = cursor.fetchone() or (0, 0, None)
    facts = f"{gaps} {gap_revisions} {len(missing)} {lost_s} {hours} {bars} {bar_revisions} {updated}"
    touched = int(span.end.timestamp() - 1e-6) // 3600 - int(span.start.timestamp()) // 3600 + 1
    return Quality(
        max(0.0, min(1.0, 1 - lost_s / span.seconds)),
        gaps,
        opened,
        healed,
        hours >= touched,
        hashlib.sha256(facts.encode()).hexdigest()[:12],
        channel == "trade" and bars > 0 and span.closed,
        missing,
    )

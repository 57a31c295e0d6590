"""How far Postgres is loaded with what a venue has sent: rows behind that time may be in a journal only."""

from datetime import datetime, timedelta

from recorder.store.database import Cursor
from recorder.venues import VENUES

# A recorder is called by its feed. Where several processes share a venue, the one that is loaded least decides; both
# slots of a process have the same instruments. One whose connections have all ended is no longer waited for, nor one
# that was killed and is a day behind the others.
_FEEDS = ", ".join(f"('{feed}', '{venue.name}')" for feed, venue in VENUES.items())
_LOADED = f"""
WITH reached AS (
    SELECT regexp_replace(j.recorder, '-b$', '') AS process, max(j.written_at) AS until,
           bool_or(j.recorder IN (SELECT recorder FROM session WHERE ended_at IS NULL)) AS connected
      FROM journal j LEFT JOIN (VALUES {_FEEDS}) AS f (feed, venue) ON f.feed = split_part(j.recorder, '-', 2)
     WHERE coalesce(f.venue, split_part(j.recorder, '-', 2)) = %(venue)s AND j.written_at IS NOT NULL
     GROUP BY 1
)
SELECT coalesce(min(r.until) FILTER (WHERE r.connected AND r.until > n.newest - interval '1 day'), max(r.until)),
       clock_timestamp()
  FROM reached r, (SELECT max(until) AS newest FROM reached) AS n"""


def loaded_until(cursor: Cursor, venue: str, late: timedelta) -> datetime:
    """Return until when all rows of a venue are in Postgres. Without a journal of the venue the clock decides.

    Args:
        cursor: Of a connection that reads.
        venue: Name of the venue.
        late: So long a row may come after the time that it bears.
    """
    cursor.execute(_LOADED, {"venue": venue})
    written_at, now = cursor.fetchone() or (None, None)
    assert isinstance(now, datetime)
    return now if not isinstance(written_at, datetime) else min(written_at, now) - late

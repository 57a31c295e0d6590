"""The SQL that reads bars and stores what follows from them: indicators, features of bars, and findings."""

from collections.abc import Sequence

LOCK = "LOCK TABLE derived_list IN SHARE ROW EXCLUSIVE MODE NOWAIT"
"""One deriver at a time. The lock comes before the snapshot, which therefore holds all that the one before stored.

It is no advisory lock, because every login may take those; only a deriver may have this one.
"""

ANY = "SELECT EXISTS (SELECT FROM derived_dirty)"

LISTS = "SELECT name, version, user_id FROM derived_list"

USE_LIST = """
INSERT INTO derived_list AS l (name, version, since, user_id)
VALUES (%(name)s, %(version)s, clock_timestamp(), %(user_id)s)
    ON CONFLICT (name) DO UPDATE
   SET since = CASE WHEN l.version = excluded.version THEN l.since ELSE excluded.since END,
       version = excluded.version, user_id = excluded.user_id"""

MARK_BARS = """
INSERT INTO derived_dirty (instrument_id, interval_s, low, high, reach)
SELECT instrument_id, interval_s, min(start), max(start), false FROM bar WHERE complete
 GROUP BY instrument_id, interval_s, date_bin(interval_s * interval '1440 seconds', start, 'epoch')"""

MARK_SNAPSHOTS = """
INSERT INTO snapshot_dirty (market_id, low, high)
SELECT market_id, min(ts_recv), max(ts_recv) FROM market_snapshot
 GROUP BY market_id, date_bin('1 day', ts_recv, 'epoch')"""

_MARK = """RETURNING instrument_id, interval_s, extract(epoch FROM low)::bigint AS low,
              extract(epoch FROM high)::bigint AS high, reach"""

TAKE_LIVE = f"""
WITH taken AS (
    DELETE FROM derived_dirty
     WHERE mark_id = ANY (ARRAY(SELECT mark_id FROM derived_dirty
                                 WHERE high + interval_s * interval '1 second' > now() - interval '15 minutes'
                                 ORDER BY mark_id LIMIT %(marks)s))
    {_MARK}
)
SELECT * FROM taken"""
"""Takes the marks of bars that were over a short time ago."""

TAKE_SERIES = f"""
WITH taken AS (
    DELETE FROM derived_dirty d
     USING (SELECT instrument_id, interval_s FROM derived_dirty ORDER BY mark_id LIMIT 1) AS s
     WHERE d.instrument_id = s.instrument_id AND d.interval_s = s.interval_s
    {_MARK.replace("RETURNING instrument_id, interval_s", "RETURNING d.instrument_id, d.interval_s")}
)
SELECT * FROM taken"""
"""Takes all marks of one instrument and length."""

PUT_BACK = """
INSERT INTO derived_dirty (instrument_id, interval_s, low, high, reach)
SELECT instrument_id, %(width_s)s, to_timestamp(low), to_timestamp(high), false
  FROM unnest(%(ids)s, %(lows)s, %(highs)s) AS one (instrument_id, low, high)"""

WITH_BARS = """
SELECT k.instrument_id, k.low
  FROM unnest(%(ids)s::bigint[], %(lows)s::bigint[]) AS k (instrument_id, low)
 WHERE EXISTS (SELECT FROM bar b WHERE b.instrument_id = k.instrument_id AND b.interval_s = %(width_s)s
                  AND b.start >= to_timestamp(k.low) AND b.start < to_timestamp(k.low + %(span_s)s))"""
"""Names the blocks that have a bar."""

READ_BARS = """
COPY (SELECT b.instrument_id, extract(epoch FROM b.start)::bigint, b.open, b.high, b.low, b.close,
             coalesce(b.volume, 'NaN'), coalesce(b.notional, 'NaN'), coalesce(b.vwap, 'NaN'), b.trade_count,
             coalesce(b.buy_volume, 'NaN'), coalesce(b.sell_volume, 'NaN'), coalesce(b.signed_notional, 'NaN'),
             CASE WHEN b.in_gap THEN 0.0::double precision ELSE 1.0 END, b.revision::bigint, b.complete::integer::bigint
        FROM unnest(%(ids)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[]) AS k (instrument_id, low, high)
        JOIN bar b ON b.instrument_id = k.instrument_id AND b.interval_s = %(width_s)s
         AND b.start >= to_timestamp(k.low) AND b.start < to_timestamp(k.high)
       ORDER BY b.instrument_id, b.start) TO STDOUT (FORMAT binary)"""
"""Reads bars in ranges, of one length. A bar whose gaps are unknown has no instrument, which `READ_GAPS` reports."""

# Each row is one look into the primary key, whatever the planner knows of the table.
READ_SAME_MINUTES = """
SELECT k.instrument_id, k.start - 86400 * d.days, b.volume, b.trade_count
  FROM unnest(%(ids)s::bigint[], %(starts)s::bigint[]) AS k (instrument_id, start)
 CROSS JOIN generate_series(1, 20) AS d (days)
 CROSS JOIN LATERAL (
       SELECT coalesce(volume, 'NaN') AS volume, trade_count FROM bar
        WHERE instrument_id = k.instrument_id AND interval_s = 60
          AND start = to_timestamp(k.start - 86400 * d.days) AND complete AND NOT in_gap
        LIMIT 1) AS b"""

READ_GAPS = """
SELECT k.instrument_id, (extract(epoch FROM lower(g.part)) * 1000000)::bigint,
       (extract(epoch FROM upper(g.part)) * 1000000)::bigint
  FROM unnest(%(ids)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[]) AS k (instrument_id, low, high)
  JOIN (SELECT instrument_id, span FROM trade_gap
         WHERE instrument_id = ANY (%(ids)s) AND span && tstzrange(to_timestamp(%(low)s), to_timestamp(%(high)s))) AS s
    ON s.instrument_id = k.instrument_id
 CROSS JOIN LATERAL (SELECT s.span * tstzrange(to_timestamp(k.low), to_timestamp(k.high)) AS part) AS g
 WHERE NOT isempty(g.part)
 UNION ALL
SELECT k.instrument_id, k.low * 1000000, k.high * 1000000
  FROM unnest(%(ids)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[]) AS k (instrument_id, low, high)
 WHERE NOT EXISTS (SELECT FROM instrument i WHERE i.instrument_id = k.instrument_id)"""
"""Reads when trades may be missing, microseconds since 1970. Of an instrument that is not described, that is always."""

REMOVE = """
DELETE FROM {table} t
 USING unnest(%(ids)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[]) AS k (instrument_id, low, high)
 WHERE t.instrument_id = k.instrument_id AND t.interval_s = %(width_s)s
   AND t.start >= to_timestamp(k.low) AND t.start < to_timestamp(k.high)
   AND NOT EXISTS (SELECT FROM bar b WHERE b.instrument_id = t.instrument_id AND b.interval_s = t.interval_s
                      AND b.start = t.start AND b.complete)"""
"""Removes what followed from a bar that is gone."""

_STORE = """
INSERT INTO {table} AS t (instrument_id, interval_s, start, bar_revision, version, updated_at, {columns})
SELECT k.instrument_id, %(width_s)s, to_timestamp(k.start), k.revision, %(version)s, clock_timestamp(), {values}
  FROM unnest(%(ids)s::bigint[], %(starts)s::bigint[], %(revisions)s::integer[], {arrays})
       AS k (instrument_id, start, revision, {columns})
    ON CONFLICT (instrument_id, interval_s, start) DO UPDATE
   SET (bar_revision, version, updated_at, {columns}) = ROW(excluded.bar_revision, excluded.version,
       excluded.updated_at, {excluded})
 WHERE (t.bar_revision, t.version, {present}) IS DISTINCT FROM (excluded.bar_revision, excluded.version, {excluded})"""


def store(table: str, columns: Sequence[str]) -> str:
    """Return the statement that stores rows of a table of bars, and writes only those that changed.

    Its parameters are width_s, version, ids, starts (seconds since 1970), revisions, and each column as the text of an
    array of double precision.
    """
    return _STORE.format(
        table=table,
        columns=", ".join(columns),
        values=", ".join(f"k.{name}" for name in columns),
        arrays=", ".join(f"%({name})s::double precision[]" for name in columns),
        excluded=", ".join(f"excluded.{name}" for name in columns),
        present=", ".join(f"t.{name}" for name in columns),
    )

"""The SQL that derives bars. Every statement is computed by Postgres from the rows as one snapshot has them.

Sums are taken in the order of the trades, so deriving a bar twice gives the same bits, and only a bar that changed is
written and gets a revision.
"""

from recorder.venues import VENUES

MINUTE_S = 60
ROLL_UPS = ((60, 300), (300, 900), (900, 3_600), (3_600, 14_400), (14_400, 86_400))
"""Length of a bar and of the longer one that is made of it, seconds."""

CHANNEL = "bar_dirty"
"""Notified when bars are marked (sql/0028_bar.sql)."""

_VALUES = (
    "open", "high", "low", "close", "volume", "notional", "vwap", "trade_count", "buy_volume", "sell_volume",
    "signed_notional", "coverage", "in_gap", "complete",
)  # fmt: skip

# A sum of absurd values would overflow, and a statement that always fails would hold up every other bar.
_OF_TRADES = """
SELECT t.prices[1] AS open, t.high, t.low, t.prices[t.trade_count] AS close, t.volume, t.notional, t.trade_count,
       t.buy_volume, t.sell_volume, t.signed_notional
  FROM (SELECT count(*) AS trade_count, array_agg(price) AS prices, max(price) AS high, min(price) AS low,
               CASE WHEN bool_and(sound) THEN sum(size) FILTER (WHERE sound) END AS volume,
               CASE WHEN bool_and(sound) THEN sum(CASE WHEN sound THEN price * size END) END AS notional,
               CASE WHEN bool_and(sound) THEN coalesce(sum(size) FILTER (WHERE sound AND aggressor = 'b'), 0) END
                    AS buy_volume,
               CASE WHEN bool_and(sound) THEN coalesce(sum(size) FILTER (WHERE sound AND aggressor = 's'), 0) END
                    AS sell_volume,
               CASE WHEN bool_and(sound) THEN
                    sum(CASE WHEN sound THEN CASE aggressor WHEN 'b' THEN price * size WHEN 's' THEN -price * size
                                             ELSE 0 END END) END AS signed_notional
          FROM (SELECT price, size, aggressor,
                       (price = 0 OR abs(price) BETWEEN 1e-70 AND 1e70) AND size BETWEEN 1e-70 AND 1e70 AS sound
                  FROM {source}) AS one) AS t
 WHERE t.trade_count > 0"""
_STORED = """trade
                 WHERE instrument_id = p.instrument_id AND ts_event >= p.start
                   AND ts_event < p.start + interval '1 minute'
                   AND ts_event >= to_timestamp($4) AND ts_event < to_timestamp($5)
                 ORDER BY ts_event, trade_id"""
_ARCHIVED = """archived_trade
                 WHERE instrument_id = p.instrument_id AND minute = extract(epoch FROM p.start)::bigint / 60
                 ORDER BY at_us, trade_id"""

_OF_BARS = """
SELECT (array_agg(open))[1] AS open, max(high) AS high, min(low) AS low, (array_agg(close))[count(*)] AS close,
       CASE WHEN bool_and(volume IS NOT NULL) THEN sum(volume) END AS volume,
       CASE WHEN bool_and(notional IS NOT NULL) THEN sum(notional) END AS notional,
       sum(trade_count)::bigint AS trade_count,
       CASE WHEN bool_and(buy_volume IS NOT NULL) THEN sum(buy_volume) END AS buy_volume,
       CASE WHEN bool_and(sell_volume IS NOT NULL) THEN sum(sell_volume) END AS sell_volume,
       CASE WHEN bool_and(signed_notional IS NOT NULL) THEN sum(signed_notional) END AS signed_notional
  FROM (SELECT * FROM bar
         WHERE instrument_id = p.instrument_id AND interval_s = {part_s} AND start >= p.start
           AND start < p.start + interval '{width_s} seconds'
         ORDER BY start) AS part
HAVING count(*) > 0"""

# What a venue has sent until a time is stored when the latest block of one of its recorders was written after it.
# Their processes are loaded in turn, so they differ by milliseconds. Without a journal the clock decides. A recorder is
# called by its feed, and the feeds of a venue name the same instruments: the one that is read now decides.
_FEEDS = ", ".join(f"('{feed}', '{venue.name}')" for feed, venue in VENUES.items())
LOADED = f"""SELECT coalesce(f.venue, split_part(j.recorder, '-', 2)) AS venue, max(j.written_at) AS until
      FROM journal j LEFT JOIN (VALUES {_FEEDS}) AS f (feed, venue) ON f.feed = split_part(j.recorder, '-', 2)
     GROUP BY 1"""

# Few bars touch a gap, so these are found first; gaps that overlap each other count once. As an array the instruments
# reach the indexes behind the view: most instruments are only listed.
_MISSING = """missing AS (
    SELECT instrument_id, interval_s, start,
           sum(extract(epoch FROM upper(part) - lower(part)))::double precision AS missing_s
      FROM (SELECT p.instrument_id, p.interval_s, p.start,
                   unnest(range_agg(g.span * tstzrange(p.start, p.start + p.interval_s * interval '1 second'))) AS part
              FROM picked p
              JOIN (SELECT instrument_id, span FROM trade_gap
                     WHERE instrument_id = ANY (ARRAY(SELECT DISTINCT instrument_id FROM picked))
                       AND span && tstzrange((SELECT min(start) FROM picked),
                                             (SELECT max(start) FROM picked) + interval '1 day')) AS g
                ON g.instrument_id = p.instrument_id
               AND g.span && tstzrange(p.start, p.start + p.interval_s * interval '1 second')
             GROUP BY p.instrument_id, p.interval_s, p.start) AS one
     GROUP BY instrument_id, interval_s, start
)"""

_STORE = """
WITH picked AS (
    SELECT DISTINCT instrument_id, {width_s} AS interval_s, to_timestamp(start_s) AS start
      FROM unnest($1, $2) AS one (instrument_id, start_s)
), {missing}, loaded AS (
    {loaded}
), fresh AS (
    SELECT p.instrument_id, p.start, v.*, v.notional / v.volume AS vwap,
           CASE WHEN i.instrument_id IS NOT NULL THEN greatest(0, 1 - coalesce(m.missing_s, 0) / {width_s}) END
           AS coverage,
           CASE WHEN i.instrument_id IS NOT NULL THEN m.missing_s IS NOT NULL END AS in_gap,
           p.start + interval '{width_s} seconds' + $3 <= coalesce(l.until, now()) AS complete
      FROM picked p
      LEFT JOIN instrument i ON i.instrument_id = p.instrument_id
      LEFT JOIN loaded l ON l.venue = i.venue
     CROSS JOIN LATERAL ({values}) AS v
      LEFT JOIN missing m ON m.instrument_id = p.instrument_id AND m.start = p.start
), removed AS (
    DELETE FROM bar b USING picked p
     WHERE b.instrument_id = p.instrument_id AND b.interval_s = {width_s} AND b.start = p.start
       AND NOT EXISTS (SELECT FROM fresh f WHERE f.instrument_id = p.instrument_id AND f.start = p.start)
    RETURNING b.instrument_id, b.start
), stored AS (
    INSERT INTO bar AS b (instrument_id, interval_s, start, {columns}, revision, updated_at)
    SELECT instrument_id, {width_s}, start, {columns}, 1, clock_timestamp() FROM fresh ORDER BY instrument_id, start
        ON CONFLICT (instrument_id, interval_s, start) DO UPDATE
       SET ({columns}) = ROW({changed}), revision = b.revision + b.complete::integer,
           updated_at = excluded.updated_at
     WHERE ({present}) IS DISTINCT FROM ({changed})
    RETURNING b.instrument_id, b.start, b.revision
)
SELECT instrument_id, extract(epoch FROM start)::bigint, revision FROM stored
 UNION ALL
SELECT instrument_id, extract(epoch FROM start)::bigint, 0 FROM removed"""


ARCHIVED_TRADES = """
CREATE TEMP TABLE IF NOT EXISTS archived_trade (
    instrument_id bigint, minute bigint, at_us bigint, trade_id bigint, price double precision, size double precision,
    aggressor "char"
) ON COMMIT DELETE ROWS;
CREATE INDEX IF NOT EXISTS archived_trade_minute ON archived_trade (instrument_id, minute)"""
"""Makes the table of this session for trades that are read from the archive; times are since 1970."""


def prepare_archived() -> str:
    """Return the statement that prepares `DERIVE_ARCHIVED`."""
    return prepare(MINUTE_S, source=_ARCHIVED, name="derive_archived")


def prepare(width_s: int, part_s: int | None = None, *, source: str = _STORED, name: str = "") -> str:
    """Return the statement that prepares `DERIVE` for bars of one length: planning it each time takes longer than it.

    Args:
        width_s: Length of the bars.
        part_s: Length of the shorter bars that they are made of; None for bars of one minute, made of trades.
        source: Where their trades are.
        name: Of the statement; the default is by the length.
    """
    values = _OF_TRADES.format(source=source) if part_s is None else _OF_BARS.format(part_s=part_s, width_s=width_s)
    changed = [f"excluded.{name}" if name != "complete" else "b.complete OR excluded.complete" for name in _VALUES]
    statement = _STORE.format(
        width_s=width_s, values=values, missing=_MISSING, loaded=LOADED, columns=", ".join(_VALUES),
        changed=", ".join(changed), present=", ".join(f"b.{name}" for name in _VALUES),
    )  # fmt: skip
    bounds = ", double precision, double precision" if part_s is None and source == _STORED else ""
    return f"PREPARE {name or f'derive_{width_s}'} (bigint[], bigint[], interval{bounds}) AS {statement}"


DERIVE_MINUTES = "EXECUTE derive_60 (%(ids)s, %(starts)s, %(lateness)s, %(first)s, %(last)s)"
"""Derives bars of a minute from trades, and stores those that changed.

`ids` and `starts` (seconds since 1970) name the bars; `first` and `last` bound all starts, by which the planner leaves
out partitions. The rows are instrument_id, start and revision of each bar that changed; the revision of a bar that was
removed, because it has no trade any more, is 0.
"""

DERIVE_ARCHIVED = "EXECUTE derive_archived (%(ids)s, %(starts)s, %(lateness)s)"
"""Does the same from the trades in table archived_trade."""

ROLL_UP = "EXECUTE derive_{width_s} (%(ids)s, %(starts)s, %(lateness)s)"
"""Does the same for longer bars, from the next shorter ones."""


TAKE_MINUTES = """
WITH taken AS (
    DELETE FROM bar_dirty
     WHERE kind = 'm' AND dirty_id = ANY (ARRAY(
           SELECT dirty_id FROM bar_dirty
            WHERE kind = 'm' AND (%(forming)s OR low < date_trunc('minute', now()))
              AND extract(epoch FROM low)::bigint / 86400 <> ALL (%(left)s::bigint[])
            ORDER BY dirty_id LIMIT %(marks)s FOR UPDATE SKIP LOCKED))
    RETURNING instrument_ids, low
)
SELECT extract(epoch FROM low)::bigint, instrument_ids FROM taken"""
"""Takes marks of minutes; those of minutes that still form only where `forming`, and none of the days `left`."""

TAKE_RANGE = """
WITH taken AS (
    DELETE FROM bar_dirty
     WHERE kind = 'r' AND dirty_id = ANY (ARRAY(
           SELECT dirty_id FROM bar_dirty
            WHERE kind = 'r' AND extract(epoch FROM low)::bigint / 86400 <> ALL (%(left)s::bigint[])
            ORDER BY dirty_id LIMIT 1 FOR UPDATE SKIP LOCKED))
    RETURNING instrument_ids, low, high
)
SELECT instrument_ids, low, high FROM taken"""

MINUTES_OF_RANGE = """
SELECT extract(epoch FROM minute)::bigint, array_agg(instrument_id)
  FROM (SELECT instrument_id, date_bin('1 minute', ts_event, 'epoch') AS minute
          FROM trade
         WHERE instrument_id = ANY (%(ids)s) AND ts_event >= %(low)s AND ts_event < %(high)s
         UNION
        SELECT instrument_id, start FROM bar
         WHERE instrument_id = ANY (%(ids)s) AND interval_s = 60 AND start >= %(low)s AND start < %(high)s) AS both_of
 GROUP BY minute"""
"""The minutes of a range that have a trade or a bar."""

TAKE_GAPS = f"""
WITH taken AS (
    DELETE FROM bar_dirty
     WHERE kind = 'g' AND dirty_id = ANY (ARRAY(
           SELECT dirty_id FROM bar_dirty WHERE kind = 'g' ORDER BY dirty_id LIMIT %(marks)s FOR UPDATE SKIP LOCKED))
    RETURNING instrument_ids, low, high
), picked AS (
    SELECT DISTINCT b.instrument_id, b.interval_s, b.start
      FROM taken m
     CROSS JOIN LATERAL unnest(m.instrument_ids) AS i (instrument_id)
      JOIN bar b ON b.instrument_id = i.instrument_id AND b.interval_s IN (60, 300, 900, 3600, 14400, 86400)
       AND b.start < m.high AND b.start > m.low - interval '1 day'
       AND b.start + b.interval_s * interval '1 second' > m.low
), {_MISSING}, stored AS (
    UPDATE bar b
       SET coverage = c.coverage, in_gap = c.in_gap, revision = b.revision + b.complete::integer,
           updated_at = clock_timestamp()
      FROM (SELECT p.instrument_id, p.interval_s, p.start,
                   CASE WHEN i.instrument_id IS NOT NULL THEN m.missing_s IS NOT NULL END AS in_gap,
                   CASE WHEN i.instrument_id IS NOT NULL THEN greatest(0, 1 - coalesce(m.missing_s, 0) / p.interval_s)
                   END AS coverage
              FROM picked p
              LEFT JOIN instrument i ON i.instrument_id = p.instrument_id
              LEFT JOIN missing m ON m.instrument_id = p.instrument_id AND m.interval_s = p.interval_s
               AND m.start = p.start) AS c
     WHERE b.instrument_id = c.instrument_id AND b.interval_s = c.interval_s AND b.start = c.start
       AND (b.coverage, b.in_gap) IS DISTINCT FROM (c.coverage, c.in_gap)
    RETURNING b.revision
), reached AS (
    INSERT INTO derived_dirty (instrument_id, interval_s, low, high, reach)
    SELECT b.instrument_id, b.interval_s, min(b.start), max(b.start), false
      FROM taken m
     CROSS JOIN LATERAL unnest(m.instrument_ids) AS i (instrument_id)
     CROSS JOIN (VALUES (60), (300), (900), (3600), (14400), (86400)) AS l (width_s)
      JOIN bar b ON b.instrument_id = i.instrument_id AND b.interval_s = l.width_s AND b.complete
       AND b.start > m.low - l.width_s * interval '1 second'
       AND b.start < date_bin(l.width_s * interval '1440 seconds', least(m.high, now() + interval '1 day'), 'epoch')
                     + l.width_s * interval '2880 seconds'
     GROUP BY b.instrument_id, b.interval_s, date_bin(b.interval_s * interval '1440 seconds', b.start, 'epoch')
)
SELECT (SELECT count(*) FROM taken), count(*), count(*) FILTER (WHERE revision > 1) FROM stored"""
"""Takes marks of gaps, and computes the coverage of the bars that they touch again.

A gap in a time without trades changes no bar, but what follows from the bars after it: these are marked, too.
"""

LOADED_MINUTES = f"""
SELECT l.venue, floor(extract(epoch FROM l.until - %(lateness)s) / 60)::bigint FROM ({LOADED}) AS l
 WHERE l.until IS NOT NULL"""
"""By venue the minute up to which all is loaded, minutes since 1970."""

# A mark that is left has trades that are not in the bar: another deriver is at it, or the next transaction takes it.
COMPLETE = f"""
WITH loaded AS (
    {LOADED}
)
UPDATE bar b SET complete = true, updated_at = clock_timestamp()
  FROM (SELECT f.instrument_id, f.interval_s, f.start
          FROM bar f
          LEFT JOIN instrument i ON i.instrument_id = f.instrument_id
          LEFT JOIN loaded l ON l.venue = i.venue
         WHERE NOT f.complete
           AND f.start + f.interval_s * interval '1 second' + %(lateness)s <= coalesce(l.until, now())
           AND NOT EXISTS (SELECT FROM bar_dirty m
                            WHERE m.kind = 'm' AND m.low < f.start + f.interval_s * interval '1 second'
                              AND m.low >= f.start AND f.instrument_id = ANY (m.instrument_ids))
           AND NOT EXISTS (SELECT FROM bar_dirty m
                            WHERE m.kind = 'r' AND m.low < f.start + f.interval_s * interval '1 second'
                              AND m.high > f.start AND m.high < now() - interval '6 days'
                              AND f.instrument_id = ANY (m.instrument_ids))) AS d
 WHERE b.instrument_id = d.instrument_id AND b.interval_s = d.interval_s AND b.start = d.start"""

WAITING = """
SELECT coalesce(extract(epoch FROM clock_timestamp() - min(marked_at)), 0)::double precision,
       (SELECT count(*) FROM bar_dirty WHERE kind = 'r')
  FROM (VALUES ('m'::"char"), ('g')) AS k (kind)
 CROSS JOIN LATERAL (SELECT marked_at FROM bar_dirty d WHERE d.kind = k.kind ORDER BY dirty_id LIMIT 1) AS oldest"""
"""The age of the oldest mark that is no range, seconds; and the number of ranges."""

ARCHIVED = """
SELECT a.day - DATE '1970-01-01', a.venue, a.folder, a.path, a.row_count, a.sha256, a.state, a.here, a.copied_to,
       array_agg(i.instrument_id)
  FROM archive a
  JOIN instrument i ON i.venue = a.venue
 WHERE a.table_name = 'trade' AND i.instrument_id = ANY (%(ids)s)
   AND a.day = ANY (SELECT DATE '1970-01-01' + d FROM unnest(%(days)s::integer[]) AS d)
 GROUP BY a.table_name, a.day, a.venue"""
"""Which days, since 1970, have left table trade: by venue, with the instruments that are asked for."""

UNCERTAIN = """
UPDATE bar b SET complete = false, revision = b.revision + 1, updated_at = clock_timestamp()
  FROM (SELECT DISTINCT b.instrument_id, b.interval_s, b.start
          FROM bar_dirty m
         CROSS JOIN LATERAL unnest(m.instrument_ids) AS i (instrument_id)
          JOIN bar b ON b.instrument_id = i.instrument_id
           AND b.interval_s IN (60, 300, 900, 3600, 14400, 86400)
           AND b.start < m.high AND b.start > m.low - interval '1 day'
           AND b.start + b.interval_s * interval '1 second' > m.low
         WHERE m.kind IN ('m', 'r') AND extract(epoch FROM m.low)::bigint / 86400 = %(day)s) AS u
 WHERE b.instrument_id = u.instrument_id AND b.interval_s = u.interval_s AND b.start = u.start AND b.complete"""
"""Notes of the bars that marks of a day concern that they are not complete, because they cannot be derived now."""

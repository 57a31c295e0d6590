"""The SQL that checks bars and snapshots by the rules of table quality_rule.

A finding names the rule, the value and the threshold. What it is about stays as it is.
"""

_RULES = """rule AS (
    SELECT rule, threshold FROM quality_rule WHERE subject = '{subject}' AND enabled
)"""

# The bars before a bar are those of the same table, whatever lies between them; a bar that a gap touches says nothing
# about a jump.
CHECK_BARS = f"""
WITH {_RULES.format(subject="bar")}, checked AS (
    SELECT b.instrument_id, b.interval_s, b.start, v.rule, v.value, r.threshold
      FROM (SELECT DISTINCT * FROM unnest(%(bars)s::bigint[], %(starts)s::bigint[])) AS k (instrument_id, start_s)
      JOIN bar b ON b.instrument_id = k.instrument_id AND b.interval_s = %(width_s)s
       AND b.start = to_timestamp(k.start_s)
     CROSS JOIN LATERAL (
           SELECT count(*) AS bars, count(x.move) AS moves, stddev_samp(x.move) AS deviation, avg(x.volume) AS volume,
                  (array_agg(x.close ORDER BY x.start DESC))[1] AS close,
                  count(*) FILTER (WHERE x.start > x.other) AS same
             FROM (SELECT p.start, p.close, p.volume,
                          ln(p.close) - ln(lag(p.close) OVER w) AS move,
                          coalesce(max(p.start) FILTER (WHERE p.low <> b.close OR p.high <> b.close) OVER (),
                                   '-infinity') AS other
                     FROM (SELECT start, high, low, close, volume FROM bar q
                            WHERE q.instrument_id = b.instrument_id AND q.interval_s = b.interval_s
                              AND q.start < b.start AND q.close > 0
                            ORDER BY q.start DESC LIMIT 61) AS p
                   WINDOW w AS (ORDER BY p.start)) AS x) AS past
      LEFT JOIN LATERAL (
           SELECT bid, ask FROM quote
            WHERE b.interval_s = 60 AND quote.instrument_id = b.instrument_id AND quote.ts_recv >= b.start
              AND quote.ts_recv < b.start + interval '1 minute' AND bid > 0 AND ask > 0
            ORDER BY ts_recv DESC, frame_seq DESC LIMIT 1) AS q ON true
     CROSS JOIN LATERAL (VALUES
           ('range', bounded_ratio(b.high, b.low) - 1),
           ('jump', CASE WHEN past.moves >= 20 AND b.close > 0 AND NOT b.in_gap
                         THEN abs(ln(b.close) - ln(past.close)) / greatest(past.deviation, 0.0005) END),
           ('volume_spike', CASE WHEN past.bars >= 20 THEN bounded_ratio(b.volume, past.volume) END),
           ('stale', CASE WHEN b.high = b.low THEN past.same + 1 END::double precision),
           ('split_like', (SELECT min(abs(greatest(bounded_ratio(b.open, past.close),
                                                   bounded_ratio(past.close, b.open)) / f - 1))
                             FROM unnest('{{2,3,4,5,10,20,50}}'::double precision[]) AS f
                            WHERE past.close > 0 AND b.open > 0)),
           ('spread', bounded_ratio(2 * (q.ask - q.bid), q.ask + q.bid)),
           ('crossed', bounded_ratio(2 * (q.bid - q.ask), q.ask + q.bid))) AS v (rule, value)
      JOIN rule r ON r.rule = v.rule
     WHERE CASE WHEN v.rule = 'split_like' THEN v.value <= r.threshold ELSE v.value >= r.threshold END
), removed AS (
    DELETE FROM bar_finding f
     USING unnest(%(ids)s::bigint[], %(lows)s::bigint[], %(highs)s::bigint[]) AS k (instrument_id, low, high)
     WHERE f.instrument_id = k.instrument_id AND f.interval_s = %(width_s)s
       AND f.start >= to_timestamp(k.low) AND f.start < to_timestamp(k.high)
       AND NOT EXISTS (SELECT FROM checked c WHERE c.instrument_id = f.instrument_id AND c.start = f.start
                          AND c.rule = f.rule)
)
INSERT INTO bar_finding AS f (instrument_id, interval_s, start, rule, value, threshold, found_at)
SELECT instrument_id, interval_s, start, rule, value, threshold, clock_timestamp() FROM checked
    ON CONFLICT (instrument_id, interval_s, start, rule) DO UPDATE
   SET value = excluded.value, threshold = excluded.threshold, found_at = excluded.found_at
 WHERE (f.value, f.threshold) IS DISTINCT FROM (excluded.value, excluded.threshold)"""
"""Checks bars of one length.

`bars` and `starts` (seconds since 1970) name them; `ids`, `lows` and `highs` are the ranges in which no other finding
remains.
"""

CHECK_SNAPSHOTS = f"""
WITH {_RULES.format(subject="snapshot")}, checked AS (
    SELECT s.market_id, s.ts_recv, v.rule, v.value, r.threshold
      FROM market_snapshot s
     CROSS JOIN LATERAL (
           SELECT count(x.move) AS moves, stddev_samp(x.move) AS deviation,
                  (array_agg(x.mid ORDER BY x.ts_recv DESC) FILTER (WHERE x.mid IS NOT NULL))[1] AS mid,
                  (array_agg(x.volume_24h ORDER BY x.ts_recv DESC))[1] AS volume_24h
             FROM (SELECT p.ts_recv, p.mid, p.volume_24h, p.mid - lag(p.mid) OVER (ORDER BY p.ts_recv) AS move
                     FROM (SELECT ts_recv, CASE WHEN abs(mid) < 1e100 THEN mid END AS mid, volume_24h
                             FROM market_snapshot q
                            WHERE q.market_id = s.market_id AND q.ts_recv < s.ts_recv
                              AND q.ts_recv > s.ts_recv - interval '3 days'
                            ORDER BY q.ts_recv DESC LIMIT 61) AS p) AS x) AS past
     CROSS JOIN LATERAL (VALUES
           ('range', abs(s.mid - s.gamma_price)),
           ('jump', CASE WHEN past.moves >= 20 THEN abs(s.mid - past.mid) / greatest(past.deviation, 0.005) END),
           ('volume_spike', CASE WHEN past.volume_24h >= 100 THEN bounded_ratio(s.volume_24h, past.volume_24h) END),
           ('stale', extract(epoch FROM s.ts_recv - s.gamma_recv)::double precision),
           ('spread', s.ask - s.bid),
           ('crossed', s.bid - s.ask)) AS v (rule, value)
      JOIN rule r ON r.rule = v.rule
     WHERE s.market_id = %(market_id)s AND s.ts_recv >= %(low)s AND s.ts_recv <= %(high)s AND v.value >= r.threshold
), removed AS (
    DELETE FROM snapshot_finding f
     WHERE f.market_id = %(market_id)s AND f.ts_recv >= %(low)s AND f.ts_recv <= %(high)s
       AND NOT EXISTS (SELECT FROM checked c WHERE c.ts_recv = f.ts_recv AND c.rule = f.rule)
)
INSERT INTO snapshot_finding AS f (market_id, ts_recv, rule, value, threshold, found_at)
SELECT market_id, ts_recv, rule, value, threshold, clock_timestamp() FROM checked
    ON CONFLICT (market_id, ts_recv, rule) DO UPDATE
   SET value = excluded.value, threshold = excluded.threshold, found_at = excluded.found_at
 WHERE (f.value, f.threshold) IS DISTINCT FROM (excluded.value, excluded.threshold)"""
"""Checks the snapshots of a market from `low` to `high`, both included."""

"""The questions of the stream, one per kind for all instruments that somebody wants. Every question has a bound."""

# Quotes by the index (instrument_id, ts_recv). `oldest` is the least of `since`: as a constant it keeps the planner
# away from earlier days.
QUOTES = """
SELECT w.id, q.ts_recv, q.ts_event, q.bid, q.bid_size, q.ask, q.ask_size
  FROM unnest(%(ids)s::bigint[], %(since)s::timestamptz[]) AS w (id, since)
 CROSS JOIN LATERAL (SELECT ts_recv, ts_event, bid, bid_size, ask, ask_size
                       FROM quote
                      WHERE instrument_id = w.id AND ts_recv >= w.since AND ts_recv >= %(oldest)s
                      ORDER BY ts_recv DESC, frame_seq DESC
                      LIMIT 1) AS q"""

# The key of trade has no time behind the instrument, so the newest of all are read through the BRIN of ts_event.
TRADES = """
SELECT DISTINCT ON (instrument_id)
       instrument_id, ts_recv, ts_event, price, size, aggressor, coalesce(venue_trade_id, trade_id::text)
  FROM trade
 WHERE ts_event >= %(oldest)s AND instrument_id = ANY (%(ids)s::bigint[])
 ORDER BY instrument_id, ts_event DESC, trade_id DESC"""

# Bars say in which minute an instrument was traded last.
LAST_TRADES = """
SELECT w.id, t.*
  FROM unnest(%(ids)s::bigint[]) AS w (id)
 CROSS JOIN LATERAL (SELECT max(start) AS minute FROM bar WHERE instrument_id = w.id AND interval_s = 60) AS b
 CROSS JOIN LATERAL (SELECT ts_recv, ts_event, price, size, aggressor, coalesce(venue_trade_id, trade_id::text)
                       FROM trade
                      WHERE instrument_id = w.id AND ts_event >= b.minute AND ts_event < b.minute + interval '1 minute'
                      ORDER BY ts_event DESC, trade_id DESC
                      LIMIT 1) AS t"""

BARS = """
SELECT w.id, w.width, b.*
  FROM unnest(%(ids)s::bigint[], %(widths)s::int[]) AS w (id, width)
 CROSS JOIN LATERAL (SELECT start, open, high, low, close, volume, vwap, trade_count, buy_volume, sell_volume, coverage,
                            in_gap, complete, revision
                       FROM bar
                      WHERE instrument_id = w.id AND interval_s = w.width
                      ORDER BY start DESC
                      LIMIT 2) AS b"""

NAMES = "SELECT instrument_id, venue, symbol FROM instrument WHERE instrument_id = ANY (%(ids)s::bigint[])"

# A gap has no time of its last change. So those that are open are compared with those that were open a moment ago, and
# what is not open any more is looked up by its key.
OPEN_GAPS = """
SELECT g.gap_id, g.instrument_id, g.channel, g.cause, g.state, g.reason, g.started_at, g.ended_at,
       g.last_id, g.first_id, g.revision, i.venue, i.symbol
  FROM gap g LEFT JOIN instrument i USING (instrument_id)
 WHERE g.state = 'open' AND g.cause <> 'unsubscribed'
   AND (%(all)s OR g.instrument_id = ANY (%(ids)s::bigint[]))
 ORDER BY g.started_at DESC LIMIT %(most)s"""

GAPS_BY_ID = """
SELECT g.gap_id, g.instrument_id, g.channel, g.cause, g.state, g.reason, g.started_at, g.ended_at,
       g.last_id, g.first_id, g.revision, i.venue, i.symbol
  FROM gap g LEFT JOIN instrument i USING (instrument_id) WHERE g.gap_id = ANY (%(ids)s::bigint[])"""

# A gap may begin and end between two looks, as unhealable, and be declared when it has ended. The index has the
# instrument before the time.
RECENT_GAPS = """
SELECT g.gap_id, g.instrument_id, g.channel, g.cause, g.state, g.reason, g.started_at, g.ended_at,
       g.last_id, g.first_id, g.revision, i.venue, i.symbol
  FROM gap g LEFT JOIN instrument i USING (instrument_id)
 WHERE g.instrument_id = ANY (%(ids)s::bigint[] || ARRAY(SELECT instrument_id FROM instrument
                                                          WHERE recorded AND %(all)s))
   AND g.channel = ANY ('{trade,quote,book}') AND g.cause <> 'unsubscribed'
   AND g.started_at > now() - interval '1 day'
   AND coalesce(g.ended_at, g.started_at) > now() - interval '10 minutes'
 ORDER BY g.started_at DESC LIMIT %(most)s"""

# The share of the last hour in which nothing can be missing: outside of gaps that are not healed, after the begin of
# the recording, and before what is in journals only. What overlaps counts once.
COVERAGE = """
SELECT w.id, w.channel,
       coalesce(1 - (SELECT extract(epoch FROM sum(upper(s) - lower(s))) / 3600
                       FROM unnest((SELECT range_agg(missing * tstzrange(now() - interval '1 hour', now())) FROM (
                                    SELECT tstzrange(g.started_at, greatest(g.started_at, g.ended_at)) AS missing
                                      FROM gap g
                                     WHERE g.instrument_id = w.id AND g.channel = w.channel AND g.state <> 'healed'
                                       AND g.started_at < now()
                                       AND (g.ended_at IS NULL OR g.ended_at > now() - interval '1 hour')
                                     UNION ALL
                                    SELECT tstzrange(NULL, recording_begin(i.recorded, i.first_seen))
                                      FROM instrument i WHERE i.instrument_id = w.id
                                     UNION ALL
                                    SELECT tstzrange(now() - %(behind_s)s * interval '1 second', NULL)
                                     WHERE %(behind_s)s > 0) AS m)) AS s
                      WHERE NOT isempty(s)), 1)
  FROM unnest(%(ids)s::bigint[], %(channels)s::text[]) AS w (id, channel)"""

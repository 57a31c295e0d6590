"""The SQL of a replay: temporary tables, corrections of rows, gaps and ledgers."""

# Each row is looked up by its key. Without statistics of a staging table the planner would rather read all of a
# day's partition.
PREPARE = """
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
CREATE TEMP TABLE IF NOT EXISTS replay_trade (LIKE trade) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS replay_gone (
    instrument_id bigint, ts_recv timestamptz, first bigint, second bigint, ts_event timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS replay_span (
    session_id bigint, first_seq bigint, last_seq bigint, low timestamptz, high timestamptz
) ON COMMIT DELETE ROWS"""

DELETE_TRADES = """
DELETE FROM trade t USING replay_gone g
 WHERE t.instrument_id = g.instrument_id AND t.trade_id = g.first AND t.ts_event = g.ts_event
   AND t.ts_recv = g.ts_recv"""
# A trade that was received several times keeps the first receipt time.
UPDATE_TRADES = """
UPDATE trade t
   SET ts_recv = least(t.ts_recv, s.ts_recv), price = s.price, size = s.size, aggressor = s.aggressor,
       venue_trade_id = s.venue_trade_id
  FROM (SELECT DISTINCT ON (instrument_id, trade_id, ts_event) *
          FROM replay_trade ORDER BY instrument_id, trade_id, ts_event, ts_recv) s
 WHERE t.instrument_id = s.instrument_id AND t.trade_id = s.trade_id AND t.ts_event = s.ts_event
   AND ((t.price, t.size, t.aggressor, t.venue_trade_id) IS DISTINCT FROM
        (s.price, s.size, s.aggressor, s.venue_trade_id) OR s.ts_recv < t.ts_recv)"""
INSERT_TRADES = """
INSERT INTO trade SELECT DISTINCT ON (instrument_id, trade_id, ts_event) *
  FROM replay_trade ORDER BY instrument_id, trade_id, ts_event, ts_recv
    ON CONFLICT (instrument_id, trade_id, ts_event) DO NOTHING"""
STORED = """
COPY (SELECT q.* FROM replay_span p CROSS JOIN LATERAL (
          SELECT {columns} FROM {table} r
           WHERE r.instrument_id = ANY(%s) AND r.ts_recv BETWEEN p.low AND p.high
             AND r.session_id = p.session_id AND r.frame_seq BETWEEN p.first_seq AND p.last_seq) q)
  TO STDOUT BINARY"""
DELETE_ROWS = """
DELETE FROM {table} r USING replay_gone g
 WHERE r.instrument_id = g.instrument_id AND r.ts_recv = g.ts_recv AND r.session_id = g.first
   AND r.frame_seq = g.second"""
RECORDED_TRADES = """
COPY (SELECT segment, position, instrument_id, trade_id, ts_event, ts_recv FROM replayed_trade
       WHERE journal_id = %s AND segment = %s AND position = ANY(%s::bigint[])) TO STDOUT BINARY"""
CORRECT_LEDGER = """
UPDATE load_ledger
   SET offered = offered + %s - %s, inserted = inserted + %s, quarantined = quarantined - %s, updated_at = now()
 WHERE journal_id = %s AND segment = %s AND table_name = %s"""
ADD_LEDGER_ROW = """
INSERT INTO load_ledger (journal_id, segment, table_name, blocks, offered, inserted, duplicate, quarantined)
VALUES (%s, %s, %s, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING"""
ADD_TO_REPLAY_LEDGER = """
INSERT INTO replay_ledger AS l (replay_id, journal_id, segment, table_name, program, removed, inserted, updated)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (replay_id, journal_id, segment, table_name) DO UPDATE
   SET removed = l.removed + excluded.removed, inserted = l.inserted + excluded.inserted,
       updated = l.updated + excluded.updated, applied_at = now()"""
HEAL = """
UPDATE gap SET state = 'healed', reason = %s, revision = revision + 1
 WHERE gap_id = ANY(%s::bigint[]) AND cause = 'journal_damage' AND state <> 'healed'"""
# With ids that rise by one, a range is complete when it has as many trades as ids.
COMPLETE = """
UPDATE gap g SET state = 'healed', reason = %s, revision = revision + 1
  FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS p (instrument_id, low, high)
 WHERE g.instrument_id = p.instrument_id AND g.channel = 'trade'
   AND g.cause IN ('unreadable', 'journal_damage', 'row_refused')
   AND g.state = 'open' AND g.ended_at IS NOT NULL AND g.last_id < p.high AND g.first_id > p.low
   AND g.first_id - g.last_id - 1 = (
       SELECT count(DISTINCT t.trade_id) FROM trade t
        WHERE t.instrument_id = g.instrument_id AND t.trade_id > g.last_id AND t.trade_id < g.first_id
          AND t.ts_event BETWEEN coalesce(g.last_ts_event, '-infinity') AND coalesce(g.first_ts_event, 'infinity'))"""
INSERT_INSTRUMENT = """
INSERT INTO instrument (instrument_id, venue, symbol, first_seen)
VALUES (%s, %s, %s, timestamptz 'epoch' + %s * interval '1 microsecond') ON CONFLICT DO NOTHING"""
SEEN_EARLIER = """
UPDATE instrument SET first_seen = timestamptz 'epoch' + %s * interval '1 microsecond', recorded = true
 WHERE instrument_id = %s AND (first_seen > timestamptz 'epoch' + %s * interval '1 microsecond' OR NOT recorded)"""
QUARANTINE = """
INSERT INTO quarantine (journal_id, segment, position, item, scope, table_name, instrument_id, session_id, ts_recv,
                        reason, sample, sha256)
VALUES (%s, %s, %s, %s, 'frame', NULL, %s, %s, timestamptz 'epoch' + %s * interval '1 microsecond', %s, %s, %s)
ON CONFLICT (journal_id, segment, position, scope, item) DO NOTHING"""

-- 0012_view.sql: views for people, with venue and symbol in place of instrument_id.

CREATE VIEW trade_named AS
SELECT i.venue, i.symbol, t.ts_event, t.ts_recv, t.price, t.size,
       CASE t.aggressor WHEN 'b' THEN 'buy' WHEN 's' THEN 'sell' END AS side,
       t.trade_id, t.venue_trade_id
  FROM trade t
  JOIN instrument i ON i.instrument_id = t.instrument_id;
COMMENT ON VIEW   trade_named                IS 'Trades by venue and symbol. Restrict ts_event, so that only the partitions of those days are read.';
COMMENT ON COLUMN trade_named.venue          IS 'Venue of the trade.';
COMMENT ON COLUMN trade_named.symbol         IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN trade_named.ts_event       IS 'When the trade was executed, by the venue''s clock, UTC, microseconds truncated.';
COMMENT ON COLUMN trade_named.ts_recv        IS 'When its frame was received, by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN trade_named.price          IS 'Price, quote units per base unit.';
COMMENT ON COLUMN trade_named.size           IS 'Size, base units.';
COMMENT ON COLUMN trade_named.side           IS 'Side of the taker: buy or sell; NULL where the venue does not say.';
COMMENT ON COLUMN trade_named.trade_id       IS 'The venue''s id of the trade, or a stable 64-bit hash of venue_trade_id.';
COMMENT ON COLUMN trade_named.venue_trade_id IS 'The venue''s id as text; NULL where the id is a number.';

-- The lateral query reads one row per instrument and partition through the primary key of trade. Venues list far more
-- instruments than are recorded; those are left out, because each would cost a look into every partition.
CREATE VIEW trade_last AS
SELECT i.venue, i.symbol, t.ts_event, t.ts_recv, t.price, t.size,
       CASE t.aggressor WHEN 'b' THEN 'buy' WHEN 's' THEN 'sell' END AS side, t.trade_id
  FROM instrument i
 CROSS JOIN LATERAL (SELECT ts_event, ts_recv, price, size, aggressor, trade_id
                       FROM trade
                      WHERE trade.instrument_id = i.instrument_id
                      ORDER BY ts_event DESC, trade_id DESC
                      LIMIT 1) t
 WHERE i.recorded;
COMMENT ON VIEW   trade_last          IS 'The last trade of every instrument, by the venue''s clock.';
COMMENT ON COLUMN trade_last.venue    IS 'Venue of the trade.';
COMMENT ON COLUMN trade_last.symbol   IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN trade_last.ts_event IS 'When the trade was executed, by the venue''s clock, UTC, microseconds truncated.';
COMMENT ON COLUMN trade_last.ts_recv  IS 'When its frame was received, by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN trade_last.price    IS 'Price, quote units per base unit.';
COMMENT ON COLUMN trade_last.size     IS 'Size, base units.';
COMMENT ON COLUMN trade_last.side     IS 'Side of the taker: buy or sell; NULL where the venue does not say.';
COMMENT ON COLUMN trade_last.trade_id IS 'The venue''s id of the trade, or a stable 64-bit hash of its textual id.';

CREATE VIEW quote_last AS
SELECT i.venue, i.symbol, q.ts_recv, q.ts_event, q.bid, q.bid_size, q.ask, q.ask_size
  FROM instrument i
 CROSS JOIN LATERAL (SELECT ts_recv, ts_event, bid, bid_size, ask, ask_size
                       FROM quote
                      WHERE quote.instrument_id = i.instrument_id
                      ORDER BY ts_recv DESC, frame_seq DESC
                      LIMIT 1) q
 WHERE i.recorded;
COMMENT ON VIEW   quote_last          IS 'The last best bid and ask of every instrument, by our clock.';
COMMENT ON COLUMN quote_last.venue    IS 'Venue of the quote.';
COMMENT ON COLUMN quote_last.symbol   IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN quote_last.ts_recv  IS 'When its frame was received, by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN quote_last.ts_event IS 'When the message was made, by the venue''s clock, UTC, microseconds truncated; NULL where the venue gives no time.';
COMMENT ON COLUMN quote_last.bid      IS 'Highest bid price, quote units per base unit; NULL when there is no bid.';
COMMENT ON COLUMN quote_last.bid_size IS 'Size at the bid, base units; NULL where the venue does not say.';
COMMENT ON COLUMN quote_last.ask      IS 'Lowest ask price, quote units per base unit; NULL when there is no ask.';
COMMENT ON COLUMN quote_last.ask_size IS 'Size at the ask, base units; NULL where the venue does not say.';

CREATE VIEW gap_open AS
SELECT i.venue, i.symbol, g.channel, g.cause, g.started_at, g.ended_at,
       coalesce(g.ended_at, now()) - g.started_at AS duration, g.last_id, g.first_id, g.gap_id
  FROM gap g
  LEFT JOIN instrument i ON i.instrument_id = g.instrument_id
 WHERE g.state = 'open';
COMMENT ON VIEW   gap_open            IS 'Gaps that are neither healed nor unhealable: ranges of streams that may be incomplete.';
COMMENT ON COLUMN gap_open.venue      IS 'Venue of the stream.';
COMMENT ON COLUMN gap_open.symbol     IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN gap_open.channel    IS 'trade, quote or book.';
COMMENT ON COLUMN gap_open.cause      IS 'Why data may be missing: disconnect, restart, sequence, checksum, refused, ... (GapCause in recorder/events.py).';
COMMENT ON COLUMN gap_open.started_at IS 'Receipt time of the last good frame before the gap, UTC.';
COMMENT ON COLUMN gap_open.ended_at   IS 'Receipt time of the first good frame after the gap, UTC; NULL while the gap lasts.';
COMMENT ON COLUMN gap_open.duration   IS 'Time between started_at and ended_at, or until now while the gap lasts, as an interval.';
COMMENT ON COLUMN gap_open.last_id    IS 'Last trade id or sequence number before the gap; NULL when unknown.';
COMMENT ON COLUMN gap_open.first_id   IS 'First trade id or sequence number after the gap; NULL when unknown or while the gap lasts.';
COMMENT ON COLUMN gap_open.gap_id     IS 'Key of the row in gap.';

-- 0004_trade.sql: executed trades, one row per print, partitioned by day of the venue's clock.

CREATE TABLE trade (
    instrument_id  bigint           NOT NULL,
    trade_id       bigint           NOT NULL,
    ts_event       timestamptz      NOT NULL,
    ts_recv        timestamptz      NOT NULL,
    price          double precision NOT NULL CHECK (price > '-Infinity' AND price < 'Infinity'),
    size           double precision NOT NULL CHECK (size > 0 AND size < 'Infinity'),
    aggressor      "char"           CHECK (aggressor IN ('b', 's')),
    venue_trade_id text,
    PRIMARY KEY (instrument_id, trade_id, ts_event)
) PARTITION BY RANGE (ts_event);
COMMENT ON TABLE  trade                IS 'Trades as venues printed them. Written by bin/writer, never updated.';
COMMENT ON COLUMN trade.instrument_id  IS 'What was traded (instrument).';
COMMENT ON COLUMN trade.trade_id       IS 'The venue''s id of the print, or a stable 64-bit hash of venue_trade_id.';
COMMENT ON COLUMN trade.ts_event       IS 'When it was executed by the venue''s clock, UTC, microseconds truncated.';
COMMENT ON COLUMN trade.ts_recv        IS 'When its frame was received by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN trade.price          IS 'Quote units per base unit; up to 15 significant digits are exact.';
COMMENT ON COLUMN trade.size           IS 'Base units; up to 15 significant digits are exact.';
COMMENT ON COLUMN trade.aggressor      IS 'Side of the taker: b buy, s sell; NULL where the venue does not say.';
COMMENT ON COLUMN trade.venue_trade_id IS 'The venue''s textual id; NULL where its id is a number.';

CREATE TABLE trade_default PARTITION OF trade DEFAULT;
COMMENT ON TABLE  trade_default IS 'Rows of trade on a day that has no partition yet; empty unless something is wrong.';
GRANT SELECT, INSERT ON trade TO tapedeck_writer;

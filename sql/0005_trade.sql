-- 0005_trade.sql: executed trades, one row per print, partitioned by day of the venue's clock.

CREATE TABLE trade (
    instrument_id  bigint           NOT NULL,
    trade_id       bigint           NOT NULL,
    ts_event       timestamptz      NOT NULL,
    ts_recv        timestamptz      NOT NULL,
    price          double precision NOT NULL CHECK (price > '-Infinity' AND price < 'Infinity'),
    size           double precision NOT NULL CHECK (size > 0 AND size < 'Infinity'),
    aggressor      "char"           CHECK (aggressor IN ('b', 's')),
    venue_trade_id text,
    -- In this order the key also serves the last trades of an instrument and its trades of a time range. A second
    -- index for that would cost 38 % more Postgres CPU per row.
    PRIMARY KEY (instrument_id, ts_event, trade_id)
) PARTITION BY RANGE (ts_event);
-- Serves time ranges over all instruments. Costs 3 % more Postgres CPU per row, and 24 kB for a day of 160,000 rows.
CREATE INDEX trade_ts_event ON trade USING brin (ts_event) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE  trade                IS 'Trades as venues published them. Written by bin/writer; changed by tapedeck replay --apply only.';
COMMENT ON COLUMN trade.instrument_id  IS 'Instrument traded (instrument).';
COMMENT ON COLUMN trade.trade_id       IS 'The venue''s id of the trade, or a stable 64-bit hash of venue_trade_id.';
COMMENT ON COLUMN trade.ts_event       IS 'When the trade was executed, by the venue''s clock, UTC, microseconds truncated.';
COMMENT ON COLUMN trade.ts_recv        IS 'When its frame was received, by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN trade.price          IS 'Price, quote units per base unit; up to 15 significant digits are exact.';
COMMENT ON COLUMN trade.size           IS 'Size, base units; up to 15 significant digits are exact.';
COMMENT ON COLUMN trade.aggressor      IS 'Side of the taker: b buy, s sell; NULL where the venue does not say.';
COMMENT ON COLUMN trade.venue_trade_id IS 'The venue''s id as text; NULL where the id is a number.';

CREATE TABLE partition.trade_default PARTITION OF trade DEFAULT;
COMMENT ON TABLE partition.trade_default IS 'Rows of trade on a day that has no partition yet; empty unless something is wrong.';
GRANT SELECT, INSERT ON trade TO tapedeck_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON trade TO tapedeck_replay;

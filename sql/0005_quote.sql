-- 0005_quote.sql: best bid and ask, one row per message, partitioned by day of our clock.

CREATE TABLE quote (
    instrument_id bigint           NOT NULL,
    ts_recv       timestamptz      NOT NULL,
    ts_event      timestamptz,
    session_id    bigint           NOT NULL,
    frame_seq     bigint           NOT NULL,
    sequence      bigint,
    bid           double precision,
    bid_size      double precision CHECK (bid_size >= 0),
    ask           double precision,
    ask_size      double precision CHECK (ask_size >= 0)
) PARTITION BY RANGE (ts_recv);
CREATE INDEX quote_instrument_ts_recv ON quote (instrument_id, ts_recv);
COMMENT ON TABLE  quote               IS 'Best bid and ask as venues published them. Written by bin/writer, never updated.';
COMMENT ON COLUMN quote.instrument_id IS 'What is quoted (instrument).';
COMMENT ON COLUMN quote.ts_recv       IS 'When its frame was received by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN quote.ts_event      IS 'The venue''s clock, UTC, microseconds truncated; NULL where it gives none.';
COMMENT ON COLUMN quote.session_id    IS 'Connection that received it (session).';
COMMENT ON COLUMN quote.frame_seq     IS 'Number of the frame in its session: the order of rows of equal ts_recv.';
COMMENT ON COLUMN quote.sequence      IS 'The venue''s sequence number; NULL where it gives none.';
COMMENT ON COLUMN quote.bid           IS 'Highest price bid, quote units per base unit; NULL for an empty side.';
COMMENT ON COLUMN quote.bid_size      IS 'Size at bid, base units; NULL where the venue does not say.';
COMMENT ON COLUMN quote.ask           IS 'Lowest price asked, quote units per base unit; NULL for an empty side.';
COMMENT ON COLUMN quote.ask_size      IS 'Size at ask, base units; NULL where the venue does not say.';

CREATE TABLE quote_default PARTITION OF quote DEFAULT;
COMMENT ON TABLE  quote_default IS 'Rows of quote on a day that has no partition yet; empty unless something is wrong.';
GRANT SELECT, INSERT ON quote TO tapedeck_writer;

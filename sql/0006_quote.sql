-- 0006_quote.sql: best bid and ask, one row per message, partitioned by day of our clock.

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
COMMENT ON TABLE  quote               IS 'Best bid and ask as venues published them. Written by bin/writer; changed by tapedeck replay --apply only.';
COMMENT ON COLUMN quote.instrument_id IS 'Instrument quoted (instrument).';
COMMENT ON COLUMN quote.ts_recv       IS 'When its frame was received, by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN quote.ts_event      IS 'When the message was made, by the venue''s clock, UTC, microseconds truncated; NULL where the venue gives no time.';
COMMENT ON COLUMN quote.session_id    IS 'Session that received it (session).';
COMMENT ON COLUMN quote.frame_seq     IS 'Number of the frame in its session, from 1; orders rows of equal ts_recv.';
COMMENT ON COLUMN quote.sequence      IS 'The venue''s sequence number; NULL where the venue gives none.';
COMMENT ON COLUMN quote.bid           IS 'Highest bid price, quote units per base unit; NULL when there is no bid.';
COMMENT ON COLUMN quote.bid_size      IS 'Size at the bid, base units; NULL where the venue does not say.';
COMMENT ON COLUMN quote.ask           IS 'Lowest ask price, quote units per base unit; NULL when there is no ask.';
COMMENT ON COLUMN quote.ask_size      IS 'Size at the ask, base units; NULL where the venue does not say.';

CREATE TABLE partition.quote_default PARTITION OF quote DEFAULT;
COMMENT ON TABLE partition.quote_default IS 'Rows of quote on a day that has no partition yet; empty unless something is wrong.';
GRANT SELECT, INSERT ON quote TO tapedeck_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON quote TO tapedeck_replay;

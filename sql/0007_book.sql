-- 0007_book.sql: book messages, one row per snapshot or delta, partitioned by day of our clock.

CREATE TABLE book (
    instrument_id bigint             NOT NULL,
    ts_recv       timestamptz        NOT NULL,
    ts_event      timestamptz,
    session_id    bigint             NOT NULL,
    frame_seq     bigint             NOT NULL,
    kind          "char"             NOT NULL CHECK (kind IN ('s', 'd')),
    sequence      bigint,
    bids          double precision[] NOT NULL,
    asks          double precision[] NOT NULL
) PARTITION BY RANGE (ts_recv);
CREATE INDEX book_instrument_ts_recv ON book (instrument_id, ts_recv);
COMMENT ON TABLE  book               IS 'Book messages as venues sent them. Written by bin/writer; changed by tapedeck replay --apply only.';
COMMENT ON COLUMN book.instrument_id IS 'Instrument whose book it is (instrument).';
COMMENT ON COLUMN book.ts_recv       IS 'When its frame was received, by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN book.ts_event      IS 'When the message was made, by the venue''s clock, UTC, microseconds truncated; NULL where the venue gives no time.';
COMMENT ON COLUMN book.session_id    IS 'Session that received it (session).';
COMMENT ON COLUMN book.frame_seq     IS 'Number of the frame in its session, from 1; orders rows of equal ts_recv.';
COMMENT ON COLUMN book.kind          IS 's: snapshot, replaces the book; d: delta, sets absolute sizes, where 0 removes the level.';
COMMENT ON COLUMN book.sequence      IS 'The venue''s sequence number; NULL where the venue gives none.';
COMMENT ON COLUMN book.bids          IS 'Bid levels in the order of the message, n x 2: price in quote units per base unit, size in base units; {} when there are none.';
COMMENT ON COLUMN book.asks          IS 'Ask levels in the order of the message, n x 2: price in quote units per base unit, size in base units; {} when there are none.';

CREATE TABLE partition.book_default PARTITION OF book DEFAULT;
COMMENT ON TABLE partition.book_default IS 'Rows of book on a day that has no partition yet; empty unless something is wrong.';
GRANT SELECT, INSERT ON book TO tapedeck_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON book TO tapedeck_replay;

-- 0020_witness.sql: what a venue's REST service says about a silent stream, or about a book.

CREATE TABLE witness (
    witness_id       bigint           PRIMARY KEY,
    recorder         text             NOT NULL,
    instrument_id    bigint           NOT NULL,
    channel          text             NOT NULL CHECK (channel IN ('trade', 'book')),
    cause            text             NOT NULL CHECK (cause IN ('silence', 'schedule')),
    verdict          text             NOT NULL CHECK (verdict IN ('quiet', 'dead', 'agrees', 'differs', 'not comparable')),
    reason           text             NOT NULL,
    asked_at         timestamptz      NOT NULL,
    answered_at      timestamptz,
    request_id       text,
    session_id       bigint,
    silent_since     timestamptz,
    last_id          bigint,
    last_ts_event    timestamptz,
    venue_id         bigint,
    venue_ts_event   timestamptz,
    levels           integer          CHECK (levels >= 0),
    levels_different integer          CHECK (levels_different BETWEEN 0 AND levels)
);
CREATE INDEX witness_instrument ON witness (instrument_id, asked_at);
CREATE INDEX witness_asked_at ON witness (asked_at);
COMMENT ON TABLE  witness                  IS 'What the REST service of a venue said about a silent stream or a book, and what followed. Written by bin/writer, never updated. It ends no gap.';
COMMENT ON COLUMN witness.witness_id       IS 'Random 64-bit number drawn when the question was asked.';
COMMENT ON COLUMN witness.recorder         IS 'Name of the process that asked.';
COMMENT ON COLUMN witness.instrument_id    IS 'Instrument of the stream (instrument), which names the venue.';
COMMENT ON COLUMN witness.channel          IS 'trade or book.';
COMMENT ON COLUMN witness.cause            IS 'silence: the stream was judged silent; schedule: a book is compared from time to time.';
COMMENT ON COLUMN witness.verdict          IS 'Of a silent stream: quiet (the venue has nothing newer) or dead (it has); of a book on schedule: agrees or differs; not comparable: nothing follows.';
COMMENT ON COLUMN witness.reason           IS 'Why, in words.';
COMMENT ON COLUMN witness.asked_at         IS 'When the question was asked, UTC.';
COMMENT ON COLUMN witness.answered_at      IS 'Receipt time of the last answer, UTC; NULL without an answer.';
COMMENT ON COLUMN witness.request_id       IS 'Id of the last request in the log; NULL where nothing was sent.';
COMMENT ON COLUMN witness.session_id       IS 'Session that carried the stream, whose frames hold the answers (session); NULL without one.';
COMMENT ON COLUMN witness.silent_since     IS 'Receipt time of the last data before the silence, or when the stream began, UTC; NULL on schedule.';
COMMENT ON COLUMN witness.last_id          IS 'Our newest trade id, or the sequence number of our book; NULL where there is none.';
COMMENT ON COLUMN witness.last_ts_event    IS 'Our newest trade by the venue''s clock, UTC; NULL of a book or without a trade.';
COMMENT ON COLUMN witness.venue_id         IS 'Newest trade id, or sequence number of the book, in the answer; NULL where there is none.';
COMMENT ON COLUMN witness.venue_ts_event   IS 'Newest trade in the answer by the venue''s clock, UTC; NULL of a book or without a trade.';
COMMENT ON COLUMN witness.levels           IS 'Number of price levels that could be compared; NULL of trades or without a comparison.';
COMMENT ON COLUMN witness.levels_different IS 'Number of these levels whose size differed; NULL like levels.';
GRANT SELECT, INSERT ON witness TO tapedeck_writer;

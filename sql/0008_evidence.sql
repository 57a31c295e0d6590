-- 0008_evidence.sql: evidence of completeness: sessions, gaps, quarantine and book audits.

CREATE TABLE session (
    session_id    bigint      PRIMARY KEY CHECK (session_id > 0),
    venue         text        NOT NULL,
    recorder      text        NOT NULL,
    link          integer     NOT NULL CHECK (link >= 0),
    url           text        NOT NULL,
    started_at    timestamptz NOT NULL,
    ended_at      timestamptz,
    end_reason    text,
    last_frame_at timestamptz,
    frames        bigint      NOT NULL CHECK (frames >= 0),
    bytes         bigint      NOT NULL CHECK (bytes >= 0),
    trades        bigint      NOT NULL CHECK (trades >= 0),
    quotes        bigint      NOT NULL CHECK (quotes >= 0),
    books         bigint      NOT NULL CHECK (books >= 0),
    quarantined   bigint      NOT NULL CHECK (quarantined >= 0),
    revision      integer     NOT NULL CHECK (revision > 0)
);
CREATE INDEX session_venue_started_at ON session (venue, started_at);
COMMENT ON TABLE  session               IS 'Connections to venues, one row per connection. Written by bin/writer; a higher revision replaces a lower.';
COMMENT ON COLUMN session.session_id    IS 'Random positive 63-bit number drawn at connect.';
COMMENT ON COLUMN session.venue         IS 'Venue of the connection.';
COMMENT ON COLUMN session.recorder      IS 'Name of the recorder process.';
COMMENT ON COLUMN session.link          IS 'Number of the connection within its recorder, from 0.';
COMMENT ON COLUMN session.url           IS 'Address of the connection.';
COMMENT ON COLUMN session.started_at    IS 'When the handshake completed, UTC.';
COMMENT ON COLUMN session.ended_at      IS 'When the connection ended, UTC; NULL while it is open, or when its recorder was killed.';
COMMENT ON COLUMN session.end_reason    IS 'Why the connection ended; NULL while it is open.';
COMMENT ON COLUMN session.last_frame_at IS 'Receipt time of its latest frame, UTC; NULL before the first frame.';
COMMENT ON COLUMN session.frames        IS 'Frames received so far.';
COMMENT ON COLUMN session.bytes         IS 'Payload bytes received so far.';
COMMENT ON COLUMN session.trades        IS 'Trade rows decoded from these frames so far.';
COMMENT ON COLUMN session.quotes        IS 'Quote rows decoded from these frames so far.';
COMMENT ON COLUMN session.books         IS 'Book rows decoded from these frames so far.';
COMMENT ON COLUMN session.quarantined   IS 'Frames put into quarantine so far.';
COMMENT ON COLUMN session.revision      IS '1, 2, ...; the stored row is the highest revision seen.';
GRANT SELECT, INSERT, UPDATE ON session TO tapedeck_writer;

CREATE TABLE gap (
    gap_id         bigint      PRIMARY KEY,
    instrument_id  bigint      NOT NULL,
    channel        text        NOT NULL CHECK (channel IN ('trade', 'quote', 'book')),
    session_id     bigint,
    cause          text        NOT NULL CHECK (cause <> ''),
    state          text        NOT NULL CHECK (state IN ('open', 'healed', 'unhealable')),
    reason         text,
    last_id        bigint,
    first_id       bigint,
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    last_ts_event  timestamptz,
    first_ts_event timestamptz,
    revision       integer     NOT NULL CHECK (revision > 0)
);
CREATE INDEX gap_instrument_channel_started_at ON gap (instrument_id, channel, started_at);
CREATE INDEX gap_state_open ON gap (instrument_id, channel) WHERE state = 'open';
COMMENT ON TABLE  gap                IS 'Ranges of a stream that may be incomplete. Written by bin/writer; a higher revision replaces a lower.';
COMMENT ON COLUMN gap.gap_id         IS 'Random 64-bit number drawn when the gap was detected.';
COMMENT ON COLUMN gap.instrument_id  IS 'Instrument of the stream.';
COMMENT ON COLUMN gap.channel        IS 'trade, quote or book.';
COMMENT ON COLUMN gap.session_id     IS 'Session in which the gap was detected; NULL when there was none.';
COMMENT ON COLUMN gap.cause          IS 'Why data may be missing: disconnect, restart, sequence, checksum, refused, ... (GapCause in recorder/events.py).';
COMMENT ON COLUMN gap.state          IS 'open: may be incomplete; healed: complete now; unhealable: cannot be completed.';
COMMENT ON COLUMN gap.reason         IS 'Why the gap is healed or unhealable, in words; NULL while open.';
COMMENT ON COLUMN gap.last_id        IS 'Last trade id or sequence number before the gap; NULL when unknown.';
COMMENT ON COLUMN gap.first_id       IS 'First trade id or sequence number after the gap; NULL when unknown or while the gap lasts.';
COMMENT ON COLUMN gap.started_at     IS 'Receipt time of the last good frame before the gap, UTC.';
COMMENT ON COLUMN gap.ended_at       IS 'Receipt time of the first good frame after the gap, UTC; NULL while the gap lasts.';
COMMENT ON COLUMN gap.last_ts_event  IS 'Start of the gap by the venue''s clock, UTC; NULL when unknown.';
COMMENT ON COLUMN gap.first_ts_event IS 'End of the gap by the venue''s clock, UTC; NULL when unknown.';
COMMENT ON COLUMN gap.revision       IS '1, 2, ...; the stored row is the highest revision seen.';
GRANT SELECT, INSERT, UPDATE ON gap TO tapedeck_writer;
GRANT SELECT, UPDATE ON gap TO tapedeck_replay;

CREATE TABLE quarantine (
    journal_id    text        NOT NULL,
    segment       integer     NOT NULL,
    position      bigint      NOT NULL,
    item          integer     NOT NULL,
    scope         text        NOT NULL CHECK (scope IN ('frame', 'row', 'block')),
    table_name    text,
    instrument_id bigint,
    session_id    bigint,
    ts_recv       timestamptz NOT NULL,
    reason        text        NOT NULL,
    sample        bytea       CHECK (octet_length(sample) <= 1024),
    sha256        bytea       CHECK (octet_length(sha256) = 32),
    PRIMARY KEY (journal_id, segment, position, scope, item)
);
CREATE INDEX quarantine_ts_recv ON quarantine (ts_recv);
COMMENT ON TABLE  quarantine               IS 'Frames, rows and blocks that could not be decoded or stored, and where their bytes are. Written by bin/writer; tapedeck replay --apply removes what can be decoded now.';
COMMENT ON COLUMN quarantine.journal_id    IS 'Journal that holds the bytes.';
COMMENT ON COLUMN quarantine.segment       IS 'Number of the segment file.';
COMMENT ON COLUMN quarantine.position      IS 'Offset of the block in the segment, bytes.';
COMMENT ON COLUMN quarantine.item          IS 'Number of the frame or row within the block, from 0; 0 when scope is block.';
COMMENT ON COLUMN quarantine.scope         IS 'frame: a frame that could not be decoded; row: a row that Postgres refused; block: a damaged part of the journal.';
COMMENT ON COLUMN quarantine.table_name    IS 'Table of the refused row; NULL for frames and blocks.';
COMMENT ON COLUMN quarantine.instrument_id IS 'Instrument, where known; else NULL.';
COMMENT ON COLUMN quarantine.session_id    IS 'Session, where known; else NULL.';
COMMENT ON COLUMN quarantine.ts_recv       IS 'Receipt time of a frame, UTC; for rows and blocks the time at which the writer read them.';
COMMENT ON COLUMN quarantine.reason        IS 'Why it could not be decoded or stored, in words.';
COMMENT ON COLUMN quarantine.sample        IS 'Its first 1024 bytes; NULL where nothing could be read.';
COMMENT ON COLUMN quarantine.sha256        IS 'SHA-256 of all its bytes; NULL where nothing could be read.';
GRANT SELECT, INSERT ON quarantine TO tapedeck_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantine TO tapedeck_replay;

CREATE TABLE book_audit (
    session_id       bigint      NOT NULL,
    instrument_id    bigint      NOT NULL,
    started_at       timestamptz NOT NULL,
    ended_at         timestamptz NOT NULL,
    checksums_passed bigint      NOT NULL CHECK (checksums_passed >= 0),
    checksums_failed bigint      NOT NULL CHECK (checksums_failed >= 0),
    crossed          bigint      NOT NULL CHECK (crossed >= 0),
    resyncs          bigint      NOT NULL CHECK (resyncs >= 0),
    PRIMARY KEY (session_id, instrument_id, started_at)
);
COMMENT ON TABLE  book_audit                  IS 'Results of the checks of a book over a span of a session. Written by bin/writer, never updated.';
COMMENT ON COLUMN book_audit.session_id       IS 'Session that received the book (session).';
COMMENT ON COLUMN book_audit.instrument_id    IS 'Instrument whose book it is (instrument).';
COMMENT ON COLUMN book_audit.started_at       IS 'Receipt time of the first message checked, UTC.';
COMMENT ON COLUMN book_audit.ended_at         IS 'Receipt time of the last message checked, UTC.';
COMMENT ON COLUMN book_audit.checksums_passed IS 'Number of the venue''s checksums that matched our book.';
COMMENT ON COLUMN book_audit.checksums_failed IS 'Number of the venue''s checksums that did not match our book.';
COMMENT ON COLUMN book_audit.crossed          IS 'Number of messages after which the best bid was at or above the best ask.';
COMMENT ON COLUMN book_audit.resyncs          IS 'Number of snapshots requested.';
GRANT SELECT, INSERT ON book_audit TO tapedeck_writer;

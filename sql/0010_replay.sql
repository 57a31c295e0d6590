-- 0010_replay.sql: what replays of journalled frames corrected. Only `tapedeck replay --apply` changes stored rows.

CREATE TABLE replay_ledger (
    replay_id  bigint      NOT NULL,
    journal_id text        NOT NULL REFERENCES journal (journal_id),
    segment    integer     NOT NULL,
    table_name text        NOT NULL,
    program    text        NOT NULL,
    removed    bigint      NOT NULL CHECK (removed >= 0),
    inserted   bigint      NOT NULL CHECK (inserted >= 0),
    updated    bigint      NOT NULL CHECK (updated >= 0),
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (replay_id, journal_id, segment, table_name)
);
COMMENT ON TABLE  replay_ledger            IS 'Number of rows that replays changed, by run, journal segment and table. load_ledger is corrected in the same transaction; a replay that changes nothing writes nothing here.';
COMMENT ON COLUMN replay_ledger.replay_id  IS 'Random positive 63-bit number of one run of tapedeck replay --apply.';
COMMENT ON COLUMN replay_ledger.journal_id IS 'Journal whose frames were decoded again (journal).';
COMMENT ON COLUMN replay_ledger.segment    IS 'Number of the segment file of the frames.';
COMMENT ON COLUMN replay_ledger.table_name IS 'Table that was changed.';
COMMENT ON COLUMN replay_ledger.program    IS 'Version of tapedeck that decoded the frames.';
COMMENT ON COLUMN replay_ledger.removed    IS 'Number of rows deleted.';
COMMENT ON COLUMN replay_ledger.inserted   IS 'Number of rows inserted; a replaced quote or book row counts as one removed and one inserted.';
COMMENT ON COLUMN replay_ledger.updated    IS 'Number of rows whose values changed under the same key.';
COMMENT ON COLUMN replay_ledger.applied_at IS 'When the row was last changed, UTC.';
GRANT SELECT, INSERT, UPDATE ON replay_ledger TO tapedeck_replay;

CREATE TABLE replayed_block (
    journal_id  text        NOT NULL REFERENCES journal (journal_id),
    segment     integer     NOT NULL,
    position    bigint      NOT NULL,
    replayed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (journal_id, segment, position)
);
COMMENT ON TABLE  replayed_block             IS 'Journal blocks whose stored rows come from a replay and differ from the rows in the block.';
COMMENT ON COLUMN replayed_block.journal_id  IS 'Journal of the block (journal).';
COMMENT ON COLUMN replayed_block.segment     IS 'Number of its segment file.';
COMMENT ON COLUMN replayed_block.position    IS 'Its offset in the segment, bytes.';
COMMENT ON COLUMN replayed_block.replayed_at IS 'When it was last replayed, UTC.';
GRANT SELECT, INSERT, DELETE ON replayed_block TO tapedeck_replay;

CREATE TABLE replayed_trade (
    journal_id    text        NOT NULL,
    segment       integer     NOT NULL,
    position      bigint      NOT NULL,
    instrument_id bigint      NOT NULL,
    trade_id      bigint      NOT NULL,
    ts_event      timestamptz NOT NULL,
    ts_recv       timestamptz NOT NULL,
    PRIMARY KEY (journal_id, segment, position, instrument_id, trade_id, ts_event),
    FOREIGN KEY (journal_id, segment, position) REFERENCES replayed_block ON DELETE CASCADE
);
COMMENT ON TABLE  replayed_trade               IS 'Trades that a replay stored under keys that the block does not contain, so that a later replay can remove them again.';
COMMENT ON COLUMN replayed_trade.journal_id    IS 'Journal of the block (journal).';
COMMENT ON COLUMN replayed_trade.segment       IS 'Number of its segment file.';
COMMENT ON COLUMN replayed_trade.position      IS 'Its offset in the segment, bytes.';
COMMENT ON COLUMN replayed_trade.instrument_id IS 'Key of the trade: the instrument (instrument).';
COMMENT ON COLUMN replayed_trade.trade_id      IS 'Key of the trade: its id.';
COMMENT ON COLUMN replayed_trade.ts_event      IS 'Key of the trade: the venue''s clock, UTC, microseconds truncated.';
COMMENT ON COLUMN replayed_trade.ts_recv       IS 'Receipt time of its frame, UTC, microseconds truncated.';
GRANT SELECT, INSERT, DELETE ON replayed_trade TO tapedeck_replay;

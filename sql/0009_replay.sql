-- 0009_replay.sql: what a replay of journalled frames corrected. Only `tapedeck replay --apply` changes stored rows.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tapedeck_replay') THEN
        BEGIN
            CREATE ROLE tapedeck_replay NOLOGIN;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
            WHEN insufficient_privilege THEN
                RAISE insufficient_privilege USING MESSAGE =
                    'role tapedeck_replay is missing and this login may not create it; '
                    'have a superuser run: CREATE ROLE tapedeck_replay NOLOGIN';
        END;
    END IF;
END
$$;

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
COMMENT ON TABLE  replay_ledger            IS 'Rows that replays changed, by run, journal segment and table. load_ledger is corrected in the same transaction; a replay that changes nothing leaves nothing.';
COMMENT ON COLUMN replay_ledger.replay_id  IS 'Random positive 63-bit number of one run of tapedeck replay --apply.';
COMMENT ON COLUMN replay_ledger.journal_id IS 'Journal whose frames were decoded again.';
COMMENT ON COLUMN replay_ledger.segment    IS 'Segment file of the frames.';
COMMENT ON COLUMN replay_ledger.table_name IS 'Table that was changed.';
COMMENT ON COLUMN replay_ledger.program    IS 'Version of tapedeck whose adapter decoded.';
COMMENT ON COLUMN replay_ledger.removed    IS 'Rows deleted.';
COMMENT ON COLUMN replay_ledger.inserted   IS 'Rows inserted; a replaced quote or book row is one removed and one inserted.';
COMMENT ON COLUMN replay_ledger.updated    IS 'Rows whose values changed under the same key.';
COMMENT ON COLUMN replay_ledger.applied_at IS 'When it was changed last, UTC.';

CREATE TABLE replayed_block (
    journal_id  text        NOT NULL REFERENCES journal (journal_id),
    segment     integer     NOT NULL,
    position    bigint      NOT NULL,
    replayed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (journal_id, segment, position)
);
COMMENT ON TABLE  replayed_block             IS 'Journal blocks of which the stored rows are those of a replay and not those in the block.';
COMMENT ON COLUMN replayed_block.journal_id  IS 'Journal of the block.';
COMMENT ON COLUMN replayed_block.segment     IS 'Its segment file.';
COMMENT ON COLUMN replayed_block.position    IS 'Its offset in the segment, bytes.';
COMMENT ON COLUMN replayed_block.replayed_at IS 'When it was replayed last, UTC.';

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
COMMENT ON TABLE  replayed_trade               IS 'Trades a replay stored under keys the block does not have, so that a later replay can take them back.';
COMMENT ON COLUMN replayed_trade.journal_id    IS 'Journal of the block.';
COMMENT ON COLUMN replayed_trade.segment       IS 'Its segment file.';
COMMENT ON COLUMN replayed_trade.position      IS 'Its offset in the segment, bytes.';
COMMENT ON COLUMN replayed_trade.instrument_id IS 'Key of the trade: what was traded.';
COMMENT ON COLUMN replayed_trade.trade_id      IS 'Key of the trade: its id.';
COMMENT ON COLUMN replayed_trade.ts_event      IS 'Key of the trade: the venue''s clock, UTC.';
COMMENT ON COLUMN replayed_trade.ts_recv       IS 'Receipt time of its frame, UTC.';

COMMENT ON TABLE trade      IS 'Trades as venues printed them. Written by bin/writer; changed by tapedeck replay --apply only.';
COMMENT ON TABLE quote      IS 'Best bid and ask as venues published them. Written by bin/writer; changed by tapedeck replay --apply only.';
COMMENT ON TABLE book       IS 'Book messages as venues sent them. Written by bin/writer; changed by tapedeck replay --apply only.';
COMMENT ON TABLE quarantine IS 'What could not be understood or stored, and where its bytes are. Written by bin/writer; tapedeck replay --apply takes out what is understood now.';

GRANT USAGE ON SCHEMA public TO tapedeck_replay;
GRANT SELECT ON schema_migration, journal TO tapedeck_replay;
GRANT SELECT, INSERT, UPDATE, DELETE ON trade, quote, book, quarantine TO tapedeck_replay;
GRANT SELECT, INSERT ON instrument TO tapedeck_replay;
GRANT SELECT, UPDATE ON gap TO tapedeck_replay;
GRANT SELECT, INSERT, UPDATE ON load_ledger, replay_ledger TO tapedeck_replay;
GRANT SELECT, INSERT, DELETE ON replayed_block, replayed_trade TO tapedeck_replay;
GRANT EXECUTE ON FUNCTION ensure_partition(text, date) TO tapedeck_replay;

-- 0009_ledger.sql: how far each journal is loaded, and the count of every row offered.

CREATE TABLE journal (
    journal_id text        PRIMARY KEY CHECK (journal_id <> ''),
    recorder   text        NOT NULL,
    segment    integer     NOT NULL CHECK (segment >= 0),
    position   bigint      NOT NULL CHECK (position >= 0),
    block_seq  bigint      NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  journal            IS 'How far each journal is loaded; updated in the transaction that stores its rows.';
COMMENT ON COLUMN journal.journal_id IS 'Identity of the journal directory, 32 hexadecimal digits.';
COMMENT ON COLUMN journal.recorder   IS 'Name of the recorder that writes it.';
COMMENT ON COLUMN journal.segment    IS 'Number of the segment file with the next block.';
COMMENT ON COLUMN journal.position   IS 'Offset of the next block in that segment, bytes.';
COMMENT ON COLUMN journal.block_seq  IS 'Sequence number of the last block loaded.';
COMMENT ON COLUMN journal.updated_at IS 'When the row was last changed, UTC.';
GRANT SELECT, INSERT, UPDATE ON journal TO tapedeck_writer;
GRANT SELECT ON journal TO tapedeck_replay;

CREATE TABLE load_ledger (
    journal_id  text        NOT NULL REFERENCES journal (journal_id),
    segment     integer     NOT NULL,
    table_name  text        NOT NULL,
    blocks      bigint      NOT NULL CHECK (blocks >= 0),
    offered     bigint      NOT NULL CHECK (offered >= 0),
    inserted    bigint      NOT NULL CHECK (inserted >= 0),
    duplicate   bigint      NOT NULL CHECK (duplicate >= 0),
    quarantined bigint      NOT NULL CHECK (quarantined >= 0),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (journal_id, segment, table_name),
    CONSTRAINT load_ledger_balance CHECK (offered = inserted + duplicate + quarantined)
);
COMMENT ON TABLE  load_ledger             IS 'Number of rows offered, inserted, duplicate and quarantined, by journal segment and table; counted in the transaction that stores the rows.';
COMMENT ON COLUMN load_ledger.journal_id  IS 'Journal of the rows (journal).';
COMMENT ON COLUMN load_ledger.segment     IS 'Number of the segment file of the rows.';
COMMENT ON COLUMN load_ledger.table_name  IS 'Table the rows belong to.';
COMMENT ON COLUMN load_ledger.blocks      IS 'Number of journal blocks with rows of the table.';
COMMENT ON COLUMN load_ledger.offered     IS 'Number of rows in those blocks.';
COMMENT ON COLUMN load_ledger.inserted    IS 'Number of rows that were new and were stored.';
COMMENT ON COLUMN load_ledger.duplicate   IS 'Number of rows whose key was already stored (gap, session: which updated or equalled a stored revision).';
COMMENT ON COLUMN load_ledger.quarantined IS 'Number of rows that Postgres refused; each is in quarantine with scope row.';
COMMENT ON COLUMN load_ledger.updated_at  IS 'When the row was last changed, UTC.';
GRANT SELECT, INSERT, UPDATE ON load_ledger TO tapedeck_writer, tapedeck_replay;

-- The arrays are parallel, with one element for each segment and table of the batch.
CREATE FUNCTION advance_journal(
    in_journal_id text, in_recorder text,
    from_segment integer, from_position bigint, to_segment integer, to_position bigint, in_block_seq bigint,
    segments integer[], tables text[], in_blocks bigint[],
    in_offered bigint[], in_inserted bigint[], in_duplicate bigint[], in_quarantined bigint[]
) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF from_segment IS NULL THEN
        INSERT INTO journal (journal_id, recorder, segment, position, block_seq)
        VALUES (in_journal_id, in_recorder, to_segment, to_position, coalesce(in_block_seq, 0))
        ON CONFLICT (journal_id) DO NOTHING;
    ELSE
        UPDATE journal
           SET recorder = in_recorder, segment = to_segment, position = to_position,
               block_seq = coalesce(in_block_seq, block_seq), updated_at = now()
         WHERE journal_id = in_journal_id AND segment = from_segment AND position = from_position;
    END IF;
    IF NOT FOUND THEN
        RAISE SQLSTATE 'TD001' USING MESSAGE = format(
            'journal %s is not at %s', in_journal_id, coalesce(from_segment || ':' || from_position, 'its beginning'));
    END IF;
    INSERT INTO load_ledger AS l (journal_id, segment, table_name, blocks, offered, inserted, duplicate, quarantined)
    SELECT in_journal_id, t.*
      FROM unnest(segments, tables, in_blocks, in_offered, in_inserted, in_duplicate, in_quarantined) AS t
        ON CONFLICT (journal_id, segment, table_name) DO UPDATE
       SET blocks = l.blocks + excluded.blocks, offered = l.offered + excluded.offered,
           inserted = l.inserted + excluded.inserted, duplicate = l.duplicate + excluded.duplicate,
           quarantined = l.quarantined + excluded.quarantined, updated_at = now();
END
$$;
COMMENT ON FUNCTION advance_journal(text, text, integer, bigint, integer, bigint, bigint, integer[], text[], bigint[], bigint[], bigint[], bigint[], bigint[]) IS
    'Moves a journal from an expected position (NULL before its first batch) and counts the batch; raises SQLSTATE TD001 when the journal is not at that position.';
GRANT EXECUTE ON FUNCTION advance_journal(text, text, integer, bigint, integer, bigint, bigint, integer[], text[], bigint[], bigint[], bigint[], bigint[], bigint[]) TO tapedeck_writer;

-- 0013_lineage.sql: which block of which incarnation of a journal was loaded last, and where the succession broke.

ALTER TABLE journal
    ADD COLUMN incarnation bigint NOT NULL DEFAULT 0,
    ADD COLUMN written_at  timestamptz,
    ADD COLUMN state       bytea;
COMMENT ON COLUMN journal.incarnation IS 'Incarnation (one start of its recorder) of the last block loaded; random, 63 bits; 0 before the first.';
COMMENT ON COLUMN journal.written_at  IS 'When the last block loaded was written, UTC.';
COMMENT ON COLUMN journal.state       IS 'State of its streams at most some seconds before the last block loaded, msgpack (recorder/journal/lineage.py).';

CREATE TABLE journal_incarnation (
    journal_id  text   NOT NULL REFERENCES journal (journal_id),
    incarnation bigint NOT NULL CHECK (incarnation > 0),
    block_seq   bigint NOT NULL,
    PRIMARY KEY (journal_id, incarnation)
);
COMMENT ON TABLE  journal_incarnation             IS 'Earlier incarnations of each journal; the latest is in journal.';
COMMENT ON COLUMN journal_incarnation.journal_id  IS 'Journal (journal).';
COMMENT ON COLUMN journal_incarnation.incarnation IS 'Incarnation: one start of the recorder.';
COMMENT ON COLUMN journal_incarnation.block_seq   IS 'Sequence number of the last of its blocks that was loaded.';
GRANT SELECT, INSERT, UPDATE ON journal_incarnation TO tapedeck_writer;
GRANT SELECT ON journal_incarnation TO tapedeck_replay;

CREATE TABLE journal_break (
    journal_id  text        NOT NULL,
    incarnation bigint      NOT NULL,
    block_seq   bigint      NOT NULL,
    recorder    text        NOT NULL,
    reason      text        NOT NULL,
    started_at  timestamptz,
    ended_at    timestamptz NOT NULL,
    gaps        integer     NOT NULL CHECK (gaps >= 0),
    found_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (journal_id, incarnation, block_seq)
);
COMMENT ON TABLE  journal_break             IS 'Places where the next block of a journal was not the successor of the last block loaded. Each is declared in gap and quarantine.';
COMMENT ON COLUMN journal_break.journal_id  IS 'Journal (journal).';
COMMENT ON COLUMN journal_break.incarnation IS 'Incarnation of the first block behind the break.';
COMMENT ON COLUMN journal_break.block_seq   IS 'Sequence number of that block.';
COMMENT ON COLUMN journal_break.recorder    IS 'Name of the recorder.';
COMMENT ON COLUMN journal_break.reason      IS 'What is missing, in words.';
COMMENT ON COLUMN journal_break.started_at  IS 'When the last block before the break was written, UTC; NULL where none was loaded.';
COMMENT ON COLUMN journal_break.ended_at    IS 'When the first block behind the break was written, UTC.';
COMMENT ON COLUMN journal_break.gaps        IS 'Number of gaps that declare it.';
COMMENT ON COLUMN journal_break.found_at    IS 'When the writer met it, UTC.';
GRANT SELECT, INSERT ON journal_break TO tapedeck_writer;

COMMENT ON COLUMN quarantine.item IS 'Number of the frame or row within the block, from 0; where scope is block, 0 for damaged bytes, else the incarnation modulo 2^31.';

DROP FUNCTION advance_journal(text, text, integer, bigint, integer, bigint, bigint, integer[], text[], bigint[], bigint[], bigint[], bigint[], bigint[]);

-- The arrays are parallel, with one element for each segment and table of the batch.
CREATE FUNCTION advance_journal(
    in_journal_id text, in_recorder text,
    from_segment integer, from_position bigint, to_segment integer, to_position bigint, in_block_seq bigint,
    in_incarnation bigint, in_written_at timestamptz, in_state bytea,
    segments integer[], tables text[], in_blocks bigint[],
    in_offered bigint[], in_inserted bigint[], in_duplicate bigint[], in_quarantined bigint[]
) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF from_segment IS NULL THEN
        INSERT INTO journal (journal_id, recorder, segment, position, block_seq, incarnation, written_at, state)
        VALUES (in_journal_id, in_recorder, to_segment, to_position, coalesce(in_block_seq, 0), in_incarnation,
                in_written_at, in_state)
        ON CONFLICT (journal_id) DO NOTHING;
    ELSE
        INSERT INTO journal_incarnation AS i (journal_id, incarnation, block_seq)
        SELECT j.journal_id, j.incarnation, j.block_seq
          FROM journal j
         WHERE j.journal_id = in_journal_id AND j.incarnation NOT IN (0, in_incarnation)
            ON CONFLICT (journal_id, incarnation) DO UPDATE SET block_seq = excluded.block_seq;
        UPDATE journal
           SET recorder = in_recorder, segment = to_segment, position = to_position,
               block_seq = coalesce(in_block_seq, block_seq), incarnation = in_incarnation,
               written_at = coalesce(in_written_at, written_at), state = coalesce(in_state, state), updated_at = now()
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
COMMENT ON FUNCTION advance_journal(text, text, integer, bigint, integer, bigint, bigint, bigint, timestamptz, bytea, integer[], text[], bigint[], bigint[], bigint[], bigint[], bigint[]) IS
    'Moves a journal from an expected position (NULL before its first batch) to the end of a batch of one incarnation, and counts the batch; raises SQLSTATE TD001 when the journal is not at that position.';
GRANT EXECUTE ON FUNCTION advance_journal(text, text, integer, bigint, integer, bigint, bigint, bigint, timestamptz, bytea, integer[], text[], bigint[], bigint[], bigint[], bigint[], bigint[]) TO tapedeck_writer;

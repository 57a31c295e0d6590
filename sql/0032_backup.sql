-- 0032_backup.sql: base backups of this server, and the proofs that they can be restored.

CREATE TABLE backup (
    name       text        PRIMARY KEY,
    began_at   timestamptz NOT NULL,
    ended_at   timestamptz NOT NULL,
    bytes      bigint      NOT NULL CHECK (bytes > 0),
    removed_at timestamptz
);
COMMENT ON TABLE  backup            IS 'Verified base backups of this server. Written by bin/keeper and tapedeck backup.';
COMMENT ON COLUMN backup.name       IS 'Name of its folder in backup.dir.';
COMMENT ON COLUMN backup.began_at   IS 'When it was begun, UTC: every row committed until then is in it.';
COMMENT ON COLUMN backup.ended_at   IS 'When it was complete and verified, UTC.';
COMMENT ON COLUMN backup.bytes      IS 'Its size, bytes.';
COMMENT ON COLUMN backup.removed_at IS 'When it was removed, UTC; NULL while it is kept.';

CREATE TABLE restore_proof (
    began_at   timestamptz NOT NULL,
    name       text        NOT NULL,
    ended_at   timestamptz NOT NULL,
    verdict    text        NOT NULL CHECK (verdict IN ('proved', 'damaged', 'differs', 'failed')),
    detail     text        NOT NULL,
    since      timestamptz,
    until      timestamptz,
    row_counts jsonb       NOT NULL,
    PRIMARY KEY (began_at, name)
);
COMMENT ON TABLE  restore_proof            IS 'Backups that were restored on a server of the moment and compared with the tables. Written by bin/keeper.';
COMMENT ON COLUMN restore_proof.began_at   IS 'When the proof began, UTC.';
COMMENT ON COLUMN restore_proof.name       IS 'The backup.';
COMMENT ON COLUMN restore_proof.ended_at   IS 'When it ended, UTC.';
COMMENT ON COLUMN restore_proof.verdict    IS 'proved: all rows of the range are equal; damaged: a file of the backup is not as it was written; differs: the restored rows are not those of the tables; failed: it could not be restored.';
COMMENT ON COLUMN restore_proof.detail     IS 'The reason in words, or what was compared.';
COMMENT ON COLUMN restore_proof.since      IS 'Begin of the range that was compared, UTC; NULL where nothing was.';
COMMENT ON COLUMN restore_proof.until      IS 'End of that range, exclusive, UTC: a whole day once one is complete.';
COMMENT ON COLUMN restore_proof.row_counts IS 'Rows of the range in the backup, by table.';
GRANT SELECT ON backup, restore_proof TO tapedeck_watchdog;

-- 0024_restart.sql: restarts of stuck programs, marks of alerts, and the right to read trades for their figures.

ALTER TABLE alert
    ADD COLUMN action            text,
    ADD COLUMN acknowledged_at   timestamptz,
    ADD COLUMN acknowledged_note text,
    ADD COLUMN silenced_until    timestamptz;
COMMENT ON COLUMN alert.action            IS 'What the watchdog did about it, for a person; NULL where it did nothing.';
COMMENT ON COLUMN alert.acknowledged_at   IS 'When a person acknowledged it, by our clock, UTC; NULL where none did.';
COMMENT ON COLUMN alert.acknowledged_note IS 'What that person wrote; NULL without a note.';
COMMENT ON COLUMN alert.silenced_until    IS 'End of the last silence that covered it while it fired, by our clock, UTC; NULL without one.';

CREATE TABLE program_restart (
    restart_id bigint           PRIMARY KEY CHECK (restart_id > 0),
    program    text             NOT NULL CHECK (program <> ''),
    pid        integer          NOT NULL,
    still_s    double precision NOT NULL,
    started_at timestamptz      NOT NULL,
    ended_at   timestamptz,
    outcome    text             NOT NULL CHECK (outcome IN ('running', 'restarted', 'failed', 'unknown')),
    killed     boolean          NOT NULL,
    reason     text,
    revision   integer          NOT NULL CHECK (revision > 0)
);
CREATE INDEX program_restart_started_at ON program_restart (started_at);
COMMENT ON TABLE  program_restart            IS 'Restarts of stuck programs, one row each. Written by bin/watchdog, which keeps them on disk while Postgres is away.';
COMMENT ON COLUMN program_restart.restart_id IS 'Random id.';
COMMENT ON COLUMN program_restart.program    IS 'Program that was stuck, as supervisord names it.';
COMMENT ON COLUMN program_restart.pid        IS 'Process id of the process that was stuck.';
COMMENT ON COLUMN program_restart.still_s    IS 'How long nothing of it had moved, seconds.';
COMMENT ON COLUMN program_restart.started_at IS 'When it was asked to end, by our clock, UTC.';
COMMENT ON COLUMN program_restart.ended_at   IS 'When the outcome was known, by our clock, UTC; NULL before.';
COMMENT ON COLUMN program_restart.outcome    IS 'running: not known yet; restarted: a new process runs; failed; unknown: the watchdog ended meanwhile.';
COMMENT ON COLUMN program_restart.killed     IS 'Whether it was killed, because it did not end by itself.';
COMMENT ON COLUMN program_restart.reason     IS 'Why the outcome is failed or unknown; NULL otherwise.';
COMMENT ON COLUMN program_restart.revision   IS 'Number of the change that was stored last, from 1.';

GRANT SELECT, INSERT, UPDATE ON program_restart TO tapedeck_watchdog;
GRANT SELECT ON trade TO tapedeck_watchdog;

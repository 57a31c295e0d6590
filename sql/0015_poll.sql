-- 0015_poll.sql: what the poller has promised, what became of every slot, and daily sums of that.

CREATE TABLE poll_schedule (
    job        text        NOT NULL CHECK (job <> ''),
    since      timestamptz NOT NULL,
    period_s   bigint      NOT NULL CHECK (period_s >= 0),
    offset_s   bigint      NOT NULL CHECK (offset_s >= 0),
    session_id bigint      NOT NULL,
    continues  boolean     NOT NULL,
    PRIMARY KEY (job, since)
);
COMMENT ON TABLE  poll_schedule            IS 'When the jobs of the poller are to run: one row for each change of a job''s schedule. Written by bin/writer, never updated.';
COMMENT ON COLUMN poll_schedule.job        IS 'Name of the job.';
COMMENT ON COLUMN poll_schedule.since      IS 'Slots after this instant are of this schedule, until the next row of the job, UTC.';
COMMENT ON COLUMN poll_schedule.period_s   IS 'Seconds between two slots; 0: the job is off.';
COMMENT ON COLUMN poll_schedule.offset_s   IS 'Slots are the whole multiples of the period since 1970 plus this many seconds, UTC.';
COMMENT ON COLUMN poll_schedule.session_id IS 'Session of the poller that began with this schedule (session).';
COMMENT ON COLUMN poll_schedule.continues  IS 'Whether every slot up to this row is accounted for; false at the first start, and where the journal of the poller was lost.';
GRANT SELECT, INSERT ON poll_schedule TO tapedeck_writer;

CREATE TABLE poll_run (
    run_id      bigint           PRIMARY KEY,
    job         text             NOT NULL CHECK (job <> ''),
    slot        timestamptz      NOT NULL,
    slots       bigint           NOT NULL CHECK (slots >= 0),
    state       text             NOT NULL CHECK (state IN ('done', 'late', 'missed', 'failed', 'skipped')),
    reason      text             NOT NULL,
    started_at  timestamptz,
    duration_s  double precision CHECK (duration_s >= 0),
    rows        bigint           NOT NULL CHECK (rows >= 0),
    bytes       bigint           NOT NULL CHECK (bytes >= 0),
    answers     bigint           NOT NULL CHECK (answers >= 0),
    attempts    bigint           NOT NULL CHECK (attempts >= 0),
    odd         bigint           NOT NULL CHECK (odd >= 0),
    odd_samples text[]           NOT NULL,
    request_ids text[]           NOT NULL,
    traceback   text
);
-- A slot is accounted for once: Postgres refuses a second row of it, and the row goes into quarantine.
CREATE UNIQUE INDEX poll_run_job_slot ON poll_run (job, slot) WHERE slots > 0;
CREATE INDEX poll_run_slot ON poll_run (slot);
COMMENT ON TABLE  poll_run             IS 'What became of every slot of the poller''s jobs. Written by bin/writer; fold_poll_runs moves old rows into poll_day.';
COMMENT ON COLUMN poll_run.run_id      IS 'Random positive 63-bit number.';
COMMENT ON COLUMN poll_run.job         IS 'Name of the job.';
COMMENT ON COLUMN poll_run.slot        IS 'The slot, UTC; the first of them where slots is above 1. Where slots is 0: the slot before the round.';
COMMENT ON COLUMN poll_run.slots       IS 'How many consecutive slots the row accounts for; 0 for a round apart from the schedule.';
COMMENT ON COLUMN poll_run.state       IS 'done: polled in time; late: polled late; missed: not polled; failed: polled without success; skipped: nothing was to be polled, or the service is known to fail.';
COMMENT ON COLUMN poll_run.reason      IS 'Why it was missed (asleep, busy, stopped, clock), failed or skipped; why a round apart from the schedule was run; else empty.';
COMMENT ON COLUMN poll_run.started_at  IS 'When the round began, UTC; NULL where none was run.';
COMMENT ON COLUMN poll_run.duration_s  IS 'How long the round took, seconds; NULL where none was run, or where it was killed.';
COMMENT ON COLUMN poll_run.rows        IS 'Number of rows that the round gave to the journal.';
COMMENT ON COLUMN poll_run.bytes       IS 'Size of its answers, decompressed, bytes.';
COMMENT ON COLUMN poll_run.answers     IS 'Number of answers received.';
COMMENT ON COLUMN poll_run.attempts    IS 'Number of requests sent, repetitions included.';
COMMENT ON COLUMN poll_run.odd         IS 'Number of odd rows in the answers, which were left out.';
COMMENT ON COLUMN poll_run.odd_samples IS 'The first of the odd rows with the reason, shortened.';
COMMENT ON COLUMN poll_run.request_ids IS 'The first request ids, as the log has them.';
COMMENT ON COLUMN poll_run.traceback   IS 'Where an unexpected error came from, shortened; else NULL.';
GRANT SELECT, INSERT ON poll_run TO tapedeck_writer;

CREATE TABLE poll_day (
    day        date             NOT NULL,
    job        text             NOT NULL,
    state      text             NOT NULL,
    reason     text             NOT NULL,
    rounds     bigint           NOT NULL CHECK (rounds >= 0),
    slots      bigint           NOT NULL CHECK (slots >= 0),
    rows       bigint           NOT NULL CHECK (rows >= 0),
    bytes      bigint           NOT NULL CHECK (bytes >= 0),
    answers    bigint           NOT NULL CHECK (answers >= 0),
    attempts   bigint           NOT NULL CHECK (attempts >= 0),
    odd        bigint           NOT NULL CHECK (odd >= 0),
    duration_s double precision NOT NULL CHECK (duration_s >= 0),
    PRIMARY KEY (day, job, state, reason)
);
COMMENT ON TABLE  poll_day            IS 'Daily sums of the rows that were removed from poll_run. Written by fold_poll_runs only.';
COMMENT ON COLUMN poll_day.day        IS 'Day of the first slot of each row, UTC.';
COMMENT ON COLUMN poll_day.job        IS 'Name of the job.';
COMMENT ON COLUMN poll_day.state      IS 'As in poll_run.';
COMMENT ON COLUMN poll_day.reason     IS 'Why slots were missed or skipped, or why rounds were run apart from the schedule, as in poll_run; of other states empty.';
COMMENT ON COLUMN poll_day.rounds     IS 'Number of rounds run.';
COMMENT ON COLUMN poll_day.slots      IS 'Number of slots.';
COMMENT ON COLUMN poll_day.rows       IS 'Sum of rows.';
COMMENT ON COLUMN poll_day.bytes      IS 'Sum of bytes.';
COMMENT ON COLUMN poll_day.answers    IS 'Sum of answers.';
COMMENT ON COLUMN poll_day.attempts   IS 'Sum of attempts.';
COMMENT ON COLUMN poll_day.odd        IS 'Sum of odd rows.';
COMMENT ON COLUMN poll_day.duration_s IS 'Sum of durations, seconds.';

-- The newest accounted slot of each job stays, so that what comes after it can always be counted.
CREATE FUNCTION fold_poll_runs(before timestamptz) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
AS $$
DECLARE
    folded bigint;
BEGIN
    IF before IS NULL OR before > clock_timestamp() - interval '1 day' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'rows of poll_run are kept for a day at least';
    END IF;
    WITH newest AS (
        SELECT DISTINCT ON (job) run_id FROM public.poll_run WHERE slots > 0 ORDER BY job, slot DESC
    ), removed AS (
        DELETE FROM public.poll_run r WHERE r.slot < before AND r.run_id NOT IN (SELECT run_id FROM newest) RETURNING r.*
    ), added AS (
        INSERT INTO public.poll_day AS d
        SELECT slot::date, job, state,
               CASE WHEN slots = 0 OR state IN ('missed', 'skipped') THEN left(reason, 100) ELSE '' END AS why,
               count(started_at), sum(slots), sum(rows), sum(bytes), sum(answers), sum(attempts), sum(odd),
               coalesce(sum(duration_s), 0)
          FROM removed GROUP BY slot::date, job, state, why
        ON CONFLICT (day, job, state, reason) DO UPDATE
           SET rounds = d.rounds + EXCLUDED.rounds, slots = d.slots + EXCLUDED.slots, rows = d.rows + EXCLUDED.rows,
               bytes = d.bytes + EXCLUDED.bytes, answers = d.answers + EXCLUDED.answers,
               attempts = d.attempts + EXCLUDED.attempts, odd = d.odd + EXCLUDED.odd,
               duration_s = d.duration_s + EXCLUDED.duration_s
    )
    SELECT count(*) INTO folded FROM removed;
    RETURN folded;
END
$$;
COMMENT ON FUNCTION fold_poll_runs(timestamptz) IS
    'Adds the rows of poll_run whose slot is before an instant to poll_day and removes them, in one transaction; returns their number.';
GRANT EXECUTE ON FUNCTION fold_poll_runs(timestamptz) TO tapedeck_writer;

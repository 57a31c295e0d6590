-- 0022_alert.sql: what the watchdog reported, and the rights of the watchdog.

-- Roles belong to the server, so another database may have created it, or may be creating it right now.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tapedeck_watchdog') THEN
        CREATE ROLE tapedeck_watchdog NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING MESSAGE =
            'this login may not create the missing role tapedeck_watchdog; have a superuser run: CREATE ROLE tapedeck_watchdog NOLOGIN;';
END
$$;

CREATE TABLE alert (
    alert_id    bigint           PRIMARY KEY CHECK (alert_id > 0),
    rule        text             NOT NULL CHECK (rule <> ''),
    subject     text             NOT NULL,
    severity    text             NOT NULL CHECK (severity IN ('page', 'ticket', 'info')),
    state       text             NOT NULL CHECK (state IN ('firing', 'resolved')),
    summary     text             NOT NULL,
    value       double precision,
    started_at  timestamptz      NOT NULL,
    fired_at    timestamptz      NOT NULL,
    resolved_at timestamptz      CHECK ((resolved_at IS NULL) = (state = 'firing')),
    revision    integer          NOT NULL CHECK (revision > 0)
);
CREATE INDEX alert_fired_at ON alert (fired_at);
COMMENT ON TABLE  alert             IS 'Alerts that fired, one row each. Written by bin/watchdog, which keeps them on disk while Postgres is away.';
COMMENT ON COLUMN alert.alert_id    IS 'Random id.';
COMMENT ON COLUMN alert.rule        IS 'Rule that fired; docs/runbook.md has a section of this name.';
COMMENT ON COLUMN alert.subject     IS 'Venue or program that it is about; empty for the appliance.';
COMMENT ON COLUMN alert.severity    IS 'page: a person must act now; ticket: within days; info: to be known.';
COMMENT ON COLUMN alert.state       IS 'firing, or resolved.';
COMMENT ON COLUMN alert.summary     IS 'What was found when it fired, for a person.';
COMMENT ON COLUMN alert.value       IS 'What was found, in the unit of the rule; NULL where it has none.';
COMMENT ON COLUMN alert.started_at  IS 'When the condition was found first, by our clock, UTC.';
COMMENT ON COLUMN alert.fired_at    IS 'When it had held for the time of the rule, by our clock, UTC.';
COMMENT ON COLUMN alert.resolved_at IS 'When the condition was gone, by our clock, UTC; NULL while the alert fires.';
COMMENT ON COLUMN alert.revision    IS 'Number of the change that was stored last, from 1.';

GRANT USAGE ON SCHEMA public TO tapedeck_watchdog;
GRANT SELECT, INSERT, UPDATE ON alert TO tapedeck_watchdog;
GRANT SELECT ON instrument, gap, quarantine, journal, journal_break, load_ledger, poll_run, day_partition,
                schema_migration, session, subscription TO tapedeck_watchdog;

CREATE FUNCTION default_partitions_in_use() RETURNS TABLE (table_name text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    found boolean;
BEGIN
    FOR table_name IN
        SELECT p.relname::text
          FROM pg_inherits i
          JOIN pg_class c ON c.oid = i.inhrelid
          JOIN pg_class p ON p.oid = i.inhparent
         WHERE c.relnamespace = 'partition'::regnamespace AND c.relname = p.relname || '_default'
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM partition.%I)', table_name || '_default') INTO found;
        IF found THEN
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION default_partitions_in_use() IS
    'Tables with rows in their default partition: rows of days for which no partition existed.';
GRANT EXECUTE ON FUNCTION default_partitions_in_use() TO tapedeck_watchdog, tapedeck_reader;

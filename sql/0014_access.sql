-- 0014_access.sql: rights of recorders, day partitions that are known to have existed, and limits on readers.

GRANT SELECT ON venue, instrument, schema_migration TO tapedeck_recorder;
GRANT SELECT, INSERT, UPDATE, DELETE ON subscription TO tapedeck_recorder;

CREATE TABLE day_partition (
    table_name text        NOT NULL,
    day        date        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, day)
);
COMMENT ON TABLE  day_partition            IS 'Day partitions that ensure_partition created. One that is no longer attached to its table was dropped, and its rows are lost.';
COMMENT ON COLUMN day_partition.table_name IS 'trade, quote or book.';
COMMENT ON COLUMN day_partition.day        IS 'Day of its rows, UTC.';
COMMENT ON COLUMN day_partition.created_at IS 'When the partition was created, UTC.';
GRANT SELECT ON day_partition TO tapedeck_writer;

-- A database that was used before this file has partitions already.
INSERT INTO day_partition (table_name, day)
SELECT p.relname, to_date(substring(c.relname FROM '_(\d{8})$'), 'YYYYMMDD')
  FROM pg_inherits i
  JOIN pg_class c ON c.oid = i.inhrelid
  JOIN pg_class p ON p.oid = i.inhparent
 WHERE c.relnamespace = 'partition'::regnamespace AND p.relnamespace = 'public'::regnamespace
   AND c.relkind = 'r' AND c.relname ~ '_\d{8}$';

CREATE OR REPLACE FUNCTION ensure_partition(parent text, day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET lock_timeout = '2s'
    SET timezone = 'UTC'
AS $$
DECLARE
    child       text := parent || '_' || to_char(day, 'YYYYMMDD');
    spare       text := parent || '_default';
    low         timestamptz := day;
    high        timestamptz := day + 1;
    key_column  name;
BEGIN
    IF day NOT BETWEEN DATE '2009-01-01' AND current_date + 400 THEN
        RAISE invalid_parameter_value USING MESSAGE = format('no partition of %s for the absurd day %s', parent, day);
    END IF;
    SELECT a.attname INTO key_column
      FROM pg_partitioned_table p
      JOIN pg_class c ON c.oid = p.partrelid
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
     WHERE c.relname = parent AND c.relnamespace = 'public'::regnamespace AND p.partstrat = 'r';
    IF key_column IS NULL THEN
        RAISE undefined_table USING MESSAGE = format('%s is not a table partitioned by day', parent);
    END IF;
    IF EXISTS (SELECT FROM pg_inherits
                WHERE inhrelid = to_regclass(format('partition.%I', child))
                  AND inhparent = to_regclass(format('public.%I', parent))) THEN
        RETURN false;
    END IF;

    -- One session at a time creates partitions. A session that waited finds the partition present. This is no advisory
    -- lock, because every login may take those, and keep them; only a login that may change this table gets this lock.
    LOCK TABLE public.day_partition IN SHARE ROW EXCLUSIVE MODE;
    IF EXISTS (SELECT FROM pg_inherits
                WHERE inhrelid = to_regclass(format('partition.%I', child))
                  AND inhparent = to_regclass(format('public.%I', parent))) THEN
        RETURN false;
    END IF;
    IF to_regclass(format('partition.%I', spare)) IS NULL THEN
        EXECUTE format('CREATE TABLE partition.%I PARTITION OF public.%I DEFAULT', spare, parent);
    END IF;

    -- CREATE TABLE ... PARTITION OF would lock the parent against every reader. ATTACH locks only the default
    -- partition, whose rows of that day must be moved first. If a reader holds that lock for long, this fails
    -- after lock_timeout instead of making every other session queue behind it.
    -- A table of this name that is not attached was detached by a person; its rows are attached again.
    IF to_regclass(format('partition.%I', child)) IS NULL THEN
        EXECUTE format('CREATE TABLE partition.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent);
    END IF;
    EXECUTE format('LOCK TABLE partition.%I IN ACCESS EXCLUSIVE MODE', spare);
    EXECUTE format('WITH moved AS (DELETE FROM partition.%1$I WHERE %3$I >= %4$L AND %3$I < %5$L RETURNING *)
                    INSERT INTO partition.%2$I SELECT * FROM moved', spare, child, key_column, low, high);
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION partition.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, child, low, high);
    EXECUTE format('COMMENT ON TABLE partition.%I IS %L', child,
                   format('Rows of %s whose %s is on %s, UTC.', parent, key_column, day));
    INSERT INTO public.day_partition (table_name, day) VALUES (parent, ensure_partition.day) ON CONFLICT DO NOTHING;
    RETURN true;
END
$$;

COMMENT ON TABLE partition.trade_default IS 'Rows of trade on a day without a partition: executed more than 7 days before their receipt, or on an absurd day.';

CREATE FUNCTION dropped_partitions() RETURNS TABLE (table_name text, day date)
    LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.table_name, k.day
      FROM public.day_partition k
     WHERE NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                        WHERE i.inhparent = to_regclass('public.' || quote_ident(k.table_name))
                          AND c.relnamespace = to_regnamespace('partition')
                          AND c.relname = k.table_name || '_' || to_char(k.day, 'YYYYMMDD'))
     UNION ALL
    SELECT name, NULL::date FROM unnest('{trade,quote,book}'::text[]) AS name
     WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = to_regnamespace('partition')
                          AND c.relname = name || '_default')
$$;
COMMENT ON FUNCTION dropped_partitions() IS
    'Day partitions that were created and are not attached to their table now; without a day: a default partition.';
GRANT EXECUTE ON FUNCTION dropped_partitions() TO tapedeck_writer, tapedeck_reader;

CREATE FUNCTION drop_partition(parent text, in_day date) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM public.day_partition WHERE table_name = parent AND day = in_day;
    IF NOT FOUND THEN
        RAISE undefined_table USING MESSAGE = format('%s has no partition of %s', parent, in_day);
    END IF;
    EXECUTE format('DROP TABLE partition.%I', parent || '_' || to_char(in_day, 'YYYYMMDD'));
END
$$;
COMMENT ON FUNCTION drop_partition(text, date) IS
    'Drops a day partition on purpose, for example after its export, so that no loss is declared. For the owner.';

-- The rows of the day are lost for every stream of the table. Which streams there were is taken from the rows of the
-- days around it, from the subscriptions, and from the gaps.
CREATE FUNCTION declare_dropped_partition(in_table text, in_day date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
AS $$
DECLARE
    low      timestamptz := in_day;
    high     timestamptz := least(in_day + 1, clock_timestamp());
    declared bigint := 0;
BEGIN
    IF in_day IS NULL AND in_table IN ('trade', 'quote', 'book') THEN
        EXECUTE format('CREATE TABLE IF NOT EXISTS partition.%I PARTITION OF public.%I DEFAULT',
                       in_table || '_default', in_table);
        RETURN 0;  -- which streams had rows on a day without a partition is not known
    END IF;
    DELETE FROM public.day_partition WHERE table_name = in_table AND day = in_day;
    IF NOT FOUND OR in_table NOT IN ('trade', 'quote', 'book') OR high <= low THEN
        RETURN 0;  -- another session was faster, or the day has not begun
    END IF;
    EXECUTE format($query$
        INSERT INTO public.gap AS g (gap_id, instrument_id, channel, cause, state, reason, started_at, ended_at,
                                     last_ts_event, first_ts_event, revision)
        SELECT hashtextextended(format('dropped %%s %%s %%s', $1, $2, i.instrument_id), 0) & 9223372036854775807,
               i.instrument_id, $1, 'partition_dropped', 'unhealable',
               format('partition.%%s_%%s was dropped', $1, to_char($2, 'YYYYMMDD')), $3, $4, $3, $4, 1
          FROM public.instrument i
         WHERE i.recorded
           AND (EXISTS (SELECT FROM public.%1$I r WHERE r.instrument_id = i.instrument_id
                           AND r.%2$I >= $3 - interval '7 days' AND r.%2$I < $3 + interval '8 days')
                OR EXISTS (SELECT FROM public.gap o WHERE o.instrument_id = i.instrument_id AND o.channel = $1)
                OR EXISTS (SELECT FROM public.subscription s
                            WHERE s.venue = i.venue AND s.channel = $1 AND s.active
                              AND (s.symbol = i.symbol OR s.symbol ~ '[*?]|^top:')))
        ON CONFLICT (gap_id) DO UPDATE
           SET ended_at = EXCLUDED.ended_at, first_ts_event = EXCLUDED.first_ts_event, revision = g.revision + 1
        $query$, in_table, CASE in_table WHEN 'trade' THEN 'ts_event' ELSE 'ts_recv' END)
    USING in_table, in_day, low, high;
    GET DIAGNOSTICS declared = ROW_COUNT;
    RETURN declared;
END
$$;
COMMENT ON FUNCTION declare_dropped_partition(text, date) IS
    'Declares a gap of the whole day for every stream of a table whose partition was dropped; returns the number of gaps.';
GRANT EXECUTE ON FUNCTION declare_dropped_partition(text, date) TO tapedeck_writer;

-- Limits that a login has as settings it may change itself. This function is what enforces them.
CREATE FUNCTION end_idle_readers(max_idle interval, max_transaction interval)
    RETURNS TABLE (pid integer, login name, application text, reason text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    FOR pid, login, application, reason IN
        SELECT a.pid, a.usename, a.application_name,
               CASE WHEN a.state LIKE 'idle in transaction%'
                    THEN format('idle in a transaction for %s', date_trunc('second', clock_timestamp() - a.state_change))
                    ELSE format('in one transaction for %s', date_trunc('second', clock_timestamp() - a.xact_start)) END
          FROM pg_stat_activity a
         WHERE a.datname = current_database() AND a.backend_type = 'client backend' AND a.pid <> pg_backend_pid()
           AND pg_has_role(a.usesysid, 'tapedeck_reader', 'MEMBER')
           AND NOT pg_has_role(a.usesysid, 'tapedeck_writer', 'MEMBER')
           AND (a.state LIKE 'idle in transaction%' AND a.state_change < clock_timestamp() - max_idle
                OR a.xact_start < clock_timestamp() - max_transaction)
    LOOP
        BEGIN
            IF pg_terminate_backend(pid) THEN
                RETURN NEXT;
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN NULL;  -- the owner of this function may not end that session
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION end_idle_readers(interval, interval) IS
    'Ends the sessions of logins that may only read and that keep a transaction open for too long; such a transaction delays new partitions and vacuum.';
GRANT EXECUTE ON FUNCTION end_idle_readers(interval, interval) TO tapedeck_writer;

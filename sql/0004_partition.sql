-- 0004_partition.sql: day partitions on demand, for roles that may not create tables themselves.

CREATE FUNCTION ensure_partition(parent text, day date) RETURNS boolean
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
    IF to_regclass(format('partition.%I', child)) IS NOT NULL THEN
        RETURN false;
    END IF;

    -- One session at a time creates partitions of a table. A session that waited finds the partition present.
    PERFORM pg_advisory_xact_lock(hashtext('tapedeck.ensure_partition'), hashtext(parent));
    IF to_regclass(format('partition.%I', child)) IS NOT NULL THEN
        RETURN false;
    END IF;

    -- CREATE TABLE ... PARTITION OF would lock the parent against every reader. ATTACH locks only the default
    -- partition, whose rows of that day must be moved first. If a reader holds that lock for long, this fails
    -- after lock_timeout instead of making every other session queue behind it.
    EXECUTE format('CREATE TABLE partition.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', child, parent);
    EXECUTE format('LOCK TABLE partition.%I IN ACCESS EXCLUSIVE MODE', spare);
    EXECUTE format('WITH moved AS (DELETE FROM partition.%1$I WHERE %3$I >= %4$L AND %3$I < %5$L RETURNING *)
                    INSERT INTO partition.%2$I SELECT * FROM moved', spare, child, key_column, low, high);
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION partition.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, child, low, high);
    EXECUTE format('COMMENT ON TABLE partition.%I IS %L', child,
                   format('Rows of %s whose %s is on %s, UTC.', parent, key_column, day));
    RETURN true;
END
$$;
COMMENT ON FUNCTION ensure_partition(text, date) IS
    'Creates the partition of one UTC day unless it exists, and moves the rows of that day out of the default partition; returns true if it created one.';
GRANT EXECUTE ON FUNCTION ensure_partition(text, date) TO tapedeck_writer, tapedeck_replay;

-- 0031_keeper.sql: the archive of ended days, how a day leaves its table, and the role of the keeper.

-- Roles belong to the server, so another database may have created it, or may be creating it right now.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tapedeck_keeper') THEN
        CREATE ROLE tapedeck_keeper NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING MESSAGE =
            'this login may not create the missing role tapedeck_keeper; have a superuser run: CREATE ROLE tapedeck_keeper NOLOGIN;';
END
$$;

CREATE TABLE archive (
    table_name  text        NOT NULL CHECK (table_name IN ('trade', 'quote', 'book')),
    day         date        NOT NULL,
    venue       text        NOT NULL CHECK (venue <> ''),
    revision    integer     NOT NULL CHECK (revision > 0),
    state       text        NOT NULL CHECK (state IN ('kept', 'let go')),
    folder      text        NOT NULL CHECK (folder <> ''),
    path        text        NOT NULL CHECK (path <> ''),
    row_count   bigint      NOT NULL CHECK (row_count >= 0),
    duplicates  bigint      NOT NULL CHECK (duplicates >= 0),
    bytes       bigint      NOT NULL CHECK (bytes >= 0),
    sha256      text        NOT NULL CHECK (length(sha256) = 64),
    checksum    numeric     NOT NULL CHECK (checksum >= 0),
    archived_at timestamptz NOT NULL DEFAULT now(),
    here        boolean     NOT NULL DEFAULT true,
    copied_to   text,
    copied_at   timestamptz,
    reason      text,
    PRIMARY KEY (table_name, day, venue),
    CONSTRAINT archive_copied CHECK ((copied_to IS NULL) = (copied_at IS NULL)),
    CONSTRAINT archive_somewhere CHECK (state = 'let go' OR here OR copied_to IS NOT NULL)
);
CREATE INDEX archive_day ON archive (day);
COMMENT ON TABLE  archive             IS 'Days of tables that were dropped after they were archived as Parquet and compared value by value. Written by bin/keeper in the transaction that drops the rows.';
COMMENT ON COLUMN archive.table_name  IS 'trade, quote or book.';
COMMENT ON COLUMN archive.day         IS 'Day of the rows, UTC: by the venue''s clock of trades, by ours of quotes and books.';
COMMENT ON COLUMN archive.venue       IS 'Venue of the rows.';
COMMENT ON COLUMN archive.revision    IS '1, and one more each time that rows which came later were added.';
COMMENT ON COLUMN archive.state       IS 'kept; let go: removed for good because the disk budget was exceeded, and declared in gap.';
COMMENT ON COLUMN archive.folder      IS 'Folder of the archive on the host of the keeper.';
COMMENT ON COLUMN archive.path        IS 'File in that folder, and in the second place.';
COMMENT ON COLUMN archive.row_count   IS 'Number of rows in the file.';
COMMENT ON COLUMN archive.duplicates  IS 'Number of rows that came later and were in the archive already; they were removed.';
COMMENT ON COLUMN archive.bytes       IS 'Size of the file, bytes.';
COMMENT ON COLUMN archive.sha256      IS 'SHA-256 of the file, hexadecimal.';
COMMENT ON COLUMN archive.checksum    IS 'Sum modulo 2^64 of the first eight bytes of the SHA-256 of each row (analysis/row_checksum.py).';
COMMENT ON COLUMN archive.archived_at IS 'When its rows left the table, UTC.';
COMMENT ON COLUMN archive.here        IS 'Whether the file is in the folder; false where it is in the second place only, or let go.';
COMMENT ON COLUMN archive.copied_to   IS 'Second place of the file, read back and compared; NULL where there is none.';
COMMENT ON COLUMN archive.copied_at   IS 'When it was compared there, UTC; NULL where there is none.';
COMMENT ON COLUMN archive.reason      IS 'Why it was let go; NULL otherwise.';

COMMENT ON TABLE day_partition IS 'Day partitions that ensure_partition created. One that is no longer attached to its table was dropped, and its rows are lost; the keeper removes the row of one that it archived.';

-- Writers wait for this lock, readers do not: what is compared with the archive cannot change before it is dropped.
CREATE FUNCTION hold_day(in_table text, in_day date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET lock_timeout = '5s'
AS $$
DECLARE
    child text := in_table || '_' || to_char(in_day, 'YYYYMMDD');
BEGIN
    IF in_table NOT IN ('trade', 'quote', 'book') OR NOT EXISTS (
           SELECT FROM pg_inherits WHERE inhrelid = to_regclass(format('partition.%I', child))
                                     AND inhparent = to_regclass(format('public.%I', in_table))) THEN
        RETURN false;
    END IF;
    EXECUTE format('LOCK TABLE partition.%I IN SHARE MODE', child);
    RETURN true;
END
$$;
COMMENT ON FUNCTION hold_day(text, date) IS
    'Keeps the partition of a day from being changed until the end of the transaction; returns false where the day has none.';

CREATE FUNCTION release_day(in_table text, in_day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET lock_timeout = '2s'
AS $$
DECLARE
    child text := in_table || '_' || to_char(in_day, 'YYYYMMDD');
BEGIN
    IF NOT EXISTS (SELECT FROM public.archive WHERE table_name = in_table AND day = in_day) THEN
        RAISE no_data_found USING MESSAGE = format('%s of %s is not archived', in_table, in_day);
    END IF;
    DELETE FROM public.day_partition WHERE table_name = in_table AND day = in_day;
    EXECUTE format('ALTER TABLE public.%I DETACH PARTITION partition.%I', in_table, child);
    EXECUTE format('DROP TABLE partition.%I', child);
END
$$;
COMMENT ON FUNCTION release_day(text, date) IS
    'Detaches and drops the partition of a day that table archive names. The keeper holds the day and has compared it.';

-- Rows of an archived day that came later are in the default partition. A repeatable-read transaction removes exactly
-- the rows that it compared.
CREATE FUNCTION remove_late(in_table text, in_day date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
AS $$
DECLARE
    removed bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM public.archive WHERE table_name = in_table AND day = in_day) THEN
        RAISE no_data_found USING MESSAGE = format('%s of %s is not archived', in_table, in_day);
    END IF;
    EXECUTE format('DELETE FROM public.%I WHERE %I >= $1 AND %2$I < $2', in_table,
                   CASE in_table WHEN 'trade' THEN 'ts_event' ELSE 'ts_recv' END)
    USING in_day::timestamptz, (in_day + 1)::timestamptz;
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION remove_late(text, date) IS
    'Removes the rows of an archived day that came later and are archived now; returns their number.';

-- What the budget of the disk costs is declared like every other loss.
CREATE FUNCTION let_go(in_table text, in_day date, in_venue text, in_reason text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
AS $$
DECLARE
    low      timestamptz := in_day;
    high     timestamptz := in_day + 1;
    declared bigint;
BEGIN
    UPDATE public.archive
       SET state = 'let go', here = false, copied_to = NULL, copied_at = NULL, reason = in_reason
     WHERE table_name = in_table AND day = in_day AND venue = in_venue AND state = 'kept';
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    INSERT INTO public.gap AS g (gap_id, instrument_id, channel, cause, state, reason, started_at, ended_at,
                                 last_ts_event, first_ts_event, revision)
    SELECT hashtextextended(format('let go %s %s %s', in_table, in_day, i.instrument_id), 0) & 9223372036854775807,
           i.instrument_id, in_table, 'let_go', 'unhealable', in_reason, low, high, low, high, 1
      FROM public.instrument i
     WHERE i.recorded AND i.venue = in_venue AND i.first_seen < high
    ON CONFLICT (gap_id) DO NOTHING;
    GET DIAGNOSTICS declared = ROW_COUNT;
    RETURN declared;
END
$$;
COMMENT ON FUNCTION let_go(text, date, text, text) IS
    'Declares that the archived rows of a venue and day are removed for good, by a gap of each stream; returns the number of gaps.';

GRANT USAGE ON SCHEMA public, partition TO tapedeck_keeper;
GRANT SELECT ON trade, quote, book, past_trade, instrument, gap, session, certificate, day_partition, journal, schema_migration
   TO tapedeck_keeper;
GRANT SELECT, INSERT, UPDATE ON archive TO tapedeck_keeper;
GRANT SELECT ON archive TO tapedeck_writer, tapedeck_deriver, tapedeck_watchdog, tapedeck_replay, tapedeck_trainer;
GRANT EXECUTE ON FUNCTION ensure_partition(text, date) TO tapedeck_keeper;
GRANT EXECUTE ON FUNCTION hold_day(text, date) TO tapedeck_keeper;
GRANT EXECUTE ON FUNCTION release_day(text, date) TO tapedeck_keeper;
GRANT EXECUTE ON FUNCTION remove_late(text, date) TO tapedeck_keeper;
GRANT EXECUTE ON FUNCTION let_go(text, date, text, text) TO tapedeck_keeper;
GRANT EXECUTE ON FUNCTION fold_poll_runs(timestamptz) TO tapedeck_keeper;

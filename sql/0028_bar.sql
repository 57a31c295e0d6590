-- 0028_bar.sql: bars, the marks that say which of them must be derived again, and views on them.

-- Roles belong to the server, so another database may have created it, or may be creating it right now.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tapedeck_deriver') THEN
        CREATE ROLE tapedeck_deriver NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING MESSAGE =
            'this login may not create the missing role tapedeck_deriver; have a superuser run: CREATE ROLE tapedeck_deriver NOLOGIN;';
END
$$;

-- A bar is updated some times while it forms: room on its page keeps these updates out of the indexes.
CREATE TABLE bar (
    instrument_id bigint           NOT NULL,
    interval_s    integer          NOT NULL CHECK (interval_s IN (60, 300, 900, 3600, 14400, 86400)),
    start         timestamptz      NOT NULL,
    open          double precision NOT NULL,
    high          double precision NOT NULL,
    low           double precision NOT NULL,
    close         double precision NOT NULL,
    volume        double precision,
    notional      double precision,
    vwap          double precision,
    trade_count   bigint           NOT NULL CHECK (trade_count > 0),
    buy_volume    double precision,
    sell_volume   double precision,
    coverage      double precision NOT NULL CHECK (coverage BETWEEN 0 AND 1),
    in_gap        boolean          NOT NULL,
    complete      boolean          NOT NULL,
    revision      integer          NOT NULL CHECK (revision > 0),
    updated_at    timestamptz      NOT NULL,
    PRIMARY KEY (instrument_id, interval_s, start)
) WITH (fillfactor = 80);
CREATE INDEX bar_forming ON bar (start) WHERE NOT complete;
COMMENT ON TABLE  bar               IS 'Bars of trades: 1 minute from trade, longer ones from shorter ones. An interval without a trade has none. Written by bin/deriver.';
COMMENT ON COLUMN bar.instrument_id IS 'Instrument traded (instrument).';
COMMENT ON COLUMN bar.interval_s    IS 'Length of the bar, seconds: 60, 300, 900, 3600, 14400 or 86400.';
COMMENT ON COLUMN bar.start         IS 'First instant inside, by the venue''s clock, UTC; a multiple of the length since 1970.';
COMMENT ON COLUMN bar.open          IS 'Price of the first trade, in the order of ts_event and trade_id, quote units per base unit.';
COMMENT ON COLUMN bar.high          IS 'Highest price, quote units per base unit.';
COMMENT ON COLUMN bar.low           IS 'Lowest price, quote units per base unit.';
COMMENT ON COLUMN bar.close         IS 'Price of the last trade, in the same order, quote units per base unit.';
COMMENT ON COLUMN bar.volume        IS 'Sum of sizes, base units; NULL where a price or a size is not 0 and outside of 1e-70 to 1e70.';
COMMENT ON COLUMN bar.notional      IS 'Sum of price * size, quote units; NULL as volume.';
COMMENT ON COLUMN bar.vwap          IS 'notional / volume, quote units per base unit; NULL as volume.';
COMMENT ON COLUMN bar.trade_count   IS 'Number of trades.';
COMMENT ON COLUMN bar.buy_volume    IS 'Base units bought by takers, a part of volume; NULL as volume.';
COMMENT ON COLUMN bar.sell_volume   IS 'Base units sold by takers, a part of volume; NULL as volume.';
COMMENT ON COLUMN bar.coverage      IS 'Part of the interval outside of gaps of trades that are not healed, and after recording began or backfilled with proof; 0 to 1.';
COMMENT ON COLUMN bar.in_gap        IS 'Whether such a gap touches the interval, however short it is.';
COMMENT ON COLUMN bar.complete      IS 'Whether all that was received until deriver.lateness_s after its end was loaded. False while the bar forms.';
COMMENT ON COLUMN bar.revision      IS '1, and one more for each change after the bar was complete: late, healed, corrected or removed trades, or a gap.';
COMMENT ON COLUMN bar.updated_at    IS 'When the row was last changed, UTC.';

-- Appended only: a mark that is written while its bar is derived is a row of its own, so none is lost. A mark is visible
-- exactly when the rows are that it is about, because the same transaction wrote both.
CREATE TABLE bar_dirty (
    kind           "char"      NOT NULL CHECK (kind IN ('m', 'r', 'g')),
    dirty_id       bigint      GENERATED ALWAYS AS IDENTITY,
    instrument_ids bigint[]    NOT NULL,
    low            timestamptz NOT NULL,
    high           timestamptz NOT NULL,
    marked_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (kind, dirty_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
COMMENT ON TABLE  bar_dirty                IS 'Bars to be derived again. Written by triggers of trade, gap, instrument and backfill_range; bin/deriver removes a mark in the transaction that stores its bars.';
COMMENT ON COLUMN bar_dirty.kind           IS 'm: trades of one minute changed; r: all minutes of a range are to be derived; g: gaps, the begin of recording or proved backfills changed, which concerns coverage only.';
COMMENT ON COLUMN bar_dirty.dirty_id       IS 'Number of the mark, in the order of marking.';
COMMENT ON COLUMN bar_dirty.instrument_ids IS 'Instruments concerned (instrument).';
COMMENT ON COLUMN bar_dirty.low            IS 'First instant concerned, UTC; may be -infinity.';
COMMENT ON COLUMN bar_dirty.high           IS 'First instant after, UTC; infinity for a gap that goes on.';
COMMENT ON COLUMN bar_dirty.marked_at      IS 'When it was marked, UTC.';

-- A full queue of notifications would make the transaction of the writer fail, and a deriver looks by itself anyway.
CREATE FUNCTION notify_deriver() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF pg_notification_queue_usage() < 0.5 THEN
        NOTIFY bar_dirty;
    END IF;
END
$$;
COMMENT ON FUNCTION notify_deriver() IS 'Notifies channel bar_dirty, unless a listener that hangs has made the queue of notifications half full.';

-- Statement triggers see every change through trade, whoever makes it: the writer, a healed range, replay, a person. No
-- role may change a partition by its own name, which they would not see. Only a minute that is over is notified: those that
-- form are looked at once a second anyway.
CREATE FUNCTION mark_trades() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    over boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        WITH marked AS (
            INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
            SELECT 'm', array_agg(m.instrument_id), m.minute, m.minute + interval '1 minute'
              FROM (SELECT DISTINCT instrument_id, date_bin('1 minute', ts_event, 'epoch') AS minute FROM fresh) AS m
             GROUP BY m.minute
            RETURNING high
        ) SELECT bool_or(high <= now()) INTO over FROM marked;
    ELSIF TG_OP = 'DELETE' THEN
        WITH marked AS (
            INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
            SELECT 'm', array_agg(m.instrument_id), m.minute, m.minute + interval '1 minute'
              FROM (SELECT DISTINCT instrument_id, date_bin('1 minute', ts_event, 'epoch') AS minute FROM stale) AS m
             GROUP BY m.minute
            RETURNING high
        ) SELECT bool_or(high <= now()) INTO over FROM marked;
    ELSE
        WITH marked AS (
            INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
            SELECT 'm', array_agg(m.instrument_id), m.minute, m.minute + interval '1 minute'
              FROM (SELECT instrument_id, date_bin('1 minute', ts_event, 'epoch') AS minute FROM fresh
                     UNION
                    SELECT instrument_id, date_bin('1 minute', ts_event, 'epoch') FROM stale) AS m
             GROUP BY m.minute
            RETURNING high
        ) SELECT bool_or(high <= now()) INTO over FROM marked;
    END IF;
    IF over THEN
        PERFORM public.notify_deriver();
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_trades() IS 'Trigger: marks the minutes of the trades that a statement changed, and notifies channel bar_dirty where one of them is over.';
CREATE TRIGGER trade_inserted AFTER INSERT ON trade REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_trades();
CREATE TRIGGER trade_updated AFTER UPDATE ON trade REFERENCING NEW TABLE AS fresh OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_trades();
CREATE TRIGGER trade_deleted AFTER DELETE ON trade REFERENCING OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_trades();

-- A bar is complete when a block that was written later is loaded. Once a second is enough to say so, because the usual
-- lateness is a number of seconds.
CREATE FUNCTION notify_loaded() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.notify_deriver();
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION notify_loaded() IS 'Trigger: notifies channel bar_dirty when what is loaded of a journal has come to another second.';
CREATE TRIGGER journal_loaded AFTER UPDATE ON journal FOR EACH ROW
    WHEN (date_trunc('second', NEW.written_at) IS DISTINCT FROM date_trunc('second', OLD.written_at))
    EXECUTE FUNCTION notify_loaded();

-- The same extent as in analysis/load/missing_ranges.py: by the venue's clock where it is known, both ends included.
CREATE FUNCTION gap_extent(last_ts_event timestamptz, started_at timestamptz, first_ts_event timestamptz, ended_at timestamptz)
    RETURNS tstzrange
    LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN coalesce(first_ts_event, ended_at) IS NULL THEN tstzrange(coalesce(last_ts_event, started_at), NULL)
                ELSE tstzrange(least(coalesce(last_ts_event, started_at), coalesce(first_ts_event, ended_at)),
                               greatest(coalesce(last_ts_event, started_at), coalesce(first_ts_event, ended_at))
                               + interval '1 microsecond') END
$$;
COMMENT ON FUNCTION gap_extent(timestamptz, timestamptz, timestamptz, timestamptz) IS
    'Time that a gap of trades covers: by the venue''s clock where it is known, else by receipt; both ends included.';

CREATE INDEX gap_trade_not_healed ON gap (instrument_id) WHERE channel = 'trade' AND state <> 'healed';
CREATE FUNCTION recording_begin(recorded boolean, first_seen timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN recorded THEN first_seen ELSE 'infinity' END
$$;
COMMENT ON FUNCTION recording_begin(boolean, timestamptz) IS
    'When the recording of an instrument began; infinity while it is only listed.';

CREATE VIEW trade_backfilled AS
SELECT r.instrument_id, range_agg(tstzrange(r.since, r.until)) AS spans
  FROM backfill_range r
  JOIN backfill b ON b.backfill_id = r.backfill_id
 WHERE b.what = 'trades' AND r.grade = 'proved' AND r.since < r.until
 GROUP BY r.instrument_id;
COMMENT ON VIEW   trade_backfilled               IS 'Time whose trades were read from the history of the venue, with proof that none is missing.';
COMMENT ON COLUMN trade_backfilled.instrument_id IS 'Instrument traded (instrument).';
COMMENT ON COLUMN trade_backfilled.spans         IS 'That time, UTC; ends excluded.';

-- Few instruments are backfilled, so the others are answered without arithmetic of ranges.
CREATE VIEW trade_gap AS
SELECT instrument_id, gap_extent(last_ts_event, started_at, first_ts_event, ended_at) AS span
  FROM gap WHERE channel = 'trade' AND state <> 'healed'
 UNION ALL
SELECT instrument_id, tstzrange(NULL, recording_begin(recorded, first_seen)) FROM instrument
 WHERE instrument_id <> ALL (ARRAY(SELECT instrument_id FROM trade_backfilled))
 UNION ALL
SELECT b.instrument_id, s.span
  FROM trade_backfilled b
  JOIN instrument i ON i.instrument_id = b.instrument_id
 CROSS JOIN LATERAL unnest(tstzmultirange(tstzrange(NULL, recording_begin(i.recorded, i.first_seen))) - b.spans) AS s (span);
COMMENT ON VIEW   trade_gap               IS 'Time in which trades may be missing: gaps that are not healed, and the time before recording began that is not backfilled with proof. Of an instrument that is only listed, all time.';
COMMENT ON COLUMN trade_gap.instrument_id IS 'Instrument traded (instrument).';
COMMENT ON COLUMN trade_gap.span          IS 'That time, UTC; without an end while a gap goes on.';

CREATE FUNCTION mark_gaps() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
        SELECT 'g', array_agg(DISTINCT instrument_id), lower(span), coalesce(upper(span), 'infinity')
          FROM (SELECT instrument_id, public.gap_extent(last_ts_event, started_at, first_ts_event, ended_at) AS span
                  FROM fresh WHERE channel = 'trade') AS g
         GROUP BY span;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
        SELECT 'g', array_agg(DISTINCT instrument_id), lower(span), coalesce(upper(span), 'infinity')
          FROM (SELECT instrument_id, public.gap_extent(last_ts_event, started_at, first_ts_event, ended_at) AS span
                  FROM stale WHERE channel = 'trade') AS g
         GROUP BY span;
    ELSE
        INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
        SELECT 'g', array_agg(DISTINCT instrument_id), lower(span), coalesce(upper(span), 'infinity')
          FROM (SELECT instrument_id, public.gap_extent(last_ts_event, started_at, first_ts_event, ended_at) AS span
                  FROM (SELECT * FROM fresh UNION ALL SELECT * FROM stale) AS both_of WHERE channel = 'trade') AS g
         GROUP BY span;
    END IF;
    IF FOUND THEN
        PERFORM public.notify_deriver();
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_gaps() IS 'Trigger: marks the extents of gaps of trades that a statement changed, before and after.';
CREATE TRIGGER gap_inserted AFTER INSERT ON gap REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_gaps();
CREATE TRIGGER gap_updated AFTER UPDATE ON gap REFERENCING NEW TABLE AS fresh OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_gaps();
CREATE TRIGGER gap_deleted AFTER DELETE ON gap REFERENCING OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_gaps();

CREATE FUNCTION mark_begin() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
        SELECT 'g', array_agg(instrument_id), '-infinity', public.recording_begin(recorded, first_seen) AS begin
          FROM fresh GROUP BY begin;
    ELSE
        INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
        SELECT 'g', array_agg(c.instrument_id), least(c.former, c.begin), greatest(c.former, c.begin)
          FROM (SELECT f.instrument_id, public.recording_begin(s.recorded, s.first_seen) AS former,
                       public.recording_begin(f.recorded, f.first_seen) AS begin
                  FROM fresh f JOIN stale s USING (instrument_id)) AS c
         WHERE c.begin <> c.former
         GROUP BY 3, 4;
    END IF;
    IF FOUND THEN
        PERFORM public.notify_deriver();
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_begin() IS 'Trigger: marks the time for which it changed whether an instrument was recorded.';
CREATE TRIGGER instrument_inserted AFTER INSERT ON instrument REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_begin();
CREATE TRIGGER instrument_updated AFTER UPDATE ON instrument REFERENCING NEW TABLE AS fresh OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_begin();

CREATE FUNCTION mark_backfills() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
        SELECT 'g', ARRAY[instrument_id], since, until FROM fresh WHERE grade = 'proved' AND since < until;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
        SELECT 'g', ARRAY[instrument_id], since, until FROM stale WHERE grade = 'proved' AND since < until;
    ELSE
        INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
        SELECT 'g', ARRAY[instrument_id], since, until
          FROM (SELECT * FROM fresh UNION ALL SELECT * FROM stale) AS both_of WHERE grade = 'proved' AND since < until;
    END IF;
    IF FOUND THEN
        PERFORM public.notify_deriver();
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_backfills() IS 'Trigger: marks the proved times of backfills that a statement changed, before and after.';
CREATE TRIGGER backfill_range_inserted AFTER INSERT ON backfill_range REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_backfills();
CREATE TRIGGER backfill_range_updated AFTER UPDATE ON backfill_range REFERENCING NEW TABLE AS fresh OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_backfills();
CREATE TRIGGER backfill_range_deleted AFTER DELETE ON backfill_range REFERENCING OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_backfills();

CREATE FUNCTION rebuild_bars(in_instrument_ids bigint[], low timestamptz, high timestamptz) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    marked bigint;
BEGIN
    INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
    SELECT 'r', array_agg(i.instrument_id), d.day, d.day + interval '1 day'
      FROM generate_series(date_bin('1 day', rebuild_bars.low, 'epoch'), rebuild_bars.high - interval '1 microsecond',
                           interval '1 day') AS d (day),
           (SELECT instrument_id, (row_number() OVER () - 1) / 20 AS lot FROM unnest(in_instrument_ids) AS instrument_id) AS i
     GROUP BY d.day, i.lot
     ORDER BY d.day DESC;
    GET DIAGNOSTICS marked = ROW_COUNT;
    PERFORM public.notify_deriver();
    RETURN marked;
END
$$;
COMMENT ON FUNCTION rebuild_bars(bigint[], timestamptz, timestamptz) IS
    'Marks all bars of instruments on the days of a range to be derived again, the newest day first; returns the number of marks.';

-- Without a deriver the marks of minutes would fill the disk. Those of a day are one mark for some instruments.
CREATE FUNCTION fold_bar_marks(older_than interval) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    folded bigint;
BEGIN
    IF NOT EXISTS (SELECT FROM (SELECT marked_at FROM public.bar_dirty WHERE kind = 'm' ORDER BY dirty_id LIMIT 1) AS oldest
                    WHERE marked_at < clock_timestamp() - older_than) THEN
        RETURN 0;
    END IF;
    WITH old AS (
        DELETE FROM public.bar_dirty WHERE kind = 'm' AND marked_at < clock_timestamp() - older_than
        RETURNING instrument_ids, low
    ), days AS (
        SELECT DISTINCT date_bin('1 day', o.low, 'epoch') AS day, i AS instrument_id FROM old o, unnest(o.instrument_ids) AS i
    ), former AS (
        DELETE FROM public.bar_dirty r USING (SELECT DISTINCT day FROM days) AS d
         WHERE r.kind = 'r' AND r.low = d.day AND r.high = d.day + interval '1 day'
        RETURNING r.low AS day, r.instrument_ids
    ), together AS (
        SELECT day, instrument_id FROM days
         UNION
        SELECT f.day, i FROM former f, unnest(f.instrument_ids) AS i
    )
    INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
    SELECT 'r', array_agg(n.instrument_id), n.day, n.day + interval '1 day'
      FROM (SELECT day, instrument_id, (row_number() OVER (PARTITION BY day ORDER BY instrument_id) - 1) / 20 AS lot
              FROM together) AS n
     GROUP BY n.day, n.lot;
    GET DIAGNOSTICS folded = ROW_COUNT;
    RETURN folded;
END
$$;
COMMENT ON FUNCTION fold_bar_marks(interval) IS
    'Replaces marks of minutes that no deriver took for so long by marks of their days; returns the number of the latter.';

CREATE VIEW bar_named AS
SELECT i.venue, i.symbol,
       CASE b.interval_s WHEN 60 THEN '1m' WHEN 300 THEN '5m' WHEN 900 THEN '15m' WHEN 3600 THEN '1h'
                         WHEN 14400 THEN '4h' ELSE '1d' END AS timeframe,
       b.start, b.open, b.high, b.low, b.close, b.volume, b.vwap, b.trade_count, b.buy_volume, b.sell_volume,
       b.coverage, b.in_gap, b.complete, b.revision, b.updated_at
  FROM bar b
  JOIN instrument i ON i.instrument_id = b.instrument_id;
COMMENT ON VIEW   bar_named             IS 'Bars by venue and symbol.';
COMMENT ON COLUMN bar_named.venue       IS 'Venue of the trades.';
COMMENT ON COLUMN bar_named.symbol      IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN bar_named.timeframe   IS '1m, 5m, 15m, 1h, 4h or 1d.';
COMMENT ON COLUMN bar_named.start       IS 'First instant inside, by the venue''s clock, UTC.';
COMMENT ON COLUMN bar_named.open        IS 'Price of the first trade, quote units per base unit.';
COMMENT ON COLUMN bar_named.high        IS 'Highest price, quote units per base unit.';
COMMENT ON COLUMN bar_named.low         IS 'Lowest price, quote units per base unit.';
COMMENT ON COLUMN bar_named.close       IS 'Price of the last trade, quote units per base unit.';
COMMENT ON COLUMN bar_named.volume      IS 'Sum of sizes, base units; NULL where a price or a size is absurd (bar).';
COMMENT ON COLUMN bar_named.vwap        IS 'Average price by size, quote units per base unit; NULL as volume.';
COMMENT ON COLUMN bar_named.trade_count IS 'Number of trades.';
COMMENT ON COLUMN bar_named.buy_volume  IS 'Base units bought by takers; NULL as volume.';
COMMENT ON COLUMN bar_named.sell_volume IS 'Base units sold by takers; NULL as volume.';
COMMENT ON COLUMN bar_named.coverage    IS 'Part of the interval in which no trade can be missing, 0 to 1.';
COMMENT ON COLUMN bar_named.in_gap      IS 'Whether a gap touches the interval, however short it is.';
COMMENT ON COLUMN bar_named.complete    IS 'Whether all that was received until shortly after its end was loaded. False while the bar forms.';
COMMENT ON COLUMN bar_named.revision    IS '1, and one more for each change after the bar was complete.';
COMMENT ON COLUMN bar_named.updated_at  IS 'When the row was last changed, UTC.';

CREATE VIEW bars AS
SELECT start AS "timestamp", symbol, venue AS exchange, timeframe, open, high, low, close, volume, vwap, trade_count,
       complete, revision
  FROM bar_named
 UNION ALL
SELECT e.start, i.symbol, i.venue, CASE e.interval_s WHEN 60 THEN '1m' ELSE '1d' END, e.open, e.high, e.low, e.close,
       e.volume::double precision, NULL, NULL, NOT e.partial, NULL
  FROM equity_bar e
  JOIN instrument i ON i.instrument_id = e.instrument_id
 WHERE NOT e.live AND e.interval_s IN (60, 86400);
COMMENT ON VIEW   bars             IS 'Bars under the names of the specification: those of trades, and those of stocks from Yahoo Finance.';
COMMENT ON COLUMN bars."timestamp" IS 'Start of the bar, UTC.';
COMMENT ON COLUMN bars.symbol      IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN bars.exchange    IS 'Venue; yahoo for stocks.';
COMMENT ON COLUMN bars.timeframe   IS '1m, 5m, 15m, 1h, 4h or 1d; of stocks 1m and 1d.';
COMMENT ON COLUMN bars.open        IS 'First price, quote units per base unit; of a stock currency units per share.';
COMMENT ON COLUMN bars.high        IS 'Highest price; as open.';
COMMENT ON COLUMN bars.low         IS 'Lowest price; as open.';
COMMENT ON COLUMN bars.close       IS 'Last price; as open.';
COMMENT ON COLUMN bars.volume      IS 'Base units or shares traded; NULL where it is not known.';
COMMENT ON COLUMN bars.vwap        IS 'Average price by size; NULL where it is not known, as of stocks.';
COMMENT ON COLUMN bars.trade_count IS 'Number of trades; NULL of stocks.';
COMMENT ON COLUMN bars.complete    IS 'Whether the bar is over and loaded. False while it forms.';
COMMENT ON COLUMN bars.revision    IS '1, and one more for each change after the bar was complete; NULL of stocks.';

GRANT USAGE ON SCHEMA public TO tapedeck_deriver;
GRANT SELECT ON trade, gap, trade_gap, instrument, journal, schema_migration TO tapedeck_deriver;
GRANT SELECT, INSERT, UPDATE, DELETE ON bar TO tapedeck_deriver;
GRANT SELECT, UPDATE, DELETE ON bar_dirty TO tapedeck_deriver;
GRANT EXECUTE ON FUNCTION gap_extent(timestamptz, timestamptz, timestamptz, timestamptz) TO tapedeck_deriver, tapedeck_reader;
GRANT EXECUTE ON FUNCTION recording_begin(boolean, timestamptz) TO tapedeck_deriver, tapedeck_reader;
GRANT EXECUTE ON FUNCTION rebuild_bars(bigint[], timestamptz, timestamptz) TO tapedeck_deriver, tapedeck_replay;
GRANT EXECUTE ON FUNCTION fold_bar_marks(interval) TO tapedeck_writer;

-- A database that was used before this file has trades already: their bars are derived by day, the newest first.
SELECT rebuild_bars(array_agg(instrument_id), d.day, d.day + interval '1 day')
  FROM (SELECT day::timestamptz FROM day_partition WHERE table_name = 'trade' AND day <= current_date + 1
         UNION
        SELECT date_bin('1 day', ts_event, 'epoch') FROM partition.trade_default) AS d (day),
       instrument
 WHERE recorded OR instrument_id IN (SELECT instrument_id FROM backfill WHERE what = 'trades')
 GROUP BY d.day
 ORDER BY d.day DESC;

-- 0010_instrument_history.sql: what venues list of an instrument, and what they listed before.

ALTER TABLE instrument ADD COLUMN base_unit text, ADD COLUMN quote_unit text;
COMMENT ON TABLE  instrument            IS 'Everything ever recorded or listed, by its identity. Written by bin/writer; details by bin/discovery.';
COMMENT ON COLUMN instrument.status     IS 'Trading status in the venue''s own words; delisted when its list no longer has it; NULL until known.';
COMMENT ON COLUMN instrument.first_seen IS 'Receipt time of the first frame or list with it, UTC.';
COMMENT ON COLUMN instrument.base_unit  IS 'The smallest unit the venue settles base in, by its own name; NULL where it names none. Rows are in display units.';
COMMENT ON COLUMN instrument.quote_unit IS 'The smallest unit the venue settles quote in, by its own name; NULL where it names none. Rows are in display units.';
GRANT UPDATE (base, quote, kind, tick_size, min_size, status, base_unit, quote_unit) ON instrument TO tapedeck_writer;

CREATE TABLE instrument_history (
    instrument_id bigint      NOT NULL REFERENCES instrument (instrument_id),
    valid_from    timestamptz NOT NULL,
    valid_to      timestamptz CHECK (valid_to > valid_from),
    tick_size     numeric,
    min_size      numeric,
    status        text,
    PRIMARY KEY (instrument_id, valid_from)
);
CREATE UNIQUE INDEX instrument_history_open ON instrument_history (instrument_id) WHERE valid_to IS NULL;
COMMENT ON TABLE  instrument_history               IS 'Tick size, least size and status of instruments over time; a change ends a row and begins the next. Kept by trigger.';
COMMENT ON COLUMN instrument_history.instrument_id IS 'Instrument.';
COMMENT ON COLUMN instrument_history.valid_from    IS 'When we learned of these values, UTC; the venue changed them between our look before and this.';
COMMENT ON COLUMN instrument_history.valid_to      IS 'When we learned of others, UTC; NULL: they hold now.';
COMMENT ON COLUMN instrument_history.tick_size     IS 'Smallest price step, quote units per base unit.';
COMMENT ON COLUMN instrument_history.min_size      IS 'Smallest order size, base units.';
COMMENT ON COLUMN instrument_history.status        IS 'Trading status in the venue''s own words, or delisted.';

CREATE FUNCTION keep_instrument_history() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    IF TG_OP = 'UPDATE' THEN
        -- A clock set back must not make a row end before it began.
        UPDATE instrument_history SET valid_to = greatest(moment, valid_from + interval '1 microsecond')
         WHERE instrument_id = NEW.instrument_id AND valid_to IS NULL
        RETURNING valid_to INTO moment;
        moment := coalesce(moment, clock_timestamp());
    END IF;
    INSERT INTO instrument_history (instrument_id, valid_from, tick_size, min_size, status)
    VALUES (NEW.instrument_id, moment, NEW.tick_size, NEW.min_size, NEW.status);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_instrument_history() IS 'Ends the open row of instrument_history and begins the next.';

CREATE TRIGGER instrument_listed AFTER INSERT ON instrument
    FOR EACH ROW WHEN (NEW.tick_size IS NOT NULL OR NEW.min_size IS NOT NULL OR NEW.status IS NOT NULL)
    EXECUTE FUNCTION keep_instrument_history();
CREATE TRIGGER instrument_changed AFTER UPDATE OF tick_size, min_size, status ON instrument
    FOR EACH ROW WHEN (OLD.tick_size IS DISTINCT FROM NEW.tick_size OR OLD.min_size IS DISTINCT FROM NEW.min_size
                       OR OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION keep_instrument_history();
GRANT SELECT ON instrument_history TO tapedeck_writer;

-- 0002_instrument.sql: venues, instruments, and the history of what venues list of an instrument.

CREATE TABLE venue (
    name       text        PRIMARY KEY CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  venue            IS 'Venues that an instrument or a subscription names. Filled by trigger.';
COMMENT ON COLUMN venue.name       IS 'Lower-case name; the key in settings and journals.';
COMMENT ON COLUMN venue.created_at IS 'When the row was created, UTC.';

CREATE FUNCTION register_venue() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO venue (name) VALUES (NEW.venue) ON CONFLICT (name) DO NOTHING;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION register_venue() IS 'Creates the venue row that a new instrument or subscription refers to.';

CREATE TABLE instrument (
    instrument_id bigint      PRIMARY KEY,
    venue         text        NOT NULL REFERENCES venue (name),
    symbol        text        NOT NULL CHECK (symbol <> ''),
    base          text,
    quote         text,
    kind          text,
    tick_size     numeric     CHECK (tick_size > 0),
    min_size      numeric     CHECK (min_size >= 0),
    status        text,
    base_unit     text,
    quote_unit    text,
    first_seen    timestamptz NOT NULL,
    recorded      boolean     NOT NULL DEFAULT true,
    UNIQUE (venue, symbol)
);
COMMENT ON TABLE  instrument               IS 'Every instrument ever recorded or listed. Rows are written by bin/writer and bin/discovery, the listed details by bin/discovery.';
COMMENT ON COLUMN instrument.instrument_id IS 'Stable signed 64-bit hash of venue:symbol (recorder/identity.py).';
COMMENT ON COLUMN instrument.venue         IS 'Venue where it trades.';
COMMENT ON COLUMN instrument.symbol        IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN instrument.base          IS 'Asset that is bought and sold; NULL until the venue''s listing was read.';
COMMENT ON COLUMN instrument.quote         IS 'Asset in which prices are quoted; NULL until the venue''s listing was read.';
COMMENT ON COLUMN instrument.kind          IS 'spot, perpetual, future, option or outcome; NULL until known.';
COMMENT ON COLUMN instrument.tick_size     IS 'Smallest price step, quote units per base unit; NULL when unknown.';
COMMENT ON COLUMN instrument.min_size      IS 'Smallest order size, base units; NULL when unknown.';
COMMENT ON COLUMN instrument.status        IS 'Trading status in the venue''s own words; delisted when its list no longer has it; NULL until known.';
COMMENT ON COLUMN instrument.base_unit     IS 'Smallest unit in which the venue settles base, by the venue''s name for it; NULL where it names none. Rows are in display units.';
COMMENT ON COLUMN instrument.quote_unit    IS 'Smallest unit in which the venue settles quote, by the venue''s name for it; NULL where it names none. Rows are in display units.';
COMMENT ON COLUMN instrument.first_seen    IS 'Receipt time of the first frame about it, UTC; lowered when an older journal is loaded. While it is only listed, of the first list with it.';
COMMENT ON COLUMN instrument.recorded      IS 'True once a journal with data of it was loaded; false while it is only listed.';
CREATE TRIGGER instrument_venue BEFORE INSERT ON instrument FOR EACH ROW EXECUTE FUNCTION register_venue();

CREATE FUNCTION keep_first_seen() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    -- The time of a list is no evidence that anything was recorded, so the first frame replaces it, even a later one.
    IF OLD.recorded THEN
        NEW.first_seen := least(OLD.first_seen, NEW.first_seen);
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION keep_first_seen() IS 'Keeps the earlier of two values of instrument.first_seen, once the instrument is recorded.';

CREATE TRIGGER instrument_first_seen BEFORE UPDATE OF first_seen ON instrument
    FOR EACH ROW EXECUTE FUNCTION keep_first_seen();
GRANT SELECT, INSERT ON instrument TO tapedeck_writer, tapedeck_replay;
GRANT UPDATE (base, quote, kind, tick_size, min_size, status, base_unit, quote_unit, first_seen, recorded) ON instrument TO tapedeck_writer;
GRANT UPDATE (first_seen, recorded) ON instrument TO tapedeck_replay;

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
COMMENT ON TABLE  instrument_history               IS 'Tick size, minimum size and status of instruments over time; each change ends one row and begins another. Written by trigger.';
COMMENT ON COLUMN instrument_history.instrument_id IS 'Instrument (instrument).';
COMMENT ON COLUMN instrument_history.valid_from    IS 'When we first read these values, UTC; the venue changed them between our previous reading and this one.';
COMMENT ON COLUMN instrument_history.valid_to      IS 'When we first read other values, UTC; NULL while these are current.';
COMMENT ON COLUMN instrument_history.tick_size     IS 'Smallest price step, quote units per base unit; NULL when unknown.';
COMMENT ON COLUMN instrument_history.min_size      IS 'Smallest order size, base units; NULL when unknown.';
COMMENT ON COLUMN instrument_history.status        IS 'Trading status in the venue''s own words, or delisted; NULL when unknown.';

CREATE FUNCTION keep_instrument_history() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    moment timestamptz := clock_timestamp();
BEGIN
    IF TG_OP = 'UPDATE' THEN
        -- A clock that was set back must not end a row before its beginning.
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

-- 0002_reference.sql: venues, the instruments seen there, and what the recorders shall subscribe to.

CREATE TABLE venue (
    name       text        PRIMARY KEY CHECK (name <> ''),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  venue            IS 'Venues named by an instrument or a subscription. Filled by trigger.';
COMMENT ON COLUMN venue.name       IS 'Lower-case name, the key in settings and journals.';
COMMENT ON COLUMN venue.created_at IS 'When it was first named here, UTC.';

CREATE FUNCTION register_venue() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO venue (name) VALUES (NEW.venue) ON CONFLICT (name) DO NOTHING;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION register_venue() IS 'Makes the venue row that a new instrument or subscription refers to.';

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
    first_seen    timestamptz NOT NULL,
    UNIQUE (venue, symbol)
);
COMMENT ON TABLE  instrument               IS 'Everything ever recorded, by its identity. Written by bin/writer; details by bin/poller.';
COMMENT ON COLUMN instrument.instrument_id IS 'Stable signed 64-bit hash of venue:symbol (recorder/instruments.py).';
COMMENT ON COLUMN instrument.venue         IS 'Where it trades.';
COMMENT ON COLUMN instrument.symbol        IS 'The venue''s own spelling.';
COMMENT ON COLUMN instrument.base          IS 'What is bought and sold; NULL until the venue''s listing was read.';
COMMENT ON COLUMN instrument.quote         IS 'What prices are in; NULL until the venue''s listing was read.';
COMMENT ON COLUMN instrument.kind          IS 'spot, perpetual, future, option or outcome; NULL until known.';
COMMENT ON COLUMN instrument.tick_size     IS 'Smallest price step, quote units per base unit.';
COMMENT ON COLUMN instrument.min_size      IS 'Smallest order size, base units.';
COMMENT ON COLUMN instrument.status        IS 'Trading status in the venue''s own words; NULL until known.';
COMMENT ON COLUMN instrument.first_seen    IS 'Receipt time of the first frame about it, UTC.';
CREATE TRIGGER instrument_venue BEFORE INSERT ON instrument FOR EACH ROW EXECUTE FUNCTION register_venue();
GRANT SELECT, INSERT ON instrument TO tapedeck_writer;

CREATE TABLE subscription (
    venue      text        NOT NULL REFERENCES venue (name),
    symbol     text        NOT NULL CHECK (symbol <> ''),
    channel    text        NOT NULL CHECK (channel IN ('trade', 'quote', 'book')),
    active     boolean     NOT NULL DEFAULT true,
    priority   integer     NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (venue, symbol, channel)
);
COMMENT ON TABLE  subscription            IS 'Streams the recorders shall follow. Changed by people and the CLI; each change notifies channel "subscription" with the venue.';
COMMENT ON COLUMN subscription.venue      IS 'Venue to subscribe at.';
COMMENT ON COLUMN subscription.symbol     IS 'The venue''s own spelling.';
COMMENT ON COLUMN subscription.channel    IS 'trade, quote or book.';
COMMENT ON COLUMN subscription.active     IS 'False: do not record it now.';
COMMENT ON COLUMN subscription.priority   IS 'Higher is kept longer when a venue''s limits do not allow all.';
COMMENT ON COLUMN subscription.created_at IS 'When the row was made, UTC.';
COMMENT ON COLUMN subscription.updated_at IS 'When the row was last changed, UTC.';

CREATE FUNCTION touch_subscription() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION touch_subscription() IS 'Keeps subscription.updated_at.';

CREATE FUNCTION notify_subscription() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('subscription', OLD.venue);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('subscription', NEW.venue);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION notify_subscription() IS 'Tells the recorders of a venue that its subscriptions changed; Postgres merges equal ones.';

CREATE TRIGGER subscription_venue BEFORE INSERT OR UPDATE OF venue ON subscription
    FOR EACH ROW EXECUTE FUNCTION register_venue();
CREATE TRIGGER subscription_touch BEFORE UPDATE ON subscription
    FOR EACH ROW EXECUTE FUNCTION touch_subscription();
CREATE TRIGGER subscription_notify AFTER INSERT OR UPDATE OR DELETE ON subscription
    FOR EACH ROW EXECUTE FUNCTION notify_subscription();
GRANT SELECT, INSERT, UPDATE, DELETE ON subscription TO tapedeck_writer;

-- 0003_subscription.sql: the streams that recorders subscribe to.

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
COMMENT ON TABLE  subscription            IS 'Streams that recorders subscribe to. Changed by people and the CLI; each change notifies channel "subscription" with the venue.';
COMMENT ON COLUMN subscription.venue      IS 'Venue to subscribe at (venue).';
COMMENT ON COLUMN subscription.symbol     IS 'Symbol in the venue''s own spelling, or a pattern such as *-USD or top:20.';
COMMENT ON COLUMN subscription.channel    IS 'trade, quote or book.';
COMMENT ON COLUMN subscription.active     IS 'False: do not record this stream, even where a pattern matches it.';
COMMENT ON COLUMN subscription.priority   IS 'Streams of higher priority are kept when a venue''s limits do not allow all of them.';
COMMENT ON COLUMN subscription.created_at IS 'When the row was created, UTC.';
COMMENT ON COLUMN subscription.updated_at IS 'When the row was last changed, UTC.';

CREATE FUNCTION touch_subscription() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION touch_subscription() IS 'Sets subscription.updated_at.';

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
COMMENT ON FUNCTION notify_subscription() IS 'Notifies the recorders of a venue that its subscriptions changed; Postgres merges equal notifications of one transaction.';

CREATE TRIGGER subscription_venue BEFORE INSERT OR UPDATE OF venue ON subscription
    FOR EACH ROW EXECUTE FUNCTION register_venue();
CREATE TRIGGER subscription_touch BEFORE UPDATE ON subscription
    FOR EACH ROW EXECUTE FUNCTION touch_subscription();
CREATE TRIGGER subscription_notify AFTER INSERT OR UPDATE OR DELETE ON subscription
    FOR EACH ROW EXECUTE FUNCTION notify_subscription();
GRANT SELECT, INSERT, UPDATE, DELETE ON subscription TO tapedeck_writer;

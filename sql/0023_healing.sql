-- 0023_healing.sql: trades read from the history of a venue, and the reads of gaps that are not healed yet.

-- Rows come from the journal of the poller, in the transaction of the gap revisions that they follow from.
CREATE TABLE past_trade (
    instrument_id bigint           NOT NULL,
    trade_id      bigint           NOT NULL,
    ts_event      timestamptz      NOT NULL,
    ts_recv       timestamptz      NOT NULL,
    price         double precision NOT NULL,
    size          double precision NOT NULL,
    aggressor     "char",
    venue_trade_id text,
    PRIMARY KEY (instrument_id, trade_id, ts_event)
);
CREATE INDEX past_trade_ts_recv ON past_trade (ts_recv);
COMMENT ON TABLE  past_trade               IS 'Trades that were read from the history of a venue and filled gaps. Each is a row of trade too. Written by bin/writer, never updated.';
COMMENT ON COLUMN past_trade.instrument_id IS 'Instrument traded (instrument).';
COMMENT ON COLUMN past_trade.trade_id      IS 'The venue''s id of the trade.';
COMMENT ON COLUMN past_trade.ts_event      IS 'When the trade was executed, by the venue''s clock, UTC, microseconds truncated.';
COMMENT ON COLUMN past_trade.ts_recv       IS 'When the answer with it was received, by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN past_trade.price         IS 'Price, quote units per base unit.';
COMMENT ON COLUMN past_trade.size          IS 'Size, base units.';
COMMENT ON COLUMN past_trade.aggressor     IS 'Side of the taker: b buy, s sell; NULL where the venue does not say.';
COMMENT ON COLUMN past_trade.venue_trade_id IS 'The venue''s id as text; NULL where the id is a number.';
GRANT SELECT, INSERT ON past_trade TO tapedeck_writer;

-- The key of trade contains the time. A history may round it otherwise than the feed, so a trade that came by the feed
-- meanwhile, or a read that is repeated, would be a second row. What is stored already is counted as duplicate.
CREATE FUNCTION store_past_trade() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM public.trade t
                WHERE t.instrument_id = NEW.instrument_id AND t.trade_id = NEW.trade_id
                  AND t.ts_event BETWEEN NEW.ts_event - interval '2 seconds' AND NEW.ts_event + interval '2 seconds') THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.trade (instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor, venue_trade_id)
    VALUES (NEW.instrument_id, NEW.trade_id, NEW.ts_event, NEW.ts_recv, NEW.price, NEW.size, NEW.aggressor,
            NEW.venue_trade_id);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION store_past_trade() IS
    'Trigger: stores a past trade in trade, unless the instrument has a trade of this id within two seconds.';
CREATE TRIGGER past_trade_stored BEFORE INSERT ON past_trade FOR EACH ROW EXECUTE FUNCTION store_past_trade();

CREATE TABLE gap_read (
    gap_id        bigint      PRIMARY KEY,
    instrument_id bigint      NOT NULL,
    reads         integer     NOT NULL CHECK (reads > 0),
    first_at      timestamptz NOT NULL,
    read_at       timestamptz NOT NULL,
    next_at       timestamptz,
    reason        text        NOT NULL,
    evidence      jsonb       NOT NULL,
    revision      bigint      NOT NULL
);
COMMENT ON TABLE  gap_read               IS 'Reads of the range of a gap in the history of its venue that did not fill it. Written by bin/writer; a higher revision replaces a lower.';
COMMENT ON COLUMN gap_read.gap_id        IS 'The gap (gap).';
COMMENT ON COLUMN gap_read.instrument_id IS 'Instrument of the gap (instrument).';
COMMENT ON COLUMN gap_read.reads         IS 'How often its range was read so far.';
COMMENT ON COLUMN gap_read.first_at      IS 'When it was read first, UTC.';
COMMENT ON COLUMN gap_read.read_at       IS 'When it was read last, UTC.';
COMMENT ON COLUMN gap_read.next_at       IS 'When it is read again at the earliest, UTC; NULL after the last read.';
COMMENT ON COLUMN gap_read.reason        IS 'Why the last read did not fill it, in words.';
COMMENT ON COLUMN gap_read.evidence      IS 'The latest reads: time in nanoseconds since 1970, first and last missing id, number of pages, request ids as in the log, reason.';
COMMENT ON COLUMN gap_read.revision      IS 'Time of the last read, nanoseconds since 1970: the greatest replaces the others.';
GRANT SELECT, INSERT, UPDATE ON gap_read TO tapedeck_writer;

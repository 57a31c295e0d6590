-- 0027_backfill.sql: history that is asked for, how far it was read, and the candles of venues.

CREATE TABLE backfill (
    backfill_id   bigint      PRIMARY KEY,
    instrument_id bigint      NOT NULL,
    venue         text        NOT NULL CHECK (venue <> ''),
    symbol        text        NOT NULL CHECK (symbol <> ''),
    what          text        NOT NULL CHECK (what IN ('trades', 'candles')),
    since         timestamptz NOT NULL,
    until         timestamptz NOT NULL CHECK (until > since),
    asked_at      timestamptz NOT NULL,
    asked_by      text        NOT NULL CHECK (asked_by IN ('command', 'subscription'))
);
CREATE INDEX backfill_instrument_id ON backfill (instrument_id);
COMMENT ON TABLE  backfill               IS 'Times whose history is asked for. Written by tapedeck backfill, and by the poller where backfill.days is set.';
COMMENT ON COLUMN backfill.backfill_id   IS 'Stable signed 64-bit hash of what is asked for: the same question has the same number.';
COMMENT ON COLUMN backfill.instrument_id IS 'Instrument (instrument).';
COMMENT ON COLUMN backfill.venue         IS 'Venue whose history is read.';
COMMENT ON COLUMN backfill.symbol        IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN backfill.what          IS 'trades, or candles of the venue.';
COMMENT ON COLUMN backfill.since         IS 'Begin of the time by the venue''s clock, UTC, included.';
COMMENT ON COLUMN backfill.until         IS 'End of the time by the venue''s clock, UTC, excluded.';
COMMENT ON COLUMN backfill.asked_at      IS 'When it was asked for last, by our clock, UTC. What was stopped before is tried again.';
COMMENT ON COLUMN backfill.asked_by      IS 'command: a person; subscription: the setting backfill.days.';
GRANT SELECT, INSERT, UPDATE, DELETE ON backfill TO tapedeck_writer;

-- A row comes from the journal of the poller, in the transaction of the rows that were read up to there.
CREATE TABLE backfill_range (
    backfill_id   bigint      PRIMARY KEY,
    instrument_id bigint      NOT NULL,
    state         text        NOT NULL CHECK (state IN ('running', 'done', 'short', 'stopped')),
    grade         text        CHECK (grade IN ('proved', 'claimed')),
    reason        text,
    since         timestamptz NOT NULL,
    until         timestamptz NOT NULL,
    edge_id       bigint,
    edge_at       timestamptz,
    witnessed     boolean     NOT NULL,
    answers       bigint      NOT NULL,
    listed        bigint      NOT NULL,
    controls      bigint      NOT NULL,
    missing       bigint      NOT NULL,
    revision      bigint      NOT NULL
);
COMMENT ON TABLE  backfill_range               IS 'How far each backfill has read. Written by bin/writer; a higher revision replaces a lower.';
COMMENT ON COLUMN backfill_range.backfill_id   IS 'What is asked for (backfill).';
COMMENT ON COLUMN backfill_range.instrument_id IS 'Instrument (instrument).';
COMMENT ON COLUMN backfill_range.state         IS 'running; done: all of the time was read; short: the history of the venue does not reach as far; stopped: an answer proves nothing.';
COMMENT ON COLUMN backfill_range.grade         IS 'proved: the ids follow each other from before the time to after it; claimed: nothing independent confirms the venue. NULL while it runs.';
COMMENT ON COLUMN backfill_range.reason        IS 'Why it is short or stopped, or not proved, in words.';
COMMENT ON COLUMN backfill_range.since         IS 'Begin of the time that was read so far, by the venue''s clock, UTC.';
COMMENT ON COLUMN backfill_range.until         IS 'End of the time that was read so far, by the venue''s clock, UTC.';
COMMENT ON COLUMN backfill_range.edge_id       IS 'Id of the trade that was read last; the next read must list it again. NULL before the first, and for candles.';
COMMENT ON COLUMN backfill_range.edge_at       IS 'When that trade was executed, or up to where candles were read, by the venue''s clock, UTC.';
COMMENT ON COLUMN backfill_range.witnessed     IS 'Whether a trade beyond the end at which the read began was listed.';
COMMENT ON COLUMN backfill_range.answers       IS 'Answers of the venue so far.';
COMMENT ON COLUMN backfill_range.listed        IS 'Trades or candles of the time that the venue listed so far.';
COMMENT ON COLUMN backfill_range.controls      IS 'Listed trades that were stored before, with equal values.';
COMMENT ON COLUMN backfill_range.missing       IS 'Ids that the venue did not list; each is in an open gap, which healing reads again.';
COMMENT ON COLUMN backfill_range.revision      IS 'Time of the last read, nanoseconds since 1970: the greatest replaces the others.';
GRANT SELECT, INSERT, UPDATE ON backfill_range TO tapedeck_writer;

CREATE TABLE venue_bar (
    instrument_id bigint           NOT NULL,
    interval_s    integer          NOT NULL CHECK (interval_s > 0),
    start         timestamptz      NOT NULL,
    open          double precision NOT NULL,
    high          double precision NOT NULL,
    low           double precision NOT NULL,
    close         double precision NOT NULL,
    volume        double precision NOT NULL,
    volume_digits integer          NOT NULL CHECK (volume_digits >= 0),
    trade_count   bigint,
    ts_recv       timestamptz      NOT NULL,
    revision      bigint           NOT NULL,
    PRIMARY KEY (instrument_id, interval_s, start)
);
COMMENT ON TABLE  venue_bar               IS 'Candles as their venue sums them up: a witness. Our own bars are made of trades only. Written by bin/writer; a higher revision replaces a lower.';
COMMENT ON COLUMN venue_bar.instrument_id IS 'Instrument (instrument).';
COMMENT ON COLUMN venue_bar.interval_s    IS 'Length, seconds.';
COMMENT ON COLUMN venue_bar.start         IS 'Begin, by the venue''s clock, UTC. A minute without a trade has no row at some venues, and one without volume at others.';
COMMENT ON COLUMN venue_bar.open          IS 'First price, quote units per base unit.';
COMMENT ON COLUMN venue_bar.high          IS 'Highest price, quote units per base unit.';
COMMENT ON COLUMN venue_bar.low           IS 'Lowest price, quote units per base unit.';
COMMENT ON COLUMN venue_bar.close         IS 'Last price, quote units per base unit.';
COMMENT ON COLUMN venue_bar.volume        IS 'Volume, base units; contracts for derivatives of OKX.';
COMMENT ON COLUMN venue_bar.volume_digits IS 'Decimals of the volume as the venue prints it: sums of trades are compared at the last of them.';
COMMENT ON COLUMN venue_bar.trade_count   IS 'Number of trades; NULL where the venue does not say.';
COMMENT ON COLUMN venue_bar.ts_recv       IS 'When the answer with it was received, by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN venue_bar.revision      IS 'Receipt in nanoseconds since 1970: the greatest replaces the others.';
GRANT SELECT, INSERT, UPDATE ON venue_bar TO tapedeck_writer;

CREATE VIEW venue_bar_check AS
SELECT v.instrument_id, v.interval_s, v.start, v.volume AS venue_volume, t.volume AS trade_volume,
       v.trade_count AS venue_trades, coalesce(t.trades, 0) AS stored_trades,
       coalesce(abs(t.volume - v.volume::numeric) <= 0.5 * 10::numeric ^ (-v.volume_digits)
                AND t.high = v.high AND t.low = v.low AND t.trades = coalesce(v.trade_count, t.trades),
                v.volume = 0) AS agrees
  FROM venue_bar v
  LEFT JOIN LATERAL (
       SELECT sum(size::numeric) AS volume, max(price) AS high, min(price) AS low, count(*) AS trades
         FROM trade
        WHERE instrument_id = v.instrument_id
          AND ts_event >= v.start AND ts_event < v.start + make_interval(secs => v.interval_s)
       HAVING count(*) > 0) t ON true;
COMMENT ON VIEW   venue_bar_check               IS 'Each candle of a venue beside the trades that are stored of its time. Most venues call their candles possibly incomplete: one that agrees proves, another one does not disprove.';
COMMENT ON COLUMN venue_bar_check.instrument_id IS 'Instrument (instrument).';
COMMENT ON COLUMN venue_bar_check.interval_s    IS 'Length, seconds.';
COMMENT ON COLUMN venue_bar_check.start         IS 'Begin, by the venue''s clock, UTC.';
COMMENT ON COLUMN venue_bar_check.venue_volume  IS 'Volume of the candle, base units.';
COMMENT ON COLUMN venue_bar_check.trade_volume  IS 'Sum of the sizes of the stored trades, base units, in decimals; NULL without a trade.';
COMMENT ON COLUMN venue_bar_check.venue_trades  IS 'Number of trades of the candle; NULL where the venue does not say.';
COMMENT ON COLUMN venue_bar_check.stored_trades IS 'Number of the stored trades.';
COMMENT ON COLUMN venue_bar_check.agrees        IS 'Whether volume (to the last digit that the venue prints), highest and lowest price and number are equal.';

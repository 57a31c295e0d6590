-- 0018_equity.sql: bars of stocks, splits and dividends as Yahoo Finance tells them, and prices adjusted by both.

CREATE TABLE equity_bar (
    instrument_id bigint           NOT NULL,
    interval_s    integer          NOT NULL CHECK (interval_s > 0),
    start         timestamptz      NOT NULL,
    day           date             NOT NULL,
    open          double precision NOT NULL CHECK (open  > '-Infinity' AND open  < 'Infinity'),
    high          double precision NOT NULL CHECK (high  > '-Infinity' AND high  < 'Infinity'),
    low           double precision NOT NULL CHECK (low   > '-Infinity' AND low   < 'Infinity'),
    close         double precision NOT NULL CHECK (close > '-Infinity' AND close < 'Infinity'),
    volume        bigint           CHECK (volume >= 0),
    adjclose      double precision,
    currency      text,
    live          boolean          NOT NULL,
    partial       boolean          NOT NULL,
    flags         text[]           NOT NULL,
    ts_recv       timestamptz      NOT NULL,
    revision      bigint           NOT NULL,
    PRIMARY KEY (instrument_id, interval_s, start)
);
COMMENT ON TABLE  equity_bar               IS 'Bars of stocks and other instruments of Yahoo Finance, as its chart answers have them. Written by bin/writer; a newer answer replaces a row whose values changed.';
COMMENT ON COLUMN equity_bar.instrument_id IS 'Instrument (instrument); its venue is yahoo.';
COMMENT ON COLUMN equity_bar.interval_s    IS 'Length of the bar, seconds: 60 or 86400.';
COMMENT ON COLUMN equity_bar.start         IS 'Start of the bar, UTC. A daily bar has the open of its session, a live row the time of the quote.';
COMMENT ON COLUMN equity_bar.day           IS 'Date of the session in the time zone of the exchange.';
COMMENT ON COLUMN equity_bar.open          IS 'First price, currency units per share; adjusted for splits until ts_recv, not for dividends.';
COMMENT ON COLUMN equity_bar.high          IS 'Highest price; as open.';
COMMENT ON COLUMN equity_bar.low           IS 'Lowest price; as open.';
COMMENT ON COLUMN equity_bar.close         IS 'Last price; as open. It may be outside of low to high where an auction gives it (flag inconsistent).';
COMMENT ON COLUMN equity_bar.volume        IS 'Shares traded, adjusted for splits until ts_recv; NULL where Yahoo names none. The minutes of a day do not add up to it: auctions are missing.';
COMMENT ON COLUMN equity_bar.adjclose      IS 'Close that Yahoo had adjusted for dividends too at ts_recv, evidence for the flags; view equity_day derives it. NULL on minutes.';
COMMENT ON COLUMN equity_bar.currency      IS 'ISO code of the currency; prices that Yahoo sends in hundredths (GBp, ZAc, ILA) are divided by 100. NULL where Yahoo names none.';
COMMENT ON COLUMN equity_bar.live          IS 'Whether the row is the latest quote, which Yahoo appends to its bars: it is no bar.';
COMMENT ON COLUMN equity_bar.partial       IS 'Whether the bar was unfinished at ts_recv, or so new that Yahoo revises it.';
COMMENT ON COLUMN equity_bar.flags         IS 'What is odd about the row, not repaired: scale_100 scale_split zero_price negative_price zero_volume inconsistent merged extended off_session.';
COMMENT ON COLUMN equity_bar.ts_recv       IS 'When the answer with these values was received, UTC, microseconds truncated.';
COMMENT ON COLUMN equity_bar.revision      IS 'ts_recv in nanoseconds since 1970: the greatest replaces the others.';
GRANT SELECT, INSERT, UPDATE ON equity_bar TO tapedeck_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON equity_bar TO tapedeck_replay;

CREATE TABLE corporate_action (
    instrument_id bigint           NOT NULL,
    kind          text             NOT NULL CHECK (kind IN ('dividend', 'split', 'capital_gain')),
    ex_day        date             NOT NULL,
    ex_at         timestamptz      NOT NULL,
    amount        double precision CHECK (amount > 0 AND amount < 'Infinity'),
    numerator     double precision CHECK (numerator > 0 AND numerator < 'Infinity'),
    denominator   double precision CHECK (denominator > 0 AND denominator < 'Infinity'),
    currency      text,
    flags         text[]           NOT NULL,
    ts_recv       timestamptz      NOT NULL,
    revision      bigint           NOT NULL,
    PRIMARY KEY (instrument_id, kind, ex_day),
    CHECK ((kind = 'split') = (numerator IS NOT NULL AND denominator IS NOT NULL AND amount IS NULL)),
    CHECK ((kind = 'split') = (amount IS NULL))
);
COMMENT ON TABLE  corporate_action               IS 'Splits, dividends and distributed capital gains of Yahoo Finance. Written by bin/writer; a newer answer replaces a row whose values changed.';
COMMENT ON COLUMN corporate_action.instrument_id IS 'Instrument (instrument); its venue is yahoo.';
COMMENT ON COLUMN corporate_action.kind          IS 'dividend, split or capital_gain.';
COMMENT ON COLUMN corporate_action.ex_day        IS 'First date, in the time zone of the exchange, on which the share trades without it.';
COMMENT ON COLUMN corporate_action.ex_at         IS 'Time that Yahoo gives it, the open of that session as a rule, UTC.';
COMMENT ON COLUMN corporate_action.amount        IS 'Currency units per share, adjusted for splits until ts_recv; NULL for a split.';
COMMENT ON COLUMN corporate_action.numerator     IS 'New shares for `denominator` old ones; NULL where it is no split.';
COMMENT ON COLUMN corporate_action.denominator   IS 'Old shares; NULL where it is no split.';
COMMENT ON COLUMN corporate_action.currency      IS 'ISO code of the currency of amount; NULL where Yahoo names none.';
COMMENT ON COLUMN corporate_action.flags         IS 'What is odd about it, not repaired: not_in_adjclose differs_from_adjclose gain_counted_twice no_price_drop wrong_unit repeated summed prices_not_scaled.';
COMMENT ON COLUMN corporate_action.ts_recv       IS 'When the answer with these values was received, UTC, microseconds truncated.';
COMMENT ON COLUMN corporate_action.revision      IS 'ts_recv in nanoseconds since 1970: the greatest replaces the others.';
GRANT SELECT, INSERT, UPDATE ON corporate_action TO tapedeck_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON corporate_action TO tapedeck_replay;

-- Yahoo adjusts the past for a split when it happens. A row received before it is still in old shares.
CREATE FUNCTION shares_since(in_instrument_id bigint, in_day date, in_ts_recv timestamptz) RETURNS double precision
    LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT coalesce(exp(sum(ln(numerator / denominator))), 1.0)
      FROM public.corporate_action
     WHERE instrument_id = in_instrument_id AND kind = 'split' AND ex_day > in_day AND ex_at > in_ts_recv
$$;
COMMENT ON FUNCTION shares_since(bigint, date, timestamptz) IS
    'New shares for one share of a row of that day, by the splits after its receipt; 1 where there was none.';
GRANT EXECUTE ON FUNCTION shares_since(bigint, date, timestamptz) TO tapedeck_reader;

-- Conditions on symbol, instrument_id and day reach equity_bar, and everything else goes through the keys.
CREATE VIEW equity_day AS
SELECT i.symbol, b.day, b.start,
       b.open / s.shares AS open, b.high / s.shares AS high, b.low / s.shares AS low, b.close / s.shares AS close,
       b.volume * s.shares AS volume,
       b.close / s.shares * d.factor AS adjclose, d.factor AS dividend_factor,
       b.currency, b.partial, b.flags, b.ts_recv, b.instrument_id
  FROM equity_bar b
  JOIN instrument i ON i.instrument_id = b.instrument_id
 CROSS JOIN LATERAL (SELECT shares_since(b.instrument_id, b.day, b.ts_recv) AS shares) s
 CROSS JOIN LATERAL (
    -- A dividend lowers the price by its part of the close before it. One of the full price or more is a defect.
    SELECT coalesce(exp(sum(ln(paid.kept)) FILTER (WHERE paid.kept > 0)), 1.0) AS factor
      FROM (SELECT 1 - a.amount / shares_since(a.instrument_id, a.ex_day - 1, a.ts_recv)
                       * shares_since(p.instrument_id, p.day, p.ts_recv) / nullif(p.close, 0) AS kept
              FROM corporate_action a
             CROSS JOIN LATERAL (SELECT l.instrument_id, l.day, l.ts_recv, l.close
                                   FROM equity_bar l
                                  WHERE l.instrument_id = a.instrument_id AND l.interval_s = 86400 AND NOT l.live
                                    AND l.day < a.ex_day AND l.start < a.ex_at + interval '2 days'
                                  ORDER BY l.start DESC LIMIT 1) p
             WHERE a.instrument_id = b.instrument_id AND a.kind = 'dividend' AND a.ex_day > b.day) paid
 ) d
 WHERE b.interval_s = 86400 AND NOT b.live;
COMMENT ON VIEW   equity_day                 IS 'Daily bars of stocks in the shares of today, with a close adjusted for dividends that is derived from corporate_action. Flagged dividends are used as they are: look at flags.';
COMMENT ON COLUMN equity_day.symbol          IS 'Yahoo''s symbol.';
COMMENT ON COLUMN equity_day.day             IS 'Date of the session in the time zone of the exchange.';
COMMENT ON COLUMN equity_day.start           IS 'Open of the session, UTC.';
COMMENT ON COLUMN equity_day.open            IS 'First price, currency units per share of today.';
COMMENT ON COLUMN equity_day.high            IS 'Highest price; as open.';
COMMENT ON COLUMN equity_day.low             IS 'Lowest price; as open.';
COMMENT ON COLUMN equity_day.close           IS 'Last price; as open.';
COMMENT ON COLUMN equity_day.volume          IS 'Shares of today that were traded.';
COMMENT ON COLUMN equity_day.adjclose        IS 'close times dividend_factor: the price of a share whose dividends were reinvested.';
COMMENT ON COLUMN equity_day.dividend_factor IS 'Product of 1 - amount / close before, over all later dividends.';
COMMENT ON COLUMN equity_day.currency        IS 'ISO code of the currency; NULL where Yahoo names none.';
COMMENT ON COLUMN equity_day.partial         IS 'Whether the day was unfinished when the row was received.';
COMMENT ON COLUMN equity_day.flags           IS 'What is odd about the row (equity_bar.flags).';
COMMENT ON COLUMN equity_day.ts_recv         IS 'When the answer with these values was received, UTC.';
COMMENT ON COLUMN equity_day.instrument_id   IS 'Instrument (instrument).';
GRANT SELECT ON equity_day TO tapedeck_writer;

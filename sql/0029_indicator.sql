-- 0029_indicator.sql: indicators and features of bars, features of snapshots, and the marks that say which to derive.

-- Coverage of an instrument that is not described yet is unknown. The sum that two features need is kept with the bar.
ALTER TABLE bar
    ALTER COLUMN coverage DROP NOT NULL,
    ALTER COLUMN in_gap DROP NOT NULL,
    ADD COLUMN signed_notional double precision;
COMMENT ON COLUMN bar.coverage        IS 'Part of the interval outside of gaps of trades that are not healed, and after recording began or backfilled with proof; 0 to 1. NULL while the instrument has no row in instrument.';
COMMENT ON COLUMN bar.in_gap          IS 'Whether such a gap touches the interval, however short it is; NULL as coverage.';
COMMENT ON COLUMN bar.signed_notional IS 'Sum of price * size bought by takers, less that sold, quote units; NULL as volume.';

-- The coverage of all bars of an instrument becomes known with its row.
CREATE OR REPLACE FUNCTION mark_begin() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.bar_dirty (kind, instrument_ids, low, high)
        SELECT 'g', array_agg(instrument_id), '-infinity', 'infinity' FROM fresh HAVING count(*) > 0;
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

-- ---- what must be derived ------------------------------------------------------------------------------------------

CREATE TABLE derived_list (
    name    text        PRIMARY KEY CHECK (name IN ('indicator', 'bar_feature', 'snapshot_feature', 'quality')),
    version text        NOT NULL,
    since   timestamptz NOT NULL,
    user_id bigint      NOT NULL
);
COMMENT ON TABLE  derived_list         IS 'Versions of the lists of indicators, features and rules that are derived now. A new one marks everything to be derived again. Written by bin/deriver.';
COMMENT ON COLUMN derived_list.name    IS 'Table whose columns the list names; quality for the rules.';
COMMENT ON COLUMN derived_list.version IS 'Number of its columns, and 12 digits of the SHA-256 of their definitions.';
COMMENT ON COLUMN derived_list.since   IS 'When the deriver began to use it, UTC.';
COMMENT ON COLUMN derived_list.user_id IS 'Random number of the connection that derived by it last: another deriver may not rely on the bars that it remembers.';

CREATE TABLE derived_dirty (
    mark_id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id bigint      NOT NULL,
    interval_s    integer     NOT NULL,
    low           timestamptz NOT NULL,
    high          timestamptz NOT NULL,
    reach         boolean     NOT NULL DEFAULT true,
    marked_at     timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX derived_dirty_series ON derived_dirty (instrument_id, interval_s);
COMMENT ON TABLE  derived_dirty               IS 'Complete bars whose indicators, features and findings must be derived again. Written by a trigger of bar; bin/deriver removes a mark in the transaction that stores them.';
COMMENT ON COLUMN derived_dirty.mark_id       IS 'Number of the mark, in the order of marking.';
COMMENT ON COLUMN derived_dirty.instrument_id IS 'Instrument traded (instrument).';
COMMENT ON COLUMN derived_dirty.interval_s    IS 'Length of the bars, seconds.';
COMMENT ON COLUMN derived_dirty.low           IS 'Start of the first bar that changed, UTC.';
COMMENT ON COLUMN derived_dirty.high          IS 'Start of the last bar that changed, UTC.';
COMMENT ON COLUMN derived_dirty.reach         IS 'Whether later bars whose windows hold these are concerned too; false where they are marked on their own.';
COMMENT ON COLUMN derived_dirty.marked_at     IS 'When it was marked, UTC.';

-- A block is 1440 bars: a day of minutes. Marks of one block are one row.
CREATE FUNCTION mark_derived() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO public.derived_dirty (instrument_id, interval_s, low, high)
        SELECT instrument_id, interval_s, min(start), max(start) FROM fresh WHERE complete
         GROUP BY instrument_id, interval_s, date_bin(interval_s * interval '1440 seconds', start, 'epoch');
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO public.derived_dirty (instrument_id, interval_s, low, high)
        SELECT instrument_id, interval_s, min(start), max(start) FROM stale WHERE complete
         GROUP BY instrument_id, interval_s, date_bin(interval_s * interval '1440 seconds', start, 'epoch');
    ELSE
        INSERT INTO public.derived_dirty (instrument_id, interval_s, low, high)
        SELECT instrument_id, interval_s, min(start), max(start)
          FROM (SELECT instrument_id, interval_s, start FROM fresh WHERE complete
                 UNION ALL
                SELECT instrument_id, interval_s, start FROM stale WHERE complete) AS both_of
         GROUP BY instrument_id, interval_s, date_bin(interval_s * interval '1440 seconds', start, 'epoch');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_derived() IS 'Trigger: marks the complete bars that a statement changed, so that what follows from them is derived again.';
CREATE TRIGGER bar_inserted AFTER INSERT ON bar REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_derived();
CREATE TRIGGER bar_updated AFTER UPDATE ON bar REFERENCING NEW TABLE AS fresh OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_derived();
CREATE TRIGGER bar_deleted AFTER DELETE ON bar REFERENCING OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_derived();

-- ---- what is derived -----------------------------------------------------------------------------------------------

CREATE TABLE indicator (
    instrument_id bigint           NOT NULL,
    interval_s    integer          NOT NULL,
    start         timestamptz      NOT NULL,
    bar_revision  integer          NOT NULL,
    version       text             NOT NULL,
    updated_at    timestamptz      NOT NULL,
    rsi_14        double precision,
    macd          double precision,
    macd_signal   double precision,
    macd_hist     double precision,
    bb_upper      double precision,
    bb_middle     double precision,
    bb_lower      double precision,
    sma_20        double precision,
    sma_50        double precision,
    sma_100       double precision,
    sma_200       double precision,
    ema_12        double precision,
    ema_26        double precision,
    ema_50        double precision,
    stoch_k       double precision,
    stoch_d       double precision,
    atr_14        double precision,
    adx_14        double precision,
    plus_di_14    double precision,
    minus_di_14   double precision,
    volume_sma_20 double precision,
    mfi_14        double precision,
    obv           double precision,
    vwap          double precision,
    PRIMARY KEY (instrument_id, interval_s, start)
);

COMMENT ON TABLE  indicator IS 'The 13 indicators in 24 columns of each complete bar, by TA-Lib. Written by bin/deriver; NULL where the bars before do not suffice or a gap interrupts them.';
COMMENT ON COLUMN indicator.instrument_id IS 'Instrument traded (instrument).';
COMMENT ON COLUMN indicator.interval_s    IS 'Length of the bar, seconds.';
COMMENT ON COLUMN indicator.start         IS 'Start of the bar, by the venue''s clock, UTC. The values were known once the bar was complete (bar).';
COMMENT ON COLUMN indicator.bar_revision  IS 'Revision of the bar when this was computed (bar.revision).';
COMMENT ON COLUMN indicator.version       IS 'Version of the list that computed it (derived_list).';
COMMENT ON COLUMN indicator.updated_at    IS 'When the row was last changed, UTC.';
COMMENT ON COLUMN indicator.rsi_14        IS 'Relative strength index of 14 bars, 0 to 100.';
COMMENT ON COLUMN indicator.macd          IS 'MACD of 12 and 26 bars, price units.';
COMMENT ON COLUMN indicator.macd_signal   IS 'Its average of 9 bars, price units.';
COMMENT ON COLUMN indicator.macd_hist     IS 'macd - macd_signal, price units.';
COMMENT ON COLUMN indicator.bb_upper      IS 'Upper Bollinger band, 20 bars and 2 deviations, price units.';
COMMENT ON COLUMN indicator.bb_middle     IS 'Middle Bollinger band, price units.';
COMMENT ON COLUMN indicator.bb_lower      IS 'Lower Bollinger band, price units.';
COMMENT ON COLUMN indicator.sma_20        IS 'Mean of 20 closes, price units.';
COMMENT ON COLUMN indicator.sma_50        IS 'Mean of 50 closes, price units.';
COMMENT ON COLUMN indicator.sma_100       IS 'Mean of 100 closes, price units.';
COMMENT ON COLUMN indicator.sma_200       IS 'Mean of 200 closes, price units.';
COMMENT ON COLUMN indicator.ema_12        IS 'Exponential mean of 12 closes, price units.';
COMMENT ON COLUMN indicator.ema_26        IS 'Exponential mean of 26 closes, price units.';
COMMENT ON COLUMN indicator.ema_50        IS 'Exponential mean of 50 closes, price units.';
COMMENT ON COLUMN indicator.stoch_k       IS 'Stochastic %K of 14 bars, mean of 3, 0 to 100.';
COMMENT ON COLUMN indicator.stoch_d       IS 'Mean of 3 of stoch_k, 0 to 100.';
COMMENT ON COLUMN indicator.atr_14        IS 'Average true range of 14 bars, price units.';
COMMENT ON COLUMN indicator.adx_14        IS 'Average directional index of 14 bars, 0 to 100.';
COMMENT ON COLUMN indicator.plus_di_14    IS 'Positive directional indicator of 14 bars, 0 to 100.';
COMMENT ON COLUMN indicator.minus_di_14   IS 'Negative directional indicator of 14 bars, 0 to 100.';
COMMENT ON COLUMN indicator.volume_sma_20 IS 'Mean of 20 volumes, base units.';
COMMENT ON COLUMN indicator.mfi_14        IS 'Money flow index of 14 bars, 0 to 100.';
COMMENT ON COLUMN indicator.obv           IS 'On-balance volume since the block of the bar began, base units.';
COMMENT ON COLUMN indicator.vwap          IS 'Average price by size of the UTC day so far, price units.';

CREATE TABLE bar_feature (
    instrument_id        bigint           NOT NULL,
    interval_s           integer          NOT NULL CHECK (interval_s = 60),
    start                timestamptz      NOT NULL,
    bar_revision         integer          NOT NULL,
    version              text             NOT NULL,
    updated_at           timestamptz      NOT NULL,
    ret_1                double precision,
    ret_5                double precision,
    ret_15               double precision,
    ret_60               double precision,
    ret_240              double precision,
    ret_accel            double precision,
    mom_z_60             double precision,
    close_vs_vwap_day    double precision,
    range_pos_60         double precision,
    drawdown_240         double precision,
    acf1_60              double precision,
    acf5_240             double precision,
    variance_ratio_5     double precision,
    efficiency_ratio_60  double precision,
    rsi_14               double precision,
    macd_hist_atr        double precision,
    bb_pos               double precision,
    adx_14               double precision,
    stoch_diff           double precision,
    sma_dist_50          double precision,
    vol_z_tod            double precision,
    vol_ratio_20         double precision,
    trade_count_z        double precision,
    avg_trade_size_ratio double precision,
    tfi_1                double precision,
    tfi_5                double precision,
    tfi_15               double precision,
    amihud_60            double precision,
    kyle_lambda_60       double precision,
    impact_r2_60         double precision,
    rv_15                double precision,
    rv_60                double precision,
    rv_240               double precision,
    parkinson_60         double precision,
    garman_klass_60      double precision,
    rogers_satchell_60   double precision,
    bipower_ratio_60     double precision,
    semivar_down_60      double precision,
    vol_of_vol           double precision,
    vol_ratio            double precision,
    skew_240             double precision,
    kurt_240             double precision,
    PRIMARY KEY (instrument_id, interval_s, start)
);

COMMENT ON TABLE  bar_feature IS 'The 42 features of each complete bar of a minute that follow from bars. Written by bin/deriver; NULL where the window does not suffice or the gap policy forbids a value.';
COMMENT ON COLUMN bar_feature.instrument_id        IS 'Instrument traded (instrument).';
COMMENT ON COLUMN bar_feature.interval_s           IS 'Length of the bar, seconds.';
COMMENT ON COLUMN bar_feature.start                IS 'Start of the bar, by the venue''s clock, UTC. The values were known once the bar was complete (bar).';
COMMENT ON COLUMN bar_feature.bar_revision         IS 'Revision of the bar when this was computed (bar.revision).';
COMMENT ON COLUMN bar_feature.version              IS 'Version of the list that computed it (derived_list).';
COMMENT ON COLUMN bar_feature.updated_at           IS 'When the row was last changed, UTC.';
COMMENT ON COLUMN bar_feature.ret_1                IS 'Return over k bars; bp. NULL: fewer than k+1 bars, or a gap touches one.';
COMMENT ON COLUMN bar_feature.ret_5                IS 'Return over k bars; bp. NULL: fewer than k+1 bars, or a gap touches one.';
COMMENT ON COLUMN bar_feature.ret_15               IS 'Return over k bars; bp. NULL: fewer than k+1 bars, or a gap touches one.';
COMMENT ON COLUMN bar_feature.ret_60               IS 'Return over k bars; bp. NULL: fewer than k+1 bars, or a gap touches one.';
COMMENT ON COLUMN bar_feature.ret_240              IS 'Return over k bars; bp. NULL: fewer than k+1 bars, or a gap touches one.';
COMMENT ON COLUMN bar_feature.ret_accel            IS 'Change of the one-bar return; bp. NULL: fewer than 3 bars, or a gap touches one.';
COMMENT ON COLUMN bar_feature.mom_z_60             IS 'Sum of an hour''s returns divided by its standard deviation; sigma. NULL: fewer than 60 returns, a gap touches one of the bars, or sd 0.';
COMMENT ON COLUMN bar_feature.close_vs_vwap_day    IS 'Distance of the close from the volume-weighted price of the UTC day so far; bp. NULL: no volume in the session, or a gap touches more than 10 % of its bars.';
COMMENT ON COLUMN bar_feature.range_pos_60         IS 'Position of the close in the range of the hour; 0 to 1. NULL: fewer than 60 bars, or a flat range.';
COMMENT ON COLUMN bar_feature.drawdown_240         IS 'Distance of the close below the highest price of four hours; bp. NULL: fewer than 240 bars.';
COMMENT ON COLUMN bar_feature.acf1_60              IS 'Autocorrelation of consecutive returns over an hour; 1. NULL: fewer than 60 returns, or sd 0.';
COMMENT ON COLUMN bar_feature.acf5_240             IS 'Autocorrelation of returns five bars apart over four hours; 1. NULL: fewer than 240 returns, or sd 0.';
COMMENT ON COLUMN bar_feature.variance_ratio_5     IS 'Variance ratio of five-bar and one-bar returns: 1 for a random walk, above 1 for a trend; 1. NULL: fewer than 240 returns, or Var 0.';
COMMENT ON COLUMN bar_feature.efficiency_ratio_60  IS 'Net movement of an hour divided by the length of the path; 0 to 1. NULL: fewer than 61 bars, a gap touches one, or no movement.';
COMMENT ON COLUMN bar_feature.rsi_14               IS 'Relative strength index; 0 to 100. NULL: fewer than 15 bars since the last gap.';
COMMENT ON COLUMN bar_feature.macd_hist_atr        IS 'MACD histogram in units of the average true range; 1. NULL: either null, or atr_14 = 0.';
COMMENT ON COLUMN bar_feature.bb_pos               IS 'Position of the close between its Bollinger bands; 1, 0 at the lower band. NULL: band null, or of zero width.';
COMMENT ON COLUMN bar_feature.adx_14               IS 'Average directional index: strength of a trend in either direction; 0 to 100. NULL: fewer than 28 bars since the last gap.';
COMMENT ON COLUMN bar_feature.stoch_diff           IS 'Stochastic oscillator minus its own mean; points of 100. NULL: fewer than 18 bars since the last gap.';
COMMENT ON COLUMN bar_feature.sma_dist_50          IS 'Distance of the close from the mean of 50 closes; bp. NULL: fewer than 50 bars since the last gap.';
COMMENT ON COLUMN bar_feature.vol_z_tod            IS 'Volume of the bar relative to the same minute of the previous 20 days; sigma. NULL: fewer than 10 such days, no volume, or sd 0.';
COMMENT ON COLUMN bar_feature.vol_ratio_20         IS 'Volume of the bar divided by the mean of the last 20; 1. NULL: fewer than 20 bars, or mean 0.';
COMMENT ON COLUMN bar_feature.trade_count_z        IS 'Number of trades of the bar relative to the same minute of the previous 20 days; sigma. NULL: fewer than 10 such days, no trade, or sd 0.';
COMMENT ON COLUMN bar_feature.avg_trade_size_ratio IS 'Mean trade size of 15 minutes divided by that of four hours; 1. NULL: fewer than 240 bars, a gap touches more than 10 % of the 240 or of the 15, or no trade in 15.';
COMMENT ON COLUMN bar_feature.tfi_1                IS 'Imbalance of volume bought and sold by takers over k bars; -1 to 1. NULL: fewer than k bars, or no trade with a known side.';
COMMENT ON COLUMN bar_feature.tfi_5                IS 'Imbalance of volume bought and sold by takers over k bars; -1 to 1. NULL: fewer than k bars, or no trade with a known side.';
COMMENT ON COLUMN bar_feature.tfi_15               IS 'Imbalance of volume bought and sold by takers over k bars; -1 to 1. NULL: fewer than k bars, or no trade with a known side.';
COMMENT ON COLUMN bar_feature.amihud_60            IS 'Absolute return of a bar per traded value, over an hour; bp per million quote units. NULL: fewer than 60 returns, or nothing traded.';
COMMENT ON COLUMN bar_feature.kyle_lambda_60       IS 'Price impact per net value bought by takers, from 60 minutes; bp per million quote units. NULL: fewer than 60 returns, fewer than 30 minutes with net flow, or flow of no variance.';
COMMENT ON COLUMN bar_feature.impact_r2_60         IS 'Fraction of an hour''s price variance explained by net flow; 0 to 1. NULL: as kyle_lambda_60, or a price that did not move.';
COMMENT ON COLUMN bar_feature.rv_15                IS 'Realised volatility over k bars; bp. NULL: fewer than k returns.';
COMMENT ON COLUMN bar_feature.rv_60                IS 'Realised volatility over k bars; bp. NULL: fewer than k returns.';
COMMENT ON COLUMN bar_feature.rv_240               IS 'Realised volatility over k bars; bp. NULL: fewer than k returns.';
COMMENT ON COLUMN bar_feature.parkinson_60         IS 'Volatility of a bar from its high and low; bp per bar. NULL: fewer than 60 bars.';
COMMENT ON COLUMN bar_feature.garman_klass_60      IS 'Volatility of a bar from its four prices, assuming no drift; bp per bar. NULL: fewer than 60 bars, or a negative mean.';
COMMENT ON COLUMN bar_feature.rogers_satchell_60   IS 'Volatility of a bar from its four prices, independent of drift; bp per bar. NULL: fewer than 60 bars.';
COMMENT ON COLUMN bar_feature.bipower_ratio_60     IS 'Fraction of the hour''s variance due to jumps; slightly below 0 by chance without jumps; 1. NULL: fewer than 60 returns, or sum r^2 = 0.';
COMMENT ON COLUMN bar_feature.semivar_down_60      IS 'Fraction of the hour''s variance due to falls; 0 to 1. NULL: fewer than 60 returns, or sum r^2 = 0.';
COMMENT ON COLUMN bar_feature.vol_of_vol           IS 'Variation of volatility over four hours; 1. NULL: fewer than 240 returns, more than 10 % of them or more than one of the windows in a gap, or no movement.';
COMMENT ON COLUMN bar_feature.vol_ratio            IS 'Volatility of 15 minutes relative to that of four hours; 1 when it is constant; 1. NULL: fewer than 240 returns, rv_15 or rv_240 null, or rv_240 = 0.';
COMMENT ON COLUMN bar_feature.skew_240             IS 'Skewness of four hours of returns; 1. NULL: fewer than 240 returns, or sd 0.';
COMMENT ON COLUMN bar_feature.kurt_240             IS 'Excess kurtosis of four hours of returns; 0 for a normal distribution; 1. NULL: fewer than 240 returns, or sd 0.';

CREATE TABLE snapshot_feature (
    market_id              bigint           NOT NULL,
    ts_recv                timestamptz      NOT NULL,
    version                text             NOT NULL,
    updated_at             timestamptz      NOT NULL,
    mid                    double precision,
    best_bid               double precision,
    best_ask               double precision,
    microprice             double precision,
    last_trade_price       double precision,
    gamma_price            double precision,
    logit_mid              double precision,
    dist_from_half         double precision,
    last_minus_mid         double precision,
    event_overround        double precision,
    spread                 double precision,
    spread_ticks           double precision,
    spread_rel             double precision,
    bid_depth_1c           double precision,
    bid_depth_5c           double precision,
    ask_depth_1c           double precision,
    ask_depth_5c           double precision,
    imbalance_touch        double precision,
    imbalance_5c           double precision,
    bid_levels             double precision,
    ask_levels             double precision,
    largest_bid_share      double precision,
    largest_ask_share      double precision,
    cost_buy_500           double precision,
    trades_1m              double precision,
    trades_5m              double precision,
    trades_1h              double precision,
    volume_1m              double precision,
    volume_5m              double precision,
    volume_1h              double precision,
    flow_5m                double precision,
    flow_1h                double precision,
    avg_trade_1h           double precision,
    vwap_gap_1h            double precision,
    secs_since_trade       double precision,
    volume_accel           double precision,
    book_changes_1m        double precision,
    category               text,
    event_market_count     double precision,
    rank_in_event          double precision,
    whale_count_1h         double precision,
    whale_net_1h           double precision,
    top_wallet_share_24h   double precision,
    volume_total_log       double precision,
    volume_24h_log         double precision,
    volume_1w_log          double precision,
    volume_24h_share       double precision,
    liquidity_log          double precision,
    volume_liquidity_ratio double precision,
    event_volume_share     double precision,
    open_interest_log      double precision,
    hours_to_end           double precision,
    log_hours_to_end       double precision,
    hours_to_game          double precision,
    age_hours              double precision,
    life_elapsed           double precision,
    hour_sin               double precision,
    hour_cos               double precision,
    day_of_week            double precision,
    ret_5m                 double precision,
    ret_1h                 double precision,
    ret_24h                double precision,
    vol_1h                 double precision,
    vol_24h                double precision,
    range_24h              double precision,
    pos_in_range_24h       double precision,
    PRIMARY KEY (market_id, ts_recv)
);

COMMENT ON TABLE  snapshot_feature IS 'The 66 features of each snapshot of a prediction market. Written by bin/deriver.';
COMMENT ON COLUMN snapshot_feature.market_id              IS 'The market (market).';
COMMENT ON COLUMN snapshot_feature.ts_recv                IS 'Receipt of the snapshot (market_snapshot), UTC: the values use nothing that was received later.';
COMMENT ON COLUMN snapshot_feature.version                IS 'Version of the list that computed it (derived_list).';
COMMENT ON COLUMN snapshot_feature.updated_at             IS 'When the row was computed, UTC.';
COMMENT ON COLUMN snapshot_feature.mid                    IS 'Middle of the book; probability. NULL: a side empty.';
COMMENT ON COLUMN snapshot_feature.best_bid               IS 'Highest bid price; probability. NULL: no bid.';
COMMENT ON COLUMN snapshot_feature.best_ask               IS 'Lowest ask price; probability. NULL: no ask.';
COMMENT ON COLUMN snapshot_feature.microprice             IS 'Middle weighted by the size on the opposite side; probability. NULL: a side empty.';
COMMENT ON COLUMN snapshot_feature.last_trade_price       IS 'Price of the last known trade, converted to YES; probability. NULL: never traded, or a gap since the last trade of the stream and no price by REST.';
COMMENT ON COLUMN snapshot_feature.gamma_price            IS 'Price in the venue''s listing; probability. NULL: missing.';
COMMENT ON COLUMN snapshot_feature.logit_mid              IS 'Log odds of the middle; logit. NULL: mid null.';
COMMENT ON COLUMN snapshot_feature.dist_from_half         IS 'Distance of the middle from one half; probability. NULL: mid null.';
COMMENT ON COLUMN snapshot_feature.last_minus_mid         IS 'Last trade price minus the middle; probability. NULL: either null.';
COMMENT ON COLUMN snapshot_feature.event_overround        IS 'Sum of all outcome prices of the event in excess of 1; probability. NULL: outcomes do not exclude each other (not negRisk), or any mid null.';
COMMENT ON COLUMN snapshot_feature.spread                 IS 'Spread in units of probability; probability. NULL: a side empty.';
COMMENT ON COLUMN snapshot_feature.spread_ticks           IS 'Spread in ticks; ticks. NULL: a side empty, or tick size unknown.';
COMMENT ON COLUMN snapshot_feature.spread_rel             IS 'Spread divided by the price of the cheaper outcome; ratio. NULL: mid null, or denominator 0.';
COMMENT ON COLUMN snapshot_feature.bid_depth_1c           IS 'Bid size near the middle; shares. NULL: book missing, or no middle; 0 without a bid.';
COMMENT ON COLUMN snapshot_feature.bid_depth_5c           IS 'Bid size near the middle; shares. NULL: book missing, or no middle; 0 without a bid.';
COMMENT ON COLUMN snapshot_feature.ask_depth_1c           IS 'Ask size near the middle; shares. NULL: book missing, or no middle; 0 without an ask.';
COMMENT ON COLUMN snapshot_feature.ask_depth_5c           IS 'Ask size near the middle; shares. NULL: book missing, or no middle; 0 without an ask.';
COMMENT ON COLUMN snapshot_feature.imbalance_touch        IS 'Imbalance at the best prices; -1 to 1. NULL: a side empty.';
COMMENT ON COLUMN snapshot_feature.imbalance_5c           IS 'Imbalance within five cents; -1 to 1. NULL: either null, or both 0.';
COMMENT ON COLUMN snapshot_feature.bid_levels             IS 'Number of bid prices, without parked orders; count. NULL: book missing.';
COMMENT ON COLUMN snapshot_feature.ask_levels             IS 'Number of ask prices, without parked orders; count. NULL: book missing.';
COMMENT ON COLUMN snapshot_feature.largest_bid_share      IS 'Size of the largest bid level divided by all bid sizes, without parked orders; 0 to 1. NULL: no bid.';
COMMENT ON COLUMN snapshot_feature.largest_ask_share      IS 'Size of the largest ask level divided by all ask sizes, without parked orders; 0 to 1. NULL: no ask.';
COMMENT ON COLUMN snapshot_feature.cost_buy_500           IS 'Price paid above the middle when buying for 500 USDC; probability. NULL: book missing, thinner than 500 USDC, or no middle.';
COMMENT ON COLUMN snapshot_feature.trades_1m              IS 'Number of trades in k minutes; count. NULL: stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.trades_5m              IS 'Number of trades in k minutes; count. NULL: stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.trades_1h              IS 'Number of trades in an hour; count. NULL: stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.volume_1m              IS 'Value traded in k minutes; USDC. NULL: stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.volume_5m              IS 'Value traded in k minutes; USDC. NULL: stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.volume_1h              IS 'Value traded in an hour; USDC. NULL: stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.flow_5m                IS 'Net buying of YES in five minutes; -1 to 1. NULL: no trade, or stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.flow_1h                IS 'Net buying of YES in an hour; -1 to 1. NULL: no trade, or stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.avg_trade_1h           IS 'Mean value of a trade in an hour; USDC. NULL: no trade, or stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.vwap_gap_1h            IS 'Mean price paid in an hour minus the middle; probability. NULL: no trade, mid null, or stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.secs_since_trade       IS 'Time since the last known trade; s. NULL: no trade since subscribing or a gap since the last one, and none known by REST.';
COMMENT ON COLUMN snapshot_feature.volume_accel           IS 'Trading rate of five minutes relative to that of the hour; ratio. NULL: volume_1h 0, or stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.book_changes_1m        IS 'Number of book changes in a minute; count. NULL: stream not healthy in the full window.';
COMMENT ON COLUMN snapshot_feature.category               IS 'Category of the market; categorical. NULL: never; other.';
COMMENT ON COLUMN snapshot_feature.event_market_count     IS 'Number of open markets of the event; count. NULL: event missing.';
COMMENT ON COLUMN snapshot_feature.rank_in_event          IS 'Rank of the market''s middle in its event; int, 1 is the highest. NULL: one member, or mid null.';
COMMENT ON COLUMN snapshot_feature.whale_count_1h         IS 'Number of whale transactions in an hour; count. NULL: stream not healthy throughout.';
COMMENT ON COLUMN snapshot_feature.whale_net_1h           IS 'Net buying of YES by whales in an hour; -1 to 1. NULL: nothing traded, or stream not healthy throughout.';
COMMENT ON COLUMN snapshot_feature.top_wallet_share_24h   IS 'Fraction of a day''s traded value from the largest taker; 0 to 1. NULL: wallets not fetched for the window in the last 10 minutes (an hour when polled hourly), or nothing traded; on a recorded tape always: it needs every trade of the market with its wallet, and the poller asks the feed of the site for large fills only (whale_event). All fills are about 350,000 rows a day..';
COMMENT ON COLUMN snapshot_feature.volume_total_log       IS 'Volume since the start of the market; ln USDC. NULL: missing.';
COMMENT ON COLUMN snapshot_feature.volume_24h_log         IS 'Volume of a day; ln USDC. NULL: missing.';
COMMENT ON COLUMN snapshot_feature.volume_1w_log          IS 'Volume of a week; ln USDC. NULL: missing.';
COMMENT ON COLUMN snapshot_feature.volume_24h_share       IS 'Volume of the last day as a fraction of the volume since the start; 0 to 1. NULL: volumeNum 0 or missing.';
COMMENT ON COLUMN snapshot_feature.liquidity_log          IS 'Liquidity as reported by the venue; ln USDC. NULL: missing.';
COMMENT ON COLUMN snapshot_feature.volume_liquidity_ratio IS 'Volume of a day relative to liquidity; ratio. NULL: liquidity 0 or missing.';
COMMENT ON COLUMN snapshot_feature.event_volume_share     IS 'Volume of the market as a fraction of its event''s volume; 0 to 1. NULL: event missing, or its volume 0.';
COMMENT ON COLUMN snapshot_feature.open_interest_log      IS 'Open interest of the event; ln USDC. NULL: missing.';
COMMENT ON COLUMN snapshot_feature.hours_to_end           IS 'Time to the scheduled end, as scheduled at the snapshot; negative after it; h. NULL: no endDate.';
COMMENT ON COLUMN snapshot_feature.log_hours_to_end       IS 'Time to the scheduled end on a logarithmic scale; ln h. NULL: no endDate.';
COMMENT ON COLUMN snapshot_feature.hours_to_game          IS 'Time to the start of the game; h. NULL: none.';
COMMENT ON COLUMN snapshot_feature.age_hours              IS 'Time since the market began; h. NULL: no startDate.';
COMMENT ON COLUMN snapshot_feature.life_elapsed           IS 'Elapsed fraction of the scheduled life; ratio. NULL: either missing, or end not after start.';
COMMENT ON COLUMN snapshot_feature.hour_sin               IS 'Sine of the hour of the day on a circle; 1. NULL: never.';
COMMENT ON COLUMN snapshot_feature.hour_cos               IS 'Cosine of the hour of the day on a circle; 1. NULL: never.';
COMMENT ON COLUMN snapshot_feature.day_of_week            IS 'Day of the week; int. NULL: never.';
COMMENT ON COLUMN snapshot_feature.ret_5m                 IS 'Change of the middle in five minutes; probability. NULL: mid null, no point at that time, or a gap of the points since.';
COMMENT ON COLUMN snapshot_feature.ret_1h                 IS 'Change of the middle in an hour; probability. NULL: mid null, no point at that time, or a gap of the points since.';
COMMENT ON COLUMN snapshot_feature.ret_24h                IS 'Change of the middle in a day; probability. NULL: mid null, no point at that time, or a gap of the points since.';
COMMENT ON COLUMN snapshot_feature.vol_1h                 IS 'Volatility of an hour; probability. NULL: fewer than 20 points; a change over a gap does not count.';
COMMENT ON COLUMN snapshot_feature.vol_24h                IS 'Volatility of a day; probability. NULL: fewer than 12 points; a change over a gap does not count.';
COMMENT ON COLUMN snapshot_feature.range_24h              IS 'Range of the middle in a day; probability. NULL: fewer than 12 points.';
COMMENT ON COLUMN snapshot_feature.pos_in_range_24h       IS 'Position of the middle in the range of a day; 0 to 1. NULL: range 0 or null, or mid null.';

GRANT SELECT, INSERT, UPDATE, DELETE ON indicator, bar_feature, snapshot_feature, derived_list, derived_dirty
   TO tapedeck_deriver;
GRANT SELECT ON market, market_event, market_snapshot, market_book, quote, book, session TO tapedeck_deriver;

-- The bars of a database that was used before this file lack their signed_notional: those whose trades are there are
-- derived again.
SELECT rebuild_bars(array_agg(instrument_id), d.day, d.day + interval '1 day')
  FROM (SELECT day::timestamptz FROM day_partition WHERE table_name = 'trade' AND day <= current_date + 1
         UNION
        SELECT date_bin('1 day', ts_event, 'epoch') FROM partition.trade_default) AS d (day),
       instrument
 WHERE recorded OR instrument_id IN (SELECT instrument_id FROM backfill WHERE what = 'trades')
 GROUP BY d.day
 ORDER BY d.day DESC;

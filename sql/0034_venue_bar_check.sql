-- 0034_venue_bar_check.sql: volumes of candles with few digits are no longer taken for rounded ones.

-- Some venues print volumes without trailing zeros: a candle of 12 beside trades of 11.6 agreed at its last digit. The
-- sizes of the trades may have more digits; then they are compared at the last of those. Beyond ten digits a candle shows
-- the noise of a binary sum.
CREATE OR REPLACE VIEW venue_bar_check AS
SELECT v.instrument_id, v.interval_s, v.start, v.volume AS venue_volume, t.volume AS trade_volume,
       v.trade_count AS venue_trades, coalesce(t.trades, 0) AS stored_trades,
       coalesce(abs(t.volume - v.volume::numeric)
                    <= 0.5 * 10::numeric ^ (-greatest(least(v.volume_digits, 10), t.digits))
                AND t.high = v.high AND t.low = v.low AND t.trades = coalesce(v.trade_count, t.trades),
                v.volume = 0) AS agrees
  FROM venue_bar v
  LEFT JOIN LATERAL (
       SELECT sum(size::numeric) AS volume, max(price) AS high, min(price) AS low, count(*) AS trades,
              max(scale(size::numeric)) AS digits
         FROM trade
        WHERE instrument_id = v.instrument_id
          AND ts_event >= v.start AND ts_event < v.start + make_interval(secs => v.interval_s)
       HAVING count(*) > 0) t ON true;
COMMENT ON COLUMN venue_bar_check.agrees IS 'Whether volume (to the last digit that the venue prints, or that the sizes have), highest and lowest price and number are equal.';

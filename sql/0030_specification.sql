-- 0030_specification.sql: what the specification asks for by name: its tables as views, and the checker of data quality.

CREATE VIEW indicators AS
SELECT d.start AS "timestamp", i.symbol, CASE d.interval_s WHEN 60 THEN '1m' WHEN 300 THEN '5m' WHEN 900 THEN '15m' WHEN 3600 THEN '1h'
                         WHEN 14400 THEN '4h' ELSE '1d' END AS timeframe,
       v.indicator_name, v.value, i.venue AS exchange, d.bar_revision
  FROM indicator d
  JOIN instrument i ON i.instrument_id = d.instrument_id
 CROSS JOIN LATERAL (VALUES
            ('rsi_14', d.rsi_14), ('macd', d.macd), ('macd_signal', d.macd_signal), ('macd_hist', d.macd_hist),
            ('bb_upper', d.bb_upper), ('bb_middle', d.bb_middle), ('bb_lower', d.bb_lower), ('sma_20', d.sma_20),
            ('sma_50', d.sma_50), ('sma_100', d.sma_100), ('sma_200', d.sma_200), ('ema_12', d.ema_12), ('ema_26', d.ema_26),
            ('ema_50', d.ema_50), ('stoch_k', d.stoch_k), ('stoch_d', d.stoch_d), ('atr_14', d.atr_14), ('adx_14', d.adx_14),
            ('plus_di_14', d.plus_di_14), ('minus_di_14', d.minus_di_14), ('volume_sma_20', d.volume_sma_20),
            ('mfi_14', d.mfi_14), ('obv', d.obv), ('vwap', d.vwap)
       ) AS v (indicator_name, value);
COMMENT ON VIEW   indicators IS 'Table indicator in the long form of the specification, a row for each value.';
COMMENT ON COLUMN indicators."timestamp"    IS 'Start of the bar, UTC.';
COMMENT ON COLUMN indicators.symbol         IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN indicators.timeframe      IS '1m, 5m, 15m, 1h, 4h or 1d.';
COMMENT ON COLUMN indicators.indicator_name IS 'Column of indicator.';
COMMENT ON COLUMN indicators.value          IS 'Its value; NULL where it is not known.';
COMMENT ON COLUMN indicators.exchange       IS 'Venue.';
COMMENT ON COLUMN indicators.bar_revision   IS 'Revision of the bar when this was computed.';

CREATE VIEW ml_features AS
SELECT d.start AS "timestamp", i.symbol, v.feature_name, v.value, i.venue AS exchange, '1m' AS timeframe
  FROM bar_feature d
  JOIN instrument i ON i.instrument_id = d.instrument_id
 CROSS JOIN LATERAL (VALUES
            ('ret_1', d.ret_1), ('ret_5', d.ret_5), ('ret_15', d.ret_15), ('ret_60', d.ret_60), ('ret_240', d.ret_240),
            ('ret_accel', d.ret_accel), ('mom_z_60', d.mom_z_60), ('close_vs_vwap_day', d.close_vs_vwap_day),
            ('range_pos_60', d.range_pos_60), ('drawdown_240', d.drawdown_240), ('acf1_60', d.acf1_60),
            ('acf5_240', d.acf5_240), ('variance_ratio_5', d.variance_ratio_5),
            ('efficiency_ratio_60', d.efficiency_ratio_60), ('rsi_14', d.rsi_14), ('macd_hist_atr', d.macd_hist_atr),
            ('bb_pos', d.bb_pos), ('adx_14', d.adx_14), ('stoch_diff', d.stoch_diff), ('sma_dist_50', d.sma_dist_50),
            ('vol_z_tod', d.vol_z_tod), ('vol_ratio_20', d.vol_ratio_20), ('trade_count_z', d.trade_count_z),
            ('avg_trade_size_ratio', d.avg_trade_size_ratio), ('tfi_1', d.tfi_1), ('tfi_5', d.tfi_5), ('tfi_15', d.tfi_15),
            ('amihud_60', d.amihud_60), ('kyle_lambda_60', d.kyle_lambda_60), ('impact_r2_60', d.impact_r2_60),
            ('rv_15', d.rv_15), ('rv_60', d.rv_60), ('rv_240', d.rv_240), ('parkinson_60', d.parkinson_60),
            ('garman_klass_60', d.garman_klass_60), ('rogers_satchell_60', d.rogers_satchell_60),
            ('bipower_ratio_60', d.bipower_ratio_60), ('semivar_down_60', d.semivar_down_60), ('vol_of_vol', d.vol_of_vol),
            ('vol_ratio', d.vol_ratio), ('skew_240', d.skew_240), ('kurt_240', d.kurt_240)
       ) AS v (feature_name, value)
 UNION ALL
SELECT s.ts_recv, m.tokens[1], v.feature_name, v.value, 'polymarket', 'snapshot'
  FROM snapshot_feature s
  JOIN market m ON m.market_id = s.market_id
 CROSS JOIN LATERAL (VALUES
            ('mid', s.mid), ('best_bid', s.best_bid), ('best_ask', s.best_ask), ('microprice', s.microprice),
            ('last_trade_price', s.last_trade_price), ('gamma_price', s.gamma_price), ('logit_mid', s.logit_mid),
            ('dist_from_half', s.dist_from_half), ('last_minus_mid', s.last_minus_mid),
            ('event_overround', s.event_overround), ('spread', s.spread), ('spread_ticks', s.spread_ticks),
            ('spread_rel', s.spread_rel), ('bid_depth_1c', s.bid_depth_1c), ('bid_depth_5c', s.bid_depth_5c),
            ('ask_depth_1c', s.ask_depth_1c), ('ask_depth_5c', s.ask_depth_5c), ('imbalance_touch', s.imbalance_touch),
            ('imbalance_5c', s.imbalance_5c), ('bid_levels', s.bid_levels), ('ask_levels', s.ask_levels),
            ('largest_bid_share', s.largest_bid_share), ('largest_ask_share', s.largest_ask_share),
            ('cost_buy_500', s.cost_buy_500), ('trades_1m', s.trades_1m), ('trades_5m', s.trades_5m),
            ('trades_1h', s.trades_1h), ('volume_1m', s.volume_1m), ('volume_5m', s.volume_5m), ('volume_1h', s.volume_1h),
            ('flow_5m', s.flow_5m), ('flow_1h', s.flow_1h), ('avg_trade_1h', s.avg_trade_1h), ('vwap_gap_1h', s.vwap_gap_1h),
            ('secs_since_trade', s.secs_since_trade), ('volume_accel', s.volume_accel),
            ('book_changes_1m', s.book_changes_1m), ('event_market_count', s.event_market_count),
            ('rank_in_event', s.rank_in_event), ('whale_count_1h', s.whale_count_1h), ('whale_net_1h', s.whale_net_1h),
            ('top_wallet_share_24h', s.top_wallet_share_24h), ('volume_total_log', s.volume_total_log),
            ('volume_24h_log', s.volume_24h_log), ('volume_1w_log', s.volume_1w_log),
            ('volume_24h_share', s.volume_24h_share), ('liquidity_log', s.liquidity_log),
            ('volume_liquidity_ratio', s.volume_liquidity_ratio), ('event_volume_share', s.event_volume_share),
            ('open_interest_log', s.open_interest_log), ('hours_to_end', s.hours_to_end),
            ('log_hours_to_end', s.log_hours_to_end), ('hours_to_game', s.hours_to_game), ('age_hours', s.age_hours),
            ('life_elapsed', s.life_elapsed), ('hour_sin', s.hour_sin), ('hour_cos', s.hour_cos),
            ('day_of_week', s.day_of_week), ('ret_5m', s.ret_5m), ('ret_1h', s.ret_1h), ('ret_24h', s.ret_24h),
            ('vol_1h', s.vol_1h), ('vol_24h', s.vol_24h), ('range_24h', s.range_24h),
            ('pos_in_range_24h', s.pos_in_range_24h)
       ) AS v (feature_name, value);
COMMENT ON VIEW   ml_features IS 'Tables bar_feature and snapshot_feature in the long form of the specification, a row for each value.';
COMMENT ON COLUMN ml_features."timestamp"  IS 'Start of the bar, or receipt of the snapshot, UTC.';
COMMENT ON COLUMN ml_features.symbol       IS 'Symbol in the venue''s own spelling; of a market the token of outcome 0.';
COMMENT ON COLUMN ml_features.feature_name IS 'Column of bar_feature or snapshot_feature; without category, which is no number.';
COMMENT ON COLUMN ml_features.value        IS 'Its value; NULL where it is not known.';
COMMENT ON COLUMN ml_features.exchange     IS 'Venue.';
COMMENT ON COLUMN ml_features.timeframe    IS '1m for features of bars, snapshot for those of snapshots.';


CREATE VIEW bid_ask AS
SELECT coalesce(q.ts_event, q.ts_recv) AS "timestamp", i.symbol, i.venue AS exchange, q.bid AS bid_price, q.bid_size,
       q.ask AS ask_price, q.ask_size, q.ts_recv AS received_at
  FROM quote q
  JOIN instrument i ON i.instrument_id = q.instrument_id;
COMMENT ON VIEW   bid_ask IS 'Best bids and asks, a row for each change. Restrict received_at, so that only the partitions of those days are read.';
COMMENT ON COLUMN bid_ask."timestamp" IS 'When the venue made it, UTC; where it gives no time, when it was received.';
COMMENT ON COLUMN bid_ask.symbol      IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN bid_ask.exchange    IS 'Venue.';
COMMENT ON COLUMN bid_ask.bid_price   IS 'Highest bid, quote units per base unit; NULL when there is none.';
COMMENT ON COLUMN bid_ask.bid_size    IS 'Size at the bid, base units; NULL where the venue does not say.';
COMMENT ON COLUMN bid_ask.ask_price   IS 'Lowest ask, quote units per base unit; NULL when there is none.';
COMMENT ON COLUMN bid_ask.ask_size    IS 'Size at the ask, base units; NULL where the venue does not say.';
COMMENT ON COLUMN bid_ask.received_at IS 'When it was received, by our clock, UTC.';

CREATE VIEW trades AS
SELECT t.ts_event AS "timestamp", i.symbol, i.venue AS exchange, coalesce(t.venue_trade_id, t.trade_id::text) AS trade_id,
       t.price, t.size AS quantity, CASE t.aggressor WHEN 'b' THEN 'buy' WHEN 's' THEN 'sell' END AS side,
       t.ts_recv AS received_at
  FROM trade t
  JOIN instrument i ON i.instrument_id = t.instrument_id;
COMMENT ON VIEW   trades IS 'Trades as venues published them. Restrict timestamp, so that only the partitions of those days are read.';
COMMENT ON COLUMN trades."timestamp" IS 'When the trade was executed, by the venue''s clock, UTC.';
COMMENT ON COLUMN trades.symbol      IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN trades.exchange    IS 'Venue.';
COMMENT ON COLUMN trades.trade_id    IS 'The venue''s id as text.';
COMMENT ON COLUMN trades.price       IS 'Price, quote units per base unit.';
COMMENT ON COLUMN trades.quantity    IS 'Size, base units.';
COMMENT ON COLUMN trades.side        IS 'Side of the taker: buy or sell; NULL where the venue does not say.';
COMMENT ON COLUMN trades.received_at IS 'When it was received, by our clock, UTC.';

CREATE VIEW markets AS
SELECT market_id, condition_id, slug, question, category, event_id, outcomes, tokens AS token_ids, phase AS status, active,
       start_at AS start_date, end_at AS end_date, closed_at AS closed_time, volume, volume_24h, liquidity,
       known_at AS updated_at
  FROM market;
COMMENT ON VIEW   markets IS 'Prediction markets in their newest state.';
COMMENT ON COLUMN markets.market_id    IS 'Gamma''s id.';
COMMENT ON COLUMN markets.condition_id IS 'Condition id, 0x and 64 hex digits.';
COMMENT ON COLUMN markets.slug         IS 'Name in the venue''s addresses.';
COMMENT ON COLUMN markets.question     IS 'Question, for a person.';
COMMENT ON COLUMN markets.category     IS 'Category by the tags of its event.';
COMMENT ON COLUMN markets.event_id     IS 'Event of the market (market_event); NULL without one.';
COMMENT ON COLUMN markets.outcomes     IS 'Labels of the outcomes.';
COMMENT ON COLUMN markets.token_ids    IS 'Token of each outcome, in the same order.';
COMMENT ON COLUMN markets.status       IS 'open, proposed, resolved, closed or vanished (market.phase).';
COMMENT ON COLUMN markets.active       IS 'Whether the venue calls it active.';
COMMENT ON COLUMN markets.start_date   IS 'Start, UTC; NULL where there is none.';
COMMENT ON COLUMN markets.end_date     IS 'Scheduled end, UTC; NULL where there is none.';
COMMENT ON COLUMN markets.closed_time  IS 'When it closed, UTC; NULL before.';
COMMENT ON COLUMN markets.volume       IS 'Traded in its life, USDC.';
COMMENT ON COLUMN markets.volume_24h   IS 'Traded in 24 hours, USDC.';
COMMENT ON COLUMN markets.liquidity    IS 'Liquidity by Gamma, USDC.';
COMMENT ON COLUMN markets.updated_at   IS 'When these values were received, UTC.';

CREATE VIEW snapshots AS
SELECT s.ts_recv AS "timestamp", s.market_id, s.event_id, s.tier, s.bid AS best_bid, s.bid_size, s.ask AS best_ask,
       s.ask_size, s.spread, s.mid AS mid_price, s.last_trade_price, s.gamma_price AS price, s.volume, s.volume_24h,
       s.liquidity, s.bid_depth_5c AS bid_depth, s.ask_depth_5c AS ask_depth, s.imbalance_5c AS imbalance, s.source
  FROM market_snapshot s;
COMMENT ON VIEW   snapshots IS 'Snapshots of prediction markets, of outcome 0; their 66 features are in ml_features and snapshot_feature.';
COMMENT ON COLUMN snapshots."timestamp"      IS 'When the book was received, UTC.';
COMMENT ON COLUMN snapshots.market_id        IS 'The market (markets).';
COMMENT ON COLUMN snapshots.event_id         IS 'Its event; NULL without one.';
COMMENT ON COLUMN snapshots.tier             IS 'T0 to T4, by the hours to the scheduled end.';
COMMENT ON COLUMN snapshots.best_bid         IS 'Highest bid, probability; NULL when there is none.';
COMMENT ON COLUMN snapshots.bid_size         IS 'Size at the bid, shares.';
COMMENT ON COLUMN snapshots.best_ask         IS 'Lowest ask, probability; NULL when there is none.';
COMMENT ON COLUMN snapshots.ask_size         IS 'Size at the ask, shares.';
COMMENT ON COLUMN snapshots.spread           IS 'best_ask - best_bid, probability; NULL when a side is empty.';
COMMENT ON COLUMN snapshots.mid_price        IS 'Middle, probability; NULL when a side is empty.';
COMMENT ON COLUMN snapshots.last_trade_price IS 'Price of the last trade, probability; NULL where it never traded.';
COMMENT ON COLUMN snapshots.price            IS 'Price in the listing, probability.';
COMMENT ON COLUMN snapshots.volume           IS 'Traded since the start, USDC.';
COMMENT ON COLUMN snapshots.volume_24h       IS 'Traded in 24 hours, USDC.';
COMMENT ON COLUMN snapshots.liquidity        IS 'Liquidity by the venue''s measure, USDC.';
COMMENT ON COLUMN snapshots.bid_depth        IS 'Bids within 5 cents of the middle, shares; NULL without a middle.';
COMMENT ON COLUMN snapshots.ask_depth        IS 'Asks within 5 cents of the middle, shares; NULL without a middle.';
COMMENT ON COLUMN snapshots.imbalance        IS '(bid_depth - ask_depth) / their sum, -1 to 1; NULL where that is not known.';
COMMENT ON COLUMN snapshots.source           IS 'rest, stream, or none where the venue has no book.';

CREATE VIEW orderbook_snapshots AS
SELECT b.ts_recv AS "timestamp", b.market_id, b.bids, b.asks, s.bid_depth_5c AS bid_depth, s.ask_depth_5c AS ask_depth,
       s.bid_levels, s.ask_levels, s.largest_bid AS bid_wall_price, s.largest_bid_size AS bid_wall_size,
       s.largest_ask AS ask_wall_price, s.largest_ask_size AS ask_wall_size
  FROM market_book b
  LEFT JOIN market_snapshot s ON s.market_id = b.market_id AND s.ts_recv = b.ts_recv;
COMMENT ON VIEW   orderbook_snapshots IS 'Complete books of prediction markets, where one differs from the one before.';
COMMENT ON COLUMN orderbook_snapshots."timestamp"    IS 'When it was received, UTC.';
COMMENT ON COLUMN orderbook_snapshots.market_id      IS 'The market (markets).';
COMMENT ON COLUMN orderbook_snapshots.bids           IS '[[price, size], ...], best first.';
COMMENT ON COLUMN orderbook_snapshots.asks           IS '[[price, size], ...], best first.';
COMMENT ON COLUMN orderbook_snapshots.bid_depth      IS 'Bids within 5 cents of the middle, shares.';
COMMENT ON COLUMN orderbook_snapshots.ask_depth      IS 'Asks within 5 cents of the middle, shares.';
COMMENT ON COLUMN orderbook_snapshots.bid_levels     IS 'Number of bid prices.';
COMMENT ON COLUMN orderbook_snapshots.ask_levels     IS 'Number of ask prices.';
COMMENT ON COLUMN orderbook_snapshots.bid_wall_price IS 'Price of the largest bid level, probability.';
COMMENT ON COLUMN orderbook_snapshots.bid_wall_size  IS 'Its size, shares.';
COMMENT ON COLUMN orderbook_snapshots.ask_wall_price IS 'Price of the largest ask level, probability.';
COMMENT ON COLUMN orderbook_snapshots.ask_wall_size  IS 'Its size, shares.';

CREATE VIEW task_runs AS
SELECT run_id, job AS task_name, slot AS scheduled_at, started_at,
       started_at + duration_s * interval '1 second' AS finished_at, duration_s AS duration_seconds,
       CASE WHEN state IN ('done', 'late') THEN 'success' ELSE state END AS status, rows AS records,
       nullif(concat_ws(E'\n', nullif(reason, ''), traceback), '') AS error
  FROM poll_run;
COMMENT ON VIEW   task_runs IS 'Rounds of the poller, and slots without one; older ones are summed in poll_day.';
COMMENT ON COLUMN task_runs.run_id           IS 'Number of the round.';
COMMENT ON COLUMN task_runs.task_name        IS 'Name of the job.';
COMMENT ON COLUMN task_runs.scheduled_at     IS 'The slot, UTC.';
COMMENT ON COLUMN task_runs.started_at       IS 'When it began, UTC; NULL where none was run.';
COMMENT ON COLUMN task_runs.finished_at      IS 'When it ended, UTC; NULL where that is not known.';
COMMENT ON COLUMN task_runs.duration_seconds IS 'How long it took; NULL where none was run.';
COMMENT ON COLUMN task_runs.status           IS 'success, or missed, failed or skipped (poll_run.state).';
COMMENT ON COLUMN task_runs.records          IS 'Number of rows that it gave.';
COMMENT ON COLUMN task_runs.error            IS 'Reason and traceback; NULL without either.';

CREATE VIEW whale_events AS
SELECT w.ts_event AS "timestamp", m.market_id, w.condition_id, w.outcome, CASE w.side WHEN 'b' THEN 'buy' ELSE 'sell' END AS side,
       w.shares AS size, w.cash AS value_usd, w.cash / nullif(w.shares, 0) AS price, w.wallet, w.transaction_hash,
       w.ts_recv AS received_at
  FROM whale_event w
  LEFT JOIN LATERAL (SELECT market_id FROM market WHERE market.condition_id = w.condition_id
                      ORDER BY market_id LIMIT 1) AS m ON true;
COMMENT ON VIEW   whale_events IS 'Large trades of prediction markets.';
COMMENT ON COLUMN whale_events."timestamp"      IS 'Time of the block, UTC.';
COMMENT ON COLUMN whale_events.market_id        IS 'The market (markets); NULL where it is not known yet.';
COMMENT ON COLUMN whale_events.condition_id     IS 'Condition of the market.';
COMMENT ON COLUMN whale_events.outcome          IS 'Label of the outcome; NULL where the venue does not say.';
COMMENT ON COLUMN whale_events.side             IS 'What the taker did: buy or sell.';
COMMENT ON COLUMN whale_events.size             IS 'Shares.';
COMMENT ON COLUMN whale_events.value_usd        IS 'Sum of shares * price, USDC.';
COMMENT ON COLUMN whale_events.price            IS 'Average price, probability.';
COMMENT ON COLUMN whale_events.wallet           IS 'The taker''s address.';
COMMENT ON COLUMN whale_events.transaction_hash IS 'Transaction on the chain.';
COMMENT ON COLUMN whale_events.received_at      IS 'When its last fill was received, UTC.';

CREATE VIEW symbols AS
SELECT s.symbol, s.venue AS exchange,
       CASE WHEN i.kind = 'outcome' OR s.venue = 'polymarket' THEN 'prediction' ELSE 'crypto' END AS asset_type,
       bool_or(s.active) AS is_active
  FROM subscription s
  LEFT JOIN instrument i ON i.venue = s.venue AND i.symbol = s.symbol
 GROUP BY s.venue, s.symbol, i.kind;
COMMENT ON VIEW   symbols IS 'Symbols that recorders subscribe to. INSERT, UPDATE of is_active and DELETE change subscription: trade, quote and book of the symbol.';
COMMENT ON COLUMN symbols.symbol     IS 'Symbol in the venue''s own spelling, or a pattern.';
COMMENT ON COLUMN symbols.exchange   IS 'Venue.';
COMMENT ON COLUMN symbols.asset_type IS 'crypto or prediction. Stocks stand in the setting yahoo.symbols.';
COMMENT ON COLUMN symbols.is_active  IS 'Whether a channel of it is recorded.';

CREATE FUNCTION change_symbol() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM public.subscription WHERE venue = OLD.exchange AND symbol = OLD.symbol;
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.symbol, NEW.exchange, NEW.asset_type) IS DISTINCT FROM (OLD.symbol, OLD.exchange, OLD.asset_type) THEN
            RAISE feature_not_supported USING MESSAGE = 'of a symbol only is_active can be changed; delete it and insert the other';
        END IF;
        UPDATE public.subscription SET active = coalesce(NEW.is_active, true), origin = 'hand'
         WHERE venue = NEW.exchange AND symbol = NEW.symbol;
        RETURN NEW;
    END IF;
    IF NEW.exchange = 'yahoo' OR NEW.asset_type NOT IN ('crypto', 'prediction') THEN
        RAISE feature_not_supported USING MESSAGE = format(
            'asset_type %s of %s is not subscribed here; stocks stand in the setting yahoo.symbols, other types are crypto and prediction',
            coalesce(NEW.asset_type, 'stock'), NEW.exchange);
    END IF;
    IF NOT EXISTS (SELECT FROM public.venue WHERE name = NEW.exchange) THEN
        RAISE foreign_key_violation USING MESSAGE = format(
            'exchange %s is not known yet: set venues.%s.enabled and start it once', NEW.exchange, NEW.exchange);
    END IF;
    IF NEW.symbol <> btrim(NEW.symbol) OR NEW.symbol = '' THEN
        RAISE check_violation USING MESSAGE = format('%L is no symbol: it is empty, or begins or ends with a space', NEW.symbol);
    END IF;
    INSERT INTO public.subscription (venue, symbol, channel, active)
    SELECT NEW.exchange, NEW.symbol, c, coalesce(NEW.is_active, true) FROM unnest('{trade,quote,book}'::text[]) AS c
        ON CONFLICT (venue, symbol, channel) DO UPDATE SET active = excluded.active, origin = 'hand';
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION change_symbol() IS 'Trigger: changes subscription as symbols is changed.';
CREATE TRIGGER symbols_changed INSTEAD OF INSERT OR UPDATE OR DELETE ON symbols
    FOR EACH ROW EXECUTE FUNCTION change_symbol();
GRANT SELECT, INSERT, UPDATE, DELETE ON symbols TO tapedeck_writer, tapedeck_recorder;

-- ---- snapshots whose features must be derived -----------------------------------------------------------------------

CREATE TABLE snapshot_dirty (
    mark_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    market_id bigint      NOT NULL,
    low       timestamptz NOT NULL,
    high      timestamptz NOT NULL,
    marked_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
CREATE INDEX snapshot_dirty_market ON snapshot_dirty (market_id);
COMMENT ON TABLE  snapshot_dirty           IS 'Snapshots whose features and findings must be derived. Written by a trigger of market_snapshot; bin/deriver removes a mark in the transaction that stores them.';
COMMENT ON COLUMN snapshot_dirty.mark_id   IS 'Number of the mark, in the order of marking.';
COMMENT ON COLUMN snapshot_dirty.market_id IS 'The market (market).';
COMMENT ON COLUMN snapshot_dirty.low       IS 'Receipt of the first snapshot concerned, UTC.';
COMMENT ON COLUMN snapshot_dirty.high      IS 'Receipt of the last snapshot concerned, UTC.';
COMMENT ON COLUMN snapshot_dirty.marked_at IS 'When it was marked, UTC.';

CREATE FUNCTION mark_snapshots() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO public.snapshot_dirty (market_id, low, high)
        SELECT market_id, min(ts_recv), max(ts_recv) FROM stale GROUP BY market_id, date_bin('1 day', ts_recv, 'epoch');
    ELSE
        INSERT INTO public.snapshot_dirty (market_id, low, high)
        SELECT market_id, min(ts_recv), max(ts_recv) FROM fresh GROUP BY market_id, date_bin('1 day', ts_recv, 'epoch');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_snapshots() IS 'Trigger: marks the snapshots that a statement changed, so that their features are derived.';
CREATE TRIGGER market_snapshot_inserted AFTER INSERT ON market_snapshot REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_snapshots();
CREATE TRIGGER market_snapshot_updated AFTER UPDATE ON market_snapshot REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_snapshots();
CREATE TRIGGER market_snapshot_deleted AFTER DELETE ON market_snapshot REFERENCING OLD TABLE AS stale
    FOR EACH STATEMENT EXECUTE FUNCTION mark_snapshots();

-- What the stream of a market lacked is often declared after the snapshots that it concerns. Their windows are a day.
CREATE FUNCTION mark_market_gaps() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    INSERT INTO public.snapshot_dirty (market_id, low, high)
    SELECT m.market_id, min(least(g.started_at, g.last_ts_event)),
           max(coalesce(greatest(g.ended_at, g.first_ts_event), 'infinity') + interval '1 day')
      FROM fresh g
      JOIN public.instrument i ON i.instrument_id = g.instrument_id AND i.venue = 'polymarket'
      JOIN public.market m ON m.tokens @> ARRAY[i.symbol]
     GROUP BY m.market_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION mark_market_gaps() IS 'Trigger: marks the snapshots of the markets in whose streams gaps were declared, ended or healed.';
CREATE TRIGGER gap_market_inserted AFTER INSERT ON gap REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_market_gaps();
CREATE TRIGGER gap_market_updated AFTER UPDATE ON gap REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION mark_market_gaps();

-- Without a deriver the marks of snapshots would fill the disk as those of minutes would.
ALTER FUNCTION fold_bar_marks(interval) RENAME TO fold_minute_marks;
COMMENT ON FUNCTION fold_minute_marks(interval) IS
    'Replaces marks of minutes that no deriver took for so long by marks of their days; returns the number of the latter.';
CREATE FUNCTION fold_bar_marks(older_than interval) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM (SELECT marked_at FROM public.snapshot_dirty ORDER BY mark_id LIMIT 1) AS oldest
                WHERE marked_at < clock_timestamp() - older_than) THEN
        WITH old AS (
            DELETE FROM public.snapshot_dirty WHERE marked_at < clock_timestamp() - older_than
            RETURNING market_id, low, high
        ) INSERT INTO public.snapshot_dirty (market_id, low, high)
        SELECT market_id, min(low), max(high) FROM old GROUP BY market_id, date_bin('1 day', low, 'epoch');
    END IF;
    RETURN public.fold_minute_marks(older_than);
END
$$;
COMMENT ON FUNCTION fold_bar_marks(interval) IS
    'Replaces marks of minutes and snapshots that no deriver took for so long by marks of their days; returns the number of those of minutes.';
REVOKE EXECUTE ON FUNCTION fold_minute_marks(interval) FROM tapedeck_writer;
GRANT EXECUTE ON FUNCTION fold_bar_marks(interval) TO tapedeck_writer;

GRANT SELECT, INSERT, UPDATE, DELETE ON snapshot_dirty TO tapedeck_deriver;

-- ---- data quality --------------------------------------------------------------------------------------------------

-- An overflow would stop the deriver for every instrument, because it is the same for all rows of a statement.
CREATE FUNCTION bounded_ratio(dividend double precision, divisor double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN divisor = 0 THEN NULL
                WHEN dividend = 0 THEN 0
                WHEN ln(abs(dividend)) - ln(abs(divisor)) > 690 THEN sign(dividend) * sign(divisor) * 1e300
                WHEN ln(abs(dividend)) - ln(abs(divisor)) < -690 THEN 0
                ELSE dividend / divisor END
$$;
COMMENT ON FUNCTION bounded_ratio(double precision, double precision) IS
    'The ratio of two numbers, from -1e300 to 1e300; NULL where the divisor is 0. It never overflows.';

CREATE TABLE quality_rule (
    subject   text             NOT NULL CHECK (subject IN ('bar', 'snapshot')),
    rule      text             NOT NULL CHECK (rule <> ''),
    threshold double precision NOT NULL,
    enabled   boolean          NOT NULL DEFAULT true,
    value     text             NOT NULL,
    PRIMARY KEY (subject, rule)
);
COMMENT ON TABLE  quality_rule           IS 'Rules by which every complete bar and every snapshot is checked. A superuser changes thresholds by UPDATE, for what is checked from then on; recheck_quality checks the past again.';
COMMENT ON COLUMN quality_rule.subject   IS 'What it checks: bar or snapshot.';
COMMENT ON COLUMN quality_rule.rule      IS 'Name of the rule.';
COMMENT ON COLUMN quality_rule.threshold IS 'A value at or above it is a finding; of split_like, at or below it.';
COMMENT ON COLUMN quality_rule.enabled   IS 'Whether it is applied.';
COMMENT ON COLUMN quality_rule.value     IS 'What the value is, with its unit.';
INSERT INTO quality_rule (subject, rule, threshold, value) VALUES
    ('bar', 'range', 0.2, 'high / low - 1'),
    ('bar', 'jump', 15, 'absolute log return of the close since the bar before, in standard deviations of up to 60 returns before it (at least 20, and 5 bp)'),
    ('bar', 'volume_spike', 100, 'volume / mean volume of up to 60 bars before it (at least 20)'),
    ('bar', 'stale', 60, 'bars in a row at one single price, at most 61'),
    ('bar', 'split_like', 0.01, 'distance of open / close before it from 2, 3, 4, 5, 10, 20 or 50 to 1, or 1 to that, as a fraction'),
    ('bar', 'spread', 0.05, '(ask - bid) / middle of the last quote of the minute'),
    ('bar', 'crossed', 0, '(bid - ask) / middle of the last quote of the minute'),
    ('snapshot', 'range', 0.25, 'absolute distance of the middle from the price of the listing, probability'),
    ('snapshot', 'jump', 15, 'absolute change of the middle, in standard deviations of up to 60 changes before it (at least 20, and 0.005)'),
    ('snapshot', 'volume_spike', 20, 'volume of 24 hours / that of the snapshot before it, where that had 100 USDC'),
    ('snapshot', 'stale', 7200, 'age of the listing, seconds'),
    ('snapshot', 'spread', 0.3, 'ask - bid, probability'),
    ('snapshot', 'crossed', 0, 'bid - ask, probability');

CREATE TABLE bar_finding (
    instrument_id bigint           NOT NULL,
    interval_s    integer          NOT NULL,
    start         timestamptz      NOT NULL,
    rule          text             NOT NULL,
    value         double precision NOT NULL,
    threshold     double precision NOT NULL,
    found_at      timestamptz      NOT NULL,
    PRIMARY KEY (instrument_id, interval_s, start, rule)
);
COMMENT ON TABLE  bar_finding               IS 'Values of complete bars that a rule of quality_rule finds unusual. The bar stays as it is. Written by bin/deriver.';
COMMENT ON COLUMN bar_finding.instrument_id IS 'Instrument traded (instrument).';
COMMENT ON COLUMN bar_finding.interval_s    IS 'Length of the bar, seconds.';
COMMENT ON COLUMN bar_finding.start         IS 'Start of the bar, UTC.';
COMMENT ON COLUMN bar_finding.rule          IS 'The rule (quality_rule).';
COMMENT ON COLUMN bar_finding.value         IS 'What it found, as quality_rule.value describes it.';
COMMENT ON COLUMN bar_finding.threshold     IS 'Threshold when it was found.';
COMMENT ON COLUMN bar_finding.found_at      IS 'When it was found, UTC.';

CREATE TABLE snapshot_finding (
    market_id bigint           NOT NULL,
    ts_recv   timestamptz      NOT NULL,
    rule      text             NOT NULL,
    value     double precision NOT NULL,
    threshold double precision NOT NULL,
    found_at  timestamptz      NOT NULL,
    PRIMARY KEY (market_id, ts_recv, rule)
);
COMMENT ON TABLE  snapshot_finding           IS 'Values of snapshots that a rule of quality_rule finds unusual. The snapshot stays as it is. Written by bin/deriver.';
COMMENT ON COLUMN snapshot_finding.market_id IS 'The market (market).';
COMMENT ON COLUMN snapshot_finding.ts_recv   IS 'Receipt of the snapshot, UTC.';
COMMENT ON COLUMN snapshot_finding.rule      IS 'The rule (quality_rule).';
COMMENT ON COLUMN snapshot_finding.value     IS 'What it found, as quality_rule.value describes it.';
COMMENT ON COLUMN snapshot_finding.threshold IS 'Threshold when it was found.';
COMMENT ON COLUMN snapshot_finding.found_at  IS 'When it was found, UTC.';

CREATE VIEW quality_hour AS
SELECT b.instrument_id, i.venue, i.symbol, date_bin('1 hour', b.start, 'epoch') AS hour, count(*) AS bars,
       count(f.findings) AS flagged, coalesce(sum(f.findings), 0)::bigint AS findings,
       1 - count(f.findings)::double precision / count(*) AS score
  FROM bar b
  JOIN instrument i ON i.instrument_id = b.instrument_id
  LEFT JOIN LATERAL (SELECT nullif(count(*), 0) AS findings FROM bar_finding g
                      WHERE g.instrument_id = b.instrument_id AND g.interval_s = 60 AND g.start = b.start) AS f ON true
 WHERE b.interval_s = 60 AND b.complete
 GROUP BY b.instrument_id, i.venue, i.symbol, 4;
COMMENT ON VIEW   quality_hour               IS 'How much of an hour of an instrument no rule found unusual, by its complete bars of a minute.';
COMMENT ON COLUMN quality_hour.instrument_id IS 'Instrument traded (instrument).';
COMMENT ON COLUMN quality_hour.venue         IS 'Venue of the trades.';
COMMENT ON COLUMN quality_hour.symbol        IS 'Symbol in the venue''s own spelling.';
COMMENT ON COLUMN quality_hour.hour          IS 'Start of the hour, UTC.';
COMMENT ON COLUMN quality_hour.bars          IS 'Number of complete bars of a minute.';
COMMENT ON COLUMN quality_hour.flagged       IS 'How many of them have a finding.';
COMMENT ON COLUMN quality_hour.findings      IS 'Number of findings.';
COMMENT ON COLUMN quality_hour.score         IS '1 - flagged / bars.';

CREATE VIEW market_quality_hour AS
SELECT s.market_id, date_bin('1 hour', s.ts_recv, 'epoch') AS hour, count(*) AS snapshots, count(f.findings) AS flagged,
       coalesce(sum(f.findings), 0)::bigint AS findings, 1 - count(f.findings)::double precision / count(*) AS score
  FROM market_snapshot s
  LEFT JOIN LATERAL (SELECT nullif(count(*), 0) AS findings FROM snapshot_finding g
                      WHERE g.market_id = s.market_id AND g.ts_recv = s.ts_recv) AS f ON true
 GROUP BY s.market_id, 2;
COMMENT ON VIEW   market_quality_hour           IS 'How much of an hour of a market no rule found unusual, by its snapshots. Restrict hour and market_id: without that, every snapshot is read.';
COMMENT ON COLUMN market_quality_hour.market_id IS 'The market (market).';
COMMENT ON COLUMN market_quality_hour.hour      IS 'Start of the hour, UTC.';
COMMENT ON COLUMN market_quality_hour.snapshots IS 'Number of snapshots.';
COMMENT ON COLUMN market_quality_hour.flagged   IS 'How many of them have a finding.';
COMMENT ON COLUMN market_quality_hour.findings  IS 'Number of findings.';
COMMENT ON COLUMN market_quality_hour.score     IS '1 - flagged / snapshots.';

CREATE FUNCTION recheck_quality(low timestamptz, high timestamptz) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    marked bigint;
BEGIN
    INSERT INTO public.derived_dirty (instrument_id, interval_s, low, high, reach)
    SELECT instrument_id, interval_s, min(start), max(start), false FROM public.bar
     WHERE complete AND start >= recheck_quality.low AND start < recheck_quality.high
     GROUP BY instrument_id, interval_s, date_bin(interval_s * interval '1440 seconds', start, 'epoch');
    GET DIAGNOSTICS marked = ROW_COUNT;
    INSERT INTO public.snapshot_dirty (market_id, low, high)
    SELECT market_id, min(ts_recv), max(ts_recv) FROM public.market_snapshot
     WHERE ts_recv >= recheck_quality.low AND ts_recv < recheck_quality.high
     GROUP BY market_id, date_bin('1 day', ts_recv, 'epoch');
    RETURN marked;
END
$$;
COMMENT ON FUNCTION recheck_quality(timestamptz, timestamptz) IS
    'Marks the bars and snapshots of a range to be checked again by the rules, as after a change of a threshold; returns the number of marks of bars.';

GRANT SELECT, INSERT, UPDATE, DELETE ON bar_finding, snapshot_finding TO tapedeck_deriver;
GRANT SELECT ON quality_rule TO tapedeck_deriver;
GRANT EXECUTE ON FUNCTION bounded_ratio(double precision, double precision) TO tapedeck_deriver;
GRANT EXECUTE ON FUNCTION recheck_quality(timestamptz, timestamptz) TO tapedeck_replay;

-- 0017_snapshot.sql: prediction markets as the poller saw them: figures of their books, the books, and large trades.

CREATE TABLE market_snapshot (
    market_id           bigint           NOT NULL,
    ts_recv             timestamptz      NOT NULL,
    ts_event            timestamptz,
    instrument_id       bigint           NOT NULL,
    event_id            bigint,
    tier                text             NOT NULL CHECK (tier IN ('T0', 'T1', 'T2', 'T3', 'T4')),
    source              text             NOT NULL CHECK (source IN ('rest', 'stream', 'none')),
    bid                 double precision CHECK (bid > 0 AND bid < 1),
    bid_size            double precision CHECK (bid_size > 0),
    ask                 double precision CHECK (ask > 0 AND ask < 1),
    ask_size            double precision CHECK (ask_size > 0),
    spread              double precision,
    mid                 double precision,
    microprice          double precision,
    bid_depth_1c        double precision,
    bid_depth_2c        double precision,
    bid_depth_5c        double precision,
    bid_depth_10c       double precision,
    ask_depth_1c        double precision,
    ask_depth_2c        double precision,
    ask_depth_5c        double precision,
    ask_depth_10c       double precision,
    bid_levels          integer,
    ask_levels          integer,
    bid_shares          double precision,
    ask_shares          double precision,
    largest_bid         double precision,
    largest_bid_size    double precision,
    largest_ask         double precision,
    largest_ask_size    double precision,
    imbalance_touch     double precision CHECK (imbalance_touch BETWEEN -1 AND 1),
    imbalance_5c        double precision CHECK (imbalance_5c BETWEEN -1 AND 1),
    cost_buy_500        double precision,
    last_trade_price    double precision CHECK (last_trade_price BETWEEN 0 AND 1),
    tick_size           double precision,
    min_size            double precision,
    hash                text,
    end_at              timestamptz,
    game_at             timestamptz,
    gamma_recv          timestamptz,
    gamma_updated       timestamptz,
    gamma_price         double precision,
    volume              double precision,
    volume_24h          double precision,
    volume_1w           double precision,
    volume_1mo          double precision,
    liquidity           double precision,
    event_volume        double precision,
    event_open_interest double precision,
    -- A missing book has no figures, and no book comes without its time.
    CHECK ((source = 'none') = (ts_event IS NULL)),
    CHECK (source <> 'none' OR num_nonnulls(bid, ask, bid_levels, ask_levels, hash) = 0),
    -- Numbers that became known after the book are not of this snapshot.
    CHECK (gamma_recv <= ts_recv),
    PRIMARY KEY (market_id, ts_recv)
) PARTITION BY RANGE (ts_recv);
-- Serves time ranges over all markets: rows arrive in the order of their receipt.
CREATE INDEX market_snapshot_ts_recv ON market_snapshot USING brin (ts_recv) WITH (pages_per_range = 32, autosummarize = on);
COMMENT ON TABLE  market_snapshot                     IS 'One row per market and poll: the book of outcome 0 in figures, with the slow numbers of the venue''s listing as known then. Written by bin/writer, never updated. About 200,000 rows an hour of 10,000 markets.';
COMMENT ON COLUMN market_snapshot.market_id           IS 'The market (market).';
COMMENT ON COLUMN market_snapshot.ts_recv             IS 'When the book was received, by our clock, UTC, microseconds truncated: from then on the row was known.';
COMMENT ON COLUMN market_snapshot.ts_event            IS 'The venue''s time of the book, UTC, and the time of the snapshot; NULL where there was no book.';
COMMENT ON COLUMN market_snapshot.instrument_id       IS 'Token of outcome 0 (instrument), whose prices these are; the book of the other token is its mirror.';
COMMENT ON COLUMN market_snapshot.event_id            IS 'The event that groups markets (market_event); NULL where there was none.';
COMMENT ON COLUMN market_snapshot.tier                IS 'Tier of the poll, by the hours to the scheduled end: T0 every 60 min, T1 5 min, T2 1 min, T3 30 s, T4 15 s.';
COMMENT ON COLUMN market_snapshot.source              IS 'rest: the venue answered with this book; stream: our own book; none: the venue was asked and has no book of it.';
COMMENT ON COLUMN market_snapshot.bid                 IS 'Highest bid, probability; NULL when there is no bid.';
COMMENT ON COLUMN market_snapshot.bid_size            IS 'Size at the bid, shares; NULL when there is no bid.';
COMMENT ON COLUMN market_snapshot.ask                 IS 'Lowest ask, probability; NULL when there is no ask.';
COMMENT ON COLUMN market_snapshot.ask_size            IS 'Size at the ask, shares; NULL when there is no ask.';
COMMENT ON COLUMN market_snapshot.spread              IS 'ask - bid, probability; NULL when a side is empty.';
COMMENT ON COLUMN market_snapshot.mid                 IS '(bid + ask) / 2, probability; NULL when a side is empty.';
COMMENT ON COLUMN market_snapshot.microprice          IS '(ask * bid_size + bid * ask_size) / (bid_size + ask_size), probability; NULL when a side is empty.';
COMMENT ON COLUMN market_snapshot.bid_depth_1c        IS 'Bids within 1 cent of mid, shares; 0 when there is no bid; NULL when there is no ask, or no book.';
COMMENT ON COLUMN market_snapshot.bid_depth_2c        IS 'Bids within 2 cents of mid, shares; else as bid_depth_1c.';
COMMENT ON COLUMN market_snapshot.bid_depth_5c        IS 'Bids within 5 cents of mid, shares; else as bid_depth_1c.';
COMMENT ON COLUMN market_snapshot.bid_depth_10c       IS 'Bids within 10 cents of mid, shares; else as bid_depth_1c.';
COMMENT ON COLUMN market_snapshot.ask_depth_1c        IS 'Asks within 1 cent of mid, shares; 0 when there is no ask; NULL when there is no bid, or no book.';
COMMENT ON COLUMN market_snapshot.ask_depth_2c        IS 'Asks within 2 cents of mid, shares; else as ask_depth_1c.';
COMMENT ON COLUMN market_snapshot.ask_depth_5c        IS 'Asks within 5 cents of mid, shares; else as ask_depth_1c.';
COMMENT ON COLUMN market_snapshot.ask_depth_10c       IS 'Asks within 10 cents of mid, shares; else as ask_depth_1c.';
COMMENT ON COLUMN market_snapshot.bid_levels          IS 'Number of bid prices, without orders above 1,000,000 shares parked at 0.001 or 0.999; NULL without a book.';
COMMENT ON COLUMN market_snapshot.ask_levels          IS 'Number of ask prices, without parked orders; NULL without a book.';
COMMENT ON COLUMN market_snapshot.bid_shares          IS 'Sum of bid sizes without parked orders, shares; NULL without a book.';
COMMENT ON COLUMN market_snapshot.ask_shares          IS 'Sum of ask sizes without parked orders, shares; NULL without a book.';
COMMENT ON COLUMN market_snapshot.largest_bid         IS 'Price of the largest bid level without parked orders, probability; NULL when there is none.';
COMMENT ON COLUMN market_snapshot.largest_bid_size    IS 'Size of that level, shares.';
COMMENT ON COLUMN market_snapshot.largest_ask         IS 'Price of the largest ask level without parked orders, probability; NULL when there is none.';
COMMENT ON COLUMN market_snapshot.largest_ask_size    IS 'Size of that level, shares.';
COMMENT ON COLUMN market_snapshot.imbalance_touch     IS '(bid_size - ask_size) / (bid_size + ask_size), -1 to 1; NULL when a side is empty.';
COMMENT ON COLUMN market_snapshot.imbalance_5c        IS 'The same of the depths within 5 cents, -1 to 1; NULL where either is NULL or both are 0.';
COMMENT ON COLUMN market_snapshot.cost_buy_500        IS 'Average price of buying for 500 USDC, minus mid, probability; NULL where the asks are worth less, or without mid.';
COMMENT ON COLUMN market_snapshot.last_trade_price    IS 'Price of the last trade by the book, of outcome 0, probability; NULL where it has never traded.';
COMMENT ON COLUMN market_snapshot.tick_size           IS 'Smallest step of prices at the time, probability; of the book, else of the listing.';
COMMENT ON COLUMN market_snapshot.min_size            IS 'Smallest order at the time, shares.';
COMMENT ON COLUMN market_snapshot.hash                IS 'The venue''s hash of the book; equal hashes are equal books (market_book).';
COMMENT ON COLUMN market_snapshot.end_at              IS 'Scheduled end as the venue announced it at the time, UTC, never the true end; NULL where there was none.';
COMMENT ON COLUMN market_snapshot.game_at             IS 'Scheduled start of the game or event as announced at the time, UTC; NULL where there was none.';
COMMENT ON COLUMN market_snapshot.gamma_recv          IS 'When the numbers below were received, by our clock, UTC; NULL where none were known yet.';
COMMENT ON COLUMN market_snapshot.gamma_updated       IS 'The venue''s time of these numbers, UTC; NULL where it gives none.';
COMMENT ON COLUMN market_snapshot.gamma_price         IS 'Price of outcome 0 in the listing, probability; a middle, or the last trade where the spread is above 0.10.';
COMMENT ON COLUMN market_snapshot.volume              IS 'Traded since the start of the market, USDC.';
COMMENT ON COLUMN market_snapshot.volume_24h          IS 'Traded in 24 hours, USDC.';
COMMENT ON COLUMN market_snapshot.volume_1w           IS 'Traded in a week, USDC.';
COMMENT ON COLUMN market_snapshot.volume_1mo          IS 'Traded in a month, USDC.';
COMMENT ON COLUMN market_snapshot.liquidity           IS 'Liquidity by the venue''s measure, USDC.';
COMMENT ON COLUMN market_snapshot.event_volume        IS 'Traded in all markets of the event since its start, USDC.';
COMMENT ON COLUMN market_snapshot.event_open_interest IS 'Open interest of the event, USDC.';

CREATE TABLE partition.market_snapshot_default PARTITION OF market_snapshot DEFAULT;
COMMENT ON TABLE partition.market_snapshot_default IS 'Rows of market_snapshot on a day that has no partition yet; empty unless something is wrong.';
GRANT SELECT, INSERT ON market_snapshot TO tapedeck_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON market_snapshot TO tapedeck_replay;

CREATE TABLE market_book (
    market_id bigint      NOT NULL,
    ts_recv   timestamptz NOT NULL,
    ts_event  timestamptz NOT NULL,
    hash      text,
    bids      jsonb       NOT NULL CHECK (jsonb_typeof(bids) = 'array'),
    asks      jsonb       NOT NULL CHECK (jsonb_typeof(asks) = 'array'),
    PRIMARY KEY (market_id, ts_recv)
) PARTITION BY RANGE (ts_recv);
COMMENT ON TABLE  market_book           IS 'Complete books of outcome 0 of the markets near their end (setting poller.polymarket.books_from). A book whose hash is that of the row before it is stored again after 15 minutes only. Its figures are the row of market_snapshot with the same key. Written by bin/writer, never updated.';
COMMENT ON COLUMN market_book.market_id IS 'The market (market).';
COMMENT ON COLUMN market_book.ts_recv   IS 'When the book was received, by our clock, UTC, microseconds truncated.';
COMMENT ON COLUMN market_book.ts_event  IS 'The venue''s time of the book, UTC.';
COMMENT ON COLUMN market_book.hash      IS 'The venue''s hash of the book; NULL where it gives none.';
COMMENT ON COLUMN market_book.bids      IS 'Bids as [[price, size], ...], best first: price is a probability, size is shares.';
COMMENT ON COLUMN market_book.asks      IS 'Asks as [[price, size], ...], best first: price is a probability, size is shares.';

CREATE TABLE partition.market_book_default PARTITION OF market_book DEFAULT;
COMMENT ON TABLE partition.market_book_default IS 'Rows of market_book on a day that has no partition yet; empty unless something is wrong.';
GRANT SELECT, INSERT ON market_book TO tapedeck_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON market_book TO tapedeck_replay;

CREATE TABLE whale_event (
    transaction_hash text             NOT NULL CHECK (transaction_hash ~ '^0x[0-9a-f]{64}$'),
    wallet           text             NOT NULL CHECK (wallet ~ '^0x[0-9a-f]{40}$'),
    ts_event         timestamptz      NOT NULL,
    ts_recv          timestamptz      NOT NULL,
    instrument_id    bigint           NOT NULL,
    condition_id     text             NOT NULL CHECK (condition_id ~ '^0x[0-9a-f]{64}$'),
    outcome          text,
    outcome_index    integer          CHECK (outcome_index >= 0),
    side             "char"           NOT NULL CHECK (side IN ('b', 's')),
    shares           double precision NOT NULL CHECK (shares > 0),
    cash             double precision NOT NULL CHECK (cash >= 0),
    tokens           integer          NOT NULL CHECK (tokens > 0),
    revision         integer          NOT NULL CHECK (revision > 0),
    PRIMARY KEY (transaction_hash, wallet)
);
CREATE INDEX whale_event_ts_event ON whale_event (ts_event);
CREATE INDEX whale_event_condition ON whale_event (condition_id, ts_event);
COMMENT ON TABLE  whale_event                  IS 'Large trades: what one wallet took in one transaction, summed over its fills, from the setting poller.polymarket.whale_usdc up. Written by bin/writer; a higher revision replaces a lower.';
COMMENT ON COLUMN whale_event.transaction_hash IS 'Transaction on the chain, 0x and 64 hex digits.';
COMMENT ON COLUMN whale_event.wallet           IS 'The taker''s address, 0x and 40 hex digits.';
COMMENT ON COLUMN whale_event.ts_event         IS 'Time of the block, UTC; seconds after the match.';
COMMENT ON COLUMN whale_event.ts_recv          IS 'When the answer with its last fill was received, by our clock, UTC.';
COMMENT ON COLUMN whale_event.instrument_id    IS 'Token with most of the cash (instrument).';
COMMENT ON COLUMN whale_event.condition_id     IS 'Condition of that token''s market (market.condition_id).';
COMMENT ON COLUMN whale_event.outcome          IS 'Label of that token''s outcome; NULL where the venue does not say.';
COMMENT ON COLUMN whale_event.outcome_index    IS 'Number of that outcome from 0; NULL where the venue does not know it.';
COMMENT ON COLUMN whale_event.side             IS 'What the taker did with that token: b bought it, s sold it.';
COMMENT ON COLUMN whale_event.shares           IS 'Sum over the fills, shares.';
COMMENT ON COLUMN whale_event.cash             IS 'Sum of shares * price over the fills, USDC.';
COMMENT ON COLUMN whale_event.tokens           IS 'Number of different tokens among the fills.';
COMMENT ON COLUMN whale_event.revision         IS 'Number of fills summed: a row with more of them replaces one with fewer.';
GRANT SELECT, INSERT, UPDATE ON whale_event TO tapedeck_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON whale_event TO tapedeck_replay;

-- ---- partitions of these tables -----------------------------------------------------------------------------------

CREATE TABLE partition_lost (
    table_name text        NOT NULL,
    day        date        NOT NULL,
    noticed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, day)
);
COMMENT ON TABLE  partition_lost            IS 'Day partitions of polled tables that were dropped: their rows are lost. A partition of trade, quote or book leaves gaps instead.';
COMMENT ON COLUMN partition_lost.table_name IS 'market_snapshot or market_book.';
COMMENT ON COLUMN partition_lost.day        IS 'Day of its rows, UTC.';
COMMENT ON COLUMN partition_lost.noticed_at IS 'When the loss was noticed, UTC.';

COMMENT ON COLUMN day_partition.table_name IS 'trade, quote, book, market_snapshot or market_book.';

CREATE OR REPLACE FUNCTION dropped_partitions() RETURNS TABLE (table_name text, day date)
    LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT k.table_name, k.day
      FROM public.day_partition k
     WHERE NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                        WHERE i.inhparent = to_regclass('public.' || quote_ident(k.table_name))
                          AND c.relnamespace = to_regnamespace('partition')
                          AND c.relname = k.table_name || '_' || to_char(k.day, 'YYYYMMDD'))
     UNION ALL
    SELECT name, NULL::date FROM unnest('{trade,quote,book,market_snapshot,market_book}'::text[]) AS name
     WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = to_regnamespace('partition')
                          AND c.relname = name || '_default')
$$;

CREATE OR REPLACE FUNCTION declare_dropped_partition(in_table text, in_day date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, public, pg_temp
    SET timezone = 'UTC'
AS $$
DECLARE
    low      timestamptz := in_day;
    high     timestamptz := least(in_day + 1, clock_timestamp());
    declared bigint := 0;
BEGIN
    IF in_day IS NULL AND in_table IN ('trade', 'quote', 'book', 'market_snapshot', 'market_book') THEN
        EXECUTE format('CREATE TABLE IF NOT EXISTS partition.%I PARTITION OF public.%I DEFAULT',
                       in_table || '_default', in_table);
        RETURN 0;  -- which streams had rows on a day without a partition is not known
    END IF;
    DELETE FROM public.day_partition WHERE table_name = in_table AND day = in_day;
    IF NOT FOUND OR high <= low THEN
        RETURN 0;  -- another session was faster, or the day has not begun
    END IF;
    IF in_table NOT IN ('trade', 'quote', 'book') THEN
        -- A polled table has no streams with gaps. The ledger of the polls says how many rows the day had.
        INSERT INTO public.partition_lost (table_name, day) VALUES (in_table, in_day)
        ON CONFLICT (table_name, day) DO UPDATE SET noticed_at = now();
        RETURN 0;
    END IF;
    EXECUTE format($query$
        INSERT INTO public.gap AS g (gap_id, instrument_id, channel, cause, state, reason, started_at, ended_at,
                                     last_ts_event, first_ts_event, revision)
        SELECT hashtextextended(format('dropped %%s %%s %%s', $1, $2, i.instrument_id), 0) & 9223372036854775807,
               i.instrument_id, $1, 'partition_dropped', 'unhealable',
               format('partition.%%s_%%s was dropped', $1, to_char($2, 'YYYYMMDD')), $3, $4, $3, $4, 1
          FROM public.instrument i
         WHERE i.recorded
           AND (EXISTS (SELECT FROM public.%1$I r WHERE r.instrument_id = i.instrument_id
                           AND r.%2$I >= $3 - interval '7 days' AND r.%2$I < $3 + interval '8 days')
                OR EXISTS (SELECT FROM public.gap o WHERE o.instrument_id = i.instrument_id AND o.channel = $1)
                OR EXISTS (SELECT FROM public.subscription s
                            WHERE s.venue = i.venue AND s.channel = $1 AND s.active
                              AND (s.symbol = i.symbol OR s.symbol ~ '[*?]|^top:')))
        ON CONFLICT (gap_id) DO UPDATE
           SET ended_at = EXCLUDED.ended_at, first_ts_event = EXCLUDED.first_ts_event, revision = g.revision + 1
        $query$, in_table, CASE in_table WHEN 'trade' THEN 'ts_event' ELSE 'ts_recv' END)
    USING in_table, in_day, low, high;
    GET DIAGNOSTICS declared = ROW_COUNT;
    RETURN declared;
END
$$;
COMMENT ON FUNCTION declare_dropped_partition(text, date) IS
    'Declares a gap of the whole day for every stream of a table whose partition was dropped, or a row of partition_lost for a polled table; returns the number of gaps.';

-- ---- views for people ---------------------------------------------------------------------------------------------

CREATE INDEX market_tokens ON market USING gin (tokens);

CREATE VIEW market_snapshot_named AS
SELECT m.slug, m.question, m.outcomes[1] AS outcome, s.ts_event, s.ts_recv, s.tier, s.source, s.bid, s.ask, s.mid, s.spread,
       s.bid_size, s.ask_size, s.last_trade_price, s.volume_24h,
       extract(epoch FROM s.ts_recv - s.ts_event)::double precision   AS book_age_s,
       extract(epoch FROM s.ts_recv - s.gamma_recv)::double precision AS gamma_age_s,
       extract(epoch FROM s.end_at - s.ts_recv)::double precision / 3600 AS hours_to_end,
       s.market_id, s.event_id
  FROM market_snapshot s
  LEFT JOIN market m ON m.market_id = s.market_id;
COMMENT ON VIEW   market_snapshot_named                  IS 'Snapshots with the name of the market. Restrict ts_recv, so that only the partitions of those days are read.';
COMMENT ON COLUMN market_snapshot_named.slug             IS 'Name of the market in the venue''s addresses; NULL where its listing is not stored.';
COMMENT ON COLUMN market_snapshot_named.question         IS 'What the market asks.';
COMMENT ON COLUMN market_snapshot_named.outcome          IS 'Label of outcome 0, whose prices these are.';
COMMENT ON COLUMN market_snapshot_named.ts_event         IS 'The venue''s time of the book, UTC; NULL where there was no book.';
COMMENT ON COLUMN market_snapshot_named.ts_recv          IS 'When the book was received, by our clock, UTC.';
COMMENT ON COLUMN market_snapshot_named.tier             IS 'Tier of the poll: T0 (60 min) to T4 (15 s).';
COMMENT ON COLUMN market_snapshot_named.source           IS 'rest, stream or none: where the book comes from.';
COMMENT ON COLUMN market_snapshot_named.bid              IS 'Highest bid, probability.';
COMMENT ON COLUMN market_snapshot_named.ask              IS 'Lowest ask, probability.';
COMMENT ON COLUMN market_snapshot_named.mid              IS 'Middle, probability; NULL when a side is empty.';
COMMENT ON COLUMN market_snapshot_named.spread           IS 'ask - bid, probability.';
COMMENT ON COLUMN market_snapshot_named.bid_size         IS 'Size at the bid, shares.';
COMMENT ON COLUMN market_snapshot_named.ask_size         IS 'Size at the ask, shares.';
COMMENT ON COLUMN market_snapshot_named.last_trade_price IS 'Price of the last trade, probability; NULL where it has never traded.';
COMMENT ON COLUMN market_snapshot_named.volume_24h       IS 'Traded in 24 hours, USDC.';
COMMENT ON COLUMN market_snapshot_named.book_age_s       IS 'Age of the book when it was received, seconds, by two clocks.';
COMMENT ON COLUMN market_snapshot_named.gamma_age_s      IS 'Age of the numbers of the listing when the book was received, seconds since their own receipt.';
COMMENT ON COLUMN market_snapshot_named.hours_to_end     IS 'Time to the scheduled end as announced then, hours; negative after it.';
COMMENT ON COLUMN market_snapshot_named.market_id        IS 'The market (market).';
COMMENT ON COLUMN market_snapshot_named.event_id         IS 'The event that groups markets (market_event).';

-- The stream tells large trades of subscribed markets minutes before the feed does, without the wallet.
CREATE VIEW whale_named AS
SELECT w.ts_event, m.slug, m.question, w.outcome, CASE w.side WHEN 'b' THEN 'buy' ELSE 'sell' END AS side,
       w.shares, w.cash, w.wallet, w.transaction_hash, 'rest' AS source
  FROM whale_event w
  LEFT JOIN LATERAL (SELECT slug, question FROM market WHERE market.condition_id = w.condition_id LIMIT 1) m ON true
 UNION ALL
SELECT t.ts_event, m.slug, m.question, m.outcomes[array_position(m.tokens, i.symbol)],
       CASE t.aggressor WHEN 'b' THEN 'buy' WHEN 's' THEN 'sell' END, t.shares, t.cash, NULL, t.venue_trade_id, 'stream'
  FROM (SELECT venue_trade_id, max(ts_event) AS ts_event, sum(size) AS shares, sum(size * price) AS cash,
               (array_agg(instrument_id ORDER BY size * price DESC))[1] AS instrument_id,
               (array_agg(aggressor     ORDER BY size * price DESC))[1] AS aggressor
          FROM trade
         WHERE ts_event > now() - interval '1 hour' AND venue_trade_id ~ '^0x[0-9a-f]{64}$'
           AND instrument_id IN (SELECT instrument_id FROM instrument WHERE venue = 'polymarket' AND recorded)
         GROUP BY venue_trade_id
        HAVING sum(size * price) >= 1000) t
  JOIN instrument i ON i.instrument_id = t.instrument_id
  LEFT JOIN LATERAL (SELECT slug, question, outcomes, tokens FROM market WHERE market.tokens @> ARRAY[i.symbol] LIMIT 1) m ON true
 WHERE NOT EXISTS (SELECT FROM whale_event w WHERE w.transaction_hash = t.venue_trade_id);
COMMENT ON VIEW   whale_named                  IS 'Large trades, each once: those of the feed of the site with their wallets, and of the last hour those that only the stream has shown yet, from 1,000 USDC up.';
COMMENT ON COLUMN whale_named.ts_event         IS 'Time of the block, UTC; of the stream the time of the match.';
COMMENT ON COLUMN whale_named.slug             IS 'Name of the market in the venue''s addresses; NULL where its listing is not stored.';
COMMENT ON COLUMN whale_named.question         IS 'What the market asks.';
COMMENT ON COLUMN whale_named.outcome          IS 'Label of the outcome traded.';
COMMENT ON COLUMN whale_named.side             IS 'What the taker did: buy or sell.';
COMMENT ON COLUMN whale_named.shares           IS 'Sum over the fills, shares.';
COMMENT ON COLUMN whale_named.cash             IS 'Sum of shares * price over the fills, USDC.';
COMMENT ON COLUMN whale_named.wallet           IS 'The taker''s address; NULL where only the stream has shown the trade.';
COMMENT ON COLUMN whale_named.transaction_hash IS 'Transaction on the chain.';
COMMENT ON COLUMN whale_named.source           IS 'rest or stream.';

CREATE VIEW market_coverage AS
WITH polled AS (
    SELECT DISTINCT ON (market_id) market_id, tier
      FROM market_snapshot
     WHERE ts_recv > now() - interval '10 minutes'
     ORDER BY market_id, ts_recv DESC
), wanted AS (
    SELECT p.market_id, p.tier, unnest(m.tokens) AS token
      FROM polled p JOIN market m ON m.market_id = p.market_id
     WHERE p.tier IN ('T2', 'T3', 'T4')
), subscribed AS (
    SELECT symbol AS token, array_agg(channel ORDER BY channel) AS channels
      FROM subscription
     WHERE venue = 'polymarket' AND active AND symbol ~ '^[0-9]+$'
     GROUP BY symbol
)
SELECT m.market_id, m.slug, w.tier, token, m.outcomes[array_position(m.tokens, token)] AS outcome,
       w.token IS NOT NULL AS wanted,
       coalesce(s.channels, '{}') AS subscribed,
       coalesce(g.channels, '{}') AS interrupted,
       greatest(t.ts_recv, q.ts_recv, b.ts_recv) AS last_recv,
       coalesce(greatest(t.ts_recv, q.ts_recv, b.ts_recv) > now() - interval '2 minutes', false) AS receiving
  FROM wanted w
  FULL JOIN subscribed s USING (token)
  LEFT JOIN LATERAL (SELECT market_id, slug, outcomes, tokens FROM market WHERE market.tokens @> ARRAY[token] LIMIT 1) m ON true
  LEFT JOIN instrument i ON i.venue = 'polymarket' AND i.symbol = token
  LEFT JOIN LATERAL (SELECT array_agg(DISTINCT gap.channel) AS channels FROM gap
                      WHERE gap.instrument_id = i.instrument_id AND gap.state = 'open' AND gap.ended_at IS NULL) g ON true
  LEFT JOIN LATERAL (SELECT trade.ts_recv FROM trade
                      WHERE trade.instrument_id = i.instrument_id AND trade.ts_event > now() - interval '1 hour'
                      ORDER BY trade.ts_event DESC LIMIT 1) t ON true
  LEFT JOIN LATERAL (SELECT quote.ts_recv FROM quote
                      WHERE quote.instrument_id = i.instrument_id AND quote.ts_recv > now() - interval '1 hour'
                      ORDER BY quote.ts_recv DESC LIMIT 1) q ON true
  LEFT JOIN LATERAL (SELECT book.ts_recv FROM book
                      WHERE book.instrument_id = i.instrument_id AND book.ts_recv > now() - interval '1 hour'
                      ORDER BY book.ts_recv DESC LIMIT 1) b ON true;
COMMENT ON VIEW   market_coverage             IS 'The stream of prediction markets, one row per token: whether it should be subscribed, whether it is, and whether data comes. A token in no subscription of its own may be matched by a pattern such as top:20.';
COMMENT ON COLUMN market_coverage.market_id   IS 'The market (market); NULL where its listing is not stored.';
COMMENT ON COLUMN market_coverage.slug        IS 'Name of the market in the venue''s addresses.';
COMMENT ON COLUMN market_coverage.tier        IS 'Tier of its last snapshot, not older than 10 minutes: T2, T3 or T4; NULL where it is in none of these.';
COMMENT ON COLUMN market_coverage.token       IS 'The token, a symbol of the venue.';
COMMENT ON COLUMN market_coverage.outcome     IS 'Label of its outcome.';
COMMENT ON COLUMN market_coverage.wanted      IS 'Whether its tier asks for a subscription.';
COMMENT ON COLUMN market_coverage.subscribed  IS 'Channels of active subscriptions to this token; {} where there are none.';
COMMENT ON COLUMN market_coverage.interrupted IS 'Channels with a gap that lasts; {} where there are none.';
COMMENT ON COLUMN market_coverage.last_recv   IS 'When its last row was received, by our clock, UTC; NULL where there was none within an hour.';
COMMENT ON COLUMN market_coverage.receiving   IS 'Whether a row was received within two minutes. A market may be quiet for longer.';

-- tables.sql: what the venues sent beside what is stored, in temporary tables of the checker's connection.
-- The tables item, delivery and connection are filled from the notes of the fakes before this runs.

CREATE INDEX ON item (venue, symbol, channel, kind, key);
ANALYZE item;

-- Every stored row by the key that it shares with its item.
CREATE TEMPORARY TABLE stored AS
    SELECT i.venue, i.symbol, 'trade' AS channel, '' AS kind, t.trade_id::float8 AS key, t.ts_recv,
           NULL::bigint AS session_id, t.trade_id AS sequence, t.ts_event, t.price, t.size, t.aggressor::text AS side,
           NULL::float8 AS ask, NULL::float8 AS ask_size, NULL::float8[] AS bids, NULL::float8[] AS asks
      FROM trade t LEFT JOIN instrument i USING (instrument_id)
    UNION ALL
    SELECT i.venue, i.symbol, 'quote', '', q.bid_size, q.ts_recv, q.session_id, q.sequence, q.ts_event,
           q.bid, q.bid_size, NULL, q.ask, q.ask_size, NULL, NULL
      FROM quote q LEFT JOIN instrument i USING (instrument_id)
    UNION ALL
    SELECT i.venue, i.symbol, 'book', b.kind::text,
           (SELECT max(size) FROM unnest(b.bids[:][2:2] || b.asks[:][2:2]) AS size), b.ts_recv, b.session_id,
           b.sequence, b.ts_event, NULL, NULL, NULL, NULL, NULL, b.bids, b.asks
      FROM book b LEFT JOIN instrument i USING (instrument_id)
     WHERE NOT (b.kind = 's' AND i.venue = 'binance');  -- these are joined from REST, and compared on their own

CREATE TEMPORARY TABLE matched AS
    SELECT s.*, i.item,
           (s.ts_event IS NOT DISTINCT FROM i.event_at AND s.price IS NOT DISTINCT FROM i.price
            AND s.size IS NOT DISTINCT FROM i.size AND s.side IS NOT DISTINCT FROM i.side
            AND s.ask IS NOT DISTINCT FROM i.ask AND s.ask_size IS NOT DISTINCT FROM i.ask_size
            AND s.bids IS NOT DISTINCT FROM i.bids AND s.asks IS NOT DISTINCT FROM i.asks) AS equal
      FROM stored s
      LEFT JOIN item i ON (i.venue, i.symbol, i.channel, i.kind, i.key) = (s.venue, s.symbol, s.channel, s.kind, s.key);

CREATE TEMPORARY TABLE receipt AS  -- first receipt of each item that is stored
    SELECT item, min(ts_recv) AS ts_recv, count(*) AS rows, count(DISTINCT session_id) AS sessions
      FROM matched WHERE item IS NOT NULL GROUP BY item;
CREATE UNIQUE INDEX ON receipt (item);

CREATE TEMPORARY TABLE sendings AS SELECT item, count(DISTINCT connection) AS connections FROM delivery GROUP BY item;
CREATE UNIQUE INDEX ON sendings (item);
ANALYZE matched, receipt, sendings;

-- When an item that is not stored was on its way: between the receipts of its stored neighbours on its connection.
-- Only neighbours that went to one connection tell something about that connection.
CREATE TEMPORARY TABLE missing AS
    WITH line AS (
        SELECT d.item, d.connection, d.place, r.item IS NULL AS absent,
               CASE WHEN n.connections = 1 THEN r.ts_recv END AS ts_recv
          FROM delivery d JOIN sendings n USING (item) LEFT JOIN receipt r USING (item)
    ), spans AS (
        SELECT item, connection, absent,
               max(ts_recv) OVER (PARTITION BY connection ORDER BY place
                                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS since,
               min(ts_recv) OVER (PARTITION BY connection ORDER BY place
                                  ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS until
          FROM line
    )
    SELECT i.*, s.connection, coalesce(s.since, c.opened_at) AS since, coalesce(s.until, c.closed_at, 'infinity') AS until, TRUE AS sent
      FROM spans s JOIN connection c USING (connection) JOIN item i USING (item)
     WHERE s.absent
    UNION ALL
    -- A trade that went to no connection is proved by the ids around it, and so is a change of a book of Binance.
    -- Quotes have no such ids, and the changes of other books neither: a checksum shows only what no later change undoes.
    SELECT i.*, NULL, l.since, l.until, FALSE
      FROM (SELECT item, venue, symbol, channel,
                   max(ts_recv) OVER (PARTITION BY venue, symbol, channel ORDER BY key
                                      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS since,
                   min(ts_recv) OVER (PARTITION BY venue, symbol, channel ORDER BY key
                                      ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS until
              FROM item LEFT JOIN receipt USING (item)
             WHERE channel = 'trade' OR (channel = 'book' AND venue = 'binance')) l
      JOIN item i USING (item)
      LEFT JOIN receipt r USING (item)
      LEFT JOIN sendings n USING (item)
     WHERE r.item IS NULL AND n.item IS NULL AND l.since IS NOT NULL AND l.until IS NOT NULL;

CREATE TEMPORARY TABLE snapshot AS
    SELECT i.venue, i.symbol, b.ts_recv, b.sequence,
           (SELECT max(size) FROM unnest(b.bids[:][2:2] || b.asks[:][2:2]) AS size) AS key
      FROM book b JOIN instrument i USING (instrument_id) WHERE b.kind = 's';

CREATE TEMPORARY TABLE hole AS  -- gaps that may hide something
    SELECT g.*, i.venue, i.symbol FROM gap g JOIN instrument i USING (instrument_id) WHERE g.state <> 'healed';
CREATE INDEX ON hole (venue, symbol, channel);
ANALYZE missing, hole;

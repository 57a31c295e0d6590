-- 0021_own_book.sql: how our own book of a market compares with the venue's answer.

ALTER TABLE market_snapshot
    ADD COLUMN book_check   text CHECK (book_check IN ('agrees', 'differs', 'uncompared')),
    ADD COLUMN check_reason text,
    ADD CONSTRAINT market_snapshot_checked CHECK (source <> 'stream' OR book_check = 'agrees'),
    ADD CONSTRAINT market_snapshot_check_reason CHECK ((book_check = 'uncompared') = (check_reason IS NOT NULL));
COMMENT ON COLUMN market_snapshot.book_check   IS 'agrees: our own book was the answer of the venue, now or within the last seconds; differs: it was not, and this row is the answer; uncompared: there was no certain book of our own. NULL in T0 and T1, which are not streamed, and in rows of earlier versions.';
COMMENT ON COLUMN market_snapshot.check_reason IS 'Why it was not compared: not streamed, gap, no snapshot (since the last gap), silent (its session), crossed, stamp (ahead of our clock), journal (not read up to the answer), busy (too many changes), behind (the answer was newer; differs if that happens twice in a row), no answer (the venue has no book).';
COMMENT ON COLUMN market_snapshot.ts_recv      IS 'When the book was received, or our own was looked at, by our clock, UTC, microseconds truncated: from then on the row was known.';
COMMENT ON COLUMN market_snapshot.source       IS 'rest: the venue answered with this book; stream: our own book, which agrees with that answer; none: the venue was asked and has no book of it.';
COMMENT ON COLUMN market_snapshot.hash         IS 'The venue''s hash of the book; equal hashes are equal books (market_book). NULL of an own book that has gone on since the answer.';

CREATE VIEW market_check AS
SELECT date_trunc('hour', ts_recv) AS hour, tier,
       count(*)                                         AS snapshots,
       count(*) FILTER (WHERE source = 'stream')        AS own,
       count(*) FILTER (WHERE book_check = 'agrees')    AS agrees,
       count(*) FILTER (WHERE book_check = 'differs')   AS differs,
       count(*) FILTER (WHERE book_check = 'uncompared') AS uncompared
  FROM market_snapshot
 WHERE book_check IS NOT NULL
 GROUP BY 1, 2;
COMMENT ON VIEW   market_check            IS 'How our own books compare with the venue''s answers, by hour and tier. Restrict hour, so that only the partitions of those days are read.';
COMMENT ON COLUMN market_check.hour       IS 'Hour of ts_recv, UTC.';
COMMENT ON COLUMN market_check.tier       IS 'Tier of the poll: T2, T3 or T4.';
COMMENT ON COLUMN market_check.snapshots  IS 'Rows.';
COMMENT ON COLUMN market_check.own        IS 'Rows of our own book.';
COMMENT ON COLUMN market_check.agrees     IS 'Rows whose own book agrees with the venue''s.';
COMMENT ON COLUMN market_check.differs    IS 'Rows whose own book differs; they are the venue''s.';
COMMENT ON COLUMN market_check.uncompared IS 'Rows without a certain book of our own (market_snapshot.check_reason).';

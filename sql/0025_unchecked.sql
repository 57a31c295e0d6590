-- 0025_unchecked.sql: snapshots of our own book that no answer checked, requests that failed, and holes of a feed.

ALTER TABLE market_snapshot
    DROP CONSTRAINT market_snapshot_book_check_check,
    DROP CONSTRAINT market_snapshot_checked,
    DROP CONSTRAINT market_snapshot_check_reason,
    ADD CONSTRAINT market_snapshot_book_check_check
        CHECK (book_check IN ('agrees', 'differs', 'uncompared', 'unchecked')),
    ADD CONSTRAINT market_snapshot_checked
        CHECK ((source = 'stream') = coalesce(book_check IN ('agrees', 'unchecked'), false)),
    ADD CONSTRAINT market_snapshot_check_reason
        CHECK (coalesce(book_check IN ('uncompared', 'unchecked'), false) = (check_reason IS NOT NULL));
COMMENT ON COLUMN market_snapshot.book_check   IS 'agrees: our own book was the answer of the venue, now or within the last seconds; differs: it was not, and this row is the answer; uncompared: there was no certain book of our own, and this row is the answer; unchecked: this row is our own book, and the request that checks it failed. NULL in T0 and T1, which are not streamed, and in rows of earlier versions.';
COMMENT ON COLUMN market_snapshot.check_reason IS 'Why it was not compared: not streamed, gap, no snapshot (since the last gap), silent (its session), crossed, stamp (ahead of our clock), journal (not read up to the answer), busy (too many changes), behind (the answer was newer; differs if that happens twice in a row), no answer (the venue has no book). Why it was not checked: breaker (the service failed too often a moment ago), unavailable (no answer), refused, invalid (an answer that cannot be used).';
COMMENT ON COLUMN market_snapshot.hash         IS 'The venue''s hash of the book; equal hashes are equal books (market_book). NULL of an own book that has gone on since the answer, or that no answer checked.';
COMMENT ON COLUMN market_snapshot.last_trade_price IS 'Price of the last trade by the book, of outcome 0, probability; NULL where it has never traded, or where no answer checked our own book.';

CREATE OR REPLACE VIEW market_check AS
SELECT date_trunc('hour', ts_recv) AS hour, tier,
       count(*)                                         AS snapshots,
       count(*) FILTER (WHERE source = 'stream')        AS own,
       count(*) FILTER (WHERE book_check = 'agrees')    AS agrees,
       count(*) FILTER (WHERE book_check = 'differs')   AS differs,
       count(*) FILTER (WHERE book_check = 'uncompared') AS uncompared,
       count(*) FILTER (WHERE book_check = 'unchecked')  AS unchecked
  FROM market_snapshot
 WHERE book_check IS NOT NULL
 GROUP BY 1, 2;
COMMENT ON COLUMN market_check.unchecked  IS 'Rows of our own book whose check failed (market_snapshot.check_reason).';

ALTER TABLE poll_run ADD COLUMN failures text[];
COMMENT ON COLUMN poll_run.attempts    IS 'Number of requests sent, repetitions and those of failed requests included.';
COMMENT ON COLUMN poll_run.request_ids IS 'The first request ids, as the log has them.';
COMMENT ON COLUMN poll_run.failures    IS 'The first requests that failed or were repeated: id as the log has it, number of attempts, and how it ended. In the log each attempt is a line with this id and its number. NULL in rows of earlier versions.';

CREATE TABLE poll_hole (
    job      text        NOT NULL CHECK (job <> ''),
    from_at  timestamptz NOT NULL,
    until_at timestamptz NOT NULL CHECK (until_at >= from_at),
    reason   text        NOT NULL CHECK (reason <> ''),
    known_at timestamptz NOT NULL,
    PRIMARY KEY (job, from_at, until_at)
);
COMMENT ON TABLE  poll_hole          IS 'Ranges of a feed that a job of the poller did not read and will not read, although it is to read all of it. Written by bin/writer, never updated.';
COMMENT ON COLUMN poll_hole.job      IS 'Name of the job.';
COMMENT ON COLUMN poll_hole.from_at  IS 'Rows of the feed up to here were read, by the venue''s clock, UTC.';
COMMENT ON COLUMN poll_hole.until_at IS 'Rows of the feed from here on were read, by the venue''s clock, UTC.';
COMMENT ON COLUMN poll_hole.reason   IS 'Why they were not read, in words.';
COMMENT ON COLUMN poll_hole.known_at IS 'When that became known, by our clock, UTC.';
GRANT SELECT, INSERT ON poll_hole TO tapedeck_writer;

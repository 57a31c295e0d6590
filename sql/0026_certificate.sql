-- 0026_certificate.sql: certificates of hours, one row for each revision, never changed.

CREATE TABLE certificate (
    instrument_id bigint      NOT NULL,
    channel       text        NOT NULL CHECK (channel IN ('trade', 'quote', 'book')),
    hour          timestamptz NOT NULL CHECK (hour = date_trunc('hour', hour, 'UTC')),
    revision      integer     NOT NULL CHECK (revision > 0),
    number        bigint      NOT NULL CHECK (number > 0),
    grade         text        NOT NULL CHECK (grade IN ('proved', 'witnessed', 'consistent', 'claimed', 'holed')),
    replay        text        NOT NULL CHECK (replay IN ('equal', 'differs', 'not made')),
    row_count     bigint      NOT NULL CHECK (row_count >= 0),
    open_gaps     integer     NOT NULL CHECK (open_gaps >= 0),
    made_at       timestamptz NOT NULL,
    previous      text        CHECK (length(previous) = 64),
    sha256        text        NOT NULL CHECK (length(sha256) = 64),
    document      text        NOT NULL,
    PRIMARY KEY (instrument_id, channel, hour, revision),
    UNIQUE (instrument_id, channel, number),
    CONSTRAINT certificate_chain CHECK ((number = 1) = (previous IS NULL))
);
CREATE INDEX certificate_hour ON certificate (hour);
COMMENT ON TABLE  certificate               IS 'Certificates of streams by UTC hour (docs/guarantees.md). Written by tapedeck certify, never updated; the highest revision of an hour counts.';
COMMENT ON COLUMN certificate.instrument_id IS 'Instrument of the stream (instrument).';
COMMENT ON COLUMN certificate.channel       IS 'trade, quote or book.';
COMMENT ON COLUMN certificate.hour          IS 'Begin of the hour, UTC: by the venue''s clock of trades, by ours of quotes and books.';
COMMENT ON COLUMN certificate.revision      IS '1, 2, ... of the hour: one more whenever a fact about it changed.';
COMMENT ON COLUMN certificate.number        IS '1, 2, ... in the order in which the certificates of the stream were made.';
COMMENT ON COLUMN certificate.grade         IS 'How complete the hour is known to be: proved, witnessed, consistent, claimed or holed.';
COMMENT ON COLUMN certificate.replay        IS 'Whether the frames, decoded again, give the stored rows: equal, differs; not made: the recorded rows were compared instead.';
COMMENT ON COLUMN certificate.row_count     IS 'Number of rows that are stored of the hour.';
COMMENT ON COLUMN certificate.open_gaps     IS 'Number of gaps that touch the hour and are not healed.';
COMMENT ON COLUMN certificate.made_at       IS 'When it was made, by our clock, UTC.';
COMMENT ON COLUMN certificate.previous      IS 'Hash of the certificate of this stream with the number before; NULL of the first.';
COMMENT ON COLUMN certificate.sha256        IS 'SHA-256 of the document without this hash, hex digits.';
COMMENT ON COLUMN certificate.document      IS 'The document, JSON, exactly as it was hashed.';
GRANT SELECT, INSERT ON certificate TO tapedeck_writer;
GRANT SELECT ON replayed_block TO tapedeck_writer;

CREATE VIEW certificate_last AS
SELECT DISTINCT ON (c.instrument_id, c.channel, c.hour)
       i.venue, i.symbol, c.channel, c.hour, c.grade, c.replay, c.row_count, c.open_gaps, c.revision, c.made_at, c.instrument_id
  FROM certificate c
  JOIN instrument i USING (instrument_id)
 ORDER BY c.instrument_id, c.channel, c.hour, c.revision DESC;
COMMENT ON VIEW   certificate_last               IS 'The highest revision of the certificate of each stream and hour, with names.';
COMMENT ON COLUMN certificate_last.venue         IS 'Venue of the instrument.';
COMMENT ON COLUMN certificate_last.symbol        IS 'The venue''s spelling of the instrument.';
COMMENT ON COLUMN certificate_last.channel       IS 'As in certificate.';
COMMENT ON COLUMN certificate_last.hour          IS 'As in certificate.';
COMMENT ON COLUMN certificate_last.grade         IS 'As in certificate.';
COMMENT ON COLUMN certificate_last.replay        IS 'As in certificate.';
COMMENT ON COLUMN certificate_last.row_count     IS 'As in certificate.';
COMMENT ON COLUMN certificate_last.open_gaps     IS 'As in certificate.';
COMMENT ON COLUMN certificate_last.revision      IS 'As in certificate.';
COMMENT ON COLUMN certificate_last.made_at       IS 'As in certificate.';
COMMENT ON COLUMN certificate_last.instrument_id IS 'As in certificate.';

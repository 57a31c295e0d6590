-- 0019_canonical.sql: one spelling of a pair for all venues, beside the venue's own symbol.

ALTER TABLE instrument ADD COLUMN canonical text CHECK (canonical <> '');
COMMENT ON COLUMN instrument.canonical IS 'BASE-QUOTE in the common names of the assets, such as BTC-USD; several instruments of a venue may share it (spot, perpetual, futures). NULL where the instrument is no pair of assets (outcome, option), and until known.';
GRANT UPDATE (canonical) ON instrument TO tapedeck_writer;

"""Commands that name venues, instruments and the streams to record."""

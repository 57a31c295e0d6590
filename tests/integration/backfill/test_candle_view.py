"""The view that has each candle of a venue beside the trades that are stored of its time."""

import psycopg2
import pytest

from recorder.identity import instrument_id

BTC = instrument_id("bitfinex", "tBTCUSD")
MINUTE = "timestamptz '2026-11-30 10:00:00+00'"


@pytest.mark.parametrize(
    ("volume", "digits", "agrees"),
    [(11.6, 1, True), (11.600000000000001, 15, True), (12.0, 0, False), (11.59, 2, False), (11.6, 8, True)],
)
def test_a_candle_with_few_digits_is_not_taken_for_a_rounded_one(
    database: str, volume: float, digits: int, agrees: bool
) -> None:
    connection = psycopg2.connect(database)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size)"
                f" SELECT %s, n, {MINUTE} + n * interval '1 s', now(), 10, size"
                " FROM unnest(ARRAY[11.25, 0.35]::float8[]) WITH ORDINALITY AS t (size, n)",
                (BTC,),
            )
            cursor.execute(
                "INSERT INTO venue_bar (instrument_id, interval_s, start, open, high, low, close, volume,"
                f" volume_digits, ts_recv, revision) VALUES (%s, 60, {MINUTE}, 10, 10, 10, 10, %s, %s, now(), 1)",
                (BTC, volume, digits),
            )
            cursor.execute("SELECT agrees FROM venue_bar_check")
            assert cursor.fetchall() == [(agrees,)]
    finally:
        connection.close()

"""Daily bars of stocks in the shares of today: splits after a receipt, and dividends."""

from collections.abc import Sequence

import psycopg2
import pytest

from recorder.identity import instrument_id
from recorder.store.database import READER, connect

TAPE = instrument_id("yahoo", "TAPE")

Row = tuple[object, ...]


def bar(day: str, close: float, received: str, volume: int = 1000) -> Row:
    start = f"{day} 14:30+00"
    return TAPE, 86400, start, day, close, close, close, close, volume, None, "USD", False, False, [], received, 1


def fill(database: str, bars: Sequence[Row], actions: Sequence[Row]) -> None:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'yahoo', 'TAPE', now())",
            [TAPE],
        )
        for row in bars:
            cursor.execute(f"INSERT INTO equity_bar VALUES ({','.join(['%s'] * len(row))})", row)
        for row in actions:
            cursor.execute(f"INSERT INTO corporate_action VALUES ({','.join(['%s'] * len(row))})", row)
    connection.close()


def days(database: str) -> list[tuple[float, float, float]]:
    connection = connect(database, application_name="test", role=READER)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT close, adjclose, volume FROM equity_day WHERE symbol = 'TAPE' ORDER BY day")
            return [(round(close, 9), round(adjclose, 9), round(volume, 6)) for close, adjclose, volume in cursor]
    finally:
        connection.close()


def split(ex_day: str, new: float, old: float) -> Row:
    return TAPE, "split", ex_day, f"{ex_day} 14:30+00", None, new, old, "USD", [], f"{ex_day} 21:00+00", 1


def dividend(ex_day: str, amount: float, received: str) -> Row:
    return TAPE, "dividend", ex_day, f"{ex_day} 14:30+00", amount, None, None, "USD", [], received, 1


def test_a_row_received_before_a_split_is_shown_in_new_shares(database: str) -> None:
    bars = [
        bar("2026-11-02", 400.0, "2026-11-02 21:00+00"),  # received in old shares
        bar("2026-11-03", 101.0, "2026-11-04 21:00+00"),  # received again after the split, in new ones
        bar("2026-11-04", 102.0, "2026-11-04 21:00+00"),
    ]
    fill(database, bars, [split("2026-11-04", 4, 1)])
    assert days(database) == [(100.0, 100.0, 4000.0), (101.0, 101.0, 1000.0), (102.0, 102.0, 1000.0)]


def test_the_adjusted_close_falls_behind_by_each_later_dividend(database: str) -> None:
    received = "2026-11-05 21:00+00"
    bars = [bar(f"2026-11-0{day}", close, received) for day, close in ((2, 100.0), (3, 110.0), (4, 50.0), (5, 60.0))]
    fill(database, bars, [dividend("2026-11-03", 1.0, received), dividend("2026-11-05", 5.0, received)])
    assert days(database) == [
        (100.0, 89.1, 1000.0),  # 0.99 * 0.9
        (110.0, 99.0, 1000.0),
        (50.0, 45.0, 1000.0),
        (60.0, 60.0, 1000.0),
    ]


def test_a_dividend_from_before_a_split_is_divided_as_the_prices_are(database: str) -> None:
    bars = [bar("2026-11-02", 400.0, "2026-11-02 21:00+00"), bar("2026-11-03", 400.0, "2026-11-03 21:00+00")]
    actions = [dividend("2026-11-03", 40.0, "2026-11-03 21:00+00"), split("2026-11-04", 4, 1)]
    fill(database, bars, actions)
    assert days(database) == [(100.0, 90.0, 4000.0), (100.0, 100.0, 4000.0)]


def test_a_split_has_no_amount(database: str) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation):
        fill(database, [], [(TAPE, "split", "2026-11-04", "2026-11-04", 1.0, 4.0, 1.0, "USD", [], "2026-11-04", 1)])

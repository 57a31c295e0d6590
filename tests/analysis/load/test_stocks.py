"""Bars of stocks as frames."""

from contextlib import closing

import psycopg2
import pytest

from analysis import load
from recorder.errors import ConfigError
from recorder.identity import instrument_id

TAPE = instrument_id("yahoo", "TAPE")


@pytest.fixture
def stored(database: str) -> str:
    rows = [
        (86400, "2026-11-02 14:30", 100.0, False),
        (86400, "2026-11-03 14:30", 90.0, False),
        (60, "2026-11-03 14:30", 91.0, False),
        (60, "2026-11-03 14:31:07", 92.0, True),
    ]
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'yahoo', 'TAPE', now())",
            (TAPE,),
        )
        for length, start, close, live in rows:
            cursor.execute(
                "INSERT INTO equity_bar (instrument_id, interval_s, start, day, open, high, low, close, volume, live,"
                " partial, flags, ts_recv, revision) VALUES (%s, %s, %s::timestamptz, %s::date, %s, %s, %s, %s, 7, %s,"
                " false, '{merged}', '2026-11-04', 1)",
                (TAPE, length, f"{start}+00", start[:10], close, close, close, close, live),
            )
        cursor.execute(
            "INSERT INTO corporate_action (instrument_id, kind, ex_day, ex_at, amount, flags, ts_recv, revision)"
            " VALUES (%s, 'dividend', '2026-11-03', '2026-11-03 14:30+00', 10, '{}', '2026-11-04', 1)", (TAPE,)
        )  # fmt: skip
        connection.commit()
    return database


def test_days_have_a_close_adjusted_for_dividends(stored: str) -> None:
    frame = load.stocks("TAPE", "2026-11-01", "2026-11-05", source=stored, to="pandas")
    assert frame["close"].tolist() == [100.0, 90.0]
    assert frame["adjclose"].round(9).tolist() == [90.0, 90.0]
    assert [list(flags) for flags in frame["flags"]] == [["merged"], ["merged"]]


def test_minutes_leave_out_the_live_quote(stored: str) -> None:
    frame = load.stocks(["TAPE", "NONE"], "2026-11-03", "2026-11-04", every="1m", source=stored, to="pandas")
    assert frame["close"].tolist() == [91.0]
    assert len(load.stocks("TAPE", "2026-11-04", "2026-11-05", every="1m", source=stored, to="pandas")) == 0
    assert len(load.stocks([], "2026-11-03", "2026-11-04", source=stored, to="pandas")) == 0


def test_actions_are_a_frame(stored: str) -> None:
    frame = load.corporate_actions("TAPE", source=stored, to="pandas")
    assert frame[["kind", "amount"]].values.tolist() == [["dividend", 10.0]]


def test_an_archive_has_no_stocks(tmp_path: object) -> None:
    with pytest.raises(ConfigError):
        load.stocks("TAPE", "2026-11-03", "2026-11-04", source=str(tmp_path))

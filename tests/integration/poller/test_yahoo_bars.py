"""The job yahoo-bars against a server and a real database: rows once, the newest answer wins."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from support.batches import HandPart, batch
from support.misbehaving_rest import response, rest_server
from support.poller.polling import Asking
from support.venues.yahoo_charts import CLOSED_S, OPENED_S, chart_body

from recorder.clock import ManualClock
from recorder.errors import RestUnavailable
from recorder.pgcopy.encode import COLUMNS
from recorder.pgcopy.polled import encode_rows
from recorder.poller.yahoo.bars import YahooBars
from recorder.poller.yahoo.ledger import Spent, write_spent
from recorder.store.loader import Store

NS = 10**9
DAY = date(2026, 10, 2)


def minutes(close: float) -> bytes:
    rows = [(OPENED_S + 60 * index, 10.0, 11.0, 9.0, close, 2**40) for index in range(2)]
    return response(body=chart_body(rows, symbol="AAPL"))


def days(close: float) -> bytes:
    rows = [(OPENED_S - 86_400, 8.0, 8.0, 8.0, 8.0, 7), (OPENED_S, 10.0, 11.0, 9.0, close, 7)]
    events = {
        "dividends": {"1": {"amount": 2.0, "date": OPENED_S}},
        "splits": {"1": {"numerator": 4, "denominator": 1, "date": OPENED_S}},
    }
    body = chart_body(rows, interval="1d", symbol="AAPL", adjclose=[6.0, close], events=events)
    return response(body=body)


@pytest.fixture
def bars(tmp_path: Path) -> YahooBars:
    state = tmp_path / "yahoo.json"
    write_spent(state, Spent(DAY, 0, {"AAPL": DAY - timedelta(days=1)}))
    return YahooBars(["AAPL"], {}, 2000, state, ManualClock())


def load(database: str, *rounds: Mapping[str, Sequence[tuple[object, ...]]]) -> None:
    store = Store(database)
    parts = [
        HandPart(table, COLUMNS[table], len(rows), encode_rows(table, rows))
        for one in rounds
        for table, rows in one.items()
        if rows
    ]
    store.load(batch(None, parts))
    store.close()


def read(database: str, query: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        found = cursor.fetchall()
    connection.close()
    return found


def test_the_newest_answer_wins_whatever_is_loaded_last(database: str, bars: YahooBars) -> None:
    with rest_server(minutes(10.25), minutes(10.5)) as server:
        older, newer = Asking(yahoo=server.url), Asking(yahoo=server.url)
        for round, after_s in ((older, 600), (newer, 660)):
            round.slot_ns = (OPENED_S + after_s) * NS
            assert bars.run(round).state == "done"
    load(database, newer.rows, older.rows, newer.rows)
    assert read(
        database, "SELECT close, volume, day, live, partial, flags, currency FROM equity_bar ORDER BY start"
    ) == [
        (10.5, 2**40, DAY, False, False, [], "USD"),
        (10.5, 2**40, DAY, False, False, [], "USD"),
    ]
    assert read(database, "SELECT venue, symbol FROM instrument") == [("yahoo", "AAPL")]


def test_after_the_close_days_splits_and_dividends_are_in_the_database(database: str, bars: YahooBars) -> None:
    with rest_server(minutes(10.5), days(10.5)) as server:
        round = Asking(yahoo=server.url)
        round.slot_ns = (CLOSED_S + 2100) * NS
        assert bars.run(round).state == "done"
    load(database, round.rows, round.rows)
    assert read(database, "SELECT day, close, adjclose FROM equity_day WHERE symbol = 'AAPL' ORDER BY day") == [
        (date(2026, 10, 1), 8.0, 6.0),
        (DAY, 10.5, 10.5),
    ]
    query = "SELECT kind, ex_day, amount, numerator, denominator, flags FROM corporate_action ORDER BY kind"
    assert read(database, query) == [
        ("dividend", DAY, 2.0, None, None, ["no_price_drop"]),
        ("split", DAY, None, 4.0, 1.0, []),
    ]


def test_a_refusal_to_wait_with_status_200_pauses_the_job(bars: YahooBars) -> None:
    with rest_server(response(body=b"Too Many Requests\r\n")) as server:
        round = Asking(yahoo=server.url)
        round.slot_ns = (OPENED_S + 600) * NS
        with pytest.raises(RestUnavailable, match="next request in 60 s"):
            bars.run(round)
        assert bars.run(round).detail == "breaker"

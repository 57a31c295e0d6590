"""The figures of trades are what a real Postgres has: exact, bounded, and robust to absurd trades."""

import time
from pathlib import Path

import psycopg2
import pytest
from support.watchdog import evidence, facts

from recorder.settings import Settings
from recorder.store.database import WATCHDOG, connect
from recorder.watchdog.activity.figures import InstrumentTrades, TradeFigures, interval, read_activity
from recorder.watchdog.activity.keeper import MOST_CHARTED, ActivityKeeper, Charted
from recorder.watchdog.activity.question import MOST_INSTRUMENTS, SETTLE_S, TradeQuestion
from recorder.watchdog.evidence import DatabaseEvidence

LENGTH_S = 3600.0
PLAIN = [  # (instrument, price, size, side)
    (1, 100.0, 2.0, "b"), (1, 103.0, 1.0, "s"), (1, 101.0, 1.0, "b"), (1, 99.0, 1.0, None),
    (2, 50_000.0, 3.0, "s"), (2, 50_001.0, 1.0, "b"), (3, 0.5, 10.0, "b"),
]  # fmt: skip
ABSURD = [(3, 1e300, 1e300, "b"), (3, 1e-300, 1e-300, "s"), (3, 0.5, 1e-320, "s"), (3, 1.7e308, 1.0, "b")]


def store(url: str, trades: list[tuple[int, float, float, str | None]]) -> tuple[float, float]:
    """Store trades in the last interval, and the same in the present one, which may be the last when it is asked."""
    since, until = interval(time.time(), LENGTH_S)
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instrument (instrument_id, venue, symbol, quote, first_seen) VALUES"
            " (1, 'kraken', 'A/USD', 'USD', now()), (2, 'kraken', 'B/USD', 'USD', now()),"
            " (3, 'okx', 'C-BTC', 'BTC', now())"
        )
        for start in (since, until):
            for number, (instrument, price, size, side) in enumerate(trades):
                for at in (start, start + 1.5 + number):
                    cursor.execute(
                        "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor)"
                        " VALUES (%s, %s, to_timestamp(%s), now(), %s, %s, %s)",
                        (instrument, number, at, price, size, side),
                    )
    connection.close()
    return since, until


def asked(url: str, large: float = 1e5) -> TradeFigures:
    question = TradeQuestion(LENGTH_S, large, {"BTC": 5.0}, lambda until: True)
    connection = connect(url, application_name="test", role=WATCHDOG, statement_timeout_s=3.0)
    with connection.cursor() as cursor:
        question.run(cursor)
    connection.close()
    assert question.figures is not None, question.problem
    return question.figures


def test_the_figures_are_those_of_the_interval(database: str) -> None:
    store(database, PLAIN)
    found = asked(database)
    assert [(one.venue, one.trades, one.large, one.instruments) for one in found.venues] == [
        ("kraken", 12, 2, 2), ("okx", 2, 2, 1),
    ]  # fmt: skip
    first, second, third = found.instruments
    assert (first.venue, first.symbol, first.trades, first.high, first.low) == ("kraken", "A/USD", 8, 103.0, 99.0)
    assert first.vwap == pytest.approx((200 + 103 + 101 + 99) / 5)
    assert (first.volume, first.bought, first.sold, first.buy_sell_ratio) == (10.0, 6.0, 2.0, 3.0)
    assert (second.symbol, second.large) == ("B/USD", 2), "150,000 is large, 50,001 is not"
    assert (third.symbol, third.large, third.buy_sell_ratio) == ("C-BTC", 2, None), "5 BTC are large, and none was sold"
    assert found.until - found.since == LENGTH_S
    assert found.left_out == 0


def test_absurd_prices_and_sizes_cost_only_themselves(database: str) -> None:
    store(database, [*PLAIN, *ABSURD])
    (third,) = [one for one in asked(database).instruments if one.venue == "okx"]
    assert third.trades == 2 * (1 + len(ABSURD))
    assert (third.vwap, third.volume, third.high) == (0.5, 20.0, 1.7e308)


def test_a_venue_with_many_instruments_leaves_out_those_with_the_fewest_trades_and_says_so(database: str) -> None:
    since, until = store(database, PLAIN)
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instrument (instrument_id, venue, symbol, first_seen)"
            " SELECT 100 + n, 'polymarket', 'token ' || n, now() FROM generate_series(1, 900) n"
        )
        cursor.execute(
            "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size)"
            " SELECT 100 + n, 1, to_timestamp(at), now(), 0.5, 1 FROM generate_series(1, 900) n,"
            " unnest(%s::float8[]) AS at",
            ([since + 5.0, until + 5.0],),
        )
    connection.close()
    found = asked(database)
    assert {one.venue: one.trades for one in found.venues} == {"kraken": 12, "okx": 2, "polymarket": 900}
    assert len(found.instruments) == MOST_INSTRUMENTS
    assert found.left_out == 903 - MOST_INSTRUMENTS
    assert found.instruments[0].symbol == "A/USD"


def test_an_interval_is_asked_for_once_and_not_before_the_writer_has_stored_it(database: str) -> None:
    wanted: list[float] = []

    def stored(until: float) -> bool:
        wanted.append(until)
        return len(wanted) > 1

    question = TradeQuestion(LENGTH_S, 1.0, {}, stored)
    connection = connect(database, application_name="test", role=WATCHDOG, statement_timeout_s=3.0)
    with connection.cursor() as cursor:
        question.run(cursor)
        assert question.figures is None
        assert "the writer has not stored" in question.problem
        question.run(cursor)
        assert question.figures is not None
        assert question.figures.until == wanted[0] - SETTLE_S
        question.run(cursor)
    assert len(wanted) == 2 or wanted[2] != wanted[1]
    connection.close()


def test_a_lock_makes_the_trades_unknown_and_nothing_else(database: str) -> None:
    question = TradeQuestion(LENGTH_S, 1.0, {}, lambda until: True)
    holder = psycopg2.connect(database)
    connection = connect(database, application_name="test", role=WATCHDOG, statement_timeout_s=1.0, lock_timeout_s=0.2)
    with holder.cursor() as lock, connection.cursor() as cursor:
        lock.execute("LOCK TABLE trade IN ACCESS EXCLUSIVE MODE")
        question.run(cursor)
        assert "took too long" in question.problem
    holder.close()
    connection.close()


def test_what_is_unknown_says_why_and_series_are_bounded(database: str, tmp_path: Path) -> None:
    store(database, PLAIN)
    question = TradeQuestion(LENGTH_S, 1e5, {}, lambda until: True)
    settings = Settings.load(None, {"TAPEDECK_HOME": str(tmp_path), "TAPEDECK__WATCHDOG__TRADES_INTERVAL_S": "3600"})
    keeper = ActivityKeeper(settings, ("kraken", "okx"), question)
    up = DatabaseEvidence("up", "", 0.0, facts())
    assert keeper.update(evidence().reports, up, 0.0).problem == "Postgres has not been asked yet"
    connection = connect(database, application_name="test", role=WATCHDOG)
    with connection.cursor() as cursor:
        question.run(cursor)
    connection.close()
    known = keeper.update(evidence().reports, up, 5.0)
    assert (known.problem, known.trades) == ("", question.figures)
    assert read_activity(tmp_path) == known
    away = keeper.update(evidence().reports, DatabaseEvidence("down", "connection refused", 0.0, facts()), 10.0)
    assert (away.trades, away.problem) == (None, "Postgres is down: connection refused")
    assert read_activity(tmp_path) == away
    charted = Charted(("kraken", "okx"))
    assert [one.symbol for one in charted.of(known)] == ["A/USD", "B/USD", "C-BTC"]
    assert charted.of(away) == []
    for round_number in range(3):
        many = [
            InstrumentTrades("okx", f"{round_number} {n}", 1, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0, 1.0) for n in range(400)
        ]
        charted.of(type(known)(1.0, [], TradeFigures(0.0, 1.0, [], many)))
    assert sum(map(len, charted._symbols.values())) <= MOST_CHARTED

"""The views under the names of the specification, each with real rows; and symbols, which changes subscriptions."""

import psycopg2
import psycopg2.errors
import pytest
from support.batches import DAY_NS, IDS, NOON_NS, batch, instrument_part, quotes_part, trades_part
from support.workers.bars import rows

from analysis.workers.bar_values import BarValues
from analysis.workers.derivation import Derivation
from recorder.store.database import DERIVER, READER, connect
from recorder.store.loader import Store

NAMES = [(number, "test", symbol) for symbol, number in IDS.items()]
HASH, WALLET = "0x" + "ab" * 32, "0x" + "cd" * 20


@pytest.fixture
def recorded(database: str) -> str:
    """A database with instruments, trades, quotes and the bars of the trades."""
    store = Store(database)
    store.load(
        batch(None, [instrument_part(*NAMES, first_seen_ns=NOON_NS - DAY_NS), trades_part(1, 101), quotes_part(0, 5)])
    )
    store.close()
    rows(database, "UPDATE journal SET recorder = 'recorder-test', written_at = now() + interval '2 days'")
    connection = connect(database, application_name="deriver", role=DERIVER)
    derivation, values = Derivation(lateness_s=2.0), BarValues()
    derivation.prepare(connection)
    while derivation.recent(connection, forming=True) or derivation.backlog(connection):
        pass
    while rows(database, "SELECT 1 FROM derived_dirty"):
        values.derive(connection, live=False)
    connection.close()
    return database


@pytest.fixture
def known(database: str) -> str:
    """A database that has recorded from a venue."""
    rows(database, "INSERT INTO venue (name) VALUES ('test')")
    return database


def read(url: str, query: str) -> list[tuple[object, ...]]:
    connection = connect(url, application_name="test", role=READER)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()


def test_bars_trades_and_quotes_are_there_under_the_names_of_the_specification(recorded: str) -> None:
    assert read(recorded, "SELECT symbol, exchange, timeframe, open, close, trade_count FROM bars "
                          "WHERE timeframe = '1m' AND symbol = 'BTC-USD'") == [
        ("BTC-USD", "test", "1m", 100.125, 112.5, 67)
    ]  # fmt: skip
    found = read(
        recorded, "SELECT trade_id, symbol, exchange, price, quantity, side FROM trades ORDER BY received_at LIMIT 1"
    )
    assert found == [("1", "BTC-USD", "test", 100.125, 1.25, "buy")]
    found = read(recorded, "SELECT symbol, exchange, bid_price, bid_size, ask_price, ask_size FROM bid_ask LIMIT 1")
    assert found == [("BTC-USD", "test", 100.0, 1.0, 101.0, None)]


def test_indicators_and_features_are_there_in_the_long_form(recorded: str) -> None:
    assert read(recorded, "SELECT symbol, timeframe, value, exchange FROM indicators "
                          "WHERE indicator_name = 'obv' AND symbol = 'BTC-USD' AND timeframe = '5m'") == [
        ("BTC-USD", "5m", read(recorded, "SELECT volume FROM bars WHERE symbol = 'BTC-USD' AND timeframe = '5m'")[0][0],
         "test")
    ]  # fmt: skip
    counts = ("SELECT count(*), count(DISTINCT {name}), count(value) > 0 FROM {view} "
              "WHERE symbol = 'BTC-USD' AND timeframe = '1m'")  # fmt: skip
    assert read(recorded, counts.format(name="indicator_name", view="indicators")) == [(24, 24, True)]
    assert read(recorded, counts.format(name="feature_name", view="ml_features")) == [(42, 42, True)]


def test_markets_and_what_the_poller_saw_are_there_under_the_names_of_the_specification(database: str) -> None:
    condition = f"0x{7:064x}"
    rows(database, f"""
        INSERT INTO market (market_id, condition_id, tokens, outcomes, slug, question, category, tags, phase, neg_risk,
                            neg_risk_other, active, known_since, known_at, revision)
        VALUES (7, '{condition}', '{{700,701}}', '{{Up,Down}}', 'market-7', 'Up?', 'crypto', '{{}}', 'open', false,
                false, true, now(), now(), 1);
        INSERT INTO market_snapshot (market_id, ts_recv, ts_event, instrument_id, tier, source, bid, ask, mid, spread,
                                     bid_depth_5c)
        VALUES (7, '2026-11-02 12:00Z', '2026-11-02 11:59Z', 1, 'T2', 'rest', 0.4, 0.5, 0.45, 0.1, 300);
        INSERT INTO market_book (market_id, ts_recv, ts_event, bids, asks)
        VALUES (7, '2026-11-02 12:00Z', '2026-11-02 11:59Z', '[[0.4, 300]]', '[[0.5, 10]]');
        INSERT INTO poll_run (run_id, job, slot, slots, state, reason, started_at, duration_s, rows, bytes, answers,
                              attempts, odd, odd_samples, request_ids)
        VALUES (1, 'books', '2026-11-02 12:00Z', 1, 'done', '', '2026-11-02 12:00:01Z', 2.5, 9, 1, 1, 1, 0, '{{}}',
                '{{}}'),
               (2, 'books', '2026-11-02 12:01Z', 1, 'missed', 'stopped', NULL, NULL, 0, 0, 0, 0, 0, '{{}}', '{{}}');
        INSERT INTO whale_event VALUES ('{HASH}', '{WALLET}', now(), now(), 1, '{condition}', 'Up', 0, 'b', 4000,
                                        1600, 1, 1)
    """)  # fmt: skip
    assert read(database, "SELECT market_id, slug, status, token_ids FROM markets") == [
        (7, "market-7", "open", ["700", "701"])
    ]
    assert read(database, "SELECT market_id, best_bid, best_ask, mid_price, bid_depth FROM snapshots") == [
        (7, 0.4, 0.5, 0.45, 300.0)
    ]
    assert read(database, "SELECT market_id, bids, asks, bid_depth FROM orderbook_snapshots") == [
        (7, [[0.4, 300]], [[0.5, 10]], 300.0)
    ]
    found = (
        "SELECT task_name, status, duration_seconds, records, error, finished_at IS NULL FROM task_runs ORDER BY run_id"
    )
    assert read(database, found) == [
        ("books", "success", 2.5, 9, None, False), ("books", "missed", None, 0, "stopped", True),
    ]  # fmt: skip
    found = "SELECT market_id, side, size, value_usd, price, wallet FROM whale_events"
    assert read(database, found) == [(7, "buy", 4000.0, 1600.0, 0.4, WALLET)]


def subscriptions(url: str) -> list[tuple[object, ...]]:
    return rows(url, "SELECT symbol, channel, active, origin FROM subscription WHERE venue = 'test' ORDER BY 1, 2")


def test_a_row_of_symbols_is_a_subscription_of_every_channel(known: str) -> None:
    rows(
        known,
        "INSERT INTO symbols (symbol, exchange, asset_type, is_active) VALUES ('SOL-USD', 'test', 'crypto', true)",
    )
    channels = ("book", "quote", "trade")
    assert subscriptions(known) == [("SOL-USD", channel, True, "hand") for channel in channels]
    assert read(known, "SELECT * FROM symbols") == [("SOL-USD", "test", "crypto", True)]
    rows(known, "UPDATE symbols SET is_active = false WHERE symbol = 'SOL-USD' AND exchange = 'test'")
    assert subscriptions(known) == [("SOL-USD", channel, False, "hand") for channel in channels]
    rows(known, "INSERT INTO symbols (symbol, exchange) VALUES ('SOL-USD', 'test')")
    assert subscriptions(known) == [("SOL-USD", channel, True, "hand") for channel in channels]
    rows(known, "DELETE FROM symbols WHERE symbol = 'SOL-USD'")
    assert subscriptions(known) == []


def test_a_recorder_is_notified_of_a_row_of_symbols(known: str) -> None:
    connection = psycopg2.connect(known)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("LISTEN subscription")
        cursor.execute("INSERT INTO symbols (symbol, exchange) VALUES ('SOL-USD', 'test')")
    connection.poll()
    assert [notice.payload for notice in connection.notifies] == ["test"]
    connection.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("INSERT INTO symbols (symbol, exchange) VALUES ('X', 'tset')", "exchange tset is not known yet"),
        ("INSERT INTO symbols (symbol, exchange, asset_type) VALUES ('AAPL', 'yahoo', 'stock')", "yahoo.symbols"),
        ("UPDATE symbols SET symbol = 'Y'", "only is_active"),
    ],
)  # fmt: skip
def test_a_row_of_symbols_that_would_record_nothing_is_refused(known: str, statement: str, words: str) -> None:
    rows(known, "INSERT INTO symbols (symbol, exchange) VALUES ('SOL-USD', 'test')")
    with pytest.raises((psycopg2.errors.FeatureNotSupported, psycopg2.errors.ForeignKeyViolation), match=words):
        rows(known, statement)


def test_a_reader_may_not_change_symbols(known: str) -> None:
    connection = connect(known, application_name="test", role=READER)
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("INSERT INTO symbols (symbol, exchange) VALUES ('SOL-USD', 'test')")
    connection.close()

"""Loading what the recorder itself wrote: a journal, loaded by the writer, read as frames and tapes."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg2
import pytest
from support.analysis.market_data import T0
from support.analysis.stored_tape import BEGIN, BOOK_COLUMNS, END, KRAKEN, MIDNIGHT, OKX, Stored, at, books
from support.recordings import BEGIN_NS, CHUNK_NS, SYMBOLS, feed, record

from analysis import audit, feature_tables, features, load, prediction_markets
from analysis.arrays import HOUR, MINUTE, Trades
from analysis.errors import GapError
from analysis.export import days_of, export
from recorder.errors import ConfigError
from recorder.identity import instrument_id
from recorder.load.main import Loader
from recorder.settings import Settings
from recorder.store.loader import Store
from recorder.venues.coinbase.stream import CoinbaseDecoder

RECORDED = at(BEGIN_NS), at(BEGIN_NS + 21 * CHUNK_NS)


@pytest.fixture
def recorded(database: str, tmp_path: Path) -> str:
    """Return a database with a feed of two symbols, repeated prints and unreadable frames."""
    record(tmp_path / "journals" / "recorder-coinbase", CoinbaseDecoder, feed())
    loader = Loader(Store(database), tmp_path / "journals", Settings.load(environ={}))
    while loader.step():
        pass
    loader.reset()
    return database


def test_a_journal_loaded_after_its_venue_was_listed_is_read_from_its_first_row(database: str, tmp_path: Path) -> None:
    stored = Stored(database)
    for symbol in (*SYMBOLS, "XRP-USD"):
        stored.instrument("coinbase", symbol, datetime.now(UTC))
    stored.run("UPDATE instrument SET recorded = false")
    with pytest.raises(ConfigError, match="nothing of coinbase was recorded"):
        load.trades("coinbase", "BTC-USD", source=database)
    record(tmp_path / "journals" / "recorder-coinbase", CoinbaseDecoder, feed())
    loader = Loader(Store(database), tmp_path / "journals", Settings.load(environ={}))
    while loader.step():
        pass
    loader.reset()
    all_rows = load.quotes(
        "coinbase", "BTC-USD", RECORDED[0] - timedelta(hours=1), RECORDED[1], source=database, on_gap="ignore"
    )
    assert all_rows.num_rows >= 20
    assert load.quotes("coinbase", "BTC-USD", source=database, on_gap="ignore").equals(all_rows)
    with pytest.raises(ConfigError, match="XRP-USD was not recorded; recorded are"):
        load.trades("coinbase", "XRP-USD", *RECORDED, source=database)


def test_loading_returns_what_the_writer_stored(recorded: str, tmp_path: Path) -> None:
    whole = at(BEGIN_NS - 10**9), at(BEGIN_NS + 10**12)
    days = days_of(*whole)
    export(load.PostgresSource(recorded), tmp_path / "archive", "coinbase", days, now=datetime.now(UTC), open_day=True)
    with closing(psycopg2.connect(recorded)) as connection, connection.cursor() as cursor:
        for table, rows in (("trade", load.trades), ("quote", load.quotes), ("book", load.books)):
            for symbol in SYMBOLS:
                mine = rows("coinbase", symbol, *whole, source=recorded, on_gap="ignore")
                theirs = rows("coinbase", symbol, *whole, source=tmp_path / "archive", on_gap="ignore")
                cursor.execute(
                    f"SELECT count(*) FROM {table} WHERE instrument_id = %s", (instrument_id("coinbase", symbol),)
                )
                assert cursor.fetchone() == (mine.num_rows,)
                assert mine.num_rows >= 20
                assert mine.equals(theirs)
    trades = load.trades("coinbase", "BTC-USD", *whole, source=recorded, on_gap="ignore")
    assert trades["price"].to_pylist() == [100 + number / 8 for number in trades["trade_id"].to_pylist()]


def test_a_gap_the_recorder_declared_stops_a_reader(recorded: str) -> None:
    """An unreadable frame may have held anything of its session."""
    with pytest.raises(GapError, match="unreadable"):
        load.quotes("coinbase", "BTC-USD", *RECORDED, source=recorded)
    marked = load.quotes("coinbase", "BTC-USD", *RECORDED, source=recorded, on_gap="mask")["in_gap"].to_pylist()
    assert 0 < sum(marked) < len(marked)


def test_the_book_of_a_recording_stands_at_each_instant(recorded: str) -> None:
    every = timedelta(microseconds=CHUNK_NS // 1000)
    view = load.snapshots("coinbase", "BTC-USD", *RECORDED, every, source=recorded, channels=["book"], on_gap="mask")
    rows = [row for row in view.to_pylist() if row["bid_1"] is not None]
    assert rows
    for row in rows:
        assert (row["bid_1"], row["ask_1"], row["ask_size_1"]) == (99.0, 101.0, 1.0)
        assert row["ask_2"] is None


def test_features_of_a_stored_tape_know_only_the_past(stored: Stored) -> None:
    late = np.array([T0 + 22 * HOUR + 170 * MINUTE])
    row = Trades(late, late + HOUR, np.array([7]), np.array([500.0]), np.array([3.0]), np.array([1], np.int8))
    stored.trades("kraken", "BTC/USD", row, first_id=700_000)
    stored.gap("kraken", "BTC/USD", 1, state="healed")
    span = MIDNIGHT, END
    tape = load.tape(*KRAKEN[0], *span, source=stored.url, warmup=timedelta(days=1), others=[OKX], leader=OKX)
    times = T0 + 22 * HOUR + np.array([125, 171, 200, 231]) * MINUTE + 123
    found = audit.truncation(tape, times, feature_tables.at)
    assert found.passed, found.findings
    known = set(found.features) - set(found.always_null)
    assert {"ret_5", "basis_bp", "gap_share_60"} <= known
    assert tape.leader is not None
    assert len(tape.leader.rows) == 2000
    assert len(known) > 40
    share = features.compute(tape, np.array([T0 + 24 * HOUR - 30 * MINUTE]), ["gap_share_60"])["gap_share_60"][0]
    assert share == pytest.approx(10 / 3600)  # healed later, but unknown at the time


def test_a_market_is_read_from_the_tokens_of_its_two_outcomes(stored: Stored) -> None:
    begin = BEGIN - timedelta(seconds=1)
    for token in ("YES", "NO"):
        stored.instrument("polymarket", token, begin)
    stored.session("polymarket", 3, begin, END + timedelta(hours=1))
    ns = T0 + 22 * HOUR + np.array([10, 20, 200]) * MINUTE
    prints = [
        Trades(ns, ns + 10**6, np.arange(3), np.full(3, p), np.full(3, 10.0), np.ones(3, np.int8)) for p in (0.6, 0.3)
    ]
    for place, token in enumerate(("YES", "NO")):
        stored.trades("polymarket", token, prints[place], first_id=600_000 + 10 * place)
    rows = [(*row[:7], _cents(str(row[7])), _cents(str(row[8]))) for row in books("polymarket", "YES", 800, 4)]
    stored.put("book", BOOK_COLUMNS, rows)
    tape = load.market_tape("polymarket", "YES", "NO", MIDNIGHT, END, source=stored.url, warmup=timedelta(hours=2))
    fills = tape.fills.rows
    assert sorted(zip(fills.price.tolist(), fills.side.tolist(), strict=True)) == [(0.6, 1)] * 3 + [(0.7, -1)] * 3
    times = T0 + 22 * HOUR + np.array([130, 201, 239]) * MINUTE
    found = audit.truncation(tape, times, feature_tables.at)
    assert found.passed, found.findings
    row = prediction_markets.compute(tape, int(times[1]))
    assert 0 < float(row["best_bid"]) < float(row["best_ask"]) < 1
    assert (row["trades_1m"], row["trades_1h"], row["volume_1m"]) == (0, 2, 0)
    assert row["secs_since_trade"] == pytest.approx(60)
    assert np.isnan(float(row["volume_24h_log"]))  # listings are not recorded


@pytest.mark.parametrize("lost", ["YES", "NO"])
def test_lost_trades_of_either_token_make_the_flow_of_a_market_unknown_and_not_zero(stored: Stored, lost: str) -> None:
    for token in ("YES", "NO"):
        stored.instrument("polymarket", token, BEGIN - timedelta(seconds=1))
    stored.session("polymarket", 3, BEGIN, END + timedelta(hours=1))
    wanted = ["trades_1h", "volume_1h", "whale_count_1h", "trades_5m"]
    t = T0 + 24 * HOUR + MINUTE

    def flow() -> list[float]:
        tape = load.market_tape("polymarket", "YES", "NO", MIDNIGHT, END, source=stored.url, warmup=timedelta(hours=2))
        return [float(value) for value in prediction_markets.compute(tape, t, wanted).values()]

    assert flow() == [0, 0, 0, 0]
    began = MIDNIGHT - timedelta(minutes=30)
    stored.gap("polymarket", lost, 1, started_at=began, ended_at=began + timedelta(minutes=10))
    assert np.isnan(flow()).tolist() == [True, True, True, False]


def test_other_venues_come_with_their_own_gaps(stored: Stored) -> None:
    stored.gap(*OKX, 1, channel="quote", started_at=MIDNIGHT, ended_at=MIDNIGHT + timedelta(minutes=10))
    tape = load.tape(*KRAKEN[0], MIDNIGHT, END, source=stored.url, warmup=timedelta(hours=1), others=[OKX], leader=OKX)
    ns = T0 + 24 * HOUR
    assert tape.leader is not None
    for index in (tape.leader, *tape.others):
        assert index.gaps.missing(np.array([ns]), np.array([ns + HOUR]))[0] == 10 * MINUTE
    assert tape.gaps.missing(np.array([ns]), np.array([ns + HOUR]))[0] == 0


def _cents(levels: str) -> str:
    """Return the prices of a book around 100 as probabilities."""
    pairs = [pair.split(",") for pair in levels.strip("{}").split("},{") if pair]
    return "{" + ",".join(f"{{{(float(p) - 50) / 100:.2f},{size}}}" for p, size in pairs) + "}"

"""Loading rows of a range from Postgres and from an archive: in order, complete or refused."""

import pickle
from collections.abc import Callable
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.analysis.market_data import random_trades
from support.analysis.stored_tape import BEGIN, BEGIN_NS, DAYS, END, KRAKEN, LATER, MIDNIGHT, OKX, Stored, at, moved

from analysis import load
from analysis.arrays import HOUR, MINUTE, SECOND, Trades
from analysis.bars import TIMEFRAMES, time_bars
from analysis.errors import ArchiveError, GapError
from analysis.export import export
from analysis.load.frames import quotes_of
from analysis.load.postgres import PostgresSource
from recorder.errors import ConfigError, StoreUnavailable

ROWS = {"trade": load.trades, "quote": load.quotes, "book": load.books}

Loader = Callable[..., pa.Table]


def keys(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_trades_come_in_order_across_a_midnight_with_both_clocks(stored: Stored) -> None:
    table = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url)
    whole = moved(random_trades(4000, 4 * HOUR, 0))
    assert table.num_rows == 4000
    order = keys(table, "ts_event", "trade_id")
    assert order == sorted(order)
    np.testing.assert_array_equal(table["price"].to_numpy(), whole.price)
    np.testing.assert_array_equal(table["size"].to_numpy(), whole.size)
    assert table["ts_recv"].cast(pa.int64()).to_pylist() == (whole.ts_recv // 1000).tolist()
    assert table["aggressor"].to_pylist() == [{1: "b", -1: "s", 0: None}[side] for side in whole.side.tolist()]
    assert table["ts_event"].type == pa.timestamp("us", tz="UTC")


def test_a_range_holds_its_first_instant_and_not_its_last(stored: Stored) -> None:
    times = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url)["ts_event"].to_pylist()
    first, last = times[1000], times[3000]
    part = load.trades("kraken", "BTC/USD", first, last, source=stored.url)["ts_event"].to_pylist()
    assert part == [moment for moment in times if first <= moment < last]
    elsewhere = timezone(timedelta(hours=-5))
    again = load.trades("kraken", "BTC/USD", first.astimezone(elsewhere), last.astimezone(elsewhere), source=stored.url)
    assert again["ts_event"].to_pylist() == part


def test_several_symbols_come_as_one_table_in_one_order(stored: Stored) -> None:
    both = load.trades("kraken", ["ETH/USD", "BTC/USD"], BEGIN, END, source=stored.url)
    order = keys(both, "ts_event", "trade_id")
    assert order == sorted(order)
    for _, symbol in KRAKEN:
        alone = load.trades("kraken", symbol, BEGIN, END, source=stored.url)
        mine = both.filter(pa.compute.equal(both["symbol"].cast(pa.string()), symbol))
        assert mine["trade_id"].equals(alone["trade_id"])
        assert set(mine["symbol"].to_pylist()) == {symbol}
    assert set(both["venue"].to_pylist()) == {"kraken"}


def test_rows_of_one_frame_keep_the_order_in_which_they_were_stored(stored: Stored) -> None:
    table = load.quotes("kraken", "BTC/USD", BEGIN, END, source=stored.url)
    order = keys(table, "ts_recv", "session_id", "frame_seq")
    assert order == sorted(order)
    assert len(order) > len(set(order))  # there are two rows a frame
    assert table["sequence"].to_pylist() == sorted(table["sequence"].to_pylist())


@pytest.mark.parametrize("name", ["trade", "quote", "book"])
@pytest.mark.parametrize("symbols", ["BTC/USD", ["BTC/USD", "ETH/USD"]])
def test_both_sources_give_the_same_table(name: str, symbols: Any, stored: Stored, archive: Path) -> None:
    spans = [(BEGIN, END), (BEGIN + timedelta(minutes=61), MIDNIGHT), (MIDNIGHT, END), (MIDNIGHT, MIDNIGHT)]
    for span in spans:
        mine, theirs = (ROWS[name]("kraken", symbols, *span, source=door) for door in (stored.url, archive))
        assert mine.schema == theirs.schema
        assert mine.equals(theirs), span
    assert ROWS[name]("kraken", symbols, BEGIN, END, source=archive).num_rows > 500


@pytest.mark.parametrize("rows_per_read", [1, 1 << 23])
def test_days_read_together_are_the_days_read_alone(
    rows_per_read: int, stored: Stored, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.load.archive._ROWS_PER_READ", rows_per_read)
    first = MIDNIGHT - timedelta(days=1)
    for span in ((first, first + timedelta(days=2)), (first, END), (BEGIN, first + timedelta(days=2)), (BEGIN, END)):
        for symbols in ("BTC/USD", ["BTC/USD", "ETH/USD"]):
            mine, theirs = (
                load.trades("kraken", symbols, *span, source=door, on_gap="ignore") for door in (stored.url, archive)
            )
            assert mine.equals(theirs), span
    chunks = list(load.chunks("trade", "kraken", "BTC/USD", BEGIN, END, source=archive))
    assert len(chunks) == (2 if rows_per_read == 1 else 1)


def test_a_side_is_a_category_wherever_it_is_read(stored: Stored, archive: Path) -> None:
    for door in (stored.url, archive):
        sides = load.trades("kraken", "BTC/USD", BEGIN, END, source=door, to="pandas")["aggressor"]
        assert list(sides.cat.categories) == ["b", "s"]
        assert (sides == "b").sum() == load.trades("kraken", "BTC/USD", BEGIN, END, source=door)[
            "aggressor"
        ].to_pylist().count("b")
        kinds = load.books("kraken", "BTC/USD", BEGIN, END, source=door, to="polars")["kind"]
        assert set(kinds.unique()) == {"s", "d"}


def test_both_sources_give_the_same_table_with_gaps_masked(stored: Stored, tmp_path: Path) -> None:
    stored.gap("kraken", "BTC/USD", 1)
    stored.gap("kraken", "BTC/USD", 2, started_at=MIDNIGHT - timedelta(seconds=5), ended_at=None, state="open")
    export(PostgresSource(stored.url), tmp_path, "kraken", DAYS, now=LATER)
    span = BEGIN, END
    mine, theirs = (
        load.trades("kraken", ["BTC/USD", "ETH/USD"], *span, source=door, on_gap="mask")
        for door in (stored.url, tmp_path)
    )
    assert mine.equals(theirs)
    assert 1900 < int(pa.compute.sum(mine["in_gap"]).as_py()) < 2100
    assert load.gaps("kraken", "BTC/USD", *span, source=stored.url).equals(
        load.gaps("kraken", "BTC/USD", *span, source=tmp_path)
    )


def test_the_same_rows_come_as_pandas_and_polars(stored: Stored) -> None:
    table = load.quotes("kraken", "BTC/USD", BEGIN, END, source=stored.url)
    pandas = load.quotes("kraken", "BTC/USD", BEGIN, END, source=stored.url, to="pandas")
    polars = load.quotes("kraken", "BTC/USD", BEGIN, END, source=stored.url, to="polars")
    assert str(pandas["ts_recv"].dtype) == "datetime64[us, UTC]"
    assert polars["bid"].to_list() == table["bid"].to_pylist()
    assert polars["bid"].null_count() == table["bid"].null_count > 0
    assert int(pandas["bid"].isna().sum()) == table["bid"].null_count
    assert pandas["ask"].tolist() == table["ask"].to_pylist()
    with pytest.raises(ValueError, match="pandas"):
        load.quotes("kraken", "BTC/USD", BEGIN, END, source=stored.url, to="numpy")  # type: ignore[arg-type]


def test_chunks_together_equal_the_table(stored: Stored) -> None:
    chunks = list(load.chunks("book", "kraken", "BTC/USD", BEGIN, END, source=stored.url))
    assert len(chunks) == 4  # an hour each
    assert pa.concat_tables(chunks).equals(load.books("kraken", "BTC/USD", BEGIN, END, source=stored.url))


def test_only_the_columns_asked_for_are_read(stored: Stored, archive: Path) -> None:
    for door in (stored.url, archive):
        table = load.trades("kraken", "BTC/USD", BEGIN, END, source=door, columns=["symbol", "price"])
        assert table.schema.names == ["venue", "symbol", "price"]
        with pytest.raises(ConfigError, match="no column 'rate'"):
            load.trades("kraken", "BTC/USD", BEGIN, END, source=door, columns=["rate"])


def test_an_empty_range_has_the_columns_of_a_full_one(stored: Stored, archive: Path) -> None:
    quiet = END + timedelta(minutes=1), END + timedelta(minutes=2)
    for name, rows in ROWS.items():
        for door in (stored.url, archive):
            full = rows("kraken", "BTC/USD", BEGIN, END, source=door, on_gap="mask")
            empty = rows("kraken", "BTC/USD", *quiet, source=door, on_gap="mask")
            assert empty.num_rows == 0, name
            assert empty.schema == full.schema


def test_three_lines_read_the_database_of_the_settings_into_pandas(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", stored.url)
    frame = load.trades("kraken", "BTC/USD", "2023-11-15T22:00", "2023-11-16T02:00", to="pandas")
    assert (len(frame), list(frame.columns[:4])) == (4000, ["venue", "symbol", "ts_event", "ts_recv"])
    assert (
        frame["price"].tolist() == load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url)["price"].to_pylist()
    )


def test_without_start_and_end_the_range_is_what_was_recorded(stored: Stored, archive: Path) -> None:
    for source in (stored.url, archive):
        assert load.trades("kraken", "BTC/USD", source=source).num_rows == 4000
        assert load.trades("kraken", "BTC/USD", start=MIDNIGHT, source=source).equals(
            load.trades("kraken", "BTC/USD", MIDNIGHT, END, source=source)
        )
        assert load.gaps("kraken", "BTC/USD", source=source).num_rows == 0
    stored.first_seen(MIDNIGHT)
    late = load.trades("kraken", ["BTC/USD", "ETH/USD"], source=stored.url)
    assert late.equals(load.trades("kraken", ["BTC/USD", "ETH/USD"], MIDNIGHT, END, source=stored.url))


def test_bars_without_start_and_end_are_the_complete_ones(stored: Stored) -> None:
    stored.first_seen(BEGIN + timedelta(minutes=3))
    stored.run("UPDATE session SET last_frame_at = %s", END - timedelta(minutes=3))
    bars = load.bars("kraken", "BTC/USD", timeframe="15m", source=stored.url)
    assert bars["start"][0].as_py() == BEGIN + timedelta(minutes=15)
    assert bars["end"][-1].as_py() == END - timedelta(minutes=15)
    assert set(bars["coverage"].to_pylist()) == {1.0}


def test_a_start_that_is_no_time_is_refused_in_one_sentence(stored: Stored) -> None:
    with pytest.raises(ConfigError, match="'soon' is not a time; write it like 2026-03-05"):
        load.trades("kraken", "BTC/USD", "soon", source=stored.url)
    stored.run("DELETE FROM session")
    with pytest.raises(ConfigError, match="it is not known how far kraken was recorded; give an end"):
        load.trades("kraken", "BTC/USD", BEGIN, source=stored.url)


def test_a_range_with_an_open_or_unhealable_gap_is_refused_in_one_sentence(stored: Stored) -> None:
    stored.gap("kraken", "BTC/USD", 1)
    with pytest.raises(GapError) as refused:
        load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url)
    sentence = str(refused.value)
    assert (
        "kraken BTC/USD trade 2023-11-15 23:00:00.000 to 2023-11-15 23:00:10.000 (disconnect, unhealable)" in sentence
    )
    assert "\n" not in sentence
    assert load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore").num_rows == 4000
    # neither another instrument, nor another channel, nor another time has this gap
    load.trades("kraken", "ETH/USD", BEGIN, END, source=stored.url)
    load.quotes("kraken", "BTC/USD", BEGIN, END, source=stored.url)
    load.trades("kraken", "BTC/USD", BEGIN, BEGIN + timedelta(hours=1), source=stored.url)
    load.trades("kraken", "BTC/USD", BEGIN + timedelta(hours=1, seconds=10, microseconds=1), END, source=stored.url)


def test_a_healed_gap_does_not_count(stored: Stored) -> None:
    stored.gap("kraken", "BTC/USD", 1, state="healed")
    assert load.gaps("kraken", "BTC/USD", BEGIN, END, source=stored.url).num_rows == 0
    assert not any(load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="mask")["in_gap"].to_pylist())


def test_a_gap_of_trades_is_read_by_the_venues_clock_and_one_of_quotes_by_ours(stored: Stored) -> None:
    hour = BEGIN + timedelta(hours=1)
    venue = {"last_ts_event": hour - timedelta(minutes=10), "first_ts_event": hour - timedelta(minutes=9)}
    for number, channel in enumerate(("trade", "quote")):
        stored.gap("kraken", "BTC/USD", number, channel=channel, **venue)
    trades = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="mask")
    marked = trades.filter(trades["in_gap"])["ts_event"].to_pylist()
    inside = [ts for ts in trades["ts_event"].to_pylist() if venue["last_ts_event"] <= ts <= venue["first_ts_event"]]
    assert marked == inside != []
    quotes = load.quotes("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="mask")
    marked = quotes.filter(quotes["in_gap"])["ts_recv"].to_pylist()
    assert marked == [ts for ts in quotes["ts_recv"].to_pylist() if hour <= ts <= hour + timedelta(seconds=10)] != []


def test_unrecorded_time_is_reported_though_no_gap_declares_it(stored: Stored) -> None:
    early, late = BEGIN - timedelta(hours=1), END + timedelta(hours=2)
    with pytest.raises(GapError, match=r"before the first frame about it \(to 2023-11-15 21:59:59"):
        load.trades("kraken", "BTC/USD", early, END, source=stored.url)
    with pytest.raises(GapError, match=r"after the latest frame \(since 2023-11-16 03:00:00"):
        load.trades("kraken", "BTC/USD", BEGIN, late, source=stored.url)
    found = load.gaps("kraken", "BTC/USD", early, late, source=stored.url)
    assert found["state"].to_pylist() == ["unrecorded", "unrecorded"]


def test_days_missing_from_an_archive_are_reported(archive: Path) -> None:
    with pytest.raises(GapError, match="on days missing from this archive"):
        load.trades("kraken", "BTC/USD", BEGIN, END + timedelta(days=2), source=archive)


def test_a_canonical_name_stands_for_the_one_recorded_instrument_that_has_it(stored: Stored, tmp_path: Path) -> None:
    stored.run("UPDATE instrument SET canonical = replace(symbol, '/', '-')")
    export(PostgresSource(stored.url), tmp_path, "kraken", DAYS, now=LATER)
    for door in (stored.url, tmp_path):
        both = load.trades("kraken", ["BTC-USD", "BTC/USD", "ETH/USD"], BEGIN, END, source=door)
        assert both.equals(load.trades("kraken", ["BTC/USD", "ETH/USD"], BEGIN, END, source=door))
        assert set(both["symbol"].to_pylist()) == {"BTC/USD", "ETH/USD"}
    stored.run("UPDATE instrument SET canonical = 'BTC-USD'")
    with pytest.raises(ConfigError, match="several recorded instruments BTC-USD: BTC/USD, ETH/USD; give the symbol"):
        load.trades("kraken", "BTC-USD", BEGIN, END, source=stored.url)


def test_an_unknown_symbol_is_reported_with_the_known_ones(stored: Stored, archive: Path, tmp_path: Path) -> None:
    for door in (stored.url, archive):
        with pytest.raises(ConfigError, match="kraken BTC-USD was not recorded; recorded are BTC/USD"):
            load.trades("kraken", "BTC-USD", BEGIN, END, source=door)
        with pytest.raises(ConfigError, match="nothing of krakn was recorded"):
            load.trades("krakn", "BTC/USD", BEGIN, END, source=door)
    with pytest.raises(ConfigError, match="no archive in"):
        load.trades("kraken", "BTC/USD", BEGIN, END, source=tmp_path / "nothing")
    with pytest.raises(ValueError, match="no time zone"):
        load.trades("kraken", "BTC/USD", BEGIN.replace(tzinfo=None), END, source=stored.url)
    with pytest.raises(ValueError, match="before start"):
        load.trades("kraken", "BTC/USD", END, BEGIN, source=stored.url)


def test_a_database_that_does_not_answer_or_fit_is_named_without_its_password(stored: Stored) -> None:
    gone = "postgresql://someone:secret@127.0.0.1:1/tape"
    with pytest.raises(StoreUnavailable) as unreachable:
        load.trades("kraken", "BTC/USD", BEGIN, END, source=gone)
    assert "secret" not in str(unreachable.value) + repr(PostgresSource(gone))
    stored.run("DROP TABLE gap CASCADE")
    with pytest.raises(ConfigError, match="tapedeck migrate"):
        load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url)


def test_a_reader_cannot_write_and_sees_one_moment(stored: Stored) -> None:
    with PostgresSource(stored.url).reading() as reader:
        before = reader.recorded_until("kraken")
        stored.run("UPDATE session SET last_frame_at = last_frame_at + interval '1 day', revision = 2")
        assert reader.recorded_until("kraken") == before
        assert reader._fetch("SELECT current_user::text AS name")["name"].to_pylist() == ["tapedeck_reader"]
        with pytest.raises(StoreUnavailable, match="read-only"):
            reader._fetch("CREATE TABLE x ()")


@pytest.mark.parametrize("timeframe", ["1m", "5m", "1h"])
def test_bars_of_either_source_are_those_of_all_trades(timeframe: str, stored: Stored, archive: Path) -> None:
    expected = time_bars(moved(random_trades(4000, 4 * HOUR, 0)), TIMEFRAMES[timeframe])
    for door in (stored.url, archive):
        found = load.bars("kraken", "BTC/USD", BEGIN, END, timeframe, source=door)
        assert found["start"].cast(pa.int64()).to_pylist() == (expected.start // 1000).tolist()
        for name in ("open", "high", "low", "close", "volume", "vwap", "trade_count", "buy_volume", "signed_notional"):
            np.testing.assert_array_equal(found[name].to_numpy(), getattr(expected, name))
        assert set(found["coverage"].to_pylist()) == {1.0}


def test_bars_of_several_symbols_come_by_start_and_symbol(stored: Stored) -> None:
    both = load.bars("kraken", ["ETH/USD", "BTC/USD"], BEGIN, END, "15m", source=stored.url)
    assert keys(both, "start", "symbol") == sorted(keys(both, "start", "symbol"))
    alone = load.bars("kraken", "ETH/USD", BEGIN, END, "15m", source=stored.url)
    mine = both.filter(pa.compute.equal(both["symbol"].cast(pa.string()), "ETH/USD"))
    assert mine.drop_columns("symbol").equals(alone.drop_columns("symbol"))


def test_a_bar_that_would_be_cut_is_refused(stored: Stored) -> None:
    with pytest.raises(ConfigError, match="cuts a bar of 5m"):
        load.bars("kraken", "BTC/USD", BEGIN + timedelta(minutes=1), END, "5m", source=stored.url)
    with pytest.raises(ConfigError, match="no timeframe '2m'"):
        load.bars("kraken", "BTC/USD", BEGIN, END, "2m", source=stored.url)


def test_a_late_trade_changes_exactly_its_bar_and_a_healed_gap_its_coverage(stored: Stored) -> None:
    when = BEGIN + timedelta(minutes=90, seconds=10)
    gap = {"started_at": when, "ended_at": when + timedelta(seconds=30)}
    stored.gap("kraken", "BTC/USD", 1, **gap, state="open")
    before = load.bars("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="mask")
    touched = before.filter(before["in_gap"])
    assert touched["start"].to_pylist() == [BEGIN + timedelta(minutes=90)]
    assert touched["coverage"].to_pylist() == [pytest.approx(0.5, abs=1e-6)]

    ns = BEGIN_NS + 90 * MINUTE + 20 * SECOND
    one = np.array([ns])
    late = Trades(one, one + 3 * HOUR, np.array([99]), np.array([1e6]), np.array([7.0]), np.array([1], np.int8))
    stored.trades("kraken", "BTC/USD", late, first_id=900_000)
    stored.run("UPDATE gap SET state = 'healed', revision = 2")
    after = load.bars("kraken", "BTC/USD", BEGIN, END, source=stored.url)
    rows = np.array(before["start"].to_pylist()) == BEGIN + timedelta(minutes=90)
    assert after["high"].to_numpy()[rows] == 1e6
    assert after["volume"].to_numpy()[rows] == pytest.approx(before["volume"].to_numpy()[rows] + 7)
    assert after["coverage"].to_numpy()[rows] == 1.0
    others = pa.array(~rows)
    assert after.filter(others).equals(before.filter(others).drop_columns("in_gap"))


def test_a_snapshot_knows_only_what_was_received_by_then(stored: Stored) -> None:
    every = timedelta(seconds=30)
    view = load.snapshots("kraken", "BTC/USD", MIDNIGHT, END, every, source=stored.url, warmup=timedelta(hours=2))
    trades = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, to="polars").sort(
        "ts_recv", maintain_order=True
    )
    quotes = load.quotes("kraken", "BTC/USD", BEGIN, END, source=stored.url, to="polars")
    assert view.num_rows == 240
    for row in view.to_pylist()[::37]:
        known = trades.filter(trades["ts_recv"] <= row["ts"])
        assert (row["last_price"], row["last_size"]) == (known["price"][-1], known["size"][-1])
        assert row["trade_age_s"] == (row["ts"] - known["ts_recv"][-1]).total_seconds()
        standing = quotes.filter(quotes["ts_recv"] <= row["ts"])
        assert (row["bid"], row["ask"]) == (standing["bid"][-1], standing["ask"][-1])


def test_nothing_older_than_the_warm_up_is_read_for_a_snapshot(stored: Stored) -> None:
    one = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url)["ts_recv"].to_pylist()
    alone = next(t for t, after in zip(sorted(one)[:-1], sorted(one)[1:], strict=True) if (after - t).seconds >= 15)
    start = alone + timedelta(seconds=10)
    for warmup, known in ((timedelta(seconds=1), False), (timedelta(hours=1), True)):
        row = load.snapshots(
            "kraken", "BTC/USD", start, start + timedelta(seconds=1), timedelta(seconds=1), source=stored.url,
            channels=["trade"], warmup=warmup,
        )  # fmt: skip
        assert (row["last_price"].to_pylist()[0] is not None) == known


def test_no_value_is_carried_across_an_outage(stored: Stored) -> None:
    gap = {"started_at": MIDNIGHT, "ended_at": MIDNIGHT + timedelta(seconds=25)}
    stored.gap("kraken", "BTC/USD", 1, channel="quote", **gap)
    span = MIDNIGHT - timedelta(seconds=10), MIDNIGHT + timedelta(minutes=2)
    with pytest.raises(GapError):
        load.snapshots("kraken", "BTC/USD", *span, timedelta(seconds=5), source=stored.url)
    view = load.snapshots("kraken", "BTC/USD", *span, timedelta(seconds=5), source=stored.url, on_gap="mask")
    later = load.quotes("kraken", "BTC/USD", gap["ended_at"], END, source=stored.url, on_gap="ignore")["ts_recv"][
        0
    ].as_py()
    for row in view.to_pylist():
        hidden = MIDNIGHT <= row["ts"] < gap["ended_at"]
        assert row["in_gap"] == hidden
        assert (row["ask"] is None) == (MIDNIGHT <= row["ts"] < later)


def test_a_book_is_rebuilt_from_its_messages(stored: Stored) -> None:
    view = load.snapshots(
        "kraken", "BTC/USD", MIDNIGHT, END, timedelta(minutes=7), source=stored.url,
        channels=["book"], levels=10, warmup=timedelta(hours=2),
    )  # fmt: skip
    messages = load.books("kraken", "BTC/USD", BEGIN, END, source=stored.url).to_pylist()
    for row in view.to_pylist():
        bids: dict[float, float] = {}
        asks: dict[float, float] = {}
        for message in messages:
            if message["ts_recv"] > row["ts"]:
                break
            if message["kind"] == "s":
                bids, asks = {}, {}
            for side, flat in ((bids, message["bids"]), (asks, message["asks"])):
                side.update(zip(flat[::2], flat[1::2], strict=True))
        best = sorted((price for price, size in bids.items() if size), reverse=True)[:10]
        assert [row[f"bid_{k + 1}"] for k in range(len(best))] == best
        assert [row[f"bid_size_{k + 1}"] for k in range(len(best))] == [bids[price] for price in best]
        assert [row[f"ask_{k + 1}"] for k in range(10)] == sorted(asks)[:10]
        assert all(row[f"bid_{k + 1}"] is None for k in range(len(best), 10))


def test_after_a_gap_there_is_no_book_until_a_snapshot(stored: Stored) -> None:
    messages = load.books("kraken", "BTC/USD", BEGIN, END, source=stored.url).to_pylist()
    first = next(i for i, row in enumerate(messages) if row["kind"] == "s" and row["ts_recv"] > MIDNIGHT)
    broken = messages[first - 50]["ts_recv"]
    gap = {"started_at": broken, "ended_at": broken + timedelta(seconds=1)}
    stored.gap("kraken", "BTC/USD", 1, channel="book", **gap)
    tape = load.tape("kraken", "BTC/USD", MIDNIGHT, END, source=stored.url, warmup=timedelta(hours=2))
    times = [at(int(ns)) for ns in tape.depths.rows.ts_recv]
    assert [ts for ts in times if broken < ts <= messages[first]["ts_recv"]] == [messages[first]["ts_recv"]]


def test_parts_of_an_archive_are_its_rows_wherever_they_are_read(archive: Path) -> None:
    parts = load.parts(archive, "quote", "kraken", ["BTC/USD", "ETH/USD"], BEGIN, END)
    assert [part.start for part in parts] == [BEGIN, MIDNIGHT]
    tables = [load.part(pickle.loads(pickle.dumps(part)), "arrow") for part in parts]
    whole = load.quotes("kraken", ["BTC/USD", "ETH/USD"], BEGIN, END, source=archive)
    assert pa.concat_tables(tables).combine_chunks().equals(whole.combine_chunks())
    with pytest.raises(GapError):
        load.parts(archive, "quote", "kraken", "BTC/USD", BEGIN, END + timedelta(days=3))


def test_a_file_that_differs_from_its_manifest_is_not_read(archive: Path) -> None:
    path = next((archive / "trade" / "venue=kraken" / f"date={BEGIN.date()}").glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="SHA-256 differs"):
        load.trades("kraken", "BTC/USD", BEGIN, END, source=load.ArchiveSource(archive, verify=True))
    footer = content.copy()
    footer[-8:-4] = bytes(4)  # how long it is
    path.write_bytes(footer)
    with pytest.raises(ArchiveError, match=r"damaged .*; export the day again"):
        load.trades("kraken", "BTC/USD", BEGIN, END, source=archive)
    path.write_bytes(content[:-1])
    with pytest.raises(ArchiveError, match="its manifest states"):
        load.trades("kraken", "BTC/USD", BEGIN, END, source=archive)


def test_another_venue_has_a_tape_of_its_own(stored: Stored, archive: Path) -> None:
    mine = load.trades(*OKX, BEGIN, END, source=archive)
    assert mine.equals(load.trades(*OKX, BEGIN, END, source=stored.url))
    assert set(mine["venue"].to_pylist()) == {"okx"}


def test_an_empty_side_of_a_quote_is_nan_with_its_size_whether_its_row_says_null_or_0() -> None:
    stamps = pa.chunked_array([pa.array([1, 2, 3], pa.timestamp("us", "UTC"))])
    side = pa.chunked_array([pa.array([100.0, 0.0, None])])
    columns = {"bid": side, "bid_size": side, "ask": pa.chunked_array([pa.array([101.0] * 3)])}
    table = pa.table({"ts_event": stamps, "ts_recv": stamps, **columns, "ask_size": columns["ask"]})
    quotes = quotes_of(table)
    for values in (quotes.bid, quotes.bid_size, quotes.mid):
        assert np.isnan(values).tolist() == [False, True, True]
    assert np.isfinite(quotes.ask_size).all()

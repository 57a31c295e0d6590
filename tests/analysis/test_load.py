"""The doors: rows of a range from Postgres and from an archive, in order, whole or refused."""

import pickle
from collections.abc import Callable
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from market_data import random_trades
from stored import BEGIN, BEGIN_NS, DAYS, END, KRAKEN, LATER, MIDNIGHT, OKX, Stored, at, moved

from analysis import load
from analysis.arrays import HOUR, MINUTE, SECOND, Trades
from analysis.bars import TIMEFRAMES, time_bars
from analysis.errors import ArchiveError, GapError
from analysis.export import export
from analysis.load.postgres import PostgresSource
from recorder.errors import ConfigError, StoreUnavailable

ROWS = {"trade": load.trades, "quote": load.quotes, "book": load.books}

Loader = Callable[..., pa.Table]


def keys(table: pa.Table, *names: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


def test_trades_come_in_order_across_a_midnight_with_both_clocks(stored: Stored) -> None:
    table = load.trades(stored.url, "kraken", "BTC/USD", BEGIN, END)
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
    times = load.trades(stored.url, "kraken", "BTC/USD", BEGIN, END)["ts_event"].to_pylist()
    first, last = times[1000], times[3000]
    part = load.trades(stored.url, "kraken", "BTC/USD", first, last)["ts_event"].to_pylist()
    assert part == [moment for moment in times if first <= moment < last]
    elsewhere = timezone(timedelta(hours=-5))
    again = load.trades(stored.url, "kraken", "BTC/USD", first.astimezone(elsewhere), last.astimezone(elsewhere))
    assert again["ts_event"].to_pylist() == part


def test_several_symbols_come_as_one_table_in_one_order(stored: Stored) -> None:
    both = load.trades(stored.url, "kraken", ["ETH/USD", "BTC/USD"], BEGIN, END)
    order = keys(both, "ts_event", "trade_id")
    assert order == sorted(order)
    for _, symbol in KRAKEN:
        alone = load.trades(stored.url, "kraken", symbol, BEGIN, END)
        mine = both.filter(pa.compute.equal(both["symbol"].cast(pa.string()), symbol))
        assert mine["trade_id"].equals(alone["trade_id"])
        assert set(mine["symbol"].to_pylist()) == {symbol}
    assert set(both["venue"].to_pylist()) == {"kraken"}


def test_rows_of_one_frame_keep_the_order_in_which_they_were_stored(stored: Stored) -> None:
    table = load.quotes(stored.url, "kraken", "BTC/USD", BEGIN, END)
    order = keys(table, "ts_recv", "session_id", "frame_seq")
    assert order == sorted(order)
    assert len(order) > len(set(order))  # there are two rows a frame
    assert table["sequence"].to_pylist() == sorted(table["sequence"].to_pylist())


@pytest.mark.parametrize("name", ["trade", "quote", "book"])
@pytest.mark.parametrize("symbols", ["BTC/USD", ["BTC/USD", "ETH/USD"]])
def test_both_doors_give_the_same_table(name: str, symbols: Any, stored: Stored, archive: Path) -> None:
    spans = [(BEGIN, END), (BEGIN + timedelta(minutes=61), MIDNIGHT), (MIDNIGHT, END), (MIDNIGHT, MIDNIGHT)]
    for span in spans:
        mine, theirs = (ROWS[name](door, "kraken", symbols, *span) for door in (stored.url, archive))
        assert mine.schema == theirs.schema
        assert mine.equals(theirs), span
    assert ROWS[name](archive, "kraken", symbols, BEGIN, END).num_rows > 500


@pytest.mark.parametrize("at_once", [1, 1 << 23])
def test_days_read_together_are_the_days_read_alone(
    at_once: int, stored: Stored, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.load.archive._AT_ONCE", at_once)
    first = MIDNIGHT - timedelta(days=1)
    for span in ((first, first + timedelta(days=2)), (first, END), (BEGIN, first + timedelta(days=2)), (BEGIN, END)):
        for symbols in ("BTC/USD", ["BTC/USD", "ETH/USD"]):
            mine, theirs = (
                load.trades(door, "kraken", symbols, *span, on_gap="ignore") for door in (stored.url, archive)
            )
            assert mine.equals(theirs), span
    chunks = list(load.chunks(archive, "trade", "kraken", "BTC/USD", BEGIN, END))
    assert len(chunks) == (2 if at_once == 1 else 1)


def test_a_side_is_a_category_wherever_it_is_read(stored: Stored, archive: Path) -> None:
    for door in (stored.url, archive):
        sides = load.trades(door, "kraken", "BTC/USD", BEGIN, END, to="pandas")["aggressor"]
        assert list(sides.cat.categories) == ["b", "s"]
        assert (sides == "b").sum() == load.trades(door, "kraken", "BTC/USD", BEGIN, END)[
            "aggressor"
        ].to_pylist().count("b")
        kinds = load.books(door, "kraken", "BTC/USD", BEGIN, END, to="polars")["kind"]
        assert set(kinds.unique()) == {"s", "d"}


def test_both_doors_give_the_same_table_with_gaps_masked(stored: Stored, tmp_path: Path) -> None:
    stored.gap("kraken", "BTC/USD", 1)
    stored.gap("kraken", "BTC/USD", 2, started_at=MIDNIGHT - timedelta(seconds=5), ended_at=None, state="open")
    export(PostgresSource(stored.url), tmp_path, "kraken", DAYS, now=LATER)
    span = BEGIN, END
    mine, theirs = (
        load.trades(door, "kraken", ["BTC/USD", "ETH/USD"], *span, on_gap="mask") for door in (stored.url, tmp_path)
    )
    assert mine.equals(theirs)
    assert 1900 < int(pa.compute.sum(mine["in_gap"]).as_py()) < 2100
    assert load.gaps(stored.url, "kraken", "BTC/USD", *span).equals(load.gaps(tmp_path, "kraken", "BTC/USD", *span))


def test_the_same_rows_come_as_pandas_and_polars(stored: Stored) -> None:
    table = load.quotes(stored.url, "kraken", "BTC/USD", BEGIN, END)
    pandas = load.quotes(stored.url, "kraken", "BTC/USD", BEGIN, END, to="pandas")
    polars = load.quotes(stored.url, "kraken", "BTC/USD", BEGIN, END, to="polars")
    assert str(pandas["ts_recv"].dtype) == "datetime64[us, UTC]"
    assert polars["bid"].to_list() == table["bid"].to_pylist()
    assert polars["bid"].null_count() == table["bid"].null_count > 0
    assert int(pandas["bid"].isna().sum()) == table["bid"].null_count
    assert pandas["ask"].tolist() == table["ask"].to_pylist()
    with pytest.raises(ValueError, match="pandas"):
        load.quotes(stored.url, "kraken", "BTC/USD", BEGIN, END, to="numpy")  # type: ignore[arg-type]


def test_a_stream_of_chunks_is_the_whole_table(stored: Stored) -> None:
    chunks = list(load.chunks(stored.url, "book", "kraken", "BTC/USD", BEGIN, END))
    assert len(chunks) == 4  # an hour each
    assert pa.concat_tables(chunks).equals(load.books(stored.url, "kraken", "BTC/USD", BEGIN, END))


def test_only_the_columns_asked_for_are_read(stored: Stored, archive: Path) -> None:
    for door in (stored.url, archive):
        table = load.trades(door, "kraken", "BTC/USD", BEGIN, END, columns=["symbol", "price"])
        assert table.schema.names == ["venue", "symbol", "price"]
        with pytest.raises(ConfigError, match="no column 'rate'"):
            load.trades(door, "kraken", "BTC/USD", BEGIN, END, columns=["rate"])


def test_an_empty_range_has_the_columns_of_a_full_one(stored: Stored, archive: Path) -> None:
    quiet = END + timedelta(minutes=1), END + timedelta(minutes=2)
    for name, rows in ROWS.items():
        for door in (stored.url, archive):
            full = rows(door, "kraken", "BTC/USD", BEGIN, END, on_gap="mask")
            empty = rows(door, "kraken", "BTC/USD", *quiet, on_gap="mask")
            assert empty.num_rows == 0, name
            assert empty.schema == full.schema


def test_a_range_with_an_open_or_unhealable_gap_is_refused_in_one_sentence(stored: Stored) -> None:
    stored.gap("kraken", "BTC/USD", 1)
    with pytest.raises(GapError) as refused:
        load.trades(stored.url, "kraken", "BTC/USD", BEGIN, END)
    sentence = str(refused.value)
    assert (
        "kraken BTC/USD trade 2023-11-15 23:00:00.000 to 2023-11-15 23:00:10.000 (disconnect, unhealable)" in sentence
    )
    assert "\n" not in sentence
    assert load.trades(stored.url, "kraken", "BTC/USD", BEGIN, END, on_gap="ignore").num_rows == 4000
    # neither another instrument, nor another channel, nor another time has this gap
    load.trades(stored.url, "kraken", "ETH/USD", BEGIN, END)
    load.quotes(stored.url, "kraken", "BTC/USD", BEGIN, END)
    load.trades(stored.url, "kraken", "BTC/USD", BEGIN, BEGIN + timedelta(hours=1))
    load.trades(stored.url, "kraken", "BTC/USD", BEGIN + timedelta(hours=1, seconds=10, microseconds=1), END)


def test_a_healed_gap_does_not_count(stored: Stored) -> None:
    stored.gap("kraken", "BTC/USD", 1, state="healed")
    assert load.gaps(stored.url, "kraken", "BTC/USD", BEGIN, END).num_rows == 0
    assert not any(load.trades(stored.url, "kraken", "BTC/USD", BEGIN, END, on_gap="mask")["in_gap"].to_pylist())


def test_a_gap_of_trades_is_read_by_the_venues_clock_and_one_of_quotes_by_ours(stored: Stored) -> None:
    hour = BEGIN + timedelta(hours=1)
    venue = {"last_ts_event": hour - timedelta(minutes=10), "first_ts_event": hour - timedelta(minutes=9)}
    for number, channel in enumerate(("trade", "quote")):
        stored.gap("kraken", "BTC/USD", number, channel=channel, **venue)
    trades = load.trades(stored.url, "kraken", "BTC/USD", BEGIN, END, on_gap="mask")
    marked = trades.filter(trades["in_gap"])["ts_event"].to_pylist()
    inside = [ts for ts in trades["ts_event"].to_pylist() if venue["last_ts_event"] <= ts <= venue["first_ts_event"]]
    assert marked == inside != []
    quotes = load.quotes(stored.url, "kraken", "BTC/USD", BEGIN, END, on_gap="mask")
    marked = quotes.filter(quotes["in_gap"])["ts_recv"].to_pylist()
    assert marked == [ts for ts in quotes["ts_recv"].to_pylist() if hour <= ts <= hour + timedelta(seconds=10)] != []


def test_time_that_nobody_recorded_is_told_though_no_gap_declares_it(stored: Stored) -> None:
    early, late = BEGIN - timedelta(hours=1), END + timedelta(hours=2)
    with pytest.raises(GapError, match=r"before the first frame about it \(to 2023-11-15 21:59:59"):
        load.trades(stored.url, "kraken", "BTC/USD", early, END)
    with pytest.raises(GapError, match=r"after the latest frame \(since 2023-11-16 03:00:00"):
        load.trades(stored.url, "kraken", "BTC/USD", BEGIN, late)
    found = load.gaps(stored.url, "kraken", "BTC/USD", early, late)
    assert found["state"].to_pylist() == ["unrecorded", "unrecorded"]


def test_days_an_archive_does_not_have_are_told(archive: Path) -> None:
    with pytest.raises(GapError, match="on days this archive does not have"):
        load.trades(archive, "kraken", "BTC/USD", BEGIN, END + timedelta(days=2))


def test_what_cannot_be_found_is_said_with_what_can(stored: Stored, archive: Path, tmp_path: Path) -> None:
    for door in (stored.url, archive):
        with pytest.raises(ConfigError, match="kraken BTC-USD is not on this tape; there is BTC/USD"):
            load.trades(door, "kraken", "BTC-USD", BEGIN, END)
        with pytest.raises(ConfigError, match="nothing of krakn was recorded"):
            load.trades(door, "krakn", "BTC/USD", BEGIN, END)
    with pytest.raises(ConfigError, match="no archive in"):
        load.trades(tmp_path / "nothing", "kraken", "BTC/USD", BEGIN, END)
    with pytest.raises(ValueError, match="no time zone"):
        load.trades(stored.url, "kraken", "BTC/USD", BEGIN.replace(tzinfo=None), END)
    with pytest.raises(ValueError, match="before start"):
        load.trades(stored.url, "kraken", "BTC/USD", END, BEGIN)


def test_a_database_that_does_not_answer_or_fit_is_named_without_its_password(stored: Stored) -> None:
    gone = "postgresql://someone:secret@127.0.0.1:1/tape"
    with pytest.raises(StoreUnavailable) as unreachable:
        load.trades(gone, "kraken", "BTC/USD", BEGIN, END)
    assert "secret" not in str(unreachable.value) + repr(PostgresSource(gone))
    stored.run("DROP TABLE gap CASCADE")
    with pytest.raises(ConfigError, match="tapedeck migrate"):
        load.trades(stored.url, "kraken", "BTC/USD", BEGIN, END)


def test_a_reader_cannot_write_and_sees_one_moment(stored: Stored) -> None:
    with PostgresSource(stored.url).reading() as reader:
        before = reader.recorded_until("kraken")
        stored.run("UPDATE session SET last_frame_at = last_frame_at + interval '1 day', revision = 2")
        assert reader.recorded_until("kraken") == before
        assert reader._fetch("SELECT current_user::text AS name")["name"].to_pylist() == ["tapedeck_reader"]
        with pytest.raises(StoreUnavailable, match="read-only"):
            reader._fetch("CREATE TABLE x ()")


@pytest.mark.parametrize("timeframe", ["1m", "5m", "1h"])
def test_bars_of_either_door_are_those_of_all_trades(timeframe: str, stored: Stored, archive: Path) -> None:
    expected = time_bars(moved(random_trades(4000, 4 * HOUR, 0)), TIMEFRAMES[timeframe])
    for door in (stored.url, archive):
        found = load.bars(door, "kraken", "BTC/USD", BEGIN, END, timeframe)
        assert found["start"].cast(pa.int64()).to_pylist() == (expected.start // 1000).tolist()
        for name in ("open", "high", "low", "close", "volume", "vwap", "trade_count", "buy_volume", "signed_notional"):
            np.testing.assert_array_equal(found[name].to_numpy(), getattr(expected, name))
        assert set(found["coverage"].to_pylist()) == {1.0}


def test_bars_of_several_symbols_come_by_start_and_symbol(stored: Stored) -> None:
    both = load.bars(stored.url, "kraken", ["ETH/USD", "BTC/USD"], BEGIN, END, "15m")
    assert keys(both, "start", "symbol") == sorted(keys(both, "start", "symbol"))
    alone = load.bars(stored.url, "kraken", "ETH/USD", BEGIN, END, "15m")
    mine = both.filter(pa.compute.equal(both["symbol"].cast(pa.string()), "ETH/USD"))
    assert mine.drop_columns("symbol").equals(alone.drop_columns("symbol"))


def test_a_bar_that_would_be_cut_is_refused(stored: Stored) -> None:
    with pytest.raises(ConfigError, match="cuts a bar of 5m"):
        load.bars(stored.url, "kraken", "BTC/USD", BEGIN + timedelta(minutes=1), END, "5m")
    with pytest.raises(ConfigError, match="no timeframe '2m'"):
        load.bars(stored.url, "kraken", "BTC/USD", BEGIN, END, "2m")


def test_a_late_trade_changes_exactly_its_bar_and_a_healed_gap_its_coverage(stored: Stored) -> None:
    when = BEGIN + timedelta(minutes=90, seconds=10)
    gap = {"started_at": when, "ended_at": when + timedelta(seconds=30)}
    stored.gap("kraken", "BTC/USD", 1, **gap, state="open")
    before = load.bars(stored.url, "kraken", "BTC/USD", BEGIN, END, on_gap="mask")
    touched = before.filter(before["in_gap"])
    assert touched["start"].to_pylist() == [BEGIN + timedelta(minutes=90)]
    assert touched["coverage"].to_pylist() == [pytest.approx(0.5, abs=1e-6)]

    ns = BEGIN_NS + 90 * MINUTE + 20 * SECOND
    one = np.array([ns])
    late = Trades(one, one + 3 * HOUR, np.array([99]), np.array([1e6]), np.array([7.0]), np.array([1], np.int8))
    stored.trades("kraken", "BTC/USD", late, first_id=900_000)
    stored.run("UPDATE gap SET state = 'healed', revision = 2")
    after = load.bars(stored.url, "kraken", "BTC/USD", BEGIN, END)
    rows = np.array(before["start"].to_pylist()) == BEGIN + timedelta(minutes=90)
    assert after["high"].to_numpy()[rows] == 1e6
    assert after["volume"].to_numpy()[rows] == pytest.approx(before["volume"].to_numpy()[rows] + 7)
    assert after["coverage"].to_numpy()[rows] == 1.0
    others = pa.array(~rows)
    assert after.filter(others).equals(before.filter(others).drop_columns("in_gap"))


def test_a_snapshot_knows_only_what_was_received_by_then(stored: Stored) -> None:
    every = timedelta(seconds=30)
    view = load.snapshots(stored.url, "kraken", "BTC/USD", MIDNIGHT, END, every, warmup=timedelta(hours=2))
    trades = load.trades(stored.url, "kraken", "BTC/USD", BEGIN, END, to="polars").sort("ts_recv", maintain_order=True)
    quotes = load.quotes(stored.url, "kraken", "BTC/USD", BEGIN, END, to="polars")
    assert view.num_rows == 240
    for row in view.to_pylist()[::37]:
        known = trades.filter(trades["ts_recv"] <= row["ts"])
        assert (row["last_price"], row["last_size"]) == (known["price"][-1], known["size"][-1])
        assert row["trade_age_s"] == (row["ts"] - known["ts_recv"][-1]).total_seconds()
        standing = quotes.filter(quotes["ts_recv"] <= row["ts"])
        assert (row["bid"], row["ask"]) == (standing["bid"][-1], standing["ask"][-1])


def test_nothing_older_than_the_warm_up_is_read_for_a_snapshot(stored: Stored) -> None:
    one = load.trades(stored.url, "kraken", "BTC/USD", BEGIN, END)["ts_recv"].to_pylist()
    alone = next(t for t, after in zip(sorted(one)[:-1], sorted(one)[1:], strict=True) if (after - t).seconds >= 15)
    start = alone + timedelta(seconds=10)
    for warmup, known in ((timedelta(seconds=1), False), (timedelta(hours=1), True)):
        row = load.snapshots(
            stored.url, "kraken", "BTC/USD", start, start + timedelta(seconds=1), timedelta(seconds=1),
            channels=["trade"], warmup=warmup,
        )  # fmt: skip
        assert (row["last_price"].to_pylist()[0] is not None) == known


def test_no_value_is_carried_across_an_outage(stored: Stored) -> None:
    gap = {"started_at": MIDNIGHT, "ended_at": MIDNIGHT + timedelta(seconds=25)}
    stored.gap("kraken", "BTC/USD", 1, channel="quote", **gap)
    span = MIDNIGHT - timedelta(seconds=10), MIDNIGHT + timedelta(minutes=2)
    with pytest.raises(GapError):
        load.snapshots(stored.url, "kraken", "BTC/USD", *span, timedelta(seconds=5))
    view = load.snapshots(stored.url, "kraken", "BTC/USD", *span, timedelta(seconds=5), on_gap="mask")
    later = load.quotes(stored.url, "kraken", "BTC/USD", gap["ended_at"], END, on_gap="ignore")["ts_recv"][0].as_py()
    for row in view.to_pylist():
        hidden = MIDNIGHT <= row["ts"] < gap["ended_at"]
        assert row["in_gap"] == hidden
        assert (row["ask"] is None) == (MIDNIGHT <= row["ts"] < later)


def test_a_book_is_rebuilt_from_its_messages(stored: Stored) -> None:
    view = load.snapshots(
        stored.url, "kraken", "BTC/USD", MIDNIGHT, END, timedelta(minutes=7),
        channels=["book"], levels=10, warmup=timedelta(hours=2),
    )  # fmt: skip
    messages = load.books(stored.url, "kraken", "BTC/USD", BEGIN, END).to_pylist()
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
    messages = load.books(stored.url, "kraken", "BTC/USD", BEGIN, END).to_pylist()
    first = next(i for i, row in enumerate(messages) if row["kind"] == "s" and row["ts_recv"] > MIDNIGHT)
    broken = messages[first - 50]["ts_recv"]
    gap = {"started_at": broken, "ended_at": broken + timedelta(seconds=1)}
    stored.gap("kraken", "BTC/USD", 1, channel="book", **gap)
    tape = load.tape(stored.url, "kraken", "BTC/USD", MIDNIGHT, END, warmup=timedelta(hours=2))
    times = [at(int(ns)) for ns in tape.depths.rows.ts_recv]
    assert [ts for ts in times if broken < ts <= messages[first]["ts_recv"]] == [messages[first]["ts_recv"]]


def test_parts_of_an_archive_are_its_rows_wherever_they_are_read(archive: Path) -> None:
    parts = load.parts(archive, "quote", "kraken", ["BTC/USD", "ETH/USD"], BEGIN, END)
    assert [part.start for part in parts] == [BEGIN, MIDNIGHT]
    tables = [load.part(pickle.loads(pickle.dumps(part)), "arrow") for part in parts]
    whole = load.quotes(archive, "kraken", ["BTC/USD", "ETH/USD"], BEGIN, END)
    assert pa.concat_tables(tables).combine_chunks().equals(whole.combine_chunks())
    with pytest.raises(GapError):
        load.parts(archive, "quote", "kraken", "BTC/USD", BEGIN, END + timedelta(days=3))


def test_a_file_that_is_not_what_the_manifest_says_is_not_read(archive: Path) -> None:
    path = next((archive / "trade" / "venue=kraken" / f"date={BEGIN.date()}").glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="SHA-256 differs"):
        load.trades(load.ArchiveSource(archive, verify=True), "kraken", "BTC/USD", BEGIN, END)
    footer = content.copy()
    footer[-8:-4] = bytes(4)  # how long it is
    path.write_bytes(footer)
    with pytest.raises(ArchiveError, match=r"damaged .*; export the day again"):
        load.trades(archive, "kraken", "BTC/USD", BEGIN, END)
    path.write_bytes(content[:-1])
    with pytest.raises(ArchiveError, match="its manifest says"):
        load.trades(archive, "kraken", "BTC/USD", BEGIN, END)


def test_another_venue_has_a_tape_of_its_own(stored: Stored, archive: Path) -> None:
    mine = load.trades(archive, *OKX, BEGIN, END)
    assert mine.equals(load.trades(stored.url, *OKX, BEGIN, END))
    assert set(mine["venue"].to_pylist()) == {"okx"}

"""Database, archive and sample data give the same summary of a recording, and notebooks find the recording."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.analysis.market_data import data_folder
from support.analysis.stored_tape import BEGIN, END, KRAKEN, Stored

from analysis import load, notebook
from analysis.load import extent
from analysis.load.sample import SampleSource
from recorder.errors import ConfigError

HERE = "kraken", "BTC/USD", BEGIN, END


def test_an_instrument_that_is_only_listed_is_no_stream(stored: Stored) -> None:
    stored.instrument("kraken", "LISTED/USD", BEGIN)
    stored.instrument("kraken", "LOST/USD", BEGIN)
    stored.gap("kraken", "LOST/USD", 9)
    found = extent.streams("kraken", BEGIN, END, source=stored.url).to_pylist()
    assert {row["symbol"] for row in found} == {"BTC/USD", "ETH/USD", "LOST/USD"}


def test_streams_tell_rows_and_what_is_missing(stored: Stored, archive: Path) -> None:
    found = extent.streams("kraken", BEGIN, END, source=stored.url)
    assert found.equals(extent.streams("kraken", BEGIN, END, source=archive))
    rows = {(row["symbol"], row["channel"]): row for row in found.to_pylist()}
    assert len(rows) == 6
    trades = rows["BTC/USD", "trade"]
    assert (trades["rows"], trades["gaps"], trades["missing_s"]) == (4000, 0, 0.0)
    assert BEGIN <= trades["first"] < trades["last"] < END
    stored.gap("kraken", "BTC/USD", 1)
    rows = {
        (row["symbol"], row["channel"]): row
        for row in extent.streams("kraken", BEGIN, END + timedelta(hours=2), source=stored.url).to_pylist()
    }
    # The gap ends with the microsecond of its last instant; the recording ended an hour before the range.
    assert rows["BTC/USD", "trade"]["gaps"] == 2
    assert rows["BTC/USD", "trade"]["missing_s"] == pytest.approx(10 + 3600, abs=0.001)


def test_counts_add_up_to_the_rows_and_mark_the_step_of_a_gap(stored: Stored, archive: Path) -> None:
    stored.gap("kraken", "BTC/USD", 1)
    found = extent.counts(*HERE, source=stored.url, every=timedelta(minutes=30)).to_pylist()
    for channel, read in (("trade", load.trades), ("quote", load.quotes), ("book", load.books)):
        mine = [row for row in found if row["channel"] == channel]
        assert len(mine) == 8
        assert sum(row["rows"] for row in mine) == read(*HERE, source=stored.url, on_gap="ignore").num_rows
    missing = [row for row in found if row["missing_share"]]
    assert [(row["channel"], row["start"]) for row in missing] == [("trade", BEGIN + timedelta(hours=1))]
    assert missing[0]["missing_share"] == pytest.approx(10 / 1800, rel=1e-3)


def test_missing_puts_the_channels_together(stored: Stored) -> None:
    stored.gap("kraken", "BTC/USD", 1)
    stored.gap("kraken", "BTC/USD", 2, channel="book", state="open", ended_at=None)
    stored.gap("kraken", "BTC/USD", 3, channel="quote", state="healed")
    assert extent.missing(*HERE, source=stored.url)["channel"].to_pylist() == ["trade", "book"]


def test_a_notebook_takes_the_busiest_instrument_of_the_tape_that_is_named(stored: Stored, archive: Path) -> None:
    for place in (stored.url, str(archive)):
        found = notebook.tape(1.0, environ={"TAPEDECK_TAPE": place})
        assert found.venue in ("kraken", "okx")
        assert found.end - found.start == timedelta(hours=1)
        assert stored.url not in str(found)
    asked = notebook.tape(1.0, venue="okx", symbol="BTC-USDT", environ={"TAPEDECK_TAPE": str(archive)})
    assert (asked.venue, asked.symbol) == ("okx", "BTC-USDT")
    assert load.trades(*asked.where, source=asked.source, on_gap="ignore").schema.names[:2] == ["venue", "symbol"]


def test_a_notebook_takes_the_instrument_whose_scarcest_channel_has_the_most_rows(stored: Stored) -> None:
    stored.run(
        "DELETE FROM quote USING instrument"
        " WHERE quote.instrument_id = instrument.instrument_id AND symbol <> 'ETH/USD' AND sequence > 40"
    )
    found = notebook.tape(needs=("trade", "quote"), environ={"TAPEDECK_TAPE": stored.url})
    assert found.symbol == "ETH/USD"


def test_a_tape_without_what_a_notebook_needs_is_refused_in_one_sentence(stored: Stored) -> None:
    stored.run("DELETE FROM quote")
    with pytest.raises(notebook.NothingToRead, match="trade, quote rows in the database of TAPEDECK_TAPE"):
        notebook.tape(needs=("trade", "quote"), environ={"TAPEDECK_TAPE": stored.url})
    with pytest.raises(notebook.NothingToRead, match="no sample data in"):
        notebook.sample_data("resolved_markets", {"TAPEDECK_DATA": "/nowhere"})
    with pytest.raises(ConfigError, match="no archive"):
        notebook.tape(environ={"TAPEDECK_TAPE": "/nowhere"})


def test_a_kernel_in_the_folder_of_the_notebooks_reads_the_settings_of_the_project(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / ".env").write_text(f"DATABASE_URL={stored.url}\n")
    monkeypatch.setattr(notebook, "ROOT", tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path / "notebooks")
    assert notebook.tape(1.0, environ={}).origin == "the database of the settings"
    assert Path.cwd() == tmp_path / "notebooks"


def test_sizes_are_quick_only_when_asked() -> None:
    assert notebook.sized(10, 1, {}) == notebook.sized(10, 1, {"TAPEDECK_QUICK": "0"}) == 10
    assert notebook.sized(10, 1, {"TAPEDECK_QUICK": "1"}) == 1


def test_the_sample_day_reads_like_any_source() -> None:
    source = SampleSource(data_folder("market_history"))
    day = datetime(2019, 10, 11, tzinfo=UTC), datetime(2019, 10, 12, tzinfo=UTC)
    trades = load.trades("sample", "XRP/ETH", *day, source=source, on_gap="ignore")
    assert trades.num_rows == 5929
    assert set(trades["aggressor"].to_pylist()) == {"b", "s"}
    assert load.quotes("sample", "XRP/ETH", *day, source=source, on_gap="ignore").num_rows == 0
    gaps = load.gaps("sample", "XRP/ETH", *day, source=source)
    assert gaps["state"].to_pylist() == ["unrecorded", "unrecorded"]
    with pytest.raises(ConfigError, match="recorded are XRP/ETH"):
        load.trades("sample", "BTC/USD", *day, source=source)
    assert [one.symbol for one in _instruments(source)] == ["XRP/ETH"]


def _instruments(source: load.Source) -> list[load.Instrument]:
    with source.reading() as reader:
        assert reader.instruments("kraken") == []
        assert reader.recorded_until("kraken") is None
        return reader.instruments(reader.venues()[0])


def test_sources_name_their_venues_and_the_end_of_the_recording(stored: Stored, archive: Path) -> None:
    for source in (load.PostgresSource(stored.url), load.ArchiveSource(archive)):
        with source.reading() as reader:
            assert reader.venues() == ["kraken", "okx"]
            reached = reader.recorded_until("kraken")
            assert reached is not None
            assert END <= reached <= END + timedelta(hours=22)
            assert reader.recorded_until("none") is None
    assert KRAKEN[0][0] == "kraken"

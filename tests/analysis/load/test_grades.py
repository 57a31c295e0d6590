"""Hours whose certificate has a low grade are missing in rows, bars, features and training, and are named."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from support.analysis.market_data import data_folder
from support.analysis.stored_tape import BEGIN, DAYS, END, LATER, MIDNIGHT, Stored

from analysis import feature_tables, load
from analysis.datasets import Dataset, direction, parts
from analysis.errors import GapError, InvalidRange
from analysis.evaluation import data_sheet, model_card
from analysis.export import export
from analysis.load import PostgresSource, extent
from analysis.load.frames import masked_of
from analysis.load.hours import grades
from analysis.load.sample import SYMBOL, VENUE, SampleSource
from analysis.load.source import to_ns
from analysis.load.tables import Channel
from analysis.models import no_holdout, train
from analysis.models.model import ModelMetadata
from analysis.plots.tape import completeness
from recorder.identity import instrument_id

HOUR = timedelta(hours=1)
OF_EACH = ("proved", "consistent", "claimed", "holed")
"""Grades of the four stored hours."""


def certify(stored: Stored, hours: Sequence[str | None], channel: str = "trade", revision: int = 1) -> None:
    """Store certificates of the four hours of the tape, of kraken BTC/USD."""
    number = instrument_id("kraken", "BTC/USD")
    first = (revision - 1) * len(hours)
    columns = (
        "instrument_id, channel, hour, revision, number, grade, replay, row_count, open_gaps, made_at, previous, "
        "sha256, document"
    )
    rows = [
        (number, channel, BEGIN + place * HOUR, revision, first + place + 1, grade, "equal", 1, 0, LATER,
         None if first + place == 0 else "0" * 64, "0" * 64, "{}")
        for place, grade in enumerate(hours)
        if grade is not None
    ]  # fmt: skip
    stored.put("certificate", columns, rows)


def trades_of_each_hour(table: pa.Table) -> list[set[bool]]:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return [
        set(frame.filter(pl.col("ts_event").is_between(BEGIN + n * HOUR, BEGIN + (n + 1) * HOUR, "left"))["in_gap"])
        for n in range(4)
    ]


@pytest.mark.parametrize(
    ("least", "hidden"),
    [("proved", [False, True, True, True]), ("witnessed", [False, True, True, True]),
     ("consistent", [False, False, True, True]), ("claimed", [False, False, False, True])],
)  # fmt: skip
def test_rows_of_hours_below_the_grade_are_marked_and_named(
    least: grades.Grade, hidden: list[bool], stored: Stored, tmp_path: Path
) -> None:
    certify(stored, OF_EACH)
    export(PostgresSource(stored.url), tmp_path, "kraken", DAYS, now=LATER)
    for source in (stored.url, tmp_path):
        with pytest.raises(GapError, match=r"below .*a lower min_grade"):
            load.trades("kraken", "BTC/USD", BEGIN, END, source=source, min_grade=least)
        table = load.trades("kraken", "BTC/USD", BEGIN, END, source=source, on_gap="mask", min_grade=least)
        assert trades_of_each_hour(table) == [{one} for one in hidden]
        lines = masked_of(table)
        assert lines[-1].endswith(f"{END:%Y-%m-%d %H:%M}: graded holed, below {least}")
        frame = load.trades("kraken", "BTC/USD", BEGIN, END, source=source, on_gap="mask", min_grade=least, to="pandas")
        assert masked_of(frame) == lines
        ignored = load.trades("kraken", "BTC/USD", BEGIN, END, source=source, on_gap="ignore", min_grade=least)
        assert ignored.num_rows == table.num_rows
        assert masked_of(ignored) == []
        assert load.trades("kraken", "BTC/USD", BEGIN, BEGIN + HOUR, source=source, min_grade=least).num_rows


def test_the_highest_revision_counts_and_an_hour_without_a_certificate_is_missing(
    stored: Stored, tmp_path: Path
) -> None:
    certify(stored, ("holed", "holed", "holed", None))
    certify(stored, ("proved", "claimed", "proved", None), revision=2)
    export(PostgresSource(stored.url), tmp_path, "kraken", DAYS, now=LATER)
    ranges = [
        load.gaps("kraken", "BTC/USD", BEGIN, END, source=source, min_grade="consistent").to_pylist()
        for source in (stored.url, tmp_path)
    ]
    assert ranges[0] == ranges[1]
    assert [(one["started_at"], one["reason"]) for one in ranges[0]] == [
        (BEGIN + HOUR, "graded claimed, below consistent"),
        (BEGIN + 3 * HOUR, "no certificate, below consistent"),
    ]
    certify(stored, (None, "proved", None, None), revision=3)
    (done,) = export(PostgresSource(stored.url), tmp_path, "kraken", DAYS[:1], now=LATER)
    assert done.outcome == "written"
    assert load.trades("kraken", "BTC/USD", BEGIN, MIDNIGHT, source=tmp_path, min_grade="proved").num_rows


def test_a_gap_and_a_low_grade_together_hide_what_either_hides(stored: Stored) -> None:
    certify(stored, ("proved", "proved", "claimed", "proved"))
    stored.gap("kraken", "BTC/USD", 1)  # 10 s at the begin of the second hour
    bars = load.bars("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="mask", min_grade="consistent")
    hidden = pl.from_arrow(bars)
    assert isinstance(hidden, pl.DataFrame)
    of_gap = hidden.filter((pl.col("start") >= BEGIN + HOUR) & (pl.col("start") < BEGIN + 2 * HOUR))
    assert of_gap.filter(pl.col("in_gap"))["start"].to_list() == [BEGIN + HOUR]
    of_grade = hidden.filter((pl.col("start") >= MIDNIGHT) & (pl.col("start") < MIDNIGHT + HOUR))
    assert len(of_grade) > 50
    assert set(of_grade["coverage"]) == {0.0}
    assert hidden.filter(pl.col("in_gap")).height == of_grade.height + 1
    hour = f"{MIDNIGHT:%Y-%m-%d %H:%M} to {MIDNIGHT + HOUR:%Y-%m-%d %H:%M}"
    assert masked_of(bars) == [f"kraken BTC/USD trade {hour}: graded claimed, below consistent"]


def test_each_channel_has_certificates_of_its_own(stored: Stored) -> None:
    certify(stored, ("proved",) * 4)
    certify(stored, ("claimed",) * 4, "quote")
    span = BEGIN, END
    assert load.trades("kraken", "BTC/USD", *span, source=stored.url, min_grade="proved").num_rows
    assert load.quotes("kraken", "BTC/USD", *span, source=stored.url, min_grade="claimed").num_rows
    with pytest.raises(GapError, match="graded claimed, below proved"):
        load.quotes("kraken", "BTC/USD", *span, source=stored.url, min_grade="proved")
    with pytest.raises(GapError, match="no certificate"):
        load.books("kraken", "BTC/USD", *span, source=stored.url, min_grade="claimed")


def test_features_are_null_over_low_grades_and_their_manifest_names_them(stored: Stored, tmp_path: Path) -> None:
    for channel in ("trade", "quote", "book"):
        certify(stored, ("proved", "proved", "claimed", "proved"), channel)

    def table(least: grades.Grade | None) -> tuple[feature_tables.FeatureManifest, pa.Table]:
        recipe = feature_tables.Recipe(
            kind="bars", venue="kraken", symbol="BTC/USD", start=MIDNIGHT - HOUR, end=MIDNIGHT + HOUR, every_s=600,
            warmup_s=0, min_grade=least,
        )  # fmt: skip
        tape = feature_tables.tape_of(stored.url, recipe)
        path = tmp_path / "features.parquet"
        feature_tables.write(path, recipe, feature_tables.compute(tape, recipe.times), LATER, tape.masked)
        return feature_tables.read(path)

    (_, every), (manifest, graded) = table(None), table("consistent")
    assert manifest.recipe.min_grade == "consistent"
    assert [line.split(" ")[2] for line in manifest.masked] == ["trade", "quote", "book"]
    assert "graded claimed, below consistent" in manifest.masked[0]
    known = {name for name in manifest.columns if every[name].null_count < every.num_rows}
    before, after = slice(0, 6), slice(7, 12)
    assert "spread_bp" in known or len(known) > 10
    lost = 0
    for name in known:
        ours, theirs = graded[name].to_pylist(), every[name].to_pylist()
        assert ours[before] == theirs[before], name
        lost += all(value is None for value in ours[after]) and any(value is not None for value in theirs[after])
    assert lost > 10


def test_training_masks_what_the_venue_could_have_proved_better_and_its_papers_say_so(
    stored: Stored, tmp_path: Path
) -> None:
    certify(stored, ("proved", "proved", "claimed", "proved"))

    def rows_of(**given: Any) -> Dataset:
        asked: dict[str, Any] = {"timeframe": "1m", "horizon_bars": 2, "every_bars": 1, "source": stored.url}
        return direction.recorded("kraken", "BTC/USD", BEGIN, END, **asked, **given)

    rows, free = rows_of(), rows_of(min_grade=None)
    inside = (rows.start > to_ns(MIDNIGHT)) & (rows.start < to_ns(MIDNIGHT + HOUR))
    assert not inside.any()
    assert 100 < len(rows) < len(free) - 40
    assert free.masked == ()
    assert len(rows.masked) == 1
    assert rows.masked[0].endswith("graded claimed, below consistent")
    model = train(rows, no_holdout(rows), seed=1).model
    assert rows.masked[0] in model_card(model.metadata)
    assert rows.masked[0] in data_sheet(rows)
    assert ModelMetadata.of_json(model.metadata.json()).masked == rows.masked
    assert parts.read(parts.write(rows, tmp_path)).masked == rows.masked


@pytest.mark.parametrize(
    ("venue", "channel", "least"),
    [("kraken", "trade", "consistent"), ("binance", "trade", "consistent"), ("okx", "trade", "consistent"),
     ("coinbase_advanced", "trade", "consistent"), ("bitfinex", "trade", "consistent"), ("figure", "trade", "claimed"),
     ("polymarket", "trade", "claimed"), ("kraken", "quote", "claimed"), ("kraken", "book", "claimed"),
     ("sample", "trade", "claimed")],
)  # fmt: skip
def test_training_asks_for_what_a_venue_can_prove(venue: str, channel: Channel, least: str) -> None:
    assert grades.for_training(venue, channel) == least


def test_sample_data_are_not_graded_and_the_report_says_so() -> None:
    source = SampleSource(data_folder("market_history"))
    day = "2019-10-11T12:00", "2019-10-11T13:00"
    table = load.trades(VENUE, SYMBOL, *day, source=source, min_grade="proved")
    assert table.num_rows
    assert masked_of(table)[0].startswith(grades.NOT_GRADED)
    rows = direction.recorded(VENUE, SYMBOL, "2019-10-11T00:00", "2019-10-11T20:00", source=source)
    assert len(rows) > 50
    assert rows.masked == ("not graded: sample XRP/ETH trade has no certificates, so claimed was not required",)


def test_a_minimum_that_is_no_grade_is_refused(stored: Stored) -> None:
    for word in ("holed", "best"):
        with pytest.raises(InvalidRange, match="is no grade; use proved, witnessed"):
            load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore", min_grade=word)  # type: ignore[arg-type]


def test_the_grades_of_hours_make_a_map_with_the_unknown_ones(stored: Stored, tmp_path: Path) -> None:
    certify(stored, ("proved", "holed", None, "claimed"))
    export(PostgresSource(stored.url), tmp_path, "kraken", DAYS, now=LATER)
    for source in (stored.url, tmp_path):
        table = extent.grades_by_hour("kraken", ["BTC/USD", "ETH/USD"], BEGIN, END, source=source)
        assert table["grade"].to_pylist() == ["proved", "holed", None, "claimed", None, None, None, None]
        assert table["hour"].to_pylist() == [BEGIN + n * HOUR for n in range(4)] * 2
    drawn = completeness(table)
    axes = drawn.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["kraken BTC/USD", "kraken ETH/USD"]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["proved", "claimed", "holed", "no certificate"]
    hatched = [one for one in axes.collections if one.get_hatch() == "////"]
    assert sorted(len(one.get_paths()) for one in hatched) == [1, 4]
    assert drawn._repr_png_().startswith(b"\x89PNG")

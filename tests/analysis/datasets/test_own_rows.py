"""Frames of own features and labels: what is accepted, and what is refused."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.analysis.planted import planted

from analysis.arrays import HOUR
from analysis.datasets import Dataset, InvalidDataset
from analysis.datasets.direction import candles
from analysis.datasets.frame import BASE_RATE
from analysis.labels import Labels
from analysis.models import no_holdout, train
from recorder.errors import ConfigError

COUNT = 30
NAMES = [f"m{i}" for i in range(COUNT)]


def labels() -> Labels:
    """Return labels of an hour each."""
    start = np.arange(COUNT, dtype=np.int64) * HOUR
    return Labels(start, start + HOUR, (np.arange(COUNT) % 3 == 0).astype(np.float64))


def own(**changes: object) -> Dataset:
    """Return a frame of own rows."""
    given = {"market": np.full(COUNT, 0.4), "event": NAMES, "subject": NAMES} | changes
    return Dataset.of({"x": np.arange(COUNT)}, labels(), **given)  # type: ignore[arg-type]


def test_own_features_and_labels_train() -> None:
    rows = own()
    assert len(rows) == COUNT
    assert rows.weight.tolist() == [1.0] * COUNT
    assert train(rows, no_holdout(rows)).model.metadata.features.keys() == {"x"}
    assert own(market=None).baseline == BASE_RATE


def test_frames_of_polars_pandas_and_pyarrow_give_the_same_rows() -> None:
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    given = labels()
    frame = pl.DataFrame(
        {
            "start": [begin + timedelta(hours=i) for i in range(COUNT)],
            "end": [begin + timedelta(hours=i + 1) for i in range(COUNT)],
            "label": given.value,
        }
    ).with_columns(pl.col("start").dt.convert_time_zone("America/New_York"))
    features = pl.DataFrame({"x": [None, *range(1, COUNT)]})
    for convert in (lambda one: one, pl.DataFrame.to_pandas, pl.DataFrame.to_arrow):
        rows = Dataset.of(convert(features), convert(frame), market=[0.4] * COUNT, event=NAMES, subject=NAMES)
        assert (rows.start == given.start).all()
        assert (rows.end == given.end).all()
        assert np.isnan(rows.features["x"]).tolist() == [True] + [False] * (COUNT - 1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"market": np.full(COUNT, 37.0)}, "30 of 30 rows have a market outside 0 to 1"),
        ({"market": np.full(COUNT, np.nan)}, "30 of 30 rows have a market outside 0 to 1 or null"),
        ({"market": np.full(5, 0.5)}, "market has the shape"),
        ({"event": [None, *NAMES[1:]]}, "1 of 30 rows have no event"),
        ({"event": ["", *NAMES[1:]]}, "1 of 30 rows have no event"),
        ({"weight": np.zeros(COUNT)}, "30 of 30 rows have a weight that is not positive"),
        ({"market": ["a"] * COUNT}, "market does not hold numbers"),
    ],
)
def test_wrong_columns_are_refused_in_one_sentence(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidDataset, match=sentence):
        own(**changes)


def half(rows: Dataset) -> Dataset:
    return dataclasses.replace(rows, label=np.full(len(rows), 0.5))


def late(rows: Dataset) -> Dataset:
    return dataclasses.replace(rows, end=np.where(np.arange(len(rows)) < 3, rows.start, rows.end))


def twice(rows: Dataset) -> Dataset:
    return rows.take(np.arange(2 * len(rows)) % len(rows))


def split_outcome(rows: Dataset) -> Dataset:
    same = np.array(["m"] * len(rows))
    return dataclasses.replace(rows, subject=same, end=np.full(len(rows), rows.end.max()))


def infinite(rows: Dataset) -> Dataset:
    return dataclasses.replace(rows, features={**rows.features, "x0": np.full(len(rows), np.inf)})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (half, "label other than 0 and 1"),
        (late, "3 of 90 rows are decided at or after the end of their label"),
        (twice, "180 of 180 rows repeat the subject, decision time and horizon of another row"),
        (split_outcome, "rows of one subject and one label end belong to several events"),
        (infinite, "90 of 90 rows have an infinite x0"),
    ],
)
def test_rows_that_cannot_be_right_are_refused_however_they_arise(
    change: Callable[[Dataset], Dataset], sentence: str
) -> None:
    rows, _ = planted(1.0, n=90)
    with pytest.raises(InvalidDataset, match=sentence):
        change(rows)


def test_labels_without_a_zone_or_a_column_are_refused() -> None:
    naive = pl.DataFrame({"start": [datetime(2026, 1, 1)], "end": [datetime(2026, 1, 2)], "label": [1.0]})
    with pytest.raises(InvalidDataset, match=r"start holds .* without a time zone"):
        Dataset.of({"x": [1.0]}, naive, market=[0.5], event=["e"], subject=["m"])
    with pytest.raises(InvalidDataset, match="labels have no column end"):
        Dataset.of({"x": [1.0]}, naive.drop("end"), market=[0.5], event=["e"], subject=["m"])


def test_candles_keep_their_instants_and_refuse_what_is_ambiguous(tmp_path: Path) -> None:
    times = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=5 * i) for i in range(4)]
    prices = {name: [1.0, 2.0, 3.0, 4.0] for name in ("open", "high", "low", "close", "volume")}
    frame = pl.DataFrame({"symbol": ["A"] * 4, "date": times, **prices})
    path = tmp_path / "a.parquet"

    def read(one: pl.DataFrame) -> list[object]:
        one.write_parquet(path)
        return list(candles(path)["A"].start.tolist())

    new_york = pl.col("date").dt.convert_time_zone("America/New_York")
    assert read(frame.with_columns(new_york)) == read(frame)
    with pytest.raises(ConfigError, match="1 candles with the open time of another"):
        read(pl.concat([frame, frame.head(1)]))
    with pytest.raises(ConfigError, match="without a time zone"):
        read(frame.with_columns(pl.col("date").dt.replace_time_zone(None)))
    with pytest.raises(ConfigError, match="has no column volume; candles need"):
        read(frame.drop("volume"))

import dataclasses
import gzip
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.analysis.market_data import data_folder
from support.analysis.planted import RESOLVED, resolved

from analysis import datasets
from analysis.arrays import DAY, HOUR, MINUTE, SECOND
from analysis.datasets import Dataset, UnusableFeature, btc_range, direction
from analysis.datasets.files import table
from analysis.datasets.frame import once_each
from analysis.datasets.tables import QUOTED
from analysis.definition import definition_hash
from analysis.evaluation.scores import brier, log_loss
from recorder.errors import ConfigError

README = {
    "btc_range": {
        "24h": (537, 0.06267, 0.20821),
        "12h": (540, 0.05549, 0.17875),
        "4h": (540, 0.0499, 0.1675),
        "1h": (540, 0.02912, 0.09535),
        "15m": (504, 0.01984, 0.06792),  # 36 rows of each are decided after the market closed
        "5m": (504, 0.01006, 0.03579),
    },
    "mixed10m": {
        "168h": (38, 0.15764, 0.46808),
        "48h": (50, 0.10793, 0.33551),
        "24h": (61, 0.11147, 0.33742),
        "12h": (62, 0.10647, 0.31647),
        "4h": (63, 0.04027, 0.13776),
        "1h": (63, 0.01039, 0.03739),
    },
    "mixed24h": {
        "24h": (1392, 0.07133, 0.22785),
        "midlife": (1499, 0.08966, 0.28189),
        "earliest": (1499, 0.1171, 0.35818),
    },
    "long_horizon": {"<=30d": (261, 0.06067, 0.20615), ">30d": (436, 0.033, 0.1242)},
}
"""Set -> horizon -> rows, Brier score and log loss of the market, as the sets' own page gives them."""


@pytest.mark.parametrize("name", README)
def test_the_markets_own_scores_are_those_the_sets_page_gives_at_every_horizon(name: str) -> None:
    for horizon, (count, score, loss) in README[name].items():
        rows = resolved(name, horizon)
        assert len(rows) == count
        assert brier(rows.label, rows.market).mean() == pytest.approx(score, abs=6e-6)
        assert log_loss(rows.label, rows.market).mean() == pytest.approx(loss, abs=6e-6)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("mixed24h", "history_points"),
        ("mixed24h", "price_midlife"),
        ("mixed24h", "volume_total"),
        ("btc_range", "volume_total"),
        ("mixed10m", "hours_to_end"),
        ("mixed10m", "n"),
        ("long_horizon", "market_close"),
        ("long_horizon", "horizon_days"),
        ("btc_range", "outcome_yes"),
    ],
)
def test_columns_unknown_at_the_time_are_refused_by_name_with_the_reason(name: str, column: str) -> None:
    rows = resolved(name)
    first = next(iter(rows.features))
    with pytest.raises(UnusableFeature, match=rf"not usable as a feature of {name}: {column}: .{{10,}}"):
        rows.select([first, column])
    assert column not in rows.features


def test_an_undefined_feature_is_refused_with_the_names_that_exist() -> None:
    rows = resolved("mixed24h")
    with pytest.raises(UnusableFeature, match=r"has no feature luck; it has .*logit_price"):
        rows.select(["luck"])


def test_a_missing_set_file_or_horizon_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no set 'nothing'; use btc_range"):
        datasets.load("nothing", tmp_path)
    with pytest.raises(ConfigError, match=r"btc_range_markets.csv.gz is missing; name the folder"):
        datasets.load("btc_range", tmp_path)
    with pytest.raises(ConfigError, match="has no horizon '3h'; it has 12h, 168h"):
        datasets.load("mixed10m", data_folder(RESOLVED), "3h")


def assert_same_at(whole: Dataset, cut: Dataset, until: int) -> int:
    """Require that rows decided until then are equal to the bit in both, and return their number."""
    left, right = (rows.take(rows.start <= until) for rows in (whole, cut))
    assert left.subject.tolist() == right.subject.tolist()
    assert (left.market == right.market).all()
    for name in whole.features:
        assert np.array_equal(left.features[name], right.features[name], equal_nan=True), name
    return len(left)


def _cut_series(source: Path, target: Path, at: int) -> None:
    instant = pl.lit(at // 1_000_000).cast(pl.Datetime("ms", "UTC"))
    pl.read_parquet(source).filter(pl.col("timestamp") <= instant).write_parquet(target)


def test_features_of_range_markets_are_unchanged_when_all_that_came_later_is_removed(tmp_path: Path) -> None:
    folder = data_folder(RESOLVED)
    whole = resolved("btc_range")
    at = int(np.sort(whole.start)[len(whole) // 2])  # between two full hours for some rows, on one for others
    markets = table(folder / "btc_range_markets.csv.gz").with_columns(pl.lit("").alias("volume_total"))
    (tmp_path / "btc_range_markets.csv.gz").write_bytes(gzip.compress(markets.write_csv().encode()))
    _cut_series(folder / "btc_range_prices_1m.parquet", tmp_path / "btc_range_prices_1m.parquet", at)
    candles = table(folder / "btcusdt_1h_context.csv.gz")
    opened = candles["timestamp"].str.to_datetime(time_unit="ns", time_zone="UTC").dt.epoch("ns").to_numpy()
    known = candles.filter(pl.Series(opened + HOUR <= at))
    assert 0 < len(known) < len(candles)
    (tmp_path / "btcusdt_1h_context.csv.gz").write_bytes(gzip.compress(known.write_csv().encode()))
    assert assert_same_at(whole, datasets.load("btc_range", tmp_path), at) > 1000


def test_features_of_mixed_markets_are_unchanged_when_all_that_came_later_is_removed(tmp_path: Path) -> None:
    folder = data_folder(RESOLVED)
    whole = resolved("mixed10m")
    at = int(np.sort(whole.start)[len(whole) // 2])
    (tmp_path / "mixed10m_markets.csv.gz").write_bytes((folder / "mixed10m_markets.csv.gz").read_bytes())
    _cut_series(folder / "mixed10m_prices.parquet", tmp_path / "mixed10m_prices.parquet", at)
    assert assert_same_at(whole, datasets.load("mixed10m", tmp_path), at) > 100


def test_an_hourly_candle_is_known_only_when_its_hour_is_over() -> None:
    opened = np.arange(200, dtype=np.int64) * HOUR
    spot = btc_range.Spot(opened + HOUR, np.arange(200).astype(np.float64) + 1.0)
    assert spot.upto(10 * HOUR)[-1] == 10.0  # the candle opened at 9 h
    assert spot.upto(10 * HOUR - 1)[-1] == 9.0
    assert spot.upto(10 * HOUR + 59 * MINUTE)[-1] == 10.0


def test_the_place_of_a_band_against_the_spot_is_that_of_the_formulas() -> None:
    closes = 100.0 * np.exp(np.cumsum(np.tile([0.01, -0.01], 100)))
    band = btc_range.Band(99.0, 101.0, 4 * HOUR, 0, 0.3, closes)
    ahead = 0.01 * 2.0  # the rms of the hourly returns, over four hours
    low, high = (np.log(level / closes[-1]) / ahead for level in (99.0, 101.0))
    assert btc_range.to_low(band) == pytest.approx(low)
    assert btc_range.to_high(band) == pytest.approx(high)
    assert btc_range.spot_vol_ratio(band) == pytest.approx(1.0)
    from math import erf, sqrt

    walk = (erf(high / sqrt(2)) - erf(low / sqrt(2))) / 2
    assert btc_range.walk_minus_price(band) == pytest.approx(walk - 0.3)
    assert np.isnan(btc_range.to_low(dataclasses.replace(band, closes=closes[:100])))


def test_a_market_counts_once_however_many_rows_it_has() -> None:
    rows = resolved("btc_range")
    sums = {str(s): rows.weight[rows.subject == s].sum() for s in np.unique(rows.subject)[:50]}
    assert np.allclose(list(sums.values()), len(rows) / len(np.unique(rows.subject)))
    assert once_each(np.array(["a", "a", "b"])).tolist() == [0.75, 0.75, 1.5]


def test_all_markets_of_an_event_are_one_event_of_the_split() -> None:
    rows = resolved("btc_range")
    assert rows.spans.event is not None
    assert len(np.unique(rows.event)) == len(np.unique(rows.spans.event)) == 60
    assert (rows.end > rows.start).all()


def test_direction_rows_are_decided_after_their_bar_and_answered_after_the_delay() -> None:
    rows = datasets.load("crypto_5m", data_folder("market_history"))
    assert set(np.unique(rows.end - rows.start)) == {(12 + 1) * 5 * MINUTE}  # an hour, after one bar of delay
    assert set(rows.start % (5 * MINUTE)) == {2 * SECOND}
    assert (rows.market == 0.5).all()
    assert rows.event.tolist() == [str(np.datetime64(int(t) // DAY, "D")) for t in rows.start]


def test_direction_rows_do_not_see_later_candles(tmp_path: Path) -> None:
    source = data_folder("market_history") / "crypto_5m_ohlcv.parquet"
    candles = pl.read_parquet(source)
    at = candles["date"].sort()[len(candles) // 2]
    path = tmp_path / source.name
    candles.filter(pl.col("date") < at).write_parquet(path)
    series = direction.candles(path)
    until = int(next(iter(series.values())).end[-1]) - 70 * MINUTE  # later rows of the cut file have no label
    assert assert_same_at(datasets.load("crypto_5m", source.parent), datasets.load("crypto_5m", tmp_path), until) > 2000


def test_the_hash_of_a_feature_changes_with_its_computation_and_not_with_its_layout() -> None:
    space: dict[str, object] = {}
    hashes = []
    for number, body in enumerate(["return x + 1", "return x + 1  # the same", "return x + 2"]):
        path = Path(__file__).with_name(f"_never_written_{number}.py")
        text = f"def feature(x: float) -> float:\n    {body}\n"
        import linecache

        linecache.cache[str(path)] = (len(text), None, text.splitlines(keepends=True), str(path))
        exec(compile(text, str(path), "exec"), space)
        hashes.append(definition_hash(space["feature"]))  # type: ignore[arg-type]
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_hash_of_a_feature_changes_with_what_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.datasets import tables

    before = definition_hash(QUOTED["logit_price"].compute)
    untouched = definition_hash(QUOTED["dist_from_half"].compute)
    monkeypatch.setattr(tables, "_logit", btc_range.to_low)
    assert definition_hash(QUOTED["logit_price"].compute) != before
    assert definition_hash(QUOTED["dist_from_half"].compute) == untouched
    assert re.fullmatch("[0-9a-f]{64}", before)

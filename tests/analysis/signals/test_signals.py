"""Forecasts of a number find a planted order, claim none without one, and are judged out of sample."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.arrays import HOUR, Gaps
from analysis.datasets import InvalidDataset
from analysis.labels import Labels
from analysis.labels import Path as Price
from analysis.signals import Targets, walk_forward, write_report
from analysis.signals.scores import correlation, turnover
from analysis.signals.walk import Objective
from recorder.errors import ConfigError


def planted(strength: float, subjects: int = 8, times: int = 240, seed: int = 0) -> Targets:
    """Return rows whose value is strength x the feature "a" plus noise; "twin" is nearly the same feature."""
    rng = np.random.default_rng(seed)
    count = subjects * times
    start = np.repeat(np.arange(times, dtype=np.int64) * HOUR, subjects)
    x = rng.normal(size=(count, 3))
    value = 0.01 * (strength * x[:, 0] + rng.normal(size=count))
    table = {"a": x[:, 0], "twin": x[:, 0] + 0.1 * rng.normal(size=count), "b": x[:, 1], "c": x[:, 2]}
    names = np.tile([f"s{j}" for j in range(subjects)], times)
    return Targets.of(table, Labels(start, start + HOUR, value), event=(start // (6 * HOUR)).astype(str), subject=names)


@pytest.mark.parametrize("objective", ["regression", "ranking"])
def test_a_planted_order_is_found_and_its_cluster_named(objective: Objective, tmp_path: Path) -> None:
    found = walk_forward(planted(0.5), 3, objective=objective)
    assert found.verdict.startswith("order shown: rank IC across subjects")
    assert found.rank_ic.value == pytest.approx(0.42, abs=0.08)  # 0.447 is there
    assert set(found.clusters[0].features) == {"a", "twin"}
    assert found.clusters[0].lost.low > 0
    write_report(found, tmp_path)
    assert json.loads((tmp_path / "signals.json").read_text())["verdict"] == found.verdict
    assert "| a, twin |" in (tmp_path / "signals.md").read_text()


def test_without_an_order_none_is_claimed() -> None:
    for seed in range(2):
        assert walk_forward(planted(0.0, times=120, seed=seed), 3).verdict.startswith("no order shown")


def test_each_forecast_is_of_a_row_after_everything_its_model_saw() -> None:
    rows = planted(0.5, times=120)
    found = walk_forward(rows, 3, seed=1)
    later = rows.start >= found.retrainings[-1].first_decision_ns
    changed = Targets(**{**vars(rows), "value": np.where(later, -rows.value, rows.value)})
    again = walk_forward(changed, 3, seed=1)
    np.testing.assert_array_equal(again.forecast, found.forecast)


def test_a_ranking_of_one_subject_is_refused() -> None:
    with pytest.raises(ConfigError, match="use a regression"):
        walk_forward(planted(0.5, subjects=1), 3, objective="ranking")


def test_values_that_are_unknown_are_refused() -> None:
    start = np.arange(3, dtype=np.int64) * HOUR
    answers = Labels(start, start + HOUR, np.array([0.0, np.nan, 1.0]))
    with pytest.raises(InvalidDataset, match="1 of 3 rows have no finite value"):
        Targets.of({"x": np.zeros(3)}, answers, event=["a", "b", "c"], subject="s")


def test_the_order_decays_where_returns_do_not_last() -> None:
    rng = np.random.default_rng(3)
    times = 1200
    step = 0.01 * rng.normal(size=times)
    at = np.arange(times + 1, dtype=np.int64) * HOUR
    price = Price(at, np.exp(np.concatenate([[0.0], np.cumsum(step)])), int(at[-1]), Gaps.empty())
    start = at[:-1]
    table = {"hint": step + 0.01 * rng.normal(size=times)}
    rows = Targets.of(table, Labels(start, start + HOUR, step), event=(start // (6 * HOUR)).astype(str), subject="s")
    near, far = walk_forward(rows, 3).decay(price, [HOUR, 12 * HOUR], 0)
    assert near.rank_ic.low > 0.3
    assert 0 < far.rank_ic.value < near.rank_ic.value / 2


def test_a_book_that_stays_trades_nothing_and_a_reversed_one_everything() -> None:
    start = np.repeat(np.arange(4, dtype=np.int64), 2)
    names = np.tile(["a", "b"], 4)
    assert turnover(np.tile([1.0, -1.0], 4), start, names, across=False) == 0.0
    assert turnover(np.array([1, -1, -1, 1] * 2, float), start, names, across=False) == 2.0


@pytest.mark.parametrize("across", [True, False])
def test_an_order_is_claimed_of_noise_hardly_more_often_than_its_level(across: bool) -> None:
    shown = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        when = np.repeat(np.arange(160), 6) if across else np.arange(960)
        event = (when // (8 if across else 48)).astype(str)
        group = when if across else when * 3 // 960
        a, b = rng.normal(size=(2, 960))
        shown += correlation(a, b, event, group, across=across, rank=True).shown
    assert shown <= 5  # 1.5 are expected; more than 5 in 60 draws has a chance of 0.4 %


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=12, max_size=40))
def test_a_monotonic_change_of_forecasts_leaves_the_rank_ic(values: list[float]) -> None:
    forecast = np.round(np.array(values), 3)
    rng = np.random.default_rng(1)
    value = rng.normal(size=len(forecast))
    same = np.zeros(len(forecast), np.int64)
    event = np.arange(len(forecast)).astype(str)
    one = correlation(forecast, value, event, same, across=False, rank=True).value
    other = correlation(3 * forecast + 1, value, event, same, across=False, rank=True).value
    np.testing.assert_allclose(one, other, atol=1e-12)

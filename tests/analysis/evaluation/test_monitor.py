"""Monitoring detects drift, and a shadow differs from the model it follows."""

import numpy as np
import pytest
from support.analysis.planted import planted

from analysis.arrays import DAY
from analysis.evaluation import monitor
from analysis.models import train
from analysis.splits import time_ordered


def test_weeks_begin_on_monday() -> None:
    days = np.array(["2026-03-01", "2026-03-02", "2026-03-08", "1969-12-31"], "datetime64[ns]").astype(np.int64)
    assert monitor.weeks(days + DAY - 1).tolist() == ["2026-02-23", "2026-03-02", "2026-03-02", "1969-12-29"]


def test_the_index_is_small_for_the_same_world_and_large_for_another() -> None:
    rng = np.random.default_rng(5)
    reference = rng.normal(size=5000)
    assert monitor.stability(reference, reference) == 0.0
    assert monitor.stability(reference, rng.normal(size=5000)) < 0.01
    assert monitor.stability(reference, rng.normal(1.0, 1.0, 5000)) > 0.5


def test_the_index_is_that_of_its_formula() -> None:
    reference, current = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    assert monitor.stability(reference, current, bins=2) == pytest.approx(
        (0.25 - 0.5) * np.log(0.25 / 0.5) + (0.75 - 0.5) * np.log(0.75 / 0.5)
    )


def test_a_feature_that_is_no_longer_known_has_drifted() -> None:
    values = np.arange(100.0)
    gone = np.where(np.arange(100) < 50, np.nan, values)
    assert monitor.stability(values, gone) > 1.0
    assert monitor.stability(np.full(10, np.nan), np.full(10, np.nan)) == 0.0
    assert np.isnan(monitor.stability(values, np.zeros(0)))


def test_periods_compare_forecasts_with_outcomes() -> None:
    rows, _ = planted(0.0, 400, seed=1)
    period = np.where(np.arange(len(rows)) < 100, "first", "second")
    first, second = monitor.over_time(rows, rows.market, period)
    assert (first.rows, second.rows) == (100, len(rows) - 100)
    assert first.outcome == pytest.approx(np.average(rows.label[:100], weights=rows.weight[:100]))
    assert first.log_loss == first.baseline_log_loss
    assert first.skill.value == 0.0
    table = monitor.table([first, second]).to_pylist()
    assert [row["name"] for row in table] == ["first", "second"]


def test_a_shadow_moves_where_its_model_stays() -> None:
    rows, _ = planted(0.0, 400, seed=2)
    found = time_ordered(rows.spans, 0.3)
    model = train(rows, found, seed=1).model
    shadow = monitor.shadow(model, rows, found.train, rounds=5)
    later = rows.take(found.test)
    assert np.array_equal(model.predict(later), later.market)
    assert np.abs(shadow.predict(later) - later.market).max() > 0.001
    assert (shadow.metadata.name, shadow.metadata.rounds, shadow.metadata.shrinkage) == (
        f"{model.metadata.name}-shadow",
        5,
        1.0,
    )

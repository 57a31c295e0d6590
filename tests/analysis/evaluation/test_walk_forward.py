"""A walk-forward trains on what was known, forecasts what came next, and is judged once."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.analysis.planted import planted

from analysis.datasets.frame import BASE_RATE
from analysis.evaluation import walk_forward, write_report
from analysis.evaluation.importance import clusters
from analysis.models import Params
from recorder.errors import ConfigError

QUICK = Params(eta=0.15, rounds=60, patience=10)


def test_a_planted_signal_is_found_out_of_sample_in_one_report(tmp_path: Path) -> None:
    rows, _ = planted(1.0, n=1500)
    found = walk_forward(rows, 3, params=QUICK)
    assert found.verdict.startswith("skill shown against the market price")
    assert found.evaluation.clusters[0].features == ("x0",)
    assert found.evaluation.clusters[0].increase.low > 0
    assert [fold.test_rows for fold in found.evaluation.folds] == np.bincount(found.fold).tolist()
    page = write_report(found.evaluation, tmp_path).read_text()
    assert "<h2>Walk-forward</h2>" in page
    assert "Clusters of correlated features" in page


def test_no_model_has_seen_anything_of_the_rows_it_forecasts() -> None:
    rows, _ = planted(1.0, n=700)
    found = walk_forward(rows, 3, params=QUICK)
    for number, model in enumerate(found.models):
        part = found.rows.take(found.fold == number)
        assert model.metadata.last_label_ns < part.start.min()
        assert not np.isin(part.event, model.metadata.events).any()
    last = rows.start >= found.evaluation.folds[-1].first_decision_ns
    other = dataclasses.replace(rows, label=np.where(last, 1 - rows.label, rows.label))
    np.testing.assert_array_equal(walk_forward(other, 3, params=QUICK).probability, found.probability)


def test_without_a_signal_no_skill_is_claimed_and_most_walks_equal_the_baseline() -> None:
    walks = [walk_forward(planted(0.0, n=600, seed=seed)[0], 3, params=QUICK) for seed in range(4)]
    assert not [found.verdict for found in walks if found.verdict.startswith("skill shown")]
    equal = [found for found in walks if (found.probability == found.rows.market).all()]
    assert len(equal) >= 2, "a model differs from the baseline by chance in a few of a hundred trainings"
    assert {found.verdict for found in equal} == {"no skill shown against the market price: each of 3 models equals it"}


def test_each_model_has_the_base_rate_of_its_own_training_rows() -> None:
    rows, _ = planted(0.0, n=600, spread=0.0)
    found = walk_forward(dataclasses.replace(rows, baseline=BASE_RATE, market=np.full(600, 0.5)), 3, params=QUICK)
    assert len(np.unique(found.rows.market)) == 3


def test_too_few_rows_are_refused_with_what_to_do() -> None:
    rows, _ = planted(0.0, n=30)
    with pytest.raises(ConfigError, match="give fewer folds"):
        walk_forward(rows, 40)


def test_correlated_features_form_one_cluster() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 400))
    matrix = np.column_stack([a, b, a + 0.2 * rng.normal(size=400), -a])
    matrix[:50, 1] = np.nan
    assert clusters(matrix) == [[0, 2, 3], [1]]

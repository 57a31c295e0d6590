import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from support.analysis.planted import planted, resolved

from analysis import datasets
from analysis.datasets import Dataset
from analysis.evaluation import evaluate
from analysis.evaluation.scores import auc, auc_error, brier, log_loss
from analysis.models import Budget, Model, Params, no_holdout, train
from analysis.models.acceptance import (
    LINE_LEVEL,
    TREES_LEVEL,
    Calibration,
    Grouping,
    encompassing_test,
    fit_calibration,
    recalibrate,
)
from analysis.models.boost import Keys, LocalEngine, expit, logit
from analysis.models.fit import fit_line
from analysis.splits import LeakError, Spans, Split, require_purged, time_ordered

ALLOWED = 0.002


def horizons_of(name: str) -> list[str | None]:
    found: list[str | None] = [None]
    sets: dict[str, list[str | None]] = {
        "btc_range": ["24h", "12h", "4h", "1h", "15m", "5m"],
        "mixed10m": ["168h", "48h", "24h", "12h", "4h", "1h"],
        "mixed24h": ["midlife", "earliest"],
        "long_horizon": ["<=30d", ">30d"],
    }
    return found + sets[name]


@pytest.mark.parametrize("name", datasets.RESOLVED)
def test_on_later_rows_no_set_is_forecast_worse_than_by_its_market(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for horizon in horizons_of(name):
        rows = resolved(name, horizon)
        for fraction in (0.3, 0.5) if horizon is None else (0.3,):
            split = time_ordered(rows.spans, fraction)
            model = train(rows, split, seed=1).model
            test = rows.take(split.test)
            p, y, w = model.predict(test), test.label, test.weight
            worse = {
                what: float(np.average(score(y, p) - score(y, test.market), weights=w))
                for what, score in (("Brier", brier), ("log loss", log_loss))
            }
            with capsys.disabled():
                print(
                    f"\n{name} {horizon or 'all'}: {len(split.train)} rows train, {len(test)} test, "
                    f"{model.metadata.rounds} trees (z {model.metadata.trees_test.z:+.2f}); market Brier "
                    f"{np.average(brier(y, test.market), weights=w):.5f} {worse['Brier']:+.5f}, log loss "
                    f"{np.average(log_loss(y, test.market), weights=w):.5f} {worse['log loss']:+.5f}",
                    end="",
                )
            assert worse["Brier"] <= ALLOWED
            assert worse["log loss"] <= ALLOWED
            assert worse["Brier"] > -0.02, "so large a gain on these sets is more likely a leak; find it"


@pytest.mark.parametrize("name", ["mixed24h", "btc_range"])
def test_with_shuffled_labels_the_trees_predict_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = resolved(name)
    distances = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        shuffled = dataclasses.replace(
            rows, label=rng.permutation(rows.label), market=np.full(len(rows), rows.label.mean())
        )
        split = time_ordered(shuffled.spans, 0.3)
        engine = LocalEngine.of(shuffled)
        booster, _ = engine.boost(split.train, None, Params(rounds=60), 60, seed, (1.0, 1.0), logit(shuffled.market))
        correction, label = engine.corrections(booster, split.test), shuffled.label[split.test]
        assert len(np.unique(correction)) > 20, "the trees must have tried"
        distances.append((auc(label, correction, np.ones(len(correction))) - 0.5) / auc_error(label, 0.5))
    mean = float(np.mean(distances))
    with capsys.disabled():
        print(f"\n{name}: AUC of shuffled labels {mean:+.2f} standard errors from 0.5, mean of 8", end="")
    assert abs(mean) < 2 / np.sqrt(8)  # the mean of eight, in standard errors of one


@pytest.mark.parametrize(("strength", "spread"), [(1.0, 1.5), (0.6, 1.5), (1.0, 0.0)])
def test_a_planted_signal_is_found_at_its_strength(
    strength: float, spread: float, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, true = planted(strength, spread=spread)
    split = time_ordered(rows.spans, 0.3)
    trained = train(rows, split, seed=1)
    test, best = rows.take(split.test), true[split.test]
    found = evaluate(trained.model, test)
    known_auc, known_loss = auc(test.label, best, test.weight), float(log_loss(test.label, best).mean())
    there = found.all_rows.baseline.log_loss - known_loss
    with capsys.disabled():
        print(
            f"\nstrength {strength}: AUC {found.all_rows.model.auc:.4f} of {known_auc:.4f}, log loss saved "
            f"{found.all_rows.log_loss_skill.value:.4f} of {there:.4f}",
            end="",
        )
    assert found.all_rows.verdict == "skill shown"
    assert found.all_rows.model.auc == pytest.approx(known_auc, abs=0.01)
    assert 0.8 * there < found.all_rows.log_loss_skill.value < 1.1 * there
    assert found.importance[0].feature == "x0"
    assert found.importance[0].permutation > 5 * found.importance[1].permutation


@pytest.mark.parametrize("seed", range(6))
def test_without_a_signal_the_model_is_the_market_to_the_bit(seed: int) -> None:
    rows, _ = planted(0.0, n=1500, seed=seed)
    split = time_ordered(rows.spans, 0.3)
    model = train(rows, split, seed=seed).model
    assert model.metadata.rounds == 0
    assert (model.predict(rows) == rows.market).all()


def overconfident(rows: Dataset, slope: float) -> Dataset:
    """Return the rows with a market whose log odds are too large by a factor."""
    return dataclasses.replace(rows, market=expit(slope * logit(rows.market)))


def test_an_overconfident_baseline_is_calibrated_and_a_right_one_is_left_alone() -> None:
    rows, _ = planted(0.0, n=3000)
    split = time_ordered(rows.spans, 0.3)
    wrong = overconfident(rows, 2.0)
    model = train(wrong, split).model
    test = wrong.take(split.test)
    assert model.metadata.calibration.slope == pytest.approx(0.5, abs=0.08)
    before, after = (log_loss(test.label, p).mean() for p in (test.market, model.predict(test)))
    assert after < before - 0.02
    assert train(rows, split).model.metadata.calibration == Calibration()


def test_a_line_through_log_odds_is_recovered() -> None:
    rng = np.random.default_rng(1)
    margin = rng.normal(0.0, 2.0, 20_000)
    label = (rng.random(len(margin)) < expit(0.4 + 0.7 * margin)).astype(np.float64)
    line = fit_calibration(label, margin, np.ones(len(margin)))
    assert line.intercept == pytest.approx(0.4, abs=0.06)
    assert line.slope == pytest.approx(0.7, abs=0.03)


def apart(n: int) -> Grouping:
    """Return n rows of which each is its own event."""
    return Grouping(np.arange(n), np.arange(n), np.arange(n))


def test_sharpening_that_paid_in_a_quiet_time_is_rejected() -> None:
    """Two hundred markets at 2 % all resolved to no, so a forecast of 0.5 % would have gained on every one."""
    margin = logit(np.array([0.02, 0.021]))[np.arange(200) % 2]
    label, ones = np.zeros(200), np.ones(200)
    line, test = recalibrate(label, margin, ones, apart(200))
    assert line == Calibration()
    assert not test.accepted
    assert not encompassing_test(label, margin, -1.5 - 0.1 * np.sin(np.arange(200)), ones, apart(200)).accepted


def test_the_burden_of_proof_of_the_trees_grows_with_the_number_of_tries() -> None:
    label, ones = np.zeros(100), np.ones(100)
    once, often = (encompassing_test(label, ones, ones, ones, apart(100), tries).required_z for tries in (1, 50))
    assert once == pytest.approx(1.96, abs=0.001)
    assert often > 3.2
    assert pytest.approx(0.025) == TREES_LEVEL


def test_markets_at_several_horizons_prove_no_more_than_once() -> None:
    """Six rows of a market with one price share one error, so the score test must not count them six times."""
    rng = np.random.default_rng(3)
    margin = rng.normal(0.0, 1.5, 300)
    label = (rng.random(300) < expit(1.4 * margin)).astype(np.float64)
    _, once = recalibrate(label, margin, np.ones(300), apart(300))
    six = np.repeat(np.arange(300), 6)
    _, often = recalibrate(label[six], margin[six], np.ones(1800), Grouping(six, six, six))
    assert often.z == pytest.approx(once.z, abs=0.01)


def test_a_seasons_miscalibration_that_turned_is_not_carried_on() -> None:
    rng = np.random.default_rng(1)
    margin = rng.normal(0.0, 2.0, 2000)
    slope = np.where(np.arange(2000) < 1780, 1.6, 0.25)
    label = (rng.random(2000) < expit(slope * margin)).astype(np.float64)
    early, _ = recalibrate(label[:1500], margin[:1500], np.ones(1500), apart(1500))
    assert early.slope == pytest.approx(1.6, abs=0.2)
    _, test = recalibrate(label, margin, np.ones(2000), apart(2000))
    assert test.z > test.required_z
    assert test.gain < 0
    assert not test.accepted


def favourite(name: str, slope: float, seed: int) -> Dataset:
    """Return a set whose labels are drawn with the log odds of its prices times a slope."""
    rows = resolved(name)
    label = np.random.default_rng(seed).random(len(rows)) < expit(slope * logit(rows.market))
    return dataclasses.replace(rows, label=label.astype(np.float64))


def lines_found(name: str, slope: float, seeds: range) -> int:
    """Return in how many draws the recalibration is accepted."""
    found = 0
    for seed in seeds:
        rows = favourite(name, slope, seed)
        _, test = fit_line(Keys.of(rows), rows.spans, np.arange(len(rows)), constant=False)
        found += test.accepted
    return found


@pytest.mark.parametrize(("name", "slope", "least", "most"), [("mixed24h", 1.0, 0, 3), ("mixed24h", 1.5, 18, 20)])
def test_a_planted_slope_of_the_prices_is_found_and_an_absent_one_is_not(
    name: str, slope: float, least: int, most: int
) -> None:
    assert least <= lines_found(name, slope, range(20)) <= most


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "slope", "least", "most"),
    [
        ("mixed24h", 1.0, 0.0, 0.05),
        ("long_horizon", 1.0, 0.0, 0.05),
        ("mixed24h", 1.3, 0.8, 1.0),
        ("long_horizon", 1.5, 0.9, 1.0),
    ],
)
def test_the_recalibration_keeps_its_size_and_its_power(
    name: str, slope: float, least: float, most: float, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = range(2000, 2400)
    found = lines_found(name, slope, seeds)
    with capsys.disabled():
        print(
            f"\n{name}, slope {slope}: {found} of {len(seeds)} found, seeds {seeds.start} to {seeds.stop - 1}", end=""
        )
    assert least <= found / len(seeds) <= most


def test_a_search_does_not_change_the_recalibration() -> None:
    rows = favourite("mixed24h", 1.5, 3)
    plain, searched = (train(rows, no_holdout(rows), budget=budget).model.metadata for budget in (None, Budget(2)))
    assert plain.calibration_test == searched.calibration_test
    assert plain.calibration == searched.calibration != Calibration()
    assert plain.calibration_test.required_z == pytest.approx(1.96, abs=0.001)
    assert pytest.approx(0.05) == LINE_LEVEL


def test_trees_that_never_saw_rows_out_of_fold_are_not_tested_rather_than_rejected() -> None:
    rows, _ = planted(1.0, n=45)
    metadata = train(rows, no_holdout(rows)).model.metadata
    assert metadata.trees_test.outcome.startswith("not tested: ")
    assert "rows of" in metadata.trees_test.outcome
    large, _ = planted(0.0, n=1500)
    assert train(large, no_holdout(large)).model.metadata.trees_test.outcome.startswith("rejected (z ")


def test_every_row_of_unrelated_questions_is_tested_out_of_fold() -> None:
    for name in ("mixed10m", "mixed24h", "long_horizon"):
        rows = resolved(name)
        trained = train(rows, no_holdout(rows), params=Params(rounds=5))
        assert trained.model.metadata.scheme == "grouped by event"
        assert len(trained.fit.out_of_fold.rows) == len(rows)


def test_prices_that_contradict_the_outcomes_are_noticed() -> None:
    rows = resolved("mixed10m")
    subjects, index = np.unique(rows.subject, return_inverse=True)
    label = (np.random.default_rng(1).random(len(subjects))[index] < 1 - rows.market).astype(np.float64)
    wrong = dataclasses.replace(rows, label=label)
    assert not train(wrong, no_holdout(wrong), params=Params(rounds=5)).model.is_baseline


def shifted(rows: Dataset) -> Split:
    """Train on every other row, so that neighbours belong to the same events and times."""
    positions = np.arange(len(rows))
    return Split(positions[::2], positions[1::2])


def same_event(rows: Dataset) -> Split:
    """Split by time, but through an event."""
    cut = len(rows) // 2 + 1
    return Split(np.arange(cut), np.arange(cut, len(rows)))


@pytest.mark.parametrize("leaky", [shifted, same_event])
def test_training_refuses_a_split_that_leaks(leaky: Callable[[Dataset], Split]) -> None:
    rows, _ = planted(1.0, n=600)
    with pytest.raises(LeakError, match=r"\d+ of \d+ training rows overlap the test rows in time or share an event"):
        train(rows, leaky(rows))


def test_training_refuses_what_an_embargo_forbids() -> None:
    rows, _ = planted(1.0, n=600)
    backwards = Split(time_ordered(rows.spans, 0.5).test, np.arange(100))
    start = int(rows.start[backwards.train].min())
    gap = start - int(rows.end[backwards.test].max())
    require_purged(rows.spans, backwards, gap - 1)
    with pytest.raises(LeakError):
        train(rows, backwards, embargo_ns=gap + 1)


def test_time_ordered_trains_on_what_was_known_before_the_first_test_decision() -> None:
    start = np.array([0, 10, 20, 30, 40, 50], np.int64)
    spans = Spans(start, start + 15, np.array([0, 1, 2, 3, 4, 0]))
    split = time_ordered(spans, 0.34)
    assert split.test.tolist() == [3, 4, 5]
    assert split.train.tolist() == [1]  # row 0 shares an event with row 5, row 2 ends after 30
    assert time_ordered(spans, 0.34, embargo_ns=5).train.tolist() == []


def test_the_same_seed_gives_the_same_trees_and_another_gives_others() -> None:
    rows, _ = planted(1.0, n=1500)
    split = time_ordered(rows.spans, 0.3)
    trees = [train(rows, split, seed=seed).model.booster.save_raw("ubj") for seed in (1, 1, 2)]
    assert trees[0] == trees[1] != trees[2]


def rare(n: int) -> Dataset:
    """Return planted rows with few positive labels."""
    rows, _ = planted(1.0, n=n, spread=0.5)
    shift = expit(logit(rows.market) - 2.5)
    rng = np.random.default_rng(5)
    label = (rng.random(n) < expit(logit(shift) + rows.features["x0"])).astype(np.float64)
    return dataclasses.replace(rows, market=shift, label=label)


def test_balanced_classes_leave_the_forecast_a_probability() -> None:
    rows = rare(6000)
    split = time_ordered(rows.spans, 0.3)
    test = rows.take(split.test)
    model = train(rows, split, params=Params(balanced=True)).model
    assert model.metadata.rounds > 0
    assert model.predict(test).mean() == pytest.approx(test.label.mean(), abs=0.015)
    low, high = Keys.of(rows).class_weights(split.train, True)
    ones = rows.label[split.train].mean()
    assert ones * high == pytest.approx((1 - ones) * low)


def test_a_search_keeps_to_its_budget_and_raises_the_burden_of_proof() -> None:
    rows, _ = planted(1.0, n=900)
    split = time_ordered(rows.spans, 0.3)
    metadata = train(rows, split, budget=Budget(3)).model.metadata
    assert metadata.n_trials == 3
    assert metadata.trees_test.required_z > train(rows, split).model.metadata.trees_test.required_z
    assert train(rows, split, budget=Budget(1000, seconds=0.5)).model.metadata.n_trials < 100


def test_a_model_of_all_rows_knows_all_events_and_times() -> None:
    rows, _ = planted(1.0, n=600)
    metadata = train(rows, no_holdout(rows)).model.metadata
    assert metadata.rows == 600
    assert metadata.last_label_ns == rows.end.max()
    assert set(metadata.events) == set(rows.event.tolist())


def contributions_of(model: Model, rows: Dataset) -> np.ndarray:
    return np.asarray(model.contributions(rows).sum(axis=1))


def test_contributions_of_the_features_add_up_to_the_models_move() -> None:
    rows, _ = planted(1.0, n=3000)
    model = train(rows, time_ordered(rows.spans, 0.3)).model
    move = logit(model.predict(rows)) - model.metadata.calibration(logit(rows.market))
    left = move - contributions_of(model, rows)  # what all rows have in common
    assert np.ptp(left) < 1e-4

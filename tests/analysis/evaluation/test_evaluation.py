import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from support.analysis.planted import planted, resolved

from analysis.datasets import Dataset
from analysis.datasets.frame import texts
from analysis.evaluation import Costs, data_sheet, evaluate, model_card, report_page, unknown_to, write_report
from analysis.evaluation.betting import simulate_bets
from analysis.evaluation.scores import auc, auc_error, brier, log_loss, murphy, reliability
from analysis.evaluation.skill import paired, skill
from analysis.models import Model, train
from analysis.splits import time_ordered
from recorder.errors import ConfigError


def coins(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, correct forecasts, and weights."""
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(0.6, 1.2, n), 2)
    return (rng.random(n) < p).astype(np.float64), p, rng.exponential(1.0, n)


def test_scores_equal_those_of_scikit_learn_with_weights_and_ties() -> None:
    label, p, weight = coins(500, 1)
    assert auc(label, p, weight) == pytest.approx(roc_auc_score(label, p, sample_weight=weight), abs=1e-12)
    known = brier_score_loss(label, p, sample_weight=weight)
    assert np.average(brier(label, p), weights=weight) == pytest.approx(known, abs=1e-12)


def test_log_loss_takes_no_probability_as_surer_than_half_a_percent() -> None:
    losses = log_loss(np.array([1.0, 0.0, 1.0]), np.array([0.0, 0.0, 0.5]))
    assert losses == pytest.approx([-np.log(0.005), -np.log(0.995), np.log(2)])


def test_the_parts_of_a_brier_score_add_up_to_it() -> None:
    label, p, weight = coins(800, 2)
    parts = murphy(label, p, weight)
    whole = np.average(brier(label, p), weights=weight)
    assert parts.reliability - parts.resolution + parts.uncertainty + parts.within == pytest.approx(whole, abs=1e-12)
    centred = np.round(p, 1)  # one forecast a bin: nothing is left within
    edge = np.minimum(centred, 0.95)
    assert murphy(label, edge, weight, bins=20).within == pytest.approx(0.0, abs=1e-12)
    assert murphy(label, np.full(800, 0.3), weight).resolution == pytest.approx(0.0, abs=1e-12)


def test_a_reliability_table_counts_each_row_once() -> None:
    label, p, weight = coins(300, 3)
    table = reliability(label, np.append(p[:-1], 1.0), weight)
    assert table.count.sum() == 300
    assert table.weight.sum() == pytest.approx(1.0)


def test_the_standard_error_of_an_auc_is_that_of_chance_for_forecasts_without_use() -> None:
    rng = np.random.default_rng(4)
    areas = [auc(label, rng.random(200), np.ones(200)) for label in (rng.random((400, 200)) < 0.3).astype(np.float64)]
    label = (np.arange(200) < 60).astype(np.float64)
    assert np.std(areas) == pytest.approx(auc_error(label, 0.5), rel=0.1)


def test_a_bootstrap_by_event_is_wider_than_one_by_row_where_events_move_together() -> None:
    rng = np.random.default_rng(5)
    gain = np.repeat(rng.normal(0.0, 1.0, 40), 10)
    ones = np.ones(len(gain))
    by_event = paired(gain, ones, np.repeat(np.arange(40), 10), 1)
    by_row = paired(gain, ones, np.arange(400), 1)
    assert by_event.value == pytest.approx(by_row.value)
    assert by_event.high - by_event.low > 2.5 * (by_row.high - by_row.low)
    assert (by_event.events, by_row.events) == (40, 400)
    assert by_event.high - by_event.low == pytest.approx(2 * 1.96 * gain.std() / np.sqrt(40), rel=0.15)


def test_intervals_cover_nothing_to_find_about_as_often_as_they_say() -> None:
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        gain = rng.normal(0.0, 1.0, 60)
        found = paired(gain, np.ones(60), np.arange(60), seed)
        covered += found.low <= 0.0 <= found.high
    assert 0.90 <= covered / 200 <= 0.98


def test_few_events_give_no_interval_and_no_claim() -> None:
    found = skill(np.full(90, 1.0), np.zeros(90), np.ones(90), np.repeat(np.arange(9), 10), 1)
    assert found.value == 1.0
    assert np.isnan(found.low)
    assert not found.shown


def judged_on_market(rows: Dataset) -> tuple[Model, Dataset]:
    """Return a model without a correction, and its test rows."""
    split = time_ordered(rows.spans, 0.3)
    return train(rows, split).model, rows.take(split.test)


def test_the_report_states_no_skill_shown_when_the_interval_includes_zero(tmp_path: Path) -> None:
    model, test = judged_on_market(resolved("mixed24h"))
    found = evaluate(model, test)
    assert np.isnan(found.all_rows.log_loss_skill.low), "a model that is the baseline has no interval"
    assert found.verdict.startswith(
        "no skill shown against the market price: the model equals it; recalibration rejected"
    )
    page = write_report(found, tmp_path).read_text()
    assert "no skill shown against the market price" in page
    assert "no skill shown" in (tmp_path / "card.md").read_text()
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["verdict"].startswith("no skill shown")
    assert not re.search(r"(?<!no )skill shown", page + (tmp_path / "card.md").read_text())


def strong(n: int = 3000) -> tuple[Model, Dataset]:
    """Return a model that found a planted signal, and its test rows in two horizons."""
    rows, _ = planted(1.0, n=n)
    rows = dataclasses.replace(rows, horizon=np.array(["4h", "1h"])[np.arange(n) % 2])
    split = time_ordered(rows.spans, 0.3)
    return train(rows, split).model, rows.take(split.test)


class Page(HTMLParser):
    """Collect what a page would fetch, and check that its tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the tag and what it points to."""
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        self.fetched += [str(v) for k, v in attrs if k in ("src", "href", "data") and not str(v).startswith("#")]
        self.fetched += [tag] if tag in ("script", "link", "iframe", "img") else []

    def handle_endtag(self, tag: str) -> None:
        """Require that the tag closes the one opened last."""
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Handle a tag that is closed at once."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)


def test_a_report_with_skill_is_one_page_that_fetches_nothing(tmp_path: Path) -> None:
    model, test = strong()
    found = evaluate(model, test)
    text = write_report(found, tmp_path).read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.fetched == []
    assert not re.search(r"url\(\s*['\"]?(?!#)|@import", text)
    assert text.count("<svg") == 4  # reliability, horizons, moves, SHAP
    assert "#010203" not in text
    assert "skill shown against the market price: +0.0" in text


def test_the_same_evaluation_gives_the_same_page(tmp_path: Path) -> None:
    model, test = strong(1500)
    first, second = (report_page(evaluate(model, test, seed=3)) for _ in range(2))
    assert first == second


def test_a_model_worse_than_the_market_is_reported_as_worse() -> None:
    model, test = strong()
    against = dataclasses.replace(test, features={**test.features, "x0": -test.features["x0"]})
    found = evaluate(model, against)
    assert found.all_rows.verdict == "no skill shown: worse than the baseline"
    assert found.betting.profit.harm


def test_rows_the_model_knew_are_refused_and_left_out() -> None:
    rows, _ = planted(1.0, n=900)
    split = time_ordered(rows.spans, 0.3)
    model = train(rows, split).model
    with pytest.raises(ConfigError, match="belong to events the model was trained on"):
        evaluate(model, rows)
    free = unknown_to(model.metadata, rows)
    assert free.start.min() > model.metadata.last_label_ns
    assert not np.isin(free.event, rows.event[split.train]).any()
    early = rows.start <= model.metadata.last_label_ns
    overlapping = dataclasses.replace(rows, event=np.where(early & (rows.event == "e0"), "other", rows.event))
    kept = unknown_to(model.metadata, overlapping, keep_overlap=True)
    assert evaluate(model, kept).overlapping == len(kept) - len(unknown_to(model.metadata, overlapping)) > 0
    with pytest.raises(ConfigError, match="no rows to evaluate planted on: it was trained on all 5 rows"):
        evaluate(model, rows.take(slice(0, 0)), left_out=5)


def test_bets_are_settled_after_spread_and_fee() -> None:
    label, p, market = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.7, 0.3, 0.52, 0.5]), np.full(4, 0.5)
    costs = Costs(half_spread=0.02, fee_rate=0.1)
    found = simulate_bets(label, p, market, np.ones(4), np.arange(4), costs, 1)
    price = 0.52 + 0.1 * 0.48
    assert found.bets == 2  # the third is worth less than its price
    assert found.profit.value == pytest.approx(2 * (1 - price) / 4)
    assert found.per_stake == pytest.approx((1 - price) / price)


def test_slices_by_tier_and_category_hold_all_rows_once() -> None:
    rows = resolved("long_horizon")
    model, test = judged_on_market(rows)
    found = evaluate(model, test)
    for slices in (found.by_horizon, found.by_tier):
        assert sum(one.rows for one in slices) == len(test)
    assert {one.name for one in found.by_tier} <= {"polymarket", "manifold", "metaculus", "infer"}
    assert found.all_rows.rows == len(test)


def test_missing_numbers_are_null_in_the_json(tmp_path: Path) -> None:
    model, test = strong(900)
    lone = dataclasses.replace(test.take(slice(0, 6)), label=np.zeros(6), category=texts(6, "lone"))
    write_report(evaluate(model, lone), tmp_path)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["all_rows"]["model"]["auc"] is None
    assert written["all_rows"]["verdict"] == "no skill shown: too few events"
    assert "2 events are too few for an interval" in written["verdict"]


def test_card_and_data_sheet_hold_what_reproducing_the_model_needs() -> None:
    rows = resolved("mixed24h")
    model, _ = judged_on_market(rows)
    card, sheet = model_card(model.metadata), data_sheet(rows)
    metadata = model.metadata
    for text in (
        metadata.version,
        metadata.code,
        f"Seed: {metadata.seed}",
        metadata.features["logit_price"][:16],
        "| xgboost |",
    ):
        assert text in card
    assert "Not evaluated yet: no skill shown" in card
    assert all(hash_ in sheet for hash_ in rows.sources.values())
    assert "`price_midlife`: the middle of a market's life" in sheet
    assert "| 24h | 1392 | 0.2579 | 0.07133 | 0.22785 |" in sheet

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
from analysis.datasets.clustered import holm
from analysis.datasets.frame import BASE_RATE, texts
from analysis.evaluation import Costs, data_sheet, evaluate, model_card, report_page, unknown_to, write_report
from analysis.evaluation.betting import simulate_bets
from analysis.evaluation.evaluate import adjusted, evaluate_slice
from analysis.evaluation.scores import auc, auc_error, auc_gain, brier, log_loss, murphy, reliability
from analysis.evaluation.skill import Skill, paired, skill
from analysis.models import Model, train
from analysis.models.boost import expit, logit
from analysis.models.looks import record_look
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


def right_prices(rng: np.random.Generator, events: int) -> Dataset:
    """Return rows of a set drawn by event, with labels drawn with their prices: there is nothing to know."""
    rows = resolved("mixed24h")
    names = np.unique(rows.event)
    part = rows.take(np.isin(rows.event, rng.choice(names, events, replace=False)))
    label = (rng.random(len(part)) < part.market).astype(np.float64)
    return dataclasses.replace(part, label=label, weight=np.ones(len(part)))


def false_claims(events: int, draws: int, seed: int) -> int:
    """Return how often a forecast that only sharpens right prices is credited with skill."""
    rng = np.random.default_rng(seed)
    claims = 0
    for _ in range(draws):
        part = right_prices(rng, events)
        claims += evaluate_slice("all", part, expit(1.3 * logit(part.market)), 1).claimed
    return claims


def test_sharpened_right_prices_are_hardly_ever_credited_with_skill() -> None:
    assert false_claims(19, 40, 3) <= 3


@pytest.mark.long
@pytest.mark.parametrize("events", [12, 19, 60])
def test_false_claims_stay_below_their_level_with_few_events(events: int, capsys: pytest.CaptureFixture[str]) -> None:
    claims = false_claims(events, 500, 0)
    with capsys.disabled():
        print(f"\n{events} events: skill claimed in {claims} of 500 draws, seed 0", end="")
    assert claims <= 12


@pytest.mark.long
def test_a_report_seldom_claims_skill_in_some_slice_by_chance(capsys: pytest.CaptureFixture[str]) -> None:
    rng, reports = np.random.default_rng(0), 0
    whole = resolved("mixed24h")
    for _ in range(200):
        rows = dataclasses.replace(whole, label=(rng.random(len(whole)) < whole.market).astype(np.float64))
        p = expit(1.3 * logit(rows.market))
        slices = [
            evaluate_slice(name, rows.take(rows.category == name), p[rows.category == name], 1)
            for name in np.unique(rows.category).tolist()
        ]
        reports += any(one.claimed for one in adjusted([slices])[0])
    with capsys.disabled():
        print(f"\nskill claimed in a category by {reports} of 200 reports, seed 0", end="")
    assert reports <= 10


def test_a_slice_claims_less_the_more_slices_there_are() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    model, test = strong()
    found = evaluate(model, test)
    assert [one.verdict for one in found.by_horizon] == ["skill shown (exploratory)"] * 2
    shaky = dataclasses.replace(found.by_horizon[0], log_loss_skill=Skill(0.01, 0.001, 0.02, 60, 0.02))
    assert adjusted([[shaky] * 5])[0][0].verdict == "no skill shown: one of many slices"


def test_a_learned_base_rate_is_no_skill() -> None:
    rows, _ = planted(0.0, n=3000)
    label = (np.random.default_rng(1).random(3000) < 0.56).astype(np.float64)
    rows = dataclasses.replace(rows, label=label, market=np.full(3000, 0.5), baseline=BASE_RATE)
    split = time_ordered(rows.spans, 0.3)
    model = train(rows, split).model
    test = rows.take(split.test)
    assert model.predict(test) == pytest.approx(np.full(len(test), 0.56), abs=0.03)
    found = evaluate(model, test)
    assert found.all_rows.baseline.log_loss < np.log(2)
    assert not found.all_rows.claimed
    assert "the baseline is the base rate of the training rows" in found.verdict
    shifted = evaluate_slice(
        "all", dataclasses.replace(test, market=np.full(len(test), 0.3)), np.full(len(test), 0.56), 1
    )
    assert shifted.verdict == "no skill shown: the order of the forecasts shows none"


def test_the_error_of_a_difference_of_aucs_is_that_of_repeated_draws() -> None:
    rng = np.random.default_rng(2)
    found = []
    for _ in range(200):
        label = (np.arange(300) < 120).astype(np.float64)
        good, poor = label + rng.normal(size=300), 0.5 * label + rng.normal(size=300)
        found.append(auc_gain(label, good, poor, np.ones(300), np.arange(300)))
    gains, errors = np.array(found).T
    assert errors.mean() == pytest.approx(gains.std(), rel=0.12)


def test_reliability_intervals_count_a_market_once_however_many_rows_it_has() -> None:
    label = (np.arange(40) % 4 == 0).astype(np.float64)
    p, ones = np.full(40, 0.25), np.ones(40)
    once = reliability(label, p, ones, np.arange(40))
    six = np.repeat(np.arange(40), 6)
    often = reliability(label[six], p[six], ones[six], six)
    assert often.low[2] == pytest.approx(once.low[2], abs=1e-9)
    never = reliability(np.zeros(40), p, ones, np.arange(40))
    assert never.low[2] == pytest.approx(0.0, abs=1e-9)
    assert never.high[2] == pytest.approx(0.088, abs=0.005)


def test_a_page_without_a_claim_has_no_green_box_and_gives_the_reason() -> None:
    model, test = strong(1500)
    found = evaluate(model, test)
    one = dataclasses.replace(found.all_rows, brier_skill=Skill(-0.01, -0.02, -0.005, 60))
    page = report_page(dataclasses.replace(found, all_rows=one))
    assert '<p class="verdict shown">' in report_page(found)
    assert '<p class="verdict ">' in page
    assert "the Brier score is worse" in page


def test_the_answer_under_another_name_raises_an_alarm() -> None:
    rows, _ = planted(0.5, n=1500)
    assert not evaluate(*trained_on(rows)).alarms
    leaked = dataclasses.replace(
        rows,
        features={**rows.features, "luck": rows.label + np.random.default_rng(1).normal(0, 0.2, 1500)},
        definitions={**rows.definitions, "luck": "f" * 64},
    )
    found = evaluate(*trained_on(leaked))
    assert any(alarm.startswith("luck alone orders the outcomes") for alarm in found.alarms)
    assert "Too good to be true:" in report_page(found)


def trained_on(rows: Dataset) -> tuple[Model, Dataset]:
    """Return a model, and its test rows."""
    split = time_ordered(rows.spans, 0.3)
    return train(rows, split).model, rows.take(split.test)


def test_earlier_looks_at_the_same_events_are_counted(tmp_path: Path) -> None:
    model, test = strong(900)
    other = dataclasses.replace(model.metadata, version="another")
    assert record_look(tmp_path, model.metadata, test) == 0
    assert record_look(tmp_path, model.metadata, test) == 0, "the same version again is no other look"
    assert record_look(tmp_path, other, test.take(slice(0, 5))) == 1
    elsewhere = dataclasses.replace(test, event=np.char.add(test.event, "x"))
    assert record_look(tmp_path, other, elsewhere) == 0


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

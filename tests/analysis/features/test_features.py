"""The set of features: complete, documented, point-in-time, and null when unknown."""

from dataclasses import replace

import numpy as np
import pytest
from support.analysis.market_data import T0, full_tape

from analysis import audit
from analysis.arrays import DAY, HOUR, MINUTE, SECOND, Gaps, Ints
from analysis.features import BARS, LOOKBACK, POINT_IN_TIME, PointInTimeView, Tape, compute, names
from analysis.features.barview import bar_view
from analysis.features.point_in_time import ReceiptIndex

_NAMES = """
ret_1 ret_5 ret_15 ret_60 ret_240 ret_accel mom_z_60 close_vs_vwap_day range_pos_60 drawdown_240 rv_15 rv_60 rv_240
parkinson_60 garman_klass_60 rogers_satchell_60 bipower_ratio_60 semivar_down_60 vol_of_vol vol_ratio skew_240
kurt_240 acf1_60 acf5_240 variance_ratio_5 efficiency_ratio_60 rsi_14 macd_hist_atr bb_pos adx_14 stoch_diff
sma_dist_50 vol_z_tod vol_ratio_20 trade_count_z avg_trade_size_ratio tfi_1 tfi_5 tfi_15 large_trade_share
trade_sign_acf1 intertrade_cv vpin_50 spread_bp spread_z eff_spread_bp realized_spread_30s roll_bp amihud_60
kyle_lambda_60 impact_r2_60 queue_imb queue_imb_tw_1 microprice_dev ofi_1 ofi_5 mlofi_pc1 depth_imb_10
depth_1pct_ratio cancel_ratio basis_bp lead_ret_5s tod_sin tod_cos gap_share_60
"""
LISTED = _NAMES.split()


def one(tape: Tape, t: int) -> dict[str, float]:
    return {name: float(values[0]) for name, values in compute(tape, np.array([t])).items()}


@pytest.fixture(scope="module")
def tape() -> Tape:
    return full_tape()


@pytest.fixture(scope="module")
def times() -> Ints:
    """Return decision times in the part of the tape that has quotes, before and after its gap."""
    rng = np.random.default_rng(5)
    return np.sort(T0 + 12 * DAY - rng.integers(30 * MINUTE, 6 * HOUR, 40))


def test_all_64_features_are_there_in_65_columns() -> None:
    assert sorted(names()) == sorted(LISTED)
    assert len(names()) == 65


def test_every_feature_documents_formula_unit_null_rule_source_and_needs() -> None:
    known = {"bars", "trades", "quotes", "depths", "others", "leader", "level_weights"}
    for registry in (BARS, POINT_IN_TIME):
        for feature in registry:
            assert feature.formula, feature.name
            assert feature.unit, feature.name
            assert feature.null_when, feature.name
            assert feature.source, feature.name
            assert feature.needs <= known, feature.name


def test_no_feature_changes_when_all_that_came_after_is_removed(tape: Tape, times: Ints) -> None:
    found = audit.truncation(tape, times, one)
    assert found.passed, found.findings[:5]
    assert found.always_null == ()
    assert found.checked == len(times) * 65


def test_a_table_of_many_times_equals_the_features_one_by_one(tape: Tape, times: Ints) -> None:
    table = compute(tape, times)
    for i, t in enumerate(times.tolist()):
        np.testing.assert_array_equal([values[i] for values in table.values()], list(one(tape, t).values()))


def test_a_process_that_forgets_what_is_old_computes_the_same() -> None:
    long = full_tape(days=25, seed=3)
    times = T0 + 25 * DAY - np.arange(1, 19) * 17 * MINUTE
    rows = [one(long.since(t - LOOKBACK).until(t), t) for t in times.tolist()]
    again = {name: np.array([row[name] for row in rows]) for name in names()}
    found = audit.recomputation(times, compute(long, times), again)
    assert found.passed, found.findings
    assert found.always_null == ()


def test_every_input_that_is_missing_makes_its_features_null(tape: Tape, times: Ints) -> None:
    empty = Tape.of()
    without = {
        "trades": replace(tape, trades=empty.trades),
        "quotes": replace(tape, quotes=empty.quotes),
        "depths": replace(tape, depths=empty.depths),
        "others": replace(tape, others=()),
        "leader": replace(tape, leader=None),
        "level_weights": replace(tape, level_weights=None),
    }
    for what, poor in without.items():
        table = compute(poor, times[-2:])
        for registry in (BARS, POINT_IN_TIME):
            for feature in registry:
                if what in feature.needs or (what == "trades" and "bars" in feature.needs):
                    expected_null = feature.name != "cancel_ratio" or what == "quotes"
                    assert np.isnan(table[feature.name]).all() == expected_null, (what, feature.name)


def test_an_empty_tape_knows_only_the_clock_and_its_own_health() -> None:
    table = compute(Tape.of(), np.array([T0 + 6 * HOUR]))
    assert {name for name, values in table.items() if not np.isnan(values).any()} == {
        "tod_sin",
        "tod_cos",
        "gap_share_60",
    }
    assert table["tod_sin"][0] == pytest.approx(1)


def test_a_gap_over_a_tenth_of_the_window_makes_it_null_and_a_shorter_one_does_not(tape: Tape, times: Ints) -> None:
    t = int(times[-1])

    def known(minutes: float) -> set[str]:
        gaps = Gaps(np.array([t - int(minutes * MINUTE) - 10 * MINUTE]), np.array([t - 10 * MINUTE]))
        table = one(replace(tape, gaps=gaps), t)
        return {name for name, value in table.items() if not np.isnan(value)}

    assert {"rv_60", "rv_15", "rv_240", "eff_spread_bp", "spread_z", "ret_60"} <= known(0.0)
    assert {"rv_60", "rv_240", "spread_z"} <= known(5.0)
    assert not {"ret_60", "mom_z_60", "efficiency_ratio_60"} & known(5.0)  # their ends lie on two sides of the gap
    assert not {"rv_60", "rv_15", "eff_spread_bp", "ret_60"} & known(8.0)
    assert {"rv_240", "spread_z", "tfi_5", "spread_bp", "trade_sign_acf1"} <= known(8.0)
    assert not {"rv_240", "spread_z"} & known(30.0)
    assert not {"trade_sign_acf1", "roll_bp"} & known(60.0)  # 500 trades span four hours here


def test_an_audit_finds_a_feature_that_counts_by_event_time_alone(tape: Tape, times: Ints) -> None:
    def peeking(tape: Tape, t: int) -> dict[str, float]:
        rows = tape.trades.rows
        inside = (rows.ts_event > t - HOUR) & (rows.ts_event <= t)  # forgets to ask when they were received
        return {"honest": float(len(PointInTimeView(tape, t).trades(HOUR))), "peeking": float(inside.sum())}

    found = audit.truncation(tape, times, peeking)
    assert {finding.feature for finding in found.findings} == {"peeking"}


def test_a_recomputation_that_differs_is_found() -> None:
    times = np.array([1, 2])
    audited = audit.recomputation(
        times, {"a": np.array([1.0, np.nan]), "b": np.ones(2)}, {"a": np.array([1.0, 0.0]), "b": np.ones(2) * 1.001}
    )
    assert [(finding.feature, finding.t) for finding in audited.findings] == [("b", 1), ("a", 2), ("b", 2)]
    with pytest.raises(ValueError, match="only in one"):
        audit.recomputation(times, {"a": np.ones(2)}, {})


def test_bars_are_taken_as_they_were_published(tape: Tape) -> None:
    rows = tape.trades.rows
    view = bar_view(rows, Gaps.empty(), np.array([T0 + DAY]), delay_ns=2 * SECOND)
    on_time = rows.ts_recv <= (rows.ts_event // MINUTE + 1) * MINUTE + 2 * SECOND
    first_day = rows.ts_event < T0 + DAY - MINUTE
    assert int(view.bars.trade_count[: int(view.rows[0]) + 1].sum()) == int((on_time & first_day).sum())
    assert int(view.bars.end[view.rows[0]]) <= T0 + DAY - 2 * SECOND


def test_an_unknown_feature_is_refused_by_name(tape: Tape) -> None:
    with pytest.raises(ValueError, match="no such feature: ret_7"):
        compute(tape, np.array([T0]), ["ret_7"])


def test_rows_that_arrive_out_of_order_are_seen_from_their_receipt_on() -> None:
    rows = full_tape(days=1).trades.rows
    arrivals = ReceiptIndex(rows.take(np.random.default_rng(0).permutation(len(rows))))
    for t in (T0 + 5 * HOUR, T0 + 17 * HOUR + 1):
        inside = (rows.ts_recv <= t) & (rows.ts_event > t - HOUR) & (rows.ts_event <= t)
        np.testing.assert_array_equal(arrivals.window(t, HOUR).ts_event, np.sort(rows.ts_event[inside]))
        known = np.sort(rows.ts_event[(rows.ts_recv <= t) & (rows.ts_event <= t)])
        np.testing.assert_array_equal(arrivals.latest(t, 500).ts_event, known[-500:])

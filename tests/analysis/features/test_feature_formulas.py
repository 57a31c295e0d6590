"""Each formula, compared with a plain implementation on few rows."""

from collections.abc import Callable
from math import log, pi, sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats
from support.analysis.market_data import T0

from analysis.arrays import DAY, HOUR, MINUTE, SECOND, Depths, Floats, Gaps, Quotes, Trades
from analysis.bars import Bars
from analysis.features import BARS, BarView, ReceiptIndex, Tape, compute
from analysis.features.orderbook import fit_level_weights, order_flow
from analysis.indicators import Series, indicators


def grid(n: int, seed: int = 4) -> Bars:
    """Return n minutes of a random walk on a completely recorded grid."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    open_ = close * np.exp(rng.normal(0, 5e-4, n))
    high = np.maximum(open_, close) * np.exp(rng.exponential(3e-4, n))
    low = np.minimum(open_, close) * np.exp(-rng.exponential(3e-4, n))
    bought, sold = rng.exponential(5, (2, n))
    start = T0 + np.arange(n) * MINUTE
    volume = bought + sold
    count = rng.integers(1, 50, n)
    one = np.ones(n)
    return Bars(
        start,
        start + MINUTE,
        open_,
        high,
        low,
        close,
        volume,
        volume * close,
        close,
        count,
        bought,
        sold,
        (bought - sold) * close,
        one,
    )


B = grid(300)
C, R = B.close, np.diff(np.log(B.close), prepend=np.nan)
LAST = indicators(Series.of(B))


def rv(r: Floats) -> float:
    return 1e4 * sqrt(sum(x * x for x in r))


def line(k: int) -> Any:
    return stats.linregress(B.signed_notional[-60:] / 1e6, 1e4 * R[-60:])


PLAIN: dict[str, Callable[[], float]] = {
    "ret_1": lambda: 1e4 * log(C[-1] / C[-2]),
    "ret_5": lambda: 1e4 * log(C[-1] / C[-6]),
    "ret_15": lambda: 1e4 * log(C[-1] / C[-16]),
    "ret_60": lambda: 1e4 * log(C[-1] / C[-61]),
    "ret_240": lambda: 1e4 * log(C[-1] / C[-241]),
    "ret_accel": lambda: 1e4 * (R[-1] - R[-2]),
    "mom_z_60": lambda: float(R[-60:].sum() / (R[-60:].std(ddof=1) * sqrt(60))),
    "close_vs_vwap_day": lambda: 1e4 * log(C[-1] / (B.notional.sum() / B.volume.sum())),
    "range_pos_60": lambda: float((C[-1] - B.low[-60:].min()) / (B.high[-60:].max() - B.low[-60:].min())),
    "drawdown_240": lambda: 1e4 * log(C[-1] / B.high[-240:].max()),
    "rv_15": lambda: rv(R[-15:]),
    "rv_60": lambda: rv(R[-60:]),
    "rv_240": lambda: rv(R[-240:]),
    "parkinson_60": lambda: 1e4 * sqrt(np.mean(np.log(B.high[-60:] / B.low[-60:]) ** 2) / (4 * log(2))),
    "garman_klass_60": lambda: (
        1e4
        * sqrt(
            np.mean(
                [
                    0.5 * log(h / low) ** 2 - (2 * log(2) - 1) * log(c / o) ** 2
                    for o, h, low, c in zip(B.open[-60:], B.high[-60:], B.low[-60:], C[-60:], strict=True)
                ]
            )
        )
    ),
    "rogers_satchell_60": lambda: (
        1e4
        * sqrt(
            np.mean(
                [
                    log(h / c) * log(h / o) + log(low / c) * log(low / o)
                    for o, h, low, c in zip(B.open[-60:], B.high[-60:], B.low[-60:], C[-60:], strict=True)
                ]
            )
        )
    ),
    "bipower_ratio_60": lambda: 1 - pi / 2 * sum(abs(R[-i]) * abs(R[-i - 1]) for i in range(1, 60)) / sum(R[-60:] ** 2),
    "semivar_down_60": lambda: sum(r * r for r in R[-60:] if r < 0) / sum(r * r for r in R[-60:]),
    "vol_of_vol": lambda: stats.variation([rv(R[-240:][i : i + 15]) for i in range(0, 240, 15)], ddof=1),
    "vol_ratio": lambda: rv(R[-15:]) * 4 / rv(R[-240:]),
    "skew_240": lambda: stats.skew(R[-240:]),
    "kurt_240": lambda: stats.kurtosis(R[-240:]),
    "acf1_60": lambda: float(
        np.sum((R[-59:] - R[-60:].mean()) * (R[-60:-1] - R[-60:].mean())) / np.sum((R[-60:] - R[-60:].mean()) ** 2)
    ),
    "acf5_240": lambda: float(
        np.sum((R[-235:] - R[-240:].mean()) * (R[-240:-5] - R[-240:].mean()))
        / np.sum((R[-240:] - R[-240:].mean()) ** 2)
    ),
    "variance_ratio_5": lambda: float(
        np.var([R[-240:][i : i + 5].sum() for i in range(236)], ddof=1) / (5 * np.var(R[-240:], ddof=1))
    ),
    "efficiency_ratio_60": lambda: float(abs(C[-1] - C[-61]) / np.abs(np.diff(C[-61:])).sum()),
    "rsi_14": lambda: LAST["rsi_14"][-1],
    "macd_hist_atr": lambda: LAST["macd_hist"][-1] / LAST["atr_14"][-1],
    "bb_pos": lambda: (C[-1] - LAST["bb_lower"][-1]) / (LAST["bb_upper"][-1] - LAST["bb_lower"][-1]),
    "adx_14": lambda: LAST["adx_14"][-1],
    "stoch_diff": lambda: LAST["stoch_k"][-1] - LAST["stoch_d"][-1],
    "sma_dist_50": lambda: 1e4 * log(C[-1] / C[-50:].mean()),
    "vol_ratio_20": lambda: float(B.volume[-1] / B.volume[-20:].mean()),
    "avg_trade_size_ratio": lambda: float(
        (B.volume[-15:].sum() / B.trade_count[-15:].sum()) / (B.volume[-240:].sum() / B.trade_count[-240:].sum())
    ),
    "tfi_1": lambda: float((B.buy_volume[-1] - B.sell_volume[-1]) / (B.buy_volume[-1] + B.sell_volume[-1])),
    "tfi_5": lambda: float((B.buy_volume[-5:].sum() - B.sell_volume[-5:].sum()) / B.volume[-5:].sum()),
    "tfi_15": lambda: float((B.buy_volume[-15:].sum() - B.sell_volume[-15:].sum()) / B.volume[-15:].sum()),
    "amihud_60": lambda: float(np.mean(np.abs(R[-60:]) / B.notional[-60:]) * 1e10),
    "kyle_lambda_60": lambda: line(60).slope,
    "impact_r2_60": lambda: line(60).rvalue ** 2,
}


@pytest.mark.parametrize("name", list(PLAIN))
def test_a_bar_feature_equals_its_formula_written_out(name: str) -> None:
    found = BARS[name].compute(BarView(B, np.array([299])))[0]
    assert found == pytest.approx(PLAIN[name](), rel=1e-9)


def test_every_bar_feature_but_those_of_20_days_is_written_out_here() -> None:
    assert {feature.name for feature in BARS} - set(PLAIN) == {"vol_z_tod", "trade_count_z"}


@pytest.mark.parametrize(("name", "column"), [("vol_z_tod", "volume"), ("trade_count_z", "trade_count")])
def test_the_same_minute_of_the_days_before_is_what_volume_is_measured_by(name: str, column: str) -> None:
    bars = grid(21 * 1440 + 5)
    row = 21 * 1440 + 2
    logs = np.log(getattr(bars, column).astype(float))
    past = logs[[row - 1440 * day for day in range(1, 21)]]
    expected = (logs[row] - past.mean()) / past.std(ddof=1)
    assert BARS[name].compute(BarView(bars, np.array([row])))[0] == pytest.approx(expected, rel=1e-9)
    young = BARS[name].compute(BarView(bars, np.array([9 * 1440 + 100, 10 * 1440 + 100])))
    assert np.isnan(young).tolist() == [True, False]


def test_flat_prices_give_nulls_where_a_denominator_is_zero() -> None:
    n = 300
    flat, start = np.full(n, 42.1), T0 + np.arange(n) * MINUTE
    bars = Bars(
        start,
        start + MINUTE,
        flat,
        flat,
        flat,
        flat,
        np.zeros(n),
        np.zeros(n),
        np.full(n, np.nan),
        np.zeros(n, np.int64),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n),
        np.ones(n),
    )
    view = BarView(bars, np.array([n - 1]))
    zero = {"ret_1", "ret_5", "ret_15", "ret_60", "ret_240", "ret_accel", "drawdown_240", "rv_15", "rv_60", "rv_240"}
    zero |= {"parkinson_60", "garman_klass_60", "rogers_satchell_60", "rsi_14", "adx_14", "stoch_diff", "sma_dist_50"}
    with np.errstate(all="ignore"):
        for feature in BARS:
            value = feature.compute(view)[0]
            if feature.name in zero:
                assert value == pytest.approx(0, abs=1e-9), feature.name
            else:
                assert np.isnan(value), feature.name


def test_returns_of_a_probability_are_differences_of_logits() -> None:
    bars = grid(10)
    p = np.array([0.5, 0.6, 0.999, 0.999, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    view = BarView(
        Bars(*[getattr(bars, f) if f != "close" else p for f in Bars.__dataclass_fields__]), np.arange(3), True
    )
    found = BARS["ret_1"].compute(view)
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([1e4 * log(0.6 / 0.4), 1e4 * (log(0.995 / 0.005) - log(0.6 / 0.4))])


T = T0 + HOUR


def quotes(*rows: tuple[float, float, float, float, float]) -> Quotes:
    """Return quotes from (seconds before T, bid, size, ask, size)."""
    columns = np.array(rows).T
    at = T - (columns[0] * SECOND).astype(np.int64)
    return Quotes(at, at, *columns[1:])


def trades(*rows: tuple[float, float, float, int]) -> Trades:
    """Return trades from (seconds before T, price, size, side)."""
    columns = np.array(rows).T
    at = T - (columns[0] * SECOND).astype(np.int64)
    return Trades(at, at, np.arange(len(at)), columns[1], columns[2], columns[3].astype(np.int8))


BOOK = quotes((100, 99, 1, 101, 3), (40, 99, 2, 101, 2), (20, 100, 5, 101, 1), (2, 100, 3, 102, 1))


def at_t(tape: Tape, name: str) -> float:
    return float(compute(tape, np.array([T]), [name])[name][0])


def test_features_of_the_best_prices_by_hand() -> None:
    tape = Tape.of(quotes=BOOK, trades=trades((30, 99, 1.5, -1), (10, 101, 0.5, 1)))
    assert at_t(tape, "spread_bp") == pytest.approx((200 * 40 + 1e4 / 100.5 * 18 + 2e4 / 101 * 2) / 60)
    assert at_t(tape, "queue_imb") == pytest.approx(0.5)
    assert at_t(tape, "queue_imb_tw_1") == pytest.approx((-0.5 * 20 + 0 + 4 / 6 * 18 + 0.5 * 2) / 60)
    assert at_t(tape, "microprice_dev") == pytest.approx(1e4 * (101.5 - 101) / 101)
    assert at_t(tape, "ofi_1") == pytest.approx((2 + 6 - 1) / (7 / 3))
    assert at_t(tape, "cancel_ratio") == pytest.approx((2 - 1.5 + 3 - 0.5) / 6)


def test_a_stale_crossed_or_one_sided_quote_gives_null() -> None:
    for last in ((6, 100, 3, 102, 1), (2, 102, 3, 102, 1), (2, np.nan, np.nan, 102, 1)):
        tape = Tape.of(quotes=quotes((100, 99, 1, 101, 3), last))
        assert np.isnan(at_t(tape, "queue_imb"))
        assert np.isnan(at_t(tape, "microprice_dev"))
    half = Tape.of(quotes=quotes((29, 99, 1, 101, 3)))
    assert np.isnan(at_t(half, "queue_imb_tw_1"))
    assert at_t(half, "spread_bp") == pytest.approx(200)


def test_spreads_paid_and_kept_by_hand() -> None:
    rows = [(50.0, 101.0, 1.0, 1)] * 6 + [(50.0, 99.5, 2.0, -1)] * 6
    tape = Tape.of(quotes=BOOK, trades=trades(*rows))
    assert at_t(tape, "eff_spread_bp") == pytest.approx((200 * 6 + 100 * 12) / 18)
    assert at_t(tape, "realized_spread_30s") == pytest.approx((100 * 6 + 200 * 12) / 18)
    young = Tape.of(quotes=BOOK, trades=trades(*[(29.0, *row[1:]) for row in rows]))
    assert np.isnan(at_t(young, "realized_spread_30s"))
    assert np.isnan(at_t(Tape.of(quotes=BOOK, trades=trades(*rows[:9])), "eff_spread_bp"))


def test_the_spread_that_a_bouncing_price_implies() -> None:
    rows = [(600.0 - i, 100.0 + i % 2, 1.0, 1) for i in range(101)]
    moves = np.diff(np.log([row[1] for row in rows]))
    covariance = np.cov(moves[1:], moves[:-1], bias=True)[0, 1]
    assert at_t(Tape.of(trades=trades(*rows)), "roll_bp") == pytest.approx(2e4 * sqrt(-covariance))
    rising = [(600.0 - i, 100.0 + i * i, 1.0, 1) for i in range(50)]
    assert np.isnan(at_t(Tape.of(trades=trades(*rising)), "roll_bp"))


def test_signs_and_times_of_trades_by_hand() -> None:
    rows = [(800.0 - 7 * i - (i % 3), 100.0, 1.0, 1 if i % 4 < 2 else -1) for i in range(110)]
    tape = Tape.of(trades=trades(*rows))
    signs = np.array([row[3] for row in rows], float)
    d = signs - signs.mean()
    assert at_t(tape, "trade_sign_acf1") == pytest.approx((d[1:] * d[:-1]).sum() / (d * d).sum())
    waits = np.diff([-row[0] for row in rows])
    assert at_t(tape, "intertrade_cv") == pytest.approx(waits.std(ddof=1) / waits.mean())
    assert np.isnan(at_t(Tape.of(trades=trades(*rows[:99])), "trade_sign_acf1"))
    assert np.isnan(at_t(Tape.of(trades=trades(*rows[:19])), "intertrade_cv"))


def test_large_trades_are_measured_by_the_day_before() -> None:
    day_before = [(5 * HOUR / SECOND + 60 * i, 10.0, 1.0 + i, 1) for i in range(101)]
    today = [(600.0, 10.0, 100.0, 1), (500.0, 10.0, 101.0, 1), (400.0, 10.0, 300.0, 1)]
    tape = Tape.of(trades=trades(*day_before, *today))
    assert np.percentile([10 * (1 + i) for i in range(101)], 99) == 1000
    assert at_t(tape, "large_trade_share") == pytest.approx((1010 + 3000) / (1000 + 1010 + 3000))


def test_vpin_is_the_mean_imbalance_of_fifty_portions_of_volume() -> None:
    day_before = [(HOUR / SECOND + 3600 + 60 * i, 10.0, 1.0, 1 if i % 2 else -1) for i in range(1000)]
    tape = Tape.of(trades=trades(*day_before))
    assert at_t(tape, "vpin_50") == pytest.approx(0)  # portions of 20, as many bought as sold
    bought = [(50.0 - i / 10, 10.0, 1.0, 1) for i in range(100)]
    assert at_t(Tape.of(trades=trades(*day_before, *bought)), "vpin_50") == pytest.approx(5 / 50)
    split = [(50.0, 10.0, 110.0, 1)]  # one trade over 5 1/2 portions
    assert at_t(Tape.of(trades=trades(*day_before, *split)), "vpin_50") == pytest.approx((5 + 0.5) / 50)


def levels(n: int = 10) -> Depths:
    at = T - np.array([30, 20, 1], np.int64) * SECOND
    step = np.arange(n)
    bid, ask = np.tile(100.0 - step, (3, 1)), np.tile(101.0 + step, (3, 1))
    size = np.stack([np.full(n, 1.0), np.full(n, 2.0), np.full(n, 4.0)])
    return Depths(at, at, bid, size, ask, np.ones((3, n)))


def test_depth_features_by_hand() -> None:
    tape = Tape.of(depths=levels(), level_weights=np.full(10, 0.1))
    assert at_t(tape, "depth_imb_10") == pytest.approx((40 - 10) / 50)
    assert at_t(tape, "depth_1pct_ratio") == pytest.approx(log(100 * 4 / 101))
    depth = (2 + 3 + 5) / 2 / 3
    assert at_t(tape, "mlofi_pc1") == pytest.approx(3 / depth)
    assert np.isnan(at_t(Tape.of(depths=levels(9), level_weights=np.full(10, 0.1)), "mlofi_pc1"))


def test_level_weights_find_the_common_direction_of_the_levels() -> None:
    rng = np.random.default_rng(0)
    common, pattern = rng.normal(size=500), np.arange(1.0, 11.0)
    flows = np.outer(common, pattern) + rng.normal(0, 0.01, (500, 10))
    np.testing.assert_allclose(fit_level_weights(flows), pattern / pattern.sum(), atol=1e-3)
    with pytest.raises(ValueError, match="two rows"):
        fit_level_weights(np.full((3, 10), np.nan))


def test_order_flow_counts_a_moved_price_with_its_full_size() -> None:
    flow = order_flow(np.array([10.0, 11, 10]), np.array([1.0, 2, 4]), np.array([12.0, 12, 12]), np.ones(3))
    assert flow.tolist() == [2, -2]


def test_basis_and_lead_by_hand() -> None:
    def venue(now: float, earlier: float) -> ReceiptIndex[Quotes]:
        return ReceiptIndex(quotes((6, earlier - 1, 1, earlier + 1, 1), (1, now - 1, 1, now + 1, 1)))

    own = venue(100, 99)
    tape = Tape.of(quotes=own.rows)
    tape.others = [venue(101, 101), venue(103, 103), venue(110, 110)]
    tape.leader = venue(102, 100)
    assert at_t(tape, "basis_bp") == pytest.approx(1e4 * log(100 / 103))
    assert at_t(tape, "lead_ret_5s") == pytest.approx(1e4 * (log(102 / 100) - log(100 / 99)))
    tape.others = [ReceiptIndex(quotes((6, 1, 1, 2, 1)))]
    assert np.isnan(at_t(tape, "basis_bp"))


def test_share_of_time_without_a_connection() -> None:
    gaps = Gaps(np.array([T - 2 * HOUR, T - 10 * MINUTE]), np.array([T - 45 * MINUTE, T + DAY]))
    assert at_t(Tape.of(gaps=gaps), "gap_share_60") == pytest.approx((15 + 10) / 60)


def test_spread_score_against_its_own_four_hours() -> None:
    minutes = np.arange(241)
    half = 0.5 + 0.01 * (minutes % 7)
    rows = [
        (240 * 60 + 60 - 60 * m, 100 - h, 1.0, 100 + h, 1.0)
        for m, h in zip(minutes.tolist(), half.tolist(), strict=True)
    ]
    spreads = 1e4 * 2 * half[1:] / 100
    expected = (spreads[-1] - spreads.mean()) / spreads.std(ddof=1)
    assert at_t(Tape.of(quotes=quotes(*rows)), "spread_z") == pytest.approx(expected, rel=1e-6)

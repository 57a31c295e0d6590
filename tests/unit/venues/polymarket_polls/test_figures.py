"""The figures of a book: examples by hand, and random books against the definition."""

import random

import pytest

from recorder.venues.polymarket.polls.figures import COST_USDC, figures

BIDS = [(0.45, 100.0), (0.44, 50.0), (0.41, 25.0), (0.30, 400.0), (0.001, 2_000_000.0)]
ASKS = [(0.47, 300.0), (0.48, 10.0), (0.51, 5.0), (0.60, 4000.0), (0.999, 1_500_000.0)]


def test_the_figures_of_a_book() -> None:
    f = figures(BIDS, ASKS)
    assert (f.bid, f.bid_size, f.ask, f.ask_size) == (0.45, 100.0, 0.47, 300.0)
    assert (f.spread, f.mid) == (0.02, 0.46)
    assert f.microprice == pytest.approx((0.47 * 100 + 0.45 * 300) / 400)
    assert f.bid_depth == (100.0, 150.0, 175.0, 175.0)
    assert f.ask_depth == (300.0, 310.0, 315.0, 315.0)
    assert f.imbalance_touch == pytest.approx(-0.5)
    assert f.imbalance_5c == pytest.approx((175 - 315) / 490)
    assert f.cost_buy_500 == pytest.approx(COST_USDC / (315 + (500 - 148.35) / 0.6) - 0.46)


def test_orders_parked_at_the_ends_are_no_levels_and_not_the_largest() -> None:
    f = figures(BIDS, ASKS)
    assert (f.bid_levels, f.ask_levels) == (4, 4)
    assert (f.bid_shares, f.ask_shares) == (575.0, 4315.0)
    assert (f.largest_bid, f.largest_ask) == ((0.30, 400.0), (0.60, 4000.0))


def test_an_order_at_an_end_of_the_usual_size_is_a_level() -> None:
    f = figures([(0.45, 1.0), (0.001, 1_000_000.0)], [])
    assert (f.bid_levels, f.largest_bid) == (2, (0.001, 1_000_000.0))


def test_a_parked_order_alone_is_the_best_price_and_no_level() -> None:
    f = figures([(0.001, 5_000_000.0)], [(0.999, 5_000_000.0)])
    assert (f.bid, f.ask, f.mid) == (0.001, 0.999, 0.5)
    assert (f.bid_levels, f.largest_bid, f.bid_shares) == (0, None, 0)


def test_an_empty_side_has_no_price_and_a_depth_of_zero() -> None:
    f = figures([], ASKS)
    assert (f.bid, f.bid_size, f.spread, f.mid, f.microprice, f.imbalance_touch) == (None,) * 6
    assert (f.ask, f.bid_levels, f.bid_depth) == (0.47, 0, (0.0, 0.0, 0.0, 0.0))
    assert (f.ask_depth, f.imbalance_5c, f.cost_buy_500, f.largest_bid) == (None, None, None, None)


def test_a_book_without_orders_has_depths_of_zero_and_no_imbalance() -> None:
    f = figures([], [])
    assert (f.bid_depth, f.ask_depth, f.imbalance_5c) == ((0.0,) * 4, (0.0,) * 4, None)


def test_a_level_at_exactly_one_cent_is_within_one_cent() -> None:
    f = figures([(0.45, 3.0)], [(0.47, 4.0)])
    assert f.bid_depth is not None
    assert f.ask_depth is not None
    assert (f.bid_depth[0], f.ask_depth[0]) == (3.0, 4.0)


def test_asks_worth_less_than_the_purchase_have_no_cost() -> None:
    assert figures([(0.45, 1.0)], [(0.5, 999.0)]).cost_buy_500 is None
    assert figures([(0.45, 1.0)], [(0.5, 1000.0)]).cost_buy_500 == pytest.approx(0.5 - 0.475)


def test_subtraction_leaves_no_noise_in_spread_and_middle() -> None:
    f = figures([(0.45, 1.0)], [(0.54, 1.0)])
    assert (f.spread, f.mid) == (0.09, 0.495)


def test_depths_equal_the_sums_of_their_definition() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(200):
        ticks = sorted(rng.sample(range(1, 1000), 40))
        cut = rng.randrange(1, 39)
        bids = [(tick / 1000, rng.randrange(1, 10**6) / 100) for tick in ticks[:cut]][::-1]
        asks = [(tick / 1000, rng.randrange(1, 10**6) / 100) for tick in ticks[cut:]]
        f = figures(bids, asks)
        assert f.mid is not None
        for depth, side in ((f.bid_depth, bids), (f.ask_depth, asks)):
            expected = [
                sum(size for price, size in side if abs(price - f.mid) <= cents / 100 + 1e-9) for cents in (1, 2, 5, 10)
            ]
            assert depth == pytest.approx(expected)

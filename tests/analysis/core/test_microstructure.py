"""Trades and books small enough to check by hand."""

import numpy as np
import pytest

from analysis import microstructure
from analysis.arrays import SECOND, Depths, Quotes, Trades

T = 1_000 * SECOND


def trades(at_s: list[float], price: list[float], side: list[int]) -> Trades:
    at = T + (np.array(at_s) * SECOND).astype(np.int64)
    return Trades(at, at, np.arange(len(at)), np.array(price), np.ones(len(at)), np.array(side, np.int8))


def quotes(at_s: list[float], mid: list[float]) -> Quotes:
    at = T + (np.array(at_s) * SECOND).astype(np.int64)
    middle, size = np.array(mid), np.ones(len(at))
    return Quotes(at, at, middle - 0.5, size, middle + 0.5, size)


def books(at_s: list[float], bids: list[list[float]], asks: list[list[float]]) -> Depths:
    """Return books with one level a side, given as [price, size]."""
    at = T + (np.array(at_s) * SECOND).astype(np.int64)
    bid, ask = np.array(bids), np.array(asks)
    return Depths(at, at, bid[:, :1], bid[:, 1:], ask[:, :1], ask[:, 1:])


def test_the_quote_rule_compares_with_the_middle_that_stood_before() -> None:
    found = microstructure.side_by_quote(
        trades([0.5, 1.0, 1.5, 2.5, 2.5], [100, 100.5, 99.5, 100, 110], [0] * 5), quotes([1.0, 2.0], [100, 110])
    )
    # Nothing stood before the first two: a quote received at the same instant is not before.
    assert found.tolist() == [0, 0, -1, -1, 0]


def test_the_side_is_that_which_the_next_book_lacks() -> None:
    steps = books(
        [0, 1, 2, 3, 4],
        [[99, 5], [99, 5], [99, 2], [99, 2], [98, 9]],
        [[101, 5], [101, 3], [101, 3], [101, 4], [101, 4]],
    )
    found = microstructure.side_by_book(trades([0.5, 1.5, 2.5, 3.5, 4.5], [101, 99, 101, 99, 101], [0] * 5), steps)
    # An ask was hit; a bid; the ask was refilled; the bid disappeared; no later book exists.
    assert found.tolist() == [1, -1, 0, -1, 0]


def test_a_guess_is_judged_only_where_the_venue_reports_the_side() -> None:
    truth, found = np.array([1, -1, 1, 0], np.int8), np.array([1, 1, 0, 1], np.int8)
    result = microstructure.agreement("a rule", found, truth)
    assert (result.reported, result.decided, result.right) == (3, 2, 1)


def test_impact_is_towards_the_taker_and_leaves_out_moves_beyond_the_recording() -> None:
    path = quotes([0, 1, 2, 10], [100, 101, 101, 101])
    given = trades([0.5, 0.5, 0.5], [100, 100, 100], [1, 1, 0])
    found = microstructure.impact(given, path, np.array([0.1, 1.0, 100.0]))
    assert found.mean[:2] == pytest.approx([0.0, 1e4 * np.log(1.01)])
    assert np.isnan(found.mean[2])
    assert found.count.tolist() == [2, 2, 0]
    sold = microstructure.impact(trades([0.5, 0.5], [100, 100], [-1, -1]), path, np.array([1.0]))
    assert sold.mean == pytest.approx([-1e4 * np.log(1.01)])


def test_the_next_move_is_unknown_beyond_the_last_quote() -> None:
    found = microstructure.next_move(quotes([0, 1, 2], [100, 101, 102]), 1.0)
    assert found[:2] == pytest.approx([1e4 * np.log(1.01), 1e4 * np.log(102 / 101)])
    assert np.isnan(found[2])


def test_bins_hold_their_edges_and_leave_out_what_lies_outside() -> None:
    x = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 1.5, np.nan])
    found = microstructure.binned(x, np.arange(7.0), np.array([-1.0, 0.0, 1.0]))
    assert found.count.tolist() == [1, 3]
    assert np.isnan(found.mean[0])  # one value has no standard error
    assert found.mean[1] == pytest.approx(3.0)
    assert found.at == pytest.approx([-1.0, 0.5])


def test_depth_adds_up_level_by_level_and_leaves_out_a_level_most_books_lack() -> None:
    at = np.arange(3, dtype=np.int64)
    nan = np.nan
    bid, bid_size = np.array([[99.0, 98.0]] * 3), np.array([[1.0, 2.0]] * 3)
    ask, ask_size = (
        np.array([[101.0, 102.0], [101.0, nan], [101.0, nan]]),
        np.array([[4.0, 1.0], [4.0, nan], [4.0, nan]]),
    )
    found = microstructure.depth(Depths(at, at, bid, bid_size, ask, ask_size))
    assert found.bid_bp == pytest.approx([100.0, 200.0])
    assert found.bid == pytest.approx([1.0, 3.0])
    assert (found.ask_bp.tolist(), found.ask.tolist()) == (pytest.approx([100.0]), [4.0])


def test_an_empty_tape_gives_empty_answers() -> None:
    nothing = Trades.empty()
    assert len(microstructure.side_by_quote(nothing, Quotes.empty())) == 0
    assert microstructure.side_by_book(trades([1], [100], [1]), Depths.empty()).tolist() == [0]
    assert microstructure.impact(nothing, Quotes.empty(), np.array([1.0])).count.tolist() == [0]
    assert len(microstructure.depth(Depths.empty()).bid) == 0


@pytest.mark.parametrize("empty", [0.0, np.nan])
def test_an_empty_side_has_no_middle_and_no_spread(empty: float) -> None:
    one_sided = quotes([0, 1, 2], [100.0, 100.0, 100.0])
    one_sided.bid[1] = one_sided.ask[2] = empty
    assert np.isnan(one_sided.mid).tolist() == [False, True, True]
    assert np.isnan(microstructure.spread_bp(one_sided)).tolist() == [False, True, True]

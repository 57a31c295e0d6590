"""A side of which only the best price is read, against a plain dict."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.venues.best_price import BestPriceSide

levels = st.lists(st.tuples(st.integers(1, 30).map(lambda tick: tick / 10), st.sampled_from([0.0, 1.0, 2.5])))


@settings(max_examples=400, deadline=None)
@given(levels, st.lists(levels, max_size=8), st.booleans())
def test_a_side_knows_its_best_price_and_every_size_after_each_message(
    first: list[tuple[float, float]], later: list[list[tuple[float, float]]], bids: bool
) -> None:
    side = BestPriceSide(first, bids=bids)
    plain = {price: size for price, size in first if size}
    for message in [[], *later]:
        side.apply(message)
        for price, size in message:
            plain.pop(price, None)
            if size:
                plain[price] = size
        assert side.values == plain
        assert side.best == (max(plain, default=-inf) if bids else min(plain, default=inf))


@pytest.mark.parametrize("bids", [True, False])
def test_removed_prices_do_not_pile_up(bids: bool) -> None:
    side = BestPriceSide([(1000.0, 1.0)], bids=bids)
    sign = -1 if bids else 1
    for step in range(1, 20_000):  # each price is worse than the one that stays, so none of them is ever the best
        side.apply([(1000.0 + sign * step / 100, 5.0)])
        side.apply([(1000.0 + sign * step / 100, 0.0)])
    assert side.values == {1000.0: 1.0}
    assert len(side._sizes) < 2000

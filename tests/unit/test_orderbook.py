"""One side of a book against the plainest one there is."""

from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.orderbook import Side

levels = st.lists(st.tuples(st.integers(1, 30).map(lambda tick: tick / 10), st.sampled_from([0.0, 1.0, 2.5])))


@settings(max_examples=300, deadline=None)
@given(levels, st.lists(levels, max_size=6), st.integers(1, 12), st.booleans())
def test_a_side_is_a_dict_that_knows_its_order(
    first: list[tuple[float, float]], later: list[list[tuple[float, float]]], depth: int, highest: bool
) -> None:
    side = Side(first)
    naive = {price: size for price, size in first if size}
    for message in later:
        side.apply(message)
        for price, size in message:
            naive.pop(price, None)
            if size:
                naive[price] = size
        assert side.prices == sorted(naive)
        assert side.values == naive
        (side.keep_highest if highest else side.keep_lowest)(depth)
        naive = {price: naive[price] for price in sorted(naive, reverse=highest)[:depth]}
        assert side.prices == sorted(naive)
        assert side.values == naive


def test_removing_what_is_not_there_changes_nothing() -> None:
    side = Side([(1.0, 5.0)])
    side.apply([(2.0, 0.0)])
    assert (side.prices, side.values) == ([1.0], {1.0: 5.0})

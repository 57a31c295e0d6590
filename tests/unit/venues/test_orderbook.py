"""One side of a book, compared with the simplest implementation."""

from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.venues import VENUES
from recorder.venues.orderbook import RankedSide, Side, Sides

levels = st.lists(st.tuples(st.integers(1, 30).map(lambda tick: tick / 10), st.sampled_from([0.0, 1.0, 2.5])))


@settings(max_examples=300, deadline=None)
@given(levels, st.lists(levels, max_size=6))
def test_a_side_is_a_dict_that_knows_its_order(
    first: list[tuple[float, float]], later: list[list[tuple[float, float]]]
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


texts = st.sampled_from([b"", b"1", b"23"])


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), texts)),
    st.lists(st.lists(st.tuples(st.integers(1, 30), texts)), max_size=6),
    st.integers(1, 12),
    st.sampled_from([-0.1, 0.1]),
)
def test_a_ranked_side_is_a_dict_in_order_and_counts_its_unchanged_best_levels(
    first: list[tuple[int, bytes]], later: list[list[tuple[int, bytes]]], depth: int, tick: float
) -> None:
    naive = {price * tick: text for price, text in dict(first).items() if text}
    side = RankedSide([(price * tick, text) for price, text in first], depth)
    for message in later:
        before = sorted(naive.items())
        same = side.apply([(price * tick, text) for price, text in message])
        for price, text in message:
            naive.pop(price * tick, None)
            if text:
                naive[price * tick] = text
        after = sorted(naive.items())
        assert before[:same] == after[:same]
        if not any(price * tick in dict(before) or text for price, text in message):
            assert same == len(before)  # nothing was changed
        naive = dict(after[:depth])
        assert list(zip(side.ranks, side.texts, strict=True)) == after[:depth]


def test_removing_what_is_not_there_changes_nothing() -> None:
    side = Side([(1.0, 5.0)])
    side.apply([(2.0, 0.0)])
    assert (side.prices, side.values) == ([1.0], {1.0: 5.0})


def test_a_level_that_left_the_depth_of_kraken_does_not_come_back() -> None:
    """Kraken sends no deletion for it, so a book that kept it would show it again, at a time when it is long gone."""
    bids = [(100.0 - level, 1.0) for level in range(10)]
    book = Sides(bids, [], VENUES["kraken"].cut_depth)
    book.apply([(101.0, 1.0)], [])  # 91 leaves
    book.apply([(101.0, 0.0)], [])
    assert (min(book.bids.prices), len(book.bids.values)) == (92.0, 9)
    thin = Sides(bids[:8], [], VENUES["kraken"].cut_depth)  # requested with more levels than it has
    thin.apply([(50.0 + level, 1.0) for level in range(20)], [])
    assert len(thin.bids.prices) == 28
    kept = Sides(bids, [], VENUES["okx"].cut_depth)
    kept.apply([(101.0, 1.0)], [])
    assert len(kept.bids.prices) == 11

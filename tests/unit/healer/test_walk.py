"""One read of a hole: pages from one end to the other, and its ends."""

from collections.abc import Callable

import pytest

from recorder.healer.hole import StoredTrade
from recorder.healer.walk import ReadError, Walk, agrees, span_of
from recorder.venues.history import PastPage, PastTrade, TradeHistory

NS = 10**9


def past(trade_id: int, size: float = 1.0, price: float = 10.0, side: str = "b") -> PastTrade:
    return PastTrade(trade_id, trade_id * NS, price, size, "b" if side == "b" else "s")


def stored(trade_id: int, size: float = 1.0, price: float = 10.0, side: str = "b") -> StoredTrade:
    return StoredTrade(trade_id, trade_id * NS, price, size, side)


def history(*, rising: bool, rows: int = 5, merged: bool = False) -> TradeHistory:
    def cursor_at(trade_id: int, _ts_ns: int) -> int:
        return trade_id if rising else trade_id + 1

    return TradeHistory(rows, rising, cursor_at, lambda _symbol, cursor: str(cursor), lambda _body: PastPage([], 0),
                        merged)  # fmt: skip


def serve(ids: range, rows: int, *, rising: bool) -> Callable[[int], PastPage]:
    """Return what a venue that has these ids answers at a cursor."""

    def page(cursor: int) -> PastPage:
        found = [one for one in ids if (one >= cursor if rising else one < cursor)]
        chosen = found[:rows] if rising else found[::-1][:rows]
        following = None if not chosen else chosen[-1] + 1 if rising else chosen[-1]
        return PastPage([past(one) for one in chosen], following)

    return page


@pytest.mark.parametrize("rising", [True, False])
def test_a_walk_reads_every_id_between_its_ends(rising: bool) -> None:
    walk = Walk(history(rising=rising), stored(10), stored(31))
    page = serve(range(1, 100), 5, rising=rising)
    while not walk.done:
        walk.take(page(walk.cursor))
    assert walk.trades.keys() >= set(range(10, 32))
    for end in (stored(10), stored(31)):
        agrees(end, walk.trades, merged=False)


@pytest.mark.parametrize("rising", [True, False])
def test_a_walk_that_is_not_over_says_how_far_it_came(rising: bool) -> None:
    walk = Walk(history(rising=rising), stored(10), stored(31))
    walk.take(serve(range(1, 100), 5, rising=rising)(walk.cursor))
    assert not walk.done
    assert walk.reach == (14 if rising else 27)


@pytest.mark.parametrize("rising", [True, False])
def test_a_page_that_repeats_or_a_cursor_that_stands_still_ends_the_read(rising: bool) -> None:
    walk = Walk(history(rising=rising), stored(10), stored(31))
    page = serve(range(1, 100), 5, rising=rising)(walk.cursor)
    walk.take(page)
    with pytest.raises(ReadError, match="cursor does not advance"):
        walk.take(page)


def test_a_page_that_names_an_id_twice_and_pages_that_differ_end_the_read() -> None:
    walk = Walk(history(rising=True), stored(10), stored(31))
    with pytest.raises(ReadError, match="twice"):
        walk.take(PastPage([past(11), past(11)], 12))
    walk.take(PastPage([past(10), past(11)], 12))
    with pytest.raises(ReadError, match="differ in trade 11"):
        walk.take(PastPage([past(11, size=2.0)], 13))


def test_nothing_more_ends_a_walk_and_its_far_end_is_not_listed() -> None:
    walk = Walk(history(rising=True), stored(10), stored(31))
    walk.take(PastPage([past(10), past(11)], 12))
    walk.take(PastPage([], None))
    assert walk.done
    with pytest.raises(ReadError, match="does not list control row 31"):
        agrees(stored(31), walk.trades, merged=False)


def test_what_begins_above_the_first_id_is_beyond_retention() -> None:
    with pytest.raises(ReadError, match="beyond retention: the first id listed is 15"):
        agrees(stored(10), {15: past(15)}, merged=False)
    with pytest.raises(ReadError, match="beyond retention"):
        agrees(stored(10), {}, merged=False)


@pytest.mark.parametrize("other", [past(10, side="s"), past(10, price=10.5), past(10, size=1.5)])
def test_a_control_row_of_another_side_price_or_size_differs(other: PastTrade) -> None:
    with pytest.raises(ReadError, match="control row 10 differs"):
        agrees(stored(10), {10: other}, merged=False)


def test_a_stored_trade_may_stand_for_several_of_the_venue() -> None:
    trades = {one.trade_id: one for one in (past(8, 9.0), past(9, 0.2), past(10, 0.1), past(11, 0.3))}
    agrees(stored(10, 0.1 + 0.2), trades, merged=True)
    assert span_of(trades, stored(10, 0.3)) == range(9, 11)
    with pytest.raises(ReadError, match="differs"):
        agrees(stored(10, 0.25), trades, merged=True)
    with pytest.raises(ReadError, match="differs"):
        agrees(stored(10, 0.3), trades, merged=False)

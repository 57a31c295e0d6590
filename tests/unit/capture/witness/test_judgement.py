"""What lists of trades and books of REST prove about a stream, and what they do not."""

import pytest

from recorder.capture.witness.judgement import (
    GRACE_NS,
    IDS_AHEAD_MAX,
    OurTrade,
    confirm,
    described,
    judge_book,
    judge_trades,
)
from recorder.venues.witness import SeenBook, SeenTrade

S = 10**9
NOW = 1_772_719_200 * S
SILENT = NOW - 60 * S  # the last data came a minute ago
OURS = OurTrade(100, SILENT)
OLD = SeenTrade(100, SILENT)  # our newest trade, as REST lists it


def trade(trade_id: int | None, age_s: float) -> SeenTrade:
    return SeenTrade(trade_id, NOW - int(age_s * S))


@pytest.mark.parametrize(
    ("listed", "verdict"),
    [
        ([OLD], "quiet"),
        ([trade(99, 61), OLD], "quiet"),
        ([OLD, trade(101, 30)], "dead"),
        ([trade(101, 30)], "dead"),
        ([OLD, trade(101, 3)], "young"),
        ([OLD, trade(101, 30), trade(102, 1)], "dead"),  # one of them had time enough
        ([trade(99, 61)], "not comparable"),  # a cache from before our newest trade
        ([], "not comparable"),
        ([OLD, trade(101, 3600)], "not comparable"),  # missing since before the silence
        ([OLD, trade(101, -600)], "not comparable"),  # a clock ahead of ours
        ([OLD, trade(2**62, 30)], "not comparable"),  # the ids of something else
        ([OLD, trade(101 + IDS_AHEAD_MAX, 30)], "not comparable"),
        ([trade(100, 30)], "dead"),  # a heartbeat named its id, and it did not come
    ],
)
def test_trades_are_judged_by_their_ids(listed: list[SeenTrade], verdict: str) -> None:
    assert judge_trades(listed, OURS, SILENT, NOW).verdict == verdict
    assert judge_trades(listed[::-1], OURS, SILENT, NOW).verdict == verdict


@pytest.mark.parametrize(
    ("listed", "verdict"),
    [
        ([trade(None, 60)], "quiet"),
        ([trade(None, 60.0005)], "quiet"),  # rounded otherwise
        ([trade(None, 59)], "dead"),
        ([trade(None, 5)], "young"),
        ([trade(None, 61)], "not comparable"),
    ],
)
def test_trades_without_ids_are_judged_by_their_times(listed: list[SeenTrade], verdict: str) -> None:
    assert judge_trades(listed, OurTrade(7, SILENT), SILENT, NOW).verdict == verdict


def test_a_stream_that_never_brought_a_trade_owes_only_those_after_its_beginning() -> None:
    never = OurTrade(None, None)
    assert judge_trades([trade(5, 3600)], never, SILENT, NOW).verdict == "quiet"
    assert judge_trades([trade(5, 3600), trade(6, 30)], never, SILENT, NOW).verdict == "dead"


def test_a_young_trade_counts_after_the_grace_unless_it_came() -> None:
    listed = [OLD, trade(101, 3)]
    later = NOW + GRACE_NS
    assert judge_trades(listed, OURS, SILENT, later).verdict == "dead"
    assert judge_trades(listed, OurTrade(101, NOW - 3 * S), SILENT, later).verdict == "quiet"


BIDS = [(100.0 - step, 1.0 + step) for step in range(10)]
ASKS = [(101.0 + step, 2.0 + step) for step in range(10)]
BOOK = SeenBook(BIDS, ASKS)


def changed(price: float, size: float, sequence: int | None = None) -> SeenBook:
    """Return BOOK with another size at a bid."""
    return SeenBook([(one, size if one == price else old) for one, old in BIDS if one != price or size], ASKS, sequence)


def test_equal_books_agree() -> None:
    judged = judge_book([BOOK, BOOK], BOOK)
    assert (judged.verdict, judged.levels) == ("agrees", 20)


def test_a_level_that_moved_meanwhile_is_left_out() -> None:
    judged = judge_book([BOOK, changed(99.0, 7.0)], changed(99.0, 5.0))
    assert (judged.verdict, judged.levels) == ("agrees", 19)


def test_a_difference_counts_if_a_second_answer_confirms_it() -> None:
    first = judge_book([BOOK, BOOK], changed(99.0, 5.0))
    assert first.verdict == "doubtful"
    assert confirm(first, judge_book([BOOK], changed(99.0, 5.0))).verdict == "differs"
    assert confirm(first, judge_book([BOOK], BOOK)).verdict == "agrees"
    assert confirm(first, judge_book([BOOK], changed(98.0, 5.0))).verdict == "not comparable"
    assert described(first.different) == "such as bid 99.0: ours 2.0, the venue's 5.0"


def test_a_level_that_is_missing_differs() -> None:
    assert judge_book([BOOK], changed(99.0, 0.0)).verdict == "doubtful"


def test_levels_below_the_last_of_a_full_list_are_unknown() -> None:
    higher = SeenBook([(100.5, 3.0), *BIDS[:9]], ASKS)  # its tenth bid is our ninth
    judged = judge_book([BOOK], higher)
    assert {price for _, price, _, _ in judged.different} == {100.5}


def test_the_same_sequence_proves_without_a_second_answer() -> None:
    samples = [changed(99.0, 5.0, 7), changed(99.0, 6.0, 8), changed(99.0, 7.0, 9)]
    assert judge_book(samples, changed(99.0, 6.0, 8)).verdict == "agrees"
    assert judge_book(samples, changed(99.0, 5.0, 8)).verdict == "differs"


def test_a_book_in_which_nothing_stands_still_proves_nothing() -> None:
    moving = [SeenBook([(price, size + at) for price, size in BIDS], [], None) for at in range(3)]
    assert judge_book(moving, moving[1]).verdict == "not comparable"
    assert judge_book([], BOOK).verdict == "not comparable"


def test_small_and_empty_books_can_agree() -> None:
    small = SeenBook([(1.0, 1.0)], [])
    assert judge_book([small], small).verdict == "agrees"
    assert judge_book([SeenBook([], [])], SeenBook([], [])).verdict == "agrees"

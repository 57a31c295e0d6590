"""The markets in memory."""

import tracemalloc

from support.venues.polymarket import HOUR_NS, NOW_NS, gamma_body, gamma_row, iso, market

from recorder.poller.polymarket import board as board_module
from recorder.poller.polymarket.board import ROUNDS_WITHOUT_BOOK, Board
from recorder.poller.polymarket.tiers import TierRules
from recorder.venues.polymarket.polls import gamma


def board_of(*markets: object) -> Board:
    """Return a board with markets, judged at NOW_NS."""
    board = Board(TierRules())
    for one in markets:
        board.put(one)  # type: ignore[arg-type]
    board.retier(NOW_NS)
    return board


def test_a_market_moves_to_the_next_tier_as_time_passes() -> None:
    board = board_of(market(endDate=iso(NOW_NS + 13 * HOUR_NS)))
    seen = []
    for hours in (0, 2, 10, 12.5, 15):
        counts = board.retier(NOW_NS + round(hours * HOUR_NS))
        seen.append([tier for tier, count in counts.items() if count])
    assert seen == [["T1"], ["T2"], ["T3"], ["T4"], ["T1"]]
    assert [one.market_id for one in board.polled("T1")] == [1557558]


def test_a_market_whose_book_is_missing_three_times_rests_for_an_hour() -> None:
    board = board_of(market())
    for round_ in range(ROUNDS_WITHOUT_BOOK - 1):
        assert board.books((), [1557558], NOW_NS + round_) == []
    assert board.books((), [1557558], NOW_NS + 5) == [1557558]
    assert board.polled("T3") == ()
    verdict = board.verdict(1557558)
    assert verdict is not None
    assert verdict.reason == "no book"
    board.put(market(NOW_NS + HOUR_NS // 2))
    assert board.retier(NOW_NS + HOUR_NS // 2)["T3"] == 0
    board.put(market(NOW_NS + HOUR_NS + 5))
    assert board.retier(NOW_NS + 1)["T3"] == 1


def test_one_book_makes_up_for_the_missing_ones() -> None:
    board = board_of(market())
    for _ in range(5):
        board.books((), [1557558], NOW_NS)
        board.books((), [1557558], NOW_NS)
        board.books([1557558, 5], [6], NOW_NS)
    assert len(board.polled("T3")) == 1


def test_an_older_answer_does_not_replace_a_newer_one() -> None:
    board = board_of(market(NOW_NS, volumeNum=700))
    before = board.put(market(NOW_NS - 1, volumeNum=600))
    assert before is not None
    kept = board.get(1557558)
    assert kept is not None
    assert kept.numbers.volume == 700


def test_a_volume_that_rises_is_a_trade() -> None:
    board = board_of(market(NOW_NS))
    board.put(market(NOW_NS + 10))
    assert seen_trade(board) == NOW_NS
    board.put(market(NOW_NS + 20, volumeNum=5001))
    assert seen_trade(board) == NOW_NS + 20
    board.traded(1557558, NOW_NS + 15)
    assert seen_trade(board) == NOW_NS + 20


def seen_trade(board: Board) -> int | None:
    """Return when the last trade of the market became known."""
    seen = board.seen(1557558)
    assert seen is not None
    return seen.traded_ns


def test_memory_has_a_limit(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(board_module, "MOST_MARKETS", 3)
    board = board_of(*(market(id=str(number)) for number in range(9)))
    assert len(board) == 3
    board.drop([0, 1, 77])
    assert len(board) == 1


def test_a_market_takes_less_than_four_kilobytes() -> None:
    bodies = [gamma_body(*(gamma_row(id=str(page * 100 + n)) for n in range(100))) for page in range(2)]
    board = Board(TierRules())
    tracemalloc.start()
    for body in bodies:
        for row in gamma.markets(body, NOW_NS).rows:
            board.put(row.market)
    board.retier(NOW_NS)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(board) == 200
    assert size < 200 * 4_096

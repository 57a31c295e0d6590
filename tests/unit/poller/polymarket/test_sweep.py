"""The jobs that ask Gamma: what they ask, what they store, and what becomes of a market that is missing."""

import json
from typing import Any

import pytest
from support.poller.polymarket_rounds import Gamma, GivenRound, intake
from support.venues.polymarket import HOUR_NS, NOW_NS, gamma_body, gamma_row, iso

from recorder.clock import ManualClock
from recorder.errors import DecodeError, RestInvalidResponse, RestUnavailable
from recorder.poller.polymarket.board import ROUNDS_ABSENT
from recorder.poller.polymarket.sweep import NewMarkets, SlowNumbers, Sweep


def row(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of Gamma with its own ids."""
    own = {
        "id": str(number), "slug": f"market-{number}", "conditionId": f"0x{number:064x}",
        "clobTokenIds": f'["{number}0", "{number}1"]',
    }  # fmt: skip
    return gamma_row(**(own | changes))


def values(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Return (market, field, old, new) of rows of market_history."""
    return [(market_id, field, old, new) for market_id, field, _, old, new, _ in rows]


def test_a_sweep_asks_every_page_and_stores_each_market_once() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    gamma = Gamma(*(row(number) for number in range(1, 8)), page=3)
    round_ = GivenRound(clock, gamma)
    Sweep(markets, clock).run(round_)
    assert len(round_.asked) == 3
    assert "closed=false" in round_.asked[0]
    assert "volume_num_min=100&" in round_.asked[0]
    assert [one[0] for one in round_.rows["market"]] == [1, 2, 3, 4, 5, 6, 7]
    assert len(round_.rows["market_rules"]) == 7
    assert len(round_.rows["market_event"]) == 1
    assert "market_history" not in round_.rows
    assert len(markets.board.polled("T3")) == 7

    clock.advance(600)
    again = GivenRound(clock, gamma)
    Sweep(markets, clock).run(again)
    assert again.rows == {}  # nothing changed


def test_each_changed_value_is_one_row_with_both_times() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    Sweep(markets, clock).run(GivenRound(clock, Gamma(row(1))))
    clock.advance(600)
    changed = row(
        1, orderPriceMinTickSize=0.001, endDate=iso(NOW_NS + 3 * HOUR_NS), volumeNum=7000,
        updatedAt="2026-09-21T14:20:00Z", description="New rules",
    )  # fmt: skip
    round_ = GivenRound(clock, Gamma(changed))
    Sweep(markets, clock).run(round_)
    history = round_.rows["market_history"]
    assert sorted(map(str, values(history))) == sorted(map(str, [
        (1, "tick_size", 0.01, 0.001),
        (1, "rules", None, "New rules"),
        (1, "end_at", "2026-09-21T16:13:20Z", "2026-09-21T17:13:20Z"),
    ]))  # fmt: skip
    assert {one[2] for one in history} == {clock.wall_ns()}
    assert {one[5] for one in history} == {1790000400 * 10**9}
    assert len(round_.rows["market"]) == 1
    assert len(round_.rows["market_rules"]) == 1


def test_numbers_alone_are_stored_once_an_hour_with_a_higher_revision() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    revisions: list[int] = []
    for number in range(13):
        round_ = GivenRound(clock, Gamma(row(1, volumeNum=5000 + number, endDate=iso(NOW_NS + 9 * HOUR_NS))))
        Sweep(markets, clock).run(round_)
        revisions += [int(str(one[-1])) for one in round_.rows.get("market", [])]
        clock.advance(600)
    assert len(revisions) == 3
    assert revisions == sorted(set(revisions))


def test_a_clock_that_was_set_back_does_not_lower_a_revision() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    first = GivenRound(clock, Gamma(row(1)))
    Sweep(markets, clock).run(first)
    earlier = ManualClock(NOW_NS - HOUR_NS)
    second = GivenRound(earlier, Gamma(row(1, question="Changed?")))
    Sweep(markets, earlier).run(second)
    assert second.rows == {}  # older by its receipt: it changes nothing


def test_markets_below_the_volume_and_outside_the_window_are_not_kept() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    gamma = Gamma(row(1, volumeNum=99), row(2, endDate=iso(NOW_NS + 400 * HOUR_NS)), row(3, negRiskOther=True), row(4))
    Sweep(markets, clock).run(GivenRound(clock, gamma))
    assert [market.market_id for market, _ in markets.board.all()] == [4]


def test_a_market_that_closed_is_found_by_its_id() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    Sweep(markets, clock).run(GivenRound(clock, Gamma(row(1), row(2))))
    clock.advance(600)
    gamma = Gamma(row(1), row(2, closed=True, outcomePrices='["1", "0"]', umaResolutionStatus="resolved"))
    round_ = GivenRound(clock, gamma)
    Sweep(markets, clock).run(round_)
    assert len(round_.asked) == 2
    assert "closed=true&id=2&" in round_.asked[1]
    assert (2, "phase", "open", "resolved") in values(round_.rows["market_history"])
    [case] = markets.cases.due(clock.wall_ns(), 10)
    assert case.finals["gamma"].payouts == (1_000_000, 0)


def test_an_open_market_outside_the_list_is_found_by_its_id() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    Sweep(markets, clock).run(GivenRound(clock, Gamma(row(1))))
    clock.advance(600)
    gamma = Gamma(row(1, endDate=None))

    def answers(service: str, path: str) -> tuple[int, bytes]:
        return gamma(service, path) if "&id=" in path else (200, gamma_body())

    round_ = GivenRound(clock, answers)
    Sweep(markets, clock).run(round_)
    assert (1, "end_at", "2026-09-21T16:13:20Z", None) in values(round_.rows["market_history"])
    assert [market.market_id for market in markets.board.polled("T0")] == [1]


def test_a_market_that_is_missing_three_times_has_vanished() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    Sweep(markets, clock).run(GivenRound(clock, Gamma(row(1))))
    for number in range(ROUNDS_ABSENT):
        assert len(markets.board) == 1
        clock.advance(600)
        round_ = GivenRound(clock, Gamma())
        Sweep(markets, clock).run(round_)
        assert ("market_history" in round_.rows) is (number == ROUNDS_ABSENT - 1)
    assert values(round_.rows["market_history"]) == [(1, "phase", "open", "vanished")]
    assert len(markets.board) == 0
    assert markets.cases.due(clock.wall_ns(), 10) == []


def test_a_cursor_that_repeats_ends_the_round() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    body = gamma_body(row(1), cursor="same")
    with pytest.raises(RestInvalidResponse, match="echoes the cursor"):
        Sweep(markets, clock).run(GivenRound(clock, lambda *_: (200, body)))
    assert not markets.complete


def test_endless_pages_end_the_round() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    numbers = iter(range(10_000))
    with pytest.raises(RestInvalidResponse, match="has no last page"):
        Sweep(markets, clock).run(GivenRound(clock, lambda *_: (200, gamma_body(cursor=str(next(numbers))))))


def test_an_answer_that_is_no_list_does_not_make_markets_vanish() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    Sweep(markets, clock).run(GivenRound(clock, Gamma(row(1))))
    for _ in range(5):
        with pytest.raises(RestUnavailable, match="HTTP 422"):
            Sweep(markets, clock).run(GivenRound(clock, lambda *_: (422, b"{}")))
        with pytest.raises(DecodeError):
            Sweep(markets, clock).run(GivenRound(clock, lambda *_: (200, b"{}")))
    assert len(markets.board) == 1


def test_new_markets_are_asked_for_until_a_known_one() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    job = NewMarkets(markets, clock)
    old = [row(number, volumeNum=0) for number in range(1, 6)]
    first = GivenRound(clock, Gamma(*old, page=2))
    job.run(first)
    assert (len(first.asked), list(markets.newest)) == (1, [5, 4])  # the sweep finds what is older
    assert [one[0] for one in first.rows["market"]] == [5, 4]

    assert job.run(GivenRound(clock, Gamma(*old, page=2))).state == "skipped"
    clock.advance(30)
    second = GivenRound(clock, Gamma(*old, row(6, volumeNum=0), row(7, volumeNum=0), row(8), page=2))
    assert job.run(second).state == "done"
    assert len(second.asked) == 2
    assert [one[0] for one in second.rows["market"]] == [8, 7, 6]
    assert [market.market_id for market, _ in markets.board.all()] == [8]
    assert first.asked[0] != second.asked[0]  # the same address would be answered from a cache


def test_an_absurd_id_does_not_hide_the_markets_that_come_after_it() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    job = NewMarkets(markets, clock)
    old = [row(number, volumeNum=0) for number in (1, 2, 3, 900_000_000_000_000)]
    job.run(GivenRound(clock, Gamma(*old, page=4)))
    clock.advance(30)
    round_ = GivenRound(clock, Gamma(*old, row(4), row(5), row(6), page=4))
    job.run(round_)
    assert [one[0] for one in round_.rows["market"]] == [6, 5, 4]


def test_numbers_of_markets_that_end_soon_are_asked_for_by_id() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    far = row(1, endDate=iso(NOW_NS + 30 * HOUR_NS))
    Sweep(markets, clock).run(GivenRound(clock, Gamma(far, row(2), row(3))))
    clock.advance(300)
    round_ = GivenRound(clock, Gamma(far, row(2, volumeNum=6000), row(3, closed=True)))
    SlowNumbers(markets, clock).run(round_)
    assert len(round_.asked) == 2
    assert "closed=false&id=2&id=3&at=" in round_.asked[0]
    assert "closed=true&id=3&at=" in round_.asked[1]
    newest = markets.board.get(2)
    assert newest is not None
    assert (newest.numbers.volume, newest.numbers.received_ns) == (6000, clock.wall_ns())
    assert [market.market_id for market in markets.board.polled("T3")] == [2]
    assert SlowNumbers(intake(), clock).run(GivenRound(clock, Gamma())).detail == "nothing due"


def test_odd_rows_of_an_answer_are_named_in_the_round() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    round_ = GivenRound(clock, Gamma(row(1), row(2, version="v7"), row(3, orderMinSize="many")))
    Sweep(markets, clock).run(round_)
    assert sorted(round_.odds) == [
        ("2", "ids of version 'v7' are not known"),
        ("3 orderMinSize", "no number: 'many'"),
    ]
    assert len(markets.board) == 2


def test_the_version_that_a_row_does_not_say_is_asked_of_the_clob() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    gamma = Gamma(row(1, version=None, positionIds=["7", "8"]))

    def answers(service: str, path: str) -> tuple[int, bytes]:
        if service == "gamma":
            return gamma(service, path)
        return 200, json.dumps({"c": path.rpartition("/")[2], "v": "v2"}).encode()

    first = GivenRound(clock, answers)
    Sweep(markets, clock).run(first)
    assert first.asked[-1] == f"clob/clob-markets/0x{1:064x}"
    assert "market" not in first.rows
    clock.advance(600)
    second = GivenRound(clock, answers)
    Sweep(markets, clock).run(second)
    assert [one[2:4] for one in second.rows["market"]] == [("v2", ("7", "8"))]
    assert len(second.asked) == 1


def test_a_market_whose_row_is_not_understood_has_not_vanished() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    Sweep(markets, clock).run(GivenRound(clock, Gamma(row(1), row(2))))
    for _ in range(ROUNDS_ABSENT + 1):
        clock.advance(600)
        round_ = GivenRound(clock, Gamma(row(1), row(2, question=5)))
        Sweep(markets, clock).run(round_)
        assert "market" not in round_.rows
    known = markets.board.get(2)
    assert known is not None
    assert known.phase == "open"


def test_a_second_row_of_a_market_in_one_answer_is_odd_and_changes_nothing() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    body = json.dumps({"markets": [row(1), row(1, orderPriceMinTickSize=0.001)]}).encode()
    for _ in range(2):
        round_ = GivenRound(clock, lambda _service, _path: (200, body))
        markets.take(round_, round_.get("gamma", "/markets/keyset"))
        assert round_.odds == [("market 1", "a second row in one answer")]
        assert "market_history" not in round_.rows
        clock.advance(600)


class Announcing:
    """Gamma, and a stream that announces markets."""

    def __init__(self, gamma: Gamma, *numbers: int) -> None:
        self.gamma = gamma
        self.announced = [f"0x{number:064x}" for number in numbers]

    def __call__(self, service: str, path: str) -> tuple[int, bytes]:
        """Answer a request."""
        if service == "stream":
            assert path == "/new_market"
            found, self.announced = self.announced, []
            return 200, json.dumps(found).encode()
        return self.gamma(service, path)


def test_markets_that_the_stream_announced_are_found_by_the_list() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    job = NewMarkets(markets, clock, stream=True)
    job.run(GivenRound(clock, Announcing(Gamma(row(1), row(2)))))
    clock.advance(30)
    outcome = job.run(GivenRound(clock, Announcing(Gamma(row(1), row(2), row(3)), 2, 3, 4)))
    assert outcome.detail == "1 of 2 announced are listed"  # the second market was listed before
    assert outcome.counts == {"announced": 2, "listed": 1}
    clock.advance(30)
    outcome = job.run(GivenRound(clock, Announcing(Gamma(row(1), row(2), row(3), row(4)))))
    assert outcome.counts == {"announced": 0, "listed": 1}
    assert markets.board.get(4) is not None


def test_a_market_that_the_stream_announced_and_no_list_has_is_named_once() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    job = NewMarkets(markets, clock, stream=True)
    services = Announcing(Gamma(row(1)), 9)
    odds = []
    for _ in range(12):
        round_ = GivenRound(clock, services)
        job.run(round_)
        odds += round_.odds
        clock.advance(30)
    assert odds == [(f"market 0x{9:064x}", "the stream announced it three minutes ago, and no list has it")]


def test_a_cursor_of_absurd_length_ends_the_round_of_new_markets() -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    job = NewMarkets(markets, clock)
    job.run(GivenRound(clock, Gamma(row(1))))
    clock.advance(30)
    body = json.loads(gamma_body(row(2))) | {"next_cursor": "x" * 10_000}
    with pytest.raises(RestInvalidResponse):
        job.run(GivenRound(clock, lambda *_: (200, json.dumps(body).encode())))

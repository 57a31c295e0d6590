"""Which markets are streamed: by tier, with both tokens, and who leaves when."""

from support.venues.polymarket import HOUR_NS, NOW_NS, market

from recorder.poller.polymarket.streams import PRIORITIES, Candidate, plan
from recorder.poller.polymarket.tiers import Tier


def candidate(
    number: int,
    tier: Tier,
    volume: float = 1.0,
    traded_ns: int | None = NOW_NS,
    *,
    has_book: bool = True,
    end_ns: int | None = None,
) -> Candidate:
    """Return a market with tokens `<number>0` and `<number>1`."""
    tokens = f'["{number}0", "{number}1"]'
    one = market(id=str(number), clobTokenIds=tokens, volume24hr=volume)
    return Candidate(one, tier, traded_ns, end_ns, has_book)


def test_the_markets_that_end_soonest_join_with_both_tokens() -> None:
    some = [candidate(1, "T2", 9e9), candidate(2, "T4"), candidate(3, "T3"), candidate(4, "T1"), candidate(5, "T0")]
    changes = plan(some, {}, (), 2, NOW_NS, prune=True)
    assert changes.join == {"20": -1, "21": -1, "30": -2, "31": -2}
    assert changes.leave == []


def test_of_one_tier_those_that_are_streamed_stay_then_volume_counts() -> None:
    some = [candidate(1, "T3", 5.0), candidate(2, "T3", 7.0), candidate(3, "T3", 6.0)]
    followed = dict.fromkeys(("10", "11"), PRIORITIES["T3"])
    changes = plan(some, followed, (), 2, NOW_NS, prune=True)
    assert set(changes.join) == {"20", "21"}
    assert changes.leave == []


def test_a_market_that_changes_its_tier_changes_its_priority() -> None:
    followed = dict.fromkeys(("10", "11"), PRIORITIES["T3"])
    changes = plan([candidate(1, "T4")], followed, (), 5, NOW_NS, prune=False)
    assert changes == ({"10": PRIORITIES["T4"], "11": PRIORITIES["T4"]}, [])


def test_ended_markets_leave_at_the_tenth_minute_and_stay_before() -> None:
    followed = {"70": -1, "71": -1, "10": -2, "11": -2}
    some = [candidate(1, "T3")]
    assert plan(some, followed, (), 5, NOW_NS, prune=False).leave == []
    assert set(plan(some, followed, (), 5, NOW_NS, prune=True).leave) == {"70", "71"}


def test_room_that_is_needed_is_taken_from_the_lowest_at_once() -> None:
    followed = {"10": -3, "11": -3, "20": -2, "21": -2}
    some = [candidate(1, "T2"), candidate(2, "T3"), candidate(3, "T4")]
    changes = plan(some, followed, (), 2, NOW_NS, prune=False)
    assert set(changes.join) == {"30", "31"}
    assert changes.leave == ["10", "11"]


def test_a_market_of_t4_without_a_trade_for_an_hour_leaves() -> None:
    quiet = NOW_NS - HOUR_NS - 1
    followed = dict.fromkeys(("10", "11"), PRIORITIES["T4"])
    assert set(plan([candidate(1, "T4", traded_ns=quiet)], followed, (), 5, NOW_NS, prune=True).leave) == {"10", "11"}
    assert plan([candidate(1, "T4", traded_ns=quiet + 1)], followed, (), 5, NOW_NS, prune=True) == ({}, [])
    assert plan([candidate(2, "T3", traded_ns=None)], {}, (), 5, NOW_NS, prune=True).join


def test_a_market_whose_book_was_not_seen_waits_and_one_that_is_streamed_stays() -> None:
    new, streamed = candidate(1, "T4", has_book=False), candidate(2, "T4", has_book=False)
    followed = dict.fromkeys(("20", "21"), PRIORITIES["T4"])
    assert plan([new, streamed], followed, (), 5, NOW_NS, prune=True) == ({}, [])


def test_a_market_that_is_over_leaves_at_once() -> None:
    followed = {"70": -1, "71": -1, "80": -1, "81": -1}
    assert plan([], followed, {"70", "71"}, 5, NOW_NS, prune=False) == ({}, ["70", "71"])


def test_a_market_that_ends_within_the_minute_does_not_join() -> None:
    soon, later = candidate(1, "T4", end_ns=NOW_NS + 59 * 10**9), candidate(2, "T4", end_ns=NOW_NS + 61 * 10**9)
    assert set(plan([soon, later], {}, (), 5, NOW_NS, prune=True).join) == {"20", "21"}

"""Tiers: hours to the scheduled end, and what has none."""

from typing import Any

import pytest
from support.venues.polymarket import HOUR_NS, NOW_NS, iso, market

from recorder.poller.polymarket.tiers import Tier, TierRules, judge, scheduled_end_ns, tier_by_time

RULES = TierRules()
SPORTS = [{"slug": "sports"}]


@pytest.mark.parametrize(
    ("hours", "tier"),
    [
        (1000.0, "T0"), (48.001, "T0"), (48.0, "T1"), (12.0, "T1"), (11.999, "T2"), (4.0, "T2"), (3.999, "T3"),
        (1.0, "T3"), (0.999, "T4"), (0.0, "T4"), (-1.0, "T4"), (-1.001, "T1"), (-5000.0, "T1"),
    ],
)  # fmt: skip
def test_a_tier_is_the_hours_to_the_end(hours: float, tier: Tier) -> None:
    assert tier_by_time(NOW_NS + round(hours * HOUR_NS), NOW_NS) == tier


def test_a_market_without_an_end_is_in_t0() -> None:
    assert judge(market(endDate=None), NOW_NS, RULES) == ("T0", None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"umaResolutionStatus": "proposed"}, "resolution"),
        ({"umaResolutionStatus": "disputed"}, "resolution"),
        ({"closed": True}, "resolution"),
        ({"version": "v2", "positionIds": ["7", "8"], "resolutionStatus": "resolved"}, "resolution"),
        ({"active": False}, "placeholder"),
        ({"negRiskOther": True}, "placeholder"),
        ({"version": "v2"}, "no ids"),
        ({"outcomes": '["a", "b", "c"]', "clobTokenIds": '["1", "2", "3"]'}, "no ids"),
        ({"enableOrderBook": False}, "no book"),
        ({"volumeNum": 99.9}, "below volume"),
        ({"volumeNum": None}, "below volume"),
        ({"endDate": iso(NOW_NS + 337 * HOUR_NS)}, "outside window"),
    ],
)
def test_a_market_that_is_not_asked_for_has_a_reason(changes: dict[str, Any], reason: str) -> None:
    assert judge(market(**changes), NOW_NS, RULES) == (None, reason)


def test_a_market_whose_book_is_missing_has_no_tier() -> None:
    assert judge(market(), NOW_NS, RULES, without_book=True) == (None, "no book")


def test_a_proposal_of_the_other_version_says_nothing() -> None:
    found = market(version="v2", positionIds=["7", "8"], umaResolutionStatus="proposed", resolutionStatus="active")
    assert judge(found, NOW_NS, RULES).tier == "T3"


def test_a_game_ends_with_its_length_before_a_later_end_date() -> None:
    start_ns = NOW_NS - 2 * HOUR_NS
    game = market(gameStartTime=iso(start_ns), tags=SPORTS, endDate=iso(NOW_NS + 7 * 24 * HOUR_NS))
    assert scheduled_end_ns(game, NOW_NS, RULES) == start_ns + 3 * HOUR_NS
    assert judge(game, NOW_NS, RULES).tier == "T3"
    assert judge(game, NOW_NS, TierRules(game_hours=2.5)).tier == "T4"


def test_an_end_date_that_is_past_before_the_game_ends_says_nothing() -> None:
    game = market(gameStartTime=iso(NOW_NS + 5 * HOUR_NS), tags=SPORTS, endDate=iso(NOW_NS - 9 * HOUR_NS))
    assert judge(game, NOW_NS, RULES).tier == "T2"
    assert judge(game, NOW_NS + 8 * HOUR_NS, RULES).tier == "T4"
    assert judge(game, NOW_NS + 10 * HOUR_NS, RULES).tier == "T1"


def test_the_start_of_a_price_window_has_no_length() -> None:
    window = market(eventStartTime=iso(NOW_NS - 20 * HOUR_NS), endDate=iso(NOW_NS + 5 * HOUR_NS))
    assert judge(window, NOW_NS, RULES).tier == "T2"


def test_the_true_end_is_no_input() -> None:
    assert judge(market(closedTime=iso(NOW_NS - HOUR_NS)), NOW_NS, RULES) == judge(market(), NOW_NS, RULES)

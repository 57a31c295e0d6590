"""The tier of a market: how often its book is asked for, by the hours to its scheduled end.

The end is what the venue announces before it happens: `endDate`, or the start of a game and the length of one. The
time at which a market really closed is not used, because it is not known before.
"""

from typing import Literal, NamedTuple

import msgspec

from recorder.venues.polymarket.polls.market import Market

Tier = Literal["T0", "T1", "T2", "T3", "T4"]
TIERS: tuple[Tier, ...] = ("T0", "T1", "T2", "T3", "T4")
PERIODS_S: dict[Tier, int] = {"T0": 3600, "T1": 300, "T2": 60, "T3": 30, "T4": 15}
"""Seconds between two snapshots of a market."""

HOUR_NS = 3_600 * 10**9
_LEAST_LEFT_NS: tuple[tuple[int, Tier], ...] = (
    (48 * HOUR_NS + 1, "T0"),
    (12 * HOUR_NS, "T1"),
    (4 * HOUR_NS, "T2"),
    (1 * HOUR_NS, "T3"),
)
_OVERTIME_NS = HOUR_NS
"""How long a market that is past its end and still open stays in T4."""

Unpolled = Literal["resolution", "placeholder", "no ids", "no book", "below volume", "outside window"]


class TierRules(msgspec.Struct, frozen=True):
    """Which markets are polled."""

    volume_min: float = 100.0  # USDC
    window_hours: float = 336.0
    game_hours: float = 3.0  # expected length of a game


class Verdict(NamedTuple):
    """The tier of a market; else the reason why its book is not asked for."""

    tier: Tier | None
    reason: Unpolled | None = None


def scheduled_end_ns(market: Market, now_ns: int, rules: TierRules) -> int | None:
    """Return the scheduled end of a market: the earlier of its endDate and of its game's expected end.

    Some games have an endDate before their end, or at midnight before their start. Once that is past, it says nothing,
    and the game's end counts. Only a game has a length; the start of a price window says nothing about the end.
    """
    if market.game is None or market.game_start_ns is None:
        return market.end_ns
    game_end_ns = market.game_start_ns + int(rules.game_hours * HOUR_NS)
    if market.end_ns is None or market.end_ns <= now_ns:
        return game_end_ns
    return min(market.end_ns, game_end_ns)


def tier_by_time(end_ns: int | None, now_ns: int) -> Tier:
    """Return the tier of an open market by its scheduled end; T0 where it has none."""
    if end_ns is None:
        return "T0"
    left_ns = end_ns - now_ns
    for limit_ns, tier in _LEAST_LEFT_NS:
        if left_ns >= limit_ns:
            return tier
    return "T4" if left_ns >= -_OVERTIME_NS else "T1"


def judge(market: Market, now_ns: int, rules: TierRules, *, without_book: bool = False) -> Verdict:
    """Return the tier of a market, or why its book is not asked for.

    Args:
        market: What Gamma says of it.
        now_ns: The time, nanoseconds since 1970.
        rules: The settings.
        without_book: Whether its book was missing from several answers in a row.
    """
    if market.phase != "open":
        return Verdict(None, "resolution")
    if market.neg_risk_other or not market.active:
        return Verdict(None, "placeholder")
    if len(market.tokens) != 2 or not all(market.tokens):
        return Verdict(None, "no ids")
    if without_book or market.enable_order_book is False:
        return Verdict(None, "no book")
    volume = market.numbers.volume
    if volume is None or volume < rules.volume_min:
        return Verdict(None, "below volume")
    end_ns = scheduled_end_ns(market, now_ns, rules)
    if end_ns is not None and end_ns - now_ns > rules.window_hours * HOUR_NS:
        return Verdict(None, "outside window")
    return Verdict(tier_by_time(end_ns, now_ns))

"""The population of a world: lanes of slots, in each of which one market follows another.

A lane's markets live equally long, and their phases are spread evenly, so that the number of markets in each tier is
the same at every moment.
"""

import msgspec

HOUR_S = 3600
DAY_S = 24 * HOUR_S


class Lane(msgspec.Struct, frozen=True):
    """Slots whose markets live equally long."""

    name: str
    first: int  # its first slot
    slots: int
    life_s: int
    challenge_s: int  # between a proposal and its settlement
    group: int = 1  # markets of one event
    lag_s: int = 90  # between the first sight at Gamma and the first book at the CLOB
    varied: bool = False  # its markets take every path to a resolution in turn
    trades: int = 1  # its part of the trades, relative to the other lanes


# (name, slots, life, challenge, group, lag, varied, trades)
_DEMO = (
    ("minutes", 12, 120, 12, 1, 5, True, 6),
    ("series", 8, 300, 20, 1, 8, True, 4),
    ("hour", 8, HOUR_S, 60, 1, 20, False, 3),
    ("hours", 8, 4 * HOUR_S, 300, 4, 60, False, 2),
    ("evening", 8, 12 * HOUR_S, 600, 4, 60, False, 2),
    ("days", 8, 48 * HOUR_S, 1200, 4, 90, False, 1),
    ("weeks", 8, 14 * DAY_S, 2 * HOUR_S, 4, 120, False, 1),
)

# Slots per 10,000. A lane adds slots / life to every hour before its markets' end, which gives the tiers of the
# protocol page: 6,700 with more than 48 hours to go, 1,900 from 12 h, 700 from 4 h, 300 from 1 h, 400 below.
_FULL = (
    ("quarter", 60, HOUR_S // 4, 600, 1, 20, False, 8),
    ("hour", 240, HOUR_S, 1800, 1, 60, False, 6),
    ("hours", 52, 4 * HOUR_S, 2 * HOUR_S, 1, 90, False, 3),
    ("evening", 416, 12 * HOUR_S, 2 * HOUR_S, 4, 120, False, 2),
    ("days", 1416, 48 * HOUR_S, 2 * HOUR_S, 4, 120, False, 1),
    ("weeks", 7816, 14 * DAY_S, 2 * HOUR_S, 4, 180, False, 1),
)
_DEMO_LIMIT = 200
"""Up to this many markets, many of them end within minutes, so that a person sees their lives."""


def lanes(markets: int) -> tuple[Lane, ...]:
    """Return the lanes of a world of about that many open markets.

    Raises:
        ValueError: the number is not within 10 and 10,000.
    """
    if not 10 <= markets <= 10_000:
        raise ValueError(f"a world has 10 to 10,000 markets, not {markets}")
    table = _DEMO if markets <= _DEMO_LIMIT else _FULL
    total = sum(row[1] for row in table)
    made: list[Lane] = []
    first = 0
    for name, share, life_s, challenge_s, group, lag_s, varied, trades in table:
        groups = max(1, round(share * markets / total / group))
        made.append(Lane(name, first, groups * group, life_s, challenge_s, group, lag_s, varied, trades))
        first += groups * group
    return tuple(made)

"""Known defects of Yahoo's dividends and splits, as flags on them. Nothing is repaired.

Yahoo's adjusted close falls behind the close by (1 - amount / close before) at each dividend. So the two closes tell
which amount Yahoo applied, and the price tells whether a large amount was paid at all.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from recorder.venues.yahoo.anomalies import SCALE_100, SCALE_SPLIT
from recorder.venues.yahoo.model import Action, Bar, with_flags

NOT_IN_ADJCLOSE = "not_in_adjclose"  # the adjusted close was not lowered by it
DIFFERS_FROM_ADJCLOSE = "differs_from_adjclose"  # it was lowered by another amount, such as one of before a split
GAIN_COUNTED_TWICE = "gain_counted_twice"  # a capital gain, also contained in the dividend, was applied twice
NO_PRICE_DROP = "no_price_drop"  # a large amount, and the price did not fall: a wrong unit or a wrong day
WRONG_UNIT = "wrong_unit"  # pounds where the prices are pence
REPEATED = "repeated"  # the same amount twice within a week
PRICES_NOT_SCALED = "prices_not_scaled"  # prices of this answer are off by the ratio of the split

_LARGE = 0.1  # of the close before
_VISIBLE = 2e-4  # a smaller share of the close is lost in the digits of the adjusted close
_UNSEEN = 5e-3  # of the amount: less than the hundredth part that a wrong unit leaves
_TINY = 5e-4
_SAME = 0.1  # two amounts are the same within this share
_REPEATED_DAYS = 6  # some funds pay every week
_WRONG_SCALE = frozenset((SCALE_100, SCALE_SPLIT))


class _Around(NamedTuple):
    """The bar before the day of an action, and the first bar without it."""

    before: Bar
    after: Bar


def flag_actions(actions: Sequence[Action], bars: Sequence[Bar], *, minor_unit: bool) -> list[Action]:
    """Return the actions with the flags of what is odd about them.

    Args:
        actions: Of one answer, in the order of time.
        bars: Daily bars of the same answer with their flags, in the order of time.
        minor_unit: Whether the prices came in hundredths of the currency.
    """
    gains = {action.ex_day: action.amount or 0.0 for action in actions if action.kind == "capital_gain"}
    settled = [bar for bar in bars if not bar.live]
    flagged = []
    for action in actions:
        flags: set[str] = set()
        if action.kind == "split":
            if any(SCALE_SPLIT in bar.flags for bar in settled):
                flags.add(PRICES_NOT_SCALED)
        elif action.kind == "dividend" and action.amount:
            if _is_repeated(action, actions):
                flags.add(REPEATED)
            around = _around(settled, action.ex_day)
            if around is not None:
                flags |= _dividend_flags(action.amount, gains.get(action.ex_day, 0.0), around, minor_unit)
        flagged.append(_with(action, flags))
    return flagged


def _dividend_flags(amount: float, gain: float, around: _Around, minor_unit: bool) -> set[str]:
    before, after = around
    flags = set()
    if minor_unit and amount < _TINY * before.close:
        flags.add(WRONG_UNIT)
    if amount > _LARGE * before.close and before.close - min(after.open, after.close) < amount * 0.3:
        flags.add(NO_PRICE_DROP)
    applied = _applied(around)
    if applied is None or amount < _VISIBLE * before.close:
        return flags
    if gain and _is_same(applied, amount + gain):
        if abs(before.close - after.close - amount) < abs(before.close - after.close - amount - gain):
            flags.add(GAIN_COUNTED_TWICE)
    elif applied < _UNSEEN * amount:
        flags.add(NOT_IN_ADJCLOSE)
    elif not _is_same(applied, amount):
        flags.add(DIFFERS_FROM_ADJCLOSE)
    return flags


def _applied(around: _Around) -> float | None:
    """Return the amount by which the adjusted close was lowered; None where that cannot be seen."""
    before, after = around
    if not before.adjclose or not after.adjclose or not after.close or not before.close:
        return None
    kept = before.adjclose / before.close * after.close / after.adjclose
    return (1 - kept) * before.close


def _around(bars: Sequence[Bar], day: date) -> _Around | None:
    after = next((index for index, bar in enumerate(bars) if bar.day >= day), None)
    if not after:
        return None
    around = _Around(bars[after - 1], bars[after])
    if any(_WRONG_SCALE.intersection(bar.flags) or bar.close <= 0 for bar in around):
        return None
    return around


def _is_same(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * other


def _is_repeated(action: Action, actions: Sequence[Action]) -> bool:
    return any(
        other.kind == action.kind
        and other.amount == action.amount
        and 0 < abs((other.ex_day - action.ex_day).days) <= _REPEATED_DAYS
        for other in actions
    )


def _with(action: Action, flags: set[str]) -> Action:
    return Action(
        action.kind, action.ex_at_s, action.ex_day, action.amount, action.numerator, action.denominator,
        with_flags(action.flags, *flags),
    )  # fmt: skip

"""Known defects of Yahoo's prices, as flags on bars. Nothing is repaired.

The captured histories of yfinance (TAPEDECK_DATA/captures/yahoo/anomaly_*) hold real cases: single days or half of a
history off by 100 (pence and pounds) or by the ratio of a split, prices and volumes of zero.
"""

import bisect
import math
from collections.abc import Iterator, Sequence
from datetime import date

from recorder.venues.yahoo.model import DAY_S, Action, Bar, with_flags

SCALE_100 = "scale_100"  # a price off by 100: hundredths of the currency taken for units, or the reverse
SCALE_SPLIT = "scale_split"  # off by the ratio of a split: not applied, or applied twice
ZERO_PRICE = "zero_price"
NEGATIVE_PRICE = "negative_price"
ZERO_VOLUME = "zero_volume"  # of a day, where other days have one
INCONSISTENT = "inconsistent"  # open or close outside of low to high

_NEAR = 0.3  # distance from a factor, as a share of the factor's logarithm: the rest of the step is a price move
_LARGE = math.log(5)  # no market makes such a step in a day, so a split is looked for at any distance
_NEAR_DAYS = 45  # a smaller step is a defect only near its split
_ROUNDING = 1e-6


def flag_bars(bars: Sequence[Bar], actions: Sequence[Action], interval_s: int, reference: float | None) -> list[Bar]:
    """Return the bars with the flags of what is odd about them.

    Args:
        bars: In the order of time.
        actions: The splits and dividends of the same answer.
        interval_s: Length of a bar in seconds.
        reference: A price of the same moment as the newest bar that is known otherwise; None where there is none.
    """
    flags = [_own_flags(bar) for bar in bars]
    if interval_s >= DAY_S and any(bar.volume for bar in bars):
        for index, bar in enumerate(bars):
            if bar.volume == 0 and not bar.live:
                flags[index].add(ZERO_VOLUME)
    for index, flag in _wrong_scales(bars, actions, reference):
        flags[index].add(flag)
    return [
        Bar(
            bar.start_s, bar.day, *bar.prices, bar.volume, bar.adjclose, bar.live, bar.partial,
            with_flags(bar.flags, *found),
        )
        for bar, found in zip(bars, flags, strict=True)
    ]  # fmt: skip


def _own_flags(bar: Bar) -> set[str]:
    """Return what is odd about a bar without looking at others."""
    flags = set()
    if 0.0 in bar.prices:
        flags.add(ZERO_PRICE)
    if min(bar.prices) < 0:
        flags.add(NEGATIVE_PRICE)  # true of oil on 2020-04-20
    noise = _ROUNDING * max(map(abs, bar.prices))
    if bar.low > min(bar.prices) + noise or bar.high < max(bar.prices) - noise:
        flags.add(INCONSISTENT)
    return flags


def _wrong_scales(bars: Sequence[Bar], actions: Sequence[Action], reference: float | None) -> Iterator[tuple[int, str]]:
    """Return the bars off by a factor of the prices around them, from the newest back; the newest is believed.

    A dividend between two days lowers the price, so it is added to what is expected of the earlier day.
    """
    splits = [action for action in actions if action.kind == "split"]
    paid = {action.ex_day: action.amount or 0.0 for action in actions if action.kind == "dividend"}
    ex_days = sorted(paid)
    later: date | None = None
    for index in range(len(bars) - 1, -1, -1):
        bar = bars[index]
        if bar.close <= 0:
            continue
        if reference is None:
            reference, later = bar.close, bar.day
        if later is not None:
            between = ex_days[bisect.bisect_right(ex_days, bar.day) : bisect.bisect_right(ex_days, later)]
            reference += sum(paid[day] for day in between)
        factors = _factors(bar.day, splits)
        factor, flag = _factor(bar.close / reference, factors)
        if flag:
            yield index, flag
        else:
            yield from ((index, flag) for flag in _inside(bar, factors))
        reference, later = bar.close / factor, bar.day


def _inside(bar: Bar, factors: dict[float, str]) -> set[str]:
    """Return the flags of single prices of a bar that are off against its close."""
    found = (_factor(price / bar.close, factors)[1] for price in bar.prices if price > 0)
    return {flag for flag in found if flag}


def _factors(day: date, splits: Sequence[Action]) -> dict[float, str]:
    """Return the factors by which a price of a day may be wrong, each with its flag."""
    factors = {100.0: SCALE_100, 0.01: SCALE_100}
    for split in splits:
        size = abs(math.log(split.ratio))
        if size >= _LARGE or (size > 0.1 and abs((split.ex_day - day).days) <= _NEAR_DAYS):
            factors |= {split.ratio: SCALE_SPLIT, 1 / split.ratio: SCALE_SPLIT}
    return factors


def _factor(step: float, factors: dict[float, str]) -> tuple[float, str]:
    """Return the factor that explains a step between two prices, with its flag; 1.0 where the step is a price move."""
    moved = math.log(step)
    factor = min(factors, key=lambda factor: abs(moved - math.log(factor)))
    size = math.log(factor)
    return (factor, factors[factor]) if abs(moved - size) <= _NEAR * abs(size) else (1.0, "")

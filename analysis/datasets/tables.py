"""Features of the two sets with a few prices for each market: `mixed24h` and `long_horizon`."""

from dataclasses import dataclass

import numpy as np

from analysis.arrays import DAY, Floats, Ints
from analysis.datasets.frame import Texts
from analysis.features.registry import Registry

CATEGORIES = ("crypto", "economics", "entertainment", "geopolitics", "politics", "sports")
SOURCES = ("infer", "manifold", "metaculus", "polymarket")


@dataclass(frozen=True, eq=False)
class Quoted:
    """Values known of each row at its decision time."""

    price: Floats  # probability of YES now
    first: Floats  # first known price, probability; NaN when there is none
    opened: Ints  # ns, when the market opened; 0 when unknown
    at: Ints  # ns, decision time; 0 when unknown
    category: Texts
    source: Texts


def _logit(price: Floats) -> Floats:
    p = np.clip(price, 0.001, 0.999)
    return np.log(p / (1 - p))


QUOTED: Registry[Quoted, Floats] = Registry()
"""Features of the current price, the first price, the age and the kind of a market."""


@QUOTED.add("logit_price", "price", ["price"])
def logit_price(now: Quoted) -> Floats:
    """Log odds of the price.

    Formula: ln(p / (1 - p)), p clipped to [0.001, 0.999]
    Unit: logit
    Null: no price
    Source: price history
    """
    return _logit(now.price)


@QUOTED.add("dist_from_half", "price", ["price"])
def dist_from_half(now: Quoted) -> Floats:
    """Distance of the price from one half.

    Formula: |p - 0.5|
    Unit: probability
    Null: no price
    Source: price history
    """
    return np.abs(now.price - 0.5)


@QUOTED.add("logit_since_first", "price", ["price"])
def logit_since_first(now: Quoted) -> Floats:
    """Change of the log odds since the first price.

    Formula: logit p - logit of the first price
    Unit: logit
    Null: either price missing
    Source: price history
    """
    return _logit(now.price) - _logit(now.first)


@QUOTED.add("first_dist_from_half", "price", ["price"])
def first_dist_from_half(now: Quoted) -> Floats:
    """Distance of the first price from one half.

    Formula: |first price - 0.5|
    Unit: probability
    Null: first price missing
    Source: price history
    """
    return np.abs(now.first - 0.5)


@QUOTED.add("age_days", "time", ["listing"])
def age_days(now: Quoted) -> Floats:
    """Time since the market opened.

    Formula: (t - opening) / 1 day
    Unit: d
    Null: opening or t not known
    Source: listing
    """
    return np.where((now.opened > 0) & (now.at > 0), (now.at - now.opened) / DAY, np.nan)


@QUOTED.add("category_{kind}", "kind", ["listing"], kind=CATEGORIES)
def of_kind(now: Quoted, kind: str) -> Floats:
    """Indicator of one category.

    Formula: 1 if category = kind else 0
    Unit: 0 or 1
    Null: never
    Source: listing
    """
    return np.asarray(now.category == kind, np.float64)


@QUOTED.add("source_{source}", "kind", ["listing"], source=SOURCES)
def from_source(now: Quoted, source: str) -> Floats:
    """Indicator of one venue.

    Formula: 1 if its source = source else 0
    Unit: 0 or 1
    Null: never
    Source: listing
    """
    return np.asarray(now.source == source, np.float64)

"""Markets known by a price series alone: the snapshot features that such a series can give.

The series is the middle of the market as the venue's price history gives it; the features are those of
`analysis.snapshots`, so that a model trained here reads the same columns from a live snapshot.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from analysis import snapshots
from analysis.arrays import HOUR, MINUTE, Floats, Ints
from analysis.features.moment import Arrivals
from analysis.snapshots import MarketTape
from analysis.snapshots.view import EventListing, Listing, MarketBook, Mids

PRICE = ("logit_mid", "dist_from_half")
MOVES = ("ret_5m", "ret_1h", "ret_24h", "vol_1h", "vol_24h", "range_24h", "pos_in_range_24h")
CLOCK = ("hour_sin", "hour_cos", "day_of_week")
OF_EVENT = ("event_overround", "rank_in_event", "event_market_count")

_OLDEST = HOUR
"""A point stands for the price this long."""


def last_known(at: Ints, price: Floats, t: int) -> float:
    """The last point at or before t, at most an hour old; NaN where there is none."""
    last = int(np.searchsorted(at, t, side="right")) - 1
    return float(price[last]) if last >= 0 and t - at[last] <= _OLDEST else np.nan


def tape(
    at: Ints,
    price: Floats,
    t: int,
    *,
    start_ns: int | None = None,
    end_ns: int | None = None,
    event: Sequence[float] = (),
    own: int = 0,
) -> MarketTape:
    """The series as a tape; what lies after t is cut by the features themselves.

    Args:
        at: (n,) times of the points, ns, ascending.
        price: (n,) probability of YES.
        t: The snapshot, ns.
        start_ns: When the market began.
        end_ns: When it was scheduled to end, where that was known beforehand.
        event: Prices at t of all markets of its event, which exclude each other; none where they are not known.
        own: Position of this market among them.
    """
    last = int(np.searchsorted(at, t, side="right")) - 1
    books = []
    if last >= 0:
        level, nobody = np.array([price[last]]), np.array([np.nan])
        books = [MarketBook(int(at[last]), level, nobody, level, nobody)]  # the middle is all we know of the book
    listing = Listing(t, start_ns=start_ns, end_ns=end_ns, neg_risk=len(event) > 0)
    listings = [EventListing(t, None, None, np.array(event, np.float64), own)] if len(event) else []
    mids = Arrivals(Mids(at, at, price))
    return MarketTape(books=books, listings=[listing], events=listings, mids=mids, interval_ns=30 * MINUTE, hourly=True)


def row(market: MarketTape, t: int, names: Iterable[str]) -> list[float]:
    """Snapshot features at t."""
    return [float(value) for value in snapshots.compute(market, t, names).values()]

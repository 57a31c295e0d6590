"""Markets known by a price series alone: the snapshot features that such a series provides.

The series is the middle of the market from the venue's price history. The features are those of
`analysis.prediction_markets`, so that a model trained on them reads the same columns from a live snapshot.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from analysis import prediction_markets
from analysis.arrays import HOUR, MINUTE, Floats, Ints
from analysis.features.point_in_time import ReceiptIndex
from analysis.prediction_markets import MarketTape
from analysis.prediction_markets.view import EventListing, Listing, MarketBook, Mids

PRICE = ("logit_mid", "dist_from_half")
MOVES = ("ret_5m", "ret_1h", "ret_24h", "vol_1h", "vol_24h", "range_24h", "pos_in_range_24h")
OF_EVENT = ("event_overround", "rank_in_event", "event_market_count")

_OLDEST = HOUR
"""A point is valid for this long."""


def last_known(at: Ints, price: Floats, t: int) -> float:
    """Return the last point at or before t that is at most an hour old; NaN when there is none."""
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
    """Return the series as a tape; the features themselves ignore points after t.

    Args:
        at: (n,) times of the points, ns, ascending.
        price: (n,) probability of YES.
        t: The snapshot, ns.
        start_ns: When the market began.
        end_ns: Scheduled end, when it was known beforehand.
        event: Prices at t of all mutually exclusive markets of its event; empty when unknown.
        own: Position of this market among them.
    """
    last = int(np.searchsorted(at, t, side="right")) - 1
    books = []
    if last >= 0:
        # Only the middle of the book is known.
        level, unknown = np.array([price[last]]), np.array([np.nan])
        books = [MarketBook(int(at[last]), level, unknown, level, unknown)]
    listing = Listing(t, start_ns=start_ns, end_ns=end_ns, neg_risk=len(event) > 0)
    listings = [EventListing(t, None, None, np.array(event, np.float64), own)] if len(event) else []
    mids = ReceiptIndex(Mids(at, at, price))
    return MarketTape(books=books, listings=[listing], events=listings, mids=mids, interval_ns=30 * MINUTE, hourly=True)


def row(market: MarketTape, t: int, names: Iterable[str]) -> list[float]:
    """Return snapshot features at t."""
    return [float(value) for value in prediction_markets.compute(market, t, names).values()]

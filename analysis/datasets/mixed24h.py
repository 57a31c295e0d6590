"""Mixed markets with three prices each: the first, the one at mid-life, and the one a day before the end.

The true closing time determines the times of the rows. It was not known beforehand, so nothing measured from it is a
feature. The times of the first and the middle price are not given, so these rows start at time 0: purging leaves no
training rows beside them, and they can only be evaluated.
"""

from pathlib import Path

import numpy as np

from analysis.arrays import DAY
from analysis.datasets.files import floats, found, instants, table, words
from analysis.datasets.frame import Dataset, file_hash, once_each, texts
from analysis.datasets.tables import CATEGORIES, QUOTED, Quoted
from analysis.definition import definitions
from analysis.splits import Scheme

HORIZONS = {"24h": "price_24h_before", "midlife": "price_midlife", "earliest": "price_earliest"}
"""Name -> column of the market price at that horizon, which is the forecast to beat there."""

FEATURES = (
    "logit_price",
    "dist_from_half",
    "logit_since_first",
    "first_dist_from_half",
    *(f"category_{kind}" for kind in CATEGORIES),
)


def load(folder: Path) -> Dataset:
    """Load all markets at the horizons at which they have a price.

    Raises:
        DataMissing: The file is missing.
    """
    path = found(folder, "mixed24h_markets.csv.gz")
    rows = table(path)
    closed, first, outcome = instants(rows, "closed_time"), floats(rows, "price_earliest"), floats(rows, "outcome_yes")
    prices = {horizon: floats(rows, column) for horizon, column in HORIZONS.items()}
    index = np.concatenate([np.flatnonzero(~np.isnan(price)) for price in prices.values()])
    horizon = np.concatenate([np.full(int((~np.isnan(price)).sum()), name) for name, price in prices.items()])
    price = np.concatenate([price[~np.isnan(price)] for price in prices.values()])
    ids, category = words(rows, "market_id")[index], words(rows, "category")[index]
    start = np.where(horizon == "24h", closed[index] - DAY, 0)
    unknown = np.zeros(len(index), np.int64)
    quoted = Quoted(price, first[index], unknown, unknown, category, texts(len(index), "polymarket"))
    return Dataset(
        name="mixed24h",
        baseline="market price",
        features={name: QUOTED[name].compute(quoted) for name in FEATURES},
        definitions=definitions(QUOTED[name] for name in FEATURES),
        sources={path.name: file_hash(path)},
        label=outcome[index],
        market=price,
        start=start,
        end=closed[index],
        event=words(rows, "event_key")[index],
        subject=ids,
        horizon=horizon,
        tier=texts(len(index), "mixed"),
        category=category,
        weight=once_each(ids),
        scheme=Scheme.GROUPED,
    )

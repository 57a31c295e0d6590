"""Mixed markets with a price every ten minutes: sports props, weather, politics, token launches.

The true end is the last point and was not known beforehand. It determines the times of the rows and is not a feature.
"""

from pathlib import Path

import numpy as np

from analysis.arrays import HOUR
from analysis.datasets import series
from analysis.datasets.files import floats, found, instants, points_by, table, words
from analysis.datasets.frame import Dataset, file_hash, once_each, texts
from analysis.definition import definitions
from analysis.prediction_markets import MARKET_FEATURES
from analysis.splits import Scheme

HORIZONS = {f"{hours}h": hours * HOUR for hours in (168, 48, 24, 12, 4, 1)}
"""Name -> time before the true end."""

FEATURES = (*series.PRICE, "ret_24h", "vol_24h", "range_24h", "pos_in_range_24h")


def load(folder: Path) -> Dataset:
    """Load all markets at all horizons at which they have a point at most an hour old.

    Raises:
        DataMissing: A file of the set is missing.
    """
    markets, prices = (found(folder, name) for name in ("mixed10m_markets.csv.gz", "mixed10m_prices.parquet"))
    rows = table(markets)
    points = points_by(prices, "market_slug")
    ids, events = words(rows, "market_slug"), words(rows, "event_key")
    end, outcome = instants(rows, "last_ts"), floats(rows, "outcome_yes")
    nothing = (np.zeros(0, np.int64), np.zeros(0))
    values: list[list[float]] = []
    kept: list[tuple[int, str, int, float]] = []
    for horizon, before in HORIZONS.items():
        for i in range(len(ids)):
            t = int(end[i]) - before
            at, price = points.get(ids[i], nothing)
            now = series.last_known(at, price, t)
            if np.isnan(now):
                continue
            values.append(series.row(series.tape(at, price, t), t, FEATURES))
            kept.append((i, horizon, t, now))
    index = np.array([i for i, *_ in kept], np.int64)
    table_ = np.array(values, np.float64).reshape(len(kept), len(FEATURES))
    return Dataset(
        name="mixed10m",
        baseline="market price",
        features={name: table_[:, j].copy() for j, name in enumerate(FEATURES)},
        definitions=definitions(MARKET_FEATURES[name] for name in FEATURES),
        sources={path.name: file_hash(path) for path in (markets, prices)},
        label=outcome[index],
        market=np.array([price for *_, price in kept]),
        start=np.array([t for _, _, t, _ in kept], np.int64),
        end=end[index],
        event=events[index],
        subject=ids[index],
        horizon=np.array([horizon for _, horizon, _, _ in kept]),
        tier=texts(len(kept), "10m"),
        category=texts(len(kept), "mixed"),
        weight=once_each(ids[index]),
        scheme=Scheme.GROUPED,
    )

"""Bitcoin range markets: "between A and B at noon New York time", nine bands an event, with hourly spot candles."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import NormalDist

import numpy as np

from analysis.arrays import HOUR, MINUTE, Floats, Ints
from analysis.datasets import series
from analysis.datasets.files import floats, found, instants, points_by, table, words
from analysis.datasets.frame import Dataset, file_hash, once_each, texts
from analysis.definition import definitions
from analysis.features.registry import Registry
from analysis.prediction_markets import MARKET_FEATURES

HORIZONS = {
    "24h": 24 * HOUR,
    "12h": 12 * HOUR,
    "4h": 4 * HOUR,
    "1h": HOUR,
    "15m": 15 * MINUTE,
    "5m": 5 * MINUTE,
}
"""Name -> time before the scheduled end, which is known from the start."""

SNAPSHOT_FEATURES = (
    *series.PRICE,
    *(name for name in series.MOVES if name != "ret_24h"),  # the series covers at most one day
    *series.OF_EVENT,
    "log_hours_to_end",
    "age_hours",
    "life_elapsed",
    "day_of_week",
)


@dataclass(frozen=True, eq=False)
class Spot:
    """Hourly candles of the underlying; a candle is known when its hour is over."""

    known: Ints  # ns, open time plus one hour
    close: Floats

    def upto(self, t: int) -> Floats:
        """Return closes known by t, oldest first."""
        return self.close[: int(np.searchsorted(self.known, t, side="right"))]


@dataclass(frozen=True, eq=False)
class Band:
    """Band of a market, and the spot as known at t."""

    low: float  # USD
    high: float  # USD
    end_ns: int  # scheduled
    t: int
    price: float  # of YES, probability
    closes: Floats  # hourly, known by t, oldest first

    @property
    def spot(self) -> float:
        """Return the last known close."""
        return float(self.closes[-1]) if len(self.closes) else np.nan

    def volatility(self, hours: int) -> float:
        """Return the root mean square of the last hourly log returns."""
        returns = np.diff(np.log(self.closes[-hours - 1 :]))
        return float(np.sqrt(np.mean(returns**2))) if len(returns) == hours else np.nan

    @cached_property
    def ahead(self) -> float:
        """Return the standard deviation of the log price at the end, from the last week and the age of the close."""
        hours = max((self.end_ns - self.t) / HOUR, 0.0) + (self.t % HOUR) / HOUR
        return self.volatility(168) * float(np.sqrt(hours))

    def distance(self, level: float) -> float:
        """Return ln(level / spot) in standard deviations until the end."""
        return float(np.log(level / self.spot)) / self.ahead if self.ahead > 0 else np.nan


BANDS: Registry[Band, float] = Registry()
"""Features of the band's position relative to the spot."""


@BANDS.add("to_low", "band", ["spot"])
def to_low(now: Band) -> float:
    """Distance of the lower edge from the spot.

    Formula: ln(low / spot) / (rms of the last 168 hourly log returns * sqrt(hours to the scheduled end))
    Unit: standard deviations
    Null: fewer than 169 closes, or no movement
    Source: the market's text and hourly candles
    """
    return now.distance(now.low)


@BANDS.add("to_high", "band", ["spot"])
def to_high(now: Band) -> float:
    """Distance of the upper edge from the spot.

    Formula: ln(high / spot) / (rms of the last 168 hourly log returns * sqrt(hours to the scheduled end))
    Unit: standard deviations
    Null: fewer than 169 closes, or no movement
    Source: the market's text and hourly candles
    """
    return now.distance(now.high)


@BANDS.add("walk_minus_price", "band", ["spot", "mids"])
def walk_minus_price(now: Band) -> float:
    """Probability of the band under a random walk without drift, minus the market price.

    Formula: N(to_high) - N(to_low) - price
    Unit: probability
    Null: an edge unknown, or no price
    Source: the market's text and hourly candles
    """
    low, high = now.distance(now.low), now.distance(now.high)
    normal = NormalDist()
    return normal.cdf(high) - normal.cdf(low) - now.price if np.isfinite([low, high]).all() else np.nan


@BANDS.add("spot_vol_ratio", "band", ["spot"])
def spot_vol_ratio(now: Band) -> float:
    """Volatility of the last day relative to that of the week.

    Formula: rms of the last 24 hourly log returns / rms of the last 168
    Unit: ratio
    Null: fewer than 169 closes, or no movement
    Source: hourly candles
    """
    week = now.volatility(168)
    return now.volatility(24) / week if week > 0 else np.nan


def load(folder: Path) -> Dataset:
    """Load all markets at all horizons at which they were open.

    Args:
        folder: Folder with the three files of the set.

    Raises:
        DataMissing: One of them is missing.
    """
    names = ("btc_range_markets.csv.gz", "btc_range_prices_1m.parquet", "btcusdt_1h_context.csv.gz")
    markets, prices, candles = (found(folder, name) for name in names)
    rows, context = table(markets), table(candles)
    spot = Spot(instants(context, "timestamp") + HOUR, floats(context, "close"))
    points = points_by(prices, "market_id")
    ids, events = words(rows, "market_id"), words(rows, "event_slug")
    start, end, closed = instants(rows, "start_date"), instants(rows, "end_date"), instants(rows, "closed_time")
    low, high, outcome = floats(rows, "band_low"), floats(rows, "band_high"), floats(rows, "outcome_yes")
    members = {event: np.flatnonzero(events == event) for event in np.unique(events).tolist()}
    nothing = (np.zeros(0, np.int64), np.zeros(0))
    values: list[list[float]] = []
    kept: list[tuple[int, str, int, float]] = []
    for horizon, before in HORIZONS.items():
        for i in range(len(ids)):
            t = int(end[i]) - before
            at, price = points.get(ids[i], nothing)
            now = series.last_known(at, price, t)
            if np.isnan(now) or np.isnan(outcome[i]) or closed[i] <= t:
                continue  # eight events were closed up to an hour before their scheduled end
            team = members[str(events[i])]
            mids = [series.last_known(*points.get(ids[j], nothing), t) for j in team]
            own = int(np.searchsorted(team, i))
            market = series.tape(at, price, t, start_ns=int(start[i]), end_ns=int(end[i]), event=mids, own=own)
            band = Band(float(low[i]), float(high[i]), int(end[i]), t, now, spot.upto(t))
            values.append(series.row(market, t, SNAPSHOT_FEATURES) + [feature.compute(band) for feature in BANDS])
            kept.append((i, horizon, t, now))
    index = np.array([i for i, *_ in kept], np.int64)
    times = np.array([t for _, _, t, _ in kept], np.int64)
    chosen = [MARKET_FEATURES[name] for name in SNAPSHOT_FEATURES]
    columns = [*SNAPSHOT_FEATURES, *(feature.name for feature in BANDS)]
    table_ = np.array(values, np.float64).reshape(len(kept), len(columns))
    return Dataset(
        name="btc_range",
        baseline="market price",
        features={name: table_[:, j].copy() for j, name in enumerate(columns)},
        definitions={**definitions(chosen), **definitions(BANDS)},
        sources={path.name: file_hash(path) for path in (markets, prices, candles)},
        label=outcome[index],
        market=np.array([price for *_, price in kept]),
        start=times,
        end=closed[index],
        event=events[index],
        subject=ids[index],
        horizon=np.array([horizon for _, horizon, _, _ in kept]),
        tier=texts(len(kept), "1m"),
        category=words(rows, "category")[index],
        weight=once_each(ids[index]),
    )

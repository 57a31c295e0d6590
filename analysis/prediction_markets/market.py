"""Families C and D: volume, liquidity and time, from the listing as known at the snapshot.

Neither closedTime, nor the true time of resolution, nor the final volume is ever a feature.
"""

import numpy as np

from analysis.arrays import DAY, HOUR
from analysis.prediction_markets.depth import ratio
from analysis.prediction_markets.price import number
from analysis.prediction_markets.view import MARKET_FEATURES, Snapshot


def _log(value: float | None) -> float:
    return float(np.log1p(number(value)))


@MARKET_FEATURES.add("volume_total_log", "market", ["listing"])
def volume_total_log(now: Snapshot) -> float:
    """Volume since the start of the market.

    Formula: ln(1 + volumeNum)
    Unit: ln USDC
    Null: missing
    Source: listing
    """
    return _log(now.listing.volume)


@MARKET_FEATURES.add("volume_24h_log", "market", ["listing"])
def volume_24h_log(now: Snapshot) -> float:
    """Volume of a day.

    Formula: ln(1 + volume24hr)
    Unit: ln USDC
    Null: missing
    Source: listing
    """
    return _log(now.listing.volume_24h)


@MARKET_FEATURES.add("volume_1w_log", "market", ["listing"])
def volume_1w_log(now: Snapshot) -> float:
    """Volume of a week.

    Formula: ln(1 + volume1wk)
    Unit: ln USDC
    Null: missing
    Source: listing
    """
    return _log(now.listing.volume_1w)


@MARKET_FEATURES.add("volume_24h_share", "market", ["listing"])
def volume_24h_share(now: Snapshot) -> float:
    """Volume of the last day as a fraction of the volume since the start.

    Formula: volume24hr / volumeNum
    Unit: 0 to 1
    Null: volumeNum 0 or missing
    Source: listing
    """
    return ratio(number(now.listing.volume_24h), number(now.listing.volume))


@MARKET_FEATURES.add("liquidity_log", "market", ["listing"])
def liquidity_log(now: Snapshot) -> float:
    """Liquidity as reported by the venue.

    Formula: ln(1 + liquidityNum)
    Unit: ln USDC
    Null: missing
    Source: listing
    """
    return _log(now.listing.liquidity)


@MARKET_FEATURES.add("volume_liquidity_ratio", "market", ["listing"])
def volume_liquidity_ratio(now: Snapshot) -> float:
    """Volume of a day relative to liquidity.

    Formula: volume24hr / liquidityNum
    Unit: ratio
    Null: liquidity 0 or missing
    Source: listing
    """
    return ratio(number(now.listing.volume_24h), number(now.listing.liquidity))


@MARKET_FEATURES.add("event_volume_share", "market", ["listing", "event"])
def event_volume_share(now: Snapshot) -> float:
    """Volume of the market as a fraction of its event's volume.

    Formula: volumeNum / event.volume
    Unit: 0 to 1
    Null: event missing, or its volume 0
    Source: listings
    """
    return ratio(number(now.listing.volume), number(now.event.volume)) if now.event else np.nan


@MARKET_FEATURES.add("open_interest_log", "market", ["event"])
def open_interest_log(now: Snapshot) -> float:
    """Open interest of the event.

    Formula: ln(1 + event.openInterest)
    Unit: ln USDC
    Null: missing
    Source: event listing
    """
    return _log(now.event.open_interest) if now.event else np.nan


def _hours(now: Snapshot, instant: int | None) -> float:
    return np.nan if instant is None else (instant - now.t) / HOUR


@MARKET_FEATURES.add("hours_to_end", "market", ["listing"])
def hours_to_end(now: Snapshot) -> float:
    """Time to the scheduled end, as scheduled at the snapshot; negative after it.

    Formula: (endDate - t) / 3600 s
    Unit: h
    Null: no endDate
    Source: listing
    """
    return _hours(now, now.listing.end_ns)


@MARKET_FEATURES.add("log_hours_to_end", "market", ["listing"])
def log_hours_to_end(now: Snapshot) -> float:
    """Time to the scheduled end on a logarithmic scale.

    Formula: sign(h) ln(1 + |h|), h = hours_to_end
    Unit: ln h
    Null: no endDate
    Source: listing
    """
    hours = hours_to_end(now)
    return float(np.sign(hours) * np.log1p(abs(hours)))


@MARKET_FEATURES.add("hours_to_game", "market", ["listing"])
def hours_to_game(now: Snapshot) -> float:
    """Time to the start of the game.

    Formula: (gameStartTime or eventStartTime - t) / 3600 s
    Unit: h
    Null: none
    Source: listing
    """
    return _hours(now, now.listing.game_ns)


@MARKET_FEATURES.add("age_hours", "market", ["listing"])
def age_hours(now: Snapshot) -> float:
    """Time since the market began.

    Formula: (t - startDate) / 3600 s
    Unit: h
    Null: no startDate
    Source: listing
    """
    return -_hours(now, now.listing.start_ns)


@MARKET_FEATURES.add("life_elapsed", "market", ["listing"])
def life_elapsed(now: Snapshot) -> float:
    """Elapsed fraction of the scheduled life.

    Formula: (t - startDate) / (endDate - startDate), clipped to 0..2
    Unit: ratio
    Null: either missing, or end not after start
    Source: listing
    """
    start, end = now.listing.start_ns, now.listing.end_ns
    if start is None or end is None or end <= start:
        return np.nan
    return min(max((now.t - start) / (end - start), 0.0), 2.0)


@MARKET_FEATURES.add("hour_sin", "market", [])
def hour_sin(now: Snapshot) -> float:
    """Sine of the hour of the day on a circle.

    Formula: sin(2 pi hour / 24), hour of UTC as an integer
    Unit: 1
    Null: never
    Source: clock
    """
    return float(np.sin(2 * np.pi * (now.t % DAY // HOUR) / 24))


@MARKET_FEATURES.add("hour_cos", "market", [])
def hour_cos(now: Snapshot) -> float:
    """Cosine of the hour of the day on a circle.

    Formula: cos(2 pi hour / 24), hour of UTC as an integer
    Unit: 1
    Null: never
    Source: clock
    """
    return float(np.cos(2 * np.pi * (now.t % DAY // HOUR) / 24))


@MARKET_FEATURES.add("day_of_week", "market", [])
def day_of_week(now: Snapshot) -> float:
    """Day of the week.

    Formula: 0 (Monday) to 6, UTC
    Unit: int
    Null: never
    Source: clock
    """
    return float((now.t // DAY + 3) % 7)  # 1970 began on a Thursday

"""The REST services of Polymarket, and a third of what each allows."""

from typing import NamedTuple

from recorder.venues.base import RestLimits


class PublicService(NamedTuple):
    """One REST service."""

    url: str
    limits: RestLimits


SERVICES: dict[str, PublicService] = {
    # 300 requests in 10 s for markets.
    "gamma": PublicService("https://gamma-api.polymarket.com", RestLimits(per_s=10, burst=10)),
    # 500 requests in 10 s for books.
    "clob": PublicService("https://clob.polymarket.com", RestLimits(per_s=16, burst=16)),
    # 200 requests in 10 s for trades; what the other paths allow is not known, and 50 in 10 s never were too many.
    "data": PublicService("https://data-api.polymarket.com", RestLimits(per_s=5, burst=5)),
}
"""By the names of the settings."""

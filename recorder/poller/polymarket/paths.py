"""The requests that ask for markets and for how they ended."""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from recorder.poller.polymarket.tiers import HOUR_NS, TierRules
from recorder.venues.polymarket.polls.gamma import PAGE

GAMMA, CLOB, DATA = "gamma", "clob", "data"
"""Services, by the names of the settings."""

OPEN = "&closed=false"
"""Part of the paths of lists that have only open markets."""

Item = TypeVar("Item")

_PAST_HOURS = 48
_LIST = f"/markets/keyset?limit={PAGE}&include_tag=true"  # always with tags: an absent one would look like a change


def sweep(now_ns: int, rules: TierRules) -> str:
    """Return the path of the first page of the open markets that the settings choose."""
    first, last = now_ns - _PAST_HOURS * HOUR_NS, now_ns + int(rules.window_hours * HOUR_NS)
    return (
        f"{_LIST}&closed=false&volume_num_min={rules.volume_min:g}&end_date_min={_iso(first)}&end_date_max={_iso(last)}"
    )


def newest(now_ns: int) -> str:
    """Return the path of the open markets, newest first.

    The unknown parameter makes the address another one each time, because answers are cached for 300 s.
    """
    return f"{_LIST}&closed=false&order=id&ascending=false&at={now_ns // 10**9}"


def by_ids(market_ids: Sequence[int], *, closed: bool, now_ns: int) -> str:
    """Return the path of some markets. The list has only closed or only open ones."""
    ids = "".join(f"&id={market_id}" for market_id in market_ids)
    return f"{_LIST}&closed={'true' if closed else 'false'}{ids}&at={now_ns // 10**9}"


def ids_of(path: str) -> list[int]:
    """Return the markets that a path names; none where it is a list."""
    return [int(text) for text in re.findall(r"&id=(\d{1,18})(?![^&])", path)]


def resolutions(conditions: Iterable[str]) -> str:
    """Return the path of what the Data API knows of how markets ended."""
    return f"/v2/resolutions?condition={','.join(conditions)}"


def tokens(ids: Iterable[str]) -> str:
    """Return the path of token facts."""
    return f"/v2/tokens?token_id={','.join(ids)}"


def clob_market(condition: str) -> str:
    """Return the path of the CLOB's record of a market."""
    return f"/markets/{condition}"


def clob_version(condition: str) -> str:
    """Return the path of the CLOB's short record of a market, which names its version."""
    return f"/clob-markets/{condition}"


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield the items in lists of `size` at most."""
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _iso(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

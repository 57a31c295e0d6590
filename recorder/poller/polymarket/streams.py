"""Which markets are streamed: those that end soonest, as many as the settings allow. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from recorder.poller.polymarket.tiers import HOUR_NS, Tier
from recorder.venues.polymarket.polls.market import Market

PRIORITIES: dict[Tier, int] = {"T4": -1, "T3": -2, "T2": -3}
"""Of the subscriptions by tier. Those of people have 0 or more, and come first."""

_QUIET_NS = HOUR_NS
"""A market of T4 without a trade for so long leaves; it ended early, or is forgotten."""


_LEAST_LEFT_NS = 60 * 10**9
"""A market that ends sooner does not join: it might have no book any more when the stream is asked for it."""


class Candidate(NamedTuple):
    """A market that may be streamed."""

    market: Market
    tier: Tier
    traded_ns: int | None  # when its last known trade became known
    end_ns: int | None  # when it is scheduled to end
    has_book: bool  # as far as was seen; without one the stream would say nothing at all


class StreamChanges(NamedTuple):
    """Subscriptions to change."""

    join: dict[str, int]  # priorities by token
    leave: list[str]  # tokens


def plan(
    candidates: Iterable[Candidate],
    followed: Mapping[str, int],
    over: Collection[str],
    most: int,
    now_ns: int,
    *,
    prune: bool,
) -> StreamChanges:
    """Return what to change, so that the markets that end soonest are streamed, with both tokens.

    Args:
        candidates: Markets whose books are asked for.
        followed: Priorities of the poller's subscriptions by token.
        over: Tokens whose market has ended or has no book any more. They leave at once: their silence would look like
            a dead connection.
        most: Markets that may be streamed.
        now_ns: The time.
        prune: Whether all others that are not wanted leave now. In between they stay, because each change is a gap,
            unless the room is needed.
    """
    wanted = _wanted(candidates, followed, most, now_ns)
    keep = {token: PRIORITIES[one.tier] for one in wanted for token in one.market.tokens}
    join = {token: priority for token, priority in keep.items() if followed.get(token) != priority}
    rest = sorted((token for token in followed if token not in keep), key=lambda token: (followed[token], token))
    room = 2 * most - len(keep)
    surplus = rest[: max(0, len(rest) - room)]
    if not prune:
        rest = [token for number, token in enumerate(rest) if number < len(surplus) or token in over]
    return StreamChanges(join, rest)


def _wanted(candidates: Iterable[Candidate], followed: Collection[str], most: int, now_ns: int) -> list[Candidate]:
    """Return the markets to stream, by tier; of one tier those first that are streamed, then by volume."""
    eligible = [
        one
        for one in candidates
        if one.tier in PRIORITIES
        and not _quiet(one, now_ns)
        and (one.market.token in followed or _may_join(one, now_ns))
    ]
    eligible.sort(
        key=lambda one: (
            -PRIORITIES[one.tier],
            one.market.token not in followed,
            -(one.market.numbers.volume_24h or 0.0),
            one.market.market_id,
        )
    )
    return eligible[:most]


def _may_join(one: Candidate, now_ns: int) -> bool:
    return one.has_book and (one.end_ns is None or one.end_ns - now_ns >= _LEAST_LEFT_NS)


def _quiet(one: Candidate, now_ns: int) -> bool:
    return one.tier == "T4" and (one.traded_ns is None or now_ns - one.traded_ns > _QUIET_NS)

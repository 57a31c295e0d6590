"""Which connection carries which streams: within the venue's limits, important streams first. Pure."""

from collections.abc import Sequence

import msgspec

from recorder.events import Stream
from recorder.venues.base import Limits


class Placement(msgspec.Struct):
    """The streams of each connection, given ones first and then new ones; and the streams without room."""

    links: list[set[Stream]]
    unplaced: list[Stream]


def assign_streams(
    wanted: Sequence[Stream], carried: Sequence[frozenset[Stream]], limits: Limits, max_links: int
) -> Placement:
    """Give each wanted stream a connection; those that are carried stay where they are.

    The streams of a symbol stay together, because one connection orders a symbol's trades against its book, which
    two cannot. Symbols are dealt out one by one to the connection with the fewest streams, so that each carries a
    mix of important and other ones, and the loss of one connection never takes all that matter.

    Args:
        wanted: The most important first.
        carried: By connection.
        limits: Of the venue.
        max_links: Connections that this process may have.
    """
    wanted_set = set(wanted)
    links = [set(streams & wanted_set) for streams in carried]
    homes = {stream.symbol: link for link in links for stream in link}
    groups: dict[str, list[Stream]] = {}
    for stream in wanted:
        home = homes.get(stream.symbol)
        if home is None or stream not in home:
            groups.setdefault(stream.symbol, []).append(stream)
    new_symbols = [group for symbol, group in groups.items() if symbol not in homes]
    links += [set() for _ in range(min(_links_needed(new_symbols, limits), max_links) - len(links))]
    unplaced: list[Stream] = []
    for symbol, group in groups.items():
        home = homes.get(symbol)
        fits = [link for link in ([home] if home is not None else links) if _has_room(link, group, limits)]
        if not fits and home is None and len(links) < max_links and _has_room(set(), group, limits):
            links.append(set())
            fits = links[-1:]
        if fits:
            min(fits, key=len).update(group)
        else:
            unplaced += group
    return Placement(links, unplaced)


def _has_room(link: set[Stream], group: Sequence[Stream], limits: Limits) -> bool:
    if len(link) + len(group) > limits.streams_per_link:
        return False
    if limits.symbols_per_link is None:
        return True
    return len({stream.symbol for stream in link} | {group[0].symbol}) <= limits.symbols_per_link


def _links_needed(groups: Sequence[Sequence[Stream]], limits: Limits) -> int:
    """Return how many connections this many symbols fill at least."""
    if not groups:
        return 0
    largest = max(map(len, groups))
    per_link = max(1, limits.streams_per_link // largest)
    if limits.symbols_per_link is not None:
        per_link = min(per_link, limits.symbols_per_link)
    return -(-len(groups) // per_link)

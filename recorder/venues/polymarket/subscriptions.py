"""The subscriptions of one connection, and which data shows that one of them has begun. Pure.

Nothing is acknowledged, and one subscription carries all channels of a token. Beginning it again is unsubscribe, PING,
subscribe: what comes before the PONG may be of the old subscription, a `book` too, because one follows trades.
"""

import json
from collections import deque
from collections.abc import Iterable, Sequence

from recorder.events import Accepted, Channel, Stream

PING = "PING"
PONG_NS = 60 * 10**9  # a pong that has not come by then never comes; only a new connection can do without


class Subscriptions:
    """What was asked for on a connection, and what is still awaited."""

    def __init__(self) -> None:
        self._opened = False
        # None until the first request. A file of frames has no requests: all of it becomes rows.
        self._wanted: dict[str, set[Channel]] | None = None
        self._ended: set[str] = set()  # tokens whose subscription was ended; their data may still be on its way
        self._pings = self._pongs = 0
        self._now_ns = 0  # receipt of the latest frame
        self._unanswered: deque[int] = deque()  # when the pings were sent whose pong has not come
        # Streams not accepted yet, and the number of the pong behind which their data is of the newest subscription.
        self._awaited: dict[tuple[str, Channel], int] = {}

    def wants(self, channel: Channel, token: str) -> bool:
        """Return whether the data of a channel is to become rows."""
        return self._wanted is None or channel in self._wanted.get(token, ())

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Return the requests of these streams; a token that is subscribed already begins again."""
        wanted = self._wanted = self._wanted or {}
        streams = list(streams)
        tokens = dict.fromkeys(stream.symbol for stream in streams)
        if not tokens:
            return []
        again = [token for token in tokens if token in wanted]  # its book comes only with a new subscription
        after_another = {token for token in tokens if token in wanted or token in self._ended}
        self._ended -= after_another
        for stream in streams:
            wanted.setdefault(stream.symbol, set()).add(stream.channel)
        if after_another:
            self.pinged()
        for token in tokens:
            begins = self._pings if token in after_another else 0
            self._awaited |= {(token, channel): begins for channel in wanted[token]}
        if self._opened:
            request: dict[str, object] = {"operation": "subscribe", "assets_ids": list(tokens)}
        else:
            self._opened = True
            request = {"type": "market", "assets_ids": list(tokens), "initial_dump": True}
        begin = json.dumps(request | {"custom_feature_enabled": True})
        return [*_ends(again), *([PING] if after_another else []), begin]

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Return the request that ends these streams; one subscription of a token ends with its last channel."""
        wanted = {} if self._wanted is None else self._wanted
        ended = []
        for stream in streams:
            channels = wanted.get(stream.symbol, set())
            channels.discard(stream.channel)
            self._awaited.pop((stream.symbol, stream.channel), None)
            if not channels:
                wanted.pop(stream.symbol, None)
                ended.append(stream.symbol)
        self._ended.update(ended)
        return _ends(list(dict.fromkeys(ended)))

    def pinged(self) -> None:
        """Note that a ping is sent."""
        self._pings += 1
        self._unanswered.append(self._now_ns)

    def pong(self) -> None:
        """Note that a ping was answered; the venue answers them in their order."""
        if self._unanswered:
            self._unanswered.popleft()
            self._pongs += 1

    def accepted(self, token: str, channels: Iterable[Channel]) -> list[Accepted]:
        """Return which channels of a token are accepted by data that came now."""
        if not self._awaited:
            return []
        accepted = []
        for channel in channels:
            if self._awaited.get((token, channel), self._pongs + 1) <= self._pongs:
                del self._awaited[token, channel]
                accepted.append(Accepted(Stream(channel, token)))
        return accepted

    def accepted_by_book(self, token: str) -> list[Accepted]:
        """Return which channels of a token are accepted by its book: all of them come with it."""
        return self.accepted(token, sorted((self._wanted or {}).get(token, ()))) if self._awaited else []

    def waits_in_vain(self, ts_recv_ns: int) -> bool:
        """Return whether a subscription that began again waits, and a pong has been missing for long.

        Which ping it is that was not answered cannot be known, so no later pong shows anything.

        Args:
            ts_recv_ns: Receipt of the frame at hand.
        """
        self._now_ns = ts_recv_ns
        if not self._unanswered:
            return False
        sent_ns = self._unanswered[0] = self._unanswered[0] or ts_recv_ns  # 0: before the first frame
        return ts_recv_ns - sent_ns > PONG_NS and any(begins > self._pongs for begins in self._awaited.values())


def _ends(tokens: Sequence[str]) -> list[str]:
    return [json.dumps({"operation": "unsubscribe", "assets_ids": tokens})] if tokens else []

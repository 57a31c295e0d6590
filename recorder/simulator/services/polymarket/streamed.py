"""The markets of the simulated stream, for the services: the same tokens, books and trades as on its websocket.

Everything is read in the thread of the stream, so a book is the one after the last message.
"""

import hashlib
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from recorder.simulator.services.polymarket.book import MS
from recorder.simulator.services.polymarket.feed import Row
from recorder.simulator.services.polymarket.ids import Version
from recorder.simulator.services.polymarket.lanes import DAY_S
from recorder.simulator.services.polymarket.life import MICRO
from recorder.simulator.venues.polymarket.market import ONE, OutcomeMarket, Print
from recorder.simulator.venues.polymarket.rest import book_of, clob_record, gamma_row

_NEWEST = 500  # prints of a market that are taken over at the first look
_SIDES = {"b": "BUY", "s": "SELL"}


class StreamedMarket(msgspec.Struct, frozen=True):
    """A market of the stream at one moment, with what the services show of it."""

    number: int
    slug: str
    outcomes: tuple[str, str]
    ids: tuple[str, str]
    condition_id: str
    open: bool
    payouts: tuple[int, int] | None
    end_s: int
    volume: float
    gamma: dict[str, object]
    record: dict[str, object]
    created_s: int = 1_773_221_341
    category: str = "crypto"

    def condition(self, version: Version) -> str:
        """Return the condition id."""
        return self.condition_id

    def tokens(self, version: Version) -> tuple[str, str]:
        """Return its tokens."""
        return self.ids

    def version_at(self, at_s: float) -> Version:
        """Return v1."""
        return "v1"

    def end_at(self, at_s: float) -> int | None:
        """Return its end."""
        return self.end_s

    def volume_at(self, at_s: float) -> float:
        """Return its volume."""
        return self.volume

    def resolved(self, at_s: float) -> bool:
        """Return whether it has paid out."""
        return self.payouts is not None


class _Venue(Protocol):
    markets: list[OutcomeMarket]


class _Thread(Protocol):
    def call(self, function: Callable[[], object], timeout_s: float = ...) -> object: ...


class Stream:
    """The markets of one simulated stream."""

    def __init__(self, venue: _Venue, server: _Thread, started_s: int) -> None:
        self._venue = venue
        self._server = server
        self._first_end_s = (started_s // DAY_S + 3) * DAY_S  # within the two weeks that a poller looks ahead
        self._last: dict[str, int] = {}  # id of the last print that was taken over, by token
        self._count = 0

    def markets(self) -> list[StreamedMarket]:
        """Return its markets."""
        found: list[StreamedMarket] = []
        self._server.call(lambda: found.extend(self._view(place, one) for place, one in enumerate(self._venue.markets)))
        return found

    def books(self, tokens: Iterable[str], now_ns: int) -> dict[str, tuple[int, bytes]]:
        """Return the books of those tokens that it has, with the time of each."""
        wanted = {token for token in tokens if token in self._tokens}
        found: dict[str, tuple[int, bytes]] = {}

        def read() -> None:
            for market in self._venue.markets:
                for token in market.tokens:
                    if market.open and token in wanted:
                        found[token] = now_ns // MS * MS, msgspec.json.encode(book_of(market, token, now_ns))

        if wanted:
            self._server.call(read)
        return found

    def rows(self) -> list[Row]:
        """Return the prints since the last look as rows of the feed, oldest first."""
        found: list[tuple[Print, OutcomeMarket]] = []

        def read() -> None:
            for market in self._venue.markets:
                for token, history in zip(market.tokens, (market.history, market.other.history), strict=True):
                    last = self._last.get(token, -1)
                    fresh: list[tuple[Print, OutcomeMarket]] = []
                    for trade in reversed(history):
                        if trade.id <= last or (len(fresh) >= _NEWEST and last < 0):
                            break
                        if isinstance(trade, Print):
                            fresh.append((trade, market))
                    found.extend(reversed(fresh))
                    if fresh:
                        self._last[token] = fresh[0][0].id

        self._server.call(read)
        found.sort(key=lambda one: one[0].ts_ns)
        return [self._row(trade, market) for trade, market in found]

    @property
    def _tokens(self) -> set[str]:
        return {token for market in self._venue.markets for token in market.tokens}

    def _row(self, trade: Print, market: OutcomeMarket) -> Row:
        self._count += 1
        place = market.tokens.index(trade.token)
        tx = trade.tx or "0x" + hashlib.sha256(f"{trade.token}{trade.id}".encode()).hexdigest()
        slug = market.spec.base
        return Row(
            (trade.ts_ns // 10**9, 1, self._count), "0x" + tx[-40:], _SIDES[trade.taker], trade.token, market.condition,
            trade.size / 100, trade.price / ONE, slug, slug, slug, market.outcomes[place], place, tx,
        )  # fmt: skip

    def _view(self, place: int, market: OutcomeMarket) -> StreamedMarket:
        payouts = None
        if market.winner is not None:
            payouts = (MICRO, 0) if market.winner == market.tokens[0] else (0, MICRO)
        row = gamma_row(market)
        volume = row["volumeNum"]
        return StreamedMarket(
            number=int(market.number), slug=market.spec.base, outcomes=(market.outcomes[0], market.outcomes[1]),
            ids=(market.tokens[0], market.tokens[1]), condition_id=market.condition, open=market.open, payouts=payouts,
            end_s=self._first_end_s + place % 5 * DAY_S, volume=volume if isinstance(volume, float) else 0.0,
            gamma=row, record=clob_record(market),
        )  # fmt: skip

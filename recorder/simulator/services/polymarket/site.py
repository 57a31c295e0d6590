"""What the three services of Polymarket share: the world, the feed of trades, the markets of the stream, the truth."""

from typing import NamedTuple

import msgspec

from recorder.simulator.services.polymarket.feed import Feed, Row
from recorder.simulator.services.polymarket.ids import Version, padded
from recorder.simulator.services.polymarket.life import Market
from recorder.simulator.services.polymarket.streamed import Stream, StreamedMarket
from recorder.simulator.services.polymarket.world import World
from recorder.simulator.services.service import Truth
from recorder.truth import MarketLife, ServedBook, ServedTrade

Shown = Market | StreamedMarket


class Served(NamedTuple):
    """A book as it is served."""

    token: str
    ts_ms: int
    body: bytes


class Named(msgspec.Struct, frozen=True):
    """A market as an identifier names it."""

    market: Shown
    version: Version
    outcome: int = 0


class Site:
    """The state behind Gamma, CLOB and Data API. Its users hold the lock of the truth."""

    def __init__(self, world: World, truth: Truth, trades_per_s: float, stream: Stream | None = None) -> None:
        self.world = world
        self.truth = truth
        self.feed = Feed(world, trades_per_s)
        self._stream = stream

    def streamed(self) -> list[StreamedMarket]:
        """Return the markets of the stream."""
        return self._stream.markets() if self._stream is not None else []

    def by_number(self, text: str, now_s: float) -> Shown | None:
        """Return the market of an id of Gamma."""
        found = self.world.by_number(text, now_s)
        return found or next((one for one in self.streamed() if str(one.number) == text), None)

    def by_slug(self, slug: str, now_s: float) -> Shown | None:
        """Return the market of a slug."""
        found = self.world.by_slug(slug, now_s)
        return found or next((one for one in self.streamed() if one.slug == slug), None)

    def by_token(self, text: str, now_s: float) -> Named | None:
        """Return the market of a token."""
        named = self.world.by_token(text, now_s)
        if named is not None:
            return Named(named[0], named[1].version, named[1].outcome)
        for one in self.streamed():
            if text in one.ids:
                return Named(one, "v1", one.ids.index(text))
        return None

    def by_condition(self, text: str, now_s: float, *, short: bool = True) -> Named | None:
        """Return the market of a condition id."""
        named = self.world.by_condition(text, now_s, short=short)
        if named is not None:
            return Named(named[0], named[1].version)
        return next((Named(one, "v1") for one in self.streamed() if one.condition_id == text), None)

    def books(self, tokens: list[str], now_ns: int) -> list[Served]:
        """Return the books of those tokens that have one, and log each once."""
        of_stream = self._stream.books(tokens, now_ns) if self._stream is not None else {}
        found: list[Served] = []
        for token in tokens:
            served = of_stream.get(token) or self.world.served(token, now_ns)
            if served is None:
                continue
            ts_ms = served[0] // 1_000_000
            if self.truth.once("book", (token, ts_ms)):
                self.truth.line(ServedBook(token, ts_ms, msgspec.Raw(served[1])))
            found.append(Served(token, ts_ms, served[1]))
        return found

    def trades(self, now_s: int) -> None:
        """Make the trades until now, and log them."""
        fresh = self.feed.advance(now_s)
        rows = self._stream.rows() if self._stream is not None else []
        self.feed.add_streamed(rows)
        for row in (*fresh, *rows):
            self.truth.line(_served(row))

    def note(self, market: Shown) -> None:
        """Log the life of a market that is shown for the first time."""
        if isinstance(market, Market) and self.truth.once("market", market.key):
            self.truth.line(life(market))


def _served(row: Row) -> ServedTrade:
    return ServedTrade(
        row.place[0], row.tx, row.wallet, row.token, padded(row.condition), row.side, row.size, row.price
    )


def life(market: Market) -> MarketLife:
    """Return the life of a market in the form of the truth log."""
    versions: list[Version] = [market.version] if market.switch_s is None else ["v1", "v2"]
    vanishes = market.way == "vanished"
    return MarketLife(
        id=str(market.number), slug=market.slug, conditions=[market.condition(one) for one in versions],
        tokens=[list(market.tokens(one)) for one in versions], outcomes=list(market.outcomes), version=market.version,
        created=market.created_s, booked=market.clob_s, stopped=market.stop_s, way=market.way,
        resolved=None if vanishes else market.resolved_s, payouts=None if vanishes else list(market.payouts),
        odd=market.odd,
    )  # fmt: skip

"""The trades of a world as the Data API shows them: rows per second, newest first, some seconds late.

The rows of a second follow from the seed and the second. Rows of the markets that the simulated stream trades are
taken from there, so that stream and Data API agree.
"""

import random
from collections import deque
from collections.abc import Iterator
from heapq import merge
from itertools import pairwise

import msgspec

from recorder.simulator.services.polymarket.ids import digest
from recorder.simulator.services.polymarket.life import Market
from recorder.simulator.services.polymarket.world import World
from recorder.simulator.venues.polymarket.market import ONE

LAG_S = 2  # a trade is seen this long after its block
_KEPT = 40_000  # rows, the oldest of which are forgotten
_PAST_S = 600  # seconds of trades that a new world already has
_LONGEST_S = 3600  # of the trades that are made at once, after a jump of the clock
_COMBINED = 0.008  # fraction of the transactions that trade a combination of markets
_UNNAMED = 0.03  # fraction of the rows whose outcome the Data API cannot name
_WHALES = 0.02
_UNKNOWN_OUTCOME = 999

Place = tuple[int, int, int]
"""Where a row stands in the feed: second, source (0 world, 1 stream), number in the second or source."""


class Row(msgspec.Struct, gc=False):
    """One row of the feed: a fill of the taker."""

    place: Place
    wallet: str
    side: str
    token: str
    condition: str
    size: float
    price: float
    title: str
    slug: str
    event_slug: str
    outcome: str
    outcome_index: int
    tx: str

    @property
    def cash(self) -> float:
        """Return its value in dollars."""
        return self.size * self.price

    def shown(self) -> dict[str, object]:
        """Return it as the Data API does."""
        return {
            "proxy_wallet": self.wallet, "side": self.side, "token_id": self.token, "condition_id": self.condition,
            "size": self.size, "price": self.price, "timestamp": self.place[0], "title": self.title,
            "slug": self.slug, "icon": "", "event_slug": self.event_slug, "outcome": self.outcome,
            "outcome_index": self.outcome_index, "name": "", "pseudonym": "Quiet-Heron", "bio": "",
            "profile_image": "", "profile_image_optimized": "", "transaction_hash": self.tx,
        }  # fmt: skip


class Feed:
    """The rows of the last while."""

    def __init__(self, world: World, rate: float) -> None:
        """Begin.

        Args:
            world: Its markets trade.
            rate: Transactions per second.
        """
        self._world = world
        self._rate = rate
        self._rows: deque[Row] = deque(maxlen=_KEPT)
        self._streamed: deque[Row] = deque(maxlen=_KEPT)
        self._next_s: int | None = None
        self._weighted = [slot for lane in world.lanes for slot in range(lane.first, lane.first + lane.slots)
                          for _ in range(lane.trades)]  # fmt: skip

    def advance(self, now_s: int) -> list[Row]:
        """Make the rows that are visible by now; return those that are new."""
        until_s = now_s - LAG_S
        if self._next_s is None:
            self._next_s = until_s - _PAST_S
        self._next_s = max(self._next_s, until_s - _LONGEST_S)
        fresh: list[Row] = []
        while self._next_s <= until_s:
            fresh += self.second(self._next_s)
            self._next_s += 1
        self._rows.extend(fresh)
        return fresh

    def add_streamed(self, rows: list[Row]) -> None:
        """Add rows of the stream, oldest first."""
        self._streamed.extend(rows)

    def newest_first(self, now_s: int) -> Iterator[Row]:
        """Yield all rows that are visible."""
        for row in merge(reversed(self._rows), reversed(self._streamed), key=lambda one: one.place, reverse=True):
            if row.place[0] <= now_s - LAG_S:
                yield row

    def second(self, at_s: int) -> list[Row]:
        """Return the rows of a second."""
        rng = random.Random(int.from_bytes(digest(self._world.seed, "trades", at_s)[:8], "big"))
        rows: list[Row] = []
        for _ in range(int(self._rate + rng.random())):
            market = self._world.living(rng.choice(self._weighted), at_s)
            if market.traded and market.has_book(at_s):
                rows += self._transaction(rng, market, at_s, len(rows))
        return rows

    def _transaction(self, rng: random.Random, market: Market, at_s: int, first: int) -> list[Row]:
        """Return the fills of one taker, most often one."""
        tx, wallet = f"0x{rng.getrandbits(256):064x}", f"0x{rng.getrandbits(24):040x}"
        if rng.random() < _COMBINED:
            return [self._combination(rng, market, at_s, first, tx, wallet)]
        outcome = rng.randrange(2)
        side = "BUY" if rng.random() < 0.7 else "SELL"
        value = market.price_at(at_s) if outcome == 0 else 1 - market.price_at(at_s)
        tick = market.tick_at(at_s)
        price = min(ONE - tick, max(tick, round(value * ONE / tick) * tick))
        version = market.version_at(at_s)
        whale = rng.random() < _WHALES
        dollars = rng.uniform(1_000, 60_000) if whale else rng.lognormvariate(2.8, 1.3)
        shares = max(1, round(dollars / price * ONE * 100))  # hundredths
        cuts = sorted(rng.randint(0, shares) for _ in range(rng.randint(1, 5) if rng.random() < 0.2 else 0))
        rows: list[Row] = []
        for number, (low, high) in enumerate(pairwise([0, *cuts, shares])):
            if high == low:
                continue
            named = rng.random() >= _UNNAMED
            step = number * tick if side == "BUY" else -number * tick  # a larger taker goes deeper
            rows.append(
                Row(
                    (at_s, 0, first + len(rows)), wallet, side, market.tokens(version)[outcome],
                    market.condition(version), (high - low) / 100, min(ONE - tick, max(tick, price + step)) / ONE,
                    title(market), market.slug, event_slug(market) if named else "",
                    market.outcomes[outcome] if named else "", outcome if named else _UNKNOWN_OUTCOME, tx,
                )
            )  # fmt: skip
        return rows

    def _combination(
        self, rng: random.Random, market: Market, at_s: int, first: int, tx: str, wallet: str
    ) -> Row:  # fmt: skip
        """Return a trade of several markets together. Its condition is no market's."""
        condition = f"0x03{rng.getrandbits(200):050x}0000000000"
        other = self._world.living(rng.choice(self._weighted), at_s)
        token = str(int(condition, 16) << 8)
        size = rng.randint(100, 900_000) / 100
        legs = f"{title(market)} AND {title(other)}"
        return Row((at_s, 0, first), wallet, "BUY", token, condition, size, 0.11, legs, "", "", "", 0, tx)


def title(market: Market) -> str:
    """Return the question of a market."""
    return market.slug.replace("-", " ").capitalize() + "?"


def event_slug(market: Market) -> str:
    """Return the slug of the event of a market."""
    return f"event-{market.event}" if market.lane.group > 1 else market.slug

"""The markets of a world at a moment, and the trades of all of them.

Every market is a function of seed, slot and generation; the world only keeps which of them are open, so that a
listing need not search. It may be asked for any moment, also an earlier one.
"""

import heapq
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator

from recorder.simulator.services.polymarket import ids
from recorder.simulator.services.polymarket.book import MS, Book, book_at, changed_ns, encoded
from recorder.simulator.services.polymarket.ids import Found, Key, Version
from recorder.simulator.services.polymarket.lanes import Lane, lanes
from recorder.simulator.services.polymarket.life import Market, born, created_at, generation_at, longest_wait_s

_BACK = 4  # generations of a slot that are listed after their end
_BACK_S = 60  # the clock may go back this far without a new start
_KEPT = 25_000  # markets, and encoded books, that are kept to save making them again
_KEPT_BOOKS = 4_000


class World:
    """The markets. Its lock protects it and everything that the services keep beside it."""

    def __init__(self, markets: int, seed: int) -> None:
        self.seed = seed
        self.markets = markets
        self.lanes = lanes(markets)
        self.slots: list[Lane] = [lane for lane in self.lanes for _ in range(lane.slots)]
        self.lock = threading.RLock()
        self.fresh: deque[Market] = deque(maxlen=ids.MAX_SLOTS)  # created since the last look of the truth log
        self._made: OrderedDict[Key, Market] = OrderedDict()
        self._books: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._open: dict[Key, Market] = {}
        self._births: list[tuple[int, int, int]] = []  # second, slot, generation
        self._ends: list[tuple[int, Key]] = []
        self._now_s: int | None = None

    # ---- single markets

    def market(self, slot: int, generation: int) -> Market:
        """Return a market."""
        key = Key(slot, generation)
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = born(self.seed, self.slots[slot], key)
            if len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return found

    def living(self, slot: int, at_s: float) -> Market:
        """Return the newest market of a slot."""
        return self.market(slot, generation_at(self.seed, self.slots[slot], slot, at_s))

    def _known(self, key: Key, now_s: float) -> Market | None:
        if not (0 <= key.slot < len(self.slots) and 0 <= key.generation < 1 << 32):
            return None
        market = self.market(*key)
        return market if market.created_s <= now_s else None

    def by_number(self, text: str, now_s: float) -> Market | None:
        """Return the market of an id of Gamma."""
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            return None
        slot, created_s = ids.slot_of(int(text))
        if slot >= len(self.slots):
            return None
        market = self.living(slot, created_s)
        return market if market.created_s == created_s <= now_s else None

    def by_slug(self, slug: str, now_s: float) -> Market | None:
        """Return the market of a slug."""
        head, _, created = slug.rpartition("-")
        slot = head.rpartition("-")[2]
        if not (created.isdigit() and slot.isdigit() and len(created) < 12 and len(slot) < 6):
            return None
        number = ids.gamma_id(int(slot), int(created))
        market = self.by_number(str(number), now_s) if number >= 0 else None
        return market if market is not None and market.slug == slug else None

    def by_token(self, text: str, now_s: float) -> tuple[Market, Found] | None:
        """Return the market of a token or position, in whichever version."""
        return self._with(ids.find_token(self.seed, text), now_s)

    def by_condition(self, text: str, now_s: float, *, short: bool = True) -> tuple[Market, Found] | None:
        """Return the market of a condition id, in whichever version."""
        return self._with(ids.find_condition(self.seed, text, short=short), now_s)

    def _with(self, found: Found | None, now_s: float) -> tuple[Market, Found] | None:
        market = None if found is None else self._known(found.key, now_s)
        return None if market is None or found is None else (market, found)

    def members(self, market: Market) -> list[Market]:
        """Return the markets of the event of a market, in their order."""
        first = market.key.slot - market.place
        return [self.market(first + place, market.key.generation) for place in range(market.lane.group)]

    # ---- all markets

    def open(self, now_s: int) -> list[Market]:
        """Return the markets that Gamma lists and that are not closed, in the order of their creation."""
        self._advance(now_s)
        return sorted(self._open.values(), key=lambda one: one.number)

    def closed(self, now_s: int) -> Iterator[Market]:
        """Yield the resolved markets, of each slot the last few."""
        for slot, lane in enumerate(self.slots):
            newest = generation_at(self.seed, lane, slot, now_s)
            for generation in range(newest - _BACK, newest + 1):
                market = self.market(slot, generation)
                if market.resolved(now_s):
                    yield market

    def _advance(self, now_s: int) -> None:
        if self._now_s is None or now_s < self._now_s - _BACK_S:
            self._begin(now_s)
        while self._births and self._births[0][0] <= now_s:
            _, slot, generation = heapq.heappop(self._births)
            self._bear(slot, generation)
        while self._ends and self._ends[0][0] <= now_s:
            self._open.pop(heapq.heappop(self._ends)[1], None)
        self._now_s = max(now_s, self._now_s or now_s)

    def _begin(self, now_s: int) -> None:
        self._open.clear()
        self._births.clear()
        self._ends.clear()
        self._now_s = now_s
        for slot, lane in enumerate(self.slots):
            newest = generation_at(self.seed, lane, slot, now_s)
            # An ended market waits for its payout while its successors already trade.
            for generation in range(newest - _BACK, newest):
                stop_s = created_at(self.seed, lane, slot, generation + 1)
                if stop_s + longest_wait_s(lane) > now_s and self.market(slot, generation).resolved_s > now_s:
                    self._add(self.market(slot, generation))
            self._bear(slot, newest)

    def _bear(self, slot: int, generation: int) -> None:
        lane = self.slots[slot]
        self._add(self.market(slot, generation))
        heapq.heappush(self._births, (created_at(self.seed, lane, slot, generation + 1), slot, generation + 1))

    def _add(self, market: Market) -> None:
        self._open[market.key] = market
        heapq.heappush(self._ends, (market.resolved_s, market.key))
        self.fresh.append(market)

    # ---- books

    def book(self, market: Market, now_ns: int) -> tuple[int, Book]:
        """Return the time of the last change of a market's book, and the book."""
        ts_ns = changed_ns(market, now_ns)
        return ts_ns, book_at(market, ts_ns)

    def served(self, token: str, now_ns: int) -> tuple[int, bytes] | None:
        """Return the book of a token as the CLOB sends it, with the time of its last change; None without a book."""
        named = self.by_token(token, now_ns // 10**9)
        if named is None:
            return None
        market, found = named
        now_s = now_ns / 1e9
        if not market.has_book(now_s) or market.version_at(now_s) != found.version:
            return None
        ts_ns = changed_ns(market, now_ns)
        body = self._books.get((token, ts_ns))
        if body is None:
            body = self.encode(market, found.version, found.outcome, token, ts_ns)
            self._books[token, ts_ns] = body
            if len(self._books) > _KEPT_BOOKS:
                self._books.popitem(last=False)
        return ts_ns, body

    def served_at(self, token: str, ts_ms: int) -> bytes | None:
        """Return the book of a token whose `timestamp` is given: what the CLOB sent with it. For comparisons."""
        named = self.by_token(token, ts_ms / 1000)
        if named is None:
            return None
        market, found = named
        return self.encode(market, found.version, found.outcome, token, ts_ms * MS)

    def encode(self, market: Market, version: Version, outcome: int, token: str, ts_ns: int) -> bytes:
        """Return a book as the CLOB sends it."""
        return encoded(
            market, book_at(market, ts_ns), token=token, condition=market.condition(version), outcome=outcome,
            ts_ns=ts_ns, v2=version == "v2",
        )  # fmt: skip

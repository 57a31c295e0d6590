"""The markets in memory: what Gamma says of each, its tier, and what the polls have seen of its book.

Jobs run in several threads, so each method takes the lock and returns values that do not change.
"""

import threading
from collections.abc import Collection, Iterable, Sequence

import msgspec

from recorder.poller.polymarket.tiers import TIERS, Tier, TierRules, Verdict, judge
from recorder.venues.polymarket.polls.market import Market

MOST_MARKETS = 40_000
"""Of the markets in memory; the site has about 85,000 open ones, of which the settings choose 10,000."""

ROUNDS_WITHOUT_BOOK = 3
"""After this many answers in a row without its book, a market is no longer asked for it."""

ROUNDS_ABSENT = 3
"""After this many complete lists without it, a market is gone."""

_OVER = ("resolved", "closed")
_ASK_AGAIN_NS = 3_600 * 10**9
"""How long a market without a book rests, if Gamma still says that it is open."""


_LABELLED = Verdict(None, "resolution")


class Seen(msgspec.Struct, gc=False):
    """What the polls have seen of a market, beside what Gamma says."""

    missing: int = 0  # answers in a row without its book
    booked: bool = False  # whether an answer had its book
    rests_ns: int | None = None  # since when its book is not asked for
    traded_ns: int | None = None  # when its last known trade became known
    known_since_ns: int = 0  # receipt time of the first answer with it
    revision: int = 0  # of its newest row in the table
    stored_ns: int = 0  # receipt time of the numbers in that row
    absent: int = 0  # complete lists in a row that did not have it
    labelled: bool = False  # it is known how it ended


class _Entry(msgspec.Struct, gc=False):
    market: Market
    seen: Seen
    verdict: Verdict


class Board:
    """The markets in memory."""

    def __init__(self, rules: TierRules) -> None:
        self.rules = rules
        self._lock = threading.Lock()
        self._entries: dict[int, _Entry] = {}
        self._tiers: dict[Tier, tuple[Market, ...]] = dict.fromkeys(TIERS, ())

    # ---- what snapshots, whales and coverage need ---------------------------------------------------------

    def polled(self, tier: Tier) -> tuple[Market, ...]:
        """Return the markets of a tier whose books are asked for, by market_id; as of the last `retier`."""
        with self._lock:
            return self._tiers[tier]

    def get(self, market_id: int) -> Market | None:
        """Return a market, or None where memory does not have it."""
        with self._lock:
            entry = self._entries.get(market_id)
        return None if entry is None else entry.market

    def verdict(self, market_id: int) -> Verdict | None:
        """Return the tier of a market or why it has none, as of the last `retier`; None where it is not known."""
        with self._lock:
            entry = self._entries.get(market_id)
        return None if entry is None else entry.verdict

    def all(self) -> tuple[tuple[Market, Verdict], ...]:
        """Return every market with its verdict."""
        with self._lock:
            return tuple((entry.market, entry.verdict) for entry in self._entries.values())

    def of_conditions(self, conditions: Collection[str]) -> list[Market]:
        """Return the markets in memory with these condition ids."""
        wanted = frozenset(conditions)
        if not wanted:
            return []
        with self._lock:
            return [entry.market for entry in self._entries.values() if entry.market.condition_id in wanted]

    def books(self, seen: Collection[int], missing: Collection[int], now_ns: int) -> list[int]:
        """Count an answer with books.

        Args:
            seen: market_ids whose book it had.
            missing: market_ids that were asked for and whose book it did not have.
            now_ns: Its receipt time.

        Returns:
            The market_ids that are not asked for any more.
        """
        ended = []
        with self._lock:
            for market_id in seen:
                entry = self._entries.get(market_id)
                if entry is not None:
                    entry.seen.missing, entry.seen.booked, entry.seen.rests_ns = 0, True, None
            for market_id in missing:
                entry = self._entries.get(market_id)
                if entry is not None:
                    entry.seen.missing += 1
                    if entry.seen.missing >= ROUNDS_WITHOUT_BOOK and entry.seen.rests_ns is None:
                        entry.seen.rests_ns = now_ns
                        ended.append(market_id)
            if ended:
                self._retier(now_ns)
        return ended

    def traded(self, market_id: int, at_ns: int) -> None:
        """Remember that a trade of a market became known."""
        with self._lock:
            entry = self._entries.get(market_id)
            if entry is not None and at_ns > (entry.seen.traded_ns or 0):
                entry.seen.traded_ns = at_ns

    # ---- what the jobs of the metadata need ---------------------------------------------------------------

    def put(self, market: Market, seen: Seen | None = None) -> Market | None:
        """Keep the newest state of a market, and return the state before.

        A market that is new to a full board is not kept.

        Args:
            market: Its state; older than the one that is kept, it changes nothing.
            seen: What was seen of it, where it is restored.
        """
        received_ns = market.numbers.received_ns
        with self._lock:
            entry = self._entries.get(market.market_id)
            if entry is None:
                if len(self._entries) < MOST_MARKETS:
                    seen = seen or Seen(traded_ns=received_ns, known_since_ns=received_ns)
                    self._entries[market.market_id] = _Entry(market, seen, Verdict(None, "below volume"))
                return None
            before = entry.market
            if received_ns < before.numbers.received_ns:
                return before
            if (market.numbers.volume or 0.0) > (before.numbers.volume or 0.0):
                entry.seen.traded_ns = max(received_ns, entry.seen.traded_ns or 0)
            entry.seen.absent = 0
            rests_ns = entry.seen.rests_ns
            if rests_ns is not None and received_ns - rests_ns >= _ASK_AGAIN_NS:
                entry.seen.missing, entry.seen.rests_ns = 0, None
            entry.market = market
            return before

    def seen(self, market_id: int) -> Seen | None:
        """Return a copy of what was seen of a market."""
        with self._lock:
            entry = self._entries.get(market_id)
            return None if entry is None else msgspec.structs.replace(entry.seen)

    def stored(self, market_id: int, revision: int, at_ns: int) -> None:
        """Remember the newest row of a market in the table."""
        with self._lock:
            entry = self._entries.get(market_id)
            if entry is not None:
                entry.seen.revision, entry.seen.stored_ns = revision, at_ns

    def labelled(self, market_id: int) -> None:
        """Remember that it is known how a market ended. It is dropped once Gamma says that it is closed, too."""
        with self._lock:
            entry = self._entries.get(market_id)
            if entry is not None:
                entry.seen.labelled = True

    def absent(self, market_ids: Iterable[int]) -> list[Market]:
        """Count lists that did not have these markets, and return those that are gone for good."""
        gone = []
        with self._lock:
            for market_id in market_ids:
                entry = self._entries.get(market_id)
                if entry is not None:
                    entry.seen.absent += 1
                    if entry.seen.absent >= ROUNDS_ABSENT:
                        gone.append(entry.market)
        return gone

    def finished(self) -> list[int]:
        """Return the markets whose end is known, and which Gamma has closed."""
        with self._lock:
            return [
                market_id
                for market_id, entry in self._entries.items()
                if entry.market.phase == "vanished" or (entry.seen.labelled and entry.market.phase in _OVER)
            ]

    def drop(self, market_ids: Iterable[int]) -> None:
        """Forget markets that are resolved or gone."""
        with self._lock:
            for market_id in market_ids:
                self._entries.pop(market_id, None)

    def retier(self, now_ns: int) -> dict[Tier, int]:
        """Judge every market again, and return the number of markets of each tier."""
        with self._lock:
            self._retier(now_ns)
            return {tier: len(markets) for tier, markets in self._tiers.items()}

    def _retier(self, now_ns: int) -> None:
        groups: dict[Tier, list[Market]] = {tier: [] for tier in TIERS}
        for _, entry in sorted(self._entries.items()):
            if entry.seen.labelled:
                entry.verdict = _LABELLED
                continue
            without_book = entry.seen.rests_ns is not None
            entry.verdict = judge(entry.market, now_ns, self.rules, without_book=without_book)
            if entry.verdict.tier is not None:
                groups[entry.verdict.tier].append(entry.market)
        self._tiers = {tier: tuple(markets) for tier, markets in groups.items()}

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def snapshot(self) -> Sequence[tuple[Market, Seen]]:
        """Return copies of all that a restart needs."""
        with self._lock:
            return [(entry.market, msgspec.structs.replace(entry.seen)) for entry in self._entries.values()]

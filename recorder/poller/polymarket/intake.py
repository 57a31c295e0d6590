"""Takes Gamma's answers: what is new of a market goes into memory and into the tables."""

import threading
from collections.abc import Container
from typing import NamedTuple

import msgspec

from recorder.errors import RestUnavailable
from recorder.poller.job import Kept, Round
from recorder.poller.polymarket.board import Board
from recorder.poller.polymarket.cases import Cases
from recorder.poller.polymarket.rows import changes, event_row, market_row, rules_row
from recorder.poller.polymarket.tiers import judge, scheduled_end_ns
from recorder.venues.polymarket.ids import Version
from recorder.venues.polymarket.polls import gamma
from recorder.venues.polymarket.polls.gamma import MarketPage, MarketRow
from recorder.venues.polymarket.polls.market import Market, MarketEvent
from recorder.venues.polymarket.polls.resolutions import of_gamma

_STORE_EVERY_NS = 3_600 * 10**9
"""A state whose numbers alone changed is stored this often; the snapshots have the numbers in between."""

MOST_NEWEST = 5_000
"""Ids that are remembered of the lists of the newest markets."""

_MOST_EVENTS = 60_000
_MOST_UNVERSIONED = 200
_MOST_VERSIONS = 5_000


class StoredEvent(NamedTuple):
    """An event as it was stored last."""

    facts: MarketEvent  # without its numbers
    at_ns: int


class Known(NamedTuple):
    """What is remembered of events and versions, for a restart."""

    events: list[StoredEvent]
    versions: dict[str, Version]  # by condition, where only the CLOB says it


class Intake:
    """Puts Gamma's rows into memory and into the tables.

    Args:
        board: The markets in memory.
        cases: The markets whose end is asked for.
    """

    def __init__(self, board: Board, cases: Cases) -> None:
        self.board = board
        self.cases = cases
        self.complete = False  # whether memory has all markets: after a complete list, or restored
        self.newest: dict[int, None] = {}  # ids of the lists of the newest, in the order of their first sight
        self.unversioned: dict[str, None] = {}  # conditions whose version the CLOB is asked for
        self._versions: dict[str, Version] = {}  # by condition, where only the CLOB says it
        self._events: dict[int, StoredEvent] = {}
        self._lock = threading.Lock()  # a round of a job and a round of another may take answers at once

    def known(self) -> Known:
        """Return a copy of what is remembered of events and versions."""
        with self._lock:
            return Known(list(self._events.values()), dict(self._versions))

    def restore(self, known: Known) -> None:
        """Take over what an earlier process remembered of events and versions."""
        with self._lock:
            self._events.update((event.facts.event_id, event) for event in known.events[:_MOST_EVENTS])
            self._versions.update(list(known.versions.items())[:_MOST_VERSIONS])

    def take(self, round: Round, answer: Kept, *, of_newest: bool = False) -> MarketPage:
        """Decode an answer with markets, and store what is new.

        Args:
            round: Receives the rows.
            answer: Of /markets/keyset.
            of_newest: Whether the list is of the newest markets: each is stored once, whatever the settings choose.

        Raises:
            DecodeError: The answer cannot be used.
            RestUnavailable: The service refused the request.
        """
        if not 200 <= answer.status <= 299:
            raise RestUnavailable(f"{answer.service}{answer.path[:100]} answers HTTP {answer.status}")
        page = gamma.markets(answer.body, answer.received_ns, self._versions)
        for what, reason in page.odd:
            round.odd(what, reason)
        taken: set[int] = set()
        with self._lock:
            for row in page.rows:
                if row.market.market_id in taken:  # two values of one instant: which of them is the later is not known
                    round.odd(f"market {row.market.market_id}", "a second row in one answer")
                    continue
                taken.add(row.market.market_id)
                self._take(round, row, of_newest and row.market.market_id not in self.newest)
                if of_newest:
                    self.newest.setdefault(row.market.market_id)
            for condition in page.unversioned:
                if len(self.unversioned) < _MOST_UNVERSIONED:
                    self.unversioned[condition] = None
            for market_id in list(self.newest)[: max(0, len(self.newest) - MOST_NEWEST)]:
                del self.newest[market_id]
        return page

    def take_version(self, answer: Kept) -> None:
        """Remember the version of a market whose row does not say it; the next list uses it.

        Raises:
            DecodeError: The answer cannot be used.
        """
        condition = answer.path.rpartition("/")[2]
        with self._lock:
            self.unversioned.pop(condition, None)
            if answer.status in (404, 422):
                return
            version = gamma.version_of(answer.body, condition)
            if version is not None:
                if len(self._versions) >= _MOST_VERSIONS:
                    self._versions.clear()
                self._versions[condition] = version

    def ended(self, market: Market, now_ns: int) -> bool:
        """Return whether a market's end is to be asked for."""
        if market.phase != "open":
            return market.phase != "vanished"
        end_ns = scheduled_end_ns(market, now_ns, self.board.rules)
        return end_ns is not None and end_ns <= now_ns

    def vanished(self, round: Round, market: Market) -> None:
        """Store that Gamma no longer has a market. It has no label, unless a source gave one."""
        now_ns = round_time_ns(round, market)
        numbers = msgspec.structs.replace(market.numbers, received_ns=now_ns)
        after = msgspec.structs.replace(market, phase="vanished", numbers=numbers)
        with self._lock:
            self._update(round, market, after, "")
        self.cases.drop(market.condition_id)

    def _take(self, round: Round, row: MarketRow, is_new: bool) -> None:
        market = row.market
        known = self.board.get(market.market_id)
        if known is None:
            self._new(round, row, is_new)
        elif market.numbers.received_ns >= known.numbers.received_ns:
            self._update(round, known, market, row.rules)
        if row.event is not None:
            self._event(round, row.event, market.numbers.received_ns)
        if self.board.get(market.market_id) is not None and self.ended(market, market.numbers.received_ns):
            self.cases.open(market, market.numbers.received_ns)
        if row.payouts is not None or self.cases.get(market.condition_id) is not None:
            self.cases.hear(of_gamma(row))  # also where it takes back what it said

    def _new(self, round: Round, row: MarketRow, is_new: bool) -> None:
        market = row.market
        now_ns = market.numbers.received_ns
        reason = judge(market, now_ns, self.board.rules).reason
        volume = market.numbers.volume or 0.0
        chosen = reason is None or (market.phase == "proposed" and volume >= self.board.rules.volume_min)
        if chosen and not self.cases.labelled(market.condition_id):
            self.board.put(market)
        elif not is_new:
            return
        self._store(round, market, now_ns, now_ns // 1_000)
        round.store("market_rules", [rules_row(market, row.rules, now_ns // 1_000)])

    def _update(self, round: Round, known: Market, market: Market, rules: str) -> None:
        seen = self.board.seen(market.market_id)
        if seen is None:
            return
        self.board.put(market)
        if market.condition_id != known.condition_id:  # a market of v1 became one of v2
            self.cases.drop(known.condition_id)
        changed = changes(known, market, rules)
        received_ns = market.numbers.received_ns
        if changed:
            round.store("market_history", changed)
        elif received_ns - seen.stored_ns < _STORE_EVERY_NS:
            return
        revision = max(seen.revision + 1, received_ns // 1_000)
        self._store(round, market, seen.known_since_ns, revision)
        if market.rules_hash != known.rules_hash:
            round.store("market_rules", [rules_row(market, rules, revision)])

    def _store(self, round: Round, market: Market, known_since_ns: int, revision: int) -> None:
        round.store("market", [market_row(market, known_since_ns, revision)])
        self.board.stored(market.market_id, revision, market.numbers.received_ns)

    def _event(self, round: Round, event: MarketEvent, received_ns: int) -> None:
        facts = msgspec.structs.replace(event, volume=None, liquidity=None, open_interest=None, updated_ns=None)
        stored = self._events.get(event.event_id)
        if stored is not None:
            if received_ns < stored.at_ns or (facts == stored.facts and received_ns - stored.at_ns < _STORE_EVERY_NS):
                return
        elif len(self._events) >= _MOST_EVENTS:
            self._events.clear()  # each is stored once more
        self._events[event.event_id] = StoredEvent(facts, received_ns)
        round.store("market_event", [event_row(event, received_ns, received_ns // 1_000)])


def round_time_ns(round: Round, market: Market) -> int:
    """Return a time of a round for a market: its slot, and never before the last answer with the market."""
    return max(round.slot_ns, market.numbers.received_ns + 1_000)


def unseen(board: Board, listed: Container[int]) -> list[Market]:
    """Return the markets in memory that a complete list did not have."""
    return [market for market, _ in board.all() if market.market_id not in listed]

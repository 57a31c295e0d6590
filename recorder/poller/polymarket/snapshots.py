"""Snapshots of the markets of one tier: their books, and rows of the figures."""

import threading
from collections.abc import Mapping, Sequence
from typing import Literal

from recorder.errors import DecodeError, RestError, RestInvalidResponse, RestRefused, RestUnavailable
from recorder.poller.job import Kept, Outcome, Round
from recorder.poller.polymarket import snapshot_rows as rows
from recorder.poller.polymarket.board import Board
from recorder.poller.polymarket.tiers import TIERS, Tier
from recorder.venues.polymarket.polls import books
from recorder.venues.polymarket.polls.books import Book
from recorder.venues.polymarket.polls.figures import figures
from recorder.venues.polymarket.polls.market import Market

SERVICE = "clob"
BookTier = Literal["T0", "T1", "T2", "T3", "T4", "none"]
UNCHANGED_NS = 900 * 10**9
"""A book that does not change is stored again after this time, which bounds how far back a reader has to look."""
_REMEMBERED_MAX = 10_000  # several times the markets whose books are stored; those that have ended are forgotten
_UNAVAILABLE_MAX = 2  # chunks in a row without an answer; then the rest of the round is not asked for


class StoredBooks:
    """Which complete books are stored: those of some tiers, when their hash has changed.

    The handlers of all tiers share it, because a market moves from one to the next.
    """

    def __init__(self, since: BookTier) -> None:
        self._tiers = frozenset[Tier]() if since == "none" else frozenset(TIERS[TIERS.index(since) :])
        self._lock = threading.Lock()
        self._last: dict[int, tuple[str, int]] = {}  # hash and receipt time by market_id

    def wants(self, market_id: int, tier: Tier, book: Book, received_ns: int) -> bool:
        """Return whether to store a book, and remember that it is."""
        if tier not in self._tiers:
            return False
        with self._lock:
            last = self._last.get(market_id)
            if last is not None and last[0] == book.hash and 0 <= received_ns - last[1] < UNCHANGED_NS:
                return False
            if book.hash is not None:
                self._last[market_id] = (book.hash, received_ns)
            if len(self._last) > _REMEMBERED_MAX:
                self._last = {key: kept for key, kept in self._last.items() if kept[1] > received_ns - UNCHANGED_NS}
        return True


class Snapshots:
    """The handler of one tier.

    Args:
        board: The markets in memory.
        tier: Whose books are asked for.
        stored: Decides which complete books are stored.
    """

    def __init__(self, board: Board, tier: Tier, stored: StoredBooks) -> None:
        self._board = board
        self._tier = tier
        self._stored = stored
        self._asked: Mapping[str, Market] = {}  # of the round that runs, as they were known at its start

    def run(self, round: Round) -> Outcome:
        """Ask for the books in chunks, and for a chunk that fails once more in halves."""
        markets = self._board.polled(self._tier)
        if not markets:
            return Outcome("skipped", "nothing due")
        self._asked = {market.token: market for market in markets}
        failures: list[RestError | DecodeError] = []
        parts, unavailable = books.chunks([market.token for market in markets]), 0
        for tokens in parts:
            try:
                failures += self._chunk(round, tokens)
                unavailable = 0
            except RestUnavailable as error:
                failures.append(error)
                unavailable += 1
                if unavailable == _UNAVAILABLE_MAX:
                    break
        if failures:
            raise _failure(failures, len(parts))
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        """Store a row for each market that the request names, whether or not the answer has its book."""
        if answer.status // 100 != 2:
            raise DecodeError(f"status {answer.status} for a request of books")
        received_ns = answer.received_ns
        decoded = books.decode(answer.body, received_ns)
        for odd in decoded.odd:
            round.odd(odd.what, odd.reason)
        tokens = books.requested(answer.request)
        markets = self._markets(tokens)
        snapshots: list[rows.Row] = []
        complete: list[rows.Row] = []
        seen: list[int] = []
        for book in decoded.books:
            market = markets.get(book.token)
            if market is None:
                round.odd(book.token, "the book of a token that was not asked for, or of a market that is not known")
            elif book.condition_id not in (None, market.condition_id):
                round.odd(book.token, f"the book names condition {book.condition_id}, not {market.condition_id}")
            else:
                seen.append(market.market_id)
                of = figures(book.bids, book.asks)
                snapshots.append(rows.snapshot(market, self._tier, book, of, received_ns, "rest"))
                if self._stored.wants(market.market_id, self._tier, book, received_ns):
                    complete.append(rows.book(market.market_id, book, received_ns))
        missing = [markets[token] for token in decoded.without(tokens) if token in markets]
        snapshots += [rows.without_book(market, self._tier, received_ns) for market in missing]
        round.store("market_snapshot", snapshots)
        round.store("market_book", complete)
        self._board.books(seen, [market.market_id for market in missing], received_ns)

    def _chunk(self, round: Round, tokens: Sequence[str]) -> list[RestError | DecodeError]:
        """Return why parts of a chunk have no answer that can be used."""
        try:
            self.take(round, round.post(SERVICE, books.PATH, books.request(tokens)))
            return []
        except (RestRefused, RestInvalidResponse, DecodeError) as error:
            if len(tokens) == 1:
                return [error]
        failures: list[RestError | DecodeError] = []
        for half in books.halves(tokens):
            try:
                self.take(round, round.post(SERVICE, books.PATH, books.request(half)))
            except (RestRefused, RestInvalidResponse, DecodeError) as error:
                failures.append(error)
        return failures

    def _markets(self, tokens: Sequence[str]) -> Mapping[str, Market]:
        """Return the markets of the tokens of a request. After a kill they are looked up in memory."""
        asked = self._asked
        if all(token in asked for token in tokens):
            return {token: asked[token] for token in tokens}
        known = {market.token: market for market, _ in self._board.all() if market.tokens}
        return {token: known[token] for token in tokens if token in known}


def _failure(failures: Sequence[RestError | DecodeError], parts: int) -> RestError | DecodeError:
    """Return an error of the kind of the first failure that says how much is missing."""
    first = failures[0]
    if len(failures) == parts == 1:
        return first
    return type(first)(f"{len(failures)} of {parts} requests or their halves have no answer; the first: {first}")

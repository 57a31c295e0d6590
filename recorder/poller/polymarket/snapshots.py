"""Snapshots of the markets of one tier: their books, and rows of the figures."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from recorder.errors import DecodeError, RestError, RestInvalidResponse, RestRefused, RestUnavailable
from recorder.poller.job import Kept, Outcome, Round
from recorder.poller.polymarket import snapshot_rows as rows
from recorder.poller.polymarket.board import Board
from recorder.poller.polymarket.own_book import answer as answers
from recorder.poller.polymarket.own_book import service as stream
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
        service: Is asked for books: the CLOB, or the stream, which has our own books beside the answer of the CLOB.
    """

    def __init__(self, board: Board, tier: Tier, stored: StoredBooks, service: str = SERVICE) -> None:
        self._board = board
        self._tier = tier
        self._stored = stored
        self._service = service
        self._counts: Counter[str] = Counter()  # of the round that runs, by what the comparison gave
        self._asked: Mapping[str, Market] = {}  # of the round that runs, as they were known at its start

    def run(self, round: Round) -> Outcome:
        """Ask for the books in chunks, and for a chunk that fails once more in halves."""
        # Their tiers are those of the last minute, their numbers the newest that are known.
        newest = [self._board.get(market.market_id) or market for market in self._board.polled(self._tier)]
        markets = [market for market in newest if market.tokens]
        if not markets:
            return Outcome("skipped", "nothing due")
        self._asked = {market.token: market for market in markets}
        self._counts.clear()
        failures: list[_Failure] = []
        parts, unavailable = books.chunks([market.token for market in markets]), 0
        for number, tokens in enumerate(parts):
            try:
                failures += self._chunk(round, tokens)
                unavailable = 0
            except RestUnavailable as error:
                failures.append(_Failure(error, tokens))
                unavailable += 1
                if unavailable == _UNAVAILABLE_MAX:
                    failures += [_Failure(error, rest) for rest in parts[number + 1 :]]
                    break
        lost = [failure for failure in failures if not self._has_own(round, failure)]
        counts = {name: count for name, count in sorted(self._counts.items()) if " " not in name}
        if lost:
            raise _error(lost, len(parts), counts.get("unchecked", 0))
        detail = _detail(self._counts)
        if failures:
            detail = f"{detail}; no check: {failures[0].error}"
        return Outcome(detail=detail, counts=counts)

    def begin(self) -> None:
        """Note the markets as they are known now, before the kept answers of a round are taken again."""
        self._asked = {market.token: market for market, _ in self._board.all() if market.tokens}

    def take(self, round: Round, answer: Kept) -> None:
        """Store a row for each market that the request names, whether or not the answer has its book."""
        if answer.status // 100 != 2:
            raise DecodeError(f"status {answer.status} for a request of books")
        compared = answers.decode(answer.body)
        if compared is not None and answer.path in answers.PATHS.values():
            self._take_unchecked(round, compared.own)
            return
        received_ns, body = (
            (answer.received_ns, answer.body) if compared is None else (compared.received_ns, bytes(compared.books))
        )
        own = {} if compared is None else {one.token: one for one in compared.own}
        decoded = books.decode(body, received_ns)
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
                check = own.get(book.token)
                # A book that differs is the venue's: that is one consistent state, ours may lack a message.
                is_own = check is not None and check.check == "agrees"
                at_ns = check.looked_ns if is_own and check is not None else received_ns
                taken = answers.taken(check, book) if is_own and check is not None else book
                of = figures(taken.bids, taken.asks)
                source: rows.Source = "stream" if is_own else "rest"
                snapshots.append(rows.snapshot(market, self._tier, taken, of, at_ns, source, check))
                if self._stored.wants(market.market_id, self._tier, taken, at_ns):
                    complete.append(rows.book(market.market_id, taken, at_ns))
                self._count(check)
        missing = [markets[token] for token in decoded.without(tokens) if token in markets]
        snapshots += [rows.without_book(market, self._tier, received_ns, own.get(market.token)) for market in missing]
        round.store("market_snapshot", snapshots)
        round.store("market_book", complete)
        self._board.books(seen, [market.market_id for market in missing], received_ns)

    def _take_unchecked(self, round: Round, every: Sequence[answers.Own]) -> None:
        """Store our own books that no answer checked. Without a certain one there is no row: nothing is known."""
        markets = self._markets([own.token for own in every])
        snapshots: list[rows.Row] = []
        complete: list[rows.Row] = []
        for own in every:
            market = markets.get(own.token)
            if market is None or own.check != "unchecked":
                continue
            book = answers.unchecked(own, market.condition_id)
            of = figures(book.bids, book.asks)
            snapshots.append(rows.snapshot(market, self._tier, book, of, own.looked_ns, "stream", own))
            if self._stored.wants(market.market_id, self._tier, book, own.looked_ns):
                complete.append(rows.book(market.market_id, book, own.looked_ns))
            self._count(own)
        round.store("market_snapshot", snapshots)
        round.store("market_book", complete)

    def _count(self, own: answers.Own | None) -> None:
        if own is not None:
            self._counts[own.check] += 1
            if own.reason:
                self._counts[f"{own.check} {own.reason}"] += 1

    def _chunk(self, round: Round, tokens: Sequence[str]) -> "list[_Failure]":
        """Return the parts of a chunk that have no answer that can be used.

        Raises:
            RestUnavailable: Nothing of it has an answer.
        """
        try:
            self.take(round, round.post(self._service, books.PATH, books.request(tokens)))
            return []
        except (RestRefused, RestInvalidResponse, DecodeError) as error:
            if len(tokens) == 1:
                return [_Failure(error, tokens)]
        failures: list[_Failure] = []
        for half in books.halves(tokens):
            try:
                self.take(round, round.post(self._service, books.PATH, books.request(half)))
            except (RestError, DecodeError) as error:
                failures.append(_Failure(error, half))
        return failures

    def _has_own(self, round: Round, failure: "_Failure") -> bool:
        """Store our own books where their check failed, and return whether there was one of each market."""
        if self._service != stream.NAME or round.stop.is_set():
            return False
        before = self._counts["unchecked"]
        path = answers.PATHS[answers.reason_of(failure.error)]
        self.take(round, round.post(self._service, path, books.request(failure.tokens)))
        return self._counts["unchecked"] - before == len(failure.tokens)

    def _markets(self, tokens: Sequence[str]) -> Mapping[str, Market]:
        """Return the markets of the tokens of a request. After a kill they are looked up in memory."""
        asked = self._asked
        if all(token in asked for token in tokens):
            return {token: asked[token] for token in tokens}
        known = {market.token: market for market, _ in self._board.all() if market.tokens}
        return {token: known[token] for token in tokens if token in known}


class _Failure(NamedTuple):
    """A request of books without an answer that can be used."""

    error: RestError | DecodeError
    tokens: Sequence[str]


def _detail(counts: Mapping[str, int]) -> str:
    """Return what the comparison with our own books gave; empty where there was none."""
    reasons = ", ".join(f"{name.partition(' ')[2]} {count}" for name, count in sorted(counts.items()) if " " in name)
    plain = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if " " not in name)
    return f"{plain} ({reasons})" if reasons else plain


def _error(failures: Sequence[_Failure], parts: int, unchecked: int) -> RestError | DecodeError:
    """Return an error of the kind of the first failure that says how much is missing.

    Args:
        failures: Those for which our own books do not stand in completely.
        parts: Requests of the round, without their halves.
        unchecked: Snapshots of our own books that are stored in place of answers.
    """
    first = failures[0].error
    if len(failures) == parts == 1 and not unchecked:
        return first
    own = f" and {unchecked} own books are stored unchecked" if unchecked else ""
    return type(first)(f"{len(failures)} of {parts} requests or their halves have no answer{own}; the first: {first}")

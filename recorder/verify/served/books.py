"""Snapshots: every book that was answered is stored, and every row has the values of a book that was answered.

Both sides are read in the order of time, side by side: answers from the log, rows by their receipt. In memory are the
last few books of each token, and the answers and rows of the last minutes.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from recorder.errors import ConfigError
from recorder.identity import instrument_id
from recorder.truth import Answered, ServedBook
from recorder.verify.served.result import ServedCheck, differing

COLUMNS = (
    "bid", "bid_size", "ask", "ask_size", "mid", "spread", "bid_depth_1c", "bid_depth_2c", "bid_depth_5c",
    "bid_depth_10c", "ask_depth_1c", "ask_depth_2c", "ask_depth_5c", "ask_depth_10c", "bid_levels", "ask_levels",
    "bid_shares", "ask_shares", "last_trade_price", "tick_size", "min_size",
)  # fmt: skip
"""Of a row, in the order of its values."""

STORED_NS = 90 * 10**9
"""The row of an answer is received within this time: a request may be repeated, and our own book waited for."""

_MICROSECOND_NS = 1000  # times of receipt are truncated
_EARLY_NS = 10**9  # the answer is made before it is received; the log and the poller read the same clock
_VERSIONS = 8  # of the book of one token
_CENTS = (1, 2, 5, 10)
_PARKED = 1_000_000.0  # shares
_PARKED_BELOW, _PARKED_ABOVE = 0.001 + 1e-9, 0.999 - 1e-9
_ROUNDING = 2e-9  # stored middles and spreads have 9 decimals

Values = tuple[float | None, ...]


class StoredSnapshot(NamedTuple):
    """A row of market_snapshot."""

    ts_recv_ns: int
    instrument_id: int
    ts_event_ms: int | None
    source: str
    hash: str | None
    values: Values


class Declared(NamedTuple):
    """A round that did not store all of its answers, and says so."""

    from_ns: int
    until_ns: int


class _Version(NamedTuple):
    ts_ms: int
    hash: str | None
    values: Values


class _Expected(msgspec.Struct):
    at_ns: int
    token: str
    stored: bool = False


class BookCheck:
    """Compares the snapshots of one group of services.

    Args:
        services: Name of the group, which is that of the venue.
        declared: Rounds that failed or had odd rows, by time.
        until_ns: Answers after this time need not be stored yet; None takes all.
    """

    def __init__(self, services: str, declared: Iterable[Declared], until_ns: int | None) -> None:
        self.check = ServedCheck(services, "snapshots")
        self._services = services
        self._declared = sorted(declared)
        self._until_ns = until_ns
        self._since_ns = 0
        self._serves = False  # whether these services have books at all
        self._numbers: dict[str, int] = {}  # instrument ids by token
        self._versions: dict[int, deque[_Version]] = {}
        self._expected: dict[int, deque[_Expected]] = defaultdict(deque)
        self._order: deque[tuple[_Expected, int]] = deque()

    def begin(self, since_ns: int, *, follows: bool) -> None:
        """Begin a part of the log; where one before it is missing, rows before it cannot be judged."""
        if not follows:
            self._since_ns = since_ns
            self._versions.clear()
            self._expected.clear()
            self._order.clear()

    def served(self, book: ServedBook) -> None:
        """Note a book that is in an answer for the first time.

        Raises:
            ConfigError: It is no book.
        """
        self._serves = True
        versions = self._versions.setdefault(self._number(book.token), deque(maxlen=_VERSIONS))
        versions.append(_version(book))

    def answered(self, line: Answered) -> None:
        """Note the books of an answer that the poller received."""
        if self._until_ns is not None and line.t + STORED_NS > self._until_ns:
            return
        for token, _ in line.books:
            expected = _Expected(line.t, token)
            self.check.served += 1
            self._expected[self._number(token)].append(expected)
            self._order.append((expected, self._number(token)))

    def stored(self, row: StoredSnapshot) -> None:
        """Compare a row, and give it to the answer that it is of. Rows come in the order of their receipt."""
        self.passed(row.ts_recv_ns)
        if not self._serves or row.ts_recv_ns < self._since_ns or row.source == "none":
            return
        # The latest answer before it: an earlier one that has no row yet is lost.
        for expected in reversed(self._expected.get(row.instrument_id, ())):
            if expected.at_ns <= row.ts_recv_ns + _MICROSECOND_NS:
                expected.stored = True
                break
        self._compare(row)

    def passed(self, now_ns: int) -> None:
        """Judge the answers whose row would have been received by now."""
        while self._order and self._order[0][0].at_ns + STORED_NS < now_ns:
            expected, number = self._order.popleft()
            waiting = self._expected[number]
            waiting.popleft()
            if not waiting:
                del self._expected[number]
            if expected.stored:
                continue
            if self._is_declared(expected.at_ns):
                self.check.declared += 1
            else:
                self.check.missing += 1
                self.check.note(f"no row of token {expected.token[:12]}... answered at {expected.at_ns}")

    def end(self) -> ServedCheck:
        """Judge what is left, and return the result."""
        self.passed(1 << 62)
        return self.check

    def _number(self, token: str) -> int:
        number = self._numbers.get(token)
        if number is None:
            number = self._numbers[token] = instrument_id(self._services, token)
        return number

    def _is_declared(self, at_ns: int) -> bool:
        # The list is short: rounds that fail are few, or the answers that they concern are.
        return any(one.from_ns - _EARLY_NS <= at_ns <= one.until_ns + _EARLY_NS for one in self._declared)

    def _compare(self, row: StoredSnapshot) -> None:
        versions = self._versions.get(row.instrument_id, ())
        # Our own book has its own time, and the hash of the answer that it is.
        found = [
            one for one in reversed(versions)
            if (one.ts_ms == row.ts_event_ms if row.source == "rest" else one.hash == row.hash is not None)
        ]  # fmt: skip
        if not found and row.source == "stream" and row.hash is None:
            self.check.unknown += 1  # it has gone on since the answer, or none checked it
            return
        self.check.stored += 1
        if not found:
            self.check.wrong += 1
            self.check.note(f"the book of {row.instrument_id} at {row.ts_event_ms} was never served")
            return
        # Books of one hash may differ in what is no part of it, such as the last trade.
        differs = [
            differing((*COLUMNS, "hash"), (*row.values, row.hash), (*one.values, one.hash), absolute=_ROUNDING)
            for one in found
        ]
        if all(differs):
            self.check.wrong += 1
            self.check.note(f"{row.instrument_id} at {row.ts_event_ms}: {', '.join(differs[0])}")


class _Level(msgspec.Struct, gc=False):
    price: float
    size: float


class _Body(msgspec.Struct, gc=False):
    bids: list[_Level]
    asks: list[_Level]
    hash: str | None = None
    last_trade_price: str | None = None
    tick_size: float | None = None
    min_order_size: float | None = None


_decode = msgspec.json.Decoder(_Body, strict=False).decode


def _version(book: ServedBook) -> _Version:
    try:
        body = _decode(book.body)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"a truth log has a book that is none: {error}") from error
    return _Version(book.ts, body.hash, values_of(body))


def values_of(body: _Body) -> Values:
    """Return the figures of a book as served, by the definitions of sql/0017_snapshot.sql."""
    bids = {level.price: level.size for level in body.bids if level.size}
    asks = {level.price: level.size for level in body.asks if level.size}
    bid, ask = max(bids, default=None), min(asks, default=None)
    mid = None if bid is None or ask is None else (bid + ask) / 2

    def within(side: dict[float, float], cents: int) -> float | None:
        if mid is None:
            return None if side else 0.0
        return sum(size for price, size in side.items() if abs(price - mid) <= cents / 100 + 1e-9)

    real_bids, real_asks = (
        [size for price, size in side.items() if size <= _PARKED or _PARKED_BELOW < price < _PARKED_ABOVE]
        for side in (bids, asks)
    )
    last = float(body.last_trade_price) if body.last_trade_price else None
    return (
        bid, None if bid is None else bids[bid], ask, None if ask is None else asks[ask], mid,
        None if bid is None or ask is None else ask - bid,
        *(within(bids, cents) for cents in _CENTS), *(within(asks, cents) for cents in _CENTS),
        len(real_bids), len(real_asks), sum(real_bids), sum(real_asks), last, body.tick_size, body.min_order_size,
    )  # fmt: skip

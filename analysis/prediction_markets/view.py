"""A prediction market as known at a snapshot: its book, its listing, its event, its flow.

Outcome 0 is called YES. Every trade is converted to YES: a trade of the NO token at p counts at 1 - p and for the
opposite side. Cash is size x that price in every feature, so that fractions of it stay consistent.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self, TypeVar

import numpy as np

from analysis.arrays import HOUR, MINUTE, Bools, Floats, Gaps, Ints, Received, Signs
from analysis.features.point_in_time import ReceiptIndex
from analysis.features.registry import Registry
from analysis.gap_policy import complete, steps

OLD_POINT = 10 * MINUTE
"""Age up to which a mid is valid for later minutes; an hour for day features of markets polled once an hour."""


@dataclass(frozen=True, slots=True, eq=False)
class Fills(Received):
    """Trades of a market, converted to YES."""

    price: Floats  # probability
    size: Floats  # shares
    side: Signs  # 1 when the taker bought YES or sold NO, -1 when it sold YES or bought NO
    transaction: Ints  # the same number for all fills of one transaction
    wallet: Ints  # number of the taker's wallet; -1 when unknown

    @classmethod
    def empty(cls) -> Self:
        """Return no trades."""
        ints = np.zeros(0, np.int64)
        return cls(ints, ints, np.zeros(0), np.zeros(0), np.zeros(0, np.int8), ints, ints)

    @property
    def cash(self) -> Floats:
        """Return (n,) USDC."""
        return self.size * self.price


def converted_to_yes(fills: Fills, on_no: Bools) -> Fills:
    """Convert trades to YES; `on_no` marks those of the NO token."""
    price = np.where(on_no, 1 - fills.price, fills.price)
    return replace(fills, price=price, side=np.where(on_no, -fills.side, fills.side).astype(np.int8))


@dataclass(frozen=True, slots=True, eq=False)
class Mids(Received):
    """Middle of the book at recorded snapshots, or the venue's price history."""

    mid: Floats

    @classmethod
    def empty(cls) -> Self:
        """Return no points."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, slots=True, eq=False)
class MarketBook:
    """Both sides of the YES token, best first.

    A snapshot without its levels has only the best price of each side, and the depth features that were stored of it.
    """

    ts_recv: int
    bid: Floats
    bid_size: Floats
    ask: Floats
    ask_size: Floats
    _: KW_ONLY
    interval_ns: int = 0  # polling interval of the market at that time; 0: that of the tape
    stored: Mapping[str, float] | None = None  # feature -> value, where the levels are not stored
    absent: bool = False  # the venue was asked and has no book


@dataclass(frozen=True, slots=True)
class Listing:
    """The market as described by its venue; a missing field is None. It never holds what the end revealed."""

    ts_recv: int
    price: float | None = None  # outcomePrices[0]
    volume: float | None = None
    volume_24h: float | None = None
    volume_1w: float | None = None
    liquidity: float | None = None
    start_ns: int | None = None
    end_ns: int | None = None  # scheduled, as known at the time: venues change it later
    game_ns: int | None = None
    tick_size: float | None = None
    category: str | None = None
    neg_risk: bool = False
    last_trade: tuple[int, float] | None = None  # (time, price of YES) of the last trade, by REST
    last_price: float | None = None  # price of YES of the last trade, where its time is not known


@dataclass(frozen=True, slots=True, eq=False)
class EventListing:
    """The event of a market."""

    ts_recv: int
    volume: float | None
    open_interest: float | None
    mids: Floats  # YES mids of its open markets, NaN when unknown
    own: int  # position of this market in `mids`


@dataclass(frozen=True, slots=True)
class WalletFetch:
    """A response that named the wallets of all trades from an instant until its receipt."""

    ts_recv: int
    since_ns: int


class _Timed(Protocol):
    @property
    def ts_recv(self) -> int: ...


T = TypeVar("T", bound=_Timed)


def _known(rows: Sequence[T], t: int) -> Sequence[T]:
    return rows[: bisect_right(rows, t, key=lambda row: row.ts_recv)]


def _received(rows: Sequence[T], t: int) -> Sequence[T]:
    """Return the same as `_known`, computed independently so that an audit can detect mistakes of the features."""
    return [row for row in rows if row.ts_recv <= t]


@dataclass(eq=False)
class MarketTape:
    """Everything recorded of a market, in order of receipt; a feature sees it only through a `Snapshot`."""

    books: Sequence[MarketBook] = ()
    listings: Sequence[Listing] = ()
    events: Sequence[EventListing] = ()
    fills: ReceiptIndex[Fills] = field(default_factory=lambda: ReceiptIndex(Fills.empty()))
    book_changes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # receipt times of price_change entries
    mids: ReceiptIndex[Mids] = field(default_factory=lambda: ReceiptIndex(Mids.empty()))
    gaps: Gaps = field(default_factory=Gaps.empty)  # of the stream: trades of both tokens and changes of the book
    book_gaps: Gaps = field(default_factory=Gaps.empty)  # of the stream that makes books and mids; none of polls
    subscribed_ns: int | None = None  # start of the subscription; None without one
    wallet_fills: ReceiptIndex[Fills] = field(
        default_factory=lambda: ReceiptIndex(Fills.empty())
    )  # by REST, with wallets
    wallet_fetches: Sequence[WalletFetch] = ()
    interval_ns: int = MINUTE  # polling interval of the market
    hourly: bool = False  # whether the market is polled once an hour (tier T0)
    masked: Sequence[str] = ()  # ranges that are gaps because of their grade, for reports (`load.hours.grades`)

    def until(self, t: int) -> "MarketTape":
        """Return the tape as it was at t."""
        return replace(
            self,
            books=_received(self.books, t),
            listings=_received(self.listings, t),
            events=_received(self.events, t),
            fills=ReceiptIndex(self.fills.until(t)),
            book_changes=self.book_changes[self.book_changes <= t],
            mids=ReceiptIndex(self.mids.until(t)),
            wallet_fills=ReceiptIndex(self.wallet_fills.until(t)),
            wallet_fetches=_received(self.wallet_fetches, t),
            gaps=self.gaps.until(t),
            book_gaps=self.book_gaps.until(t),
        )


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A market as known at t; every window is (t - span, t], and `gap_policy` decides what a gap makes null."""

    tape: MarketTape
    t: int

    @cached_property
    def book(self) -> MarketBook | None:
        """Return the book received last; None when it is older than twice the interval, or a gap came after it."""
        rows = _known(self.tape.books, self.t)
        if not rows or rows[-1].absent:
            return None
        since, interval_ns = rows[-1].ts_recv, rows[-1].interval_ns or self.tape.interval_ns
        stands = complete(np.array([since]), np.array([self.t]), self.tape.book_gaps)[0]
        return rows[-1] if stands and self.t - since <= 2 * interval_ns else None

    @cached_property
    def listing(self) -> Listing:
        """Return the listing received last; an empty one when there is none."""
        rows = _known(self.tape.listings, self.t)
        return rows[-1] if rows else Listing(self.t)

    @cached_property
    def event(self) -> EventListing | None:
        """Return the event's listing received last."""
        rows = _known(self.tape.events, self.t)
        return rows[-1] if rows else None

    @property
    def best_bid(self) -> float:
        """Return the highest bid, or NaN."""
        return float(self.book.bid[0]) if self.book is not None and len(self.book.bid) else np.nan

    @property
    def best_ask(self) -> float:
        """Return the lowest ask, or NaN."""
        return float(self.book.ask[0]) if self.book is not None and len(self.book.ask) else np.nan

    @property
    def mid(self) -> float:
        """Return the middle of bid and ask; NaN when a side is empty."""
        return (self.best_bid + self.best_ask) / 2

    @property
    def touch(self) -> tuple[float, float]:
        """Return the sizes at best bid and ask; NaN for both when a side is empty."""
        book = self.book
        if book is None or not len(book.bid) or not len(book.ask):
            return np.nan, np.nan
        return float(book.bid_size[0]), float(book.ask_size[0])

    def flow_ok(self, span_ns: int) -> bool:
        """Return whether the stream was subscribed and healthy in the full window."""
        since = self.tape.subscribed_ns
        if since is None or since > self.t - span_ns:
            return False
        return self._complete(self.t - span_ns)

    def _complete(self, since: int) -> bool:
        """Return whether no gap of the stream touches (since, t]."""
        return bool(complete(np.array([since]), np.array([self.t]), self.tape.gaps)[0])

    def fills(self, span_ns: int) -> Fills | None:
        """Return trades of the window; None when the stream was not healthy in all of it."""
        return self.tape.fills.window(self.t, span_ns) if self.flow_ok(span_ns) else None

    def wallet_fills(self, span_ns: int) -> Fills | None:
        """Return trades of the window with wallets; None when the last fetch is too old or too short."""
        fetches = _known(self.tape.wallet_fetches, self.t)
        if not fetches or fetches[-1].since_ns > self.t - span_ns or fetches[-1].ts_recv < self.t - self.day_max_age:
            return None
        return self.tape.wallet_fills.window(self.t, span_ns)

    @cached_property
    def last_fill(self) -> Fills:
        """Return the last trade of the stream, one row; none when a gap came after it, which may hide a later one."""
        rows = self.tape.fills.latest(self.t, 1)
        return rows if len(rows) and self._complete(int(rows.ts_event[0])) else Fills.empty()

    @cached_property
    def last_trade(self) -> tuple[int, float] | None:
        """Return time and YES price of the last known trade, from the stream or from REST."""
        rows = self.last_fill
        known = [(int(rows.ts_event[0]), float(rows.price[0]))] if len(rows) else []
        if self.listing.last_trade is not None:
            known.append(self.listing.last_trade)
        return max(known, key=lambda trade: trade[0]) if known else None

    @property
    def last_price(self) -> float | None:
        """Return the YES price of the last known trade: by the stream or by REST, whichever was received later."""
        latest = self.last_fill
        if self.listing.last_price is not None and not (len(latest) and latest.ts_recv[0] > self.listing.ts_recv):
            return self.listing.last_price
        return self.last_trade[1] if self.last_trade else None

    def mids(self, span_ns: int, step_ns: int, max_age_ns: int = OLD_POINT) -> Floats:
        """Return mids at t - span, t - span + step, ..., t: the last one received by t and valid at that time."""
        at = self._instants(span_ns, step_ns)
        rows = self.tape.mids.window(self.t, span_ns + max_age_ns + 1)
        last = np.searchsorted(rows.ts_event, at, side="right") - 1
        times, mids = np.append(rows.ts_event, 0)[last], np.append(rows.mid, np.nan)[last]
        valid = (last >= 0) & (at - times <= max_age_ns) & complete(times, at, self.tape.book_gaps)
        return np.where(valid, mids, np.nan)

    def changes(self, mids: Floats, span_ns: int, step_ns: int) -> Floats:
        """Return the differences of neighbouring `mids`; null where a gap lies between the two."""
        return steps(mids, self._instants(span_ns, step_ns), self.tape.book_gaps)

    def _instants(self, span_ns: int, step_ns: int) -> Ints:
        return self.t + np.arange(-(span_ns // step_ns), 1, dtype=np.int64) * step_ns

    @property
    def day_max_age(self) -> int:
        """Return the maximum age of a point for features of a day."""
        rows = _known(self.tape.books, self.t)
        hourly = rows[-1].interval_ns >= HOUR if rows and rows[-1].interval_ns else self.tape.hourly
        return HOUR if hourly else OLD_POINT


MARKET_FEATURES: Registry[Snapshot, float | str] = Registry()
"""The 66 features of a market at a snapshot."""

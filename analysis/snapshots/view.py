"""What was known of a prediction market at a snapshot: its book, its listing, its event, its flow.

Outcome 0 is called YES. Every trade is turned to YES: one on the NO token at p counts at 1 - p and for the other side.
Cash is size x that price, in every feature, so that shares of it stay shares.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol, Self, TypeVar

import numpy as np

from analysis.arrays import HOUR, MINUTE, Bools, Floats, Gaps, Ints, Received, Signs
from analysis.features.moment import Arrivals
from analysis.features.registry import Registry

OLD_POINT = 10 * MINUTE
"""A mid stands for later minutes for so long; an hour for the day's features of markets polled once an hour."""


@dataclass(frozen=True, slots=True, eq=False)
class Fills(Received):
    """Trades of a market, turned to YES."""

    price: Floats  # probability
    size: Floats  # shares
    side: Signs  # 1 where the taker bought YES or sold NO, -1 the other way round
    transaction: Ints  # the same number for all fills of one transaction
    wallet: Ints  # of the taker, a number for each; -1 where it is not known

    @classmethod
    def none(cls) -> Self:
        """No trades."""
        ints = np.zeros(0, np.int64)
        return cls(ints, ints, np.zeros(0), np.zeros(0), np.zeros(0, np.int8), ints, ints)

    @property
    def cash(self) -> Floats:
        """(n,) USDC."""
        return self.size * self.price


def turned_to_yes(fills: Fills, on_no: Bools) -> Fills:
    """The same trades in terms of YES; `on_no` marks those on the NO token."""
    price = np.where(on_no, 1 - fills.price, fills.price)
    return replace(fills, price=price, side=np.where(on_no, -fills.side, fills.side).astype(np.int8))


@dataclass(frozen=True, slots=True, eq=False)
class Mids(Received):
    """Middle of the book at our own snapshots, or the venue's price history."""

    mid: Floats

    @classmethod
    def none(cls) -> Self:
        """No points."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, slots=True, eq=False)
class MarketBook:
    """Both sides of the YES token, best first."""

    ts_recv: int
    bid: Floats
    bid_size: Floats
    ask: Floats
    ask_size: Floats


@dataclass(frozen=True, slots=True)
class Listing:
    """The market as its venue described it; a field it did not give is None. Never holds what the end revealed."""

    ts_recv: int
    price: float | None = None  # outcomePrices[0]
    volume: float | None = None
    volume_24h: float | None = None
    volume_1w: float | None = None
    liquidity: float | None = None
    start_ns: int | None = None
    end_ns: int | None = None  # scheduled, as seen then: venues move it afterwards
    game_ns: int | None = None
    tick_size: float | None = None
    category: str | None = None
    neg_risk: bool = False
    last_trade: tuple[int, float] | None = None  # (time, price of YES) of the last trade, by REST


@dataclass(frozen=True, slots=True, eq=False)
class EventListing:
    """The event a market belongs to."""

    ts_recv: int
    volume: float | None
    open_interest: float | None
    mids: Floats  # of YES of its open markets, NaN where unknown
    own: int  # position of this market in `mids`


@dataclass(frozen=True, slots=True)
class WalletFetch:
    """An answer that named the wallets of all trades from an instant until it was received."""

    ts_recv: int
    since_ns: int


class _Timed(Protocol):
    @property
    def ts_recv(self) -> int: ...


T = TypeVar("T", bound=_Timed)


def _known(rows: Sequence[T], t: int) -> Sequence[T]:
    return rows[: bisect_right(rows, t, key=lambda row: row.ts_recv)]


def _received(rows: Sequence[T], t: int) -> Sequence[T]:
    """As `_known`, by a cut of its own: an audit must not share the mistakes of the features."""
    return [row for row in rows if row.ts_recv <= t]


@dataclass(eq=False)
class MarketTape:
    """All that is stored of a market, each list in order of receipt; a feature sees it only through a `Snapshot`."""

    books: Sequence[MarketBook] = ()
    listings: Sequence[Listing] = ()
    events: Sequence[EventListing] = ()
    fills: Arrivals[Fills] = field(default_factory=lambda: Arrivals(Fills.none()))
    book_changes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))  # receipt times of price_change entries
    mids: Arrivals[Mids] = field(default_factory=lambda: Arrivals(Mids.none()))
    gaps: Gaps = field(default_factory=Gaps.none)  # of the stream
    subscribed_ns: int | None = None  # since when the stream was ours; None while it is not
    wallet_fills: Arrivals[Fills] = field(default_factory=lambda: Arrivals(Fills.none()))  # by REST, with wallets
    wallet_fetches: Sequence[WalletFetch] = ()
    interval_ns: int = MINUTE  # of the market's tier
    hourly: bool = False  # polled once an hour (tier T0)

    def until(self, t: int) -> "MarketTape":
        """The tape as it was at t."""
        begun = self.gaps.take(self.gaps.start < t)
        return replace(
            self,
            books=_received(self.books, t),
            listings=_received(self.listings, t),
            events=_received(self.events, t),
            fills=Arrivals(self.fills.until(t)),
            book_changes=self.book_changes[self.book_changes <= t],
            mids=Arrivals(self.mids.until(t)),
            wallet_fills=Arrivals(self.wallet_fills.until(t)),
            wallet_fetches=_received(self.wallet_fetches, t),
            gaps=Gaps(begun.start, np.minimum(begun.end, t)),
        )


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A market as known at t; every window is (t - span, t]."""

    tape: MarketTape
    t: int

    @cached_property
    def book(self) -> MarketBook | None:
        """The book received last; None when there is none, or it is older than twice the tier's interval."""
        rows = _known(self.tape.books, self.t)
        return rows[-1] if rows and self.t - rows[-1].ts_recv <= 2 * self.tape.interval_ns else None

    @cached_property
    def listing(self) -> Listing:
        """The listing received last; an empty one when there is none."""
        rows = _known(self.tape.listings, self.t)
        return rows[-1] if rows else Listing(self.t)

    @cached_property
    def event(self) -> EventListing | None:
        """The event's listing received last."""
        rows = _known(self.tape.events, self.t)
        return rows[-1] if rows else None

    @property
    def best_bid(self) -> float:
        """Highest bid, or NaN."""
        return float(self.book.bid[0]) if self.book is not None and len(self.book.bid) else np.nan

    @property
    def best_ask(self) -> float:
        """Lowest ask, or NaN."""
        return float(self.book.ask[0]) if self.book is not None and len(self.book.ask) else np.nan

    @property
    def mid(self) -> float:
        """Middle of bid and ask; NaN when a side is empty."""
        return (self.best_bid + self.best_ask) / 2

    @property
    def touch(self) -> tuple[float, float]:
        """Sizes at best bid and ask; NaN for both when a side is empty."""
        book = self.book
        if book is None or not len(book.bid) or not len(book.ask):
            return np.nan, np.nan
        return float(book.bid_size[0]), float(book.ask_size[0])

    def flow_ok(self, span_ns: int) -> bool:
        """Whether the stream was ours and healthy for the whole window."""
        since = self.tape.subscribed_ns
        if since is None or since > self.t - span_ns:
            return False
        return int(self.tape.gaps.missing(np.array([self.t - span_ns]), np.array([self.t]))[0]) == 0

    def fills(self, span_ns: int) -> Fills | None:
        """Trades of the window; None when the stream was not healthy throughout."""
        return self.tape.fills.window(self.t, span_ns) if self.flow_ok(span_ns) else None

    def wallet_fills(self, span_ns: int) -> Fills | None:
        """Trades of the window with their wallets; None when the last fetch is old or does not reach back so far."""
        fetches = _known(self.tape.wallet_fetches, self.t)
        if not fetches or fetches[-1].since_ns > self.t - span_ns or fetches[-1].ts_recv < self.t - self.day_max_age:
            return None
        return self.tape.wallet_fills.window(self.t, span_ns)

    @cached_property
    def last_trade(self) -> tuple[int, float] | None:
        """Time and YES price of the last trade known, by the stream or by REST."""
        rows = self.tape.fills.latest(self.t, 1)
        known = [(int(rows.ts_event[0]), float(rows.price[0]))] if len(rows) else []
        if self.listing.last_trade is not None:
            known.append(self.listing.last_trade)
        return max(known, key=lambda trade: trade[0]) if known else None

    def mids(self, span_ns: int, step_ns: int, max_age_ns: int = OLD_POINT) -> Floats:
        """Mids at t - span, t - span + step, ..., t: the last received by t and not older than `max_age_ns` there."""
        at = self.t + np.arange(-(span_ns // step_ns), 1, dtype=np.int64) * step_ns
        rows = self.tape.mids.window(self.t, span_ns + max_age_ns + 1)
        last = np.searchsorted(rows.ts_event, at, side="right") - 1
        times, mids = np.append(rows.ts_event, 0), np.append(rows.mid, np.nan)
        return np.where((last >= 0) & (at - times[last] <= max_age_ns), mids[last], np.nan)

    @property
    def day_max_age(self) -> int:
        """How old a point of the day's features may be."""
        return HOUR if self.tape.hourly else OLD_POINT


SNAPSHOTS: Registry[Snapshot, float | str] = Registry()
"""The 66 features of a market at a snapshot."""

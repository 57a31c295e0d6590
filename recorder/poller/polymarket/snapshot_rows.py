"""Rows of market_snapshot, market_book and whale_event, in the order of their columns in POLLED."""

from typing import Literal

from recorder.identity import stable_hash64
from recorder.poller.polymarket.own_book.answer import Own
from recorder.poller.polymarket.tiers import Tier
from recorder.venues.polymarket.polls.books import Book, Side
from recorder.venues.polymarket.polls.figures import Figures
from recorder.venues.polymarket.polls.market import Market, Numbers
from recorder.venues.polymarket.polls.whales import Whale

VENUE = "polymarket"

Row = tuple[object, ...]
Source = Literal["rest", "stream"]

_NO_FIGURES: Row = (None,) * 26
_NO_DEPTH = (None, None, None, None)
_NO_LEVEL = (None, None)


def snapshot(
    market: Market, tier: Tier, book: Book, figures: Figures, received_ns: int, source: Source, own: Own | None
) -> Row:
    """Return the row of a book.

    Args:
        market: As it was known when the book was asked for.
        tier: Its tier then.
        book: Of outcome 0.
        figures: Of the book.
        received_ns: When the book was received; of our own book the instant at which it was looked at.
        source: Where the book comes from.
        own: How our own book compares with the venue's; None where it was not looked at.
    """
    f = figures
    return (
        *_head(market, received_ns, book.ts_event_ns, tier, source),
        f.bid, f.bid_size, f.ask, f.ask_size, f.spread, f.mid, f.microprice,
        *(f.bid_depth or _NO_DEPTH), *(f.ask_depth or _NO_DEPTH),
        f.bid_levels, f.ask_levels, f.bid_shares, f.ask_shares,
        *(f.largest_bid or _NO_LEVEL), *(f.largest_ask or _NO_LEVEL),
        f.imbalance_touch, f.imbalance_5c, f.cost_buy_500,
        book.last_trade_price,
        market.tick_size if book.tick_size is None else book.tick_size,
        market.min_size if book.min_size is None else book.min_size,
        book.hash,
        *_listing(market, received_ns), *_check(own),
    )  # fmt: skip


def without_book(market: Market, tier: Tier, received_ns: int, own: Own | None) -> Row:
    """Return the row of a market that was asked for and whose book the answer did not have."""
    return (
        *_head(market, received_ns, None, tier, "none"),
        *_NO_FIGURES, None, market.tick_size, market.min_size, None,
        *_listing(market, received_ns), *_check(own),
    )  # fmt: skip


def book(market_id: int, book: Book, received_ns: int) -> Row:
    """Return the row of a complete book."""
    return market_id, received_ns, book.ts_event_ns, book.hash, _pairs(book.bids), _pairs(book.asks)


def whale(whale: Whale, received_ns: int) -> Row:
    """Return the row of a large trade."""
    return (
        whale.transaction, whale.wallet, whale.ts_event_ns, received_ns, instrument_id(whale.token),
        whale.condition_id, whale.outcome, whale.outcome_index, whale.side, whale.shares, whale.cash, whale.tokens,
        whale.fills,
    )  # fmt: skip


def instrument_id(token: str) -> int:
    """Return the id of a token. It is not kept in memory: thousands of tokens are new every day."""
    return stable_hash64(f"{VENUE}:{token}")


def _head(market: Market, received_ns: int, event_ns: int | None, tier: Tier, source: str) -> Row:
    return market.market_id, received_ns, event_ns, instrument_id(market.token), market.event_id, tier, source


def _listing(market: Market, received_ns: int) -> Row:
    """Return what the venue's listing said, as far as it was known at a time."""
    n: Numbers = market.numbers
    if n.received_ns > received_ns:
        return (None,) * 12
    return (
        market.end_ns, market.game_start_ns, n.received_ns, n.updated_ns, n.price, n.volume, n.volume_24h, n.volume_1w,
        n.volume_1mo, n.liquidity, n.event_volume, n.event_open_interest,
    )  # fmt: skip


def _check(own: Own | None) -> Row:
    return (None, None) if own is None else (own.check, own.reason or None)


def _pairs(side: Side) -> list[list[float]]:
    return [[price, size] for price, size in side]

"""A market as the poller knows it: an immutable value, small enough to keep ten thousand of them in memory."""

from typing import Literal, final

import msgspec

from recorder.venues.polymarket.ids import Version
from recorder.venues.polymarket.polls.category import Category

Phase = Literal["open", "proposed", "resolved", "closed", "vanished"]
"""open: it trades. proposed: an outcome is proposed or disputed, and there is no book. resolved: the venue says that
the outcome is final. closed: it is closed, and its outcome is not known yet. vanished: Gamma no longer has it."""


@final
class Numbers(msgspec.Struct, frozen=True, gc=False):
    """The slow numbers of Gamma, with the time of their own receipt. They are up to 5 minutes old when they arrive.

    Prices are probabilities of outcome 0 in [0, 1]. Volumes and liquidity are USDC. A number that the answer did not
    have is None, never 0.
    """

    received_ns: int  # receipt time of the answer
    updated_ns: int | None = None  # the venue's updatedAt
    price: float | None = None  # outcomePrices[0]: mid, or last trade where the spread is above 0.10
    best_bid: float | None = None  # do not use as a price: wrong in 15 % of busy books
    best_ask: float | None = None
    last_trade_price: float | None = None
    spread: float | None = None
    volume: float | None = None  # of its life
    volume_24h: float | None = None
    volume_1w: float | None = None
    volume_1mo: float | None = None
    volume_1y: float | None = None
    liquidity: float | None = None
    competitive: float | None = None
    change_1h: float | None = None  # absolute change of the price
    change_1d: float | None = None
    change_1w: float | None = None
    change_1mo: float | None = None
    event_volume: float | None = None
    event_liquidity: float | None = None
    event_open_interest: float | None = None


@final
class Market(msgspec.Struct, frozen=True, gc=False):
    """One market of either version, with the ids under which it trades. Times are nanoseconds since 1970, UTC."""

    market_id: int  # Gamma's decimal id
    condition_id: str  # 0x and 64 hex digits, lower case; an id of 62 digits is padded
    version: Version | None  # None: it has no ids yet, and its row does not say
    tokens: tuple[str, ...]  # ids for CLOB and stream, by outcome; empty before they are assigned
    outcomes: tuple[str, ...]  # labels; outcome 0 is "Yes" only where its label says so
    slug: str
    question: str
    event_id: int | None  # the group whose markets belong together
    category: Category
    tags: tuple[str, ...]  # slugs
    phase: Phase
    accepting_orders: bool | None
    enable_order_book: bool | None
    neg_risk: bool  # its event's markets exclude each other
    neg_risk_other: bool  # "Other" of an augmented event, whose meaning changes
    active: bool  # False: a placeholder
    start_ns: int | None
    end_ns: int | None  # endDate: a schedule, neither a trading stop nor the true end
    game_start_ns: int | None  # gameStartTime, else eventStartTime
    game: str | None  # sportsMarketType or gameId of a game; None where it is none
    tick_size: float | None  # probability
    min_size: float | None  # shares
    fee_rate: float | None  # taker fee = shares * rate * (p * (1 - p)) ** exponent; None: free
    fee_exponent: float | None
    fee_taker_only: bool | None
    fee_rebate_rate: float | None
    rewards_min_size: float | None  # shares
    rewards_max_spread: float | None  # cents
    rewards_daily_rate: float | None  # USDC a day, of all programs together
    uma_status: str | None  # umaResolutionStatus of v1, in the venue's word
    resolution_status: str | None  # resolutionStatus of v2, in the venue's word
    closed_ns: int | None  # closedTime; never part of a feature or a tier
    neg_risk_market_id: str | None
    question_id: str | None
    resolution_source: str | None
    group_item: str | None  # groupItemTitle: what distinguishes it in its event
    line: float | None  # of spreads and totals
    rules_hash: int  # of the text by which it resolves, which is in table market_rules
    numbers: Numbers

    @property
    def token(self) -> str:
        """Return the token of outcome 0, whose book is the mirror of the other."""
        return self.tokens[0]


@final
class MarketEvent(msgspec.Struct, frozen=True, gc=False):
    """A group of markets, for example the candidates of one election. Times are nanoseconds since 1970, UTC."""

    event_id: int
    slug: str | None
    title: str | None
    series_slug: str | None  # of the recurring events it belongs to
    tags: tuple[str, ...]  # slugs
    old_category: str | None  # a label of rows that are older than the tags
    neg_risk: bool  # its markets exclude each other
    neg_risk_augmented: bool  # it holds placeholders, and an "Other"
    neg_risk_market_id: str | None
    closed: bool | None
    start_ns: int | None
    end_ns: int | None
    updated_ns: int | None  # the venue's updatedAt
    volume: float | None  # USDC
    liquidity: float | None  # USDC
    open_interest: float | None  # USDC

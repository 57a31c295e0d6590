"""Messages of the Polymarket market channel."""

from typing import Annotated, Literal, get_args

import msgspec

from recorder.venues.wire import Amount, Int64

BuyOrSell = Literal["BUY", "SELL"]
TokenId = Annotated[str, msgspec.Meta(min_length=1)]


class Message(msgspec.Struct, tag_field="event_type", gc=False):
    """Any message; its event_type tells its kind."""


class Level(msgspec.Struct, gc=False):
    """One price level of a book."""

    price: Amount
    size: Amount


class BookMessage(Message, tag="book", gc=False):
    """The complete book of a token, worst price first."""

    asset_id: str
    timestamp: Int64
    bids: list[Level] | None = None
    asks: list[Level] | None = None

    def __post_init__(self) -> None:
        if self.bids is None and self.asks is None:
            raise ValueError("a book without bids and asks")


class Change(msgspec.Struct, gc=False):
    """The new total size at one price."""

    price: Amount
    size: Amount  # 0 removes the level
    side: BuyOrSell
    asset_id: TokenId
    best_bid: Amount | None = None
    best_ask: Amount | None = None


class PriceChange(Message, tag="price_change", gc=False):
    """Changes of one or several tokens."""

    timestamp: Int64
    price_changes: list[Change]


class LastTrade(Message, tag="last_trade_price", gc=False):
    """One print."""

    asset_id: str
    price: Amount
    size: Amount
    side: BuyOrSell
    timestamp: Int64
    transaction_hash: str | None = None


class BestBidAsk(Message, tag="best_bid_ask", gc=False):
    """The best prices of a token."""

    asset_id: str
    timestamp: Int64
    best_bid: Amount | None = None
    best_ask: Amount | None = None


class TickSizeChange(Message, tag="tick_size_change", gc=False):
    """A new tick size."""


class NewMarket(Message, tag="new_market", gc=False):
    """A market that opened, anywhere on the site."""


class MarketResolved(Message, tag="market_resolved", gc=False):
    """A market whose outcome is known."""


class AnyMessage(msgspec.Struct, gc=False):
    """What every message has."""

    event_type: str


Known = BookMessage | PriceChange | LastTrade | BestBidAsk | TickSizeChange | NewMarket | MarketResolved
decode_one = msgspec.json.Decoder(Known, strict=False).decode  # lenient: all numbers are strings
decode_type = msgspec.json.Decoder(AnyMessage).decode
decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
KNOWN_TYPES = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Known))
decode_many = msgspec.json.Decoder(list[Known], strict=False).decode

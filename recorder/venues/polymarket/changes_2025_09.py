"""Polymarket messages before 2025-09-15, when each change began to name its token.

Three older shapes occur in recordings: a `price_change` with one token at the top and its `changes` below, a
`price_change` that is itself the only change, and books that name their sides `buys` and `sells`.
"""

from collections.abc import Sequence

import msgspec

from recorder.venues.polymarket.messages import (
    BestBidAsk,
    BookMessage,
    BuyOrSell,
    Change,
    LastTrade,
    Level,
    MarketResolved,
    Message,
    NewMarket,
    PriceChange,
    TickSizeChange,
    TokenId,
)
from recorder.venues.polymarket.stream import PolymarketDecoder
from recorder.venues.wire import Amount, Int64


class _Book(Message, tag="book", gc=False):
    asset_id: str
    timestamp: Int64
    bids: list[Level] | None = None
    asks: list[Level] | None = None
    buys: list[Level] | None = None
    sells: list[Level] | None = None

    def today(self) -> BookMessage:
        """Return the same message in its shape of today."""
        return BookMessage(self.asset_id, self.timestamp, self.bids or self.buys or [], self.asks or self.sells or [])


class _Change(msgspec.Struct, gc=False):
    price: Amount
    size: Amount
    side: BuyOrSell
    asset_id: TokenId | None = None
    best_bid: Amount | None = None
    best_ask: Amount | None = None


class _PriceChange(Message, tag="price_change", gc=False):
    timestamp: Int64
    price_changes: list[_Change] | None = None
    changes: list[_Change] | None = None
    asset_id: TokenId | None = None
    price: Amount | None = None
    size: Amount | None = None
    side: BuyOrSell | None = None

    def today(self) -> PriceChange:
        """Return the same message in its shape of today.

        Raises:
            ValueError: A change has no token, price, size or side.
        """
        changes = self.price_changes if self.price_changes is not None else self.changes
        if changes is None:
            if self.price is None or self.size is None or self.side is None:
                raise ValueError("a price_change without changes")
            changes = [_Change(self.price, self.size, self.side)]
        return PriceChange(self.timestamp, [self._of_token(change) for change in changes])

    def _of_token(self, change: _Change) -> Change:
        token = change.asset_id or self.asset_id
        if token is None:
            raise ValueError("a change without a token")
        return Change(change.price, change.size, change.side, token, change.best_bid, change.best_ask)


_Known = _Book | _PriceChange | LastTrade | BestBidAsk | TickSizeChange | NewMarket | MarketResolved
_decode_one = msgspec.json.Decoder(_Known, strict=False).decode  # lenient: all numbers are strings
_decode_many = msgspec.json.Decoder(list[_Known], strict=False).decode


class PolymarketUntil202509Decoder(PolymarketDecoder):
    """Decoder of one connection whose messages may have the older shapes too."""

    def _messages(self, frame: bytes) -> Sequence[Message]:
        messages = (_decode_one(frame),) if frame[:1] != b"[" else _decode_many(frame)
        return [m.today() if isinstance(m, _Book | _PriceChange) else m for m in messages]

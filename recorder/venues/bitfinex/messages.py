"""Messages of the Bitfinex websocket, version 2."""

import re
from typing import Annotated

import msgspec

from recorder.events import Channel, Levels, Stream
from recorder.venues.wire import Amount, Int64, json_number

WIRE_CHANNEL: dict[Channel, str] = {"trade": "trades", "quote": "ticker", "book": "book"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
HEARTBEAT = b'"hb"'

_WHOLE = rb"(0|[1-9]\d{0,17})"
_NUMBER = rb"(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)"
UPDATE = re.compile(rb"\[%b,\[%b,%b,%b\](?:,%b)?\]" % (_WHOLE, _NUMBER, _WHOLE, _NUMBER, _WHOLE))
"""One level of a book, with or without its sequence: 19 frames of 20."""

Signed = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
Digits = list[tuple[float, bytes]]
"""Levels as a RankedSide takes them: `price:amount` as spelled, because the checksum covers it; b"" removes."""


class Event(msgspec.Struct, gc=False):
    """Every object on the wire."""

    event: str = ""
    channel: str | None = None
    symbol: str | None = None
    chan_id: Int64 | None = msgspec.field(default=None, name="chanId")
    prec: str | None = None
    flags: int | None = None
    status: object = None
    code: int | None = None
    msg: str | None = None

    @property
    def stream(self) -> Stream | None:
        """The stream that it names; None where that is not recorded as rows (candles, raw books, funding)."""
        channel = CHANNEL_OF_WIRE.get(self.channel or "")
        if channel is None or not self.symbol or (channel == "book" and self.prec not in (None, "P0")):
            return None
        return Stream(channel, self.symbol)


class TradeRow(msgspec.Struct, array_like=True, gc=False):
    """One trade."""

    id: Int64
    ms: Int64
    amount: Signed  # its sign is the taker's side
    price: Amount


class TickerRow(msgspec.Struct, array_like=True, gc=False):
    """The best prices."""

    bid: Amount | None
    bid_size: object  # summed over 25 levels, so it is not the size at the best price
    ask: Amount | None


class _Level(msgspec.Struct, array_like=True, gc=False):
    price: msgspec.Raw  # the checksum covers the text
    count: int
    amount: msgspec.Raw


class BookRows(msgspec.Struct, gc=False):
    """The levels of a book message, by side, as numbers and as digits."""

    __match_args__ = ("snapshot", "bids", "asks", "bid_digits", "ask_digits")

    snapshot: bool
    bids: Levels
    asks: Levels
    bid_digits: Digits
    ask_digits: Digits


Content = BookRows | list[TradeRow] | TickerRow | int | None
"""What a data frame holds; a number is a checksum, None a heartbeat."""

decode_event = msgspec.json.Decoder(Event).decode
decode_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
decode_int = msgspec.json.Decoder(Int64).decode
_decode_trade = msgspec.json.Decoder(TradeRow).decode
_decode_trades = msgspec.json.Decoder(list[TradeRow]).decode
_decode_ticker = msgspec.json.Decoder(TickerRow).decode
_decode_level = msgspec.json.Decoder(_Level).decode
_decode_levels = msgspec.json.Decoder(list[_Level]).decode


def read(channel: Channel, parts: list[msgspec.Raw]) -> Content:
    """Return the content of a data frame of a channel.

    Raises:
        ValueError, IndexError: It does not have the documented shape.
    """
    what = bytes(parts[1])
    if what == HEARTBEAT:
        return None
    if what[:1] == b"[":
        several = what[:2] in (b"[[", b"[]")
        if channel == "book":
            return _book_rows(_decode_levels(what) if several else [_decode_level(what)], snapshot=several)
        if channel == "trade":
            return _with_side(_decode_trades(what))
        return _decode_ticker(what)
    if channel == "trade" and what in (b'"te"', b'"tu"'):
        return _with_side([_decode_trade(parts[2])])
    if channel == "book" and what == b'"cs"':
        return decode_int(parts[2])
    raise ValueError(f"unknown message {what[:40]!r} of channel {channel}")


def _with_side(rows: list[TradeRow]) -> list[TradeRow]:
    if any(not row.amount for row in rows):
        raise ValueError("a trade of amount 0 has no side")
    return rows


def _book_rows(levels: list[_Level], *, snapshot: bool) -> BookRows:
    rows = BookRows(snapshot, [], [], [], [])
    for level in levels:
        price_text, amount_text = bytes(level.price), bytes(level.amount)
        price, amount = json_number(level.price), json_number(level.amount)
        if not (0.0 <= price <= 1e300 and 0.0 < abs(amount) <= 1e300 and level.count >= 0):
            raise ValueError(f"level out of range: {price_text!r} {level.count} {amount_text!r}")
        text = b"%b:%b" % (price_text, amount_text) if level.count else b""
        size = abs(amount) if level.count else 0.0
        if amount > 0:
            rows.bids.append((price, size))
            rows.bid_digits.append((-price, text))
        else:
            rows.asks.append((price, size))
            rows.ask_digits.append((price, text))
    return rows

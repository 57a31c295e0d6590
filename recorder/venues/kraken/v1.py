"""Kraken websocket version 1, for captures of it. The venue still serves it, but nothing here subscribes to it.

The last section of kraken.md beside this file describes the protocol.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from recorder.errors import DecodeError
from recorder.events import Accepted, Alive, Book, Channel, Levels, Output, Quote, Refused, Stream, Trade
from recorder.identity import stable_hash64
from recorder.venues.book_sync import BookSync
from recorder.venues.kraken.book import Digits, KrakenBook
from recorder.venues.wire import MALFORMED, Amount, event_time

CHANNEL_OF_WIRE: dict[str, Channel] = {"trade": "trade", "ticker": "quote", "spread": "quote", "book": "book"}
AGGRESSOR: dict[str, Literal["b", "s"]] = {"b": "b", "s": "s"}  # the taker's
PRINTS_REMEMBERED = 8192

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class _Level(msgspec.Struct, array_like=True, gc=False):
    price: _Text  # the checksum covers the text, trailing zeros included
    size: _Text
    time: _Text
    kind: str = ""  # "r": a repeat of an unchanged level


class _Sides(msgspec.Struct, rename={"bids": "bs", "asks": "as", "bid_changes": "b", "ask_changes": "a"}, gc=False):
    """The sides of a book message; an update of both sides carries two of these."""

    bids: list[_Level] | None = None
    asks: list[_Level] | None = None
    bid_changes: list[_Level] | None = None
    ask_changes: list[_Level] | None = None
    c: str | None = None


class _Trade(msgspec.Struct, array_like=True, gc=False):
    price: Amount
    size: Amount
    time: _Text
    side: Literal["b", "s"]


class _Best(msgspec.Struct, array_like=True, gc=False):
    price: Amount
    lots: object  # the size in complete lots
    size: Amount


class _Ticker(msgspec.Struct, gc=False):
    a: _Best
    b: _Best


class _Spread(msgspec.Struct, array_like=True, gc=False):
    bid: Amount
    ask: Amount
    time: _Text
    bid_size: Amount
    ask_size: Amount


class _Subscription(msgspec.Struct, frozen=True, gc=False):
    name: str = ""


class _Event(msgspec.Struct, gc=False):
    event: str
    status: str = ""
    pair: str | None = None
    subscription: _Subscription = _Subscription()
    error: str = msgspec.field(default="refused without a reason", name="errorMessage")


_decode_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_sides = msgspec.json.Decoder(_Sides).decode
_decode_trades = msgspec.json.Decoder(list[_Trade], strict=False).decode  # lenient: numbers arrive as strings
_decode_ticker = msgspec.json.Decoder(_Ticker, strict=False).decode
_decode_spread = msgspec.json.Decoder(_Spread, strict=False).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class KrakenV1Decoder:
    """Decoder of one connection."""

    def __init__(self) -> None:
        self._sync = BookSync[KrakenBook]()
        self.audits = self._sync.audits
        self._prints: dict[str, int] = {}  # how often each print was seen; equal prints are separate trades

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        try:
            if frame[:1] == b"{":
                return _answer(_decode_event(frame), frame)
            _, *payloads, wire_text, symbol_text = _decode_parts(frame)
            wire, symbol = _decode_text(wire_text), _decode_text(symbol_text)
            name, _, depth = wire.partition("-")
            if name == "book" and 1 <= len(payloads) <= 2:
                return self._book(symbol, int(depth), [_decode_sides(payload) for payload in payloads], ts_recv_ns)
            (payload,) = payloads
            match name:
                case "trade":
                    return self._trades(symbol, _decode_trades(payload), ts_recv_ns)
                case "ticker":
                    best = _decode_ticker(payload)
                    bid, ask = best.b, best.a
                    return (Quote(symbol, None, ts_recv_ns, None, bid.price, bid.size, ask.price, ask.size),)
                case "spread":
                    row = _decode_spread(payload)
                    time_ns = event_time(_ns(row.time), ts_recv_ns)
                    return (Quote(symbol, time_ns, ts_recv_ns, None, row.bid, row.bid_size, row.ask, row.ask_size),)
                case "ohlc":
                    return ()  # known, but not recorded as rows
        except MALFORMED as error:
            raise DecodeError(str(error)) from error
        raise DecodeError(f"unknown channel {wire[:40]!r}")

    def _trades(self, symbol: str, rows: list[_Trade], ts_recv_ns: int) -> Sequence[Output]:
        times = [_ns(row.time) for row in rows]
        trades = []
        for row, time_ns in zip(rows, times, strict=True):
            # There is no trade id. Equal prints are distinguished by their order.
            print_key = f"{symbol} {row.time} {row.price!r} {row.size!r} {row.side}"
            count = self._prints.pop(print_key, 0) + 1
            self._prints[print_key] = count
            if len(self._prints) > PRINTS_REMEMBERED:
                del self._prints[next(iter(self._prints))]
            trade_id = stable_hash64(f"{print_key} {count}")
            trades.append(Trade(symbol, trade_id, time_ns, ts_recv_ns, row.price, row.size, AGGRESSOR[row.side]))
        return trades

    def _book(self, symbol: str, depth: int, parts: list[_Sides], ts_recv_ns: int) -> Sequence[Output]:
        snapshot = parts[0].bids is not None or parts[0].asks is not None
        bid_rows = [row for part in parts for row in (part.bids if snapshot else part.bid_changes) or ()]
        ask_rows = [row for part in parts for row in (part.asks if snapshot else part.ask_changes) or ()]
        text = parts[-1].c
        expected = None if text is None else int(text)  # a snapshot has no checksum
        (bids, bid_digits), (asks, ask_digits) = _levels(bid_rows, -1.0), _levels(ask_rows, 1.0)
        times = [_ns(row.time) for row in (*bid_rows, *ask_rows)]
        time_ns = event_time(max(times), ts_recv_ns) if times else None
        row = Book(symbol, time_ns, ts_recv_ns, snapshot, None, bids, asks)
        if snapshot:
            self._sync.start(symbol, KrakenBook(depth, bid_digits, ask_digits))
            return (row,)
        book = self._sync.books.get(symbol)
        if book is None:
            return self._sync.without_snapshot(row)
        book.apply(bid_digits, ask_digits)
        if expected is None:
            return (row,)
        checksum = book.checksum()
        if checksum != expected:
            return self._sync.checksum_failed(row, checksum, expected)
        self._sync.audit(symbol).checksums_passed += 1
        return (row,)


def _answer(m: _Event, frame: bytes) -> Sequence[Output]:
    match m:
        case _Event(event="heartbeat" | "systemStatus" | "pong"):
            return (Alive(),)
        case _Event(event="subscriptionStatus", status="subscribed", pair=str(symbol)):
            channel = CHANNEL_OF_WIRE.get(m.subscription.name)
            return () if channel is None else (Accepted(Stream(channel, symbol)),)
        case _Event(event="subscriptionStatus", status="unsubscribed"):
            return ()
        case _Event(event="subscriptionStatus", status="error"):
            channel = CHANNEL_OF_WIRE.get(m.subscription.name)
            stream = None if channel is None or m.pair is None else Stream(channel, m.pair)
            return (Refused(stream, m.error),)
        case _Event(event="error"):
            return (Refused(None, m.error),)
    raise DecodeError(f"unknown message {frame[:200]!r}")


def _levels(rows: list[_Level], sign: float) -> tuple[Levels, Digits]:
    levels: Levels = []
    digits: Digits = []
    for row in rows:
        price_text, size_text = row.price.encode(), row.size.encode()
        price, size = float(price_text), float(size_text)
        if not (0.0 <= size <= 1e300 and 0.0 <= price <= 1e300):
            raise ValueError(f"level out of range: {price_text!r} {size_text!r}")
        levels.append((price, size))
        text = (price_text.lstrip(b"0.") + size_text.lstrip(b"0.")).replace(b".", b"") if size else b""
        digits.append((price * sign, text))
    return levels, digits


def _ns(text: str) -> int:
    """Return the nanoseconds of unix seconds with decimals."""
    seconds, _, fraction = text.partition(".")
    if not ((seconds + fraction).isascii() and seconds.isdecimal() and len(seconds) <= 10 and len(fraction) <= 9):
        raise ValueError(f"not a time in seconds: {text!r}")
    return int(seconds) * 10**9 + (int(fraction.ljust(9, "0")) if fraction else 0)

"""Kraken's first websocket dialect, for captures of it: it still answers, and nothing of ours asks for it.

The protocol is in the last section of kraken.md beside this file.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from recorder.errors import DecodeError
from recorder.events import Accepted, Alive, Book, Channel, Levels, Output, Quote, Refused, Resync, Stream, Trade
from recorder.instruments import stable_hash64
from recorder.timestamps import plausible
from recorder.venues.base import MALFORMED, Amount, Audit
from recorder.venues.kraken import Digits, KrakenBook, checksum_digits

CHANNEL_OF_WIRE: dict[str, Channel] = {"trade": "trade", "ticker": "quote", "spread": "quote", "book": "book"}
AGGRESSOR: dict[str, Literal["b", "s"]] = {"b": "b", "s": "s"}  # the taker's
PRINTS_REMEMBERED = 8192

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class _Level(msgspec.Struct, array_like=True, gc=False):
    price: _Text  # the checksum is over the text, trailing zeros included
    size: _Text
    time: _Text
    kind: str = ""  # "r": said again, with no change since


class _Sides(msgspec.Struct, rename={"bids": "bs", "asks": "as", "bid_changes": "b", "ask_changes": "a"}, gc=False):
    """Of a book message; an update of both sides comes in two of them."""

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
    whole: object  # the size cut to whole lots
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
_decode_trades = msgspec.json.Decoder(list[_Trade], strict=False).decode  # lax: numbers arrive as strings
_decode_ticker = msgspec.json.Decoder(_Ticker, strict=False).decode
_decode_spread = msgspec.json.Decoder(_Spread, strict=False).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class KrakenV1Session:
    """Decoder of one connection."""

    def __init__(self) -> None:
        self.audits: dict[str, Audit] = {}
        self._books: dict[str, KrakenBook] = {}
        self._asked: set[str] = set()  # symbols whose snapshot is on its way: ask once
        self._prints: dict[str, int] = {}  # how often each print was seen: equal ones are real

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
                    time_ns = _clock(row.time, ts_recv_ns)
                    return (Quote(symbol, time_ns, ts_recv_ns, None, row.bid, row.bid_size, row.ask, row.ask_size),)
                case "ohlc":
                    return ()  # known, not recorded as rows
        except MALFORMED as error:
            raise DecodeError(str(error)) from error
        raise DecodeError(f"unknown channel {wire[:40]!r}")

    def _trades(self, symbol: str, rows: list[_Trade], ts_recv_ns: int) -> Sequence[Output]:
        times = [_ns(row.time) for row in rows]
        trades = []
        for row, time_ns in zip(rows, times, strict=True):
            # There is no id. Prints that are equal in all they say are told apart by their order.
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
        checksum = parts[-1].c
        expected = None if checksum is None else int(checksum)  # a snapshot has none
        (bids, bid_digits), (asks, ask_digits) = _levels(bid_rows, -1.0), _levels(ask_rows, 1.0)
        times = [_ns(row.time) for row in (*bid_rows, *ask_rows)]
        time_ns = max(times) if times else None
        if time_ns is not None and not plausible(time_ns, ts_recv_ns):
            time_ns = None
        row = Book(symbol, time_ns, ts_recv_ns, snapshot, None, bids, asks)
        if snapshot:
            self._asked.discard(symbol)
            self._books[symbol] = KrakenBook(depth, bid_digits, ask_digits)
            return (row,)
        book = self._books.get(symbol)
        if book is None:
            if symbol in self._asked:
                return (row,)
            self._asked.add(symbol)
            return Resync(symbol, "no_snapshot", "delta before a snapshot"), row
        book.apply(bid_digits, ask_digits)
        if expected is None:
            return (row,)
        audit = self.audits.setdefault(symbol, Audit())
        ours = book.checksum()
        if ours == expected:
            audit.checksums_passed += 1
            return (row,)
        audit.checksums_failed += 1
        del self._books[symbol]
        self._asked.add(symbol)
        return Resync(symbol, "checksum", f"ours {ours}, the venue's {expected}"), row


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
        digits.append((price * sign, checksum_digits(price_text, size_text) if size else b""))
    return levels, digits


def _ns(text: str) -> int:
    """Nanoseconds of unix seconds with decimals."""
    whole, _, fraction = text.partition(".")
    if not ((whole + fraction).isascii() and whole.isdecimal() and len(whole) <= 10 and len(fraction) <= 9):
        raise ValueError(f"no time in seconds: {text!r}")
    return int(whole) * 10**9 + (int(fraction.ljust(9, "0")) if fraction else 0)


def _clock(text: str, ts_recv_ns: int) -> int | None:
    time_ns = _ns(text)
    return time_ns if plausible(time_ns, ts_recv_ns) else None

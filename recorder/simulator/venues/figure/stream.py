"""The simulated Figure Markets: `ORDER_BOOK`, `TRADES`, `MARKET` and the public REST.

The messages are as captured (tests/captures/figure). Nothing is acknowledged, data carries only the id that the client
chose, every book frame is a full book, and an unchanged book is repeated every few seconds.
"""

import random
import re
from collections.abc import Sequence
from typing import ClassVar, Literal

import msgspec

from recorder.identity import stable_hash64
from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.faults import Rule
from recorder.simulator.market import Market, Spec, Step, SymbolMarket, Trade, text
from recorder.simulator.venue import FakeVenue, Framed, Topic
from recorder.simulator.venues.figure.rest import answer, stamp, stamp_ns, text_id
from recorder.simulator.wire import Request, Response
from recorder.truth import BookItem, Pairs, QuoteItem, TradeItem, TruthLog

TICK_S = 0.34  # one clock publishes all books
SUBSCRIPTIONS = 50
_LEVELS = 20  # of a side; the venue's books are thin
_CHANNELS = {"TRADES": "trade", "MARKET": "quote", "ORDER_BOOK": "book"}
_PRIVATE = {"ADDRESS_ORDERS", "ADDRESS_TRADES", "ADDRESS_BALANCES"}
_OTHERS = {"FIGR_HELOC-USD": "CONNECT", "DEMO.FUND-USD": "FUND"}  # listed, but their books are not streamed
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INVALID, _DUPLICATE, _NO_SYMBOL, _NOT_SUBSCRIBED, _TOO_MANY, _NO_KEY = (1, 2, 3, 5, 6, 7)
_WORDS = {
    _INVALID: "Invalid request",
    _DUPLICATE: "Duplicate channel UUID",
    _NO_SYMBOL: "Invalid symbol",
    _NOT_SUBSCRIBED: "Not subscribed to any channel with given ID",
    _TOO_MANY: "Maximum number of channel subscriptions reached",  # documented without its words, never seen
    _NO_KEY: "Connection is not authorized",
}

Empty = Literal["", "bids", "asks", "both"]


class Figure(FakeVenue):
    """The public websocket of market data."""

    name: ClassVar[str] = "figure"
    ids_are_numbers: ClassVar[bool] = False
    specs: ClassVar[tuple[Spec, ...]] = (
        Spec("HASH", "USD", 0.0312, 5, 3, 90_000.0, weight=3),
        Spec("BTC", "USD", 87202.9, 1, 5, 0.75, weight=3),
        Spec("ETH", "USD", 2771.35, 2, 4, 4.0, weight=2),
        Spec("SOL", "USD", 119.69, 2, 4, 9.5, weight=2),
        Spec("HASH", "USDC", 0.0311, 5, 3, 40_000.0),
        Spec("USDC", "USD", 0.9998, 5, 2, 25_000.0),
    )

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        super().__init__(market, truth, rate=rate, now_ns=now_ns)
        self.book_repeat_s = 5.0
        self.ping_s = 30.0
        self.session_s = 1800.0
        self._rng = random.Random(market.seed)
        self._peers: dict[int, _Peer] = {}
        self._shown: dict[str, _Shown] = {}
        self._changed_books: set[str] = set()  # symbols whose book changed since it was rendered
        self._market_changed: set[str] = set()
        self._empty: dict[str, tuple[Empty, int]] = {}  # the empty side, and for how many more ticks
        self._tick_s = 0.0
        self._messages = 0

    def format_symbol(self, spec: Spec) -> str:
        """Return a name like HASH-USD; BTC-USD-2S is the market that is displayed as BTC-USD."""
        return f"{spec.base}-{spec.quote}{'-2S' if spec.base == 'BTC' else ''}"

    def trade_item(self, symbol: str, trade: Trade, again: bool = False, held: str | None = None) -> TradeItem:
        """Return a print in the form of the truth log: its key is the hash of its text, and it has no side."""
        item = super().trade_item(symbol, trade, again, held)
        item.id, item.ts, item.side = stable_hash64(text_id(symbol, trade.id)), stamp_ns(trade.ts_ns), None
        item.number = trade.id
        return item

    def restart_ids(self, symbol: str, first: int, now_ns: int) -> None:
        """Do nothing: ids are texts without an order."""

    # ---- requests

    def on_open(self, connection: Connection, now_ns: int) -> None:
        """Send nothing."""
        self._peers[connection.number] = _Peer(connection)

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """Remove a client and the ids that it chose."""
        super().closed(connection, why, now_ns)
        self._peers.pop(connection.number, None)

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Handle `SUBSCRIBE`, `UNSUBSCRIBE` and `LIST_SUBSCRIPTIONS`; errors carry only a code and its words."""
        peer = self._peers[connection.number]
        try:
            command = msgspec.json.decode(payload, type=_Command)
        except msgspec.DecodeError:
            self._error(peer, _INVALID)
            return
        match command.action:
            case "LIST_SUBSCRIPTIONS":
                connection.text(msgspec.json.encode([self._listed(one) for one in peer.subscriptions.items()]))
            case "SUBSCRIBE":
                self._subscribe(peer, command, now_ns)
            case "UNSUBSCRIBE" if _UUID.fullmatch(command.channelUuid):
                self._unsubscribe(peer, command.channelUuid, now_ns)
            case _:
                self._error(peer, _INVALID)

    def _subscribe(self, peer: "_Peer", command: "_Command", now_ns: int) -> None:
        channel, symbol = _CHANNELS.get(command.channel, ""), command.symbol
        rule = self.faults.use("refuse", channel, symbol)
        code = None
        if command.channel in _PRIVATE:
            code = _NO_KEY
        elif not channel or not symbol or not _UUID.fullmatch(command.channelUuid):
            code = _INVALID
        elif command.channelUuid in peer.subscriptions:
            code = _DUPLICATE
        elif rule is not None or (symbol not in self.symbols and symbol not in _OTHERS):
            code = _NO_SYMBOL
        elif command.tickSize is not None and command.tickSize != self._tick_size(symbol):
            code = _INVALID  # books are not grouped here
        elif len(peer.subscriptions) >= SUBSCRIPTIONS:
            code = _TOO_MANY
        if code is not None:
            words = rule.text if rule is not None and rule.text else _WORDS[code]
            if code != _DUPLICATE:
                self.refuse(peer.connection, channel or command.channel, symbol, words, now_ns)
            self._error(peer, code, words)
            return
        if symbol in _OTHERS:
            if channel != "book":  # a book subscription is dropped without an answer, and not listed
                peer.add(command.channelUuid, (channel, symbol, ""))
            return
        topic: Topic = (channel, symbol, "")
        peer.add(command.channelUuid, topic)
        self.join(peer.connection, topic, now_ns)
        if channel == "trade":
            self.republish(peer.connection, symbol)
        elif channel == "quote":
            self._market(symbol, now_ns, peer.connection)
        else:
            if symbol not in self._shown or len(self.topics[topic]) == 1:
                self._render_book(symbol)
            self._send_book(symbol, now_ns, [peer.connection])

    def _unsubscribe(self, peer: "_Peer", uuid: str, now_ns: int) -> None:
        topic = peer.subscriptions.get(uuid)
        if topic is None:
            self._error(peer, _NOT_SUBSCRIBED)
            return
        if peer.remove(uuid, topic):
            self.leave(peer.connection, topic, now_ns)
        peer.connection.text(f'{{"message":"UNSUBSCRIBED","channelUuid":"{uuid}"}}'.encode())

    def _listed(self, one: tuple[str, Topic]) -> dict[str, str]:
        uuid, (channel, symbol, _) = one
        shown = next(name for name, known in _CHANNELS.items() if known == channel)
        row = {"channelUuid": uuid, "channel": shown, "symbol": symbol}
        return {**row, "tickSize": self._tick_size(symbol)} if channel == "book" else row

    def _tick_size(self, symbol: str) -> str:
        market = self.symbols.get(symbol)
        return text(1, market.spec.price_decimals) if market is not None else ""

    def _error(self, peer: "_Peer", code: int, words: str | None = None) -> None:
        peer.connection.text(msgspec.json.encode({"message": words or _WORDS[code], "code": code}))

    # ---- sending

    def frame_for(self, topic: Topic, payload: bytes, targets: Sequence[Connection]) -> list[Framed]:
        """Return a message per subscription, each with the id that its client chose."""
        messages = []
        for connection in targets:
            for uuid in self._peers[connection.number].uuids[topic]:
                message = b'{"channelUuid":"%b",%b' % (uuid, payload)
                messages.append((connection, message, wire.frame(message)))
        return messages

    def publish_step(self, symbol: str, step: Step) -> None:
        """Send prints at once; books and market figures wait for the tick."""
        if step.trades:
            self.publish_trades(symbol, self.apply_faults(symbol, step.trades))
            self._market_changed.add(symbol)
        if step.touched:
            self._market_changed.add(symbol)
        if step.bids or step.asks:
            self._changed_books.add(symbol)

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Send one message per print, with JSON numbers and with strings in turn."""
        topic: Topic = ("trade", symbol, "")
        for trade, again in trades:
            item = self.trade_item(symbol, trade, again)
            self._messages += 1
            price, size = f'"{item.p}"', f'"{item.q}"'
            if (self._messages + self.market.seed) % 2:
                price, size = repr(float(item.p)), repr(float(item.q))
            payload = (
                f'"id":"{text_id(symbol, trade.id)}","price":{price},"quantity":{size},'
                f'"created":"{stamp(item.ts)}","channel":"TRADES"}}'
            )
            self.send(topic, [item], payload.encode(), only)

    def _market(self, symbol: str, now_ns: int, only: Connection | None = None) -> None:
        topic: Topic = ("quote", symbol, "")
        market = self.symbols[symbol]
        spec, stats = market.spec, market.stats
        p, q = spec.price_decimals, spec.size_decimals
        empty = self._empty.get(symbol, ("", 0))[0]
        bid = None if empty in ("bids", "both") else text(market.bids.best, p)
        ask = None if empty in ("asks", "both") else text(market.asks.best, p)
        held = None if only is not None else self.faults.withheld("quote", symbol)
        item = QuoteItem(0, symbol, now_ns, bid, None, ask, None, held=held)
        if held is not None:
            self.withhold(topic, item)
            return
        best = (f'"bestBid":"{bid}",' if bid else "") + (f'"bestAsk":"{ask}",' if ask else "")
        if bid and ask:
            best += f'"midMarketPrice":"{text((market.bids.best + market.asks.best) * 5, p + 1)}",'
        change = stats.last - stats.open
        last = text(stats.last, p)
        long = last.ljust(len(last) - p + 18, "0")
        payload = (
            f'{best}"priceChange24h":"{"-" if change < 0 else ""}{text(abs(change), p)}",'
            f'"percentageChange24h":{change / stats.open:.6f},"lastTradedPrice":"{long}",'
            f'"volume24h":"{text(stats.notional * 10 ** (18 - p - q), 18)}","high24h":"{text(stats.high, p)}",'
            f'"low24h":"{text(stats.low, p)}","indexPrice":"{last}","tradeCount24h":{stats.trades},'
            f'"exchangePrice":"{last}","marketId":"{symbol}","pricePrecision":{p},"publishTime":"{stamp(now_ns)}",'
            f'"inRegularTradingHours":true,"status":"OPEN","channel":"MARKET"}}'
        )
        self.send(topic, [item], payload.encode(), only)

    def _render_book(self, symbol: str) -> None:
        """Render the book that subscribers see from now on."""
        market = self.symbols[symbol]
        empty = self._empty.get(symbol, ("", 0))[0]
        bids = [] if empty in ("bids", "both") else _pairs(market, market.bids.levels(_LEVELS))
        asks = [] if empty in ("asks", "both") else _pairs(market, market.asks.levels(_LEVELS))
        q = market.spec.size_decimals
        body = f'"asks":[{_levels(asks, q)}],"bids":[{_levels(bids, q)}],"channel":"ORDER_BOOK"}}'.encode()
        self._shown[symbol] = _Shown(body, bids, asks)

    def _send_book(self, symbol: str, now_ns: int, targets: Sequence[Connection]) -> None:
        """Send the full book. It is an item of the truth only for clients to which it is new."""
        topic: Topic = ("book", symbol, "")
        shown = self._shown[symbol]
        fresh = [one for one in targets if self._peers[one.number].books.get(symbol) != shown.body]
        item = BookItem(0, symbol, None, now_ns, True, shown.bids, shown.asks)
        item.held = self.faults.withheld("book", symbol)
        if item.held is not None:
            if fresh:
                self.withhold(topic, item)
            return
        if fresh:
            self.send(topic, [item], shown.body, fresh)
        repeated = [one for one in targets if one not in fresh]
        if repeated:
            self.send(topic, [], shown.body, repeated)
        if item.held is None:  # otherwise a malformed frame took its place
            for one in fresh:
                self._peers[one.number].books[symbol] = shown.body

    # ---- time

    def advance(self, now_ns: int, now_s: float) -> float:
        """Make the market events of this moment, and at the tick send the books that changed."""
        wait_s = super().advance(now_ns, now_s)
        if now_s - self._tick_s >= TICK_S:
            self._tick_s = now_s
            self._tick(now_ns, now_s)
        return wait_s

    def _tick(self, now_ns: int, now_s: float) -> None:
        for symbol in self.symbols:
            self._withdraw(symbol)
            members = self.topics.get(("book", symbol, ""))
            if members:
                shown = self._shown[symbol]
                moved = symbol in self._changed_books
                if moved:
                    sent_s, before = shown.sent_s, shown.body
                    self._render_book(symbol)
                    shown = self._shown[symbol]
                    shown.sent_s = sent_s
                    moved = shown.body != before
                    self._changed_books.discard(symbol)
                if moved or not shown.sent_s or now_s - shown.sent_s >= self.book_repeat_s:
                    shown.sent_s = now_s
                    self._send_book(symbol, now_ns, list(members.values()))
            if symbol in self._market_changed and ("quote", symbol, "") in self.topics:
                self._market(symbol, now_ns)
            self._market_changed.discard(symbol)

    def _withdraw(self, symbol: str) -> None:
        """Empty a side, or both, for one to three ticks, as when the market maker replaces its quotes."""
        side, ticks = self._empty.get(symbol, ("", 0))
        if ticks > 1:
            self._empty[symbol] = (side, ticks - 1)
            return
        rule = self.faults.use("empty", "book", symbol) if self.faults.rules else None
        if rule is not None:
            self._empty[symbol] = (_side(rule.text), rule.count)
        elif symbol in self._changed_books and self._rng.random() < 0.005:
            self._empty[symbol] = (_side(self._rng.choice(("bids", "asks", "both"))), self._rng.randint(1, 3))
        elif side:
            del self._empty[symbol]
        else:
            return
        self._changed_books.add(symbol)
        self._market_changed.add(symbol)

    def on_second(self, now_ns: int, now_s: float) -> None:
        """Close connections that send no protocol ping, and those whose session is over."""
        for peer in self._peers.values():
            connection = peer.connection
            if connection.controls != peer.controls:
                peer.controls, peer.pinged_s = connection.controls, now_s
            if now_s - peer.pinged_s > self.ping_s or now_s - connection.opened_s > self.session_s:
                connection.goodbye(1001)

    # ---- faults of its own

    def do_session_end(self) -> dict[str, object]:
        """End every session, as at thirty minutes of age."""
        for peer in self._peers.values():
            peer.connection.goodbye(1001)
        return {"connections": len(self._peers)}

    def do_empty(
        self, times: int = 1, symbol: str | None = None, side: str = "bids", ticks: int = 2
    ) -> dict[str, object]:
        """Send books without bids, without asks, or without both for some ticks."""
        self.faults.add(Rule("empty", symbol, "book", int(times), text=_side(side), count=int(ticks)))
        return {}

    def do_every(
        self, book_repeat_s: float | None = None, ping_s: float | None = None, session_s: float | None = None
    ) -> dict[str, object]:
        """Set the seconds between unchanged books, the longest without a ping, and the length of a session."""
        self.book_repeat_s = self.book_repeat_s if book_repeat_s is None else float(book_repeat_s)
        self.ping_s = self.ping_s if ping_s is None else float(ping_s)
        self.session_s = self.session_s if session_s is None else float(session_s)
        return {"book_repeat_s": self.book_repeat_s, "ping_s": self.ping_s, "session_s": self.session_s}

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer `/markets`, `/markets/SYMBOL/orderbook` and `/trades/SYMBOL`."""
        return answer(self.symbols, _OTHERS, request, now_ns)


class _Command(msgspec.Struct):
    action: str
    channelUuid: str = ""  # noqa: N815 (the venue's name)
    channel: str = ""
    symbol: str = ""
    tickSize: str | None = None  # noqa: N815


class _Shown(msgspec.Struct):
    """The book that subscribers see, without the id of their subscription."""

    body: bytes
    bids: Pairs
    asks: Pairs
    sent_s: float = 0.0


class _Peer:
    """The subscriptions of a connection, and the last book of each symbol that it was sent."""

    __slots__ = ("books", "connection", "controls", "pinged_s", "subscriptions", "uuids")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.controls = 0  # pings that it had sent at `pinged_s`
        self.pinged_s = connection.opened_s
        self.subscriptions: dict[str, Topic] = {}
        self.uuids: dict[Topic, list[bytes]] = {}
        self.books: dict[str, bytes] = {}

    def add(self, uuid: str, topic: Topic) -> None:
        """Add a subscription; a stream may have two."""
        self.subscriptions[uuid] = topic
        self.uuids.setdefault(topic, []).append(uuid.encode())
        if topic[0] == "book":
            self.books.pop(topic[1], None)

    def remove(self, uuid: str, topic: Topic) -> bool:
        """Remove a subscription; return whether it was the last one of its stream."""
        del self.subscriptions[uuid]
        self.uuids[topic].remove(uuid.encode())
        if not self.uuids[topic]:
            del self.uuids[topic]
            self.books.pop(topic[1] if topic[0] == "book" else "", None)
        return topic not in self.uuids


def _side(name: str) -> Empty:
    match name:
        case "bids" | "asks" | "both":
            return name
    raise ValueError(f"side is bids, asks or both, not {name!r}")


def _pairs(market: SymbolMarket, levels: Sequence[tuple[int, int]]) -> Pairs:
    p, q = market.spec.price_decimals, market.spec.size_decimals
    return [(text(price, p), text(size, q)) for price, size in levels]


def _levels(pairs: Pairs, size_decimals: int) -> str:
    rows = []
    total = 0
    for price, size in pairs:
        total += int(size.replace(".", ""))
        rows.append(
            f'{{"price":"{price}","quantity":"{size}","total":"{text(total, size_decimals)}","totalOrders":"0"}}'
        )
    return ",".join(rows)

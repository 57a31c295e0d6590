"""The simulated Coinbase Advanced Trade: one sequence over all messages of a connection, full books, batched trades.

The messages are as captured (tests/captures/coinbase_advanced). A request has one channel, and snapshots arrive
before its answer. Numbers are strings, times have no trailing zeros, the ask side is called `offer`, and `side` of a
trade is the maker's. The words of errors are not captured.
"""

import random
import time
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from recorder.simulator.connection import Connection
from recorder.simulator.faults import Rule
from recorder.simulator.market import Market, Spec, Step, SymbolMarket, Trade, short_text
from recorder.simulator.rfc3339 import rfc3339_nano
from recorder.simulator.venue import FakeVenue, StreamItem, Topic
from recorder.simulator.venues.coinbase_advanced.rest import answer
from recorder.simulator.wire import Request, Response
from recorder.truth import BookItem, Pairs, QuoteItem, TradeItem, TruthLog

_CHANNELS = {
    "market_trades": "trade", "ticker": "quote", "level2": "book", "heartbeats": "heartbeats", "candles": "candles",
    "ticker_batch": "ticker_batch", "status": "status",
}  # fmt: skip
_SHOWN = {channel: name for name, channel in _CHANNELS.items()}
_WIRE = {"trade": "market_trades", "quote": "ticker", "book": "l2_data"}
_WITH_KEY = {"user", "futures_balance_summary"}
_MAKER = {"b": "SELL", "s": "BUY"}  # the resting side of a taker
_SUBSCRIBE_WITHIN_S = 5.0
_IDLE_S = 75.0  # the vendor says 60 to 90
_FRAMES_PER_S = 8
_PAST = 100
_TRADES_EVERY_S = 0.25
_BOOKS_EVERY_S = 0.05
_UNSORTED = 0.3  # fraction of the batches whose trades are not newest first


class CoinbaseAdvanced(FakeVenue):
    """The public Advanced Trade feed. Its products differ from those of coinbase, whose market it shares."""

    name: ClassVar[str] = "coinbase_advanced"
    instruments_of: ClassVar[str | None] = "coinbase"
    specs: ClassVar[tuple[Spec, ...]] = (
        Spec("BTC", "EUR", 66214.35, 2, 8, 0.05, weight=4),
        Spec("ETH", "EUR", 2663.71, 2, 8, 0.8, weight=3),
        Spec("LTC", "USD", 84.36, 2, 8, 9.0, weight=2),
        Spec("LINK", "USD", 17.224, 3, 2, 120.0),
        Spec("ADA", "USD", 0.6121, 4, 8, 4000.0),
        Spec("LTC", "BTC", 0.001087, 6, 8, 5.0),
    )

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        self._next: dict[int, int] = {}  # number of the next message, by connection
        self._unsubscribed: set[int] = set()  # connected and not subscribed yet
        self._active: set[int] = set()  # connections that were sent something in this second
        self._active_s: dict[int, float] = {}
        self._frames_s: deque[float] = deque(maxlen=_FRAMES_PER_S)  # all clients have one address
        self._trades: dict[str, list[tuple[Trade, bool]]] = {}
        self._levels: dict[str, tuple[dict[int, int], dict[int, int], list[int]]] = {}
        self._trades_s = self._books_s = 0.0
        self._stamp_ns = 0  # time of the last envelope
        self._began_ns = now_ns
        self._order = random.Random(market.seed)
        self._extra_levels = 0
        super().__init__(market, truth, rate=rate, now_ns=now_ns)
        self._canonical = {
            f"{one.spec.base}-USDC": name for name, one in self.symbols.items() if one.spec.quote == "USD"
        }

    def format_symbol(self, spec: Spec) -> str:
        """Return a name like LTC-USD."""
        return f"{spec.base}-{spec.quote}"

    # ---- subscriptions

    def on_open(self, connection: Connection, now_ns: int) -> None:
        """Send nothing; the client has five seconds to subscribe."""
        self._next[connection.number] = 0
        self._unsubscribed.add(connection.number)
        self._active_s[connection.number] = connection.opened_s

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """Remove a client."""
        super().closed(connection, why, now_ns)
        self._next.pop(connection.number, None)
        self._active_s.pop(connection.number, None)
        self._unsubscribed.discard(connection.number)
        self._active.discard(connection.number)

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Handle `subscribe` and `unsubscribe`; a request has one channel."""
        now_s = now_ns / 1e9
        if len(self._frames_s) == _FRAMES_PER_S and now_s - self._frames_s[0] < 1:
            self._error(connection, "rate limit exceeded")
            return
        self._frames_s.append(now_s)
        try:
            command = msgspec.json.decode(payload, type=_Command)
        except msgspec.DecodeError:
            self._error(connection, "failed to parse message")
            return
        if command.type not in ("subscribe", "unsubscribe"):
            self._error(connection, f"unknown message type {command.type}")
            return
        symbols = list(dict.fromkeys(self._canonical.get(one, one) for one in command.product_ids))
        if command.channel == "heartbeats":
            symbols = ["heartbeats"]
        why = self._fault(command, symbols)
        if why is not None:
            for symbol in symbols:
                self.refuse(connection, _CHANNELS.get(command.channel, command.channel), symbol, why, now_ns)
            self._error(connection, why)
            return
        topics: list[Topic] = [(_CHANNELS[command.channel], symbol, "") for symbol in symbols]
        if command.type == "unsubscribe":
            for topic in topics:
                self.leave(connection, topic, now_ns)
            self._list(connection, now_ns)
            return
        self._unsubscribed.discard(connection.number)
        fresh = [topic for topic in topics if connection.number not in self.topics.get(topic, {})]
        for channel, symbol, _ in fresh:
            self._begin(connection, channel, symbol, now_ns)
        self._list(connection, now_ns)  # the answer arrives after the snapshots
        for channel, symbol, _ in fresh:
            if channel == "trade":
                self.republish(connection, symbol)

    def _fault(self, command: "_Command", symbols: Sequence[str]) -> str | None:
        if command.channel in _WITH_KEY:
            return "authentication failure"
        if command.channel not in _CHANNELS:
            return f"unknown channel {command.channel}"
        if not symbols:
            return "no product_ids given"
        for symbol in symbols:
            if symbol not in self.symbols and command.channel != "heartbeats":
                return f"{symbol} is not a valid product"
            rule = None
            if command.type == "subscribe":
                rule = self.faults.use("refuse", _CHANNELS[command.channel], symbol)
            if rule is not None:
                return rule.text or f"{symbol} is not a valid product"
        return None

    def _begin(self, connection: Connection, channel: str, symbol: str, now_ns: int) -> None:
        topic = (channel, symbol, "")
        if channel == "trade":
            self._flush_trades(symbol, now_ns)  # otherwise the first batch would repeat the snapshot
            self.join(connection, topic, now_ns)
            past = [(trade, True) for trade in list(self.symbols[symbol].history)[: -_PAST - 1 : -1]]
            self._send_trades(symbol, past, "snapshot", now_ns, connection)
        elif channel == "quote":
            self.join(connection, topic, now_ns)
            self._ticker(symbol, self.symbols[symbol], "snapshot", now_ns, connection)
        elif channel == "book":
            self._flush_book(symbol, now_ns)
            self.join(connection, topic, now_ns)
            self._snapshot(connection, symbol, now_ns)
        else:
            self.join(connection, topic, now_ns)

    def _list(self, connection: Connection, now_ns: int) -> None:
        products: dict[str, list[str]] = {}
        for channel, symbol, _ in self.topics_of(connection):
            products.setdefault(_SHOWN[channel], []).append(symbol)
        listed = msgspec.json.encode({"subscriptions": {name: products[name] for name in sorted(products)}}).decode()
        self._send_event(connection, "subscriptions", listed, self._stamp(now_ns), self._number(connection))

    def _error(self, connection: Connection, words: str) -> None:
        connection.text(msgspec.json.encode({"type": "error", "message": words}))

    # ---- sending

    def _stamp(self, now_ns: int) -> int:
        """Return the time of an envelope, which is a little after now and always rises."""
        self._stamp_ns = max(now_ns + 36_417, self._stamp_ns + 1009)
        return self._stamp_ns

    def _send_event(
        self,
        connection: Connection,
        channel: str,
        event: str,
        stamp_ns: int,
        number: int,
        items: tuple[int, int] | None = None,
    ) -> None:
        payload = (
            f'{{"channel":"{channel}","timestamp":"{rfc3339_nano(stamp_ns)}","sequence_num":{number},'
            f'"events":[{event}]}}'
        )
        self._active.add(connection.number)
        self.sent_messages += 1
        connection.text(payload.encode(), None, items)

    def _number(self, connection: Connection) -> int:
        """Return the number of the next message of a connection."""
        number = self._next[connection.number]
        if number and self.faults.use("repeat_sequence") is not None:
            return number - 1
        self._next[connection.number] = number + 1
        return number

    def _publish(
        self, topic: Topic, items: Sequence[StreamItem], event: str, stamp_ns: int, only: Connection | None = None
    ) -> None:
        """Send one event to all subscribers of a topic, or to one of them, each with the number of its connection."""
        channel, symbol, _ = topic
        targets = [only] if only is not None else list(self.topics.get(topic, {}).values())
        repeats = 1
        if self.faults.rules and targets:
            replaced = self.faults.use("replace", channel, symbol)
            if replaced is not None:
                self._instead(items, targets, replaced)
                return
            if channel != "trade" and self.faults.use("repeat", channel, symbol) is not None:
                repeats = 2
        for repeat in range(repeats):
            for item in items:
                item.again = item.again or repeat > 0
            numbers = None if channel == "quote" else self.log(items)
            for connection in targets:
                number = self._number(connection)
                if channel == "quote":  # stored with the number of its message, which differs between connections
                    numbers = self.log([_numbered(item, number, shared=len(targets) > 1) for item in items])
                self._send_event(connection, _WIRE[channel], event, stamp_ns, number, numbers)

    def _instead(self, items: Sequence[StreamItem], targets: Sequence[Connection], rule: Rule) -> None:
        for item in items:
            item.held = "replace"
        self.log(items)
        for connection in targets:
            self._number(connection)
            connection.text(rule.text.encode("latin-1"))

    def _withheld(self, channel: str, symbol: str, item: StreamItem) -> bool:
        """Return whether a fault withholds a message. A skipped one uses up a number; a frozen one does not."""
        item.held = self.faults.withheld(channel, symbol)
        if item.held is None:
            return False
        self.truth.item(item)
        if item.held == "skip":
            for connection in self.topics.get((channel, symbol, ""), {}).values():
                self._number(connection)
        return True

    # ---- data

    def advance(self, now_ns: int, now_s: float) -> float:
        """Make the market events of this moment, and send the batches whose time has come."""
        wait_s = super().advance(now_ns, now_s)
        if now_s - self._books_s >= _BOOKS_EVERY_S:
            self._books_s = now_s
            for symbol in list(self._levels):
                self._flush_book(symbol, now_ns)
        if now_s - self._trades_s >= _TRADES_EVERY_S:
            self._trades_s = now_s
            for symbol in list(self._trades):
                self._flush_trades(symbol, now_ns)
        return min(wait_s, max(0.0, self._books_s + _BOOKS_EVERY_S - now_s))

    def publish_step(self, symbol: str, step: Step) -> None:
        """Add trades and levels to their batches; send a ticker when something traded."""
        if step.trades:
            self.publish_trades(symbol, self.apply_faults(symbol, step.trades))
            if ("quote", symbol, "") in self.topics:
                self._ticker(symbol, step.market, "update", step.ts_ns)
        if (step.bids or step.asks) and ("book", symbol, "") in self.topics:
            bids, asks, times = self._levels.setdefault(symbol, ({}, {}, [0]))
            times[0] = step.ts_ns
            for change in step.bids:
                bids[change.price] = change.new
            for change in step.asks:
                asks[change.price] = change.new

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Add live prints to their batch; send those for one client at once."""
        if only is not None:
            self._send_trades(symbol, trades, "update", time.time_ns(), only)
        elif ("trade", symbol, "") in self.topics:
            self._trades.setdefault(symbol, []).extend(trades)
        else:
            for trade, again in trades:
                self.truth.item(self.trade_item(symbol, trade, again))

    def _flush_trades(self, symbol: str, now_ns: int) -> None:
        batch = self._trades.pop(symbol, [])
        if not batch:
            return
        batch.reverse()
        if self._order.random() < _UNSORTED:
            self._order.shuffle(batch)
        self._send_trades(symbol, batch, "update", now_ns)

    def trade_item(self, symbol: str, trade: Trade, again: bool = False, held: str | None = None) -> TradeItem:
        """Return a print in the form of the truth log."""
        spec = self.symbols[symbol].spec
        price, size = short_text(trade.price, spec.price_decimals), short_text(trade.size, spec.size_decimals)
        return TradeItem(0, symbol, trade.id, trade.ts_ns, price, size, trade.taker, again, held)

    def _send_trades(
        self, symbol: str, trades: Sequence[tuple[Trade, bool]], kind: str, now_ns: int, only: Connection | None = None
    ) -> None:
        items = [self.trade_item(symbol, trade, again) for trade, again in trades]
        rows = [
            f'{{"product_id":"{symbol}","trade_id":"{item.id}","price":"{item.p}","size":"{item.q}",'
            f'"time":"{rfc3339_nano(item.ts)}","side":"{_MAKER[trade.taker]}"}}'
            for (trade, _), item in zip(trades, items, strict=True)
        ]
        event = f'{{"type":"{kind}","trades":[{",".join(rows)}]}}'
        self._publish(("trade", symbol, ""), items, event, self._stamp(now_ns), only)

    def _ticker(
        self, symbol: str, market: SymbolMarket, kind: str, now_ns: int, only: Connection | None = None
    ) -> None:
        spec, stats = market.spec, market.stats
        p, q = spec.price_decimals, spec.size_decimals
        bid, ask = market.bids.best, market.asks.best
        stamp_ns = self._stamp(now_ns)
        b, bq = short_text(bid, p), short_text(market.bids.size(bid), q)
        a, aq = short_text(ask, p), short_text(market.asks.size(ask), q)
        item = QuoteItem(0, symbol, stamp_ns, b, bq, a, aq, t=now_ns)
        if only is None and self._withheld("quote", symbol, item):
            return
        low, high = short_text(stats.low, p), short_text(stats.high, p)
        event = (
            f'{{"type":"{kind}","tickers":[{{"type":"ticker","product_id":"{symbol}",'
            f'"price":"{short_text(stats.last, p)}","volume_24_h":"{short_text(stats.volume, q)}","low_24_h":"{low}",'
            f'"high_24_h":"{high}","low_52_w":"{low}","high_52_w":"{high}",'
            f'"price_percent_chg_24_h":"{100 * (stats.last - stats.open) / stats.open:.14f}","best_bid":"{b}",'
            f'"best_ask":"{a}","best_bid_quantity":"{bq}","best_ask_quantity":"{aq}"}}]}}'
        )
        self._publish(("quote", symbol, ""), [item], event, stamp_ns, only)

    def _snapshot(self, connection: Connection, symbol: str, now_ns: int) -> None:
        market = self.symbols[symbol]
        bids, asks = market.bids.levels(), market.asks.levels()
        if self._extra_levels:
            worst_bid, worst_ask, tick = bids[-1][0], asks[-1][0], market.spec.tick
            below = range(worst_bid - tick, 0, -tick)[: self._extra_levels // 2]
            bids += [(price, 1) for price in below]
            asks += [(worst_ask + tick * step, 1) for step in range(1, self._extra_levels - len(below) + 1)]
        self._levels_out(symbol, bids, asks, now_ns, now_ns, connection)

    def _flush_book(self, symbol: str, now_ns: int) -> None:
        waiting = self._levels.pop(symbol, None)
        if waiting is not None and ("book", symbol, "") in self.topics:
            bids, asks, times = waiting
            self._levels_out(symbol, sorted(bids.items(), reverse=True), sorted(asks.items()), times[0], now_ns)

    def _levels_out(
        self,
        symbol: str,
        bids: list[tuple[int, int]],
        asks: list[tuple[int, int]],
        event_ns: int,
        now_ns: int,
        only: Connection | None = None,
    ) -> None:
        """Send a snapshot to one client or an update to all: bids first, best prices first, one time for all levels."""
        spec = self.symbols[symbol].spec
        stamp_ns = self._stamp(now_ns)
        item = BookItem(0, symbol, stamp_ns, now_ns, only is not None, _pairs(spec, bids), _pairs(spec, asks))
        if only is None and self._withheld("book", symbol, item):
            return
        at = f'"event_time":"{rfc3339_nano(event_ns // 1000 * 1000)}"'
        rows = [
            f'{{"side":"{side}",{at},"price_level":"{price}","new_quantity":"{size}"}}'
            for side, levels in (("bid", item.bids), ("offer", item.asks))
            for price, size in levels
        ]
        kind = "snapshot" if item.snap else "update"
        event = f'{{"type":"{kind}","product_id":"{symbol}","updates":[{",".join(rows)}]}}'
        self._publish(("book", symbol, ""), [item], event, stamp_ns, only)

    def on_second(self, now_ns: int, now_s: float) -> None:
        """Send heartbeats, and close connections that did not subscribe in time or have received nothing for long."""
        counter_ns = 41_691_260_485_341 + now_ns - self._began_ns
        seconds, rest = divmod(counter_ns, 10**9)
        current_time = rfc3339_nano(now_ns).replace("T", " ").removesuffix("Z")
        event = f'{{"current_time":"{current_time} +0000 UTC m=+{seconds}.{rest:09d}","heartbeat_counter":{seconds}}}'
        stamp_ns = self._stamp(now_ns)
        for connection in self.topics.get(("heartbeats", "heartbeats", ""), {}).values():
            self._send_event(connection, "heartbeats", event, stamp_ns, self._number(connection))
        for number, connection in self.clients.items():
            if number in self._active:
                self._active_s[number] = now_s
            waited_s = now_s - (connection.opened_s if number in self._unsubscribed else self._active_s[number])
            if waited_s > (_SUBSCRIBE_WITHIN_S if number in self._unsubscribed else _IDLE_S):
                connection.ending = True
        self._active.clear()

    # ---- faults of its own

    def do_sequence_hole(self, missing: int = 1) -> dict[str, object]:
        """Skip message numbers on every connection, though no message is missing."""
        for number in self._next:
            self._next[number] += int(missing)
        return {"connections": len(self._next)}

    def do_repeat_sequence(self, times: int = 1) -> dict[str, object]:
        """Give the next messages the number of the one before them."""
        self.faults.add(Rule("repeat_sequence", left=int(times)))
        return {}

    def do_deep_book(self, levels: int = 46_000) -> dict[str, object]:
        """Add that many levels to every snapshot, far from the touch: 46,000 make 5 MB; 0 ends this."""
        self._extra_levels = int(levels)
        return {}

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer `/api/v3/brokerage/market/...`."""
        return answer(self.symbols, self._canonical, request, now_ns)


class _Command(msgspec.Struct):
    type: str
    channel: str = ""
    product_ids: list[str] = []


def _numbered(item: StreamItem, number: int, *, shared: bool) -> StreamItem:
    """Return a quote with the number that it has on one connection.

    Where several connections get it, a client with two of them may keep either, so none of these is required.
    """
    if not isinstance(item, QuoteItem):
        return item
    return msgspec.structs.replace(item, seq=number, again=item.again or shared)


def _pairs(spec: Spec, levels: list[tuple[int, int]]) -> Pairs:
    p, q = spec.price_decimals, spec.size_decimals
    return [(short_text(price, p), short_text(size, q)) for price, size in levels]

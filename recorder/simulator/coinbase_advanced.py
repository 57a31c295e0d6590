"""Coinbase Advanced Trade on loopback: one sequence over all messages of a connection, whole books, batched trades.

Dialect as captured (tests/captures/coinbase_advanced): one channel a request, snapshots before the answer, numbers
as strings and times without idle zeros, the other side of the book is called `offer`, `side` of a trade is the
maker's. How an error is worded is not captured.
"""

import random
import time
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from recorder.simulator.coinbase_advanced_rest import answer
from recorder.simulator.connection import Connection
from recorder.simulator.market import Market, Spec, Step, SymbolMarket, Trade, short_text
from recorder.simulator.mischief import Rule
from recorder.simulator.rfc3339 import rfc3339_nano
from recorder.simulator.truth import BookItem, Pairs, QuoteItem, TradeItem, TruthLog
from recorder.simulator.venue import FakeVenue, StreamItem, Topic
from recorder.simulator.wire import Request, Response

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
_UNSORTED = 0.3  # share of the batches whose trades are not newest first


class CoinbaseAdvanced(FakeVenue):
    """The public Advanced Trade feed. Its products are others than those of coinbase.py: both name one market."""

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
        self._next: dict[int, int] = {}  # by connection: the number of its next message
        self._unasked: set[int] = set()  # connected, nothing subscribed yet
        self._spoken: set[int] = set()  # connections that were sent something since the last beat
        self._spoken_s: dict[int, float] = {}
        self._frames_s: deque[float] = deque(maxlen=_FRAMES_PER_S)  # of the address: everybody is on loopback
        self._trades: dict[str, list[tuple[Trade, bool]]] = {}
        self._levels: dict[str, tuple[dict[int, int], dict[int, int], list[int]]] = {}
        self._trades_s = self._books_s = 0.0
        self._said_ns = 0
        self._began_ns = now_ns
        self._order = random.Random(market.seed)
        self._extra_levels = 0
        super().__init__(market, truth, rate=rate, now_ns=now_ns)
        self._canonical = {
            f"{one.spec.base}-USDC": name for name, one in self.symbols.items() if one.spec.quote == "USD"
        }

    def spell(self, spec: Spec) -> str:
        """LTC-USD."""
        return f"{spec.base}-{spec.quote}"

    # ---- subscriptions

    def greet(self, connection: Connection, now_ns: int) -> None:
        """Nothing is said first; a subscription has to come within five seconds."""
        self._next[connection.number] = 0
        self._unasked.add(connection.number)
        self._spoken_s[connection.number] = connection.opened_s

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """A client is gone."""
        super().closed(connection, why, now_ns)
        self._next.pop(connection.number, None)
        self._spoken_s.pop(connection.number, None)
        self._unasked.discard(connection.number)
        self._spoken.discard(connection.number)

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """One channel a request."""
        now_s = now_ns / 1e9
        if len(self._frames_s) == _FRAMES_PER_S and now_s - self._frames_s[0] < 1:
            self._error(connection, "rate limit exceeded")
            return
        self._frames_s.append(now_s)
        try:
            asked = msgspec.json.decode(payload, type=_Ask)
        except msgspec.DecodeError:
            self._error(connection, "failed to parse message")
            return
        if asked.type not in ("subscribe", "unsubscribe"):
            self._error(connection, f"unknown message type {asked.type}")
            return
        symbols = list(dict.fromkeys(self._canonical.get(one, one) for one in asked.product_ids))
        if asked.channel == "heartbeats":
            symbols = ["heartbeats"]
        why = self._fault(asked, symbols)
        if why is not None:
            for symbol in symbols:
                self.refuse(connection, _CHANNELS.get(asked.channel, asked.channel), symbol, why, now_ns)
            self._error(connection, why)
            return
        topics: list[Topic] = [(_CHANNELS[asked.channel], symbol, "") for symbol in symbols]
        if asked.type == "unsubscribe":
            for topic in topics:
                self.leave(connection, topic, now_ns)
            self._list(connection, now_ns)
            return
        self._unasked.discard(connection.number)
        fresh = [topic for topic in topics if connection.number not in self.topics.get(topic, {})]
        for channel, symbol, _ in fresh:
            self._begin(connection, channel, symbol, now_ns)
        self._list(connection, now_ns)  # the answer comes after what it answers for
        for channel, symbol, _ in fresh:
            if channel == "trade":
                self.republish(connection, symbol)

    def _fault(self, asked: "_Ask", symbols: Sequence[str]) -> str | None:
        if asked.channel in _WITH_KEY:
            return "authentication failure"
        if asked.channel not in _CHANNELS:
            return f"unknown channel {asked.channel}"
        if not symbols:
            return "no product_ids given"
        for symbol in symbols:
            if symbol not in self.symbols and asked.channel != "heartbeats":
                return f"{symbol} is not a valid product"
            rule = None
            if asked.type == "subscribe":
                rule = self.mischief.take("refuse", _CHANNELS[asked.channel], symbol)
            if rule is not None:
                return rule.text or f"{symbol} is not a valid product"
        return None

    def _begin(self, connection: Connection, channel: str, symbol: str, now_ns: int) -> None:
        topic = (channel, symbol, "")
        if channel == "trade":
            self._flush_trades(symbol, now_ns)  # else the first batch would bring what the snapshot has
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
        self._say(connection, "subscriptions", listed, self._stamp(now_ns), self._number(connection))

    def _error(self, connection: Connection, words: str) -> None:
        connection.text(msgspec.json.encode({"type": "error", "message": words}))

    # ---- sending

    def _stamp(self, now_ns: int) -> int:
        """The envelope's time: a little after now, and rising."""
        self._said_ns = max(now_ns + 36_417, self._said_ns + 1009)
        return self._said_ns

    def _say(
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
        self._spoken.add(connection.number)
        self.sent_messages += 1
        connection.text(payload.encode(), None, items)

    def _number(self, connection: Connection) -> int:
        """The number of the next message of a connection."""
        number = self._next[connection.number]
        if number and self.mischief.take("repeat_sequence") is not None:
            return number - 1
        self._next[connection.number] = number + 1
        return number

    def _publish(
        self, topic: Topic, items: Sequence[StreamItem], event: str, stamp_ns: int, only: Connection | None = None
    ) -> None:
        """Send one event to all who subscribed to a topic, or to one of them, each under its own number."""
        channel, symbol, _ = topic
        targets = [only] if only is not None else list(self.topics.get(topic, {}).values())
        repeats = 1
        if self.mischief.rules and targets:
            replaced = self.mischief.take("replace", channel, symbol)
            if replaced is not None:
                self._instead(items, targets, replaced)
                return
            if channel != "trade" and self.mischief.take("repeat", channel, symbol) is not None:
                repeats = 2
        for repeat in range(repeats):
            for item in items:
                item.again = item.again or repeat > 0
            numbers = None if channel == "quote" else self.log(items)
            for connection in targets:
                number = self._number(connection)
                if channel == "quote":  # stored with the number of its message, which is another on every connection
                    numbers = self.log([_numbered(item, number, shared=len(targets) > 1) for item in items])
                self._say(connection, _WIRE[channel], event, stamp_ns, number, numbers)

    def _instead(self, items: Sequence[StreamItem], targets: Sequence[Connection], junk: Rule) -> None:
        for item in items:
            item.held = "replace"
        self.log(items)
        for connection in targets:
            self._number(connection)
            connection.text(junk.text.encode("latin-1"))

    def _withheld(self, channel: str, symbol: str, item: StreamItem) -> bool:
        """Whether a message is held back. A skipped one was numbered, it got lost; a frozen one was never made."""
        item.held = self.mischief.withheld(channel, symbol)
        if item.held is None:
            return False
        self.truth.item(item)
        if item.held == "skip":
            for connection in self.topics.get((channel, symbol, ""), {}).values():
                self._number(connection)
        return True

    # ---- data

    def advance(self, now_ns: int, now_s: float) -> float:
        """Let the market move, and send the batches that are due."""
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
        """Trades and levels wait for their batch; a ticker comes when something traded."""
        if step.trades:
            self.publish_trades(symbol, self.shape(symbol, step.trades))
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
        """Live prints wait for their batch; for one client they come at once."""
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
        """A print as the truth log has it."""
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
        """A snapshot to one, or an update to all: bids first, best prices first, one time for all levels."""
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

    def beat(self, now_ns: int, now_s: float) -> None:
        """Heartbeats; and the door for whoever did not subscribe in time, or has nothing to hear."""
        counter_ns = 41_691_260_485_341 + now_ns - self._began_ns
        seconds, rest = divmod(counter_ns, 10**9)
        text_of_now = rfc3339_nano(now_ns).replace("T", " ").removesuffix("Z")
        event = f'{{"current_time":"{text_of_now} +0000 UTC m=+{seconds}.{rest:09d}","heartbeat_counter":{seconds}}}'
        stamp_ns = self._stamp(now_ns)
        for connection in self.topics.get(("heartbeats", "heartbeats", ""), {}).values():
            self._say(connection, "heartbeats", event, stamp_ns, self._number(connection))
        for number, connection in self.clients.items():
            if number in self._spoken:
                self._spoken_s[number] = now_s
            waited_s = now_s - (connection.opened_s if number in self._unasked else self._spoken_s[number])
            if waited_s > (_SUBSCRIBE_WITHIN_S if number in self._unasked else _IDLE_S):
                connection.ending = True
        self._spoken.clear()

    # ---- misbehaviour of its own

    def do_sequence_hole(self, missing: int = 1) -> dict[str, object]:
        """Leave out numbers of messages on every connection, though no message is missing."""
        for number in self._next:
            self._next[number] += int(missing)
        return {"connections": len(self._next)}

    def do_repeat_sequence(self, times: int = 1) -> dict[str, object]:
        """Give the next messages the number of the one before them."""
        self.mischief.add(Rule("repeat_sequence", left=int(times)))
        return {}

    def do_deep_book(self, levels: int = 46_000) -> dict[str, object]:
        """Give that many more levels in every snapshot, far from the touch: 46,000 make 5 MB; 0 ends it."""
        self._extra_levels = int(levels)
        return {}

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """`/api/v3/brokerage/market/...`."""
        return answer(self.symbols, self._canonical, request, now_ns)


class _Ask(msgspec.Struct):
    type: str
    channel: str = ""
    product_ids: list[str] = []


def _numbered(item: StreamItem, number: int, *, shared: bool) -> StreamItem:
    """A quote as one connection gets it; where several do, a client that has two of them may keep either."""
    if not isinstance(item, QuoteItem):
        return item
    return msgspec.structs.replace(item, seq=number, again=item.again or shared)


def _pairs(spec: Spec, levels: list[tuple[int, int]]) -> Pairs:
    p, q = spec.price_decimals, spec.size_decimals
    return [(short_text(price, p), short_text(size, q)) for price, size in levels]

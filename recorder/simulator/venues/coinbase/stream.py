"""The simulated Coinbase Exchange: `matches`, `ticker`, `level2_batch`, `heartbeat`, and the public REST.

The messages are as captured (tests/captures/coinbase). Prices and sizes are strings. `match.side` and the REST `side`
name the maker, `ticker.side` the taker. Level2 messages carry neither a sequence nor a checksum.
"""

import random
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from recorder.simulator.connection import Connection
from recorder.simulator.market import Change, Market, Spec, Step, SymbolMarket, Trade, text
from recorder.simulator.rfc3339 import rfc3339
from recorder.simulator.venue import FakeVenue, Topic
from recorder.simulator.venues.coinbase.rest import MAKER, answer
from recorder.simulator.wire import Request, Response
from recorder.truth import BookItem, QuoteItem, TruthLog

_SUBSCRIBE_WITHIN_S = 5.0
_CHANNELS = {
    "matches": "trade",
    "ticker": "quote",
    "level2_batch": "book",
    "level2_50": "book",
    "heartbeat": "heartbeat",
}
_SHOWN = {"trade": "matches", "quote": "ticker", "book": "level2_50", "heartbeat": "heartbeat"}
_WITH_KEY = {"level2", "level3", "full"}
_TAKER = {"b": "buy", "s": "sell"}


class Coinbase(FakeVenue):
    """Coinbase Exchange."""

    name: ClassVar[str] = "coinbase"
    specs: ClassVar[tuple[Spec, ...]] = (
        Spec("BTC", "USD", 77572.86, 2, 8, 0.05, weight=4),
        Spec("ETH", "USD", 3120.44, 2, 8, 0.8, weight=3),
        Spec("SOL", "USD", 184.27, 2, 8, 12.0, weight=2),
        Spec("XRP", "USD", 1.9317, 4, 6, 900.0),
        Spec("DOGE", "USD", 0.18351, 5, 1, 8000.0),
        Spec("ETH", "BTC", 0.04023, 5, 8, 0.9),
    )

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        super().__init__(market, truth, rate=rate, now_ns=now_ns)
        self._orders = random.Random(market.seed)
        self._waiting: dict[int, Connection] = {}  # connected and not subscribed yet

    def format_symbol(self, spec: Spec) -> str:
        """Return a name like BTC-USD."""
        return f"{spec.base}-{spec.quote}"

    # ---- subscriptions

    def on_open(self, connection: Connection, now_ns: int) -> None:
        """Send nothing; the client has five seconds to subscribe."""
        self._waiting[connection.number] = connection

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Handle `subscribe` and `unsubscribe`; anything else is an error."""
        try:
            command = msgspec.json.decode(payload, type=_Command)
            wanted = [pair for channel in command.channels for pair in _expand(channel, command.product_ids)]
        except msgspec.DecodeError:
            self._error(connection, "Malformed JSON")
            return
        if command.type not in ("subscribe", "unsubscribe"):
            self._error(connection, f"Type {command.type} is not supported")
            return
        why = self._fault(wanted)
        if why is not None:
            for channel, symbol in wanted:
                self.refuse(connection, _CHANNELS.get(channel, channel), symbol, why, now_ns)
            self._error(connection, why)
            return
        topics: list[Topic] = [(_CHANNELS[channel], symbol, "") for channel, symbol in wanted]
        if command.type == "unsubscribe":
            for topic in topics:
                self.leave(connection, topic, now_ns)
            self._list(connection)
            return
        self._waiting.pop(connection.number, None)
        known = set(self.topics_of(connection))
        fresh = [topic for topic in dict.fromkeys(topics) if topic not in known]
        for topic in fresh:
            self.join(connection, topic, now_ns)
        self._list(connection)
        for channel, symbol, _ in fresh:
            self._begin(connection, channel, symbol, now_ns)

    def _fault(self, wanted: list[tuple[str, str]]) -> str | None:
        if not wanted:
            return "No channels or products given"
        for channel, symbol in wanted:
            if channel in _WITH_KEY:
                return (
                    "level2, level3, and full channels now require authentication. "
                    "https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"
                )
            if channel not in _CHANNELS:
                return f"{channel} is not a valid channel"
            if symbol not in self.symbols:
                return f"{symbol} is not a valid product"
            rule = self.faults.use("refuse", _CHANNELS[channel], symbol)
            if rule is not None:
                return rule.text or f"{symbol} is not a valid product"
        return None

    def _begin(self, connection: Connection, channel: str, symbol: str, now_ns: int) -> None:
        market = self.symbols[symbol]
        last = market.history[-1]
        if channel == "trade":
            self._match(symbol, last, again=True, kind="last_match", only=connection)
            self.republish(connection, symbol)
        elif channel == "quote":
            self._ticker(symbol, last, connection)
        elif channel == "book":
            self._snapshot(connection, symbol, now_ns)

    def _list(self, connection: Connection) -> None:
        products: dict[str, list[str]] = {}
        for channel, symbol, _ in self.topics_of(connection):
            products.setdefault(_SHOWN[channel], []).append(symbol)
        channels = [{"name": name, "product_ids": ids, "account_ids": None} for name, ids in products.items()]
        connection.text(msgspec.json.encode({"type": "subscriptions", "channels": channels}))

    def _error(self, connection: Connection, reason: str) -> None:
        message = {"type": "error", "message": "Failed to subscribe", "reason": reason}
        connection.text(msgspec.json.encode(message))

    # ---- data

    def publish_step(self, symbol: str, step: Step) -> None:
        """Send a match and a ticker per print, then one l2update."""
        if step.trades:
            self.publish_trades(symbol, self.apply_faults(symbol, step.trades))
            if ("quote", symbol, "") in self.topics:
                for trade in step.trades:
                    self._ticker(symbol, trade)
        if (step.bids or step.asks) and ("book", symbol, "") in self.topics:
            self._l2update(symbol, step)

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Send one `match` per print."""
        for trade, again in trades:
            self._match(symbol, trade, again=again, only=only)

    def _match(
        self, symbol: str, trade: Trade, *, again: bool, kind: str = "match", only: Connection | None = None
    ) -> None:
        item = self.trade_item(symbol, trade, again)
        maker, taker = self._order(), self._order()
        payload = (
            f'{{"type":"{kind}","trade_id":{trade.id},"maker_order_id":"{maker}","taker_order_id":"{taker}",'
            f'"side":"{MAKER[trade.taker]}","size":"{item.q}","price":"{item.p}","product_id":"{symbol}",'
            f'"sequence":{trade.sequence},"time":"{rfc3339(trade.ts_ns)}"}}'
        )
        self.send(("trade", symbol, ""), [item], payload.encode(), only)

    def _ticker(self, symbol: str, trade: Trade, only: Connection | None = None) -> None:
        market = self.symbols[symbol]
        spec, stats = market.spec, market.stats
        bid, ask = market.bids.best, market.asks.best
        p, q = spec.price_decimals, spec.size_decimals
        sequence = trade.sequence
        item = QuoteItem(
            0, symbol, trade.ts_ns, text(bid, p), text(market.bids.size(bid), q), text(ask, p),
            text(market.asks.size(ask), q), sequence, held=self.faults.withheld("quote", symbol),
        )  # fmt: skip
        if item.held is not None:
            self.truth.item(item)
            return
        payload = (
            f'{{"type":"ticker","sequence":{sequence},"product_id":"{symbol}","price":"{text(trade.price, p)}",'
            f'"open_24h":"{text(stats.open, p)}","volume_24h":"{text(stats.volume, q)}",'
            f'"low_24h":"{text(stats.low, p)}","high_24h":"{text(stats.high, p)}",'
            f'"volume_30d":"{text(stats.volume * 28, q)}","best_bid":"{item.b}","best_bid_size":"{item.bq}",'
            f'"best_ask":"{item.a}","best_ask_size":"{item.aq}","side":"{_TAKER[trade.taker]}",'
            f'"time":"{rfc3339(trade.ts_ns)}","trade_id":{trade.id},"last_size":"{text(trade.size, q)}"}}'
        )
        self.send(("quote", symbol, ""), [item], payload.encode(), only)

    def _snapshot(self, connection: Connection, symbol: str, now_ns: int) -> None:
        market = self.symbols[symbol]
        bids, asks = _levels(market, market.bids.levels()), _levels(market, market.asks.levels())
        item = BookItem(0, symbol, None, now_ns, True, bids, asks)
        message = {"type": "snapshot", "product_id": symbol, "asks": asks, "bids": bids}
        self.send(("book", symbol, ""), [item], msgspec.json.encode(message), connection)

    def _l2update(self, symbol: str, step: Step) -> None:
        market = step.market
        bids, asks = _changes(market, step.bids), _changes(market, step.asks)
        item = BookItem(0, symbol, step.ts_ns, step.ts_ns, False, bids, asks, held=self.faults.withheld("book", symbol))
        if item.held is not None:
            self.truth.item(item)
            return
        changes = [f'["buy","{price}","{size}"]' for price, size in bids]
        changes += [f'["sell","{price}","{size}"]' for price, size in asks]
        payload = (
            f'{{"type":"l2update","product_id":"{symbol}","changes":[{",".join(changes)}],'
            f'"time":"{rfc3339(step.ts_ns)}"}}'
        )
        self.send(("book", symbol, ""), [item], payload.encode())

    def on_second(self, now_ns: int, now_s: float) -> None:
        """Send heartbeats, and close connections that did not subscribe in time."""
        for symbol, market in self.symbols.items():
            members = self.topics.get(("heartbeat", symbol, ""))
            if not members:
                continue
            payload = (
                f'{{"type":"heartbeat","last_trade_id":{market.next_id - 1},"product_id":"{symbol}",'
                f'"sequence":{market.sequence},"time":"{rfc3339(now_ns)}"}}'
            ).encode()
            for connection in members.values():
                connection.text(payload)
        for number, connection in list(self._waiting.items()):
            if number not in self.clients:
                del self._waiting[number]
            elif now_s - connection.opened_s > _SUBSCRIBE_WITHIN_S:
                connection.ending = True

    def _order(self) -> str:
        digits = f"{self._orders.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer `/products` and what is below it."""
        return answer(self.symbols, request)


class _Channel(msgspec.Struct):
    name: str
    product_ids: list[str] = []


class _Command(msgspec.Struct):
    type: str
    product_ids: list[str] = []
    channels: list[str | _Channel] = []


def _expand(channel: str | _Channel, product_ids: list[str]) -> list[tuple[str, str]]:
    if isinstance(channel, str):
        return [(channel, symbol) for symbol in product_ids]
    return [(channel.name, symbol) for symbol in channel.product_ids or product_ids]


def _levels(market: SymbolMarket, levels: list[tuple[int, int]]) -> list[tuple[str, str]]:
    p, q = market.spec.price_decimals, market.spec.size_decimals
    return [(text(price, p), text(size, q)) for price, size in levels]


def _changes(market: SymbolMarket, changes: list[Change]) -> list[tuple[str, str]]:
    return _levels(market, [(change.price, change.new) for change in changes])

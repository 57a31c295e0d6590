"""The simulated Kraken, API v2: `trade`, `ticker`, `book` with its checksum, `instrument`, and the public REST.

The messages are as captured (tests/captures/kraken). Numbers are JSON numbers with all their decimals, a subscription
is answered once per symbol, and a level that leaves the window is not deleted.
"""

import random
import zlib
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from recorder.simulator.book import BookSide
from recorder.simulator.connection import Connection
from recorder.simulator.market import Change, Market, Spec, Step, SymbolMarket, Trade, text
from recorder.simulator.rfc3339 import rfc3339
from recorder.simulator.venue import FakeVenue, Topic
from recorder.simulator.venues.kraken.rest import answer
from recorder.simulator.wire import Request, Response
from recorder.truth import BookItem, Pairs, QuoteItem, TruthLog

DEPTHS = (10, 25, 100, 500, 1000)
_CHANNELS = {"trade": "trade", "ticker": "quote", "book": "book"}
_TAKER = {"b": "buy", "s": "sell"}
_PAST = 50
_IDLE_S = 60.0


class Kraken(FakeVenue):
    """Kraken spot, websocket v2."""

    name: ClassVar[str] = "kraken"
    specs: ClassVar[tuple[Spec, ...]] = (
        Spec("BTC", "USD", 77571.3, 1, 8, 0.05, weight=4),
        Spec("ETH", "USD", 3120.51, 2, 8, 0.8, weight=3),
        Spec("SOL", "USD", 184.25, 2, 8, 12.0, weight=2),
        Spec("XRP", "USD", 1.93168, 5, 8, 900.0),
        Spec("DOGE", "USD", 0.1835104, 7, 8, 8000.0),
        Spec("ETH", "BTC", 0.04023, 5, 8, 0.9),
    )

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        super().__init__(market, truth, rate=rate, now_ns=now_ns)
        self._ids = random.Random(market.seed)
        self._windows: dict[tuple[str, int], _Window] = {}
        self._active_s: dict[int, float] = {}

    def format_symbol(self, spec: Spec) -> str:
        """Return a name like BTC/USD."""
        return f"{spec.base}/{spec.quote}"

    # ---- subscriptions

    def on_open(self, connection: Connection, now_ns: int) -> None:
        """Send `status`."""
        self._active_s[connection.number] = connection.opened_s
        number = self._ids.getrandbits(64) | 1 << 60  # above 2^53, like those of the venue
        connection.text(
            b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
            b'"connection_id":%d,"upcoming_maintenance":[],"emergency":[]}]}' % number
        )

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Handle `subscribe`, `unsubscribe` and `ping`."""
        self._active_s[connection.number] = 0.0
        try:
            command = msgspec.json.decode(payload, type=_Command)
        except msgspec.DecodeError:
            connection.text(msgspec.json.encode({"error": "Malformed request", "success": False}))
            return
        if command.method == "ping":
            self._answer(connection, command, {}, now_ns, method="pong")
        elif command.method in ("subscribe", "unsubscribe") and command.params is not None:
            self._subscriptions(connection, command, command.params, now_ns)
        else:
            self._answer(connection, command, {"error": "Method not supported", "success": False}, now_ns)

    def _subscriptions(self, connection: Connection, command: "_Command", params: "_Params", now_ns: int) -> None:
        if params.channel == "instrument":
            result: dict[str, object] = {"channel": "instrument", "snapshot": params.snapshot is not False}
            self._answer(connection, command, {"result": result, "success": True}, now_ns)
            if command.method == "subscribe":
                connection.text(self._instruments())
            return
        if params.channel not in _CHANNELS:
            self._refused(connection, command, params.channel, "", f"Channel not supported {params.channel}", now_ns)
            return
        depth = params.depth if params.depth is not None else 10
        if params.channel == "book" and depth not in DEPTHS:
            # This refusal names no symbol (seen 2026-08-16).
            self._refused(connection, command, "book", "", "Subscription depth not supported", now_ns)
            return
        for symbol in params.symbol:
            self._one(connection, command, params, symbol, depth, now_ns)

    def _one(
        self, connection: Connection, command: "_Command", params: "_Params", symbol: str, depth: int, now_ns: int
    ) -> None:
        channel = _CHANNELS[params.channel]
        rule = self.faults.use("refuse", channel, symbol) if command.method == "subscribe" else None
        if rule is not None or symbol not in self.symbols:
            why = rule.text if rule is not None and rule.text else f"Currency pair not supported {symbol}"
            self._refused(connection, command, channel, symbol, why, now_ns)
            return
        trigger = params.event_trigger or "trades"
        variant = {"trade": "", "quote": trigger, "book": str(depth)}[channel]
        result: dict[str, object] = {"channel": params.channel}
        if channel == "book":
            result["depth"] = depth
        elif channel == "quote":
            result["event_trigger"] = trigger
        # The default is no snapshot for trades, and a snapshot for the other channels.
        snapshot = params.snapshot if params.snapshot is not None else channel != "trade"
        if command.method == "subscribe":
            result["snapshot"] = snapshot
        result["symbol"] = symbol
        topic: Topic = (channel, symbol, variant)
        mine = [one for one in self.topics_of(connection) if one[:2] == topic[:2]]
        if command.method == "unsubscribe":
            if not mine:
                self._refused(connection, command, channel, symbol, "Subscription Not Found", now_ns)
                return
            for one in mine:
                self.leave(connection, one, now_ns)
            self._answer(connection, command, {"result": result, "success": True}, now_ns)
            return
        if mine:
            self._refused(connection, command, channel, symbol, "Already subscribed", now_ns)
            return
        if channel == "book" and topic not in self.topics:
            self._windows[symbol, depth] = _Window(self.symbols[symbol], depth)
        self.join(connection, topic, now_ns)
        self._answer(connection, command, {"result": result, "success": True}, now_ns)
        if snapshot:
            self._snapshot(connection, topic, now_ns)
        if channel == "trade":
            self.republish(connection, symbol)

    def _refused(
        self, connection: Connection, command: "_Command", channel: str, symbol: str, why: str, now_ns: int
    ) -> None:
        self.refuse(connection, channel, symbol, why, now_ns)
        body: dict[str, object] = {"error": why, "success": False}
        if symbol:
            body["symbol"] = symbol
        self._answer(connection, command, body, now_ns)

    def _answer(
        self,
        connection: Connection,
        command: "_Command",
        body: dict[str, object],
        now_ns: int,
        method: str | None = None,
    ) -> None:
        message = {"method": method or command.method, **body}
        if command.req_id is not None:
            message["req_id"] = command.req_id
        message["time_in"] = rfc3339(now_ns)
        message["time_out"] = rfc3339(now_ns + 36_000)
        connection.text(msgspec.json.encode(message))

    def _instruments(self) -> bytes:
        pairs = []
        for one in self.market.symbols:
            spec = one.spec
            # The venue prints the increments of this channel with exponents.
            pairs.append(
                f'{{"symbol":"{self.format_symbol(spec)}","base":"{spec.base}","quote":"{spec.quote}","status":"online",'
                f'"qty_precision":{spec.size_decimals},"qty_increment":1e-{spec.size_decimals:02d},'
                f'"price_precision":{spec.price_decimals},"cost_precision":5,"marginable":false,"has_index":false,'
                f'"cost_min":0.5,"tick_size":1e-{spec.price_decimals:02d},'
                f'"price_increment":1e-{spec.price_decimals:02d},"qty_min":1e-{spec.size_decimals:02d}}}'
            )
        names = sorted({name for one in self.market.symbols for name in (one.spec.base, one.spec.quote)})
        assets = [f'{{"id":"{name}","status":"enabled","precision":10,"precision_display":5}}' for name in names]
        data = f'{{"assets":[{",".join(assets)}],"pairs":[{",".join(pairs)}]}}'
        return f'{{"channel":"instrument","type":"snapshot","data":{data}}}'.encode()

    def _snapshot(self, connection: Connection, topic: Topic, now_ns: int) -> None:
        channel, symbol, variant = topic
        market = self.symbols[symbol]
        if channel == "trade":
            past = [(trade, True) for trade in list(market.history)[-_PAST:]]
            self._trades(symbol, past, "snapshot", connection)
        elif channel == "quote":
            self._ticker(topic, market, now_ns // 1000 * 1000, "snapshot", connection)
        else:
            depth = int(variant)
            bids, asks = _pairs(market, market.bids.levels(depth)), _pairs(market, market.asks.levels(depth))
            item = BookItem(0, symbol, now_ns // 1000 * 1000, now_ns, True, bids, asks, depth)
            self._book(topic, item, connection)

    # ---- data

    def publish_step(self, symbol: str, step: Step) -> None:
        """Send one `trade` message with all prints, the tickers, and one `book` message per depth."""
        if step.trades:
            self.publish_trades(symbol, self.apply_faults(symbol, step.trades))
            self._ticker(("quote", symbol, "trades"), step.market, step.ts_ns, "update")
        if step.touched:
            self._ticker(("quote", symbol, "bbo"), step.market, step.ts_ns, "update")
        if not step.bids and not step.asks:
            return
        for depth in DEPTHS:
            topic = ("book", symbol, str(depth))
            if topic not in self.topics:
                continue
            bids, asks = self._windows[symbol, depth].update(step)
            if bids or asks:
                pairs = _pairs(step.market, bids), _pairs(step.market, asks)
                held = self.faults.withheld("book", symbol)
                item = BookItem(0, symbol, step.ts_ns, step.ts_ns, False, *pairs, depth, held=held)
                self._book(topic, item)

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Send one `update` with all prints."""
        if trades:
            self._trades(symbol, trades, "update", only)

    def _trades(
        self, symbol: str, trades: Sequence[tuple[Trade, bool]], kind: str, only: Connection | None = None
    ) -> None:
        items = [self.trade_item(symbol, trade, again) for trade, again in trades]
        rows = [
            f'{{"symbol":"{symbol}","side":"{_TAKER[trade.taker]}","price":{item.p},"qty":{item.q},'
            f'"ord_type":"{"market" if item.id % 3 == 0 else "limit"}","trade_id":{item.id},'
            f'"timestamp":"{rfc3339(item.ts)}"}}'
            for (trade, _), item in zip(trades, items, strict=True)
        ]
        payload = f'{{"channel":"trade","type":"{kind}","data":[{",".join(rows)}]}}'
        self.send(("trade", symbol, ""), items, payload.encode(), only)

    def _ticker(
        self, topic: Topic, market: SymbolMarket, ts_ns: int, kind: str, only: Connection | None = None
    ) -> None:
        if topic not in self.topics:
            return
        symbol, spec, stats = topic[1], market.spec, market.stats
        p, q = spec.price_decimals, spec.size_decimals
        bid, ask = market.bids.best, market.asks.best
        item = QuoteItem(
            0, symbol, ts_ns, text(bid, p), text(market.bids.size(bid), q), text(ask, p),
            text(market.asks.size(ask), q), held=None if only else self.faults.withheld("quote", symbol),
        )  # fmt: skip
        if item.held is not None:
            self.truth.item(item)
            return
        change = stats.last - stats.open
        vwap = stats.notional // stats.volume if stats.volume else stats.last
        sign = "-" if change < 0 else ""
        payload = (
            f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{symbol}","bid":{item.b},"bid_qty":{item.bq},'
            f'"ask":{item.a},"ask_qty":{item.aq},"last":{text(stats.last, p)},"volume":{text(stats.volume, q)},'
            f'"vwap":{text(vwap, p)},"low":{text(stats.low, p)},"high":{text(stats.high, p)},'
            f'"change":{sign}{text(abs(change), p)},"change_pct":{100 * change / stats.open:.2f},'
            f'"trades":{stats.trades},"timestamp":"{rfc3339(ts_ns)}"}}]}}'
        )
        self.send(topic, [item], payload.encode(), only)

    def _book(self, topic: Topic, item: BookItem, only: Connection | None = None) -> None:
        if item.held is not None:
            self.truth.item(item)
            return
        market = self.symbols[item.s]
        checksum = self.faults.checksum(item.s, checksum_of(market.bids, market.asks))
        bids = ",".join([f'{{"price":{price},"qty":{size}}}' for price, size in item.bids])
        asks = ",".join([f'{{"price":{price},"qty":{size}}}' for price, size in item.asks])
        payload = (
            f'{{"channel":"book","type":"{"snapshot" if item.snap else "update"}","data":[{{"symbol":"{item.s}",'
            f'"bids":[{bids}],"asks":[{asks}],"checksum":{checksum},'
            f'"timestamp":"{rfc3339(item.ts or item.t)}"}}]}}'
        )
        self.send(topic, [item], payload.encode(), only)

    def on_second(self, now_ns: int, now_s: float) -> None:
        """Send heartbeats to subscribers, and close connections that are idle for a minute."""
        subscribed = {number for members in self.topics.values() for number in members}
        for number, connection in self.clients.items():
            if number in subscribed:
                connection.text(b'{"channel":"heartbeat"}')
                self._active_s[number] = now_s
            elif not self._active_s.get(number):
                self._active_s[number] = now_s
            elif now_s - self._active_s[number] > _IDLE_S:
                connection.ending = True

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer `/0/public/...`."""
        return answer(self.market, request)


class _Window:
    """The part of a book that subscribers of one depth see, as the keys of its last levels."""

    def __init__(self, market: SymbolMarket, depth: int) -> None:
        self._depth = depth
        self._worst = (market.bids.worst_of(depth), market.asks.worst_of(depth))

    def update(self, step: Step) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the levels (price, absolute size) to send after a step."""
        bids = self._side(step.market.bids, step.bids, self._worst[0])
        asks = self._side(step.market.asks, step.asks, self._worst[1])
        self._worst = (step.market.bids.worst_of(self._depth), step.market.asks.worst_of(self._depth))
        return bids, asks

    def _side(self, side: BookSide, changes: list[Change], before: int | None) -> list[tuple[int, int]]:
        """Return the changed levels that were or are in the window, and the levels that entered it from below.

        A level that left the window is not sent: the client truncates its book.
        """
        after = side.worst_of(self._depth)
        levels = []
        for change in changes:
            key = side.key(change.price)
            was = change.old > 0 and (before is None or key <= before)
            now = change.new > 0 and (after is None or key <= after)
            if was or now:
                levels.append((change.price, change.new))
        if before is not None and (after is None or after > before):
            included = {price for price, _ in levels}
            entered = [price for price in side.beyond(before, self._depth) if price not in included]
            levels += [(price, side.size(price)) for price in entered]
        return levels


def checksum_of(bids: BookSide, asks: BookSide) -> int:
    """Return the CRC-32 of the ten best asks, then bids. Our integers are the text without point and leading zeros."""
    parts = [f"{price}{size}" for price, size in asks.levels(10)]
    parts += [f"{price}{size}" for price, size in bids.levels(10)]
    return zlib.crc32("".join(parts).encode())


class _Params(msgspec.Struct):
    channel: str
    symbol: list[str] = []
    depth: int | None = None
    snapshot: bool | None = None
    event_trigger: str | None = None


class _Command(msgspec.Struct):
    method: str
    params: _Params | None = None
    req_id: int | None = None


def _pairs(market: SymbolMarket, levels: list[tuple[int, int]]) -> Pairs:
    p, q = market.spec.price_decimals, market.spec.size_decimals
    return [(text(price, p), text(size, q)) for price, size in levels]

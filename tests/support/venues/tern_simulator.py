"""A simulated Tern on loopback."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from recorder.simulator.connection import Connection
from recorder.simulator.market import Market, Spec, Step, Trade, text
from recorder.simulator.venue import FakeVenue, StreamItem
from recorder.simulator.wire import Request, Response
from recorder.truth import BookItem, Pairs, QuoteItem, TruthLog
from recorder.venues.base import Listing
from support.venues.tern import OURS

Levels = Iterable[tuple[int, int]]


class FakeTern(FakeVenue):
    name = "tern"
    specs = (Spec("BTC", "USD", 77571.3, 1, 8, 0.05), Spec("ETH", "USD", 3120.5, 2, 6, 0.8))

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        super().__init__(market, truth, rate=rate, now_ns=now_ns)
        self._count: Counter[str] = Counter()  # depth messages of a market

    def format_symbol(self, spec: Spec) -> str:
        return f"{spec.base}/{spec.quote}"

    def on_open(self, connection: Connection, now_ns: int) -> None: ...

    def on_second(self, now_ns: int, now_s: float) -> None: ...

    def get(self, request: Request, now_ns: int) -> Response:
        rows = [Listing(name, name[:3], name[4:], "spot", "0.1", None, "open") for name in self.symbols]
        return Response(200, msgspec.json.encode(rows))

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        asked = msgspec.json.decode(payload, type=dict[str, str])
        wire, symbol = asked.get("want") or asked["leave"], asked["market"]
        channel, market = OURS[wire], self.symbols.get(symbol)
        error = "" if market and not self.faults.use("refuse", channel, symbol) else "no such market"
        answer = {"kind": "answer", "market": symbol, "t": now_ns, "channel": wire, "error": error}
        connection.text(msgspec.json.encode(answer))
        if error:
            self.refuse(connection, channel, symbol, error, now_ns)
        elif "leave" in asked:
            self.leave(connection, (channel, symbol, ""), now_ns)
        else:
            self.join(connection, (channel, symbol, ""), now_ns)
            if channel == "book" and market:
                self._depth(symbol, now_ns, market.bids.levels(), market.asks.levels(), connection)

    def publish_step(self, symbol: str, step: Step) -> None:
        self.publish_trades(symbol, self.apply_faults(symbol, step.trades))
        if step.touched and ("quote", symbol, "") in self.topics:
            touch = ((side.best, side.size(side.best)) for side in (step.market.bids, step.market.asks))
            bid, ask = self._texts(symbol, touch)
            item = QuoteItem(0, symbol, step.ts_ns, *bid, *ask, held=self.faults.withheld("quote", symbol))
            self._give(item, "top", t=step.ts_ns, bid=bid, ask=ask)
        if (step.bids or step.asks) and ("book", symbol, "") in self.topics:
            bids, asks = ([(change.price, change.new) for change in side] for side in (step.bids, step.asks))
            self._depth(symbol, step.ts_ns, bids, asks)

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        for trade, again in trades:
            item = self.trade_item(symbol, trade, again)
            maker = "sell" if trade.taker == "b" else "buy"
            self._give(item, "fills", only, t=item.ts, id=item.id, at=(item.p, item.q), maker=maker)

    def _depth(self, symbol: str, t: int, bids: Levels, asks: Levels, only: Connection | None = None) -> None:
        self._count[symbol] += only is None
        held = None if only else self.faults.withheld("book", symbol)
        sides = self._texts(symbol, bids), self._texts(symbol, asks)
        item = BookItem(0, symbol, t, t, only is not None, *sides, held=held)
        self._give(item, "depth", only, t=t, n=self._count[symbol], full=item.snap, bids=item.bids, asks=item.asks)

    def _give(self, item: StreamItem, kind: str, only: Connection | None = None, **fields: object) -> None:
        if item.held is not None:
            self.withhold((OURS[kind], item.s, ""), item)
        else:
            payload = msgspec.json.encode({"kind": kind, "market": item.s, **fields})
            self.send((OURS[kind], item.s, ""), [item], payload, only)

    def _texts(self, symbol: str, levels: Levels) -> Pairs:
        spec = self.symbols[symbol].spec
        return [(text(price, spec.price_decimals), text(size, spec.size_decimals)) for price, size in levels]

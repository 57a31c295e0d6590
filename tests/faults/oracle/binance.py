"""A fake Binance spot, written from the protocol page alone: combined streams, and REST for books and trades."""

import json
from typing import Any

from faults.oracle.market import Market
from faults.oracle.sent import Item, Levels, now_us, size_of
from faults.oracle.venue import Client, Venue

_CHANNELS = {"trade", "bookTicker", "depth@100ms"}


def _price(tick: int) -> str:
    return f"{tick / 100:.8f}"


def _size(number: int) -> str:
    return size_of(number) if number else "0.00000000"


class Binance(Venue):
    """Streams trade, bookTicker and depth@100ms; REST depth, trades and historicalTrades."""

    name = "binance"
    first_price = 70_000

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._trades: dict[str, list[dict[str, object]]] = {symbol: [] for symbol in self.markets}
        self._last_delta: dict[str, int] = {}
        for market in self.markets.values():
            market.update_id = self.rng.randrange(10**8, 10**9)
            self._last_delta[market.symbol] = market.update_id
            self.log.depth[market.symbol] = [(market.update_id, _levels(market.bids), _levels(market.asks))]

    def read(self, client: Client, request: dict[str, Any]) -> None:
        streams = set()
        for name in request.get("params", []):
            symbol, _, channel = name.partition("@")
            streams.add((channel, symbol.upper()))  # an unknown stream is accepted and never sends
        result: object = None
        match request.get("method"):
            case "SUBSCRIBE":
                client.streams |= streams
            case "UNSUBSCRIBE":
                client.streams -= streams
            case "LIST_SUBSCRIPTIONS":
                result = [f"{symbol.lower()}@{channel}" for channel, symbol in sorted(client.streams)]
            case method:
                answer = {"code": 2, "msg": f"Invalid request: unknown method {method}", "id": request.get("id")}
                self.send(client, json.dumps(answer))
                return
        self.send(client, json.dumps({"result": result, "id": request.get("id")}))

    def trade(self, market: Market) -> None:
        market.trade_id += 1
        us, side, number = self.event_us("trade"), self.rng.choice("bs"), self.log.number()
        ms = us // 1000
        price, size = _price(market.middle + self.rng.randrange(-3, 4)), size_of(number)
        if self.empty_size():
            size = "0.00000000"
        item = Item(
            number, self.name, market.symbol, "trade", "", market.trade_id, market.trade_id, now_us(), ms * 1000,
            price=float(price), size=float(size), side=side,
        )  # fmt: skip
        maker_bought = "true" if side == "s" else "false"
        data = (
            f'{{"e":"trade","E":{ms + 1},"s":"{market.symbol}","t":{market.trade_id},"p":"{price}","q":"{size}",'
            f'"T":{ms},"m":{maker_bought},"M":true}}'
        )
        self._trades[market.symbol].append(
            {"id": market.trade_id, "price": price, "qty": size, "time": ms, "isBuyerMaker": side == "s"}
        )
        self._publish("trade", market, data, item)

    def quote(self, market: Market) -> None:
        number = self.log.number()
        market.update_id += 1
        bid, ask = market.near(market.bids, True, 1)[0], market.near(market.asks, False, 1)[0]
        size, ask_size = size_of(number), size_of(market.asks[ask])
        item = Item(
            number, self.name, market.symbol, "quote", "", float(size), market.update_id, now_us(), None,
            price=float(_price(bid)), size=float(size), ask=float(_price(ask)), ask_size=float(ask_size),
        )  # fmt: skip
        data = (
            f'{{"u":{market.update_id},"s":"{market.symbol}","b":"{_price(bid)}","B":"{size}",'
            f'"a":"{_price(ask)}","A":"{ask_size}"}}'
        )
        self._publish("bookTicker", market, data, item)

    def book(self, market: Market) -> None:
        number, ms = self.log.number(), self.event_us("book") // 1000
        bids, asks = market.change_book(number)
        first = self._last_delta[market.symbol] + 1
        market.update_id += self.rng.randrange(1, 5)
        self.log.depth[market.symbol].append((market.update_id, _levels(bids), _levels(asks)))
        item = Item(
            number, self.name, market.symbol, "book", "d", float(size_of(number)), market.update_id, now_us(),
            ms * 1000, bids=_levels(bids), asks=_levels(asks),
        )  # fmt: skip
        data = (
            f'{{"e":"depthUpdate","E":{ms},"s":"{market.symbol}","U":{first},"u":{market.update_id},'
            f'"b":{_wire(bids)},"a":{_wire(asks)}}}'
        )
        self._last_delta[market.symbol] = market.update_id
        self._publish("depth@100ms", market, data, item)

    def rest(self, path: str, query: dict[str, str]) -> object:
        symbol, limit = query.get("symbol", ""), int(query.get("limit", "500"))
        if symbol not in self.markets:
            return None
        market, trades = self.markets[symbol], self._trades[symbol]
        match path:
            case "/api/v3/depth":
                return {
                    "lastUpdateId": market.update_id,
                    "bids": [
                        [_price(tick), _size(market.bids[tick])] for tick in market.near(market.bids, True, limit)
                    ],
                    "asks": [
                        [_price(tick), _size(market.asks[tick])] for tick in market.near(market.asks, False, limit)
                    ],
                }
            case "/api/v3/trades":
                return trades[-limit:]
            case "/api/v3/historicalTrades":
                return [row for row in trades if int(str(row["id"])) >= int(query.get("fromId", "0"))][:limit]
        return None

    def _publish(self, channel: str, market: Market, data: str, item: Item) -> None:
        frame = f'{{"stream":"{market.symbol.lower()}@{channel}","data":{data}}}'
        self.publish(channel, market.symbol, frame, item)


def _wire(side: dict[int, int]) -> str:
    return json.dumps([[_price(tick), _size(size)] for tick, size in side.items()], separators=(",", ":"))


def _levels(side: dict[int, int]) -> Levels:
    return [(float(_price(tick)), float(_size(size))) for tick, size in side.items()]

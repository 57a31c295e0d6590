"""A fake Kraken websocket version 2, written from the protocol page alone. Its book checksums are true."""

import json
import zlib
from collections import deque
from typing import Any

from faults.oracle.market import Market
from faults.oracle.sent import Item, Levels, now_us, rfc3339, size_of
from faults.oracle.venue import Client, Venue

_CHANNELS = {"trade", "ticker", "book"}
_DEPTHS = {10, 25, 100, 500, 1000}
_SIDES = {"b": "buy", "s": "sell"}
_TYPES = {"s": "snapshot", "d": "update"}
Side = dict[int, int]


def _price(tick: int) -> str:
    return f"{tick / 10:.1f}"


def _size(number: int) -> str:
    return size_of(number) if number else "0.00000000"


def checksum(bids: Side, asks: Side) -> int:
    """Return the CRC-32 of the ten best levels a side, over the texts of the wire."""
    digits = []
    for side, falling in ((asks, False), (bids, True)):
        for tick in sorted(side, reverse=falling)[:10]:
            for text in (_price(tick), _size(side[tick])):
                digits.append(text.replace(".", "").lstrip("0"))
    return zlib.crc32("".join(digits).encode())


class Kraken(Venue):
    """The public feed: trade with its snapshot of 50, ticker, book with checksum, heartbeat, ping."""

    name = "kraken"
    first_price = 300_000

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._trades: dict[str, deque[tuple[Item, str]]] = {symbol: deque(maxlen=50) for symbol in self.markets}
        self._windows: dict[tuple[str, int], tuple[Side, Side]] = {}  # by symbol and depth: what a subscriber knows
        self._depths: dict[tuple[int, str], int] = {}  # by connection and symbol

    def greet(self, client: Client) -> None:
        data = {
            "system": "online",
            "api_version": "v2",
            "connection_id": 2**53 + 7 * client.noted.number,
            "version": "2",
        }
        self.send(client, json.dumps({"channel": "status", "type": "update", "data": [data]}))

    def read(self, client: Client, request: dict[str, Any]) -> None:
        now, method = rfc3339(now_us()), request.get("method")
        stamps = {"time_in": now, "time_out": now}
        if "req_id" in request:
            stamps["req_id"] = request["req_id"]
        if method == "ping":
            self.send(client, json.dumps({"method": "pong", **stamps}))
            return
        params = request.get("params", {})
        channel = params.get("channel")
        for symbol in params.get("symbol", []):
            error = ""
            if channel not in _CHANNELS:
                error = f"Channel {channel} not supported"
            elif symbol not in self.markets:
                error = f"Currency pair not supported {symbol}"
            elif channel == "book" and params.get("depth", 10) not in _DEPTHS:
                error = "Subscription depth not supported"
            if error:
                answer = {"method": method, "success": False, "error": error, "symbol": symbol, **stamps}
                self.send(client, json.dumps(answer))
                continue
            result: dict[str, object] = {"channel": channel, "symbol": symbol}
            if channel == "book":
                result["depth"] = params.get("depth", 10)
            if method == "subscribe":
                result["snapshot"] = params.get("snapshot", channel != "trade")
            self.send(client, json.dumps({"method": method, "result": result, "success": True, **stamps}))
            if method == "unsubscribe":
                client.streams.discard((channel, symbol))
            elif (channel, symbol) not in client.streams:
                client.streams.add((channel, symbol))
                self._begin(client, channel, symbol, params)

    def _begin(self, client: Client, channel: str, symbol: str, params: dict[str, Any]) -> None:
        market = self.markets[symbol]
        if channel == "trade" and params.get("snapshot") and self._trades[symbol]:
            rows = ",".join(row for _, row in self._trades[symbol])
            items = [item for item, _ in self._trades[symbol]]
            self.send(client, f'{{"channel":"trade","type":"snapshot","data":[{rows}]}}', items)
        if channel == "ticker":
            item, row = self._ticker_row(market)
            self.log.add(item)
            self.send(client, f'{{"channel":"ticker","type":"snapshot","data":[{row}]}}', [item])
        if channel == "book":
            depth = params.get("depth", 10)
            self._windows.setdefault((symbol, depth), ({}, {}))
            self._depths[client.noted.number, symbol] = 0  # it gets no update before its snapshot
            self.book(market)  # so that no two snapshots are equal
            self._depths[client.noted.number, symbol] = depth
            self._book_message(market, depth, "s", *self._window(market, depth), [client])

    def trade(self, market: Market) -> None:
        rows, items = [], []
        for _ in range(self.rng.choice([1, 1, 1, 3])):
            market.trade_id += 1
            us, side, number = self.event_us("trade"), self.rng.choice("bs"), self.log.number()
            price, size = _price(market.middle + self.rng.randrange(-3, 4)), size_of(number)
            if self.empty_size():
                size = "0.00000000"
            item = Item(
                number, self.name, market.symbol, "trade", "", market.trade_id, market.trade_id, now_us(), us,
                price=float(price), size=float(size), side=side,
            )  # fmt: skip
            row = (
                f'{{"symbol":"{market.symbol}","side":"{_SIDES[side]}","price":{price},"qty":{size},'
                f'"ord_type":"market","trade_id":{market.trade_id},"timestamp":"{rfc3339(us)}"}}'
            )
            self._trades[market.symbol].append((item, row))
            rows.append(row)
            items.append(item)
        self.publish("trade", market.symbol, f'{{"channel":"trade","type":"update","data":[{",".join(rows)}]}}', *items)

    def quote(self, market: Market) -> None:
        item, row = self._ticker_row(market)
        self.publish("ticker", market.symbol, f'{{"channel":"ticker","type":"update","data":[{row}]}}', item)

    def _ticker_row(self, market: Market) -> tuple[Item, str]:
        number, us = self.log.number(), self.event_us("quote")
        bid, ask = market.near(market.bids, True, 1)[0], market.near(market.asks, False, 1)[0]
        size, ask_size = size_of(number), size_of(market.asks[ask])
        item = Item(
            number, self.name, market.symbol, "quote", "", float(size), None, now_us(), us,
            price=float(_price(bid)), size=float(size), ask=float(_price(ask)), ask_size=float(ask_size),
        )  # fmt: skip
        row = (
            f'{{"symbol":"{market.symbol}","bid":{_price(bid)},"bid_qty":{size},"ask":{_price(ask)},'
            f'"ask_qty":{ask_size},"last":{_price(bid)},"volume":12.5,"vwap":30000.1,"low":29000.0,"high":31000.0,'
            f'"change":-1.0,"change_pct":-0.01,"timestamp":"{rfc3339(us)}"}}'
        )
        return item, row

    def book(self, market: Market) -> None:
        market.change_book(self.log.number())
        for symbol, depth in self._windows:
            if symbol == market.symbol:
                old_bids, old_asks = self._windows[symbol, depth]
                bids, asks = self._window(market, depth)
                changes = _changes(old_bids, bids, market.bids), _changes(old_asks, asks, market.asks)
                readers = [
                    client
                    for client in self.clients
                    if ("book", symbol) in client.streams and self._depths.get((client.noted.number, symbol)) == depth
                ]
                self._book_message(market, depth, "d", *changes, readers)

    def _window(self, market: Market, depth: int) -> tuple[Side, Side]:
        """Return the levels that a subscriber of this depth sees, and note that it saw them."""
        bids = {tick: market.bids[tick] for tick in market.near(market.bids, True, depth)}
        asks = {tick: market.asks[tick] for tick in market.near(market.asks, False, depth)}
        self._windows[market.symbol, depth] = bids, asks
        return bids, asks

    def _book_message(
        self, market: Market, depth: int, kind: str, bids: Side, asks: Side, readers: list[Client]
    ) -> None:
        us = self.event_us("book")
        newest = max([*bids.values(), *asks.values()])
        item = Item(
            self.log.number(), self.name, market.symbol, "book", kind, float(size_of(newest)), None, now_us(), us,
            bids=_levels(bids), asks=_levels(asks),
        )  # fmt: skip
        sides = [
            ",".join(f'{{"price":{_price(tick)},"qty":{_size(size)}}}' for tick, size in side.items())
            for side in (bids, asks)
        ]
        frame = (
            f'{{"channel":"book","type":"{_TYPES[kind]}","data":[{{"symbol":"{market.symbol}",'
            f'"bids":[{sides[0]}],"asks":[{sides[1]}],"checksum":{checksum(*self._windows[market.symbol, depth])},'
            f'"timestamp":"{rfc3339(us)}"}}]}}'
        )
        self.deliver(readers, frame, item)

    def beat(self) -> None:
        for client in self.clients:
            if client.streams:
                self.send(client, '{"channel":"heartbeat"}')


def _changes(old: Side, new: Side, whole: Side) -> Side:
    """Return the levels to send; a level that only left the window is not deleted."""
    changed = {tick: size for tick, size in new.items() if old.get(tick) != size}
    return changed | {tick: 0 for tick in old if tick not in whole}


def _levels(side: Side) -> Levels:
    return [(float(_price(tick)), float(_size(size))) for tick, size in side.items()]

"""A fake Coinbase Exchange feed, written from the protocol page alone."""

import json
from typing import Any

from faults.oracle.market import Market
from faults.oracle.sent import Item, Levels, now_us, rfc3339, size_of
from faults.oracle.venue import Client, Venue

_FREE = {"matches", "heartbeat", "ticker", "level2_batch", "status"}  # the other channels need a key
_SHOWN = {"level2_batch": "level2_50"}  # the name in acknowledgements
_MAKER = {"b": "sell", "s": "buy"}


def _price(tick: int) -> str:
    return f"{tick / 100:.2f}"


class Coinbase(Venue):
    """The public feed: matches, ticker with each match, level2_batch, heartbeat."""

    name = "coinbase"

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._sequence = 10_000_000
        self._last: dict[str, tuple[Item, str]] = {}  # the latest match of each product, and its frame

    def read(self, client: Client, request: dict[str, Any]) -> None:
        wanted: list[tuple[str, str]] = []
        for channel in request.get("channels", []):
            name = channel["name"] if isinstance(channel, dict) else channel
            products = channel.get("product_ids") if isinstance(channel, dict) else None
            wanted += [(name, product) for product in products or request.get("product_ids", [])]
        refused = [f"{name} {product}" for name, product in wanted if name not in _FREE or product not in self.markets]
        if refused or request.get("type") not in ("subscribe", "unsubscribe"):
            answer = {"type": "error", "message": "Failed to subscribe", "reason": ", ".join(refused) or "unknown type"}
            self.send(client, json.dumps(answer))
            return
        if request["type"] == "unsubscribe":
            client.streams -= set(wanted)
            self._acknowledge(client)
            return
        added = [stream for stream in dict.fromkeys(wanted) if stream not in client.streams]
        books = [stream for stream in added if stream[0] == "level2_batch"]
        client.streams |= set(added)
        self._acknowledge(client)
        client.streams -= set(books)  # the snapshot comes before every update
        for name, product in added:
            if name == "matches" and product in self._last:
                item, frame = self._last[product]
                self.send(client, frame.replace('"match"', '"last_match"', 1), [item])
        for stream in books:
            self._snapshot(client, self.markets[stream[1]])
            client.streams.add(stream)

    def _acknowledge(self, client: Client) -> None:
        names = sorted({name for name, _ in client.streams})
        channels = [
            {
                "name": _SHOWN.get(name, name),
                "product_ids": sorted(product for other, product in client.streams if other == name),
                "account_ids": None,
            }
            for name in names
        ]
        self.send(client, json.dumps({"type": "subscriptions", "channels": channels}))

    def trade(self, market: Market) -> None:
        market.trade_id += 1
        self._sequence += self.rng.randrange(1, 9)
        us, side = self.event_us("trade"), self.rng.choice("bs")
        number = self.log.number()
        price, size = _price(market.middle + self.rng.randrange(-3, 4)), size_of(number)
        if self.empty_size():
            size = "0.00000000"
        item = Item(
            number, self.name, market.symbol, "trade", "", market.trade_id, market.trade_id, now_us(), us,
            price=float(price), size=float(size), side=side,
        )  # fmt: skip
        frame = (
            f'{{"type":"match","trade_id":{market.trade_id},"maker_order_id":"m-{number}","taker_order_id":"t-{number}",'
            f'"side":"{_MAKER[side]}","size":"{size}","price":"{price}","product_id":"{market.symbol}",'
            f'"sequence":{self._sequence},"time":"{rfc3339(us)}"}}'
        )
        self._last[market.symbol] = item, frame
        self.publish("matches", market.symbol, frame, item)
        self._ticker(market, item)

    def quote(self, market: Market) -> None:
        self.trade(market)  # a ticker comes only with a trade

    def _ticker(self, market: Market, match: Item) -> None:
        number, us = self.log.number(), self.event_us("quote")
        bid, ask = market.near(market.bids, True, 1)[0], market.near(market.asks, False, 1)[0]
        sizes = size_of(number), size_of(market.asks[ask])
        item = Item(
            number, self.name, market.symbol, "quote", "", float(sizes[0]), self._sequence, now_us(), us,
            price=float(_price(bid)), size=float(sizes[0]), ask=float(_price(ask)), ask_size=float(sizes[1]),
        )  # fmt: skip
        frame = (
            f'{{"type":"ticker","sequence":{self._sequence},"product_id":"{market.symbol}","price":"{match.price}",'
            f'"open_24h":"1.00","volume_24h":"2.0","low_24h":"1.00","high_24h":"3.00","volume_30d":"9.0",'
            f'"best_bid":"{_price(bid)}","best_bid_size":"{sizes[0]}","best_ask":"{_price(ask)}",'
            f'"best_ask_size":"{sizes[1]}","side":"{"buy" if match.side == "b" else "sell"}","time":"{rfc3339(us)}",'
            f'"trade_id":{market.trade_id},"last_size":"{match.size}"}}'
        )
        self.publish("ticker", market.symbol, frame, item)

    def book(self, market: Market) -> None:
        number, us = self.log.number(), self.event_us("book")
        bids, asks = market.change_book(number)
        changes = [["buy", _price(tick), _size(size)] for tick, size in bids.items()]
        changes += [["sell", _price(tick), _size(size)] for tick, size in asks.items()]
        item = self._book_item(market, "d", number, us, bids, asks)
        self.rng.shuffle(changes)
        item.bids = [(float(price), float(size)) for side, price, size in changes if side == "buy"]
        item.asks = [(float(price), float(size)) for side, price, size in changes if side == "sell"]
        message = {"type": "l2update", "product_id": market.symbol, "changes": changes, "time": rfc3339(us)}
        self.publish("level2_batch", market.symbol, json.dumps(message, separators=(",", ":")), item)

    def _snapshot(self, client: Client, market: Market) -> None:
        self.book(market)  # so that no two snapshots are equal
        number = max([*market.bids.values(), *market.asks.values()])
        bids = {tick: market.bids[tick] for tick in sorted(market.bids, reverse=True)}
        asks = {tick: market.asks[tick] for tick in sorted(market.asks)}
        us = now_us()
        item = self._book_item(market, "s", number, us, bids, asks)
        item.number = self.log.number()
        self.log.add(item)
        message = {
            "type": "snapshot",
            "product_id": market.symbol,
            "bids": [[_price(tick), _size(size)] for tick, size in bids.items()],
            "asks": [[_price(tick), _size(size)] for tick, size in asks.items()],
            "time": rfc3339(us),
        }
        self.send(client, json.dumps(message, separators=(",", ":")), [item])

    def _book_item(
        self, market: Market, kind: str, number: int, us: int, bids: dict[int, int], asks: dict[int, int]
    ) -> Item:
        return Item(
            number, self.name, market.symbol, "book", kind, float(size_of(number)), None, now_us(), us,
            bids=_levels(bids), asks=_levels(asks),
        )  # fmt: skip

    def beat(self) -> None:
        for market in self.markets.values():
            message = {
                "type": "heartbeat",
                "sequence": self._sequence,
                "last_trade_id": market.trade_id,
                "product_id": market.symbol,
                "time": rfc3339(now_us()),
            }
            for client in self.clients:
                if ("heartbeat", market.symbol) in client.streams:
                    self.send(client, json.dumps(message))


def _size(number: int) -> str:
    return size_of(number) if number else "0.00000000"


def _levels(side: dict[int, int]) -> Levels:
    return [(float(_price(tick)), float(_size(size))) for tick, size in side.items()]

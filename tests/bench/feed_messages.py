"""The market data that every subject of the bench records, in the dialect that it reads.

One seeded market decides the order of the events: which kind comes next, of which symbol, at what price and of what
size. A dialect only prints them, so that two subjects with different dialects receive the same work. Of ten messages
three are trades, five are quotes and two change ten levels of a book, five on each side.

Book changes stay on their side of a fixed middle price, so that no book of a client ever crosses.

Sources: the public documentation of Binance spot (combined streams, "Individual Symbol Book Ticker Streams", "Diff.
Depth Stream") and of the Coinbase Exchange WebSocket feed (channels matches, ticker and level2_batch).
"""

import json
import random
from collections import Counter
from typing import ClassVar, Literal, NamedTuple, Protocol

from recorder.simulator.rfc3339 import rfc3339

Kind = Literal["trade", "quote", "book"]
Levels = list[tuple[str, str]]
"""(price, size) as they are printed; size 0 removes the level."""

MIX: dict[Kind, int] = {"trade": 3, "quote": 5, "book": 2}
LEVELS_A_SIDE = 5
SNAPSHOT_LEVELS = 1000
_NEAR = 400  # ticks from the middle within which a book changes
_SHUFFLED_TENS = 100


class Coin(NamedTuple):
    """One asset against the dollar."""

    name: str
    middle_ticks: int
    decimals: int  # of a price; a tick is one unit of the last one

    def price(self, ticks_from_middle: int) -> str:
        """Return a price as a venue prints it."""
        return f"{(self.middle_ticks + ticks_from_middle) / 10**self.decimals:.{self.decimals}f}"


COINS = (
    Coin("BTC", 4_325_012, 2),
    Coin("ETH", 229_040, 2),
    Coin("SOL", 98_700, 3),
    Coin("XRP", 61_200, 5),
    Coin("DOGE", 81_300, 6),
)


class Event(NamedTuple):
    """What happened in the market, before it is printed."""

    kind: Kind
    coin: int  # index into COINS
    number: int  # counts from 1 for each kind and coin
    price: str  # of a trade, else the best bid
    size: str
    ask: str
    ask_size: str
    taker_buys: bool
    bids: Levels
    asks: Levels


class Market:
    """An endless, repeatable sequence of events."""

    def __init__(self, seed: int = 7) -> None:
        self._rng = random.Random(seed)
        kinds = [kind for kind, weight in MIX.items() for _ in range(weight * _SHUFFLED_TENS)]
        self._rng.shuffle(kinds)
        self._kinds = kinds
        self._position = 0
        self._numbers: Counter[tuple[Kind, int]] = Counter()
        self.counts: Counter[Kind] = Counter()

    def next(self) -> Event:
        """Return the next event."""
        rng = self._rng
        kind = self._kinds[self._position % len(self._kinds)]
        self._position += 1
        index = rng.randrange(len(COINS))
        self.counts[kind] += 1
        self._numbers[kind, index] += 1
        coin, number = COINS[index], self._numbers[kind, index]
        near = rng.randrange(-_NEAR, _NEAR)
        bids: Levels = []
        asks: Levels = []
        if kind == "book":
            bids = [(coin.price(-rng.randint(1, _NEAR)), self._change()) for _ in range(LEVELS_A_SIDE)]
            asks = [(coin.price(rng.randint(1, _NEAR)), self._change()) for _ in range(LEVELS_A_SIDE)]
        return Event(
            kind, index, number, coin.price(near), self._size(), coin.price(near + 1), self._size(), rng.random() < 0.5,
            bids, asks,
        )  # fmt: skip

    def number(self, kind: Kind, coin: int) -> int:
        """Return how many events of a kind a coin has had."""
        return self._numbers[kind, coin]

    def _size(self) -> str:
        return f"{self._rng.random() * 3 + 1e-6:.8f}"

    def _change(self) -> str:
        return "0.00000000" if self._rng.random() < 0.2 else self._size()


def snapshot(coin: Coin) -> tuple[Levels, Levels]:
    """Return the bids and asks of a full book, best first."""
    bids = [(coin.price(-ticks), "1.25000000") for ticks in range(1, SNAPSHOT_LEVELS + 1)]
    asks = [(coin.price(ticks), "0.75000000") for ticks in range(1, SNAPSHOT_LEVELS + 1)]
    return bids, asks


class Dialect(Protocol):
    """How one venue prints the events."""

    name: str

    def symbols(self) -> list[str]:
        """Return the venue's name of each coin."""
        ...

    def message(self, event: Event, time_ns: int) -> str:
        """Return the text of one message, stamped with a time."""
        ...


class Binance:
    """Binance spot, combined streams. A depth update counts three steps of the book."""

    name: ClassVar[str] = "binance"
    FIRST_TRADE_ID = 1_000_000
    FIRST_UPDATE_ID = 5_000_000
    UPDATES_A_MESSAGE = 3

    def symbols(self) -> list[str]:
        return [f"{coin.name}USDT" for coin in COINS]

    def message(self, event: Event, time_ns: int) -> str:
        symbol, time_ms = f"{COINS[event.coin].name}USDT", time_ns // 1_000_000
        if event.kind == "trade":
            number = self.FIRST_TRADE_ID + event.number
            maker = "false" if event.taker_buys else "true"
            return (
                f'{{"stream":"{symbol.lower()}@aggTrade","data":{{"e":"aggTrade","E":{time_ms},"s":"{symbol}",'
                f'"a":{number},"p":"{event.price}","q":"{event.size}","f":{number},"l":{number},"T":{time_ms},'
                f'"m":{maker},"M":true}}}}'
            )
        if event.kind == "quote":
            return (
                f'{{"stream":"{symbol.lower()}@bookTicker","data":{{"u":{400_900_000 + event.number},"s":"{symbol}",'
                f'"b":"{event.price}","B":"{event.size}","a":"{event.ask}","A":"{event.ask_size}"}}}}'
            )
        last = self.FIRST_UPDATE_ID + event.number * self.UPDATES_A_MESSAGE
        return (
            f'{{"stream":"{symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate","E":{time_ms},"s":"{symbol}",'
            f'"U":{last - self.UPDATES_A_MESSAGE + 1},"u":{last},"b":{_pairs(event.bids)},"a":{_pairs(event.asks)}}}}}'
        )

    def exchange_info(self) -> bytes:
        """Return the list of symbols, as REST gives it."""
        listed = [
            {
                "symbol": f"{coin.name}USDT",
                "status": "TRADING",
                "baseAsset": coin.name,
                "quoteAsset": "USDT",
                "filters": [{"filterType": "PRICE_FILTER", "tickSize": f"{10**-coin.decimals:.8f}"}],
            }
            for coin in COINS
        ]
        return json.dumps({"symbols": listed}).encode()

    def depth(self, symbol: str, books_before: int) -> bytes:
        """Return a book, as REST gives it.

        Args:
            symbol: Whose book.
            books_before: Depth updates that this book contains.
        """
        bids, asks = snapshot(COINS[self.symbols().index(symbol)])
        last = self.FIRST_UPDATE_ID + books_before * self.UPDATES_A_MESSAGE
        return json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}).encode()


class CoinbaseExchange:
    """Coinbase Exchange, the public feed."""

    name: ClassVar[str] = "coinbase"
    FIRST_TRADE_ID = 1_000_000

    def symbols(self) -> list[str]:
        return [f"{coin.name}-USD" for coin in COINS]

    def message(self, event: Event, time_ns: int) -> str:
        symbol, time = f"{COINS[event.coin].name}-USD", rfc3339(time_ns)
        if event.kind == "trade":
            maker = "sell" if event.taker_buys else "buy"
            return (
                f'{{"type":"match","trade_id":{self.FIRST_TRADE_ID + event.number},'
                '"maker_order_id":"5d1f5bd6-9f0c-4c4c-b1b4-6c9b7f2a3e11",'
                '"taker_order_id":"8a0ddf0a-3b63-4f2b-9f0d-2f1f6f3f9c42",'
                f'"side":"{maker}","size":"{event.size}","price":"{event.price}","product_id":"{symbol}",'
                f'"sequence":{9_000_000 + event.number},"time":"{time}"}}'
            )
        if event.kind == "quote":
            taker = "buy" if event.taker_buys else "sell"
            return (
                f'{{"type":"ticker","sequence":{9_000_000 + event.number},"product_id":"{symbol}",'
                f'"price":"{event.price}","open_24h":"{event.price}","volume_24h":"10213.52837410",'
                f'"low_24h":"{event.price}","high_24h":"{event.ask}","volume_30d":"324018.55271094",'
                f'"best_bid":"{event.price}","best_bid_size":"{event.size}","best_ask":"{event.ask}",'
                f'"best_ask_size":"{event.ask_size}","side":"{taker}","time":"{time}","trade_id":{event.number},'
                f'"last_size":"{event.size}"}}'
            )
        changes = [f'["buy","{price}","{size}"]' for price, size in event.bids]
        changes += [f'["sell","{price}","{size}"]' for price, size in event.asks]
        return f'{{"type":"l2update","product_id":"{symbol}","changes":[{",".join(changes)}],"time":"{time}"}}'

    def snapshot(self, symbol: str, time_ns: int) -> bytes:
        """Return the message that begins a book."""
        bids, asks = snapshot(COINS[self.symbols().index(symbol)])
        book = {"type": "snapshot", "product_id": symbol, "asks": asks, "bids": bids, "time": rfc3339(time_ns)}
        return json.dumps(book).encode()

    def subscriptions(self, channels: dict[str, list[str]]) -> bytes:
        """Return the complete list of what a connection receives."""
        listed = [{"name": name, "product_ids": symbols} for name, symbols in channels.items()]
        return json.dumps({"type": "subscriptions", "channels": listed}).encode()


def _pairs(levels: Levels) -> str:
    return "[" + ",".join(f'["{price}","{size}"]' for price, size in levels) + "]"


DIALECTS: dict[str, type[Binance] | type[CoinbaseExchange]] = {
    Binance.name: Binance,
    CoinbaseExchange.name: CoinbaseExchange,
}

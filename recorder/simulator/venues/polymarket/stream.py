"""The simulated market channel of Polymarket, and the parts of Gamma, CLOB and Data API that a recorder uses.

The messages are as captured (tests/captures/polymarket). A symbol is a token, numbers are strings without trailing
zeros, times are milliseconds, and books have the worst price first. Nothing is acknowledged, refused, numbered or
replayed.
"""

import random
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, get_args

import msgspec

from recorder.identity import stable_hash64
from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.faults import Rule
from recorder.simulator.market import Change, Market, Spec, Step, SymbolMarket, Trade
from recorder.simulator.venue import FakeVenue
from recorder.simulator.venues.polymarket import wire as payloads
from recorder.simulator.venues.polymarket.market import ONE, OutcomeMarket, Print, price_text, size_text, token_id
from recorder.simulator.venues.polymarket.polled import PolledMarkets
from recorder.simulator.venues.polymarket.rest import answer
from recorder.simulator.venues.polymarket.wire import SIDE, Shape
from recorder.simulator.wire import Request, Response
from recorder.truth import BookItem, Pairs, QuoteItem, TradeItem, TruthLog

_CHANNELS = ("trade", "quote", "book")
_TOKENS_CARRIED = 500
_PING_WITHIN_S = 60.0  # the documentation says "after a while"
_PRINTS_REMEMBERED = 8192
_CENT = 100
_FINE = 10  # the tick outside of 0.04 to 0.96
_FINE_BEYOND = (400, 9600)

Key = tuple[str, int, int, int, str, str]


class Polymarket(FakeVenue):
    """The public market channel; a market has two tokens, and each is a symbol."""

    name: ClassVar[str] = "polymarket"
    market_kind: ClassVar[type[SymbolMarket]] = OutcomeMarket
    specs: ClassVar[tuple[Spec, ...]] = (
        Spec("bitcoin-above-100k-on-december-31", "Yes/No", 0.42, 4, 2, 180.0, tick=_CENT, weight=4),
        Spec("btc-updown-5m-1795276800", "Up/Down", 0.5, 4, 2, 60.0, tick=_CENT, weight=3),
        Spec("ethereum-above-4k-on-december-31", "Yes/No", 0.31, 4, 2, 220.0, tick=_CENT, weight=2),
        Spec("fed-decision-in-december-no-change", "Yes/No", 0.66, 4, 2, 2500.0, tick=_CENT),
        Spec("solana-all-time-high-by-december-31", "Yes/No", 0.118, 4, 2, 400.0, tick=_FINE),
        Spec("us-recession-in-2027", "Yes/No", 0.278, 4, 2, 900.0, tick=_FINE),
        Spec("nvda-above-240-on-january-30-2027", "Yes/No", 0.55, 4, 2, 0.0, tick=_CENT),  # not open yet
    )

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        self.shape_of_changes: Shape = "price_changes"
        self._hashes = random.Random(market.seed)
        self._named_tokens: dict[int, set[str]] = {}  # tokens that it named, known or not, by connection
        self._featured: set[int] = set()  # connections that want news
        self._silent: set[int] = set()
        self._prints: dict[int, OrderedDict[Key, int]] = {}  # how often each print was sent, by connection
        self._pinged_s: dict[int, float] = {}
        self._pings: set[int] = set()
        self._touches: dict[str, tuple[int, int]] = {}  # the last that were sent, by first token
        self.markets = [one for one in market.symbols if isinstance(one, OutcomeMarket)]
        self.polled: PolledMarkets | None = None  # the markets of the simulated services
        self._market_of = {token: one for one in self.markets for token in one.tokens}
        super().__init__(market, truth, rate=rate, now_ns=now_ns)

    def listed(self) -> dict[str, SymbolMarket]:
        """Return both tokens of every market."""
        listed: dict[str, SymbolMarket] = {}
        for one in self.markets:
            listed[one.tokens[0]] = one
            listed[one.tokens[1]] = one.other
        return listed

    def format_symbol(self, spec: Spec) -> str:
        """Return the token of the first outcome."""
        return token_id(spec.base, spec.quote.split("/")[0])

    def begin(self, past: Mapping[str, Sequence[TradeItem]]) -> None:
        """Begin with an invented past: a market goes on with the same prints in the services, and has no ids."""
        super().begin({})

    def restart_ids(self, symbol: str, first: int, now_ns: int) -> None:
        """Do nothing: trades have no ids."""

    # ---- subscriptions

    def on_open(self, connection: Connection, now_ns: int) -> None:
        """Send nothing."""
        self._named_tokens[connection.number] = set()
        self._prints[connection.number] = OrderedDict()
        self._pinged_s[connection.number] = connection.opened_s

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """Remove a client."""
        super().closed(connection, why, now_ns)
        self._named_tokens.pop(connection.number, None)
        self._prints.pop(connection.number, None)
        self._pinged_s.pop(connection.number, None)
        self._featured.discard(connection.number)
        self._silent.discard(connection.number)
        self._pings.discard(connection.number)

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Handle `PING` and subscriptions; any other message gets no answer."""
        if payload == b"PING":
            self._pings.add(connection.number)
            if connection.number not in self._silent:
                connection.text(b"PONG")
            return
        try:
            command = msgspec.json.decode(payload, type=_Command)
        except msgspec.DecodeError:
            return
        if command.operation == "unsubscribe":
            self._unsubscribe(connection, command.assets_ids, now_ns)
        elif command.operation == "subscribe" or command.type == "market":
            self._subscribe(connection, command, now_ns)

    def _subscribe(self, connection: Connection, command: "_Command", now_ns: int) -> None:
        mine = self._named_tokens[connection.number]
        fresh = [token for token in dict.fromkeys(command.assets_ids) if token not in mine]
        mine.update(fresh)
        if command.custom_feature_enabled:
            self._featured.add(connection.number)
        if len(mine) > _TOKENS_CARRIED:
            self._fall_silent(connection, now_ns)
        if connection.number in self._silent:
            return
        channels = [one for one in _CHANNELS if one != "quote" or command.custom_feature_enabled]
        dumped = [token for token in fresh if self._begin(connection, token, channels, now_ns)]
        if dumped and command.initial_dump:
            self._books(connection, dumped, now_ns)
        elif any(token in self.symbols for token in mine) and not any(token in self.symbols for token in fresh):
            connection.text(b"[]")
        for token in fresh:
            if ("trade", token, "") in self.topics and token in self.symbols:
                self.republish(connection, token)

    def _fall_silent(self, connection: Connection, now_ns: int) -> None:
        """Send nothing more on a connection, without an error or a close, as the venue does above 500 tokens."""
        self._silent.add(connection.number)
        self._unsubscribe(connection, list(self._named_tokens[connection.number]), now_ns)

    def _begin(self, connection: Connection, token: str, channels: Sequence[str], now_ns: int) -> bool:
        """Subscribe to a token if it exists; return whether its book is to follow."""
        market = self._market_of.get(token)
        if market is None and self._condition(token, now_ns) is None:
            return False
        if any(self.faults.use("refuse", channel, token) for channel in _CHANNELS):
            self._named_tokens[connection.number].discard(token)
            for channel in channels:
                self.refuse(connection, channel, token, "not answered", now_ns)
            return False
        for channel in channels:
            self.join(connection, (channel, token, ""), now_ns)
        if self.faults.use("bookless", None, token) is not None:
            return False
        if market is None:
            return self.polled is not None and self.polled.book(token, now_ns) is not None
        return market.open

    def _condition(self, token: str, now_ns: int) -> str | None:
        """Return the condition id of a token; None where neither the stream nor the services have it."""
        market = self._market_of.get(token)
        if market is not None:
            return market.condition
        return self.polled.condition(token, now_ns) if self.polled is not None else None

    def _unsubscribe(self, connection: Connection, tokens: Iterable[str], now_ns: int) -> None:
        for token in tokens:
            self._named_tokens[connection.number].discard(token)
            for channel in _CHANNELS:
                self.leave(connection, (channel, token, ""), now_ns)

    # ---- data

    def publish_step(self, symbol: str, step: Step) -> None:
        """Send the changes of both tokens, the prints, the best prices, and after prints the full books."""
        market = step.market
        if not isinstance(market, OutcomeMarket) or not market.open:
            return
        ts_ns = step.ts_ns // 1_000_000 * 1_000_000
        if step.bids or step.asks:
            self._changes(market, step, ts_ns)
        if step.trades:
            token = _print(step.trades[0]).token
            self.publish_trades(token, self.apply_faults(token, step.trades))
        if step.touched:
            self._best_prices(market, ts_ns)
        if step.trades:
            for token in market.tokens:
                if ("book", token, "") in self.topics:
                    self._book(market, token, ts_ns)

    def trade_item(self, symbol: str, trade: Trade, again: bool = False, held: str | None = None) -> TradeItem:
        """Return a print in the form of the truth log."""
        return self._trade_item(_print(trade), _print(trade).nth, again, held)

    def _trade_item(self, one: Print, nth: int, again: bool, held: str | None = None) -> TradeItem:
        # polymarket.md defines the key: token, time, price, size, side, transaction hash, number of such prints so far.
        price, size = price_text(one.price), size_text(one.size)
        key = f"{one.token} {one.ts_ns // 1_000_000} {float(price)!r} {float(size)!r} {SIDE[one.taker]} {one.tx} {nth}"
        return TradeItem(0, one.token, stable_hash64(key), one.ts_ns, price, size, one.taker, again, held)

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Send one `last_trade_price` per print. Equal ones differ by their order on a connection."""
        topic = ("trade", symbol, "")
        for trade, again in trades:
            one = _print(trade)
            targets = [only] if only is not None else list(self.topics.get(topic, {}).values())
            counts = [self._count(connection, one) for connection in targets]
            payload = payloads.last_trade(one, self._condition(one.token, one.ts_ns) or "")
            if len(set(counts)) <= 1:
                nth = counts[0] if counts else one.nth
                self.send(topic, [self._trade_item(one, nth, again)], payload, only)
                continue
            for connection, nth in zip(targets, counts, strict=True):
                self.send(topic, [self._trade_item(one, nth, again)], payload, connection)

    def _count(self, connection: Connection, one: Print) -> int:
        prints = self._prints[connection.number]
        key = (one.token, one.ts_ns, one.price, one.size, one.taker, one.tx)
        prints[key] = count = prints.pop(key, 0) + 1
        if len(prints) > _PRINTS_REMEMBERED:
            prints.popitem(last=False)
        return count

    def _changes(self, market: OutcomeMarket, step: Step, ts_ns: int) -> None:
        tokens = [token for token in market.tokens if ("book", token, "") in self.topics]
        if not tokens:
            return
        changes = {
            market.tokens[0]: (_pairs(step.bids, mirror=False), _pairs(step.asks, mirror=False)),
            market.tokens[1]: (_pairs(step.asks, mirror=True), _pairs(step.bids, mirror=True)),
        }
        items = {token: BookItem(0, token, ts_ns, step.ts_ns, False, *changes[token]) for token in market.tokens}
        shown = dict.fromkeys(market.tokens)
        if self.faults.rules:
            for token in market.tokens:
                items[token].held = self.faults.withheld("book", token)
                if (
                    items[token].held == "skip"
                ):  # a skip withholds the message; a freeze withholds the changes of its token
                    shown.clear()
                    for item in items.values():
                        item.held = "skip"
                    break
                if items[token].held is not None:
                    del shown[token]
            for token in tokens:
                if items[token].held is not None:
                    self.truth.item(items[token])
        if shown:
            self._send_changes(market, {token: items[token] for token in shown}, ts_ns)

    def _send_changes(self, market: OutcomeMarket, items: dict[str, BookItem], ts_ns: int) -> None:
        if self.shape_of_changes == "price_changes":
            self._fan_out(items, payloads.price_changes(items, market, ts_ns, self._hashes))
            return
        for token, item in items.items():
            if ("book", token, "") in self.topics:  # the earlier shapes carry only the changes of a subscribed token
                messages = payloads.old_changes(item, self.shape_of_changes, market.condition, ts_ns, self._hashes)
                for one, payload in messages:
                    self._fan_out({token: one}, payload)

    def _fan_out(self, items: dict[str, BookItem], payload: bytes) -> None:
        """Send a message about tokens to all clients that subscribed to at least one of them.

        A client may store data of a token to which it is not subscribed yet, and need not: its request may be on the
        way.
        """
        groups: dict[tuple[str, ...], dict[int, Connection]] = {}
        for token in items:
            for number, connection in self.topics.get(("book", token, ""), {}).items():
                subscribed = tuple(one for one in items if number in self.topics.get(("book", one, ""), {}))
                groups.setdefault(subscribed, {})[number] = connection
        repeats, held = 1, None
        if self.faults.rules:
            rules = [rule for token in items if (rule := self.faults.use("replace", "book", token))]
            if rules:
                payload, held = rules[0].text.encode("latin-1"), "replace"
            elif any(self.faults.use("repeat", "book", token) for token in items):
                repeats = 2
        framed = wire.frame(payload)
        for repeat in range(repeats):
            included: set[str] = set()
            for subscribed, group in groups.items():
                for token, item in items.items():
                    item.again, item.held = repeat > 0 or token not in subscribed or token in included, held
                included.update(subscribed)
                numbers = self.log(list(items.values()))
                self.sent_messages += len(group)
                for connection in group.values():
                    connection.text(payload, framed, numbers if held is None else None)

    def _best_prices(self, market: OutcomeMarket, ts_ns: int) -> None:
        touch = market.touch(market.tokens[0])
        if self._touches.get(market.tokens[0]) == touch:
            return  # sizes are not published
        self._touches[market.tokens[0]] = touch
        if market.spec.tick == _CENT and not _FINE_BEYOND[0] <= touch[0] < touch[1] <= _FINE_BEYOND[1]:
            self._tick_size(market, _FINE, ts_ns)
        for token in market.tokens:
            topic = ("quote", token, "")
            if topic not in self.topics:
                continue
            bid, ask = market.touch(token)
            held = self.faults.withheld("quote", token)
            item = QuoteItem(0, token, ts_ns, price_text(bid), None, price_text(ask), None, held=held)
            if item.held is not None:
                self.truth.item(item)
                continue
            self.send(topic, [item], payloads.best_bid_ask(item, market.condition, ask - bid, ts_ns))

    def _book(self, market: OutcomeMarket, token: str, ts_ns: int) -> None:
        item, payload = self._snapshot(market, token, ts_ns, ts_ns)
        item.held = self.faults.withheld("book", token)
        if item.held is not None:
            self.truth.item(item)
        else:
            self.send(("book", token, ""), [item], payload.encode())

    def _books(self, connection: Connection, tokens: Sequence[str], now_ns: int) -> None:
        """Send all books of a subscription in one frame."""
        items: list[BookItem] = []
        payloads: list[str] = []
        for token in tokens:
            market = self._market_of.get(token)
            if market is not None:
                item, payload = self._snapshot(market, token, now_ns // 1_000_000 * 1_000_000, now_ns)
            elif self.polled is not None and (found := self.polled.book(token, now_ns)) is not None:
                item, payload = found, self._polled_payload(found, now_ns)
            else:
                continue
            items.append(item)
            payloads.append(payload)
        self.send(("book", tokens[0], ""), items, f"[{','.join(payloads)}]".encode(), connection)

    def _snapshot(self, market: OutcomeMarket, token: str, ts_ns: int, made_ns: int) -> tuple[BookItem, str]:
        bids, asks = (
            [(price_text(price), size_text(size)) for price, size in reversed(levels)]
            for levels in market.levels(token)
        )
        item = BookItem(0, token, ts_ns, made_ns, True, bids, asks)
        return item, payloads.book(item, market.condition, ts_ns)

    def _polled_payload(self, item: BookItem, now_ns: int) -> str:
        return payloads.book(item, self._condition(item.s, now_ns) or "", item.ts or 0)

    def _publish_polled(self, now_ns: int) -> None:
        """Send the books that have changed and the new trades of the markets of the services."""
        if self.polled is None:
            return
        tokens = {topic[1] for topic in self.topics if topic[1] not in self._market_of}
        for item in self.polled.changed(sorted(tokens), now_ns):
            item.held = self.faults.withheld("book", item.s)
            if item.held is not None:
                self.truth.item(item)
            else:
                self.send(("book", item.s, ""), [item], self._polled_payload(item, now_ns).encode())
        for one in self.polled.trades(tokens, now_ns):
            self.publish_trades(one.token, self.apply_faults(one.token, [one]))

    def on_second(self, now_ns: int, now_s: float) -> None:
        """Close connections that do not send the text PING, and send what is new in the markets of the services."""
        self._publish_polled(now_ns)
        for number, connection in self.clients.items():
            if number in self._pings:
                self._pinged_s[number] = now_s
            elif now_s - self._pinged_s[number] > _PING_WITHIN_S:
                connection.ending = True
        self._pings.clear()

    # ---- faults and news of its own

    def do_shape(self, shape: Shape = "changes") -> dict[str, object]:
        """Send book changes as today (`price_changes`), as before 2025-09-15 (`changes`), or one per message."""
        if shape not in get_args(Shape):
            raise ValueError(f"shape is one of {', '.join(get_args(Shape))}, not {shape!r}")
        self.shape_of_changes = shape
        return {}

    def do_silence(self, connection: int | None = None) -> dict[str, object]:
        """Send nothing more on the open connections, not even PONG, without closing them."""
        chosen = [one for one in self.clients.values() if connection in (None, one.number)]
        for one in chosen:
            self._fall_silent(one, time.time_ns())
        return {"connections": len(chosen)}

    def do_bookless(self, symbol: str, times: int = 1) -> dict[str, object]:
        """Send no first book at the next subscriptions of a token, but all its other data."""
        self._market_of_token(symbol)
        self.faults.add(Rule("bookless", symbol, None, int(times)))
        return {}

    def do_equal_prints(self, times: int = 1, symbol: str | None = None) -> dict[str, object]:
        """Send the next prints of a market (of all, if no token is given) as two equal ones each."""
        for market in self.markets if symbol is None else [self._market_of_token(symbol)]:
            market.split += int(times)
        return {}

    def do_tick_size(self, symbol: str, tick: str = "0.001") -> dict[str, object]:
        """Change the tick size of a market: send `tick_size_change` for both tokens, then their books."""
        self._tick_size(
            self._market_of_token(symbol), round(float(tick) * ONE), time.time_ns() // 1_000_000 * 1_000_000
        )
        return {}

    def _tick_size(self, market: OutcomeMarket, tick: int, ts_ns: int) -> None:
        if not 0 < tick < ONE // 2:
            raise ValueError("a tick is between 0.0001 and 0.5")
        old = market.spec.tick
        market.set_tick(tick)
        for token in market.tokens:
            payload = payloads.tick_size_change(market, token, old, tick, ts_ns)
            for connection in self.topics.get(("book", token, ""), {}).values():
                connection.text(payload)
            if ("book", token, "") in self.topics:
                self._book(market, token, ts_ns)

    def do_resolve(self, symbol: str) -> dict[str, object]:
        """End the market of this token, which wins: send `market_resolved` to its subscribers, and no data after it."""
        market = self._market_of_token(symbol)
        market.resolve(symbol)
        members = {n for token in market.tokens for n in self.topics.get(("trade", token, ""), {})} & self._featured
        for number in members:
            self.clients[number].text(payloads.market_resolved(market, symbol, time.time_ns()))
        return {"connections": len(members)}

    def do_new_market(self) -> dict[str, object]:
        """Open the first market that is not open yet: send `new_market` to all clients that want news."""
        market = next((one for one in self.markets if not one.open and one.winner is None), None)
        if market is None:
            raise ValueError("all markets are open already")
        market.begin()
        for number in self._featured - self._silent:
            self.clients[number].text(payloads.new_market(market, time.time_ns()))
        return {"slug": market.spec.base, "tokens": market.tokens}

    def _market_of_token(self, token: str) -> OutcomeMarket:
        market = self._market_of.get(token)
        if market is None:
            raise ValueError(f"no token {token!r}")
        return market

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer a request to Gamma, CLOB or Data API."""
        return answer(self.markets, request, now_ns)


class _Command(msgspec.Struct):
    type: str = ""
    operation: str = ""
    assets_ids: list[str] = []
    initial_dump: bool = True
    custom_feature_enabled: bool = False


def _print(trade: Trade) -> Print:
    if not isinstance(trade, Print):
        raise TypeError("a trade of another venue's market")
    return trade


def _pairs(changes: Sequence[Change], *, mirror: bool) -> Pairs:
    return [(price_text(ONE - one.price if mirror else one.price), size_text(one.new)) for one in changes]


def demo_tokens() -> list[str]:
    """Return both tokens of every market that is open from the start, for a profile."""
    return [
        token_id(spec.base, outcome)
        for spec in Polymarket.specs
        if spec.usual_size
        for outcome in spec.quote.split("/")
    ]

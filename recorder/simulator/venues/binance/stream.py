"""The simulated Binance spot: combined and raw streams of trades, bookTicker and depth@100ms, and the public REST.

The messages are as captured in 2024. Prices and sizes are strings of eight decimals, times are milliseconds, and a
bookTicker has no time. The first book comes by REST. An unknown stream is accepted and never sends.
"""

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from recorder.errors import ConfigError
from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.faults import Rule
from recorder.simulator.market import Market, Spec, Step, Trade
from recorder.simulator.venue import FakeVenue, Framed, Topic
from recorder.simulator.venues.binance.feed import Feed, rows
from recorder.simulator.venues.binance.rest import Budget, answer, depth_limit, eight
from recorder.simulator.wire import Request, Response
from recorder.truth import BookItem, Closed, Opened, Pairs, QuoteItem, Sent, TradeItem, TruthLog

_CHANNELS = {"trade": "trade", "bookTicker": "quote", "depth@100ms": "book"}
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_BATCH_S = 0.1
_STREAMS = 1024
_FRAMES = 5  # most frames of a client in a second, pings and pongs included
_PING_S = 20.0
_PONG_S = 60.0
_SESSION_S = 86_400.0
_JOINED_S = 3.0  # a client has joined a snapshot with its updates by then


class Binance(FakeVenue):
    """Binance spot."""

    name: ClassVar[str] = "binance"
    specs: ClassVar[tuple[Spec, ...]] = (
        Spec("BTC", "USDT", 77571.37, 2, 5, 0.05, weight=4),
        Spec("ETH", "USDT", 3120.51, 2, 4, 0.8, weight=3),
        Spec("SOL", "USDT", 184.25, 2, 3, 12.0, weight=2),
        Spec("XRP", "USDT", 1.9317, 4, 1, 900.0),
        Spec("DOGE", "USDT", 0.18351, 5, 0, 8000.0),
        Spec("ETH", "BTC", 0.04023, 5, 4, 0.9),
    )

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        super().__init__(market, truth, rate=rate, now_ns=now_ns)
        # The first id follows from the time, so that the ids of a restarted simulator do not fall.
        self._feeds = {symbol: Feed(symbol, one, now_ns // 100_000) for symbol, one in self.symbols.items()}
        self._sessions: dict[int, _Session] = {}
        self._budget = Budget()
        self._answers = 0  # snapshots served; in the truth log each is a connection with a negative number
        self._now_ns = now_ns
        self._now_s = 0.0
        self._flushed_s = 0.0

    def format_symbol(self, spec: Spec) -> str:
        """Return a name like BTCUSDT."""
        return f"{spec.base}{spec.quote}"

    def trade_item(self, symbol: str, trade: Trade, again: bool = False, held: str | None = None) -> TradeItem:
        """Return a print in the form of the truth log, with eight decimals and milliseconds."""
        spec = self.symbols[symbol].spec
        ts_ns = trade.ts_ns // 1_000_000 * 1_000_000
        price, size = eight(trade.price, spec.price_decimals), eight(trade.size, spec.size_decimals)
        return TradeItem(0, symbol, trade.id, ts_ns, price, size, trade.taker, again, held)

    # ---- connections

    def handshake(self, request: Request) -> Response | None:
        """Accept `/stream` and `/ws`; an address without a path means `/stream`."""
        first = request.path.strip("/").split("/")[0]
        return super().handshake(request) or (None if first in ("", "stream", "ws") else Response(404))

    def opened(self, connection: Connection, request: Request, now_ns: int) -> None:
        """Add a client, with the streams that its address names."""
        super().opened(connection, request, now_ns)
        first, _, rest = request.path.strip("/").partition("/")
        if first == "ws":
            self._sessions[connection.number].combined = False
        names = rest if first == "ws" else request.query.get("streams", "")
        for name in names.split("/") if names else ():
            self._begin(connection, name, now_ns)

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """Remove a client."""
        super().closed(connection, why, now_ns)
        self._sessions.pop(connection.number, None)

    def on_open(self, connection: Connection, now_ns: int) -> None:
        """Send nothing."""
        self._sessions[connection.number] = _Session(ends_s=connection.opened_s + _SESSION_S)

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Handle SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS and the property `combined`."""
        if self._too_many(connection, self._sessions[connection.number], 1, now_ns):
            return
        try:
            msgspec.json.decode(payload)
        except msgspec.DecodeError:
            self._error(connection, 3, "Invalid JSON: expected value at line 1 column 1", None)
            return
        try:
            command = msgspec.json.decode(payload, type=_Command)
        except msgspec.ValidationError as error:
            what = "request ID must be an unsigned integer" if "$.id" in str(error) else f"{error}".lower()
            self._error(connection, 2, f"Invalid request: {what}", None)
            return
        if command.method not in _METHODS:
            known = ", ".join(f"`{name}`" for name in _METHODS)
            why = f"Invalid request: unknown variant `{command.method}`, expected one of {known} at line 1 column 28"
            self._error(connection, 2, why, command.id)
        elif command.method.endswith("_PROPERTY"):
            self._property(connection, command)
        elif command.method == "LIST_SUBSCRIPTIONS":
            self._result(connection, list(self._sessions[connection.number].names), command.id)
        elif not all(isinstance(name, str) for name in command.params):
            self._error(connection, 2, "Invalid request: invalid type: expected a string", command.id)
        else:
            self._streams(connection, command, [str(name) for name in command.params], now_ns)

    def _streams(self, connection: Connection, command: "_Command", wanted: list[str], now_ns: int) -> None:
        names = self._sessions[connection.number].names
        if command.method == "UNSUBSCRIBE":
            for name in wanted:
                names.pop(name, None)
                topic = self._topic(name)
                if topic is not None:
                    self.leave(connection, topic, now_ns)
            self._result(connection, None, command.id)
            return
        topics = {name: self._topic(name) for name in wanted}
        for topic in topics.values():
            rule = self.faults.use("refuse", topic[0], topic[1]) if topic is not None else None
            if rule is not None:
                why = rule.text or "Invalid request: refused"
                for one in topics.values():
                    if one is not None:
                        self.refuse(connection, one[0], one[1], why, now_ns)
                self._error(connection, 2, why, command.id)
                return
        if len(names.keys() | topics.keys()) > _STREAMS:
            connection.goodbye(1008, "Too many streams")
            return
        self._result(connection, None, command.id)
        for name in wanted:
            self._begin(connection, name, now_ns)

    def _begin(self, connection: Connection, name: str, now_ns: int) -> None:
        names = self._sessions[connection.number].names
        topic = self._topic(name)
        fresh = name not in names
        names[name] = None  # an unknown stream is accepted and listed too, and never sends
        if topic is None or not fresh:
            return
        if topic[0] == "book" and topic not in self.topics:
            self._feeds[topic[1]].begin()
        self.join(connection, topic, now_ns)
        if topic[0] == "trade":
            self.republish(connection, topic[1])

    def _topic(self, name: str) -> Topic | None:
        symbol, _, channel = name.partition("@")
        if symbol != symbol.lower() or symbol.upper() not in self.symbols or channel not in _CHANNELS:
            return None
        return _CHANNELS[channel], symbol.upper(), ""

    def _property(self, connection: Connection, command: "_Command") -> None:
        match command.method, command.params:
            case "GET_PROPERTY", ["combined"]:
                self._result(connection, self._sessions[connection.number].combined, command.id)
            case "SET_PROPERTY", ["combined", bool(combined)]:
                self._sessions[connection.number].combined = combined
                self._result(connection, None, command.id)
            case "SET_PROPERTY", ["combined", *_]:
                self._error(connection, 1, "Invalid value type: expected Boolean", command.id)
            case _:
                self._error(connection, 0, "Unknown property", command.id)

    def _result(self, connection: Connection, result: list[str] | bool | None, number: int | str | None) -> None:
        connection.text(msgspec.json.encode({"result": result, "id": number}))

    def _error(self, connection: Connection, code: int, why: str, number: int | str | None) -> None:
        body: dict[str, object] = {"error": {"code": code, "msg": why}}
        connection.text(msgspec.json.encode(body | ({"id": number} if number is not None else {})))

    def _too_many(self, connection: Connection, session: "_Session", texts: int, now_ns: int) -> bool:
        """Close a client that sent too many frames within a second, pings and pongs included."""
        sent = session.sent
        # A client must answer the pings between fragments, and is not punished for the extra pongs.
        controls = 0 if connection.cut_pings else connection.controls - session.controls
        sent.extend([now_ns] * (texts + controls))
        session.controls = connection.controls
        while sent and sent[0] <= now_ns - 1_000_000_000:
            sent.popleft()
        if len(sent) > _FRAMES:
            connection.goodbye(1008, "Too many requests")
        return len(sent) > _FRAMES

    def on_second(self, now_ns: int, now_s: float) -> None:
        """Send pings, and close connections that do not answer them or are a day old."""
        for number, connection in self.clients.items():
            session = self._sessions[number]
            if connection.ending or self._too_many(connection, session, 0, now_ns):
                continue
            if session.ping_s is None or connection.pong == session.ping:
                if now_s - (session.ping_s or connection.opened_s) >= _PING_S:
                    session.ping, session.ping_s = str(now_ns // 1_000_000).encode(), now_s
                    connection.raw(wire.frame(session.ping, wire.PING))
            elif now_s - session.ping_s > _PONG_S:
                connection.goodbye(1008, "Pong timeout")

    def do_session_end(self, lead_s: float = 2.0) -> dict[str, object]:
        """End all sessions as after 24 hours: send `serverShutdown`, and close `grace_s` seconds later."""
        for number, connection in self.clients.items():
            session = self._sessions[number]
            shutdown = f'{{"e":"serverShutdown","E":{self._now_ns // 1_000_000}}}'
            combined = f'{{"stream":"!serverShutdown","data":{shutdown}}}'
            connection.text((combined if session.combined else shutdown).encode())
            session.ends_s = self._now_s + float(lead_s)
        return {"connections": len(self.clients)}

    def do_old_snapshot(self, times: int = 1, symbol: str | None = None) -> dict[str, object]:
        """Answer the next book requests with a book that is older than the first update of the stream."""
        if symbol is not None and symbol not in self.symbols:
            raise ConfigError(f"no symbol {symbol!r}; there are: {', '.join(self.symbols)}")
        self.faults.add(Rule("old_snapshot", symbol, "book", int(times)))
        return {}

    # ---- data

    def frame_for(self, topic: Topic, payload: bytes, targets: Sequence[Connection]) -> list[Framed]:
        """Return a message without the name of the stream to clients of `/ws`."""
        messages = super().frame_for(topic, payload, targets)
        if all(self._sessions[connection.number].combined for connection in targets):
            return messages
        bare = payload[payload.index(b'","data":') + 9 : -1]
        framed = wire.frame(bare)
        return [one if self._sessions[one[0].number].combined else (one[0], bare, framed) for one in messages]

    def advance(self, now_ns: int, now_s: float) -> float:
        """Make the market events of this moment, then send the depth batches whose time has come."""
        self._now_ns, self._now_s = now_ns, now_s
        wait_s = super().advance(now_ns, now_s)
        due_s = self._flushed_s + _BATCH_S - now_s
        if due_s > 0:
            return min(wait_s, due_s)
        self._flushed_s = now_s
        for symbol, feed in self._feeds.items():
            if feed.pending:
                self._flush(symbol, feed, now_ns)
        for number, session in self._sessions.items():
            if now_s >= session.ends_s and not self.clients[number].ending:
                self.clients[number].goodbye(1001)
        return min(wait_s, _BATCH_S)

    def publish_step(self, symbol: str, step: Step) -> None:
        """Send a bookTicker, then the prints; the venue does not order streams. Depth waits for its batch."""
        feed = self._feeds[symbol]
        feed.last += len(step.bids) + len(step.asks)
        if step.touched and feed.quotes in self.topics:
            self._ticker(symbol, feed, step.ts_ns)
        if step.trades:
            self.publish_trades(symbol, self.apply_faults(symbol, step.trades))
        if feed.books in self.topics:
            feed.add(step)

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Send one message per print."""
        topic = self._feeds[symbol].trades
        for trade, again in trades:
            item = self.trade_item(symbol, trade, again)
            ts_ms = item.ts // 1_000_000
            payload = (
                f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":{ts_ms + 1},"s":"{symbol}",'
                f'"t":{item.id},"p":"{item.p}","q":"{item.q}","T":{ts_ms},'
                f'"m":{"true" if trade.taker == "s" else "false"},"M":true}}}}'
            )
            self.send(topic, [item], payload.encode(), only)

    def _ticker(self, symbol: str, feed: Feed, ts_ns: int) -> None:
        market = feed.market
        p, q = market.spec.price_decimals, market.spec.size_decimals
        bid, ask = market.bids.best, market.asks.best
        item = QuoteItem(
            0, symbol, None, eight(bid, p), eight(market.bids.size(bid), q), eight(ask, p),
            eight(market.asks.size(ask), q), feed.last, ts_ns, held=self.faults.withheld("quote", symbol),
        )  # fmt: skip
        if item.held is not None:
            self.truth.item(item)
            return
        payload = (
            f'{{"stream":"{symbol.lower()}@bookTicker","data":{{"u":{feed.last},"s":"{symbol}","b":"{item.b}",'
            f'"B":"{item.bq}","a":"{item.a}","A":"{item.aq}"}}}}'
        )
        self.send(feed.quotes, [item], payload.encode())

    def _flush(self, symbol: str, feed: Feed, now_ns: int) -> None:
        first, bids, asks = feed.take()
        ts_ms = now_ns // 1_000_000
        held = self.faults.withheld("book", symbol)
        item = BookItem(0, symbol, ts_ms * 1_000_000, now_ns, False, bids, asks, held=held, seq=feed.last)
        if held is not None:
            self.truth.item(item)
        else:
            payload = (
                f'{{"stream":"{symbol.lower()}@depth@100ms","data":{{"e":"depthUpdate","E":{ts_ms},"s":"{symbol}",'
                f'"U":{first},"u":{feed.last},"b":[{rows(bids)}],"a":[{rows(asks)}]}}}}'
            )
            self.send(feed.books, [item], payload.encode())
        feed.answered = [one for one in feed.answered if self._now_s - one[0] < _JOINED_S]
        if feed.answered:
            self._joined(feed, item.ts, feed.full(), now_ns)

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer `/api/v3/...`."""
        refused = self._budget.spend(request, now_ns)
        if refused is not None:
            return refused
        if request.path == "/api/v3/depth" and request.query.get("symbol") in self.symbols:
            response = self._depth(self._feeds[request.query["symbol"]], request, now_ns)
        else:
            response = answer(self.symbols, request, now_ns)
        response.headers["X-MBX-USED-WEIGHT-1M"] = str(self._budget.used)
        return response

    def _depth(self, feed: Feed, request: Request, now_ns: int) -> Response:
        limit = depth_limit(request)
        if isinstance(limit, Response):
            return limit
        old = self.faults.use("old_snapshot", "book", feed.symbol) is not None
        number, (bids, asks) = feed.old if old else (feed.last, feed.full())
        # A client stores the book as it came, or with all updates that were sent until then. Before the first update it
        # cannot know that a book is old.
        feed.answered.append((self._now_s, request.headers.get("user-agent", "")))
        self._joined(feed, None, (bids[:limit], asks[:limit]), now_ns)
        if feed.pending and not old:
            self._joined(feed, None, feed.before(), now_ns)
        body = f'{{"lastUpdateId":{number},"bids":[{rows(bids[:limit])}],"asks":[{rows(asks[:limit])}]}}'
        return Response(200, body.encode(), {})

    def _joined(self, feed: Feed, ts_ns: int | None, book: tuple[Pairs, Pairs], now_ns: int) -> None:
        """Log a full book that clients with a snapshot may store, once for each of them.

        A book made of a snapshot and its updates has the time of the last update, or no time without an update.
        """
        times = [ts_ns, None] if ts_ns is not None else [None]
        numbers = [self.truth.item(BookItem(0, feed.symbol, ts, now_ns, True, *book, again=True)) for ts in times]
        for _, agent in feed.answered:
            self._answers += 1
            self.truth.line(Opened(-self._answers, now_ns, agent))
            self.truth.line(Sent(-self._answers, now_ns, [(numbers[0], numbers[-1])]))
            self.truth.line(Closed(-self._answers, now_ns, "answered"))


class _Session(msgspec.Struct):
    """The venue's state of one client."""

    ends_s: float
    combined: bool = True  # messages have the name of their stream
    names: dict[str, None] = {}
    sent: deque[int] = msgspec.field(default_factory=deque)  # times of its last frames
    controls: int = 0  # pings and pongs of its connection counted so far
    ping: bytes = b""
    ping_s: float | None = None


class _Command(msgspec.Struct):
    method: str
    params: list[str | int | float | bool | None] = []
    id: int | str | None = None

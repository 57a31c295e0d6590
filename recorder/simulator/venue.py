"""The base of every simulated venue: it paces the market, sends messages to subscribers and logs the truth.

A venue (venues/kraken/stream.py, ...) subclasses `FakeVenue` and formats the messages of its wire. Faults that only
one venue can have are methods `do_NAME` of its class; the controls offer them beside those of control.py.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import ClassVar

import msgspec

from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.faults import HISTORY_LOOP, FaultRules, listed_history
from recorder.simulator.market import Market, Spec, Step, SymbolMarket, Trade, text
from recorder.simulator.wire import Request, Response
from recorder.truth import (
    BookItem,
    Closed,
    Ended,
    Item,
    Line,
    MalformedItem,
    Opened,
    QuoteItem,
    Reset,
    Sent,
    Started,
    Subscribed,
    TradeItem,
    TruthLog,
)

Topic = tuple[str, str, str]
"""Channel as in recorder.events (or the venue's own), symbol, variant."""

StreamItem = TradeItem | QuoteItem | BookItem

Framed = tuple[Connection, bytes, bytes]
"""A receiver, its message, and that message as a frame."""

_TURN = 512  # the most market events of one turn of the loop
_HIGH_WATER = 1 << 18  # bytes queued for a client that stop an unpaced market
_SLOW_CLIENT = 1 << 26  # bytes queued for a client that make a paced venue drop it
_SENT_EVERY_S = 0.1
_HEARTBEAT_S = 1.0
_WAIT_S = 0.05


class FakeVenue(ABC):
    """One simulated venue on loopback, run by one thread."""

    name: ClassVar[str]
    specs: ClassVar[tuple[Spec, ...]]
    instruments_of: ClassVar[str | None] = None  # the venue whose instruments it lists, where it is a second API of it
    market_kind: ClassVar[type[SymbolMarket]] = SymbolMarket
    ids_are_numbers: ClassVar[bool] = True  # the id of a print is its number at the market

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        self.market = market
        self.truth = truth
        self.rate = rate  # market events a second; 0 is as fast as the clients read
        self.faults = FaultRules()
        self.symbols = self.listed()
        self.symbol_names = {id(one): symbol for symbol, one in self.symbols.items()}
        self.topics: dict[Topic, dict[int, Connection]] = {}
        self.clients: dict[int, Connection] = {}
        self.halted = False  # while set, the market has no events
        self.burst = 0  # market events to make at once, beyond the rate
        self.events = 0  # market events so far
        self.sent_messages = 0
        self.control: Callable[[Request], Response | None] | None = None
        self._looped: dict[str, Response] = {}  # the page that a history repeats, by path
        self._backlog = 0.0  # market events that the rate allows and that were not made yet
        self._last_s: float | None = None
        self._sent_s = 0.0
        self._second_s = 0.0
        self._started = Started(self.instruments_of or self.name, now_ns, market.seed, market.origin_ns)
        truth.line(self._started)

    def begin(self, past: Mapping[str, Sequence[TradeItem]]) -> None:
        """Continue the prints of earlier runs, or log the past that was invented where there are none.

        Args:
            past: The last prints of a symbol in the logs of earlier runs, in order. This run logs them no more.
        """
        for symbol, one in self.symbols.items():
            known = [item for item in past.get(symbol, ()) if item.number or self.ids_are_numbers]
            if known:
                one.resume([self.trade_of(symbol, item) for item in known])
                continue
            for trade in one.history:
                self.truth.item(self.trade_item(symbol, trade))

    # ---- what a venue defines

    @abstractmethod
    def format_symbol(self, spec: Spec) -> str:
        """Return the venue's name of a symbol."""

    def listed(self) -> dict[str, SymbolMarket]:
        """Return every symbol that a client can subscribe to, by its name."""
        return {self.format_symbol(one.spec): one for one in self.market.symbols}

    @abstractmethod
    def publish_step(self, symbol: str, step: Step) -> None:
        """Send the messages of one market event."""

    @abstractmethod
    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Answer a client's text message."""

    @abstractmethod
    def get(self, request: Request, now_ns: int) -> Response:
        """Answer a REST request."""

    @abstractmethod
    def on_second(self, now_ns: int, now_s: float) -> None:
        """Send heartbeats and close idle clients; called once a second."""

    @abstractmethod
    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Send prints in the form of live ones, to one client or to all subscribers."""

    @abstractmethod
    def on_open(self, connection: Connection, now_ns: int) -> None:
        """Send the first messages of a new connection."""

    # ---- sending

    def trade_item(self, symbol: str, trade: Trade, again: bool = False, held: str | None = None) -> TradeItem:
        """Return a print in the form of the truth log."""
        spec = self.symbols[symbol].spec
        price, size = text(trade.price, spec.price_decimals), text(trade.size, spec.size_decimals)
        return TradeItem(0, symbol, trade.id, trade.ts_ns, price, size, trade.taker, again, held)

    def trade_of(self, symbol: str, item: TradeItem) -> Trade:
        """Return a print of the truth log in the form of the market."""
        one = self.symbols[symbol]
        price = round(Decimal(item.p).scaleb(one.spec.price_decimals))
        size = round(Decimal(item.q).scaleb(one.spec.size_decimals))
        ts_ns = item.ts // 1000 * 1000  # a market prints whole microseconds
        return Trade(item.number or item.id, ts_ns, price, size, item.side or "b", one.sequence)

    def apply_faults(self, symbol: str, trades: Sequence[Trade]) -> list[tuple[Trade, bool]]:
        """Apply the trade faults: return the prints to send, and log the others as withheld."""
        if ("trade", symbol, "") not in self.topics:
            return [(trade, False) for trade in trades]  # without a subscriber a fault would have no effect
        outgoing = self.faults.apply(symbol, trades)
        for trade, reason in outgoing.held:
            self.withhold(("trade", symbol, ""), self.trade_item(symbol, trade, held=reason))
        return outgoing.out

    def withhold(self, topic: Topic, item: StreamItem) -> None:
        """Log an item that is sent to no client."""
        self.truth.item(item)

    def log(self, items: Sequence[Item]) -> tuple[int, int] | None:
        """Log the items of one frame and return the first and the last of their numbers."""
        numbers = [self.truth.item(item) for item in items]
        return (numbers[0], numbers[-1]) if numbers else None

    def frame_for(self, topic: Topic, payload: bytes, targets: Sequence[Connection]) -> list[Framed]:
        """Return a message in the form of each of its receivers; here it is the same for all."""
        framed = wire.frame(payload)
        return [(connection, payload, framed) for connection in targets]

    def send(
        self,
        topic: Topic,
        items: Sequence[StreamItem],
        payload: bytes,
        only: Connection | Sequence[Connection] | None = None,
    ) -> None:
        """Send one message to all subscribers of a topic, or to some of them."""
        if only is None:
            targets: Sequence[Connection] = list(self.topics.get(topic, {}).values())
        else:
            targets = [only] if isinstance(only, Connection) else only
        messages = self.frame_for(topic, payload, targets)
        repeats = 1
        replaced = None
        if self.faults.rules and targets:
            replaced = self.faults.use("replace", topic[0], topic[1])
            if replaced is not None:
                payload = replaced.text.encode("latin-1")
                framed = wire.frame(payload)
                messages = [(connection, payload, framed) for connection in targets]
                for item in items:
                    item.held = "replace"
            elif topic[0] != "trade" and self.faults.use("repeat", topic[0], topic[1]) is not None:
                repeats = 2
        for repeat in range(repeats):
            for item in items:
                item.again = item.again or repeat > 0
            logged = self.log(items)
            numbers = logged if replaced is None else None
            self.sent_messages += len(messages)
            for connection, message, framed in messages:
                connection.text(message, framed, numbers)

    def send_malformed(self, kind: str, payload: bytes, now_ns: int) -> int:
        """Send a frame with nothing to store to every client and return how many there are."""
        number = self.truth.item(MalformedItem(0, now_ns, kind, len(payload)))
        for connection in self.clients.values():
            connection.text(payload, None, (number, number))
        return len(self.clients)

    # ---- subscriptions

    def join(self, connection: Connection, topic: Topic, now_ns: int) -> None:
        """Begin a stream on a connection."""
        self.topics.setdefault(topic, {})[connection.number] = connection
        self.truth.line(Subscribed(connection.number, now_ns, topic[0], topic[1]))

    def leave(self, connection: Connection, topic: Topic, now_ns: int) -> bool:
        """End a stream on a connection; return False where there was none."""
        if self.topics.get(topic, {}).pop(connection.number, None) is None:
            return False
        if not self.topics[topic]:
            del self.topics[topic]
        self.truth.line(Subscribed(connection.number, now_ns, topic[0], topic[1], on=False))
        return True

    def refuse(self, connection: Connection, channel: str, symbol: str, why: str, now_ns: int) -> None:
        """Log a refused subscription."""
        self.truth.line(Subscribed(connection.number, now_ns, channel, symbol, on=False, why=why))

    def topics_of(self, connection: Connection) -> list[Topic]:
        """Return the topics of a connection."""
        return [topic for topic, members in self.topics.items() if connection.number in members]

    def republish(self, connection: Connection, symbol: str) -> None:
        """Publish past trades again as if live, if that fault is set; called after a new trade subscription."""
        rule = self.faults.use("republish", "trade", symbol)
        if rule is not None and rule.count > 0:
            again = list(self.symbols[symbol].history)[-rule.count :]
            self.publish_trades(symbol, [(trade, True) for trade in again], connection)

    def restart_ids(self, symbol: str, first: int, now_ns: int) -> None:
        """Number the trades of a symbol from `first` on again."""
        self.symbols[symbol].restart_ids(first)
        self.truth.line(Reset(symbol, now_ns, first))

    # ---- calls of the server (recorder.simulator.server.App)

    def handshake(self, request: Request) -> Response | None:
        """Refuse a websocket with an HTTP status if that fault is set."""
        return self._unavailable("refuse_handshake")

    def _unavailable(self, do: str) -> Response | None:
        rule = self.faults.use(do)
        if rule is None:
            return None
        headers = {"Retry-After": rule.text} if rule.text else {}
        return Response(rule.count, b'{"message":"unavailable"}', headers)

    def _odd_body(self) -> Response | None:
        rule = self.faults.use("rest_body")
        return None if rule is None else Response(200, rule.text.encode())

    def opened(self, connection: Connection, request: Request, now_ns: int) -> None:
        """Add a client."""
        self.clients[connection.number] = connection
        connection.agent = request.headers.get("user-agent", "")
        self.truth.line(Opened(connection.number, now_ns, connection.agent))
        if self.faults.use("half_open") is not None:
            with contextlib.suppress(OSError):  # the client is gone already
                connection.flush(0.0)  # the answer to the handshake: the connection opens, and then it is dead
            connection.half_open = True
        self.on_open(connection, now_ns)

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """Remove a client."""
        self.clients.pop(connection.number, None)
        for topic in self.topics_of(connection):
            del self.topics[topic][connection.number]
            if not self.topics[topic]:
                del self.topics[topic]
        self._log_sent(connection, now_ns)
        self.truth.line(Closed(connection.number, now_ns, why, connection.unsent))

    def http(self, request: Request, now_ns: int) -> Response:
        """Answer a request to the control path, or a REST request."""
        response = self.control(request) if self.control is not None else None
        return response or self._unavailable("rest") or self._odd_body() or self._get(request, now_ns)

    def _get(self, request: Request, now_ns: int) -> Response:
        """Answer a REST request, with the faults of its history."""
        for symbol, one in self.symbols.items():
            one.past = listed_history(one.history, self.faults.rules, symbol)
        response = self.get(request, now_ns)
        if "rades" in request.path and self.faults.use(HISTORY_LOOP) is not None:
            return self._looped.setdefault(request.path, response)
        self._looped.pop(request.path, None)
        return response

    def advance(self, now_ns: int, now_s: float) -> float:
        """Make the market events that the rate allows by now."""
        if now_s - self._second_s >= _HEARTBEAT_S:
            self._second_s = now_s
            self.on_second(now_ns, now_s)
            self._drop_slow()
            if self.truth.full:
                self.truth.next_part(self._state(now_ns))
        due, wait_s = self._due(now_s)
        for _ in range(due):
            step = self.market.step(now_ns)
            self.publish_step(self.symbol_of(step.market), step)
        self.events += due
        return wait_s

    def symbol_of(self, market: SymbolMarket) -> str:
        """Return the venue's name of one of its markets."""
        return self.symbol_names[id(market)]

    def before_writes(self) -> None:
        """Commit the truth log, so that an item is in its file before it is on a socket."""
        self.truth.commit()

    def after_writes(self, now_ns: int, now_s: float) -> None:
        """Log the items written to the sockets, ten times a second."""
        if now_s - self._sent_s >= _SENT_EVERY_S:
            self._sent_s = now_s
            for connection in self.clients.values():
                self._log_sent(connection, now_ns)
            self.truth.commit()

    def end(self, now_ns: int) -> None:
        """Close the truth log."""
        self.truth.line(Ended(now_ns))
        self.truth.close()

    def _log_sent(self, connection: Connection, now_ns: int) -> None:
        if connection.written:
            self.truth.line(Sent(connection.number, now_ns, connection.written))
            connection.written = []

    def _state(self, now_ns: int) -> list[Line]:
        """Return the first lines of the next part of the truth log: the run, its clients and their streams."""
        first = msgspec.structs.replace(self._started, part=self.truth.part + 1, part_t=now_ns)
        lines: list[Line] = [first]
        for connection in self.clients.values():
            lines.append(Opened(connection.number, now_ns, connection.agent))
            lines += [Subscribed(connection.number, now_ns, one[0], one[1]) for one in self.topics_of(connection)]
        return lines

    def _due(self, now_s: float) -> tuple[int, float]:
        passed_s = now_s - self._last_s if self._last_s is not None else 0.0
        self._last_s = now_s
        if self.halted:
            return 0, _WAIT_S
        if self.rate <= 0:
            listening = any(members for members in self.topics.values())
            if not listening or any(c.pending > _HIGH_WATER for c in self.clients.values() if not c.half_open):
                return 0, _WAIT_S
            return _TURN // 4, 0.0
        self._backlog += passed_s * self.rate
        due = min(_TURN, int(self._backlog))
        self._backlog = min(self._backlog - due, self.rate)  # a stall is made up for by a second of events at most
        extra = min(self.burst, _TURN)
        self.burst -= extra
        if self.burst or self._backlog >= 1:
            return due + extra, 0.0
        return due + extra, min(_WAIT_S, max(0.001, (1 - self._backlog) / self.rate))

    def _drop_slow(self) -> None:
        for connection in self.clients.values():
            if connection.pending > _SLOW_CLIENT and not connection.half_open:
                connection.abort()

"""What every fake venue does alike: pace the market, fan out, log the truth, obey the controls.

A dialect (coinbase.py, kraken.py, ...) subclasses `FakeVenue` and says how things look on its wire. What only it
can do wrong are methods `do_NAME` of its own, offered beside those of control.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec

from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.market import Market, Spec, Step, SymbolMarket, Trade, text
from recorder.simulator.mischief import Mischief
from recorder.simulator.truth import (
    BookItem,
    Closed,
    Ended,
    Item,
    JunkItem,
    Line,
    Opened,
    QuoteItem,
    Reset,
    Sent,
    Started,
    Subscribed,
    TradeItem,
    TruthLog,
)
from recorder.simulator.wire import Request, Response

Topic = tuple[str, str, str]
"""Channel as in recorder.events (or the venue's own), symbol, variant."""

StreamItem = TradeItem | QuoteItem | BookItem

Dressed = tuple[Connection, bytes, bytes]
"""Receiver, its message, and that message as a frame."""

_TURN = 512  # market events of one turn of the loop at most
_HIGH_WATER = 1 << 18  # bytes queued for a client that stop an unpaced market
_SLOW_CLIENT = 1 << 26  # bytes queued for a client that make a paced venue drop it
_SENT_EVERY_S = 0.1
_HEARTBEAT_S = 1.0
_WAIT_S = 0.05


class FakeVenue(ABC):
    """One venue on loopback, run by one thread."""

    name: ClassVar[str]
    specs: ClassVar[tuple[Spec, ...]]
    instruments_of: ClassVar[str | None] = None  # the venue whose instruments it names, where it is a second dialect
    market_kind: ClassVar[type[SymbolMarket]] = SymbolMarket

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        self.market = market
        self.truth = truth
        self.rate = rate  # market events a second; 0 is as fast as the clients read
        self.mischief = Mischief()
        self.symbols = self.listed()
        self.spelled = {id(one): symbol for symbol, one in self.symbols.items()}
        self.topics: dict[Topic, dict[int, Connection]] = {}
        self.clients: dict[int, Connection] = {}
        self.halted = False  # nobody trades: the market stands still
        self.burst = 0  # market events to do at once, beyond the rate
        self.sent_messages = 0
        self.control: Callable[[Request], Response | None] | None = None
        self._owed = 0.0
        self._last_s: float | None = None
        self._sent_s = 0.0
        self._beat_s = 0.0
        self._started = Started(self.instruments_of or self.name, now_ns, market.seed, market.origin_ns)
        truth.line(self._started)
        for symbol, one in self.symbols.items():
            for trade in one.history:
                truth.item(self.trade_item(symbol, trade))

    # ---- what a dialect says

    @abstractmethod
    def spell(self, spec: Spec) -> str:
        """The venue's name of a symbol."""

    def listed(self) -> dict[str, SymbolMarket]:
        """Every symbol one can subscribe to."""
        return {self.spell(one.spec): one for one in self.market.symbols}

    @abstractmethod
    def publish_step(self, symbol: str, step: Step) -> None:
        """Send what one market event looks like."""

    @abstractmethod
    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Answer a client's text message."""

    @abstractmethod
    def get(self, request: Request, now_ns: int) -> Response:
        """Answer a REST request."""

    @abstractmethod
    def beat(self, now_ns: int, now_s: float) -> None:
        """Once a second: heartbeats, and clients that have idled too long."""

    @abstractmethod
    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Send prints as they look live, to one client or to all who subscribed."""

    @abstractmethod
    def greet(self, connection: Connection, now_ns: int) -> None:
        """Send what the venue sends first."""

    # ---- sending

    def trade_item(self, symbol: str, trade: Trade, again: bool = False, held: str | None = None) -> TradeItem:
        """A print as the truth log has it."""
        spec = self.symbols[symbol].spec
        price, size = text(trade.price, spec.price_decimals), text(trade.size, spec.size_decimals)
        return TradeItem(0, symbol, trade.id, trade.ts_ns, price, size, trade.taker, again, held)

    def shape(self, symbol: str, trades: Sequence[Trade]) -> list[tuple[Trade, bool]]:
        """Prints left to send after mischief; the others are logged as withheld."""
        if ("trade", symbol, "") not in self.topics:
            return [(trade, False) for trade in trades]  # nobody would notice: the mischief waits for a listener
        shaped = self.mischief.shape(symbol, trades)
        for trade, reason in shaped.held:
            self.withhold(("trade", symbol, ""), self.trade_item(symbol, trade, held=reason))
        return shaped.out

    def withhold(self, topic: Topic, item: StreamItem) -> None:
        """Log an item that nobody gets."""
        self.truth.item(item)

    def log(self, items: Sequence[Item]) -> tuple[int, int] | None:
        """Log items that travel in one frame; gives their numbers."""
        numbers = [self.truth.item(item) for item in items]
        return (numbers[0], numbers[-1]) if numbers else None

    def dress(self, topic: Topic, payload: bytes, targets: Sequence[Connection]) -> list[Dressed]:
        """A message as each of its receivers gets it: here, the same for all."""
        framed = wire.frame(payload)
        return [(connection, payload, framed) for connection in targets]

    def send(
        self,
        topic: Topic,
        items: Sequence[StreamItem],
        payload: bytes,
        only: Connection | Sequence[Connection] | None = None,
    ) -> None:
        """Send one message to all who subscribed to a topic, or to some of them."""
        if only is None:
            targets: Sequence[Connection] = list(self.topics.get(topic, {}).values())
        else:
            targets = [only] if isinstance(only, Connection) else only
        dressed = self.dress(topic, payload, targets)
        repeats = 1
        replaced = None
        if self.mischief.rules and targets:
            replaced = self.mischief.take("replace", topic[0], topic[1])
            if replaced is not None:
                payload = replaced.text.encode("latin-1")
                framed = wire.frame(payload)
                dressed = [(connection, payload, framed) for connection in targets]
                for item in items:
                    item.held = "replace"
            elif topic[0] != "trade" and self.mischief.take("repeat", topic[0], topic[1]) is not None:
                repeats = 2
        for repeat in range(repeats):
            for item in items:
                item.again = item.again or repeat > 0
            logged = self.log(items)
            numbers = logged if replaced is None else None
            self.sent_messages += len(dressed)
            for connection, text_of_it, framed in dressed:
                connection.text(text_of_it, framed, numbers)

    def junk(self, kind: str, payload: bytes, now_ns: int) -> int:
        """Send a frame with nothing to store to every client; gives how many there are."""
        number = self.truth.item(JunkItem(0, now_ns, kind, len(payload)))
        for connection in self.clients.values():
            connection.text(payload, None, (number, number))
        return len(self.clients)

    # ---- subscriptions

    def join(self, connection: Connection, topic: Topic, now_ns: int) -> None:
        """Begin a stream on a connection."""
        self.topics.setdefault(topic, {})[connection.number] = connection
        self.truth.line(Subscribed(connection.number, now_ns, topic[0], topic[1]))

    def leave(self, connection: Connection, topic: Topic, now_ns: int) -> bool:
        """End a stream on a connection; False where there was none."""
        if self.topics.get(topic, {}).pop(connection.number, None) is None:
            return False
        if not self.topics[topic]:
            del self.topics[topic]
        self.truth.line(Subscribed(connection.number, now_ns, topic[0], topic[1], on=False))
        return True

    def refuse(self, connection: Connection, channel: str, symbol: str, why: str, now_ns: int) -> None:
        """Note a refused subscription."""
        self.truth.line(Subscribed(connection.number, now_ns, channel, symbol, on=False, why=why))

    def topics_of(self, connection: Connection) -> list[Topic]:
        """What a connection is subscribed to."""
        return [topic for topic, members in self.topics.items() if connection.number in members]

    def republish(self, connection: Connection, symbol: str) -> None:
        """After a new trade subscription: past trades once more as if live, if that was asked for."""
        rule = self.mischief.take("republish", "trade", symbol)
        if rule is not None and rule.count > 0:
            past = list(self.symbols[symbol].history)[-rule.count :]
            self.publish_trades(symbol, [(trade, True) for trade in past], connection)

    def restart_ids(self, symbol: str, first: int, now_ns: int) -> None:
        """Count a symbol's trades anew."""
        self.symbols[symbol].restart_ids(first)
        self.truth.line(Reset(symbol, now_ns, first))

    # ---- what the server asks (recorder.simulator.server.App)

    def handshake(self, request: Request) -> Response | None:
        """Refuse a websocket with an HTTP status where that was asked for."""
        return self._unavailable("refuse_handshake")

    def _unavailable(self, do: str) -> Response | None:
        rule = self.mischief.take(do)
        if rule is None:
            return None
        headers = {"Retry-After": rule.text} if rule.text else {}
        return Response(rule.count, b'{"message":"unavailable"}', headers)

    def opened(self, connection: Connection, request: Request, now_ns: int) -> None:
        """A client is there."""
        self.clients[connection.number] = connection
        connection.agent = request.headers.get("user-agent", "")
        self.truth.line(Opened(connection.number, now_ns, connection.agent))
        if self.mischief.take("half_open") is not None:
            connection.half_open = True
        self.greet(connection, now_ns)

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """A client is gone."""
        self.clients.pop(connection.number, None)
        for topic in self.topics_of(connection):
            del self.topics[topic][connection.number]
            if not self.topics[topic]:
                del self.topics[topic]
        self._log_sent(connection, now_ns)
        self.truth.line(Closed(connection.number, now_ns, why, connection.unsent))

    def http(self, request: Request, now_ns: int) -> Response:
        """Answer a request to the control path, or a REST request."""
        controlled = self.control(request) if self.control is not None else None
        return controlled or self._unavailable("rest") or self.get(request, now_ns)

    def advance(self, now_ns: int, now_s: float) -> float:
        """Let the market move as far as is due."""
        if now_s - self._beat_s >= _HEARTBEAT_S:
            self._beat_s = now_s
            self.beat(now_ns, now_s)
            self._drop_slow()
            if self.truth.full:
                self.truth.next_part(self._state(now_ns))
        due, wait_s = self._due(now_s)
        for _ in range(due):
            step = self.market.step(now_ns)
            self.publish_step(self.symbol_of(step.market), step)
        return wait_s

    def symbol_of(self, market: SymbolMarket) -> str:
        """The venue's name of one of its markets."""
        return self.spelled[id(market)]

    def before_writes(self) -> None:
        """The truth is in its file before it is on a socket."""
        self.truth.commit()

    def after_writes(self, now_ns: int, now_s: float) -> None:
        """Log what was written, every so often."""
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
        """What a reader of the next part of the truth log must know."""
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
        self._owed += passed_s * self.rate
        due = min(_TURN, int(self._owed))
        self._owed = min(self._owed - due, self.rate)  # after a stall, at most a second is caught up
        extra = min(self.burst, _TURN)
        self.burst -= extra
        if self.burst or self._owed >= 1:
            return due + extra, 0.0
        return due + extra, min(_WAIT_S, max(0.001, (1 - self._owed) / self.rate))

    def _drop_slow(self) -> None:
        for connection in self.clients.values():
            if connection.pending > _SLOW_CLIENT and not connection.half_open:
                connection.abort()

"""The simulated OKX, API v5: merged trades, bbo-tbt, tickers, books chained by seqId, text pings, and the public REST.

The messages are as captured. Numbers are strings without trailing zeros, and times are milliseconds. A trade stands
for all fills of one taker at one price. Since 2026-06-23 the checksum of a book is the number 0.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from recorder.errors import ConfigError
from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.faults import Rule
from recorder.simulator.market import Market, Spec, Step, SymbolMarket, Trade
from recorder.simulator.venue import FakeVenue, Topic
from recorder.simulator.venues.okx.book import OkxBook, pairs, rows
from recorder.simulator.venues.okx.fills import count_of, last_id, plain, restart
from recorder.simulator.venues.okx.rest import answer, ticker
from recorder.simulator.wire import Request, Response
from recorder.truth import BookItem, QuoteItem, TradeItem, TruthLog

_CHANNELS = {"trades": "trade", "bbo-tbt": "quote", "tickers": "quote", "books": "book"}
_SILENT = {"instruments", "status"}  # accepted; they publish only changes, and here nothing changes
_WITH_LOGIN = {"books-l2-tbt", "books50-l2-tbt"}
_SIDE = {"b": "buy", "s": "sell"}
_BATCH_S = 0.1
_SILENCE_S = 30.0
_REQUESTS_PER_HOUR = 480
_HOUR_NS = 3_600_000_000_000
_REQUEST_BYTES = 1 << 16


class Okx(FakeVenue):
    """The public feed of OKX."""

    name: ClassVar[str] = "okx"
    ids_are_numbers: ClassVar[bool] = False
    specs: ClassVar[tuple[Spec, ...]] = (
        Spec("BTC", "USDT", 77571.3, 1, 8, 0.05, weight=4),
        Spec("ETH", "USDT", 3120.51, 2, 6, 0.8, weight=3),
        Spec("SOL", "USDT", 184.25, 2, 6, 12.0, weight=2),
        Spec("XRP", "USDT", 1.9317, 4, 6, 900.0),
        Spec("DOGE", "USDT", 0.18351, 5, 4, 8000.0),
        Spec("ETH", "BTC", 0.04023, 5, 6, 0.9),
        Spec("BTC", "USDT-SWAP", 77570.1, 1, 2, 60.0, weight=2),  # contracts of a hundredth of a coin
    )

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        super().__init__(market, truth, rate=rate, now_ns=now_ns)
        self.keepalive_s = 60.0
        # The first sequence follows from the time, so that the sequences of a restarted simulator do not fall.
        self._books = {symbol: OkxBook(one, now_ns // 100_000) for symbol, one in self.symbols.items()}
        self._sessions: dict[int, _Session] = {}
        self._stale: dict[str, None] = {}  # symbols whose ticker changed
        self._now_s = 0.0
        self._flushed_s = 0.0

    def format_symbol(self, spec: Spec) -> str:
        """Return a name like BTC-USDT."""
        return f"{spec.base}-{spec.quote}"

    def trade_item(self, symbol: str, trade: Trade, again: bool = False, held: str | None = None) -> TradeItem:
        """Return a print in the form of the truth log: several fills with the id of the last one."""
        spec = self.symbols[symbol].spec
        ts_ns = trade.ts_ns // 1_000_000 * 1_000_000
        price, size = plain(trade.price, spec.price_decimals), plain(trade.size, spec.size_decimals)
        return TradeItem(
            0, symbol, last_id(trade.id), ts_ns, price, size, trade.taker, again, held, count_of(trade.id), trade.id
        )  # fmt: skip

    def restart_ids(self, symbol: str, first: int, now_ns: int) -> None:
        """Restart the ids of a symbol's fills at the first print whose ids all are `first` or above."""
        super().restart_ids(symbol, restart(first), now_ns)

    # ---- connections

    def handshake(self, request: Request) -> Response | None:
        """Accept `/ws/v5/public`, and the address without a path."""
        known = request.path.rstrip("/") in ("", "/ws/v5/public")
        return super().handshake(request) or (None if known else Response(404))

    def on_open(self, connection: Connection, now_ns: int) -> None:
        """Send nothing."""
        self._sessions[connection.number] = _Session(f"{connection.number:08x}", connection.opened_s)

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """Remove a client."""
        super().closed(connection, why, now_ns)
        self._sessions.pop(connection.number, None)

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Handle the text `ping`, `subscribe` and `unsubscribe`."""
        if payload == b"ping":
            connection.text(b"pong")
            return
        if len(payload) > _REQUEST_BYTES:
            connection.goodbye(1009, "Request message exceeds the maximum frame length")
            return
        try:
            command = msgspec.json.decode(payload, type=_Command)
        except msgspec.DecodeError:
            self._error(connection, None, "60012", f"Invalid request: {payload.decode(errors='replace')[:200]}")
            return
        session = self._sessions[connection.number]
        session.requests = [at_ns for at_ns in session.requests if now_ns - at_ns < _HOUR_NS] + [now_ns]
        if len(session.requests) > _REQUESTS_PER_HOUR:
            self._error(connection, command.id, "60014", "Requests too frequent")
        elif command.op not in ("subscribe", "unsubscribe"):
            self._error(connection, command.id, "60019", f"Invalid op: {command.op}")
        elif not command.args:
            self._error(connection, command.id, "60013", "Invalid args")
        else:
            for arg in command.args:
                self._one(connection, command, arg, now_ns)

    def _one(self, connection: Connection, command: "_Command", arg: dict[str, str], now_ns: int) -> None:
        wire_name, symbol = arg.get("channel", ""), arg.get("instId", "")
        channel = _CHANNELS.get(wire_name, "")
        known = wire_name in _SILENT or (channel and symbol in self.symbols)
        rule = self.faults.use("refuse", channel, symbol) if known and command.op == "subscribe" else None
        if wire_name in _WITH_LOGIN:
            self.refuse(connection, wire_name, symbol, "Please log in", now_ns)
            self._error(connection, command.id, "60011", "Please log in")
            return
        if not known or rule is not None:
            what = ",".join(f"{name}:{value}" for name, value in arg.items())
            why = rule.text if rule is not None and rule.text else (
                f"Wrong URL or {what} doesn't exist. Please use the correct URL, channel and parameters referring to "
                "API document."
            )  # fmt: skip
            self.refuse(connection, channel or wire_name, symbol, why, now_ns)
            self._error(connection, command.id, "60018", why)
            return
        answered = {"event": command.op, "arg": arg, "connId": self._sessions[connection.number].name}
        connection.text(msgspec.json.encode(({"id": command.id} if command.id is not None else {}) | answered))
        if not channel:
            return
        topic: Topic = (channel, symbol, wire_name if channel == "quote" else "")
        if command.op == "unsubscribe":
            self.leave(connection, topic, now_ns)
        elif topic not in self.topics_of(connection):
            self._begin(connection, topic, now_ns)

    def _begin(self, connection: Connection, topic: Topic, now_ns: int) -> None:
        channel, symbol, variant = topic
        if channel == "book":
            if topic in self.topics:
                self._flush(symbol, now_ns)  # so that the snapshot is part of the chain that other clients see
            else:
                self._books[symbol].begin(self._now_s)
        self.join(connection, topic, now_ns)
        if channel == "trade":
            self.republish(connection, symbol)
        elif channel == "book":
            self._snapshot(connection, symbol, now_ns)
        elif variant == "tickers":
            self._ticker(symbol, now_ns, connection)
        else:
            self._top(symbol, now_ns, connection)

    def _error(self, connection: Connection, number: str | None, code: str, why: str) -> None:
        body = {"event": "error", "msg": why, "code": code, "connId": self._sessions[connection.number].name}
        connection.text(msgspec.json.encode(({"id": number} if number is not None else {}) | body))

    def on_second(self, now_ns: int, now_s: float) -> None:
        """Close connections that were sent nothing for 30 seconds, not even a pong."""
        for number, connection in self.clients.items():
            session = self._sessions[number]
            if connection.ending:
                continue
            if connection.queued != session.queued:
                session.queued, session.active_s = connection.queued, now_s
            elif now_s - session.active_s > _SILENCE_S:
                connection.goodbye(4004, "No data received in 30s")

    # ---- faults of its own

    def do_upgrade(self, lead_s: float = 60.0) -> dict[str, object]:
        """Announce with notice 64008 that connections close for an upgrade, and close them `grace_s` seconds later."""
        for number, connection in self.clients.items():
            session = self._sessions[number]
            why = "The connection will soon be closed for a service upgrade. Please reconnect."
            notice = {"event": "notice", "code": "64008", "msg": why, "connId": session.name}
            connection.text(msgspec.json.encode(notice))
            session.ends_s = self._now_s + float(lead_s)
        return {"connections": len(self.clients)}

    def do_maintenance(self, symbol: str | None = None) -> dict[str, object]:
        """Restart the sequences of books and quotes, as after maintenance: the next seqId is below its prevSeqId."""
        for book in self._chosen(symbol):
            book.restart()
        return {}

    def do_checksum_returns(
        self, right: bool = True, symbol: str | None = None, times: int | None = None
    ) -> dict[str, object]:
        """Send the CRC-32 of books instead of 0, right or wrong; until healed unless `times` is given."""
        self._chosen(symbol)
        left = int(times) if times is not None else None
        self.faults.add(Rule("checksum_returns", symbol, "book", left, "" if right else "wrong"))
        return {}

    def do_keepalive(self, every_s: float = 60.0) -> dict[str, object]:
        """Set the seconds after which an unchanged book is confirmed."""
        self.keepalive_s = float(every_s)
        return {}

    def _chosen(self, symbol: str | None) -> list[OkxBook]:
        if symbol is not None and symbol not in self._books:
            raise ConfigError(f"no symbol {symbol!r}; there are: {', '.join(self._books)}")
        return [book for name, book in self._books.items() if symbol in (None, name)]

    # ---- data

    def advance(self, now_ns: int, now_s: float) -> float:
        """Make the market events of this moment, then send the books and tickers whose time has come."""
        self._now_s = now_s
        wait_s = super().advance(now_ns, now_s)
        due_s = self._flushed_s + _BATCH_S - now_s
        if due_s > 0:
            return min(wait_s, due_s)
        self._flushed_s = now_s
        for channel, symbol, _ in list(self.topics):
            if channel == "book":
                self._flush(symbol, now_ns)
        for symbol in self._stale:
            self._ticker(symbol, now_ns)
        self._stale.clear()
        for number, session in self._sessions.items():
            if session.ends_s is not None and now_s >= session.ends_s:
                self.clients[number].finish()
        return min(wait_s, _BATCH_S)

    def publish_step(self, symbol: str, step: Step) -> None:
        """Send the prints, then the best bid and ask; books and tickers wait for their batch."""
        if step.trades:
            self.publish_trades(symbol, self.apply_faults(symbol, step.trades))
        if step.touched:
            self._top(symbol, step.ts_ns)
        if ("book", symbol, "") in self.topics:
            self._books[symbol].add(step)
        if ("quote", symbol, "tickers") in self.topics and (step.touched or step.trades):
            self._stale[symbol] = None

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Send one message per print."""
        book = self._books[symbol]
        for trade, again in trades:
            item = self.trade_item(symbol, trade, again)
            payload = (
                f'{{"arg":{{"channel":"trades","instId":"{symbol}"}},"data":[{{"instId":"{symbol}",'
                f'"tradeId":"{item.id}","px":"{item.p}","sz":"{item.q}","side":"{_SIDE[trade.taker]}",'
                f'"ts":"{item.ts // 1_000_000}","count":"{item.count}","source":"0",'
                f'"seqId":{book.number(trade.sequence)}}}]}}'
            )
            self.send(("trade", symbol, ""), [item], payload.encode(), only)

    def _top(self, symbol: str, ts_ns: int, only: Connection | None = None) -> None:
        topic = ("quote", symbol, "bbo-tbt")
        if topic not in self.topics:
            return
        market, sequence, ts_ms = self.symbols[symbol], self._books[symbol].now, ts_ns // 1_000_000
        bids, asks = market.bids.levels(1), market.asks.levels(1)
        item = self._quote(market, symbol, ts_ms, sequence, only)
        if item is None:
            return
        payload = (
            f'{{"arg":{{"channel":"bbo-tbt","instId":"{symbol}"}},"data":[{{"asks":[{rows(market, asks)}],'
            f'"bids":[{rows(market, bids)}],"ts":"{ts_ms}","seqId":{sequence}}}]}}'
        )
        self.send(topic, [item], payload.encode(), only)

    def _ticker(self, symbol: str, now_ns: int, only: Connection | None = None) -> None:
        topic = ("quote", symbol, "tickers")
        if topic not in self.topics:
            return
        market = self.symbols[symbol]
        item = self._quote(market, symbol, now_ns // 1_000_000, None, only)
        if item is None:
            return
        payload = (
            f'{{"arg":{{"channel":"tickers","instId":"{symbol}"}},'
            f'"data":[{ticker(symbol, market, now_ns // 1_000_000)}]}}'
        )
        self.send(topic, [item], payload.encode(), only)

    def _quote(
        self, market: SymbolMarket, symbol: str, ts_ms: int, sequence: int | None, only: Connection | None
    ) -> QuoteItem | None:
        """Return the best bid and ask now; None where a fault withholds them."""
        p, q = market.spec.price_decimals, market.spec.size_decimals
        bid, ask = market.bids.best, market.asks.best
        item = QuoteItem(
            0, symbol, ts_ms * 1_000_000, plain(bid, p), plain(market.bids.size(bid), q), plain(ask, p),
            plain(market.asks.size(ask), q), sequence, held=None if only else self.faults.withheld("quote", symbol),
        )  # fmt: skip
        if item.held is None:
            return item
        self.truth.item(item)
        return None

    def _snapshot(self, connection: Connection, symbol: str, now_ns: int) -> None:
        book = self._books[symbol]
        self._book(symbol, "snapshot", *book.full(), -1, now_ns, connection)

    def _flush(self, symbol: str, now_ns: int) -> None:
        """Send the changes of a book, or after a minute without any a message without levels."""
        book = self._books[symbol]
        bids, asks = book.take()
        if bids or asks:
            before, book.sent = book.sent, book.now
            book.sent_s = self._now_s
            self._book(symbol, "update", bids, asks, before, now_ns, None)
        elif self._now_s - book.sent_s >= self.keepalive_s:
            book.sent_s = self._now_s
            payload = self._payload(symbol, "update", "", "", book.sent, now_ns // 1_000_000)
            framed = wire.frame(payload)
            for connection in self.topics[("book", symbol, "")].values():
                connection.text(payload, framed)  # it has nothing to store, so it is not an item

    def _book(
        self, symbol: str, action: str, bids: list[tuple[int, int]], asks: list[tuple[int, int]], before: int,
        now_ns: int, only: Connection | None,
    ) -> None:  # fmt: skip
        market, ts_ms = self.symbols[symbol], now_ns // 1_000_000
        held = None if only else self.faults.withheld("book", symbol)
        item = BookItem(
            0, symbol, ts_ms * 1_000_000, now_ns, action == "snapshot", pairs(market, bids), pairs(market, asks),
            held=held, seq=self._books[symbol].sent,
        )  # fmt: skip
        if held is not None:
            self.truth.item(item)
            return
        payload = self._payload(symbol, action, rows(market, bids), rows(market, asks), before, ts_ms)
        self.send(("book", symbol, ""), [item], payload, only)

    def _payload(self, symbol: str, action: str, bids: str, asks: str, before: int, ts_ms: int) -> bytes:
        book = self._books[symbol]
        rule = self.faults.use("checksum_returns", "book", symbol) if self.faults.rules else None
        given = 0 if rule is None else book.checksum() ^ (rule.text == "wrong")
        checksum = self.faults.checksum(symbol, given)
        return (
            f'{{"arg":{{"channel":"books","instId":"{symbol}"}},"action":"{action}","data":[{{"asks":[{asks}],'
            f'"bids":[{bids}],"ts":"{ts_ms}","checksum":{checksum},"seqId":{book.sent},"prevSeqId":{before}}}]}}'
        ).encode()

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer `/api/v5/...`."""
        return answer(self.symbols, {name: book.now for name, book in self._books.items()}, request, now_ns)


class _Session(msgspec.Struct):
    """The venue's state of one client."""

    name: str
    active_s: float  # time of the last message to it
    queued: int = 0
    requests: list[int] = []
    ends_s: float | None = None


class _Command(msgspec.Struct):
    op: str
    args: list[dict[str, str]] = []
    id: str | None = None

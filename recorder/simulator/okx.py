"""OKX v5 on loopback: merged trades, bbo-tbt, tickers, books chained by seqId, the text ping, and the public REST.

Dialect as captured: numbers are strings without trailing zeros, times are milliseconds; a trade stands for all fills
of one taker at one price, and since 2026-06-23 the checksum of a book is the number 0.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from recorder.errors import ConfigError
from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.market import Market, Spec, Step, SymbolMarket, Trade
from recorder.simulator.mischief import Rule
from recorder.simulator.okx_book import OkxBook, pairs, rows
from recorder.simulator.okx_fills import count_of, last_id, plain, restart
from recorder.simulator.okx_rest import answer, ticker
from recorder.simulator.truth import BookItem, QuoteItem, TradeItem, TruthLog
from recorder.simulator.venue import FakeVenue, Topic
from recorder.simulator.wire import Request, Response

_CHANNELS = {"trades": "trade", "bbo-tbt": "quote", "tickers": "quote", "books": "book"}
_SILENT = {"instruments", "status"}  # accepted; they tell of changes only, and nothing changes here
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
        # Sequences go on where a market that ran until now would be: a restarted simulator must not count down.
        self._books = {symbol: OkxBook(one, now_ns // 100_000) for symbol, one in self.symbols.items()}
        self._sessions: dict[int, _Session] = {}
        self._stale: dict[str, None] = {}  # symbols whose tickers have something new
        self._now_s = 0.0
        self._flushed_s = 0.0

    def spell(self, spec: Spec) -> str:
        """BTC-USDT."""
        return f"{spec.base}-{spec.quote}"

    def trade_item(self, symbol: str, trade: Trade, again: bool = False, held: str | None = None) -> TradeItem:
        """What the market printed once is here several fills, named by the last of them."""
        spec = self.symbols[symbol].spec
        ts_ns = trade.ts_ns // 1_000_000 * 1_000_000
        price, size = plain(trade.price, spec.price_decimals), plain(trade.size, spec.size_decimals)
        return TradeItem(
            0, symbol, last_id(trade.id), ts_ns, price, size, trade.taker, again, held, count_of(trade.id)
        )  # fmt: skip

    def restart_ids(self, symbol: str, first: int, now_ns: int) -> None:
        """Count a symbol's fills anew, from the first group that begins there or behind."""
        super().restart_ids(symbol, restart(first), now_ns)

    # ---- connections

    def handshake(self, request: Request) -> Response | None:
        """`/ws/v5/public`; the bare address is taken for it."""
        known = request.path.rstrip("/") in ("", "/ws/v5/public")
        return super().handshake(request) or (None if known else Response(404))

    def greet(self, connection: Connection, now_ns: int) -> None:
        """OKX says nothing first."""
        self._sessions[connection.number] = _Session(f"{connection.number:08x}", connection.opened_s)

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """A client is gone."""
        super().closed(connection, why, now_ns)
        self._sessions.pop(connection.number, None)

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """The text `ping`, `subscribe` and `unsubscribe`."""
        if payload == b"ping":
            connection.text(b"pong")
            return
        if len(payload) > _REQUEST_BYTES:
            connection.goodbye(1009, "Request message exceeds the maximum frame length")
            return
        try:
            asked = msgspec.json.decode(payload, type=_Ask)
        except msgspec.DecodeError:
            self._error(connection, None, "60012", f"Invalid request: {payload.decode(errors='replace')[:200]}")
            return
        session = self._sessions[connection.number]
        session.requests = [at_ns for at_ns in session.requests if now_ns - at_ns < _HOUR_NS] + [now_ns]
        if len(session.requests) > _REQUESTS_PER_HOUR:
            self._error(connection, asked.id, "60014", "Requests too frequent")
        elif asked.op not in ("subscribe", "unsubscribe"):
            self._error(connection, asked.id, "60019", f"Invalid op: {asked.op}")
        elif not asked.args:
            self._error(connection, asked.id, "60013", "Invalid args")
        else:
            for arg in asked.args:
                self._one(connection, asked, arg, now_ns)

    def _one(self, connection: Connection, asked: "_Ask", arg: dict[str, str], now_ns: int) -> None:
        wire_name, symbol = arg.get("channel", ""), arg.get("instId", "")
        channel = _CHANNELS.get(wire_name, "")
        known = wire_name in _SILENT or (channel and symbol in self.symbols)
        rule = self.mischief.take("refuse", channel, symbol) if known and asked.op == "subscribe" else None
        if wire_name in _WITH_LOGIN:
            self.refuse(connection, wire_name, symbol, "Please log in", now_ns)
            self._error(connection, asked.id, "60011", "Please log in")
            return
        if not known or rule is not None:
            what = ",".join(f"{name}:{value}" for name, value in arg.items())
            why = rule.text if rule is not None and rule.text else (
                f"Wrong URL or {what} doesn't exist. Please use the correct URL, channel and parameters referring to "
                "API document."
            )  # fmt: skip
            self.refuse(connection, channel or wire_name, symbol, why, now_ns)
            self._error(connection, asked.id, "60018", why)
            return
        answered = {"event": asked.op, "arg": arg, "connId": self._sessions[connection.number].name}
        connection.text(msgspec.json.encode(({"id": asked.id} if asked.id is not None else {}) | answered))
        if not channel:
            return
        topic: Topic = (channel, symbol, wire_name if channel == "quote" else "")
        if asked.op == "unsubscribe":
            self.leave(connection, topic, now_ns)
        elif topic not in self.topics_of(connection):
            self._begin(connection, topic, now_ns)

    def _begin(self, connection: Connection, topic: Topic, now_ns: int) -> None:
        channel, symbol, variant = topic
        if channel == "book":
            if topic in self.topics:
                self._flush(symbol, now_ns)  # so that the snapshot is a link of the chain that others are told
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

    def beat(self, now_ns: int, now_s: float) -> None:
        """The door for whoever was told nothing for 30 seconds, not even a pong."""
        for number, connection in self.clients.items():
            session = self._sessions[number]
            if connection.ending:
                continue
            if connection.queued != session.queued:
                session.queued, session.active_s = connection.queued, now_s
            elif now_s - session.active_s > _SILENCE_S:
                connection.goodbye(4004, "No data received in 30s")

    # ---- misbehaviour of its own

    def do_upgrade(self, lead_s: float = 60.0) -> dict[str, object]:
        """Announce with notice 64008 that connections are cut for an upgrade, and cut them so much later."""
        for number, connection in self.clients.items():
            session = self._sessions[number]
            why = "The connection will soon be closed for a service upgrade. Please reconnect."
            notice = {"event": "notice", "code": "64008", "msg": why, "connId": session.name}
            connection.text(msgspec.json.encode(notice))
            session.ends_s = self._now_s + float(lead_s)
        return {"connections": len(self.clients)}

    def do_maintenance(self, symbol: str | None = None) -> dict[str, object]:
        """Count the sequences of books and quotes anew, as after maintenance: the next seqId is below its prevSeqId."""
        for book in self._chosen(symbol):
            book.restart()
        return {}

    def do_checksum_returns(
        self, right: bool = True, symbol: str | None = None, times: int | None = None
    ) -> dict[str, object]:
        """Give the CRC-32 of books again instead of 0, right or wrong; until healed unless `times` is given."""
        self._chosen(symbol)
        left = int(times) if times is not None else None
        self.mischief.add(Rule("checksum_returns", symbol, "book", left, "" if right else "wrong"))
        return {}

    def do_keepalive(self, every_s: float = 60.0) -> dict[str, object]:
        """Say after so long that a book has not changed."""
        self.keepalive_s = float(every_s)
        return {}

    def _chosen(self, symbol: str | None) -> list[OkxBook]:
        if symbol is not None and symbol not in self._books:
            raise ConfigError(f"no symbol {symbol!r}; there are: {', '.join(self._books)}")
        return [book for name, book in self._books.items() if symbol in (None, name)]

    # ---- data

    def advance(self, now_ns: int, now_s: float) -> float:
        """Let the market move, then send the books and tickers that are due."""
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
        """The prints, then the best bid and ask; books and tickers wait for their batch."""
        if step.trades:
            self.publish_trades(symbol, self.shape(symbol, step.trades))
        if step.touched:
            self._top(symbol, step.ts_ns)
        if ("book", symbol, "") in self.topics:
            self._books[symbol].add(step)
        if ("quote", symbol, "tickers") in self.topics and (step.touched or step.trades):
            self._stale[symbol] = None

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """One message each."""
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
        """The touch now; None where it is withheld."""
        p, q = market.spec.price_decimals, market.spec.size_decimals
        bid, ask = market.bids.best, market.asks.best
        item = QuoteItem(
            0, symbol, ts_ms * 1_000_000, plain(bid, p), plain(market.bids.size(bid), q), plain(ask, p),
            plain(market.asks.size(ask), q), sequence, held=None if only else self.mischief.withheld("quote", symbol),
        )  # fmt: skip
        if item.held is None:
            return item
        self.truth.item(item)
        return None

    def _snapshot(self, connection: Connection, symbol: str, now_ns: int) -> None:
        book = self._books[symbol]
        self._book(symbol, "snapshot", *book.whole(), -1, now_ns, connection)

    def _flush(self, symbol: str, now_ns: int) -> None:
        """Send what changed in a book, or, after a minute of nothing, that nothing did."""
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
                connection.text(payload, framed)  # nothing to store: no item

    def _book(
        self, symbol: str, action: str, bids: list[tuple[int, int]], asks: list[tuple[int, int]], before: int,
        now_ns: int, only: Connection | None,
    ) -> None:  # fmt: skip
        market, ts_ms = self.symbols[symbol], now_ns // 1_000_000
        held = None if only else self.mischief.withheld("book", symbol)
        item = BookItem(
            0, symbol, ts_ms * 1_000_000, now_ns, action == "snapshot", pairs(market, bids), pairs(market, asks),
            held=held,
        )  # fmt: skip
        if held is not None:
            self.truth.item(item)
            return
        payload = self._payload(symbol, action, rows(market, bids), rows(market, asks), before, ts_ms)
        self.send(("book", symbol, ""), [item], payload, only)

    def _payload(self, symbol: str, action: str, bids: str, asks: str, before: int, ts_ms: int) -> bytes:
        book = self._books[symbol]
        rule = self.mischief.take("checksum_returns", "book", symbol) if self.mischief.rules else None
        given = 0 if rule is None else book.checksum() ^ (rule.text == "wrong")
        checksum = self.mischief.checksum(symbol, given)
        return (
            f'{{"arg":{{"channel":"books","instId":"{symbol}"}},"action":"{action}","data":[{{"asks":[{asks}],'
            f'"bids":[{bids}],"ts":"{ts_ms}","checksum":{checksum},"seqId":{book.sent},"prevSeqId":{before}}}]}}'
        ).encode()

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """`/api/v5/...`."""
        return answer(self.symbols, {name: book.now for name, book in self._books.items()}, request, now_ns)


class _Session(msgspec.Struct):
    """What the venue knows of one client."""

    name: str
    active_s: float  # when something was last sent to it
    queued: int = 0
    requests: list[int] = []
    ends_s: float | None = None


class _Ask(msgspec.Struct):
    op: str
    args: list[dict[str, str]] = []
    id: str | None = None

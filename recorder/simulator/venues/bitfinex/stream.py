"""The simulated Bitfinex v2: `trades`, `ticker`, `book` P0 with checksums, one sequence per connection, and REST.

The messages are as captured (tests/captures/bitfinex). Data carries only its `chanId`, numbers are printed as
JavaScript prints them, a print is sent twice (`te`, `tu`), and all pairs share one count of trade ids.
"""

import random
import time
from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import UUID

import msgspec

from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.faults import Rule
from recorder.simulator.market import Market, Spec, Step, Trade
from recorder.simulator.venue import FakeVenue, Framed, StreamItem, Topic
from recorder.simulator.venues.bitfinex.book import Window, checksum_of, number, pairs_of, row_of
from recorder.simulator.venues.bitfinex.peer import OB_CHECKSUM, SEQ_ALL, TIMESTAMP, Peer
from recorder.simulator.venues.bitfinex.rest import answer, ticker_row, trade_row
from recorder.simulator.wire import Request, Response
from recorder.truth import BookItem, QuoteItem, TradeItem, TruthLog

LENGTHS = ("1", "25", "100", "250")
CHANNELS = 30  # most subscriptions of a connection
_CHANNELS = {"trades": "trade", "ticker": "quote", "book": "book"}
_PAST = 30
_IDLE_S = 60.0
_MS = 1_000_000
_LATE_NS = 1_000_000_000  # delay of a late answer
_STOPPING = "Stop/Restart Websocket Server (please reconnect)"
_PAUSE = (
    "Entering in Maintenance mode. Please pause any activity and resume after receiving the info message 20061"
    " (it should take 120 seconds at most)."
)
_RESUME = (
    "Maintenance ended. You can resume normal activity. It is advised to unsubscribe/subscribe again all channels."
)

Command = dict[str, str | int | float | bool | None]


class Bitfinex(FakeVenue):
    """The public websocket, version 2."""

    name: ClassVar[str] = "bitfinex"
    specs: ClassVar[tuple[Spec, ...]] = (
        Spec("BTC", "USD", 77571, 0, 8, 0.05, weight=4),
        Spec("ETH", "USD", 3120.5, 1, 8, 0.8, weight=3),
        Spec("SOL", "USD", 184.25, 2, 8, 12.0, weight=2),
        Spec("AVAX", "USD", 21.483, 3, 8, 90.0),
        Spec("XRP", "USD", 1.9317, 4, 8, 900.0),
        Spec("BTCF0", "USTF0", 77590, 0, 8, 0.04, weight=2),
        Spec("BTT", "USD", 4.0123e-7, 11, 8, 5e8),  # small enough for exponents
    )

    def __init__(self, market: Market, truth: TruthLog, *, rate: float, now_ns: int) -> None:
        self._next_id = market.symbols[0].history[0].id
        self._rng = random.Random(market.seed)
        past = [trade for one in market.symbols for trade in one.history]
        self._renumber(sorted(past, key=lambda trade: trade.ts_ns))
        market.origin_ns = market.origin_ns // _MS * _MS  # times are printed in milliseconds
        super().__init__(market, truth, rate=rate, now_ns=now_ns)
        self.heartbeat_s = 15.0
        self.ticker_s = 15.0
        self.checksum_s = 2.5
        self._server = UUID(int=self._rng.getrandbits(128), version=4)
        self._peers: dict[int, Peer] = {}
        self._windows: dict[Topic, Window] = {}
        self._checked_ns: dict[Topic, int] = {}
        self._ticker_s: dict[Topic, float] = {}
        self._late: list[tuple[Topic, TradeItem, bytes]] = []  # second messages of prints, sent at the next event
        self._answers: list[tuple[int, int, Topic]] = []  # time, connection and stream of late answers
        self._stop: tuple[int, list[Connection]] | None = None
        self._pause_until_ns = 0
        self._ms = now_ns // _MS

    def format_symbol(self, spec: Spec) -> str:
        """Return a name like tBTCUSD, or tAVAX:USD where a code is longer than three letters."""
        colon = ":" if max(len(spec.base), len(spec.quote)) > 3 else ""
        return f"t{spec.base}{colon}{spec.quote}"

    def begin(self, past: Mapping[str, Sequence[TradeItem]]) -> None:
        """Continue the prints of earlier runs, whose ids are one count over all pairs."""
        super().begin(past)
        if self.symbols.keys() <= past.keys():
            self._next_id = max(one.next_id for one in self.symbols.values())

    def _renumber(self, trades: Sequence[Trade]) -> None:
        """Give trades the ids of a count over all pairs, including pairs that are not simulated."""
        for trade in trades:
            trade.id = self._next_id
            self._next_id += self._rng.randrange(1, 4)

    def restart_ids(self, symbol: str, first: int, now_ns: int) -> None:
        """Restart the ids of all pairs, which share one count."""
        self._next_id = first
        for one in self.symbols:
            super().restart_ids(one, first, now_ns)

    def trade_item(self, symbol: str, trade: Trade, again: bool = False, held: str | None = None) -> TradeItem:
        """Return a print in the form of the truth log, with milliseconds and the numbers of the wire."""
        spec = self.symbols[symbol].spec
        price, size = number(trade.price, spec.price_decimals), number(trade.size, spec.size_decimals)
        return TradeItem(0, symbol, trade.id, trade.ts_ns // _MS * _MS, price, size, trade.taker, again, held)

    # ---- requests

    def on_open(self, connection: Connection, now_ns: int) -> None:
        """Send `info`, which says whether the platform is up."""
        self._peers[connection.number] = Peer(connection, connection.opened_s)
        connection.text(
            f'{{"event":"info","version":2,"serverId":"{self._server}","platform":{{"status":{int(not self.halted)}}}}}'
            .encode()
        )  # fmt: skip

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """Remove a client and its chanIds."""
        super().closed(connection, why, now_ns)
        self._peers.pop(connection.number, None)

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Handle `conf`, `subscribe`, `unsubscribe` and `ping`; a message that is not a JSON object gets no answer."""
        self._ms = now_ns // _MS
        try:
            command = msgspec.json.decode(payload, type=Command)
        except msgspec.DecodeError:
            return
        peer = self._peers[connection.number]
        match command.get("event"):
            case "conf":
                flags = command.get("flags")
                peer.flags = flags if isinstance(flags, int) else 0
                connection.text(b'{"event":"conf","status":"OK","flags":%d}' % peer.flags)
            case "ping":
                cid = command.get("cid")
                cid_text = "" if cid is None else f',"cid":{msgspec.json.encode(cid).decode()}'
                connection.text(f'{{"event":"pong","ts":{self._ms}{cid_text}}}'.encode())
            case "subscribe":
                self._subscribe(peer, command, now_ns)
            case "unsubscribe":
                self._unsubscribe(peer, command, now_ns)
            case event:
                self._error(peer, {"event": event}, f"event: invalid ({event})", 10000)

    def _subscribe(self, peer: Peer, command: Command, now_ns: int) -> None:
        wanted, symbol = str(command.get("channel")), str(command.get("symbol"))
        channel = _CHANNELS.get(wanted, "")
        if symbol not in self.symbols and f"t{symbol}" in self.symbols:
            symbol = f"t{symbol}"
        length = str(command.get("len", "25")) if channel == "book" else ""
        topic: Topic = (channel, symbol, length)
        mine = peer.chans.get(topic) or peer.waiting.get(topic)
        rule = self.faults.use("refuse", channel, symbol)
        fault: tuple[str, int] | None = None
        if not channel:
            fault = ("channel: unknown", 10300)
        elif rule is not None or symbol not in self.symbols:
            fault = (rule.text if rule is not None and rule.text else "symbol: invalid", 10300)
        elif channel == "book" and command.get("prec", "P0") != "P0":
            fault = ("precision: invalid", 10300)  # the venue has others; the simulator does not
        elif channel == "book" and command.get("freq", "F0") != "F0":
            fault = ("freq: invalid", 10300)
        elif channel == "book" and length not in LENGTHS:
            fault = ("length: invalid", 10300)
        elif mine:
            fault = ("subscribe: dup", 10301)
        elif len(peer.chans) + len(peer.waiting) >= CHANNELS:
            fault = ("subscribe: limit", 10305)
        if fault is not None:
            if fault[1] != 10301:
                self.refuse(peer.connection, channel or wanted, symbol, fault[0], now_ns)
            self._error(peer, command, *fault, mine)
            return
        channel_id = self._rng.randrange(100_000, 1_000_000)
        while channel_id in peer.numbers:
            channel_id += 1
        peer.numbers.add(channel_id)
        if self.faults.use("late_answer", channel, symbol) is not None:
            peer.waiting[topic] = channel_id
            self._answers.append((now_ns + _LATE_NS, peer.connection.number, topic))
            peer.connection.text(peer.array(channel_id, b'"hb"', self._ms))
        else:
            self._begin(peer, topic, channel_id, now_ns)

    def _begin(self, peer: Peer, topic: Topic, channel_id: int, now_ns: int) -> None:
        channel, symbol, length = topic
        if topic not in self.topics and channel == "book":
            self._windows[topic] = Window(self.symbols[symbol], int(length))
            self._checked_ns[topic] = now_ns
        elif topic not in self.topics and channel == "quote":
            self._ticker_s[topic] = 0.0
        peer.chans[topic] = channel_id
        self.join(peer.connection, topic, now_ns)
        shown = next(name for name, one in _CHANNELS.items() if one == channel)
        more = f',"prec":"P0","freq":"F0","len":"{length}"' if channel == "book" else ""
        peer.connection.text(
            f'{{"event":"subscribed","channel":"{shown}","chanId":{channel_id},"symbol":"{symbol}"{more},'
            f'"pair":"{symbol[1:]}"}}'.encode()
        )
        if channel == "trade":
            self._past(symbol, peer.connection)
            self.republish(peer.connection, symbol)
        elif channel == "quote":
            self._ticker(topic, now_ns, peer.connection)
        else:
            self._snapshot(topic, now_ns, peer.connection)

    def _unsubscribe(self, peer: Peer, command: Command, now_ns: int) -> None:
        channel_id = command.get("chanId")
        for topic, known in peer.chans.items():
            if known == channel_id:
                del peer.chans[topic]
                peer.next_hb_s.pop(topic, None)
                self.leave(peer.connection, topic, now_ns)
                peer.connection.text(b'{"event":"unsubscribed","status":"OK","chanId":%d}' % known)
                return
        self._error(peer, command, "unsubscribe: invalid", 10400)

    def _error(self, peer: Peer, command: Command, why: str, code: int, channel_id: int | None = None) -> None:
        """Send the request back with its error."""
        body: dict[str, object] = {key: value for key, value in command.items() if key != "event"}
        body |= {"event": "error", "msg": why, "code": code}
        if channel_id:
            body["chanId"] = channel_id
        if "symbol" in command:
            body["pair"] = str(command["symbol"]).removeprefix("t")
        peer.connection.text(msgspec.json.encode(body))

    # ---- sending

    def frame_for(self, topic: Topic, payload: bytes, targets: Sequence[Connection]) -> list[Framed]:
        """Return the message of each connection, with its chanId and its sequence."""
        messages = []
        for connection in targets:
            peer = self._peers[connection.number]
            message = peer.array(peer.chans[topic], payload, self._ms)
            messages.append((connection, message, wire.frame(message)))
        return messages

    def send(
        self,
        topic: Topic,
        items: Sequence[StreamItem],
        payload: bytes,
        only: Connection | Sequence[Connection] | None = None,
    ) -> None:
        """Send a message. Connections that requested times get a different item."""
        if topic[0] == "trade" or not any(peer.flags & TIMESTAMP for peer in self._peers.values()):
            super().send(topic, items, payload, only)
            return
        targets = [only] if isinstance(only, Connection) else only or list(self.topics.get(topic, {}).values())
        for stamped in (0, TIMESTAMP):
            some = [one for one in targets if self._peers[one.number].flags & TIMESTAMP == stamped]
            ts_ns = self._ms * _MS if stamped else None
            if some:
                super().send(topic, [msgspec.structs.replace(item, ts=ts_ns) for item in items], payload, some)

    def withhold(self, topic: Topic, item: StreamItem) -> None:
        """Log a withheld item. A skipped one uses up a sequence number, which clients detect; a frozen one does not."""
        super().withhold(topic, item)
        if item.held == "skip":
            for channel_id in self.topics.get(topic, {}):
                peer = self._peers[channel_id]
                if peer.flags & SEQ_ALL:
                    peer.sequence += 2 if topic[0] == "trade" else 1

    def publish_step(self, symbol: str, step: Step) -> None:
        """Send `te` and `tu` per print, then one frame per level of each window, then sometimes a checksum."""
        late, self._late = self._late, []
        if step.trades:
            self._renumber(step.trades)
            self.publish_trades(symbol, self.apply_faults(symbol, step.trades))
        if step.bids or step.asks:
            for length in LENGTHS:
                topic = ("book", symbol, length)
                if topic in self.topics:
                    self._levels(topic, step)
        for topic, item, payload in late:
            if topic in self.topics:
                self.send(topic, [item], payload)

    def publish_trades(self, symbol: str, trades: Sequence[tuple[Trade, bool]], only: Connection | None = None) -> None:
        """Send each print as `te` and as `tu`, sometimes with other frames between them."""
        topic: Topic = ("trade", symbol, "")
        for trade, again in trades:
            row = trade_row(self.symbols[symbol].spec, trade)
            first, second = f'"te",{row}'.encode(), f'"tu",{row}'.encode()
            if only is None and self.faults.rules and self.faults.use("tu_first", "trade", symbol) is not None:
                first, second = second, first
            self.send(topic, [self.trade_item(symbol, trade, again)], first, only)
            if only is None and topic not in self.topics:
                continue
            item = self.trade_item(symbol, trade, again=True)
            if only is None and self._rng.random() < 0.125:
                self._late.append((topic, item, second))
            else:
                self.send(topic, [item], second, only)

    def _past(self, symbol: str, only: Connection) -> None:
        market = self.symbols[symbol]
        newest = list(market.history)[: -_PAST - 1 : -1]
        rows = ",".join(trade_row(market.spec, trade) for trade in newest)
        items = [self.trade_item(symbol, trade, again=True) for trade in newest]
        self.send(("trade", symbol, ""), items, f"[{rows}]".encode(), only)

    def _ticker(self, topic: Topic, now_ns: int, only: Connection | None = None) -> None:
        """Send a ticker. It has no time and no id; its sequence number on the connection is part of the row."""
        market = self.symbols[topic[1]]
        p = market.spec.price_decimals
        item = QuoteItem(
            0, topic[1], None, number(market.bids.best, p), None, number(market.asks.best, p), None, t=now_ns,
            held=None if only else self.faults.withheld("quote", topic[1]),
        )  # fmt: skip
        if item.held is not None:
            self.withhold(topic, item)
            return
        payload = f"[{ticker_row(market)},null]".encode()
        targets = [only] if only is not None else list(self.topics.get(topic, {}).values())
        for connection in targets:
            peer = self._peers[connection.number]
            sequence = peer.sequence + 1 if peer.flags & SEQ_ALL else None
            # Where several connections get it, none of their rows is required.
            one = msgspec.structs.replace(item, seq=sequence, again=len(targets) > 1)
            self.send(topic, [one], payload, connection)

    def _snapshot(self, topic: Topic, now_ns: int, only: Connection) -> None:
        _, symbol, length = topic
        market = self.symbols[symbol]
        bids, asks = market.bids.levels(int(length)), market.asks.levels(int(length))
        rows = [row_of(market, level, 1) for level in bids] + [row_of(market, level, -1) for level in asks]
        item = BookItem(0, symbol, None, now_ns, True, pairs_of(market, bids), pairs_of(market, asks), int(length))
        self.send(topic, [item], f"[{','.join(rows)}]".encode(), only)

    def _levels(self, topic: Topic, step: Step) -> None:
        _, symbol, length = topic
        market = step.market
        sent = False
        bids, asks = self._windows[topic].update(step)
        for sign, entries in ((1, bids), (-1, asks)):
            for entry in entries:
                pairs = pairs_of(market, [entry])
                held = self.faults.withheld("book", symbol)
                item = BookItem(0, symbol, None, step.ts_ns, False, [], [], int(length), held=held)
                if sign > 0:
                    item.bids = pairs
                else:
                    item.asks = pairs
                if held is not None:
                    self.withhold(topic, item)
                    continue
                self.send(topic, [item], row_of(market, entry, sign).encode())
                sent = True
        if sent and step.ts_ns - self._checked_ns[topic] >= self.checksum_s * 1e9:
            self._checked_ns[topic] = step.ts_ns
            self._checksum(topic)

    def _checksum(self, topic: Topic) -> None:
        checksum: int | None = None
        for connection in self.topics[topic].values():
            peer = self._peers[connection.number]
            if peer.flags & OB_CHECKSUM:
                if checksum is None:
                    right = checksum_of(self.symbols[topic[1]], int(topic[2]))
                    checksum = self.faults.checksum(topic[1], right)
                connection.text(peer.array(peer.chans[topic], b'"cs",%d' % checksum, self._ms))

    # ---- time

    def advance(self, now_ns: int, now_s: float) -> float:
        """Make the market events of this moment."""
        self._ms = now_ns // _MS
        return super().advance(now_ns, now_s)

    def on_second(self, now_ns: int, now_s: float) -> None:
        """Send heartbeats, tickers and late answers whose time has come, and end announced maintenance."""
        for topic, members in list(self.topics.items()):
            if topic[0] != "quote" or not members or self.halted:
                continue
            if self._ticker_s[topic] and now_s - self._ticker_s[topic] >= self.ticker_s:
                self._ticker(topic, now_ns)
                self._ticker_s[topic] = now_s
            self._ticker_s[topic] = self._ticker_s[topic] or now_s
        for peer in self._peers.values():
            if peer.chans:
                peer.idle_since_s = now_s
            elif now_s - peer.idle_since_s > _IDLE_S:
                peer.connection.ending = True
            if not self.halted:
                peer.heartbeats(now_s, self.heartbeat_s, self._ms)
        waiting, self._answers = self._answers, []
        for due_ns, channel_id, topic in waiting:
            late = self._peers.get(channel_id)
            if due_ns > now_ns:
                self._answers.append((due_ns, channel_id, topic))
            elif late is not None:
                self._begin(late, topic, late.waiting.pop(topic), now_ns)
        if self._stop is not None and now_ns >= self._stop[0]:
            for connection in self._stop[1]:
                connection.goodbye(1001)
            self._stop = None
        if self.halted and now_ns >= self._pause_until_ns:
            self._resume(now_ns)

    def _resume(self, now_ns: int) -> None:
        self.halted = False
        for peer in self._peers.values():
            for topic in list(peer.chans):
                self.leave(peer.connection, topic, now_ns)
            peer.chans.clear()
            peer.next_hb_s.clear()
        self._inform(20061, _RESUME)

    def _inform(self, code: int, words: str) -> list[Connection]:
        informed = [peer.connection for peer in self._peers.values()]
        for connection in informed:
            connection.text(b'{"event":"info","code":%d,"msg":"%b"}' % (code, words.encode()))
        return informed

    # ---- faults of its own

    def do_restart(self, grace_s: float = 1.0) -> dict[str, object]:
        """Announce a restart of the server (20051), and close these connections `grace_s` seconds later."""
        informed = self._inform(20051, _STOPPING)
        self._stop = (time.time_ns() + int(grace_s * 1e9), informed)
        return {"connections": len(informed)}

    def do_maintenance(self, lasts_s: float = 3.0) -> dict[str, object]:
        """Begin maintenance (20060): no trading, no data, no heartbeats. Its end (20061) voids subscriptions."""
        self.halted = True
        self._pause_until_ns = time.time_ns() + int(lasts_s * 1e9)
        return {"connections": len(self._inform(20060, _PAUSE))}

    def do_sequence_hole(self, frames: int = 1, connection: int | None = None) -> dict[str, object]:
        """Skip sequence numbers on every connection."""
        chosen = [peer for channel_id, peer in self._peers.items() if connection in (None, channel_id)]
        for peer in chosen:
            peer.sequence += int(frames)
        return {"connections": len(chosen)}

    def do_tu_first(self, times: int = 1, symbol: str | None = None) -> dict[str, object]:
        """Send the next prints as `tu` before `te`."""
        self.faults.add(Rule("tu_first", symbol, "trade", int(times)))
        return {}

    def do_late_answer(
        self, times: int = 1, channel: str | None = None, symbol: str | None = None
    ) -> dict[str, object]:
        """Answer the next subscriptions a second late, after their first heartbeat."""
        self.faults.add(Rule("late_answer", symbol, channel, int(times)))
        return {}

    def do_every(
        self, heartbeat_s: float | None = None, ticker_s: float | None = None, checksum_s: float | None = None
    ) -> dict[str, object]:
        """Set the seconds between heartbeats and tickers of a channel, and between checksums of a changing book."""
        self.heartbeat_s = self.heartbeat_s if heartbeat_s is None else float(heartbeat_s)
        self.ticker_s = self.ticker_s if ticker_s is None else float(ticker_s)
        self.checksum_s = self.checksum_s if checksum_s is None else float(checksum_s)
        return {"heartbeat_s": self.heartbeat_s, "ticker_s": self.ticker_s, "checksum_s": self.checksum_s}

    # ---- REST

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer `/v2/...`."""
        return answer(self.symbols, request, up=not self.halted)

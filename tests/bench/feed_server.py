"""A venue on loopback that sends a known number of messages, as fast as a client reads them or at a fixed rate.

    PYTHONPATH=tests .venv/bin/python -m bench.feed_server --dialect coinbase --total 200000

It prints its port as one line of JSON and ends by itself after `--limit-s` seconds at the latest. HTTP controls it:
`/bench/start` begins to send, `/bench/state` returns what was sent so far, `/bench/stop` ends the program. Nothing is
sent before `/bench/start`, so that the CPU time of connecting is not counted.

- Without a rate all messages are printed before the port opens; then the client's TCP window is the only brake, and
  the feed costs next to no CPU while it sends.
- With a rate each message is stamped with the time at which it is sent. The clock goes on while no client is
  connected, as it does at a venue: `missed` counts those messages.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Literal

import msgspec

from bench.feed_messages import COINS, DIALECTS, Binance, CoinbaseExchange, Kind, Market
from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.server import Server
from recorder.simulator.wire import Request, Response

_BLOB_BYTES = 1 << 16
_QUEUED_BYTES = 1 << 22  # what waits for the kernel at most
_TICK_S = 0.001
_LARGEST_STEP = 500  # messages printed at once; a feed that fell behind must still answer its client
_CHANNELS = {"matches", "ticker", "level2_batch"}


class State(msgspec.Struct):
    """What a feed has done so far."""

    clients: int = 0  # subscribed to everything
    started_ns: int | None = None
    ended_ns: int | None = None
    generated: int = 0
    missed: int = 0  # generated while no client was connected
    kinds: dict[Kind, int] = {}


class Feed:
    """A venue for `Server`: one market, one dialect, any number of clients."""

    def __init__(self, dialect: Binance | CoinbaseExchange, total: int, rate: float) -> None:
        self._dialect = dialect
        self._total = total
        self._rate = rate
        self._market = Market()
        self._clients: list[Connection] = []
        self._channels: dict[int, dict[str, list[str]]] = {}  # of Coinbase, by connection
        self._books_before = [0] * len(COINS)  # depth updates that the REST book contains
        self._started_s: float | None = None
        self._blobs = iter(list(self._printed())) if not rate else iter(())
        self.state = State()
        self.stop = threading.Event()

    def _printed(self) -> Iterator[tuple[bytes, int]]:
        """Print all messages in large pieces, each with its number of messages."""
        frames: list[bytes] = []
        size = 0
        now_ns = time.time_ns()
        for number in range(self._total):
            frames.append(wire.frame(self._dialect.message(self._market.next(), now_ns + 10_000 * number).encode()))
            size += len(frames[-1])
            if size >= _BLOB_BYTES:
                yield b"".join(frames), len(frames)
                frames, size = [], 0
        if frames:
            yield b"".join(frames), len(frames)

    # ---- called by the server ------------------------------------------------------------------------------

    def handshake(self, request: Request) -> Response | None:
        """Accept every client."""
        return None

    def opened(self, connection: Connection, request: Request, now_ns: int) -> None:
        """Begin with a client of Binance, whose subscription is in the address."""
        if isinstance(self._dialect, Binance):
            if self._rate:
                self._books_before = [self._market.number("book", index) for index in range(len(COINS))]
            self._clients.append(connection)

    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Answer a subscription of Coinbase."""
        request = json.loads(payload)
        if not isinstance(self._dialect, CoinbaseExchange) or request.get("type") != "subscribe":
            return
        channels = self._channels.setdefault(connection.number, {})
        for channel in request["channels"]:
            channels[channel] = request["product_ids"]
        connection.text(self._dialect.subscriptions(channels))
        if "level2_batch" in request["channels"]:
            for symbol in request["product_ids"]:
                connection.text(self._dialect.snapshot(symbol, now_ns))
        if channels.keys() >= _CHANNELS and connection not in self._clients:
            self._clients.append(connection)

    def closed(self, connection: Connection, why: str, now_ns: int) -> None:
        """Forget a client."""
        self._channels.pop(connection.number, None)
        if connection in self._clients:
            self._clients.remove(connection)

    def http(self, request: Request, now_ns: int) -> Response:
        """Answer REST of the venue and the bench's own requests."""
        if isinstance(self._dialect, Binance) and request.path == "/api/v3/exchangeInfo":
            return Response(200, self._dialect.exchange_info())
        if isinstance(self._dialect, Binance) and request.path == "/api/v3/depth":
            symbol = request.query["symbol"]
            return Response(200, self._dialect.depth(symbol, self._books_before[self._dialect.symbols().index(symbol)]))
        match request.path:
            case "/bench/start":
                self._started_s = time.monotonic()
                self.state.started_ns = now_ns
            case "/bench/stop":
                self.stop.set()
            case "/bench/state":
                self.state.clients = len(self._clients)
                self.state.kinds = dict(self._market.counts)
            case _:
                return Response(404)
        return Response(200, msgspec.json.encode(self.state))

    def advance(self, now_ns: int, now_s: float) -> float:
        """Queue what is to be sent now."""
        if self._started_s is None or self.state.ended_ns is not None:
            return 0.05
        if self._rate:
            self._send_paced()
        else:
            self._send_all()
        if self.state.generated >= self._total and not any(client.pending for client in self._clients):
            self.state.ended_ns = now_ns
        return _TICK_S

    def before_writes(self) -> None:
        """Do nothing: what is sent was queued by `advance`."""

    def after_writes(self, now_ns: int, now_s: float) -> None:
        """Do nothing: the feed keeps no log."""

    # ---- sending -------------------------------------------------------------------------------------------

    def _send_all(self) -> None:
        while self._clients and all(client.pending < _QUEUED_BYTES for client in self._clients):
            blob, count = next(self._blobs, (b"", 0))
            if not count:
                return
            self._queue(blob, count)

    def _send_paced(self) -> None:
        elapsed_s = time.monotonic() - (self._started_s or 0.0)
        count = min(self._total, int(elapsed_s * self._rate)) - self.state.generated
        count = min(count, _LARGEST_STEP)
        if count > 0:
            now_ns = time.time_ns()
            messages = (self._dialect.message(self._market.next(), now_ns) for _ in range(count))
            self._queue(b"".join(wire.frame(message.encode()) for message in messages), count)

    def _queue(self, blob: bytes, count: int) -> None:
        self.state.generated += count
        if not self._clients:
            self.state.missed += count
        for client in self._clients:
            client.raw(blob)


Name = Literal["binance", "coinbase"]


def main() -> int:
    """Serve until stopped, or until the time is over."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dialect", choices=sorted(DIALECTS), required=True)
    parser.add_argument("--total", type=int, default=100_000, help="messages")
    parser.add_argument("--rate", type=float, default=0.0, help="messages/s; 0: as fast as the client reads")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--limit-s", type=float, default=120.0, help="end after this time at the latest")
    options = parser.parse_args()
    feed = Feed(DIALECTS[options.dialect](), options.total, options.rate)
    server = Server(feed, options.port)
    print(json.dumps({"port": server.listen()}), flush=True)
    timer = threading.Timer(options.limit_s, feed.stop.set)
    timer.start()
    server.run(feed.stop)
    timer.cancel()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A fake venue: its server, its connections, the market that it publishes, and the faults that it is asked for."""

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from faults.oracle.market import Market
from faults.oracle.sent import Connection, Item, SentLog, now_us
from websockets.asyncio.connection import broadcast
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State

_AHEAD_US = 50 * 60 * 1_000_000
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST
_VALUES = ('"best_bid":', '"changes":', '"bid":', '"bids":', '"price":', '"p":', '"b":')  # keys of what is stored
SPOILS = ("cut", "word", "nested")


class Client:
    """One connection of a recorder."""

    def __init__(self, socket: ServerConnection, noted: Connection) -> None:
        self.socket = socket
        self.noted = noted
        self.streams: set[tuple[str, str]] = set()  # (channel of the wire, symbol)
        self.half_open = False


class Venue:
    """The common part of all fakes. Everything but `do` and its callers runs on the loop of `Fakes`."""

    name = ""
    first_price = 50_000

    def __init__(self, log: SentLog, symbols: Sequence[str], seed: int, rate: float) -> None:
        """
        Args:
            log: Notes what is sent.
            symbols: The symbols that trade.
            seed: Of the market.
            rate: Market events per second.
        """
        self.log = log
        self.rng = random.Random(f"{seed} {self.name}")
        self.rate = rate
        self.running = True
        self.port = 0
        self.clients: list[Client] = []
        self.markets: dict[str, Market] = {}
        self._spoil = ""  # what happens to the next item of a channel: "ahead", "empty", "lose" or one of SPOILS
        self._spoil_channel = ""
        for place, symbol in enumerate(symbols):
            market = Market(symbol, self.first_price * (place + 1), self.rng, self.rng.randrange(10**6, 10**7))
            market.fill(log.number())
            self.markets[symbol] = market

    # ---- what each venue says

    def greet(self, client: Client) -> None:
        """Send what comes first on a connection."""

    def read(self, client: Client, request: dict[str, Any]) -> None:
        """Answer one request."""
        raise NotImplementedError

    def trade(self, market: Market) -> None:
        """Publish a trade."""
        raise NotImplementedError

    def quote(self, market: Market) -> None:
        """Publish the best prices."""
        raise NotImplementedError

    def book(self, market: Market) -> None:
        """Publish a change of the book."""
        raise NotImplementedError

    def beat(self) -> None:
        """Send the heartbeats of one second."""

    def rest(self, path: str, query: dict[str, str]) -> object:
        """Return the answer to a REST request; None is "not found"."""
        return None

    # ---- sending

    def send(self, client: Client, frame: str, items: Iterable[Item] = ()) -> None:
        """Write a frame to a connection, and note its items."""
        if client.half_open or client.socket.state is not State.OPEN:
            return
        broadcast([client.socket], frame)
        self.log.delivered(items, client.noted)

    def publish(self, channel: str, symbol: str, frame: str, *items: Item) -> None:
        """Send a frame with items to all subscribers of their stream."""
        self.deliver([client for client in self.clients if (channel, symbol) in client.streams], frame, *items)

    def deliver(self, clients: Sequence[Client], frame: str, *items: Item) -> None:
        """Send a frame with items to some connections, spoiled if that was asked for."""
        spoil = self._spoil in SPOILS and self._spoil_channel == items[0].channel and items[0].kind != "s"
        for item in items:
            self.log.add(item)
            item.readable = not spoil
        if spoil:
            frame, self._spoil = spoiled(frame, self._spoil, items[0].symbol), ""
        if self._spoil == "lose" and self._spoil_channel == items[0].channel and items[0].kind != "s":
            self._spoil = ""
            return
        for client in clients:
            self.send(client, frame, items)

    def event_us(self, channel: str) -> int:
        """Return the time for a new item; 50 minutes ahead if that was asked for."""
        if self._spoil == "ahead" and self._spoil_channel == channel:
            self._spoil = ""
            return now_us() + _AHEAD_US
        return now_us()

    def empty_size(self) -> bool:
        """Return whether the next trade shall have the size 0, once."""
        if self._spoil != "empty":
            return False
        self._spoil = ""
        return True

    @property
    def spoiling(self) -> bool:
        """Return whether an item is still to be spoiled."""
        return bool(self._spoil)

    def spoil(self, how: str, channel: str) -> None:
        """Spoil the next item of a channel."""
        self._spoil, self._spoil_channel = how, channel

    # ---- ends of connections

    def reset_all(self) -> None:
        """End every connection with RST; what is not read yet is lost."""
        for client in list(self.clients):
            transport = client.socket.transport
            own = transport.get_extra_info("socket")
            if own is not None and own.fileno() >= 0:  # else it has ended by itself
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()

    async def close_all(self) -> None:
        """End every connection with a close frame."""
        await asyncio.gather(*(client.socket.close(1001) for client in list(self.clients) if not client.half_open))

    def half_open_all(self) -> None:
        """Stop reading and writing on every connection without ending it."""
        for client in self.clients:
            client.half_open = True
            client.socket.transport.pause_reading()

    def forget_half_open(self) -> None:
        """Free the connections that were left half open."""
        for client in list(self.clients):
            if client.half_open:
                client.socket.transport.abort()

    def subscribed(self) -> int:
        """Return how many streams have a subscriber."""
        return len({stream for client in self.clients if not client.half_open for stream in client.streams})

    # ---- running

    async def start(self, port: int) -> Server:
        """Listen on loopback."""
        self.port = port
        return await serve(
            self._serve, "127.0.0.1", port, process_request=self._answer, compression=None, ping_timeout=120
        )

    async def run(self) -> None:
        """Publish the market and the heartbeats until cancelled."""
        loop = asyncio.get_running_loop()
        next_beat = loop.time() + 1
        while True:
            await asyncio.sleep(self.rng.expovariate(self.rate))
            if loop.time() >= next_beat:
                self.beat()
                next_beat += 1
            if self.running:
                market = self.rng.choice(list(self.markets.values()))
                self.rng.choice([self.trade, self.quote, self.book])(market)

    async def _serve(self, own: ServerConnection) -> None:
        client = Client(own, self.log.opened(self.name))
        self.clients.append(client)
        try:
            self.greet(client)
            async for message in own:
                self.read(client, json.loads(message))
        except ConnectionClosed:
            pass  # the recorder's way to end it does not matter
        finally:
            client.noted.closed_us = now_us()
            self.clients.remove(client)

    def _answer(self, own: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return None
        path, _, query = request.path.partition("?")
        answer = self.rest(path, dict(part.split("=", 1) for part in query.split("&") if "=" in part))
        body = json.dumps({"code": -1121, "msg": "not found"} if answer is None else answer).encode()
        headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
        return Response(404 if answer is None else 200, "Not Found" if answer is None else "OK", headers, body)


def spoiled(frame: str, how: str, symbol: str) -> str:
    """Return a frame of which nothing can be stored.

    Args:
        frame: The true frame.
        how: "cut": the frame ends early, behind the symbol. "word": a number is a word. "nested": a number is a list.
        symbol: Stays readable, so that the frame can be assigned to its stream.
    """
    if how == "cut":
        return frame[: max(len(frame) - 12, frame.index(symbol) + len(symbol) + 1)]
    key = next(name for name in _VALUES if name in frame)
    return frame.replace(key, key + ('"none"' if how == "word" else "[[[]]]") + f',"was_{key[1:]}', 1)


class Fakes:
    """All fake venues on one thread. As a context manager it serves and publishes until its end."""

    def __init__(self, venues: Sequence[Venue], ports: Sequence[int]) -> None:
        self.venues = {venue.name: venue for venue in venues}
        self._ports = ports
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fakes")
        self._stop: Callable[[], Awaitable[None]] | None = None

    def __enter__(self) -> "Fakes":
        self._thread.start()
        self._stop = self._wait(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self._wait(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> Callable[[], Awaitable[None]]:
        venues = list(self.venues.values())
        servers = [await venue.start(port) for venue, port in zip(venues, self._ports, strict=True)]
        tasks = [asyncio.create_task(venue.run()) for venue in venues]

        async def stop() -> None:
            for task in tasks:
                task.cancel()
            for venue in venues:
                venue.reset_all()
            for server in servers:
                server.close()
                await server.wait_closed()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

        return stop

    def do(self, name: str, action: Callable[[Any], Any]) -> Any:
        """Run a function of a venue on the thread of the fakes."""

        async def run() -> Any:
            answer = action(self.venues[name])
            return await answer if isinstance(answer, Awaitable) else answer

        return self._wait(run())

    def run_market(self, running: bool) -> None:
        """Let all markets run, or let them stand still."""
        for name in self.venues:
            self.do(name, lambda venue: setattr(venue, "running", running))

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

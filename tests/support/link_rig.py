"""A link against a small real server that speaks Coinbase's dialect and behaves as a test prescribes."""

import base64
import hashlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from recorder.capture.link import Link, State
from recorder.capture.rest_fetcher import RestFetcher
from recorder.capture.websocket.connect_budget import ConnectBudget
from recorder.clock import SystemClock
from recorder.errors import LinkError, RestUnavailable
from recorder.events import Stream
from recorder.rest.client import Answer
from recorder.settings import WebsocketSettings
from recorder.venues.base import Venue
from recorder.venues.coinbase.stream import Coinbase
from support.write_buffers import Rig

LIMIT_S = 30.0
TRADES = Stream("trade", "A-USD")
BOOKS = Stream("book", "A-USD")

Behaviour = Callable[["Peer"], None]


def until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for a condition, with a deadline."""
    pause = threading.Event()
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen in {LIMIT_S} s"
        pause.wait(0.005)


class Peer:
    """One accepted connection, seen from the server."""

    def __init__(self, connection: ServerConnection, requests: list[dict[str, Any]]) -> None:
        self.connection = connection
        self.requests = requests  # of all connections, in order
        self._channels: dict[str, list[str]] = {}

    def send(self, frame: bytes) -> None:
        self.connection.send(frame.decode())

    def answer(self, request: dict[str, Any]) -> None:
        """Confirm a request as the venue does, with the complete list."""
        for channel in request["channels"]:
            known = self._channels.setdefault(channel, [])
            if request["type"] == "subscribe":
                known += [symbol for symbol in request["product_ids"] if symbol not in known]
            else:
                known[:] = [symbol for symbol in known if symbol not in request["product_ids"]]
        channels = [{"name": name, "product_ids": symbols} for name, symbols in self._channels.items()]
        self.send(json.dumps({"type": "subscriptions", "channels": channels}).encode())

    def next(self) -> dict[str, Any]:
        """Return the next request of the client."""
        request: dict[str, Any] = json.loads(self.connection.recv())
        self.requests.append(request)
        return request

    def serve(self) -> None:
        """Confirm everything until the client leaves."""
        while True:
            self.answer(self.next())


class Server:
    """A venue on loopback. Each connection uses one behaviour; the last behaviour serves all later connections."""

    def __init__(self, *behaviours: Behaviour) -> None:
        self._behaviours = list(behaviours)
        self.requests: list[dict[str, Any]] = []
        self.peers: list[Peer] = []
        self.attempts: list[float] = []
        self.refuse: Response | None = None

    def __call__(self, connection: ServerConnection) -> None:
        behaviour = self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]
        peer = Peer(connection, self.requests)
        self.peers.append(peer)
        try:
            behaviour(peer)
        except ConnectionClosed:
            return

    def welcome(self, _connection: ServerConnection, _request: Request) -> Response | None:
        """Note a handshake, and refuse it where a test says so."""
        self.attempts.append(time.monotonic())
        return self.refuse

    @contextmanager
    def running(self) -> Iterator[str]:
        """Run, and yield the address."""
        with serve(
            self, "127.0.0.1", 0, process_request=self.welcome, compression=None, ping_interval=None, close_timeout=0.2
        ) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
            finally:
                for peer in self.peers:
                    peer.connection.close_socket()
                server.shutdown()
                thread.join(LIMIT_S)


@contextmanager
def mute_server() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that shakes hands and is then as silent as a dropped cable."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                head = b""
                while b"\r\n\r\n" not in head:
                    head += peer.recv(4096)
                (key,) = (
                    line.split(b": ")[1]
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"sec-websocket-key")
                )
                digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
                peer.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
                )
                accepted.append(peer)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}", accepted
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(LIMIT_S)
            for peer in accepted:
                peer.close()


def no_rest(path: str) -> Answer:
    """Fail: Coinbase needs no REST."""
    raise RestUnavailable(f"no answer at {path}")


class Watched(Link):
    """A link that records its moves, and when it began to connect."""

    moves: list[State]
    connects: list[float]  # monotonic

    def _move(self, state: State) -> None:
        super()._move(state)
        if state is State.CONNECTING:
            self.__dict__.setdefault("connects", []).append(time.monotonic())
        self.__dict__.setdefault("moves", []).append(state)

    @property
    def attempts(self) -> int:
        """Attempts in a row without data."""
        return self._backoff.attempts


class Running:
    """A link in a thread, with its own write buffer."""

    def __init__(
        self,
        folder: Path,
        url: str,
        streams: tuple[Stream, ...],
        number: int = 0,
        venue: type[Venue] = Coinbase,
        ca_file: Path | None = None,
        **settings: Any,
    ) -> None:
        self.rig = Rig(folder, contiguous=venue.contiguous)
        self.renewals: list[Link] = []  # links that asked for a successor
        quick = {"start_interval_s": 0.0, "reconnect_interval_s": 0.0, "settled_after_s": 0.0}
        short = {"reconnect_delay_s": 0.02, "reconnect_cap_s": 0.05, **quick, **settings}
        self.link = Watched(
            number,
            venue(url),
            streams,
            self.rig.buffer,
            RestFetcher(no_rest, SystemClock()),
            WebsocketSettings(**short),
            SystemClock(),
            random.Random(7),
            "recorder",
            ConnectBudget(folder.with_name("connects"), 6000, SystemClock()),
            ca_file=ca_file,
            renew=self.renewals.append,
        )
        self.link.moves = []
        self.failure: LinkError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._body)
        self._thread.start()

    def _body(self) -> None:
        try:
            self.link.run(self._stop)
        except LinkError as error:
            self.failure = error

    @property
    def ended(self) -> bool:
        """Whether the thread is over."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Stop the link and close the journal; a second call does nothing."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._thread.join(LIMIT_S)
        assert self.ended
        self.rig.buffer.flush()
        self.rig.journal.close()


@contextmanager
def linked(
    folder: Path,
    url: str,
    *streams: Stream,
    number: int = 0,
    venue: type[Venue] = Coinbase,
    ca_file: Path | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """Yield a running link, and stop it afterwards."""
    running = Running(folder, url, streams, number, venue, ca_file, **settings)
    try:
        yield running
    finally:
        running.stop()

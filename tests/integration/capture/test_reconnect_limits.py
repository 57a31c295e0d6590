"""Ten minutes of a venue that misbehaves: no minute has more connects than the venue allows. The clock runs fast."""

import random
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from support.link_rig import LIMIT_S, Peer, Server, no_rest, until
from support.write_buffers import Rig, trade
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

from recorder.capture.link import Link, State
from recorder.capture.links import Links
from recorder.capture.rest_fetcher import RestFetcher
from recorder.capture.websocket import connection as opening
from recorder.capture.websocket.connect_budget import WINDOW_S, ConnectBudget
from recorder.clock import SystemClock
from recorder.events import Stream
from recorder.settings import WebsocketSettings
from recorder.venues.base import Limits
from recorder.venues.coinbase.stream import Coinbase

SPEED = 30.0  # seconds of the test's clock in a second
PER_MINUTE = 12
TEN_MINUTES_S = 600.0


class FastClock(SystemClock):
    """A clock that runs ahead."""

    def monotonic_s(self) -> float:
        return time.monotonic() * SPEED


class FastStop(threading.Event):
    """A stop whose waits are those of the fast clock."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(None if timeout is None else timeout / SPEED)


class NotedBudget(ConnectBudget):
    """A budget that notes the connects it allowed."""

    allowed: list[float]

    def take(self, apart_s: float) -> float:
        wait_s = super().take(apart_s)
        if not wait_s:
            self.allowed.append(FastClock().monotonic_s())
        return wait_s


class Strict(Coinbase):
    """A venue that allows few connects, with one stream on each."""

    limits = Limits(streams_per_link=1, frames_per_s=100, connects_per_minute=PER_MINUTE)


class Hostile(Server):
    """A server that behaves badly in a random way at each connection, until `peace` is set."""

    def __init__(self, seed: int) -> None:
        super().__init__(self.misbehave)
        self.peace = threading.Event()
        self._rng = random.Random(seed)

    def welcome(self, connection: ServerConnection, request: Request) -> Response | None:
        super().welcome(connection, request)
        if self.peace.is_set() or self._rng.random() < 0.6:
            return None
        status, wait = self._rng.choice([(429, "5"), (503, ""), (503, "1618228675371"), (418, "nonsense"), (301, "0")])
        return Response(status, "No", Headers({"Retry-After": wait, "Content-Length": "0"}), b"")

    def misbehave(self, peer: Peer) -> None:
        kind = "serve" if self.peace.is_set() else self._rng.choice(["close", "abort", "speak", "serve", "serve"])
        if kind == "abort":
            peer.connection.socket.close()
            return
        peer.answer(peer.next())
        if kind != "close":
            peer.send(trade(len(self.attempts)))
        if kind == "serve":
            peer.serve()

    def drop_all(self) -> None:
        for peer in self.peers:
            peer.connection.close_socket()


class Process:
    """The links of one process."""

    def __init__(self, folder: Path, url: str, streams: Iterable[Stream], connects: Path) -> None:
        self.rig = Rig(folder)
        self.stop = FastStop()
        self.threads: list[threading.Thread] = []
        self.budget = NotedBudget(connects, PER_MINUTE, FastClock())
        self.budget.allowed = []
        self._venue = Strict(url)
        self.links = Links(Strict.limits, PER_MINUTE, self._make, self._start, lambda _streams: None)
        self.links.assign(list(streams))

    def _make(self, number: int, streams: Iterable[Stream], predecessor: Link | None) -> Link:
        settings = WebsocketSettings(heartbeat_interval_s=3000, heartbeat_timeout_s=3000, max_no_data_s=3000)
        return Link(
            number, self._venue, streams, self.rig.buffer, RestFetcher(no_rest, FastClock()), settings, FastClock(),
            random.Random(number), "recorder", self.budget, renew=self.links.renew, predecessor=predecessor,
        )  # fmt: skip

    def _start(self, link: Link) -> None:
        thread = threading.Thread(target=link.run, args=(self.stop,))
        self.threads.append(thread)
        thread.start()

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        self.rig.buffer.flush()
        self.rig.journal.close()


def test_ten_minutes_of_misbehaviour_never_exceed_the_connects_of_the_venue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    monkeypatch.setattr(opening, "HANDSHAKE_S", LIMIT_S * SPEED)  # ten seconds of the real clock
    server, clock = Hostile(seed), FastClock()
    with server.running() as url:
        began_s = clock.monotonic_s()
        streams = [[Stream("trade", f"{letter}-USD") for letter in letters] for letters in ("ABC", "DEF")]
        processes = [
            Process(tmp_path / str(number), url, own, tmp_path / "connects") for number, own in enumerate(streams)
        ]
        try:
            pause = FastStop()
            while clock.monotonic_s() - began_s < TEN_MINUTES_S:
                pause.wait(rng.uniform(1, 20))
                if rng.random() < 0.3:
                    server.drop_all()
                else:  # what an ending notice on every connection does
                    for process in processes:
                        process.links.renew_all()
            server.peace.set()
            links = [link for process in processes for link in process.links.all]
            assert len(links) == 6
            until(lambda: all(one.state is State.LIVE for own in processes for one in own.links.all), "every link live")
        finally:
            for process in processes:
                process.end()
    allowed = sorted(at_s for process in processes for at_s in process.budget.allowed)
    most = max(sum(1 for other in allowed if at_s <= other < at_s + WINDOW_S - 0.5) for at_s in allowed)
    assert most <= PER_MINUTE
    assert PER_MINUTE < len(allowed) <= PER_MINUTE * (1 + (clock.monotonic_s() - began_s) / WINDOW_S)
    assert len(server.attempts) <= len(allowed)  # no connect without asking

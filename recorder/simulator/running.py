"""Simulated venues inside a test process, on ports that the system chooses."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from recorder.clock import Clock
from recorder.simulator.build import build
from recorder.simulator.capture import Capture, CapturePlayer
from recorder.simulator.control import Controls
from recorder.simulator.market import Spec
from recorder.simulator.server import App, Server
from recorder.simulator.venue import FakeVenue
from recorder.truth import TradeItem, TruthLog


class Running:
    """A simulated venue that is being served."""

    def __init__(self, venue: FakeVenue, server: Server, controls: Controls) -> None:
        self.venue = venue
        self.server = server
        self.controls = controls
        self.truth_path = venue.truth.path

    @property
    def url(self) -> str:
        """Return the address of its websocket."""
        return self.server.url

    @property
    def rest_url(self) -> str:
        """Return the address of its REST service."""
        return self.server.rest_url

    def do(self, name: str, **arguments: str | float | bool | None) -> dict[str, object]:
        """Run an action of its controls, as an HTTP request does."""
        return self.controls.do(name, arguments)


@contextmanager
def running(
    name: str,
    *,
    truth: Path | None = None,
    seed: int = 1,
    rate: float = 50.0,
    port: int = 0,
    specs: tuple[Spec, ...] | None = None,
    depth: int = 400,
    first_trade_id: int = 1_000_000,
    clock: Clock | None = None,
    past: Mapping[str, Sequence[TradeItem]] | None = None,
) -> Iterator[Running]:
    """Serve a venue while the block runs. After the block its truth log is complete."""
    venue, server, controls = build(
        name,
        truth=TruthLog(truth),
        clock=clock,
        seed=seed,
        rate=rate,
        port=port,
        specs=specs,
        depth=depth,
        first_trade_id=first_trade_id,
        past=past,
    )
    with _served(venue, server):
        yield Running(venue, server, controls)


@contextmanager
def playing(
    name: str, path: Path, *, truth: Path | None = None, speed: float = 0.0, close_at_end: bool = False
) -> Iterator[tuple[CapturePlayer, str]]:
    """Serve a capture while the block runs; yield the player and the address of its websocket."""
    player = CapturePlayer(
        name, Capture.read(path), TruthLog(truth), speed=speed, now_ns=time.time_ns(), close_at_end=close_at_end
    )
    server = Server(player)
    with _served(player, server):
        yield player, server.url


class _Ends(App, Protocol):
    def end(self, now_ns: int) -> None: ...


@contextmanager
def _served(app: _Ends, server: Server) -> Iterator[None]:
    server.listen()
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,), name="simulator")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(10)
        app.end(time.time_ns())

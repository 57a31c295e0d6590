"""The simulated stream and services of Polymarket with a real recorder, and the service `stream` over its journal."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recorder.clock import SystemClock
from recorder.poller.polymarket.own_book.service import StreamService
from recorder.poller.services import ClientService
from recorder.rest.client import RestClient
from recorder.simulator.running import Running, running
from recorder.simulator.services.polymarket.streamed import Stream
from recorder.simulator.services.running import RunningServices, running_services
from recorder.simulator.venues.polymarket.polled import PolledMarkets
from recorder.simulator.venues.polymarket.stream import Polymarket
from recorder.venues.base import RestLimits
from support.database_server import ROOT

SEED = 3
TRADES_PER_S = 2.0


class StreamedSite:
    """Stream, services and recorder.

    Attributes:
        venue: The simulated stream.
        services: The simulated services, which show the markets of the stream, too.
        journal: Folder of the recorder's journal.
    """

    def __init__(self, home: Path, venue: Running, services: RunningServices) -> None:
        self.venue = venue
        self.services = services
        self.home = home
        self.journal = home / "journals" / "recorder-polymarket"
        self._recorder: subprocess.Popen[bytes] | None = None

    def record(self, tokens: Sequence[str]) -> None:
        """Begin a recorder of these tokens, without a database."""
        config = self.home / "recorder.toml"
        symbols = ", ".join(f'"{token}"' for token in tokens)
        config.write_text(
            f'[journal]\ndir = "{self.journal.parent}"\n'
            "[websocket]\nstart_interval_s = 0.0\nreconnect_interval_s = 0.0\nsettled_after_s = 1.0\n"
            f'[venues.polymarket]\nurl = "{self.venue.url}"\nrest_url = "{self.venue.rest_url}"\n'
            f"symbols = [{symbols}]\n"
        )
        environment = {
            **os.environ, "TAPEDECK_HOME": str(self.home), "TAPEDECK_CONFIG": str(config),
            "DATABASE_URL": "postgresql://127.0.0.1:1/none",
        }  # fmt: skip
        with (self.home / "recorder.log").open("ab") as log:
            self._recorder = subprocess.Popen(
                [sys.executable, str(ROOT / "bin" / "recorder"), "polymarket"], env=environment, stdout=log, stderr=log
            )

    def kill_recorder(self, number: int = signal.SIGKILL) -> None:
        """End the recorder."""
        if self._recorder is not None:
            self._recorder.send_signal(number)
            self._recorder.wait(20)
            self._recorder = None

    @contextmanager
    def stream(self) -> Iterator[StreamService]:
        """Yield the service over the journal of the recorder, as the poller has it."""
        stop = threading.Event()
        limits = RestLimits(per_s=1000, burst=1000, attempts=1)
        clob = ClientService(
            RestClient(
                "clob", self.services.urls["clob"], limits, "tapedeck-test", stop, SystemClock(), random.Random(1)
            )
        )
        service = StreamService(clob, [self.journal], "polymarket", 30.0, 0.01, SystemClock(), stop)
        try:
            yield service
        finally:
            stop.set()
            service.close()
            clob.close()


@contextmanager
def streamed_site(folder: Path, *, markets: int = 60, rate: float = 20.0) -> Iterator[StreamedSite]:
    """Serve the stream and the services; a recorder that was begun ends with them."""
    home = folder / "home"
    home.mkdir()
    with running("polymarket", rate=rate, seed=SEED) as venue:
        assert isinstance(venue.venue, Polymarket)
        venue.venue.polled = PolledMarkets(markets, SEED, TRADES_PER_S)
        stream = Stream(venue.venue, venue.server, int(time.time()))
        with running_services(
            ["gamma", "clob", "data"],
            folder=folder,
            seed=SEED,
            markets=markets,
            trades_per_s=TRADES_PER_S,
            stream=stream,
        ) as services:
            site = StreamedSite(home, venue, services)
            try:
                yield site
            finally:
                site.kill_recorder()

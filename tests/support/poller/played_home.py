"""Pollers of Polymarket's jobs that follow each other in a test's own process, against the simulated services."""

import random
import threading
from pathlib import Path

from recorder.clock import ManualClock
from recorder.journal.reader import JournalReader
from recorder.poller.job import Job
from recorder.poller.polymarket.jobs import polymarket_jobs
from recorder.poller.polymarket.own_book import news
from recorder.poller.services import ClientService, Reply, Service
from recorder.replay.polls import PollReplay, replay_polls
from recorder.rest.client import RestClient
from recorder.settings import Settings
from recorder.simulator.services.running import RunningServices
from recorder.venues.base import RestLimits
from support.poller.journals import Poller

NS = 10**9
START_NS = 1_790_000_000 * NS
AGENT = "tapedeck-test"
STEP_S = 5
WITHOUT_DATABASE = ("polymarket-streams", "polymarket-unlabelled")


class NoStream:
    """The service `stream` where nothing is streamed."""

    url = "http://test"

    def __init__(self, clob: Service) -> None:
        self._clob = clob

    def ask(self, path: str, body: bytes) -> Reply:
        if path in news.PATHS.values():
            return Reply(200, news.encode([]))
        return self._clob.ask(path, body)

    def close(self) -> None:
        pass


class PlayedHome:
    """Pollers that follow each other with one journal, against the simulated services."""

    def __init__(self, folder: Path, services: RunningServices, clock: ManualClock) -> None:
        self.folder = folder
        self.clock = clock
        (folder / "tapedeck.toml").write_text('[venues.polymarket]\nenabled = true\nsymbols = ["1"]\n')
        limits = RestLimits(per_s=1000, burst=1000, attempts=1)
        self._stop = threading.Event()
        self._services: dict[str, Service] = {
            name: ClientService(RestClient(name, url, limits, AGENT, self._stop, clock, random.Random(1)))
            for name, url in services.urls.items()
        }
        self._services["stream"] = NoStream(self._services["clob"])
        self.start()

    def jobs(self, home: Path) -> list[Job]:
        environment = {"TAPEDECK_HOME": str(home)}
        settings = Settings.load(self.folder / "tapedeck.toml", environment)
        jobs = polymarket_jobs(settings, self.clock, lambda: "")
        return [job for job in jobs if job.name not in WITHOUT_DATABASE]

    def start(self) -> None:
        self.poller = Poller(self.folder, self.jobs(self.folder), self.clock, services=self._services)

    def pass_time(self, minutes: float) -> None:
        for _ in range(int(minutes * 60 / STEP_S)):
            self.clock.advance(STEP_S)
            for name in self.poller.runner.jobs:
                self.poller.runner.fire(name)

    def first_list(self) -> None:
        """Run the job that a poller runs at its start."""
        assert self.poller.runner.extra("polymarket-markets", "start") is not None

    def end(self) -> None:
        self.poller.runner.account()
        for job in self.poller.runner.jobs.values():
            if job.at_stop is not None:
                job.at_stop()
        self.poller.journal.close("the test ends")

    def kill(self) -> None:
        self.poller.abandon()

    def replayed(self, scratch: Path) -> PollReplay:
        reader = JournalReader(self.folder / "poller")
        try:
            return replay_polls(
                reader, lambda: {job.name: job for job in self.jobs(scratch)}, 0, None, lambda _at: None
            )
        finally:
            reader.close()

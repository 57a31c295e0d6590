"""Simulated REST services inside a test process, on ports that the system chooses."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from recorder.clock import Clock
from recorder.simulator.services.build import SERVICES, Served, build_services, end
from recorder.simulator.services.polymarket.site import Site
from recorder.simulator.services.polymarket.streamed import Stream
from recorder.simulator.services.polymarket.world import World
from recorder.simulator.services.service import RestService
from recorder.truth import TruthLog


class RunningServices:
    """Services that are being served."""

    def __init__(self, served: Mapping[str, Served], folder: Path | None) -> None:
        self._served = served
        self._folder = folder

    @property
    def urls(self) -> dict[str, str]:
        """Return the addresses by service, as the setting `poller.services` has them."""
        return {name: one.server.rest_url for name, one in self._served.items()}

    def service(self, name: str) -> RestService:
        """Return a service."""
        return self._served[name].service

    @property
    def site(self) -> Site:
        """Return what the services of Polymarket share."""
        return next(
            site for one in self._served.values() if isinstance(site := getattr(one.service, "site", None), Site)
        )

    @property
    def world(self) -> World:
        """Return the markets."""
        return self.site.world

    def do(self, service: str, action: str, **arguments: str | float | bool | None) -> dict[str, object]:
        """Run an action of the controls of a service, as an HTTP request does."""
        return self._served[service].controls.do(action, arguments)

    def truth_path(self, group: str) -> Path:
        """Return the truth log of `polymarket` or `yahoo`. It is complete when the services have ended."""
        if self._folder is None:
            raise ValueError("the services log no truth")
        return self._folder / f"answers-{group}.jsonl"


@contextmanager
def running_services(
    names: Sequence[str] = SERVICES,
    *,
    folder: Path | None = None,
    seed: int = 1,
    markets: int = 60,
    trades_per_s: float = 2.0,
    stream: Stream | None = None,
    clock: Clock | None = None,
) -> Iterator[RunningServices]:
    """Serve services while the block runs.

    Args:
        names: Of the services.
        folder: Of the truth logs; None logs none.
        seed: Of the world.
        markets: How many are open at a time.
        trades_per_s: Of all markets.
        stream: The simulated stream whose markets are shown, too.
        clock: Of the services.
    """
    served = build_services(
        dict.fromkeys(names, 0),
        make_log=lambda group: TruthLog(folder / f"answers-{group}.jsonl" if folder is not None else None),
        seed=seed,
        markets=markets,
        trades_per_s=trades_per_s,
        stream=stream,
        clock=clock,
    )
    stop = threading.Event()
    threads = []
    for name, one in served.items():
        one.server.listen()
        threads.append(threading.Thread(target=one.server.run, args=(stop,), name=f"simulator.{name}"))
    for thread in threads:
        thread.start()
    try:
        yield RunningServices(served, folder)
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
        end(list(served.values()), time.time_ns())

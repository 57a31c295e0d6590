"""The simulated REST services by name, and how they are put together."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from recorder.clock import Clock
from recorder.simulator.server import Server
from recorder.simulator.services.control import ServiceControls
from recorder.simulator.services.polymarket.clob import Clob
from recorder.simulator.services.polymarket.data import Data
from recorder.simulator.services.polymarket.gamma import Gamma
from recorder.simulator.services.polymarket.site import Site
from recorder.simulator.services.polymarket.streamed import Stream
from recorder.simulator.services.polymarket.world import World
from recorder.simulator.services.service import RestService, Truth
from recorder.simulator.services.yahoo.chart import Yahoo
from recorder.truth import ServiceStarted, TruthLog

OF_POLYMARKET: dict[str, Callable[[Site], RestService]] = {Gamma.name: Gamma, Clob.name: Clob, Data.name: Data}
SERVICES = (*OF_POLYMARKET, Yahoo.name)

MakeLog = Callable[[str], TruthLog]


class Served(NamedTuple):
    """One service, its server, which does not listen yet, and its controls."""

    service: RestService
    server: Server
    controls: ServiceControls


def log_path(folder: Path, group: str) -> Path:
    """Return the truth log of a group of services that begins now."""
    return folder / f"answers-{group}-{time.time_ns() // 1_000_000}.jsonl"


def build_services(
    ports: Mapping[str, int],
    *,
    make_log: MakeLog,
    seed: int,
    markets: int,
    trades_per_s: float,
    stream: Stream | None = None,
    clock: Clock | None = None,
) -> dict[str, Served]:
    """Return services by name.

    Args:
        ports: By service; 0 lets the system choose.
        make_log: Gives the truth log of `polymarket` (three services share it) or `yahoo`.
        seed: Of the markets and prices. The same seed gives the same world in every run.
        markets: How many markets of Polymarket are open at a time.
        trades_per_s: Trades of all markets of Polymarket.
        stream: The simulated stream whose markets the services show, too.
        clock: Of the services.
    """
    services: list[RestService] = []
    now_ns = time.time_ns() if clock is None else clock.wall_ns()
    if any(name in OF_POLYMARKET for name in ports):
        world = World(markets, seed)
        started = ServiceStarted("polymarket", now_ns, seed, markets)
        truth = Truth(make_log("polymarket"), started, world.lock)
        site = Site(world, truth, trades_per_s, stream)
        services += [make(site) for name, make in OF_POLYMARKET.items() if name in ports]
    if Yahoo.name in ports:
        services.append(Yahoo(Truth(make_log("yahoo"), ServiceStarted("yahoo", now_ns, seed)), seed))
    return {one.name: _served(one, ports[one.name], clock) for one in services}


def _served(service: RestService, port: int, clock: Clock | None) -> Served:
    if clock is not None:
        service.clock = clock
    server = Server(service, port, clock)
    return Served(service, server, ServiceControls(service, server))


def end(served: Sequence[Served], now_ns: int) -> None:
    """Complete the truth logs."""
    for one in served:
        one.service.truth.end(now_ns)

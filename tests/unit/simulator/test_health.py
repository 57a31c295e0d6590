"""The simulator reports a thread that does not advance, with its name."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from recorder.process.health import SimulatorFigures
from recorder.process.reporting import Health
from recorder.simulator import health as simulator_health
from recorder.simulator.health import check_health, stuck_threads
from recorder.simulator.market import Market, Step
from recorder.simulator.server import Server
from recorder.simulator.venues.kraken.stream import Kraken
from recorder.truth import TruthLog


class BlockingMarket(Market):
    """A market whose steps wait while it is blocked."""

    def __init__(self) -> None:
        super().__init__(Kraken.specs[:1], seed=1, now_ns=time.time_ns(), depth=50)
        self.free = threading.Event()
        self.free.set()

    def step(self, now_ns: int) -> Step:
        self.free.wait()
        return super().step(now_ns)


@pytest.fixture
def market() -> Iterator[BlockingMarket]:
    market = BlockingMarket()
    yield market
    market.free.set()


def test_a_market_that_blocks_makes_the_simulator_degraded_until_it_goes_on(
    market: BlockingMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator_health, "STUCK_S", 0.5)
    venue = Kraken(market, TruthLog(None), rate=200.0, now_ns=time.time_ns())
    server = Server(venue)
    server.listen()
    stop = threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()

    def becomes(condition: Callable[[Health], bool]) -> bool:
        deadline_s = time.monotonic() + 20
        while not condition(check_health({"simulator.kraken": server}, {"kraken": venue})):
            if time.monotonic() > deadline_s:
                return False
            stop.wait(0.02)
        return True

    def events(health: Health) -> int:
        assert isinstance(health.figures, SimulatorFigures)
        return health.figures.venues["kraken"].events

    try:
        assert becomes(lambda health: health.state == "live" and health.detail == "kraken" and events(health) > 0)
        market.free.clear()
        assert becomes(lambda health: health.state == "degraded")
        detail = check_health({"simulator.kraken": server}, {"kraken": venue}).detail
        assert detail.startswith("thread simulator.kraken has not advanced for ")
        market.free.set()
        assert becomes(lambda health: health.state == "live")
    finally:
        market.free.set()
        stop.set()
        thread.join(10)


def test_a_thread_is_stuck_once_its_loop_has_not_turned_within_the_limit() -> None:
    servers = {"simulator.kraken": Server(Kraken(BlockingMarket(), TruthLog(None), rate=1.0, now_ns=0))}
    turned_s = servers["simulator.kraken"].turned_s
    assert stuck_threads(servers, turned_s + simulator_health.STUCK_S) == []
    assert stuck_threads(servers, turned_s + 12.0) == ["thread simulator.kraken has not advanced for 12 s"]

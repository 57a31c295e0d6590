"""The markets of the simulated services, from their creation to their payout, as the poller sees them."""

from collections import Counter
from collections.abc import Iterator

import pytest
import requests
from support.poller.polymarket_rounds import GivenRound, intake

from recorder.clock import ManualClock
from recorder.poller.polymarket.intake import Intake
from recorder.poller.polymarket.resolving import Resolutions
from recorder.poller.polymarket.sweep import NewMarkets, SlowNumbers, Sweep
from recorder.simulator.services.polymarket.life import Market
from recorder.simulator.services.running import RunningServices, running_services

NS = 10**9
START_NS = 1_790_000_000 * NS
MINUTES = 24


class Poller:
    """The jobs of the metadata, at their times, on a clock that the services share."""

    def __init__(self, services: RunningServices, clock: ManualClock) -> None:
        self.clock = clock
        self.markets: Intake = intake()
        self.labels: dict[int, tuple[tuple[int, int], int]] = {}  # payouts and when they became known
        self.history: list[tuple[object, ...]] = []
        self.jobs = (
            (300, Sweep(self.markets, clock)), (30, NewMarkets(self.markets, clock)),
            (300, SlowNumbers(self.markets, clock)), (60, Resolutions(self.markets, clock)),
        )  # fmt: skip
        self._services = services
        self._session = requests.Session()

    def answer(self, service: str, path: str) -> tuple[int, bytes]:
        """Ask a service."""
        reply = self._session.get(self._services.urls[service] + path, timeout=20)
        return reply.status_code, reply.content

    def step(self) -> None:
        """Run the jobs whose time it is."""
        second = (self.clock.wall_ns() - START_NS) // NS
        self.markets.board.retier(self.clock.wall_ns())
        for period_s, job in self.jobs:
            if second % period_s == 0:
                round_ = GivenRound(self.clock, self.answer)
                job.run(round_)
                self._keep(round_)

    def _keep(self, round_: GivenRound) -> None:
        self.history += round_.rows.get("market_history", [])
        for row in round_.rows.get("resolution", []):
            market_id, payouts = int(str(row[0])), (int(str(row[2])), int(str(row[3])))
            assert self.labels.get(market_id, (payouts, 0))[0] == payouts
            self.labels.setdefault(market_id, (payouts, self.clock.wall_ns()))


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Poller, RunningServices]]:
    clock = ManualClock(START_NS)
    with running_services(("gamma", "clob", "data"), markets=60, clock=clock) as services:
        poller = Poller(services, clock)
        for _ in range(MINUTES * 6):
            poller.step()
            clock.advance(10)
        yield poller, services


def truth(services: RunningServices, market_id: int, now_ns: int) -> Market:
    """Return the market of an id."""
    market = services.world.by_number(str(market_id), now_ns / NS)
    assert market is not None
    return market


def test_labels_are_the_payouts_and_none_is_early(played: tuple[Poller, RunningServices]) -> None:
    poller, services = played
    ways: Counter[str] = Counter()
    for market_id, (payouts, known_ns) in poller.labels.items():
        market = truth(services, market_id, poller.clock.wall_ns())
        assert payouts == market.payouts
        assert known_ns >= market.resolved_s * NS
        ways[market.way] += 1
    assert set(ways) >= {"automatic", "proposed", "disputed", "half", "split"}


def test_each_market_that_resolved_has_a_label_soon(played: tuple[Poller, RunningServices]) -> None:
    poller, services = played
    now_ns = poller.clock.wall_ns()
    late = []
    seen = {int(str(row[0])) for row in poller.history} | {m.market_id for m, _ in poller.markets.board.all()}
    for market_id in seen:
        market = truth(services, market_id, now_ns)
        if market.way != "vanished" and market.resolved_s * NS < now_ns - 700 * NS and market_id not in poller.labels:
            late.append((market_id, market.way, market.odd))
    assert late == []


def test_a_market_that_vanished_has_no_label(played: tuple[Poller, RunningServices]) -> None:
    poller, services = played
    now_ns = poller.clock.wall_ns()
    vanished = {row[0] for row in poller.history if row[1] == "phase" and row[4] == "vanished"}
    assert vanished
    assert not vanished & poller.labels.keys()
    assert {truth(services, int(str(market_id)), now_ns).way for market_id in vanished} == {"vanished"}


def test_a_market_that_changed_its_version_changed_all_its_ids_at_once(played: tuple[Poller, RunningServices]) -> None:
    poller, _ = played
    changed: dict[object, set[object]] = {}
    for market_id, field, known_at, _old, _new, _updated in poller.history:
        if field in ("version", "tokens", "condition_id"):
            changed.setdefault((market_id, known_at), set()).add(field)
    assert changed
    assert all(fields == {"version", "tokens", "condition_id"} for fields in changed.values())

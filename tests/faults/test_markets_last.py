"""The simulated markets run for days: their prices stay near the start, and their books keep their levels.

The short form runs the market of every venue with ten seeds for 10,000 steps. The long form does so for 1,000,000
steps, which are 83 minutes of the demo. It also runs every symbol in a market of its own, with ten seeds and 1,000,000
steps in all, since a symbol with a small weight gets few steps in the market of its venue.
"""

import pytest

from recorder.simulator.build import VENUES
from recorder.simulator.market import Market, Spec, SymbolMarket
from recorder.simulator.venues.polymarket.market import ONE, OutcomeMarket

SEEDS = range(1, 11)
START_NS = 1_796_012_290_000_000_000
STEP_NS = 5_000_000  # 200 events per second, the rate of the demo
DEPTH = 400
STEPS_BETWEEN_CHECKS = 100
SPECS = [(name, spec) for name, kind in VENUES.items() for spec in kind.specs]


def check_book(one: SymbolMarket) -> None:
    bid, ask = one.bids.best, one.asks.best
    assert bid < ask
    assert min(one.bids.price_at(len(one.bids) - 1), one.asks.best) >= one.lowest
    assert max(one.asks.price_at(len(one.asks) - 1), one.bids.best) <= one.highest
    if isinstance(one, OutcomeMarket):
        assert 0 < bid < ask < ONE
        assert min(len(one.bids), len(one.asks)) >= one.least
    else:
        start = one.spec.price * 10**one.spec.price_decimals
        assert 0.6 * start < bid < ask < 1.6 * start
        assert ask - bid < 0.25 * start
        assert min(len(one.bids), len(one.asks)) >= DEPTH * 3 // 4


def run_market(name: str, specs: tuple[Spec, ...], seed: int, steps: int) -> None:
    """Run a market; check a book every 100 steps, and at the end that every symbol still trades."""
    market = Market(specs, seed=seed, now_ns=START_NS, depth=DEPTH, kind=VENUES[name].market_kind)
    for one in market.symbols:
        if isinstance(one, OutcomeMarket) and not one.open:
            one.begin()
    traded = dict.fromkeys((one.spec for one in market.symbols), 0)
    for number in range(steps):
        step = market.step(START_NS + number * STEP_NS)
        if number >= steps * 3 // 4:
            traded[step.market.spec] += len(step.trades)
        if number % STEPS_BETWEEN_CHECKS == 0:
            check_book(step.market)
    assert min(traded.values()) > 0.1 * steps / 4 / sum(spec.weight for spec in specs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", VENUES)
def test_every_market_keeps_its_price_and_its_book(name: str, seed: int) -> None:
    run_market(name, VENUES[name].specs, seed, 10_000)


@pytest.mark.timeout(1800)
@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", VENUES)
def test_every_market_keeps_its_price_and_its_book_for_a_million_steps(name: str, seed: int) -> None:
    run_market(name, VENUES[name].specs, seed, 1_000_000)


@pytest.mark.parametrize("seed", [1, 3, 7])
def test_the_market_with_the_coarsest_prices_keeps_them(seed: int) -> None:
    coarsest = min((spec for _, spec in SPECS), key=lambda spec: spec.price * 10**spec.price_decimals / spec.tick)
    name = next(name for name, spec in SPECS if spec is coarsest)
    run_market(name, (coarsest,), seed, 100_000)


@pytest.mark.timeout(1800)
@pytest.mark.long
@pytest.mark.parametrize(("name", "spec"), SPECS, ids=[f"{name}-{spec.base}-{spec.quote}" for name, spec in SPECS])
def test_every_symbol_alone_keeps_its_price_and_its_book_for_a_million_steps(name: str, spec: Spec) -> None:
    for seed in SEEDS:
        run_market(name, (spec,), seed, 1_000_000 // len(SEEDS))

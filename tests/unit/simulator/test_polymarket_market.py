"""A market of two outcomes keeps its prices between zero and one, and its tokens mirror each other."""

from itertools import pairwise

import pytest

from recorder.simulator.market import Market, Spec
from recorder.simulator.venues.polymarket.market import ONE, OutcomeMarket, Print, token_id
from recorder.simulator.venues.polymarket.stream import Polymarket, demo_tokens

NOW_NS = 1_795_276_800 * 10**9
EDGES = (
    Spec("nearly-certain", "Yes/No", 0.97, 4, 2, 100.0, tick=100),
    Spec("nearly-impossible", "Yes/No", 0.011, 4, 2, 100.0, tick=10),
)


def market_of(*specs: Spec, seed: int = 1) -> tuple[Market, list[OutcomeMarket]]:
    market = Market(specs, seed=seed, now_ns=NOW_NS, kind=OutcomeMarket)
    return market, [one for one in market.symbols if isinstance(one, OutcomeMarket)]


@pytest.mark.parametrize("seed", range(3))
def test_prices_stay_on_the_grid_between_zero_and_one_and_never_cross(seed: int) -> None:
    market, _ = market_of(*Polymarket.specs, *EDGES, seed=seed)
    for number in range(30_000):
        one = market.step(NOW_NS + number * 1_000_000).market
        bid, ask = one.bids.best, one.asks.best
        assert 0 < bid < ask < ONE
        assert bid % one.spec.tick == ask % one.spec.tick == 0


def test_the_walk_moves_in_every_open_market_and_one_that_is_not_open_has_no_prints() -> None:
    market, ones = market_of(*Polymarket.specs)
    prints = dict.fromkeys((one.spec.base for one in ones), 0)
    for number in range(20_000):
        step = market.step(NOW_NS + number * 1_000_000)
        prints[step.market.spec.base] += len(step.trades)
    closed = [one.spec.base for one in ones if not one.open]
    assert [base for base, count in prints.items() if not count] == closed
    assert all(count > 200 for base, count in prints.items() if base not in closed)
    opened = ones[-1]
    opened.begin()
    assert sum(len(opened.step(NOW_NS + number).trades) for number in range(1000)) > 50


@pytest.mark.parametrize("tick", [10, 25, 50, 500])
def test_after_another_tick_size_every_level_is_on_the_new_grid(tick: int) -> None:
    market, (one,) = market_of(Polymarket.specs[0])
    one.set_tick(tick)
    for number in range(5_000):
        market.step(NOW_NS + number * 1_000_000)
        assert 0 < one.bids.best < one.asks.best < ONE
    assert {price % tick for side in (one.bids, one.asks) for price, _ in side.levels()} == {0}


def test_the_second_token_is_the_first_one_seen_from_the_other_side() -> None:
    _, (one,) = market_of(Polymarket.specs[0])
    (bids, asks), (other_bids, other_asks) = (one.levels(token) for token in one.tokens)
    assert other_bids == [(ONE - price, size) for price, size in asks]
    assert other_asks == [(ONE - price, size) for price, size in bids]
    assert one.touch(one.tokens[1]) == (ONE - one.asks.best, ONE - one.bids.best)


def test_prints_have_whole_milliseconds_and_equal_ones_are_numbered() -> None:
    market, (one,) = market_of(Polymarket.specs[0])
    one.split = 30
    prints: list[Print] = []
    for number in range(2_000):
        prints += [trade for trade in market.step(NOW_NS + number * 100_000).trades if isinstance(trade, Print)]
    assert {trade.ts_ns % 1_000_000 for trade in prints} == {0}
    keys = [(trade.token, trade.ts_ns, trade.price, trade.size, trade.taker, trade.tx, trade.nth) for trade in prints]
    assert len(set(keys)) == len(keys)
    assert sum(a[:-1] == b[:-1] and b[-1] == a[-1] + 1 for a, b in pairwise(keys)) >= 30
    assert {trade.token for trade in prints} == set(one.tokens)


def test_tokens_are_the_same_for_every_seed_and_those_of_the_demo_are_open() -> None:
    tokens = demo_tokens()
    for seed in (1, 2):
        _, ones = market_of(*Polymarket.specs, seed=seed)
        assert [token for one in ones if one.open for token in one.tokens] == tokens
    assert tokens[0] == token_id("bitcoin-above-100k-on-december-31", "Yes")
    assert tokens[0] == "43717265024385411812049016406886380301321192703988327764474856603692046984606"
    assert all(token.isdecimal() and len(token) <= 78 for token in tokens)


def test_a_seed_is_a_market() -> None:
    def some(seed: int) -> list[object]:
        market, _ = market_of(*Polymarket.specs, seed=seed)
        steps = [market.step(NOW_NS + number * 1_000_000) for number in range(500)]
        return [(step.trades, step.bids, step.asks) for step in steps]

    assert some(5) == some(5)
    assert some(5) != some(6)

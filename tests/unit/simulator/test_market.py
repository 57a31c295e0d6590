"""The seeded market is reproducible and consistent, and its trade ids are contiguous."""

import pytest

from recorder.simulator.book import BookSide
from recorder.simulator.market import Market, Spec, Step, text
from recorder.simulator.venues.coinbase.stream import Coinbase
from recorder.simulator.venues.kraken.stream import Kraken

START_NS = 1_800_000_000_000_000_000
SPECS = (Spec("BTC", "USD", 77572.86, 2, 8, 0.05, weight=3), Spec("DOGE", "USD", 0.18351, 5, 1, 8000.0))


def steps(market: Market, count: int) -> list[Step]:
    return [market.step(START_NS + index * 1_000_000) for index in range(count)]


def described(step: Step) -> tuple[object, ...]:
    prints = [(trade.id, trade.ts_ns, trade.price, trade.size, trade.taker) for trade in step.trades]
    changes = [(one.price, one.old, one.new) for one in [*step.bids, *step.asks]]
    return step.ts_ns, prints, changes, step.touched


def test_one_seed_makes_one_market_and_another_seed_another() -> None:
    runs = [
        [described(one) for one in steps(Market(SPECS, seed=seed, now_ns=START_NS, depth=50), 500)]
        for seed in (7, 7, 8)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_trade_ids_rise_by_one_per_symbol_from_the_first_asked_for() -> None:
    market = Market(SPECS, seed=1, now_ns=START_NS, depth=50, first_trade_id=5_000)
    steps(market, 3000)
    for symbol in market.symbols:
        ids = [trade.id for trade in symbol.history]
        assert ids == list(range(5_000, symbol.next_id))
        assert len(ids) > 200


@pytest.mark.parametrize("specs", [SPECS, Kraken.specs, Coinbase.specs])
def test_trades_eat_what_stands_at_the_touch_and_the_book_never_crosses(specs: tuple[Spec, ...]) -> None:
    market = Market(specs, seed=3, now_ns=START_NS, depth=60)
    for _ in range(4000):
        touch = {id(one): (one.bids.best, one.asks.best) for one in market.symbols}
        step = market.step(START_NS)
        one = step.market
        assert one.bids.best < one.asks.best
        assert min(len(one.bids), len(one.asks)) >= 40
        bid, ask = touch[id(one)]
        for trade in step.trades[:1]:
            assert trade.price == (ask if trade.taker == "b" else bid)
        for trade in step.trades:
            changes = {change.price: change for change in (step.asks if trade.taker == "b" else step.bids)}
            assert changes[trade.price].old - changes[trade.price].new == trade.size


def test_changes_of_a_step_lead_from_the_book_before_to_the_book_after() -> None:
    market = Market(SPECS[:1], seed=4, now_ns=START_NS, depth=80)
    (one,) = market.symbols
    mirror = {"bids": dict(one.bids.levels()), "asks": dict(one.asks.levels())}
    for step in steps(market, 3000):
        for side, changes in (("bids", step.bids), ("asks", step.asks)):
            for change in changes:
                assert mirror[side].pop(change.price, 0) == change.old
                if change.new:
                    mirror[side][change.price] = change.new
    assert mirror == {"bids": dict(one.bids.levels()), "asks": dict(one.asks.levels())}


def test_time_rises_by_at_least_a_microsecond_even_when_the_clock_stands() -> None:
    market = Market(SPECS, seed=1, now_ns=START_NS, depth=50)
    stamps = [market.step(START_NS).ts_ns for _ in range(100)]
    assert stamps == sorted(set(stamps))
    assert all(stamp % 1000 == 0 for stamp in stamps)


def test_the_walk_stays_near_where_it_began() -> None:
    market = Market(SPECS[:1], seed=5, now_ns=START_NS, depth=60)
    steps(market, 60_000)
    (one,) = market.symbols
    middle = (one.bids.best + one.asks.best) / 2 / 100
    assert 0.5 * 77572 < middle < 2 * 77572


def test_a_side_knows_its_windows() -> None:
    side = BookSide(-1)
    for price, size in [(100, 1), (99, 2), (97, 3), (96, 4)]:
        assert side.set(price, size) == 0
    assert side.levels(2) == [(100, 1), (99, 2)]
    assert side.worst_of(3) == side.key(97)
    assert side.worst_of(5) is None
    assert side.set(99, 0) == 2
    assert side.beyond(side.key(100), 3) == [97, 96]
    assert (side.best, side.size(99), len(side)) == (100, 0, 3)


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [(7757286, 2, "77572.86"), (35, 8, "0.00000035"), (0, 8, "0.00000000"), (12, 0, "12"), (100, 2, "1.00")],
)
def test_integers_are_printed_with_all_their_decimals(value: int, decimals: int, expected: str) -> None:
    assert text(value, decimals) == expected

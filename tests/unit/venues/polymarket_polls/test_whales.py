"""A whale is the sum of one transaction and wallet, reported once, whatever the pages and walks show of it."""

import random
from collections import Counter
from typing import Literal

import pytest

from recorder.venues.polymarket.polls.trades import Fill
from recorder.venues.polymarket.polls.whales import OVERLAP_S, REMEMBERED_S, Whale, Whales

NOW_NS = 1_796_000_000 * 10**9


def fill(
    transaction: str = "0xa",
    cash: float = 600.0,
    *,
    token: str = "1",
    side: Literal["BUY", "SELL"] = "BUY",
    wallet: str = "w",
    age_s: int = 0,
) -> Fill:
    return Fill(transaction, token, wallet, side, cash * 2, 0.5, "0xc", NOW_NS - age_s * 10**9, "Yes", 0)


def test_fills_of_one_transaction_are_one_whale() -> None:
    (whale,) = Whales(1000).add(1, [fill(cash=600), fill(cash=500)], last=True)
    assert (whale.cash, whale.shares, whale.fills, whale.side, whale.tokens) == (1100, 2200, 2, "b", 1)


def test_a_sum_below_the_bound_is_no_whale() -> None:
    assert Whales(1000).add(1, [fill(cash=600), fill(cash=399.99)], last=True) == []
    assert len(Whales(1000).add(1, [fill(cash=600), fill(cash=400)], last=True)) == 1


@pytest.mark.parametrize("other", [fill("0xb"), fill(wallet="v")])
def test_another_transaction_or_wallet_is_not_added(other: Fill) -> None:
    assert Whales(1000).add(1, [fill(), other], last=True) == []


def test_equal_fills_of_one_walk_are_separate() -> None:
    (whale,) = Whales(1000).add(1, [fill(cash=500), fill(cash=500)], last=True)
    assert (whale.cash, whale.fills) == (1000, 2)


def test_the_next_walk_shows_the_same_fills_and_reports_nothing() -> None:
    whales = Whales(1000)
    assert len(whales.add(1, [fill(cash=500), fill(cash=500)], last=True)) == 1
    assert whales.add(2, [fill(cash=500), fill(cash=500)], last=True) == []
    assert whales.add(3, [fill(cash=500)], last=True) == []


def test_fills_on_two_pages_of_one_walk_are_added() -> None:
    whales = Whales(1000)
    assert whales.add(1, [fill(cash=500)], last=True) == []
    (whale,) = whales.add(1, [fill(cash=500)], last=True)
    assert (whale.cash, whale.fills) == (1000, 2)


def test_a_transaction_that_grows_is_reported_again_with_more_fills() -> None:
    whales = Whales(1000)
    (first,) = whales.add(1, [fill(cash=1200)], last=True)
    (grown,) = whales.add(2, [fill(cash=300), fill(cash=1200)], last=True)
    assert (first.fills, grown.fills, grown.cash) == (1, 2, 1500)


def test_a_walk_may_end_at_a_row_of_an_earlier_walk() -> None:
    whales = Whales(1000)
    old = fill("0xa", age_s=OVERLAP_S)
    whales.add(1, [fill("0xn"), old], last=True)
    whales.add(2, [fill("0xb")], last=False)
    assert not whales.complete
    whales.add(2, [old], last=False)
    assert whales.complete


def test_the_newest_rows_are_read_again_because_their_transactions_may_grow() -> None:
    whales = Whales(1000)
    young = fill("0xa", age_s=OVERLAP_S - 1)
    whales.add(1, [fill("0xn"), young, fill("0xo", age_s=OVERLAP_S)], last=True)
    whales.add(2, [fill("0xn"), young], last=False)
    assert not whales.complete


def test_behind_a_walk_that_broke_off_nothing_is_known() -> None:
    whales = Whales(1000)
    whales.add(1, [fill("0xn"), fill("0xa", age_s=300)], last=True)
    whales.add(2, [fill("0xm"), fill("0xb", age_s=100)], last=False)  # and its next page failed
    whales.add(3, [fill("0xm"), fill("0xb", age_s=100)], last=False)
    assert not whales.complete
    (missed,) = whales.add(3, [fill("0xc", 2000, age_s=200), fill("0xa", age_s=300)], last=False)
    assert (missed.transaction, whales.complete) == ("0xc", True)


def test_the_first_walk_ends_an_hour_before_its_newest_row() -> None:
    whales = Whales(1000)
    whales.add(1, [fill("0xn"), fill("0xa", age_s=REMEMBERED_S)], last=False)
    assert not whales.complete
    whales.add(1, [fill("0xb", age_s=REMEMBERED_S + 1)], last=False)
    assert whales.complete


def test_the_side_and_the_token_are_those_of_most_of_the_cash() -> None:
    rows = [fill(token="2", cash=900, side="SELL"), fill(token="1", cash=800), fill(token="2", cash=100)]
    (whale,) = Whales(1000).add(1, rows, last=True)
    assert (whale.token, whale.side, whale.tokens, whale.cash) == ("2", "s", 2, 1800)


def test_transactions_are_forgotten_after_an_hour() -> None:
    whales = Whales(1000)
    old = fill("0xold", cash=2000, age_s=REMEMBERED_S + 1)
    assert len(whales.add(1, [old], last=True)) == 1
    whales.add(2, [fill("0xnew"), old], last=True)
    assert len(whales.add(3, [old], last=True)) == 1


def test_any_cut_into_pages_and_overlapping_walks_gives_the_sums_of_the_feed() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    feed = []
    for number in range(100):  # oldest first, a block every 10 s
        rows = [
            fill(
                f"0x{number}",
                rng.choice([150.0, 300.0, 300.0, 700.0]),
                wallet=str(rng.randrange(2)),
                age_s=10 * (100 - number),
            )
            for _ in range(rng.randrange(1, 8))
        ]
        feed += rows
    truth: Counter[tuple[str, str]] = Counter()
    for row in feed:
        truth[row.transaction, row.wallet] += int(row.cash)
    whales, stored = Whales(1000), dict[tuple[str, str], Whale]()
    seen = walk = 0
    while seen < len(feed):
        seen = min(len(feed), seen + rng.randrange(1, 20))  # may show a part of a transaction
        walk += 1
        visible = feed[:seen][::-1]
        while visible:
            size = rng.randrange(1, 20)
            page, visible = visible[:size], visible[size:]
            for whale in whales.add(walk, page, last=not visible):
                key = (whale.transaction, whale.wallet)
                assert key not in stored or stored[key].fills < whale.fills
                stored[key] = whale
            if whales.complete:
                break
    expected = {key: cash for key, cash in truth.items() if cash >= 1000}
    assert {key: int(whale.cash) for key, whale in stored.items()} == expected


def test_a_fill_whose_outcome_is_named_later_is_the_same_fill() -> None:
    whales = Whales(1000)
    unnamed = fill(cash=1500)._replace(outcome=None, outcome_index=None)
    (whale,) = whales.add(1, [unnamed], last=True)
    assert (whale.cash, whale.outcome_index) == (1500, None)
    assert whales.add(2, [fill(cash=1500)], last=True) == []
    (grown,) = whales.add(3, [fill(cash=1500), unnamed], last=True)
    assert (grown.cash, grown.fills, grown.outcome_index) == (3000, 2, 0)

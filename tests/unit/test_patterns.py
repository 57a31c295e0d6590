"""Wishes for symbols against what a venue lists."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import ConfigError
from recorder.events import Stream
from recorder.patterns import Wanted, Wish, rank, resolve, resolve_streams, worths
from recorder.venues.base import Listing


def listing(
    symbol: str,
    price: float | None = None,
    volume: float | None = None,
    *,
    trades: bool = True,
    alias_of: str | None = None,
) -> Listing:
    base, _, quote = symbol.partition("-")
    return Listing(
        symbol, base, quote, "spot", None, None, "x", trades=trades, price=price, volume=volume, alias_of=alias_of
    )


LISTED = [
    listing("ETH-USD", 2_000, 5e6),
    listing("BTC-USD", 60_000, 9e6),
    listing("BTC-EUR", 50_000, 8e6),  # 9.6e6 USD
    listing("OLD-USD", 1, 9e9, trades=False),
    listing("SHIB-IDR", 0.4, 1e10),  # 7.2e5 USD
    listing("USD-IDR", 14_000, 1e9),
    listing("NEW-USD"),
]


def test_a_symbol_is_itself_and_order_is_that_of_the_wishes() -> None:
    assert resolve(["ETH-USD", "BTC-USD", "ETH-USD"], LISTED).symbols == ("ETH-USD", "BTC-USD")


def test_a_glob_finds_what_trades_in_the_order_of_the_list() -> None:
    assert resolve(["*-USD"], LISTED).symbols == ("ETH-USD", "BTC-USD", "NEW-USD")
    assert resolve(["BTC*"], LISTED).symbols == ("BTC-USD", "BTC-EUR")
    assert resolve(["?TC-USD", "[E]TH-*"], LISTED).symbols == ("BTC-USD", "ETH-USD")


def test_case_is_the_venues_own() -> None:
    found = resolve(["btc*", "btc-usd"], LISTED)
    assert found.symbols == ("btc-usd",)
    assert found.unmatched == ("btc*",)
    assert found.unlisted == ("btc-usd",)


def test_a_symbol_that_is_not_listed_is_kept_and_told_and_so_is_one_that_does_not_trade() -> None:
    found = resolve(["NO-SUCH", "OLD-USD", "BTC-USD"], LISTED)
    assert found.symbols == ("NO-SUCH", "OLD-USD", "BTC-USD")
    assert found.unlisted == ("NO-SUCH", "OLD-USD")
    assert found.unmatched == ()


def test_without_a_list_symbols_stand_and_patterns_find_nothing() -> None:
    found = resolve(["BTC-USD", "*-USD", "top:5"], [])
    assert (found.symbols, found.unmatched) == (("BTC-USD",), ("*-USD", "top:5"))


def test_top_compares_volumes_of_different_quotes_in_one_currency() -> None:
    """By the bare numbers the pairs in rupiah would come first."""
    assert resolve(["top:3"], LISTED).symbols == ("BTC-EUR", "BTC-USD", "ETH-USD")
    assert resolve(["top:1:*-USD"], LISTED).symbols == ("BTC-USD",)


def test_top_takes_nothing_that_has_no_volume_or_does_not_trade() -> None:
    assert set(resolve(["top:100"], LISTED).symbols) == {one.symbol for one in LISTED} - {"OLD-USD", "NEW-USD"}
    assert resolve(["top:3"], [listing("A-USD")]).unmatched == ("top:3",)


def test_what_is_recorded_stays_in_the_top_until_it_is_a_quarter_behind() -> None:
    rows = [listing(f"{name}-USD", 1, 100 - index) for index, name in enumerate("ABCDEFGH")]
    held = ("E-USD", "A-USD")
    assert resolve(["top:4"], rows, held).symbols == ("A-USD", "B-USD", "C-USD", "E-USD")
    assert resolve(["top:4"], rows, ("F-USD",)).symbols == ("A-USD", "B-USD", "C-USD", "D-USD")
    assert resolve(["top:1"], rows, ("B-USD",)).symbols == ("A-USD",)


@given(st.integers(1, 12), st.sets(st.sampled_from("ABCDEFGHIJ")))
def test_the_top_are_as_many_as_asked_whatever_is_held(number: int, held: set[str]) -> None:
    rows = [listing(f"{name}-USD", 1, 100 - index) for index, name in enumerate("ABCDEFGHIJ")]
    symbols = resolve([f"top:{number}"], rows, {f"{name}-USD" for name in held}).symbols
    assert len(symbols) == min(number, 10)
    assert list(symbols) == sorted(symbols)


def test_the_glob_behind_top_may_hold_colons() -> None:
    rows = [
        Listing("tAVAX:USD", "AVAX", "USD", "spot", None, None, "listed", price=1, volume=1),
        Listing("tBTCUSD", "BTC", "USD", "spot", None, None, "listed", price=1, volume=2),
    ]
    assert resolve(["top:5:t*:USD"], rows).symbols == ("tAVAX:USD",)


@pytest.mark.parametrize("wish", ["top:", "top:0", "top:-1", "top:x", "top:1.5", "top::*", "top:9999999"])
def test_a_top_without_a_number_says_how_it_is_written(wish: str) -> None:
    with pytest.raises(ConfigError, match="write top:20"):
        resolve([wish], LISTED)


def test_an_instrument_of_two_names_is_meant_by_the_one_its_data_comes_under() -> None:
    rows = [
        listing("BTC-USD", 60_000, 9e6),
        listing("BTC-USDC", 60_000, 9e6, alias_of="BTC-USD"),
        listing("ETH-USD", 2_000, 5e6),
        listing("A-USDC", 1, 1, alias_of="A-GONE"),
    ]
    assert resolve(["*-USDC"], rows).symbols == ("BTC-USD", "A-USDC")
    assert resolve(["BTC-USDC"], rows).symbols == ("BTC-USD",)
    assert resolve(["top:2"], rows).symbols == ("BTC-USD", "ETH-USD")


def test_an_outcome_is_found_by_its_market() -> None:
    rows = [
        Listing("11", "will-it-rain:Yes", "USDC", "outcome", None, None, "open", volume=5.0),
        Listing("12", "will-it-rain:No", "USDC", "outcome", None, None, "open", volume=5.0),
    ]
    assert resolve(["will-it-*:Yes"], rows).symbols == ("11",)
    assert resolve(["1?"], rows).symbols == ("11", "12")
    assert resolve(["top:1"], rows).symbols == ("11",)  # no price is needed where there is one currency


def test_a_rate_is_told_by_the_busiest_pair_and_by_the_fewest_conversions() -> None:
    rows = [
        listing("BTC-USD", 60_000, 9e6),
        listing("ETH-USD", 2_000, 9e6),
        listing("ETH-BTC", 0.05, 10.0),  # 3,000 USD: a stale price on the longer way
    ]
    assert worths(rows) == {"USD": 1.0, "BTC": 60_000.0, "ETH": 2_000.0}
    assert worths([]) == {}
    assert worths([listing("A-USD", 0.0, 0.0)]) == {"USD": 1.0}


@given(st.permutations(range(len(LISTED))), st.integers(1, 8))
def test_the_top_does_not_hang_on_the_order_of_the_list(order: list[int], top: int) -> None:
    shuffled = [LISTED[index] for index in order]
    assert resolve([f"top:{top}"], shuffled).symbols == resolve([f"top:{top}"], LISTED).symbols


def test_equal_volumes_are_ranked_by_symbol() -> None:
    rows = [listing(f"{name}-USD", 1, 5) for name in "CAB"]
    random.Random(1).shuffle(rows)
    assert [row.symbol for row in rank(rows, rows)] == ["A-USD", "B-USD", "C-USD"]


def test_streams_come_by_priority_and_each_once() -> None:
    wishes = Wish("BTC-USD", ("trade",)), Wish("top:2", ("trade", "book"), 5), Wish("ETH-USD", ("trade",), 9)
    assert resolve_streams(Wanted(wishes), LISTED).streams == (
        Stream("trade", "ETH-USD"),
        Stream("trade", "BTC-EUR"), Stream("book", "BTC-EUR"), Stream("trade", "BTC-USD"), Stream("book", "BTC-USD"),
    )  # fmt: skip


def test_what_was_ended_by_name_no_pattern_brings_back_but_a_name_does() -> None:
    ended = frozenset({Stream("trade", "BTC-USD")})
    by_pattern = Wanted((Wish("BTC-*", ("trade",)),), ended)
    assert resolve_streams(by_pattern, LISTED).streams == (Stream("trade", "BTC-EUR"),)
    by_name = Wanted((Wish("BTC-USD", ("trade",)),), ended)
    assert resolve_streams(by_name, LISTED).streams == (Stream("trade", "BTC-USD"),)


def test_what_found_nothing_is_told_once_and_what_nobody_understands_costs_nothing_else() -> None:
    wishes = Wish("X*", ("trade",)), Wish("X*", ("book",)), Wish("NO-SUCH"), Wish("top:x"), Wish("BTC-USD", ("trade",))
    found = resolve_streams(Wanted(wishes), LISTED)
    assert (found.unmatched, found.unlisted) == (("X*", "top:x"), ("NO-SUCH",))
    assert found.streams[-1] == Stream("trade", "BTC-USD")


@pytest.mark.parametrize(
    ("wish", "needs"), [("BTC-USD", False), ("*-USD", True), ("top:5", True), ("tAVAX:USD", False)]
)
def test_only_patterns_need_a_list(wish: str, needs: bool) -> None:
    assert Wanted((Wish("A-USD"), Wish(wish))).needs_listings is needs

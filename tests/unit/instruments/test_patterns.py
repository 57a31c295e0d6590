"""Selectors of symbols, resolved against the listing of a venue."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.errors import ConfigError
from recorder.events import Stream
from recorder.instruments.patterns import SymbolSelector, Wanted, rank, resolve, resolve_streams, worths
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


def test_a_symbol_selects_itself_in_the_order_of_the_selectors() -> None:
    assert resolve(["ETH-USD", "BTC-USD", "ETH-USD"], LISTED).symbols == ("ETH-USD", "BTC-USD")


def test_a_glob_selects_what_trades_in_the_order_of_the_listing() -> None:
    assert resolve(["*-USD"], LISTED).symbols == ("ETH-USD", "BTC-USD", "NEW-USD")
    assert resolve(["BTC*"], LISTED).symbols == ("BTC-USD", "BTC-EUR")
    assert resolve(["?TC-USD", "[E]TH-*"], LISTED).symbols == ("BTC-USD", "ETH-USD")


def test_globs_are_case_sensitive() -> None:
    found = resolve(["btc*", "btc-usd"], LISTED)
    assert found.symbols == ("btc-usd",)
    assert found.unmatched == ("btc*",)
    assert found.unlisted == ("btc-usd",)


def test_a_symbol_that_is_not_listed_or_does_not_trade_is_kept_and_reported() -> None:
    found = resolve(["NO-SUCH", "OLD-USD", "BTC-USD"], LISTED)
    assert found.symbols == ("NO-SUCH", "OLD-USD", "BTC-USD")
    assert found.unlisted == ("NO-SUCH", "OLD-USD")
    assert found.unmatched == ()


def test_without_a_listing_symbols_are_kept_and_patterns_match_nothing() -> None:
    found = resolve(["BTC-USD", "*-USD", "top:5"], [])
    assert (found.symbols, found.unmatched) == (("BTC-USD",), ("*-USD", "top:5"))


def test_top_compares_volumes_of_different_quotes_in_one_currency() -> None:
    """By the plain numbers the pairs in rupiah would come first."""
    assert resolve(["top:3"], LISTED).symbols == ("BTC-EUR", "BTC-USD", "ETH-USD")
    assert resolve(["top:1:*-USD"], LISTED).symbols == ("BTC-USD",)


def test_top_leaves_out_what_has_no_volume_or_does_not_trade() -> None:
    assert set(resolve(["top:100"], LISTED).symbols) == {one.symbol for one in LISTED} - {"OLD-USD", "NEW-USD"}
    assert resolve(["top:3"], [listing("A-USD")]).unmatched == ("top:3",)


def test_what_is_recorded_stays_in_the_top_until_it_is_a_quarter_behind() -> None:
    rows = [listing(f"{name}-USD", 1, 100 - index) for index, name in enumerate("ABCDEFGH")]
    held = ("E-USD", "A-USD")
    assert resolve(["top:4"], rows, held).symbols == ("A-USD", "B-USD", "C-USD", "E-USD")
    assert resolve(["top:4"], rows, ("F-USD",)).symbols == ("A-USD", "B-USD", "C-USD", "D-USD")
    assert resolve(["top:1"], rows, ("B-USD",)).symbols == ("A-USD",)


@given(st.integers(1, 12), st.sets(st.sampled_from("ABCDEFGHIJ")))
def test_top_selects_the_requested_number_whatever_is_recorded_now(number: int, held: set[str]) -> None:
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


@pytest.mark.parametrize("selector", ["top:", "top:0", "top:-1", "top:x", "top:1.5", "top::*", "top:9999999"])
def test_a_top_without_a_number_says_how_it_is_written(selector: str) -> None:
    with pytest.raises(ConfigError, match="write top:20"):
        resolve([selector], LISTED)


def test_an_instrument_of_two_names_is_selected_by_the_name_of_its_data() -> None:
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


def test_a_rate_comes_from_the_busiest_pair_and_the_fewest_conversions() -> None:
    rows = [
        listing("BTC-USD", 60_000, 9e6),
        listing("ETH-USD", 2_000, 9e6),
        listing("ETH-BTC", 0.05, 10.0),  # 3,000 USD: a stale price on the longer way
    ]
    assert worths(rows) == {"USD": 1.0, "BTC": 60_000.0, "ETH": 2_000.0}
    assert worths([]) == {}
    assert worths([listing("A-USD", 0.0, 0.0)]) == {"USD": 1.0}


@given(st.permutations(range(len(LISTED))), st.integers(1, 8))
def test_top_does_not_depend_on_the_order_of_the_listing(order: list[int], top: int) -> None:
    shuffled = [LISTED[index] for index in order]
    assert resolve([f"top:{top}"], shuffled).symbols == resolve([f"top:{top}"], LISTED).symbols


def test_equal_volumes_are_ranked_by_symbol() -> None:
    rows = [listing(f"{name}-USD", 1, 5) for name in "CAB"]
    random.Random(1).shuffle(rows)
    assert [row.symbol for row in rank(rows, rows)] == ["A-USD", "B-USD", "C-USD"]


def test_streams_come_by_priority_and_each_once() -> None:
    selectors = (
        SymbolSelector("BTC-USD", ("trade",)),
        SymbolSelector("top:2", ("trade", "book"), 5),
        SymbolSelector("ETH-USD", ("trade",), 9),
    )
    assert resolve_streams(Wanted(selectors), LISTED).streams == (
        Stream("trade", "ETH-USD"),
        Stream("trade", "BTC-EUR"), Stream("book", "BTC-EUR"), Stream("trade", "BTC-USD"), Stream("book", "BTC-USD"),
    )  # fmt: skip


def test_a_symbol_ended_by_name_is_selected_by_its_name_but_by_no_pattern() -> None:
    ended = frozenset({Stream("trade", "BTC-USD")})
    by_pattern = Wanted((SymbolSelector("BTC-*", ("trade",)),), ended)
    assert resolve_streams(by_pattern, LISTED).streams == (Stream("trade", "BTC-EUR"),)
    by_name = Wanted((SymbolSelector("BTC-USD", ("trade",)),), ended)
    assert resolve_streams(by_name, LISTED).streams == (Stream("trade", "BTC-USD"),)


def test_an_unmatched_pattern_is_reported_once_and_an_invalid_one_affects_no_other() -> None:
    selectors = (
        SymbolSelector("X*", ("trade",)),
        SymbolSelector("X*", ("book",)),
        SymbolSelector("NO-SUCH"),
        SymbolSelector("top:x"),
        SymbolSelector("BTC-USD", ("trade",)),
    )
    found = resolve_streams(Wanted(selectors), LISTED)
    assert (found.unmatched, found.unlisted) == (("X*", "top:x"), ("NO-SUCH",))
    assert found.streams[-1] == Stream("trade", "BTC-USD")


@pytest.mark.parametrize(
    ("selector", "needs"), [("BTC-USD", False), ("*-USD", True), ("top:5", True), ("tAVAX:USD", False)]
)
def test_only_patterns_need_a_listing(selector: str, needs: bool) -> None:
    assert Wanted((SymbolSelector("A-USD"), SymbolSelector(selector))).needs_listings is needs

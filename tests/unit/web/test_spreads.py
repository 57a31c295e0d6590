"""Spreads between venues: fees, freshness and direction."""

import pytest

from recorder.web.market_data.spreads import Quoted, spreads

NOW = 1_000.0


def quote(venue: str, bid: float | None, ask: float | None, age_s: float = 1.0, number: int | None = None) -> Quoted:
    return Quoted("BTC-USD", venue, f"BTC@{venue}", number or hash(venue), None, bid, 2.0, ask, 3.0, NOW - age_s)


def test_it_buys_where_the_ask_is_low_and_takes_both_fees_off() -> None:
    [one] = spreads([quote("a", 99.0, 100.0), quote("b", 102.0, 103.0)], {"a": 10.0, "b": 20.0}, NOW, 10)
    assert (one.buy.venue, one.sell.venue) == ("a", "b")
    assert one.gross_bps == pytest.approx(200.0)
    assert one.net_bps == pytest.approx((102 * 0.998 / (100 * 1.001) - 1) * 1e4)
    assert one.size == 2.0, "the smaller of the ask's size and the bid's"


def test_two_fresh_quotes_are_needed() -> None:
    old = [quote("a", 99.0, 100.0), quote("b", 102.0, 103.0, age_s=10.1)]
    assert spreads(old, {}, NOW, 10) == []
    assert spreads([quote("a", 99.0, 100.0), quote("b", None, 103.0)], {}, NOW, 10) == []


def test_two_instruments_of_one_venue_are_not_compared() -> None:
    assert spreads([quote("a", 99.0, 100.0, number=1), quote("a", 102.0, 103.0, number=2)], {}, NOW, 10) == []


def test_the_widest_after_fees_comes_first() -> None:
    found = spreads([quote("a", 99.0, 100.0), quote("b", 102.0, 103.0), quote("c", 101.0, 102.0)], {}, NOW, 10)
    assert [one.net_bps for one in found] == sorted((one.net_bps for one in found), reverse=True)
    assert len(found) == 3

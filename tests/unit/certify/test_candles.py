"""Candles as witnesses of an hour: what agrees, what differs, and of what nothing is known."""

from collections.abc import Mapping
from decimal import Decimal

import msgspec
import pytest
from support.certify.facts import BEGIN_US, facts, gap

from recorder.certify.candles import MINUTE_US, VenueBar, compare
from recorder.certify.document import CandleFacts, decode, digest, encode, sealed
from recorder.certify.grade import grade, rules_of
from recorder.events import Trade
from recorder.identity import instrument_id
from recorder.pgcopy.decode import split
from recorder.pgcopy.encode import encode_trades
from recorder.venues.history import Candle

LATE_US = BEGIN_US + 90 * MINUTE_US
IDS = {"A-B": instrument_id("bitfinex", "A-B")}
VOLUMES = {minute: ("0.5", "1.25") for minute in range(60) if minute % 7 != 3}


def rows(leave_out: tuple[int, int] = (-1, -1)) -> list[bytes]:
    """Return the trades of the hour: two a minute, at 100 and 101 and the minute's number, none in some minutes."""
    made = [
        Trade("A-B", 2 * minute + place, (BEGIN_US + minute * MINUTE_US + place * 10**6) * 1000,
              (BEGIN_US + minute * MINUTE_US) * 1000, 100.0 + place, float(size), "b")
        for minute, sizes in VOLUMES.items()
        for place, size in enumerate(sizes)
        if (minute, place) != leave_out
    ]  # fmt: skip
    return split(encode_trades(made, IDS))


def bars(changed: Mapping[int, Candle | None] = {}, received_us: int = LATE_US) -> list[VenueBar]:
    """Return the candles of the hour and of the minutes beside it, as one answer has them."""
    found = []
    for minute in (-1, *VOLUMES, 60):
        start_us = BEGIN_US + minute * MINUTE_US
        volume = sum(map(Decimal, VOLUMES.get(minute, ("1",))), Decimal(0))
        candle = of(minute, str(volume))
        one = changed.get(minute, candle)
        if one is not None:
            found.append(VenueBar(start_us, one, received_us, received_us))
    return found


def of(minute: int, volume: str, high: str = "101") -> Candle:
    start_s = BEGIN_US // 10**6 + minute * 60
    return Candle(start_s, Decimal(100), Decimal(high), Decimal(100), Decimal(101), Decimal(volume))


def test_every_minute_is_equal_where_quiet_ones_lie_between_candles_of_one_answer() -> None:
    assert compare(BEGIN_US, rows(), bars()) == CandleFacts(equal=60, differing=0, differences=[])


def test_without_a_candle_of_the_hour_nothing_is_compared() -> None:
    assert compare(BEGIN_US, rows(), bars()[:1]) is msgspec.UNSET


def test_a_lost_trade_makes_its_minute_differ_by_name() -> None:
    found = compare(BEGIN_US, rows(leave_out=(12, 0)), bars())
    assert found == CandleFacts(
        equal=59, differing=1, differences=["minute 12: the candle has a volume of 1.75, the trades 1.25"]
    )


def test_a_candle_that_is_missing_beside_other_answers_says_nothing() -> None:
    halves = [bar if bar.start_us < BEGIN_US + 31 * MINUTE_US else bar._replace(revision=7) for bar in bars()]
    found = compare(BEGIN_US, rows(), halves)
    assert found == CandleFacts(equal=59, differing=0, differences=[])  # minute 31 was quiet, and no answer shows it


def test_a_minute_with_trades_that_an_answer_leaves_out_differs() -> None:
    found = compare(BEGIN_US, rows(), bars({20: None}))
    assert isinstance(found, CandleFacts)
    assert (found.differing, found.differences) == (1, ["minute 20: no candle, the trades 1.75"])


def test_a_candle_that_was_read_within_five_minutes_counts_for_nothing() -> None:
    found = compare(BEGIN_US, rows(), bars(received_us=BEGIN_US + 62 * MINUTE_US))
    assert isinstance(found, CandleFacts)
    assert (found.equal, found.differing) == (57, 0)


def test_a_trade_in_the_candle_of_the_next_minute_is_no_difference() -> None:
    shifted = {13: of(13, "0.5"), 14: of(14, "3")}
    assert compare(BEGIN_US, rows(), bars(shifted)) == CandleFacts(equal=60, differing=0, differences=[])
    other = {13: of(13, "0.5"), 14: of(14, "2.99")}
    found = compare(BEGIN_US, rows(), bars(other))
    assert isinstance(found, CandleFacts)
    assert found.differing == 2


@pytest.mark.parametrize("candle", [of(5, "1.75", high="102"), of(5, "2"), of(5, "1.7")])
def test_other_prices_or_rounder_volumes_are_not_equal(candle: Candle) -> None:
    found = compare(BEGIN_US, rows(), bars({5: candle}))
    assert isinstance(found, CandleFacts)
    assert (found.equal, found.differing) == (59, 1)


ALL = CandleFacts(equal=60, differing=0, differences=[])
SOME = CandleFacts(equal=58, differing=2, differences=["minute 05: no candle, the trades 1.75"])
HEALED = gap("healed", "two reads agree, 9 control trades found, candle not comparable")


def test_equal_candles_raise_an_hour_without_ids_and_differing_ones_are_named() -> None:
    rules = rules_of("bitfinex", "trade")
    assert grade(facts("bitfinex", "trade", gaps=[HEALED]), rules)[0] == "consistent"
    assert grade(facts("bitfinex", "trade", gaps=[HEALED], candles=ALL), rules)[0] == "witnessed"
    found, reasons = grade(facts("bitfinex", "trade", gaps=[HEALED], candles=SOME), rules)
    assert found == "consistent"
    assert reasons[1] == "2 of 60 candles of the venue differ, such as minute 05: no candle, the trades 1.75"


def test_equal_candles_close_no_hole() -> None:
    rules = rules_of("bitfinex", "trade")
    assert grade(facts("bitfinex", "trade", gaps=[gap("open")], candles=ALL), rules)[0] == "holed"
    assert grade(facts("coinbase", "trade", after_id=None, candles=ALL), rules_of("coinbase", "trade"))[0] != "proved"


def test_documents_without_candles_keep_their_text_and_hash() -> None:
    one = sealed(facts("bitfinex", "trade"), number=1, revision=1, previous=None, made_at="2026-12-01T00:00:00Z")
    assert b"candles" not in encode(one)
    assert digest(decode(encode(one))) == one.sha256

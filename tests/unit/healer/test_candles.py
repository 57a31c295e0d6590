"""Candles as witnesses: prices are equal, and the volume to the last digit that the candle shows."""

from decimal import Decimal

import pytest

from recorder.errors import DecodeError
from recorder.healer.candles import agree, minutes_of
from recorder.healer.hole import StoredTrade
from recorder.venues import VENUES
from recorder.venues.history import Candle

NS = 10**9
TRADES = [
    StoredTrade(1, 60 * NS, 10.0, 0.1, "b"),
    StoredTrade(2, 70 * NS, 12.5, 0.2, "s"),
    StoredTrade(3, 119 * NS, 11.0, 0.3, "b"),
]


def candle(start_s: int, *values: str) -> Candle:
    opened, high, low, close, volume = map(Decimal, values)
    return Candle(start_s, opened, high, low, close, volume)


RIGHT = candle(60, "10", "12.5", "10.0", "11", "0.6")


def test_the_minutes_are_those_of_both_trades_and_of_all_between() -> None:
    assert list(minutes_of(TRADES[0], StoredTrade(9, 185 * NS, 1.0, 1.0, None))) == [60, 120, 180]


def test_a_sum_of_doubles_is_compared_in_decimals() -> None:
    assert agree(range(60, 120, 60), [RIGHT], TRADES)
    assert agree(range(60, 120, 60), [candle(60, "10", "12.5", "10", "11", "0.60000000")], TRADES)


@pytest.mark.parametrize(
    "other",
    [
        candle(60, "10", "12.5", "10", "11", "0.7"),
        candle(60, "10", "12.6", "10", "11", "0.6"),
        candle(60, "10.1", "12.5", "10", "11", "0.6"),
        candle(60, "10", "12.5", "9", "11", "0.6"),
        candle(60, "10", "12.5", "10", "12", "0.6"),
    ],
)
def test_another_volume_or_price_does_not_agree(other: Candle) -> None:
    assert not agree(range(60, 120, 60), [other], TRADES)


def test_a_minute_without_trades_has_no_candle_or_one_without_volume() -> None:
    assert agree(range(60, 180, 60), [RIGHT], TRADES)
    assert agree(range(60, 180, 60), [RIGHT, candle(120, "11", "11", "11", "11", "0")], TRADES)
    assert not agree(range(60, 180, 60), [RIGHT, candle(120, "11", "11", "11", "11", "1")], TRADES)
    assert not agree(range(60, 120, 60), [], TRADES)


def test_the_candles_of_the_venues_are_read_in_their_own_order() -> None:
    bodies = {
        "coinbase": b"[[60,10.0,12.5,10,11,0.6]]",
        "binance": b'[[60000,"10.0","12.5","10.0","11.0","0.60000000",119999,"0",3,"0","0","0"]]',
        "kraken": b'{"error":[],"result":{"XXBTZUSD":[[60,"10.0","12.5","10.0","11.0","10.9","0.6",3]],"last":60}}',
        "okx": b'{"code":"0","msg":"","data":[["120000","1","1","1","1","1","1","1","0"],'
        b'["60000","10","12.5","10","11","0.6","0.6","6","1"]]}',
        "bitfinex": b"[[60000,10,11,12.5,10,0.6]]",
    }
    counts = {"binance": 3, "kraken": 3}
    for name, kind in VENUES.items():
        if kind.minute_candles is not None:
            expected = RIGHT._replace(trade_count=counts.get(name))
            assert list(kind.minute_candles.decode(bodies[name])) == [expected], name


@pytest.mark.parametrize("name", sorted(name for name, kind in VENUES.items() if kind.minute_candles is not None))
@pytest.mark.parametrize("number", ["1e999999", "NaN", "-1", "1e-999999", "x"])
def test_a_number_that_no_candle_has_is_an_error_of_the_answer(name: str, number: str) -> None:
    call = VENUES[name].minute_candles
    assert call is not None
    quoted = f'"{number}"' if name in ("binance", "kraken", "okx") or not number[-1].isdigit() else number
    body = {
        "coinbase": f"[[60,10.0,12.5,10,11,{quoted}]]",
        "binance": f'[[60000,"10.0","12.5","10.0","11.0",{quoted},119999,"0",3,"0","0","0"]]',
        "kraken": f'{{"error":[],"result":{{"X":[[60,"10.0","12.5","10.0","11.0","10.9",{quoted},3]]}}}}',
        "okx": f'{{"code":"0","data":[["60000","10","12.5","10","11",{quoted},"0.6","6","1"]]}}',
        "bitfinex": f"[[60000,10,11,12.5,10,{quoted}]]",
    }[name]
    with pytest.raises(DecodeError):
        call.decode(body.encode())


def test_a_volume_with_few_digits_is_not_taken_for_a_rounded_one() -> None:
    lost = [StoredTrade(1, 60 * NS, 10.0, 11.6, "b")]
    assert not agree(range(60, 120, 60), [candle(60, "10", "10", "10", "10", "12")], lost)
    assert agree(range(60, 120, 60), [candle(60, "10", "10", "10", "10", "11.6")], lost)
    assert agree(range(60, 120, 60), [candle(60, "10", "10", "10", "10", "11.600000000000001")], lost)


def test_another_number_of_trades_does_not_agree() -> None:
    assert agree(range(60, 120, 60), [RIGHT._replace(trade_count=3)], TRADES)
    assert not agree(range(60, 120, 60), [RIGHT._replace(trade_count=4)], TRADES)

"""Whose data an unreadable frame may have carried."""

import json

import pytest

from recorder.capture.evidence.attribution import concerned
from recorder.events import CHANNELS, Channel, Stream
from recorder.venues import VENUES
from recorder.venues.binance.stream import Binance
from recorder.venues.coinbase.stream import Coinbase
from recorder.venues.kraken.stream import Kraken

SYMBOLS = ("BTC-USD", "BTC-USDT", "BTC-USD-SWAP", "BTC/USD", "BTCUSDT", "币安人生USDT")
STREAMS = [Stream(channel, symbol) for symbol in SYMBOLS for channel in CHANNELS]


def named(frame: str | bytes, words: dict[str, Channel] | None = None) -> set[str]:
    """Return the streams that a frame concerns."""
    data = frame.encode() if isinstance(frame, str) else frame
    return {str(stream) for stream in concerned(data, STREAMS, words or {})}


def every(*symbols: str) -> set[str]:
    return {f"{channel} {symbol}" for symbol in symbols for channel in CHANNELS}


@pytest.mark.parametrize(
    ("frame", "symbol"),
    [
        ('{"product_id":"BTC-USD","x":1}', "BTC-USD"),
        ('{"product_id":"BTC-USDT","x":1}', "BTC-USDT"),
        ('{"product_id":"btc-usd"', "BTC-USD"),
        ('{"symbol":"BTC\\/USD","bid":null}', "BTC/USD"),
        ('{"symbol":"\\u0042TC\\u002fUSD"}', "BTC/USD"),
        ('{"stream":"btcusdt@bookTicker"}', "BTCUSDT"),
        (json.dumps({"s": "币安人生USDT"}), "币安人生USDT"),
        (json.dumps({"s": "币安人生USDT"}).replace("\\u5e01", "\\u5E01"), "币安人生USDT"),
        (json.dumps({"stream": "币安人生usdt@trade"}), "币安人生USDT"),
        ('{"instId":"BTC-USD-SWAP"}', "BTC-USD-SWAP"),
        ('{"rest":"/api/v3/depth?symbol=BTCUSDT&limit=100"}', "BTCUSDT"),
    ],
)
def test_a_symbol_is_found_in_every_spelling_and_only_as_a_whole(frame: str, symbol: str) -> None:
    assert named(frame) == every(symbol)


def test_a_frame_that_names_two_symbols_concerns_both() -> None:
    assert named('{"a":"BTC-USD","b":["BTCUSDT"]') == every("BTC-USD", "BTCUSDT")


def test_an_odd_field_costs_only_the_channel_that_the_frame_names() -> None:
    ticker = '{"type":"ticker","product_id":"BTC-USD","best_bid":null,"trade_id":7}'
    assert named(ticker, dict(Coinbase.channel_words)) == {"quote BTC-USD"}
    book = '{"channel":"book","type":"update","data":[{"symbol":"BTC\\/USD","bids":0}]}'
    assert named(book, dict(Kraken.channel_words)) == {"book BTC/USD"}
    stream = '{"stream":"btcusdt@depth@100ms","data":{}}'
    assert named(stream, dict(Binance.channel_words)) == {"book BTCUSDT"}


def test_data_without_a_known_symbol_concerns_every_stream_of_its_channel() -> None:
    frame = '{"channel":"trade","data":[{"symbol":null,"price":1}]}'
    assert named(frame, dict(Kraken.channel_words)) == {f"trade {symbol}" for symbol in SYMBOLS}


@pytest.mark.parametrize("frame", ['{"event":"maintenance"}', "INVALID OPERATION", "", "<html>busy</html>", "[]"])
def test_a_notice_and_a_text_that_is_no_json_concern_nothing(frame: str) -> None:
    assert named(frame) == set()


@pytest.mark.parametrize("frame", [b"\xff\x00garbage", b'{"type":"ma', b"[1,2", b'{"a":\xff}'])
def test_a_damaged_frame_concerns_everything(frame: bytes) -> None:
    assert named(frame) == every(*SYMBOLS)


@pytest.mark.parametrize("venue", sorted(VENUES))
def test_every_venue_names_the_data_of_its_channels(venue: str) -> None:
    kind = VENUES[venue]
    assert set(kind.channel_words.values()) == set(kind.channels)

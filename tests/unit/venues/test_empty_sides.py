"""An empty side of a quote is None however a venue spells it, and null fields cost nothing else."""

import pytest
from support.venues.contract import NOW_NS

from recorder.errors import DecodeError
from recorder.events import Accepted, Alive, Book, Output, Quote, Refused, Stream
from recorder.venues import venue_class
from recorder.venues.bitfinex.stream import Bitfinex

ABSENT = ("0", "0.00000000", "null", '""', '"0"')

QUOTES = {
    "binance": '{"stream":"ausdt@bookTicker","data":{"u":9,"s":"AUSDT","b":%s,"B":"0","a":"1.5","A":"2"}}',
    "kraken": '{"channel":"ticker","type":"update","data":[{"symbol":"A/USD","bid":%s,"bid_qty":0,"ask":1.5,'
    '"ask_qty":2}]}',
    "coinbase": '{"type":"ticker","sequence":1,"product_id":"A-USD","best_bid":%s,"best_bid_size":"0","best_ask":"1.5",'
    '"best_ask_size":"2"}',
    "coinbase_advanced": '{"channel":"ticker","timestamp":"2026-11-30T04:00:00Z","sequence_num":0,"events":[{"tickers":'
    '[{"product_id":"A-USD","best_bid":%s,"best_bid_quantity":"0","best_ask":"1.5","best_ask_quantity":"2"}]}]}',
    "okx": '{"arg":{"channel":"bbo-tbt","instId":"A-USD"},"data":[{"bids":[[%s,"0","0","0"]],'
    '"asks":[["1.5","2","0","1"]],'
    '"ts":"1792999999000"}]}',
    "figure": '{"channel":"MARKET","marketId":"A-USD","publishTime":"2026-11-30T04:00:00Z","bestBid":%s,'
    '"bestAsk":"1.5"}',
    "polymarket": '{"event_type":"best_bid_ask","asset_id":"71","timestamp":"1792999999000","best_bid":%s,'
    '"best_ask":"0.5"}',
}  # fmt: skip


def decoded(name: str, text: str) -> list[Output]:
    return list(venue_class(name)().decoder().decode(text.encode(), NOW_NS))


@pytest.mark.parametrize("absent", ABSENT)
@pytest.mark.parametrize("name", QUOTES)
def test_an_absent_bid_is_none_with_its_size(name: str, absent: str) -> None:
    if name == "kraken" and absent == '"0"':
        pytest.skip("numbers of Kraken are never texts")
    quotes = decoded(name, QUOTES[name] % absent)
    assert [(quote.bid, quote.bid_size) for quote in quotes if isinstance(quote, Quote)] == [(None, None)]
    assert [quote.ask for quote in quotes if isinstance(quote, Quote)] in ([1.5], [0.5])


def test_a_ticker_of_bitfinex_without_a_side_has_none() -> None:
    decoder = Bitfinex().decoder()
    decoder.decode(b'{"event":"subscribed","channel":"ticker","chanId":7,"symbol":"tAUSD","pair":"AUSD"}', NOW_NS)
    for absent in (b"0", b"null"):
        (quote,) = decoder.decode(b"[7,[%b,0,1.5,2,0,0,0,0,0,0]]" % absent, NOW_NS)
        assert isinstance(quote, Quote)
        assert (quote.bid, quote.ask) == (None, 1.5)


def test_a_tickers_message_of_okx_with_empty_texts_has_none() -> None:
    text = (
        '{"arg":{"channel":"tickers","instId":"A-USD"},"data":[{"instId":"A-USD","askPx":"1.5","askSz":"2","bidPx":"",'
        '"bidSz":"","ts":"1792999999000"}]}'
    )
    assert decoded("okx", text) == [Quote("A-USD", 1_792_999_999 * 10**9, NOW_NS, None, None, None, 1.5, 2.0)]


@pytest.mark.parametrize("name", QUOTES)
def test_a_price_that_is_no_number_is_refused(name: str) -> None:
    for odd in ('"soon"', "-1", "[]"):
        with pytest.raises(DecodeError):
            decoded(name, QUOTES[name] % odd)


def test_the_ticker_of_a_product_that_never_traded_is_a_quote_without_sides() -> None:
    text = '{"type":"ticker","product_id":"A-USD","price":0,"volume_24h":0,"best_bid":null,"best_ask":null}'
    assert decoded("coinbase", text) == [Quote("A-USD", None, NOW_NS, None, None, None, None, None)]


def test_null_lists_of_coinbase_are_empty() -> None:
    snapshot = '{"type":"snapshot","product_id":"A-USD","bids":null,"asks":[["2","1"]]}'
    assert decoded("coinbase", snapshot) == [Book("A-USD", None, NOW_NS, True, None, [], [(2.0, 1.0)])]
    names = '[{"name":"matches","product_ids":null},{"name":"ticker","product_ids":["A-USD"]}]'
    listed = f'{{"type":"subscriptions","channels":{names}}}'
    assert decoded("coinbase", listed) == [Accepted(Stream("quote", "A-USD"))]
    beat = '{"type":"heartbeat","last_trade_id":null,"product_id":"A-USD","sequence":1,"time":"2026-11-30T04:00:00Z"}'
    assert decoded("coinbase", beat) == [Alive()]


def advanced(channel: str, events: str, number: int = 0) -> str:
    head = f'"channel":"{channel}","timestamp":"2026-11-30T04:00:00Z","sequence_num":{number}'
    return f'{{{head},"events":{events}}}'


def test_null_lists_of_coinbase_advanced_are_empty() -> None:
    subscribed = advanced("subscriptions", '[{"subscriptions":{"ticker":null,"level2":["A-USD"]}}]')
    assert decoded("coinbase_advanced", subscribed) == [Accepted(Stream("book", "A-USD"))]
    empty = advanced("l2_data", '[{"type":"snapshot","product_id":"A","updates":null}]')
    (book,) = decoded("coinbase_advanced", empty)
    assert isinstance(book, Book)
    assert (book.snapshot, book.bids, book.asks) == (True, [], [])
    for channel in ("l2_data", "market_trades", "ticker", "subscriptions"):
        assert decoded("coinbase_advanced", advanced(channel, "null")) == []


def test_null_sides_of_okx_are_empty() -> None:
    text = (
        '{"arg":{"channel":"books","instId":"A-USD"},"action":"snapshot","data":[{"asks":null,"bids":[["1","1","0","1"]],'
        '"ts":"1792999999000","prevSeqId":-1,"seqId":1}]}'
    )
    (book,) = decoded("okx", text)
    assert isinstance(book, Book)
    assert (book.bids, book.asks) == ([(1.0, 1.0)], [])


@pytest.mark.parametrize("text", ['{"type":"error","message":"no"}', '{"message":"no","type":"error"}'])
def test_an_error_of_coinbase_advanced_is_known_in_any_order_and_takes_no_number(text: str) -> None:
    decoder = venue_class("coinbase_advanced")().decoder()
    decoder.decode(advanced("heartbeats", "[]", 0).encode(), NOW_NS)
    assert list(decoder.decode(text.encode(), NOW_NS)) == [Refused(None, "no")]
    with pytest.raises(DecodeError):
        decoder.decode(b"busy", NOW_NS)
    outputs = decoder.decode(advanced("heartbeats", "[]", 2).encode(), NOW_NS)
    assert [type(output).__name__ for output in outputs] == ["Lost", "Alive"]


def test_a_counted_message_of_coinbase_advanced_that_is_not_understood_takes_its_number() -> None:
    decoder = venue_class("coinbase_advanced")().decoder()
    decoder.decode(advanced("heartbeats", "[]", 0).encode(), NOW_NS)
    with pytest.raises(DecodeError):
        decoder.decode(advanced("brand_new", "[]", 1).encode(), NOW_NS)
    assert list(decoder.decode(advanced("heartbeats", "[]", 2).encode(), NOW_NS)) == [Alive()]


@pytest.mark.parametrize(
    "text",
    [
        '{"method":"pong","req_id":101,"result":{},"success":true}',
        '{"method":"pong","result":{"warnings":["the field x is deprecated"]},"success":true}',
    ],
)
def test_a_pong_of_kraken_with_a_result_is_a_pong(text: str) -> None:
    assert decoded("kraken", text) == [Alive()]

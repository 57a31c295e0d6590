"""Answers of REST about trades and books, in the form of each venue's page, and answers that are none."""

import inspect
import json

import pytest

from recorder.errors import DecodeError
from recorder.events import Levels
from recorder.venues import VENUES
from recorder.venues.witness import LEVELS_COMPARED, TRADES_MAX, SeenBook, SeenTrade, ShowsBooks

NOW = 1_772_719_200_000_000_000
MS = 10**6

TRADES = {
    "kraken": (
        "BTC/USD",
        "/0/public/Trades?pair=XBTUSD",
        b'{"error":[],"result":{"XXBTZUSD":[["104201.1","0.0002",1762820035.9822779,"b","l","",89001],'
        b'["104200.9","0.5",1762820036.25,"s","m","",89002]],"last":"1762820036250000000"}}',
        [SeenTrade(89001, 1762820035982277870), SeenTrade(89002, 1762820036250000000)],
    ),
    "binance": (
        "BTCUSDT",
        "/api/v3/trades?symbol=BTCUSDT&limit=50",
        b'[{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","time":1499865549590,'
        b'"isBuyerMaker":true,"isBestMatch":true}]',
        [SeenTrade(28457, 1499865549590 * MS)],
    ),
    "okx": (
        "BTC-USDT",
        "/api/v5/market/trades?instId=BTC-USDT&limit=50",
        b'{"code":"0","msg":"","data":[{"instId":"BTC-USDT","side":"sell","sz":"0.00001","px":"29963.2","source":"0",'
        b'"tradeId":"242720720","ts":"1654161646974"}]}',
        [SeenTrade(242720720, 1654161646974 * MS)],
    ),
    "bitfinex": (
        "tBTCUSD",
        "/v2/trades/tBTCUSD/hist?limit=50&sort=-1&end=1772719260000",
        b"[[401597395,1574694478808,0.005,7245.3],[401597394,1574694478000,-0.5,7e-7]]",
        [SeenTrade(401597395, 1574694478808 * MS), SeenTrade(401597394, 1574694478000 * MS)],
    ),
    "coinbase": (
        "BTC-USD",
        "/products/BTC-USD/trades?limit=50",
        b'[{"trade_id":74,"side":"sell","size":"0.01000000","price":"10.00000000","time":"2014-11-07T22:19:28.578544Z"}]',
        [SeenTrade(74, 1415398768578544000)],
    ),
    "coinbase_advanced": (
        "BTC-USD",
        "/api/v3/brokerage/market/products/BTC-USD/ticker?limit=50",
        b'{"trades":[{"trade_id":"929248657","product_id":"BTC-USD","price":"88000","size":"0.1",'
        b'"time":"2025-12-31T10:00:00.123456Z","side":"BUY","bid":"","ask":""},'
        b'{"trade_id":"a1-b2","product_id":"BTC-USD","price":"88000","size":"0.1","time":"2025-12-31T10:00:00Z",'
        b'"side":"BUY"}],"best_bid":"1","best_ask":"2"}',
        [SeenTrade(929248657, 1767175200123456000)],
    ),
    "figure": (
        "HASH-USD",
        "/trades/HASH-USD?size=50",
        b'{"denom":"nhash","symbol":"HASH-USD","marketId":"HASH-USD","matches":[{"id":"4A7R","price":"0.031",'
        b'"quantity":"1000","created":"2026-09-22T00:00:00.123456789Z","settlementTxHash":"AB"}]}',
        [SeenTrade(None, 1790035200123456789)],
    ),
}

BOOKS = {
    "binance": (
        "/api/v3/depth?symbol=X%2FY&limit=50",
        b'{"lastUpdateId":1027024,"bids":[["4.00000000","431.0"],["3.9","1.0"]],"asks":[["4.00000200","12.0"]]}',
        SeenBook([(4.0, 431.0), (3.9, 1.0)], [(4.000002, 12.0)], 1027024),
    ),
    "okx": (
        "/api/v5/market/books?instId=X%2FY&sz=50",
        b'{"code":"0","msg":"","data":[{"asks":[["41006.8","0.60038921","0","1"]],"bids":[["41006.3","0.3","0","2"]],'
        b'"ts":"1629966436396","seqId":3235851742}]}',
        SeenBook([(41006.3, 0.3)], [(41006.8, 0.60038921)], 3235851742),
    ),
    "coinbase": (
        "/products/X%2FY/book?level=2",
        b'{"bids":[["6247.58","6.3578146","2"]],"asks":[["6251.52","2","1"],["6250.1","0","1"]],"sequence":13051505638,'
        b'"auction_mode":false,"auction":null}',
        SeenBook([(6247.58, 6.3578146)], [(6251.52, 2.0)]),
    ),
    "coinbase_advanced": (
        "/api/v3/brokerage/market/product_book?product_id=X%2FY&limit=50",
        b'{"pricebook":{"product_id":"BTC-USD","bids":[{"price":"1.5","size":"2"}],"asks":[{"price":"1.6","size":"3"}],'
        b'"time":"2026-09-22T00:00:00Z"},"last":"1.5"}',
        SeenBook([(1.5, 2.0)], [(1.6, 3.0)]),
    ),
    "figure": (
        "/markets/X%2FY/orderbook",
        b'{"bids":[{"price":0.03,"quantity":10.0,"totalQuantity":10.0}],"asks":[],"timestamp":"2026-09-22T00:00:00.1Z"}',
        SeenBook([(0.03, 10.0)], []),
    ),
}

ODD = {
    "HTML": b"<html><body>502 Bad Gateway</body></html>",
    "nothing": b"",
    "null": b"null",
    "text": b'"maintenance"',
    "no UTF-8": b'{"error":["\xff\xfe"]}',
    "nested": b"[" * 100_000,
    "nested in a key": b'{"bids":' + b"[" * 100_000,
    "an object": b"{}",
    "an error in a list": b'["error",10020,"symbol: invalid"]',
    "an error of Kraken": b'{"error":["EAPI:Rate limit exceeded"]}',
    "an error of OKX": b'{"code":"51001","msg":"Instrument ID does not exist","data":[]}',
}


def huge(body: bytes, value: object) -> bytes:
    """Return an answer whose ids are replaced."""
    text = body.decode()
    for old in ("89001", "28457", "242720720", "401597395", '"trade_id":74', "929248657", "1027024", "3235851742"):
        name, _, _ = old.rpartition(":")
        text = text.replace(old, f"{name}:{value}" if name else str(value))
    return text.encode()


@pytest.mark.parametrize("venue", TRADES)
def test_trades_are_asked_for_and_understood(venue: str) -> None:
    symbol, path, body, trades = TRADES[venue]
    question = VENUES[venue].witness_questions.trades
    assert not isinstance(question, str)
    assert question.path(symbol, NOW) == path
    decoded = question.decode(body)
    assert [one.trade_id for one in decoded] == [one.trade_id for one in trades]
    for one, expected in zip(decoded, trades, strict=True):  # Kraken's times are floats
        assert abs(one.ts_event_ns - expected.ts_event_ns) < 1000


@pytest.mark.parametrize("venue", BOOKS)
def test_books_are_asked_for_and_understood(venue: str) -> None:
    path, body, book = BOOKS[venue]
    question = VENUES[venue].witness_questions.books
    assert not isinstance(question, str)
    assert question.path("X/Y") == path
    assert question.decode(body) == book


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("venue", TRADES)
def test_an_answer_that_is_none_is_refused_and_nothing_else(venue: str, odd: str) -> None:
    questions = VENUES[venue].witness_questions
    for question in questions.trades, questions.books:
        if not isinstance(question, str):
            with pytest.raises(DecodeError):
                question.decode(ODD[odd])


@pytest.mark.parametrize("venue", sorted({*TRADES} - {"figure", "coinbase_advanced"}))
@pytest.mark.parametrize("value", [2**63, 10**4000, '"' + "9" * 5000 + '"', "1e400", "NaN"])
def test_an_id_that_no_column_holds_is_refused(venue: str, value: object) -> None:
    questions = VENUES[venue].witness_questions
    assert not isinstance(questions.trades, str)
    with pytest.raises(DecodeError):
        questions.trades.decode(huge(TRADES[venue][2], value))


@pytest.mark.parametrize("venue", TRADES)
def test_a_time_that_cannot_be_true_is_refused(venue: str) -> None:
    body = TRADES[venue][2].decode()
    for old in ("1762820035.9822779", "1499865549590", "1654161646974", "1574694478808"):
        body = body.replace(old, "-5")
    for old in ("2014-11-07", "2025-12-31T10:00:00.123456", "2026-09-22"):
        body = body.replace(old, "0001-01-01T" if "T" in old else "1969-11-07")
    question = VENUES[venue].witness_questions.trades
    assert not isinstance(question, str)
    with pytest.raises(DecodeError):
        question.decode(body.encode())


def test_only_so_many_trades_and_levels_are_looked_at() -> None:
    trades, books = VENUES["coinbase"].witness_questions
    assert not isinstance(trades, str)
    assert not isinstance(books, str)
    (row,) = json.loads(TRADES["coinbase"][2])
    assert len(trades.decode(json.dumps([row] * 5000).encode())) == TRADES_MAX
    levels = [[str(price), "1", 1] for price in range(1, 5000)]
    book = books.decode(json.dumps({"bids": levels, "asks": levels}).encode())
    assert (len(book.bids), len(book.asks)) == (LEVELS_COMPARED, LEVELS_COMPARED)
    assert (book.bids[0][0], book.asks[0][0]) == (4999.0, 1.0)


@pytest.mark.parametrize("venue", VENUES)
def test_a_venue_that_cannot_be_asked_says_why(venue: str) -> None:
    for question in VENUES[venue].witness_questions:
        assert not isinstance(question, str) or len(question) > 10


@pytest.mark.parametrize("venue", BOOKS)
def test_a_decoder_whose_books_can_be_compared_shows_them(venue: str) -> None:
    decoder = VENUES[venue]().decoder()
    assert isinstance(decoder, ShowsBooks)
    assert list(inspect.signature(decoder.book_of).parameters) == ["symbol"]
    assert decoder.book_of("X") is None


def test_a_decoder_shows_its_best_levels_best_first() -> None:
    decoder = VENUES["okx"]().decoder()
    assert isinstance(decoder, ShowsBooks)
    levels = ",".join(f'["{price}","1","0","1"]' for price in range(1, 40))
    higher = ",".join(f'["{price}","1","0","1"]' for price in range(90, 50, -1))
    decoder.decode(
        b'{"arg":{"channel":"books","instId":"X"},"action":"snapshot","data":[{"asks":[%b],"bids":[%b],'
        b'"ts":"1772719200000","checksum":0,"prevSeqId":-1,"seqId":7}]}' % (higher.encode(), levels.encode()),
        NOW,
    )
    bids: Levels = [(39.0 - step, 1.0) for step in range(LEVELS_COMPARED)]
    asks: Levels = [(51.0 + step, 1.0) for step in range(LEVELS_COMPARED)]
    assert decoder.book_of("X") == SeenBook(bids, asks, 7)

"""What the protocol pages of Coinbase Advanced Trade leave uncertain, as questions to the venue."""

import msgspec

from recorder.timestamps import Rfc3339
from recorder.venues.coinbase_advanced import listing
from recorder.venues.common_questions import (
    ListedTrade,
    first_listen,
    listing_question,
    same_trades,
    stream_questions,
    trades_of,
)
from recorder.venues.questions import (
    Question,
    Questionnaire,
    Steps,
    Subject,
    agrees,
    ask_json,
    decoded,
    differs,
    judged,
    listen,
    no_answer,
)

_PAGE_NAME = "coinbase_advanced.md"
_HEALING = "healing.md, 3"
_TAKER = {"BUY": "s", "SELL": "b"}  # REST has the maker's side
_PAGE = 1000
_SPAN_S = 3600
_CANDLES = 350


class _Trade(msgspec.Struct, gc=False):
    trade_id: str
    side: str
    price: float
    size: float
    time: str


class _Ticker(msgspec.Struct, gc=False):
    trades: list[_Trade]


class _Candle(msgspec.Struct, gc=False):
    start: int
    low: float
    high: float
    open: float
    close: float
    volume: float


class _Candles(msgspec.Struct, gc=False):
    candles: list[_Candle]


_decode_ticker = msgspec.json.Decoder(_Ticker, strict=False).decode
_decode_candles = msgspec.json.Decoder(_Candles, strict=False).decode


def _ticker(subject: Subject, limit: int) -> str:
    now_s = subject.now_ns // 10**9
    span = f"&start={now_s - _SPAN_S}&end={now_s + _SPAN_S}"  # the end is ahead of what the stream sends meanwhile
    return f"/api/v3/brokerage/market/products/{subject.symbol}/ticker?limit={limit}{span}"


def _limit(subject: Subject) -> Steps:
    rows = decoded(_decode_ticker, (yield from ask_json(_ticker(subject, _PAGE)))).trades
    if not rows:
        return no_answer(f"no trade in {_SPAN_S} s")
    few = decoded(_decode_ticker, (yield from ask_json(_ticker(subject, 5)))).trades
    seen = f"limit={_PAGE} gives {len(rows)} rows, limit=5 gives {len(few)}"
    return judged(len(rows) <= _PAGE and len(few) == min(5, len(rows)), seen)


def _ids(subject: Subject) -> Steps:
    rows = decoded(_decode_ticker, (yield from ask_json(_ticker(subject, _PAGE)))).trades
    if not rows:
        return no_answer(f"no trade in {_SPAN_S} s")
    odd = [row.trade_id for row in rows if not row.trade_id.isdecimal()]
    if odd:
        return differs(f"{len(odd)} of {len(rows)} ids are no numbers, such as {odd[0][:40]!r}")
    return agrees(f"{len(rows)} ids, {rows[0].trade_id} first")


def _same_trades(subject: Subject) -> Steps:
    trades = trades_of((yield from listen(first_listen(subject))), subject.symbol)
    rows = decoded(_decode_ticker, (yield from ask_json(_ticker(subject, _PAGE)))).trades
    ns = Rfc3339().ns
    listed = (
        ListedTrade(int(row.trade_id), row.price, row.size, _TAKER.get(row.side), ns(row.time))
        for row in rows
        if row.trade_id.isdecimal()
    )
    return same_trades(trades, listed)


def _candles(subject: Subject) -> Steps:
    now_s = subject.now_ns // 10**9
    span = f"start={now_s - _CANDLES * 60}&end={now_s}"
    path = f"/api/v3/brokerage/market/products/{subject.symbol}/candles?{span}&granularity=ONE_MINUTE"
    rows = decoded(_decode_candles, (yield from ask_json(path))).candles
    if not rows:
        return no_answer("no rows")
    ordered = all(row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high for row in rows)
    return judged(ordered and len(rows) <= _CANDLES, f"{len(rows)} rows")


QUESTIONNAIRE = Questionnaire(
    symbol="BTC-USD",
    questions=(
        *stream_questions(_PAGE_NAME, contiguous=True),
        listing_question(f"{_PAGE_NAME}, REST", listing.LISTING_PATHS[0], listing.listings),
        Question("ticker-limit", "coinbase.md, Backfill by REST", "`limit` of the ticker goes to 1,000", _limit),
        Question("ticker-ids", _HEALING, "every trade id of the ticker is a number", _ids),
        Question("trades-equal", _HEALING, "REST and stream print a trade alike, with one id", _same_trades),
        Question("candles", _HEALING, "350 candles of a minute are given, low to high in their fields", _candles),
        Question("ids-of-exchange", _HEALING, "ids are those of the Exchange feed", needs="both feeds at once"),
        Question("level2-limit", f"{_PAGE_NAME}, limits", "90 streams fit on a connection", needs="90 streams"),
        Question("forced-age", f"{_PAGE_NAME}, forced age", "no connection is ended for its age", needs="a day"),
    ),
)

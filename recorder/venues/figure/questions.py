"""What the protocol pages of Figure Markets leave uncertain, as questions to the venue."""

from datetime import UTC, datetime

import msgspec

from recorder.identity import stable_hash64
from recorder.timestamps import Rfc3339
from recorder.venues.common_questions import (
    ListedTrade,
    first_listen,
    listing_question,
    same_trades,
    stream_questions,
    trades_of,
)
from recorder.venues.figure import listing
from recorder.venues.questions import (
    Question,
    Questionnaire,
    Reply,
    Steps,
    Subject,
    ask_json,
    decoded,
    differs,
    judged,
    listen,
    no_answer,
    require_answer,
    rest,
    rising,
    times_have,
)

_BACKFILL = "figure.md, Backfill"
_HEALING = "healing.md, 8"
_PAGE = 200
_LISTED = 50
_DAYS = 7
_MONTH_DAYS = 30
_DAY_NS = 86_400 * 10**9
_INCREMENTS = ("tick", "increment", "step", "lot")
_SHOWN = 6
_LAG_NS = 5 * 10**9  # of the list behind the market


class _Match(msgspec.Struct, rename="camel", gc=False):
    id: str
    price: float
    quantity: float
    created: str
    settlement_tx_hash: str | None = None


class _Matches(msgspec.Struct, gc=False):
    matches: list[_Match]


class _Markets(msgspec.Struct, gc=False):
    data: list[dict[str, msgspec.Raw]]


class _Book(msgspec.Struct, gc=False):
    timestamp: str
    bids: list[dict[str, float]]
    asks: list[dict[str, float]]


_decode_matches = msgspec.json.Decoder(_Matches, strict=False).decode
_decode_markets = msgspec.json.Decoder(_Markets).decode
_decode_book = msgspec.json.Decoder(_Book).decode  # strict: numbers, not texts


def _stamp(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"


def _window(subject: Subject, days: int = _DAYS) -> tuple[int, int]:
    return subject.now_ns - days * _DAY_NS, subject.now_ns + _DAY_NS


def _path(subject: Subject) -> str:
    first_ns, last_ns = _window(subject)
    return f"/trades/{subject.symbol}?start_date={_stamp(first_ns)}&end_date={_stamp(last_ns)}&size={_PAGE}"


def _matches(reply: Reply) -> list[_Match]:
    require_answer(reply)
    return decoded(_decode_matches, reply).matches


def _in_window(subject: Subject) -> Steps:
    rows = _matches((yield from rest(_path(subject))))
    if not rows:
        return no_answer(f"no trade in {_DAYS} days")
    times = Rfc3339()
    created = [times.ns(row.created) for row in rows]
    first_ns, last_ns = _window(subject)
    inside = all(first_ns <= one <= last_ns for one in created)
    order = "rising" if rising(created) else "falling" if rising(created[::-1]) else "no"
    distinct = len({row.id for row in rows}) == len(rows)
    seen = f"{len(rows)} trades, {order} order, {max(times_have(row.created) for row in rows)} decimals"
    return judged(inside and distinct and len(rows) <= _PAGE, seen)


def _latest(subject: Subject) -> Steps:
    reply = yield from rest(f"/trades/{subject.symbol}?size=1")
    single = _matches(reply)
    if len(single) != 1:
        return differs(f"size=1 gives {len(single)} trades")
    ns = Rfc3339().ns
    latest_ns = ns(single[0].created)
    path = (
        f"/trades/{subject.symbol}?start_date={_stamp(latest_ns)}&end_date={_stamp(_window(subject)[1])}&size={_PAGE}"
    )
    later = [row for row in _matches((yield from rest(path))) if latest_ns < ns(row.created)]
    missed = [row for row in later if ns(row.created) < reply.received_ns - _LAG_NS]
    return judged(not missed, f"{single[0].created}; {len(missed)} later trades were known")


def _page(subject: Subject) -> Steps:
    reply = yield from rest(f"/trades/{subject.symbol}?size={_PAGE + 1}")
    if reply.status == 400:
        return judged(True, f"size={_PAGE + 1} is HTTP 400")
    return differs(f"size={_PAGE + 1} gives {len(_matches(reply))} trades")


def _month_ago(subject: Subject) -> Steps:
    first_ns, last_ns = (subject.now_ns - days * _DAY_NS for days in (_MONTH_DAYS, _MONTH_DAYS - _DAYS))
    path = f"/trades/{subject.symbol}?start_date={_stamp(first_ns)}&end_date={_stamp(last_ns)}&size={_PAGE}"
    rows = _matches((yield from rest(path)))
    if not rows:
        return no_answer(
            f"no trade from {_MONTH_DAYS} to {_MONTH_DAYS - _DAYS} days ago: none happened, or none is left"
        )
    ns = Rfc3339().ns
    return judged(all(first_ns <= ns(row.created) <= last_ns for row in rows), f"{len(rows)} trades")


def _listed(subject: Subject) -> Steps:
    reply = yield from rest(f"/markets?page=1&size={_LISTED + 1}")
    if reply.status == 400:
        return judged(True, f"size={_LISTED + 1} is HTTP 400")
    require_answer(reply)
    return differs(f"size={_LISTED + 1} is HTTP {reply.status}")


def _increments(subject: Subject) -> Steps:
    rows = decoded(_decode_markets, (yield from ask_json(listing.LISTING_PATHS[0]))).data
    row = next((one for one in rows if bytes(one.get("symbol", b"")) == msgspec.json.encode(subject.symbol)), {})
    named = {key: bytes(row[key]) for key in row if any(word in key.lower() for word in _INCREMENTS)}
    if not row:
        return no_answer(f"{subject.symbol} is not on the first page")
    if not named:
        return judged(True, f"none of {len(row)} fields")
    shown = ", ".join(f"{key}={value[:30].decode('utf-8', 'replace')}" for key, value in list(named.items())[:_SHOWN])
    return differs(shown)


def _same_trades(subject: Subject) -> Steps:
    trades = trades_of((yield from listen(first_listen(subject))), subject.symbol)
    first_ns = min(trade.ts_event_ns for trade in trades)
    path = f"/trades/{subject.symbol}?start_date={_stamp(first_ns)}&end_date={_stamp(_window(subject)[1])}&size={_PAGE}"
    rows = _matches((yield from rest(path)))
    ns = Rfc3339().ns
    listed = (ListedTrade(stable_hash64(row.id), row.price, row.quantity, None, ns(row.created)) for row in rows)
    return same_trades(trades, listed)


def _book(subject: Subject) -> Steps:
    book = decoded(_decode_book, (yield from ask_json(f"/markets/{subject.symbol}/orderbook?depth=5")))
    return judged(times_have(book.timestamp) == 9, f"numbers, {len(book.bids)} bids, time {book.timestamp}")


QUESTIONNAIRE = Questionnaire(
    symbol="HASH-USD",
    questions=(
        *stream_questions("figure.md", contiguous=False),
        listing_question("figure.md, Markets", listing.LISTING_PATHS[0], listing.listings),
        Question("listing-size", "figure.md, Markets", "more than 50 markets a page are refused", _listed),
        Question("increments", "figure.md, Markets", "no field of a market names an increment", _increments),
        Question("trades-window", _BACKFILL, "a page has 200 trades at most, all in the window", _in_window),
        Question("trades-latest", _HEALING, "`size=1` without dates is the latest trade", _latest),
        Question("trades-size", _BACKFILL, "`size` above 200 is refused", _page),
        Question("trades-equal", _HEALING, "REST and stream name a trade by one id", _same_trades),
        Question("rest-book", _BACKFILL, "a book over REST has numbers, and a time with nanoseconds", _book),
        Question("history", "healing.md, 10", "trades of a month ago are listed", _month_ago),
        Question("candles", "healing.md, 10", "there is no known call for candles", needs="the vendor's API file"),
        Question("two-links", "figure.md, Subscribing", "two connections may share an id", needs="two connections"),
        Question("repeats", "figure.md, ORDER_BOOK", "a still book is repeated every 5 s", needs="a quiet market"),
        Question("rest-rate", _BACKFILL, "one request a second is allowed", needs="breaking the limit"),
        Question("forced-age", "figure.md, Keep-alive", "a connection ends after 30 minutes", needs="30 minutes"),
    ),
)

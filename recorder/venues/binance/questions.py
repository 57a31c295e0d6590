"""What Binance's protocol pages leave uncertain, as questions to the venue."""

from itertools import pairwise

import msgspec

from recorder.venues.binance import listing
from recorder.venues.common_questions import (
    ListedTrade,
    first_listen,
    listing_question,
    same_trades,
    stream_questions,
    trades_of,
    volumes_question,
)
from recorder.venues.questions import (
    Question,
    Questionnaire,
    Reply,
    Settled,
    Steps,
    Subject,
    agrees,
    ask_json,
    decoded,
    differs,
    excerpt,
    judged,
    listen,
    no_answer,
    require_answer,
    rest,
    steps_of_one,
)
from recorder.venues.wire import MALFORMED

_BACKFILL = "binance.md, Backfill by REST"
_HEALING = "healing.md, 5"
_ROWS = 20
_KEY_MISSING = (-2014, -2015, -1002)  # codes of a call that wants a key
_MINUTE_MS = 60_000
_MINUTES = 30
_PAGE = 1000
_WEIGHT = 6000


class _Trade(msgspec.Struct, rename="camel", gc=False):
    id: int
    price: float
    qty: float
    time: int
    is_buyer_maker: bool


class _Aggregate(msgspec.Struct, gc=False):
    a: int
    q: float
    f: int
    l: int  # noqa: E741  # the name on the wire


class _Refusal(msgspec.Struct, gc=False):
    code: int


class _Limit(msgspec.Struct, rename="camel", gc=False):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _Limits(msgspec.Struct, rename="camel", gc=False):
    rate_limits: list[_Limit]


_decode_trades = msgspec.json.Decoder(list[_Trade], strict=False).decode
_decode_aggregates = msgspec.json.Decoder(list[_Aggregate], strict=False).decode
_decode_candles = msgspec.json.Decoder(list[list[msgspec.Raw]]).decode
_decode_number = msgspec.json.Decoder(float, strict=False).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode
_decode_limits = msgspec.json.Decoder(_Limits).decode


def _history(subject: Subject, first: int | None = None, rows: int = _ROWS) -> str:
    begin = "" if first is None else f"&fromId={first}"
    return f"/api/v3/historicalTrades?symbol={subject.symbol}&limit={rows}{begin}"


def _trades(reply: Reply) -> list[_Trade]:
    if _wants_key(reply):
        raise Settled(no_answer("the call wants a key"))
    require_answer(reply)
    return decoded(_decode_trades, reply)


def _wants_key(reply: Reply) -> bool:
    if reply.status not in (400, 401, 403):
        return False
    try:
        return _decode_refusal(reply.body).code in _KEY_MISSING
    except MALFORMED:
        return False


def _no_key(subject: Subject) -> Steps:
    reply = yield from rest(_history(subject))
    if _wants_key(reply):
        return differs(f"HTTP {reply.status}{excerpt(reply.body)}: it wants a key")
    return agrees(f"{len(_trades(reply))} rows")


def _from_id(subject: Subject) -> Steps:
    newest = _trades((yield from rest(_history(subject))))
    if len(newest) < 2:
        return no_answer(f"{len(newest)} rows")
    first = newest[0].id
    rows = _trades((yield from rest(_history(subject, first))))
    ids = [row.id for row in rows]
    as_assumed = bool(ids) and ids[0] == first and steps_of_one(ids) and len(ids) <= _ROWS
    return judged(as_assumed, f"fromId={first} gives {len(ids)} rows, {_span(ids)}")


def _floor(subject: Subject) -> Steps:
    rows = _trades((yield from rest(_history(subject, 1, 5))))
    ids = [row.id for row in rows]
    if not ids:
        return differs("an empty page instead of the oldest trades")
    return judged(steps_of_one(ids), f"fromId=1 begins at {ids[0]} of {rows[0].time} ms")


def _same_trades(subject: Subject) -> Steps:
    trades = trades_of((yield from listen(first_listen(subject))), subject.symbol)
    rows = _trades((yield from rest(_history(subject, trades[0].trade_id, _PAGE))))
    listed = (
        ListedTrade(row.id, row.price, row.qty, "s" if row.is_buyer_maker else "b", row.time * 1_000_000)
        for row in rows
    )
    return same_trades(trades, listed)


def _aggregates(subject: Subject) -> Steps:
    path = f"/api/v3/aggTrades?symbol={subject.symbol}&limit={_ROWS}"
    rows = decoded(_decode_aggregates, (yield from ask_json(path)))
    if len(rows) < 2:
        return no_answer(f"{len(rows)} rows")
    joined = all(before.l + 1 == row.f for before, row in pairwise(rows))
    as_assumed = joined and steps_of_one([row.a for row in rows])
    return judged(as_assumed, f"{len(rows)} aggregates of trades {rows[0].f} to {rows[-1].l}")


def _candle(subject: Subject) -> Steps:
    """Compare a closed minute with its aggregates."""
    path = f"/api/v3/klines?symbol={subject.symbol}&interval=1m&limit={_MINUTES}"
    candles = decoded(_decode_candles, (yield from ask_json(path)))
    now_ms = subject.now_ns // 1_000_000
    for candle in reversed(candles):
        if len(candle) != 12:
            return differs(f"a candle has {len(candle)} fields")
        start_ms, volume, count = (_decode_number(candle[at]) for at in (0, 5, 8))
        if start_ms < now_ms - 6 * _MINUTE_MS and 0 < count < _PAGE:
            break
    else:
        return no_answer(f"no closed minute with less than {_PAGE} trades")
    span = f"startTime={start_ms:.0f}&endTime={start_ms + _MINUTE_MS - 1:.0f}"
    path = f"/api/v3/aggTrades?symbol={subject.symbol}&{span}&limit={_PAGE}"
    rows = decoded(_decode_aggregates, (yield from ask_json(path)))
    trades, total = sum(row.l - row.f + 1 for row in rows), sum(row.q for row in rows)
    seen = f"minute {start_ms:.0f}: candle {count:.0f} trades of {volume:g}, aggregates {trades} of {total:.8g}"
    return judged(trades == count and abs(total - volume) < 1e-6, seen)


def _weights(subject: Subject) -> Steps:
    reply = yield from ask_json(listing.LISTING_PATHS[0])
    limits = decoded(_decode_limits, reply).rate_limits
    found = [
        one.limit
        for one in limits
        if (one.rate_limit_type, one.interval, one.interval_num) == ("REQUEST_WEIGHT", "MINUTE", 1)
    ]
    used = reply.headers.get("x-mbx-used-weight-1m", "no header")
    return judged(bool(found) and found[0] >= _WEIGHT, f"{found or 'no'} units a minute; used: {used[:20]}")


def _span(ids: list[int]) -> str:
    return f"{ids[0]} to {ids[-1]}" if ids else "none"


QUESTIONNAIRE = Questionnaire(
    symbol="BTCUSDT",
    questions=(
        *stream_questions("binance.md", contiguous=True),
        listing_question("binance.md, Symbols", listing.LISTING_PATHS[0], listing.listings),
        volumes_question("binance.md, Symbols", listing.VOLUME_PATHS[0], listing.volumes),
        Question("rest-weight", "binance.md, limits", "6,000 units a minute are allowed", _weights),
        Question("no-key", _BACKFILL, "historicalTrades wants no key", _no_key),
        Question("from-id", _BACKFILL, "`fromId` is inclusive, ids rise by one, `limit` holds", _from_id),
        Question("oldest-id", "healing.md, 10", "below a floor a page begins at the floor", _floor),
        Question("trades-equal", _HEALING, "REST and stream print a trade alike, with one id", _same_trades),
        Question(
            "aggregates", _HEALING, "an aggregate begins one behind the last trade of the one before", _aggregates
        ),
        Question("candle-count", _HEALING, "a candle counts every trade of its minute", _candle),
        Question("block-trades", "healing.md, 10", "candles leave out block trades", needs="a block trade"),
        Question("empty-candle", "binance.md, Messages", "`f` of an empty candle is -1", needs="a quiet minute"),
        Question("quiet-candle", "healing.md, 2", "a minute without trades has a candle of 0", needs="a quiet minute"),
        Question("forced-age", "binance.md, limits", "a connection ends after 24 hours", needs="24 hours"),
    ),
)

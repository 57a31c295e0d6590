"""What Kraken's protocol pages leave uncertain, as questions to the venue."""

import msgspec

from recorder.events import Refused
from recorder.venues.common_questions import (
    ListedTrade,
    first_listen,
    listing_question,
    same_trades,
    stream_questions,
    trades_of,
    volumes_question,
)
from recorder.venues.kraken import listing
from recorder.venues.questions import (
    Listen,
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
    judged,
    listen,
    no_answer,
    steps_of_one,
)

_TRADES = "kraken.md, Backfill by REST"
_SYMBOLS = "kraken.md, Symbols"
_COUNT = 50
_BUSY = ("EGeneral:Too many requests", "EAPI:Rate limit exceeded", "EService:")
_INSTRUMENTS = '{"method":"subscribe","params":{"channel":"instrument","snapshot":true},"req_id":7}'
_UNKNOWN_SYMBOL = "TAPEDECK/NONE"
# The request has the number of those for trades, by which the decoder knows the channel of a refusal.
_UNKNOWN = f'{{"method":"subscribe","params":{{"channel":"trade","symbol":["{_UNKNOWN_SYMBOL}"]}},"req_id":1}}'
_MINUTE_S = 60
_FLOAT_NS = 2000  # what a time in float seconds loses

# price, volume, time in seconds, side, kind, misc, id
Row = tuple[str, str, float, str, str, str, int]
Candle = tuple[int, str, str, str, str, str, str, int]  # time, open, high, low, close, vwap, volume, count


class _Answer(msgspec.Struct, gc=False):
    error: list[str]
    result: dict[str, msgspec.Raw] = {}


class _Pair(msgspec.Struct, gc=False):
    symbol: str


class _Pairs(msgspec.Struct, gc=False):
    pairs: list[_Pair]


class _Instruments(msgspec.Struct, gc=False):
    data: _Pairs


class _Page(msgspec.Struct, gc=False):
    """One page of trades."""

    rows: list[Row]
    last: str
    keys: int  # of the result, beside `last`


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_rows = msgspec.json.Decoder(list[Row]).decode
_decode_candles = msgspec.json.Decoder(list[Candle]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_instruments = msgspec.json.Decoder(_Instruments).decode


def _result(reply: Reply) -> dict[str, msgspec.Raw]:
    """Return the result of an answer; the status is 200 for errors too.

    Raises:
        Settled: It is an error.
    """
    answer = decoded(_decode_answer, reply)
    if answer.error:
        words = ", ".join(answer.error)
        raise Settled(no_answer(words) if words.startswith(_BUSY) else differs(words))
    return answer.result


def _page(reply: Reply) -> _Page:
    result = _result(reply)
    series = [name for name in result if name != "last"]
    if len(series) != 1:
        raise Settled(differs(f"{len(series)} keys beside `last`"))
    return _Page(_decode_rows(result[series[0]]), _decode_text(result["last"]), len(series))


def _pair(subject: Subject) -> str:
    """Return a symbol as REST spells it: the v1 names of its assets without the slash."""
    v1 = {common: old for old, common in listing.V2_ASSETS.items()}
    return "".join(v1.get(asset, asset) for asset in subject.symbol.split("/"))


def _trades_path(subject: Subject, since: str = "") -> str:
    begin = f"&since={since}" if since else ""
    return f"/0/public/Trades?pair={_pair(subject)}&count={_COUNT}{begin}"


def _newest(subject: Subject) -> Steps:
    page = _page((yield from ask_json(_trades_path(subject))))
    ids = [row[6] for row in page.rows]
    if len(ids) < 2:
        return no_answer(f"{len(ids)} rows")
    oldest_first = steps_of_one(ids)
    return judged(oldest_first and len(ids) <= _COUNT, f"{len(ids)} rows of {_COUNT}, {ids[0]} to {ids[-1]}")


def _since(subject: Subject) -> Steps:
    page = _page((yield from ask_json(_trades_path(subject))))
    if len(page.rows) < 2:
        return no_answer(f"{len(page.rows)} rows")
    # `last` is the exact time of the last row; one nanosecond before it must show that row again.
    at = int(page.last)
    same = [row[6] for row in page.rows if row[2] == page.rows[-1][2]]
    before = _page((yield from ask_json(_trades_path(subject, str(at - 1)))))
    behind = _page((yield from ask_json(_trades_path(subject, str(at)))))
    if not any(row[6] in same for row in before.rows):
        return differs(f"since={at - 1} does not show trade {same[-1]} of {at}")
    if any(row[6] in same for row in behind.rows):
        return differs(f"since={at} shows trade {same[-1]} of this instant again")
    return agrees(f"since={at} begins after trade {same[-1]} of this instant")


def _same_trades(subject: Subject) -> Steps:
    trades = trades_of((yield from listen(first_listen(subject))), subject.symbol)
    since = min(trade.ts_event_ns for trade in trades) - 10**9
    rows = _page((yield from ask_json(_trades_path(subject, str(since))))).rows
    listed = (ListedTrade(row[6], float(row[0]), float(row[1]), row[3], round(row[2] * 1e6) * 1000) for row in rows)
    return same_trades(trades, listed, _FLOAT_NS)


def _names(subject: Subject) -> Steps:
    heard = yield from listen(Listen(frames=(_INSTRUMENTS,), until=(b'"channel":"instrument"', b'"pairs"')))
    found = next((frame.data for frame in heard.frames if b'"pairs"' in frame.data), None)
    if found is None:
        return no_answer("the channel instrument sent no list")
    streamed = {pair.symbol for pair in _decode_instruments(found).data.pairs}
    reply = yield from ask_json(listing.LISTING_PATHS[0])
    listed = {one.symbol for one in listing.listings(reply.body)}
    only = sorted(listed - streamed)
    if only:
        return differs(f"{len(only)} names of {len(listed):,} are unknown to the stream: {', '.join(only[:6])}")
    return agrees(f"all {len(listed):,} names of REST, mapped, are names of the stream")


def _refusal(subject: Subject) -> Steps:
    heard = yield from listen(Listen(frames=(_UNKNOWN,), seconds=5, until=(b'"success":false',)))
    refused = next((one for one in heard.outputs if isinstance(one, Refused)), None)
    if refused is None:
        return differs("an unknown symbol was not refused in 5 s")
    named = refused.stream is not None and refused.stream.symbol == _UNKNOWN_SYMBOL
    return judged(named, f"{refused.reason}{'' if named else ' (no symbol)'}")


def _candle(subject: Subject) -> Steps:
    """Compare a closed minute of at most a page of trades with its candle."""
    result = _result((yield from ask_json(f"/0/public/OHLC?pair={_pair(subject)}&interval=1")))
    candles = next(_decode_candles(rows) for name, rows in result.items() if name != "last")
    settled = [one for one in candles if one[0] * 10**9 < subject.now_ns - 6 * _MINUTE_S * 10**9 and 0 < one[7] < 500]
    if not settled:
        return no_answer("no closed minute with less than 500 trades")
    start_s, count, volume = settled[-1][0], settled[-1][7], float(settled[-1][6])
    path = f"/0/public/Trades?pair={_pair(subject)}&count=1000&since={start_s * 10**9 - 1}"
    rows = [row for row in _page((yield from ask_json(path))).rows if start_s <= row[2] < start_s + _MINUTE_S]
    total = sum(float(row[1]) for row in rows)
    seen = f"minute {start_s}: candle {count} trades of {volume:g}, trades {len(rows)} of {total:.8g}"
    return judged(len(rows) == count and abs(total - volume) < 1e-7, seen)


QUESTIONNAIRE = Questionnaire(
    symbol="BTC/USD",
    questions=(
        *stream_questions("kraken.md", contiguous=True),
        Question(
            "v2-names", _SYMBOLS, "no asset but XBT and XDG has another name in version 2 than in REST", _names,
        ),
        Question("refusal", "kraken.md, Subscribing", "the refusal of an unknown symbol names the symbol", _refusal),
        listing_question(_SYMBOLS, listing.LISTING_PATHS[0], listing.listings),
        volumes_question(_SYMBOLS, listing.VOLUME_PATHS[0], listing.volumes),
        Question("trades-page", _TRADES, "a page holds `count` rows, oldest first, ids rising by one", _newest),
        Question("trades-since", "healing.md, 10", "`since` leaves out the trades of its own instant", _since),
        Question("trades-equal", "healing.md, 4", "REST and stream print a trade alike, with one id", _same_trades),
        Question("candle-count", "healing.md, 4", "the count of a candle is the number of its trades", _candle),
        Question("rest-rate", _TRADES, "one request a second and pair is allowed", needs="breaking the limit"),
        Question("forced-age", "kraken.md, Keep-alive", "no connection is ended for its age", needs="a day"),
        Question("status-words", _SYMBOLS, "the list of status values is complete", needs="a pair in each status"),
        Question("quiet-candle", "healing.md, 2", "a minute without trades has no candle", needs="a quiet minute"),
    ),
)  # fmt: skip

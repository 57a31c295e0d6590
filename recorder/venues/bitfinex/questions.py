"""What Bitfinex's protocol pages leave uncertain, as questions to the venue."""

from typing import Literal

import msgspec

from recorder.events import Lost
from recorder.venues.bitfinex import listing
from recorder.venues.bitfinex.stream import CONFIGURE, OB_CHECKSUM, SEQ_ALL
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
    Heard,
    Listen,
    Question,
    Questionnaire,
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
    require_service,
    rest,
    rising,
)

_HEALING = "healing.md, 7"
_SEQUENCE = "bitfinex.md, Sequence and checksum"
_AFTER_CONF = 30  # frames that show how the count goes on
_PAGE = 1000
_CANDLES = 20
_UNKNOWN = "tTAPENONE"


class _Conf(msgspec.Struct, gc=False):
    event: Literal["conf"]
    status: str
    flags: int = 0


_Print = tuple[int, int, float, float]  # id, ms, amount, price

_decode_conf = msgspec.json.Decoder(_Conf).decode
_decode_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_print = msgspec.json.Decoder(_Print).decode
_decode_prints = msgspec.json.Decoder(list[_Print]).decode
_decode_candles = msgspec.json.Decoder(list[tuple[int, float, float, float, float, float]]).decode
_decode_int = msgspec.json.Decoder(int).decode
_decode_error = msgspec.json.Decoder(tuple[Literal["error"], int, str]).decode


def _flags(subject: Subject) -> Steps:
    heard = yield from listen(first_listen(subject))
    found = next((frame.data for frame in heard.frames if b'"conf"' in frame.data), None)
    if found is None:
        return differs("the flags were not acknowledged")
    answer = _decode_conf(found)
    return judged((answer.status, answer.flags) == ("OK", SEQ_ALL | OB_CHECKSUM), f"{answer.status}, {answer.flags}")


def _twins(subject: Subject) -> Steps:
    heard = yield from listen(first_listen(subject))
    executed, updated = _prints(heard, b'"te"'), _prints(heard, b'"tu"')
    both = executed.keys() & updated.keys()
    if not both:
        return no_answer(f"{len(executed)} te, {len(updated)} tu, none of one trade")
    odd = sorted(number for number in both if executed[number] != updated[number])
    if odd:
        return differs(f"trade {odd[0]}: te {executed[odd[0]]}, tu {updated[odd[0]]}")
    alone = executed.keys() ^ updated.keys()
    return judged(len(alone) <= 1, f"{len(both)} trades twice and alike, {len(alone)} once")


def _prints(heard: Heard, kind: bytes) -> dict[int, _Print]:
    found = {}
    for frame in heard.frames:
        if kind in frame.data[:40]:
            row = _decode_print(_decode_parts(frame.data)[2])
            found[row[0]] = row
    return found


def _second_conf(subject: Subject) -> Steps:
    before = yield from listen(first_listen(subject))
    after = yield from listen(Listen(frames=(CONFIGURE,), least_frames=_AFTER_CONF, until=(b'"conf"',)))
    last = _sequences(before)
    numbers = _sequences(after)
    lost = [one for one in after.outputs if isinstance(one, Lost)]
    if not last or not numbers:
        return no_answer("no numbered frame came")
    if lost:
        return differs(f"{lost[0].reason}")
    how = "restarts at 1" if min(numbers) < last[-1] else "goes on"
    return agrees(f"the count {how}")


def _sequences(heard: Heard) -> list[int]:
    frames = (_decode_parts(frame.data) for frame in heard.frames if frame.data[:1] == b"[")
    return [_decode_int(parts[-1]) for parts in frames if len(parts) > 2 and parts[-1]]


def _same_trades(subject: Subject) -> Steps:
    trades = trades_of((yield from listen(first_listen(subject))), subject.symbol)
    times_ms = sorted(trade.ts_event_ns // 1_000_000 for trade in trades)
    path = f"/v2/trades/{subject.symbol}/hist?start={times_ms[0]}&end={times_ms[-1]}&limit={_PAGE}&sort=1"
    rows = decoded(_decode_prints, (yield from ask_json(path)))
    if len(rows) < _PAGE and rows and (rows[0][1], rows[-1][1]) != (times_ms[0], times_ms[-1]):
        return differs(f"{times_ms[0]} to {times_ms[-1]} ms gives {rows[0][1]} to {rows[-1][1]}")
    if not rising([row[1] for row in rows]):
        return differs("sort=1 is not by time")
    listed = (
        ListedTrade(number, price, abs(amount), "b" if amount > 0 else "s", ms * 1_000_000)
        for number, ms, amount, price in rows
    )
    return same_trades(trades, listed)


def _candles(subject: Subject) -> Steps:
    path = f"/v2/candles/trade:1m:{subject.symbol}/hist?limit={_CANDLES}"
    rows = decoded(_decode_candles, (yield from ask_json(path)))
    if not rows:
        return no_answer("no rows")
    second = all(low <= min(opened, close) <= max(opened, close) <= high for _, opened, close, high, low, _ in rows)
    return judged(second and len(rows) <= _CANDLES, f"{len(rows)} rows, open and close within high and low: {second}")


def _bad_symbol(subject: Subject) -> Steps:
    reply = yield from rest(f"/v2/trades/{_UNKNOWN}/hist?limit=1")
    if reply.status != 500:
        require_service(reply)
        return differs(f"HTTP {reply.status}{excerpt(reply.body)}")
    code = decoded(_decode_error, reply)[1]
    return judged(code == 10020, f"HTTP 500, error {code}")


QUESTIONNAIRE = Questionnaire(
    symbol="tBTCUSD",
    questions=(
        *stream_questions("bitfinex.md", contiguous=False),
        Question("flags", _SEQUENCE, "SEQ_ALL and OB_CHECKSUM are acknowledged", _flags),
        Question("te-tu", "bitfinex.md, Frames", "every trade comes as te and tu, with equal values", _twins),
        Question("second-conf", _SEQUENCE, "after a second conf the count goes on, or begins at 1", _second_conf),
        Question("trades-equal", _HEALING, "REST lists the same trades by time, both ends inclusive", _same_trades),
        listing_question("bitfinex.md, Symbols", listing.LISTING_PATHS[0], listing.listings),
        volumes_question("bitfinex.md, REST", listing.VOLUME_PATHS[0], listing.volumes),
        Question("candles", _HEALING, "a candle is time, open, close, high, low, volume", _candles),
        Question("bad-symbol", "bitfinex.md, Limits", "an unknown symbol is HTTP 500 with error 10020", _bad_symbol),
        Question("empty-book", "bitfinex.md, Frames", "an empty book sends [] first", needs="an empty book"),
        Question("heartbeats", "bitfinex.md, Keep-alive", "hb comes every 15 s on busy channels", needs="a minute"),
        Question("rest-rate", "bitfinex.md, Backfill", "15 requests a minute are allowed", needs="breaking the limit"),
        Question("channel-limit", "bitfinex.md, Limits", "25 channels fit on a connection", needs="25 channels"),
        Question("still-answers", _HEALING, "two reads of a window agree", needs="10 minutes"),
    ),
)

"""What OKX's protocol pages leave uncertain, as questions to the venue."""

import msgspec

from recorder.events import Refused, Stream
from recorder.venues.common_questions import (
    ListedTrade,
    first_listen,
    listing_question,
    same_trades,
    stream_questions,
    trades_of,
    volumes_question,
)
from recorder.venues.okx import listing
from recorder.venues.questions import (
    Heard,
    Listen,
    Question,
    Questionnaire,
    Reply,
    Settled,
    Steps,
    Subject,
    ask_json,
    decoded,
    differs,
    judged,
    listen,
    no_answer,
    steps_of_one,
)

_BACKFILL = "okx.md, Backfill"
_HEALING = "healing.md, 6"
_PAGE = 100
_ROWS = 20
_DAY_MS = 86_400_000
_KEPT_DAYS, _GONE_DAYS = 85, 95  # of "the last 3 months"
_CANDLES = 300
_BUSY = ("50011", "50013", "50026", "50001")  # too many requests, and services that are down
_UNKNOWN = Stream("book", "TAPEDECK-NONE")
_SUBSCRIBE_UNKNOWN = f'{{"op":"subscribe","args":[{{"channel":"books","instId":"{_UNKNOWN.symbol}"}}]}}'


class _Envelope(msgspec.Struct, gc=False):
    code: str
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw(b"[]")


class _Trade(msgspec.Struct, rename="camel", gc=False):
    trade_id: int
    px: float
    sz: float
    side: str
    ts: int
    source: str = ""


class _Argument(msgspec.Struct, gc=False):
    channel: str


class _BookData(msgspec.Struct, rename="camel", gc=False):
    checksum: int | None = None
    seq_id: int | None = None
    prev_seq_id: int | None = None


class _BookFrame(msgspec.Struct, gc=False):
    arg: _Argument
    data: list[_BookData]
    action: str = ""


class _TradeFrame(msgspec.Struct, gc=False):
    arg: _Argument
    data: list[_Trade]


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_trades = msgspec.json.Decoder(list[_Trade], strict=False).decode
_decode_books = msgspec.json.Decoder(list[_BookData]).decode
_decode_candles = msgspec.json.Decoder(list[list[str]]).decode
_decode_book_frame = msgspec.json.Decoder(_BookFrame).decode
_decode_trade_frame = msgspec.json.Decoder(_TradeFrame, strict=False).decode


def _data(reply: Reply) -> msgspec.Raw:
    """Return the data of an answer; the status is 200 for errors too.

    Raises:
        Settled: It is an error.
    """
    answer = decoded(_decode_envelope, reply)
    if answer.code != "0":
        words = f"code {answer.code}: {answer.msg}"
        raise Settled(no_answer(words) if answer.code in _BUSY else differs(words))
    return answer.data


def _history(subject: Subject, more: str, rows: int = _ROWS) -> str:
    return f"/api/v5/market/history-trades?instId={subject.symbol}&limit={rows}{more}"


def _trades(reply: Reply) -> list[_Trade]:
    return _decode_trades(_data(reply))


def _after(subject: Subject) -> Steps:
    newest = _trades((yield from ask_json(_history(subject, "&type=1"))))
    ids = [row.trade_id for row in newest]
    if len(ids) < 2:
        return no_answer(f"{len(ids)} rows")
    if len(ids) > _ROWS or not steps_of_one(ids[::-1]):
        return differs(f"{len(ids)} rows of {_ROWS}, {ids[0]} to {ids[-1]}")
    before = ids[len(ids) // 2]
    page = [row.trade_id for row in _trades((yield from ask_json(_history(subject, f"&type=1&after={before}"))))]
    as_assumed = bool(page) and page[0] == before - 1 and steps_of_one(page[::-1])
    return judged(as_assumed, f"after={before} begins at {page[0] if page else 'nothing'}")


def _before(subject: Subject) -> Steps:
    newest = _trades((yield from ask_json(_history(subject, "&type=1"))))
    if not newest:
        return no_answer("no rows")
    old = newest[-1].trade_id - 3 * _ROWS
    page = [row.trade_id for row in _trades((yield from ask_json(_history(subject, f"&type=1&before={old}"))))]
    if not page:
        return differs(f"before={old} gives an empty page")
    return judged(page[0] >= newest[0].trade_id, f"before={old} gives {page[0]} to {page[-1]}")


def _limit(subject: Subject) -> Steps:
    rows = _trades((yield from ask_json(_history(subject, "&type=1", 3 * _PAGE))))
    return judged(len(rows) <= _PAGE, f"limit={3 * _PAGE} gives {len(rows)} rows")


def _retention(subject: Subject) -> Steps:
    now_ms = subject.now_ns // 1_000_000
    kept, gone = (now_ms - days * _DAY_MS for days in (_KEPT_DAYS, _GONE_DAYS))
    before = _trades((yield from ask_json(_history(subject, f"&type=2&after={kept}", 5))))
    behind = _trades((yield from ask_json(_history(subject, f"&type=2&after={gone}", 5))))
    seen = f"{len(before)} rows before {_KEPT_DAYS} days ago, {len(behind)} before {_GONE_DAYS} days ago"
    return judged(bool(before) and not behind, seen)


def _merged(subject: Subject) -> Steps:
    """Compare a merged trade of the stream with the fills that REST lists."""
    trades = trades_of((yield from listen(first_listen(subject))), subject.symbol)
    merged = [trade for trade in trades if 1 < trade.count <= _PAGE]
    if not merged:
        return no_answer(f"none of {len(trades)} trades stands for several fills")
    trade = merged[-1]
    path = _history(subject, f"&type=1&after={trade.trade_id + 1}", trade.count)
    rows = _trades((yield from ask_json(path)))
    ids = [row.trade_id for row in rows]
    total = sum(row.sz for row in rows)
    alike = {(row.px, row.side[:1], row.ts) for row in rows}
    own = {(trade.price, trade.aggressor, trade.ts_event_ns // 1_000_000)}
    seen = f"trade {trade.trade_id} of {trade.count} fills, {trade.size:g}: REST {len(rows)} of {total:g}"
    as_assumed = ids == list(range(trade.trade_id, trade.trade_id - trade.count, -1)) and alike == own
    return judged(as_assumed and abs(total - trade.size) < 1e-9 * max(1.0, total), seen)


def _same_trades(subject: Subject) -> Steps:
    trades = trades_of((yield from listen(first_listen(subject))), subject.symbol)
    single = [trade for trade in trades if trade.count == 1]
    rows = _trades((yield from ask_json(_history(subject, f"&type=1&after={trades[-1].trade_id + 1}", _PAGE))))
    listed = (ListedTrade(row.trade_id, row.px, row.sz, row.side[:1], row.ts * 1_000_000) for row in rows)
    return same_trades(single, listed)


def _sources(subject: Subject) -> Steps:
    heard = yield from listen(first_listen(subject))
    sources = {row.source for frame in _of(heard, b'"trades"') for row in _decode_trade_frame(frame).data}
    if not sources:
        return no_answer("no trade came in this time")
    return judged(sources <= {"", "0", "1"}, f"source: {', '.join(sorted(sources))}")


def _checksum(subject: Subject) -> Steps:
    heard = yield from listen(first_listen(subject))
    found = {row.checksum for frame in _of(heard, b'"books"') for row in _decode_book_frame(frame).data}
    if not found:
        return no_answer("no book came in this time")
    shown = ", ".join(sorted("absent" if one is None else str(one) for one in found)[:5])
    return judged(found <= {None, 0}, f"checksum: {shown}")


def _first_sequence(subject: Subject) -> Steps:
    heard = yield from listen(first_listen(subject))
    frames = [_decode_book_frame(frame) for frame in _of(heard, b'"books"')]
    first = next((frame.data[0].prev_seq_id for frame in frames if frame.action == "snapshot" and frame.data), -2)
    if first == -2:
        return no_answer("no snapshot of a book came in this time")
    return judged(first in (-1, None), f"prevSeqId: {first}")


def _of(heard: Heard, channel: bytes) -> list[bytes]:
    """Return the frames with data of a channel."""
    return [frame.data for frame in heard.frames if b'"channel":' + channel in frame.data and b'"data":' in frame.data]


def _rest_book(subject: Subject) -> Steps:
    rows = _decode_books(_data((yield from ask_json(f"/api/v5/market/books?instId={subject.symbol}&sz=5"))))
    number = rows[0].seq_id if rows else None
    return judged(number is not None, f"seqId: {number}")


def _refusal(subject: Subject) -> Steps:
    heard = yield from listen(Listen(frames=(_SUBSCRIBE_UNKNOWN,), seconds=5, until=(b'"event":"error"',)))
    refused = next((one for one in heard.outputs if isinstance(one, Refused)), None)
    if refused is None:
        return differs("an unknown instrument was not refused in 5 s")
    return judged(refused.stream == _UNKNOWN, refused.reason)


def _unknown(subject: Subject) -> Steps:
    reply = yield from ask_json(f"/api/v5/market/history-trades?instId={_UNKNOWN.symbol}&limit=1")
    code = decoded(_decode_envelope, reply).code
    return judged(code == "51001", f"HTTP {reply.status}, code {code}")


def _candles(subject: Subject) -> Steps:
    path = f"/api/v5/market/history-candles?instId={subject.symbol}&bar=1m&limit={_CANDLES}"
    rows = _decode_candles(_data((yield from ask_json(path))))
    if not rows:
        return no_answer("no rows")
    odd = [row for row in rows if len(row) != 9 or row[8] not in ("0", "1")]
    if odd:
        return differs(f"{len(odd)} of {len(rows)} rows are others, such as {odd[0]}")
    return judged(len(rows) == _CANDLES, f"limit={_CANDLES} gives {len(rows)} rows of 9 fields")


QUESTIONNAIRE = Questionnaire(
    symbol="BTC-USDT",
    questions=(
        *stream_questions("okx.md", contiguous=True),
        Question("checksum", "okx.md, Gaps in books", "`checksum` is 0 or absent", _checksum),
        Question("first-sequence", "okx.md, Gaps in books", "a snapshot has `prevSeqId` -1 or none", _first_sequence),
        Question("trade-source", "okx.md, Messages", "`source` of a trade is 0 or 1", _sources),
        Question("refusal", "okx.md, Subscribing", "the refusal of an instrument names it in its text", _refusal),
        listing_question("okx.md, Symbols", listing.LISTING_PATHS[0], listing.listings),
        volumes_question("okx.md, REST", listing.VOLUME_PATHS[0], listing.volumes),
        Question("merged-fills", "healing.md, 10", "REST lists the fills of a merged trade by their ids", _merged),
        Question("trades-equal", _HEALING, "REST and stream print a single fill alike, with one id", _same_trades),
        Question("trades-after", _BACKFILL, "`after=N` begins at N - 1, newest first, `limit` holds", _after),
        Question("trades-before", _BACKFILL, "`before=N` gives the newest page", _before),
        Question("page-limit", _BACKFILL, "a page has 100 rows at most", _limit),
        Question("retention", _HEALING, "85 days ago is answered, 95 days ago is empty with code 0", _retention),
        Question("rest-book", _BACKFILL, "books over REST carry `seqId`", _rest_book),
        Question("unknown-symbol", "okx.md, Symbols", "an unknown instrument is code 51001", _unknown),
        Question("candles", _HEALING, "a page has 300 candles of nine fields", _candles),
        Question("retail-fills", "okx.md, Messages", "`source` 1 marks retail fills", needs="the vendor's word"),
        Question("rest-rate", _BACKFILL, "20 requests in 2 s are allowed", needs="breaking the limit"),
        Question("sequence-reset", "okx.md, Gaps in books", "after maintenance seqId falls", needs="maintenance"),
        Question("cut-notice", "okx.md, Edge cases", "code 63999 wants a reconnect", needs="a failure of the venue"),
    ),
)

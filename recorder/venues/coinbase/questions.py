"""What the protocol pages of Coinbase Exchange leave uncertain, as questions to the venue."""

from itertools import pairwise

import msgspec

from recorder.events import Witness
from recorder.timestamps import Rfc3339
from recorder.venues.coinbase import listing
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
    Listen,
    Question,
    Questionnaire,
    Steps,
    Subject,
    ask_json,
    decoded,
    differs,
    judged,
    listen,
    no_answer,
    steps_of_one,
    times_have,
)

_BACKFILL = "coinbase.md, Backfill by REST"
_HEALING = "healing.md, 3"
_ROWS = 20
_PAGE = 1000
_OLD = 1_000_000  # a trade id of the first years
_TAKER = {"buy": "s", "sell": "b"}  # REST has the maker's side
_CANDLES = 300
_HEARTBEAT_S = 5.0  # one a second is sent


class _Trade(msgspec.Struct, gc=False):
    trade_id: int
    side: str
    price: float
    size: float
    time: str


_decode_trades = msgspec.json.Decoder(list[_Trade], strict=False).decode
_decode_candles = msgspec.json.Decoder(list[tuple[int, float, float, float, float, float]]).decode


def _path(subject: Subject, more: str, rows: int = _ROWS) -> str:
    return f"/products/{subject.symbol}/trades?limit={rows}{more}"


def _after(subject: Subject) -> Steps:
    newest = decoded(_decode_trades, (yield from ask_json(_path(subject, ""))))
    if len(newest) < 2:
        return no_answer(f"{len(newest)} rows")
    ids = [row.trade_id for row in newest]
    if len(ids) > _ROWS or not steps_of_one(ids[::-1]):
        return differs(f"{len(ids)} rows of {_ROWS}, {ids[0]} to {ids[-1]}")
    before = ids[len(ids) // 2]
    page = [row.trade_id for row in decoded(_decode_trades, (yield from ask_json(_path(subject, f"&after={before}"))))]
    as_assumed = bool(page) and page[0] == before - 1 and steps_of_one(page[::-1])
    return judged(as_assumed, f"after={before} begins at {page[0] if page else 'nothing'}")


def _before(subject: Subject) -> Steps:
    newest = decoded(_decode_trades, (yield from ask_json(_path(subject, ""))))
    if not newest:
        return no_answer("no rows")
    old = newest[-1].trade_id - 3 * _ROWS
    page = [row.trade_id for row in decoded(_decode_trades, (yield from ask_json(_path(subject, f"&before={old}"))))]
    if not page:
        return differs(f"before={old} gives an empty page")
    return judged(page[0] >= newest[0].trade_id, f"before={old} gives {page[0]} to {page[-1]}")


def _cursors(subject: Subject) -> Steps:
    reply = yield from ask_json(_path(subject, ""))
    rows = decoded(_decode_trades, reply)
    if not rows:
        return no_answer("no rows")
    found = (reply.headers.get("cb-before"), reply.headers.get("cb-after"))
    return judged(found == (str(rows[0].trade_id), str(rows[-1].trade_id)), f"CB-BEFORE, CB-AFTER: {found}")


def _times(subject: Subject) -> Steps:
    rows = decoded(_decode_trades, (yield from ask_json(_path(subject, ""))))
    if not rows:
        return no_answer("no rows")
    most = max(times_have(row.time) for row in rows)
    return judged(most == 6, f"{most} decimals, such as {rows[0].time}")


def _same_trades(subject: Subject) -> Steps:
    trades = trades_of((yield from listen(first_listen(subject))), subject.symbol)
    path = _path(subject, f"&after={trades[-1].trade_id + 1}", _PAGE)
    rows = decoded(_decode_trades, (yield from ask_json(path)))
    ns = Rfc3339().ns
    listed = (ListedTrade(row.trade_id, row.price, row.size, _TAKER.get(row.side), ns(row.time)) for row in rows)
    return same_trades(trades, listed)


def _oldest(subject: Subject) -> Steps:
    rows = decoded(_decode_trades, (yield from ask_json(_path(subject, f"&after={_OLD + 1}", 1))))
    if not rows:
        return differs(f"after={_OLD + 1} gives an empty page")
    return judged(rows[0].trade_id == _OLD, f"trade {rows[0].trade_id} of {rows[0].time}")


def _witness(subject: Subject) -> Steps:
    yield from listen(first_listen(subject))
    heard = yield from listen(Listen(seconds=_HEARTBEAT_S, until=(b'"heartbeat"',)))
    named = [one.trade_id for one in heard.outputs if isinstance(one, Witness) and one.symbol == subject.symbol]
    if not named:
        return differs("no heartbeat named a trade")
    return judged(named[-1] > 0, f"{len(named)} heartbeats, the last names trade {named[-1]}")


def _candles(subject: Subject) -> Steps:
    reply = yield from ask_json(f"/products/{subject.symbol}/candles?granularity=60")
    rows = decoded(_decode_candles, reply)
    if len(rows) < 2:
        return no_answer(f"{len(rows)} rows")
    newest_first = all(before[0] > row[0] for before, row in pairwise(rows))
    ordered = all(low <= min(opened, close) and high >= max(opened, close) for _, low, high, opened, close, _ in rows)
    seen = f"{len(rows)} rows, {'newest' if newest_first else 'not newest'} first, low before high: {ordered}"
    return judged(newest_first and ordered and len(rows) <= _CANDLES, seen)


QUESTIONNAIRE = Questionnaire(
    symbol="BTC-USD",
    questions=(
        *stream_questions("coinbase.md", contiguous=True),
        Question("heartbeat", _HEALING, "heartbeats name the last trade, not 0", _witness),
        listing_question("coinbase.md, Symbols", listing.LISTING_PATHS[0], listing.listings),
        volumes_question("coinbase.md, REST", listing.VOLUME_PATHS[0], listing.volumes),
        Question("trades-after", _BACKFILL, "`after=N` begins at N - 1, newest first, `limit` holds", _after),
        Question("trades-before", _BACKFILL, "`before=N` gives the newest page", _before),
        Question("cursors", _BACKFILL, "the headers CB-BEFORE and CB-AFTER are the ids of the page's ends", _cursors),
        Question("rest-times", "healing.md, 10", "times of REST have microseconds", _times),
        Question("trades-equal", _HEALING, "REST and stream print a trade alike, with one id", _same_trades),
        Question("oldest-id", _HEALING, "`after` reaches the trades of the first years", _oldest),
        Question("candles", _HEALING, "at most 300 rows, newest first, low before high before open", _candles),
        Question("rest-rate", _BACKFILL, "10 requests a second are allowed", needs="breaking the limit"),
        Question("forced-age", "coinbase.md, Limits", "no connection is ended for its age", needs="a day"),
        Question("unissued-ids", "healing.md, 2", "some ids are never issued", needs="24 hours of rereading"),
    ),
)

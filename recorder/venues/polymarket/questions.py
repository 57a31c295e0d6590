"""What Polymarket's protocol page leaves uncertain, as questions to its services and its stream."""

from collections.abc import Callable, Generator

import msgspec

from recorder.events import Book, Stream
from recorder.venues.common_questions import FRAMES, accepted, books, understood
from recorder.venues.polymarket.ids import Version
from recorder.venues.polymarket.polls import books as polled_books
from recorder.venues.polymarket.polls import gamma, resolutions, trades
from recorder.venues.polymarket.polls.market import Market
from recorder.venues.questions import (
    Ask,
    Heard,
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
    excerpt,
    is_page,
    judged,
    listen,
    no_answer,
    require_answer,
    require_service,
    rest,
)

GAMMA, CLOB, DATA = "gamma", "clob", "data"
_OPEN = "polymarket.md, 10"
_PAGING = "polymarket.md, 2.1"
_BOOKS_MAX = 500
_CONDITIONS_MAX = 20
_TRADES_S = 10
_FEED = (0.4, 40.0)  # rows a second that the poller is made for: a tenth and ten times of 4
_FRESH_S = 5
_CACHE_HEADERS = ("age", "x-cache", "cf-cache-status", "cache-control")
_GONE = (404, 410)
_SHORT, _LONG = 64, 66  # characters of a condition id of 62 and of 64 digits
_TWENTY = "20 conditions are answered, 21 refused"
_PASSES = "a changing parameter passes the cache"

MarketSteps = Generator[Ask, Reply | Heard, Market]


class _Rows(msgspec.Struct, gc=False):
    data: list[msgspec.Raw]


class _Markets(msgspec.Struct, gc=False):
    markets: list[dict[str, msgspec.Raw]]
    next_cursor: str | None = None


class _Events(msgspec.Struct, gc=False):
    events: list[msgspec.Raw]


class _Serving(msgspec.Struct, gc=False):
    lag_seconds: float


class _StatusData(msgspec.Struct, gc=False):
    serving: _Serving
    computed_at: str
    age_seconds: float


class _Status(msgspec.Struct, gc=False):
    data: _StatusData


_decode_rows = msgspec.json.Decoder(_Rows).decode
_decode_markets = msgspec.json.Decoder(_Markets).decode
_decode_events = msgspec.json.Decoder(_Events).decode
_decode_status = msgspec.json.Decoder(_Status).decode


# ---- markets to ask about


def _list(subject: Subject, more: str, closed: bool = False) -> str:
    begin = f"/markets/keyset?limit={gamma.PAGE}&include_tag=true&closed={'true' if closed else 'false'}"
    return f"{begin}{more}&at={subject.now_ns // 10**9}"  # answers are cached by their address


def _page(reply: Reply) -> gamma.MarketPage:
    require_answer(reply)
    return gamma.markets(reply.body, reply.received_ns)


def _busy(subject: Subject) -> MarketSteps:
    """Return the open market of version 1 with the most volume.

    Raises:
        Settled: There is none.
    """
    page = _page((yield from rest(_list(subject, "&order=volume24hr&ascending=false"), GAMMA)))
    return _first(page, "v1")


def _second_version(subject: Subject) -> MarketSteps:
    """Return an open market of version 2.

    Raises:
        Settled: There is none.
    """
    return _first(_page((yield from rest(_list(subject, "&version=v2"), GAMMA))), "v2")


def _first(page: gamma.MarketPage, version: Version) -> Market:
    for row in page.rows:
        market = row.market
        if market.version == version and market.tokens and market.accepting_orders and market.phase == "open":
            return market
    raise Settled(no_answer(f"no open market of version {version[1:]} is listed"))


# ---- the stream


def _listen_to(market: Market) -> Listen:
    streams = tuple(Stream(channel, market.token) for channel in ("trade", "quote", "book"))
    return Listen(streams, least_frames=FRAMES, trades=1)


def _of_busy(judge: Callable[[Listen], Steps]) -> Callable[[Subject], Steps]:
    def steps(subject: Subject) -> Steps:
        market = yield from _busy(subject)
        return (yield from judge(_listen_to(market)))

    return steps


def _v2_stream(subject: Subject) -> Steps:
    market = yield from _second_version(subject)
    heard = yield from listen(Listen((Stream("book", market.token),), seconds=_TRADES_S, least_frames=5))
    if heard.odd:
        return differs(f"{len(heard.odd)} of {len(heard.frames)} frames are not understood: {heard.odd[0]}")
    found = [one for one in heard.outputs if isinstance(one, Book) and one.symbol == market.token]
    return judged(bool(found), f"{len(found)} messages of the book of market {market.market_id}")


# ---- version 2


def _v2_row(subject: Subject) -> Steps:
    reply = yield from rest(_list(subject, "&version=v2"), GAMMA)
    page = _page(reply)
    market = _first(page, "v2")
    odd = next((one for one in page.odd if one.what.startswith(str(market.market_id))), None)
    if odd is not None:
        return differs(f"{odd.what}: {odd.reason}")
    rows = decoded(_decode_markets, reply).markets
    row = next(row for row in rows if bytes(row.get("id", b"")).strip(b'"') == str(market.market_id).encode())
    width = len(bytes(row["conditionId"])) - len('"0x"')
    older = bytes(row.get("clobTokenIds", b"absent"))[:20].decode("utf-8", "replace")
    status = market.resolution_status or "absent"
    seen = f"condition of {width} digits, resolutionStatus {status}, clobTokenIds {older}"
    return judged(width == _SHORT - 2 and status in ("active", "inactive"), seen)


def _v2_books(subject: Subject) -> Steps:
    market = yield from _second_version(subject)
    reply = yield from ask_json(polled_books.PATH, CLOB, polled_books.request(market.tokens))
    found = polled_books.decode(reply.body, reply.received_ns)
    if found.odd:
        return differs(f"{found.odd[0].what}: {found.odd[0].reason}")
    versions = sorted({book.version or "none" for book in found.books})
    seen = f"{len(found.books)} of {len(market.tokens)} books, version {', '.join(versions) or 'none'}"
    same = all(book.condition_id in (None, market.condition_id) for book in found.books)
    return judged(len(found.books) == len(market.tokens) and same, seen)


def _v2_record(subject: Subject) -> Steps:
    market = yield from _second_version(subject)
    reply = yield from ask_json(f"/markets/{market.condition_id}", CLOB)
    reading = resolutions.clob_market(reply.body, market.tokens, reply.received_ns)
    return judged(reading.condition_id == market.condition_id, f"{reading.status}, the condition of the row")


def _short_record(subject: Subject) -> Steps:
    market = yield from _busy(subject)
    reply = yield from ask_json(f"/clob-markets/{market.condition_id}", CLOB)
    version = gamma.version_of(reply.body, market.condition_id)
    return judged(version == market.version, f"`v` is {version}, Gamma says {market.version}")


# ---- Data API


def _v1_gone(subject: Subject) -> Steps:
    reply = yield from rest("/trades?limit=1", DATA)
    if reply.status in _GONE or (200 <= reply.status <= 299 and is_page(reply.body)):
        return agrees(f"HTTP {reply.status}{excerpt(reply.body)}")
    require_service(reply)
    return differs(f"HTTP {reply.status}{excerpt(reply.body)}")


def _status(subject: Subject) -> Steps:
    status = decoded(_decode_status, (yield from ask_json("/v2/status", DATA))).data
    seen = f"lag {status.serving.lag_seconds:g} s, {status.age_seconds:g} s old"
    return judged(0 <= status.serving.lag_seconds < 3600, seen)


def _tokens(subject: Subject) -> Steps:
    market = yield from _busy(subject)
    reply = yield from ask_json(f"/v2/tokens?token_id={','.join(market.tokens)}", DATA)
    found = resolutions.tokens(reply.body)
    if found.odd:
        return differs(f"{found.odd[0].what}: {found.odd[0].reason}")
    names = {fact.token for fact in found.facts}
    modules = ", ".join(sorted({fact.module or "none" for fact in found.facts}))
    return judged(names == set(market.tokens), f"{len(found.facts)} of {len(market.tokens)} tokens, module {modules}")


def _of_conditions(path: str) -> Callable[[Subject], Steps]:
    """Return steps that ask about as many conditions as are allowed, and about one more."""

    def steps(subject: Subject) -> Steps:
        page = _page((yield from rest(_list(subject, "&order=volume24hr&ascending=false"), GAMMA)))
        wanted = [row.market.condition_id for row in page.rows][: _CONDITIONS_MAX + 1]
        if len(wanted) <= _CONDITIONS_MAX:
            return no_answer(f"only {len(wanted)} markets are open")
        some = yield from ask_json(f"{path}?condition={','.join(wanted[:-1])}", DATA)
        rows = len(decoded(_decode_rows, some).data)
        more = yield from rest(f"{path}?condition={','.join(wanted)}", DATA)
        require_service(more)
        seen = f"{_CONDITIONS_MAX} conditions: {rows} rows; {len(wanted)}: HTTP {more.status}"
        return judged(more.status == 400, seen)

    return steps


def _ended(subject: Subject) -> Steps:
    page = _page((yield from rest(_list(subject, "&order=endDate&ascending=false", closed=True), GAMMA)))
    wanted = [row.market.condition_id for row in page.rows][:_CONDITIONS_MAX]
    if not wanted:
        return no_answer("no closed market is listed")
    reply = yield from ask_json(f"/v2/resolutions?condition={','.join(wanted)}", DATA)
    found = resolutions.resolutions(reply.body, reply.received_ns)
    if found.odd:
        return differs(f"{len(found.odd)} odd, such as {found.odd[0].what}: {found.odd[0].reason}")
    final = sum(reading.payouts is not None for reading in found.readings)
    return agrees(f"{len(found.readings)} of {len(wanted)} closed markets, {final} with payouts")


def _feed(subject: Subject) -> Generator[Ask, Reply | Heard, trades.Page]:
    reply = yield from ask_json(trades.path(0.01, subject.now_ns // 10**9), DATA)
    return trades.decode(reply.body, reply.received_ns)


def _feed_rate(subject: Subject) -> Steps:
    page = yield from _feed(subject)
    if page.odd:
        return differs(f"{len(page.odd)} odd rows, such as {page.odd[0][1]}")
    if len(page.fills) < 2:
        return no_answer(f"{len(page.fills)} rows")
    times = [fill.ts_event_ns for fill in page.fills]
    span_s = (times[0] - times[-1]) / 1e9
    rate = len(times) / max(span_s, 1.0)
    ordered = times == sorted(times, reverse=True)
    seen = f"{rate:.1f} rows a second, {len(times)} rows, {'newest first' if ordered else 'in no order'}"
    return judged(ordered and _FEED[0] <= rate <= _FEED[1], seen)


def _feed_cursor(subject: Subject) -> Steps:
    first = yield from _feed(subject)
    if first.next_cursor is None:
        return no_answer("the first page has no cursor")
    reply = yield from ask_json(trades.path(0.01, subject.now_ns // 10**9, first.next_cursor), DATA)
    second = trades.decode(reply.body, reply.received_ns)
    if second.next_cursor == first.next_cursor:
        return differs("the second page names its own cursor again")
    if not first.fills or not second.fills:
        return no_answer("an empty page")
    older = second.fills[0].ts_event_ns <= first.fills[-1].ts_event_ns
    return judged(older, f"{len(second.fills)} rows behind the {len(first.fills)} of the first page: {older}")


def _feed_offset(subject: Subject) -> Steps:
    return (yield from _refused("/v2/trades?limit=1&offset=1", DATA, 400))


def _refused(path: str, service: str, status: int, body: bytes = b"") -> Steps:
    reply = yield from rest(path, service, body)
    if reply.status == status:
        return agrees(f"HTTP {reply.status}{excerpt(reply.body)}")
    require_service(reply)
    return differs(f"HTTP {reply.status}{excerpt(reply.body)}")


# ---- caches and limits


def _cache(path: str, service: str) -> Callable[[Subject], Steps]:
    """Return steps that ask twice with a changing parameter."""

    def steps(subject: Subject) -> Steps:
        yield from ask_json(f"{path}&at={subject.now_ns}", service)
        reply = yield from ask_json(f"{path}&at={subject.now_ns + 1}", service)
        known = {name: reply.headers[name] for name in _CACHE_HEADERS if name in reply.headers}
        if not known:
            return no_answer("no header tells whether the answer is cached")
        age = known.get("age", "0")
        old = not age.isdecimal() or int(age) > _FRESH_S
        hit = any(known.get(name, "").lower().startswith("hit") for name in ("x-cache", "cf-cache-status"))
        seen = ", ".join(f"{name}: {value[:40]}" for name, value in known.items())
        return judged(not old and not hit, seen)

    return steps


def _gamma_limit(subject: Subject) -> Steps:
    markets = decoded(_decode_markets, (yield from ask_json("/markets/keyset?closed=false&limit=500", GAMMA))).markets
    events = yield from ask_json("/events/keyset?closed=false&limit=500&include_markets=false", GAMMA)
    listed = decoded(_decode_events, events).events
    seen = f"limit=500 gives {len(markets)} markets, {len(listed)} events"
    return judged(len(markets) <= gamma.PAGE and len(listed) <= gamma.PAGE, seen)


def _gamma_cursor(subject: Subject) -> Steps:
    path = "/markets/keyset?closed=false&limit=10"
    first = decoded(_decode_markets, (yield from ask_json(path, GAMMA)))
    if first.next_cursor is None:
        return no_answer("the first page has no cursor")
    reply = yield from ask_json(f"{path}&after_cursor={first.next_cursor}", GAMMA)
    second = decoded(_decode_markets, reply)
    if second.next_cursor == first.next_cursor:
        return differs("the second page names its own cursor again")
    both = {bytes(row["id"]) for row in first.markets} & {bytes(row["id"]) for row in second.markets}
    return judged(not both, f"{len(second.markets)} rows, {len(both)} of the page before")


def _books_limit(subject: Subject) -> Steps:
    body = polled_books.request([str(number) for number in range(1, _BOOKS_MAX + 2)])
    return (yield from _refused(polled_books.PATH, CLOB, 400, body))


def _order(subject: Subject) -> Steps:
    return (yield from _refused("/markets/keyset?closed=false&limit=1&order=volume_num", GAMMA, 422))


def _offset(subject: Subject) -> Steps:
    return (yield from _refused("/markets/keyset?closed=false&limit=1&offset=1", GAMMA, 422))


QUESTIONNAIRE = Questionnaire(
    symbol="",
    services=(GAMMA, CLOB, DATA),
    questions=(
        Question("subscriptions", "polymarket.md, 5", "the first book of a token comes at once", _of_busy(accepted)),
        Question("messages", "polymarket.md, 5", "the live decoder understands every message", _of_busy(understood)),
        Question("books", "polymarket.md, 5", "changes continue the book that came first", _of_busy(books)),
        Question("v2-stream", _OPEN, "the stream sends books of version 2 like those of version 1", _v2_stream),
        Question("v2-row", _OPEN, "a row of version 2 has 62 digits and a resolutionStatus", _v2_row),
        Question("v2-books", _OPEN, "POST /books takes ids of version 2", _v2_books),
        Question("v2-record", _OPEN, "the CLOB's /markets/ID knows markets of version 2", _v2_record),
        Question("short-record", "polymarket.md, 0", "`v` of /clob-markets is Gamma's version", _short_record),
        Question("v1-gone", _OPEN, "the Data API of version 1 is gone", _v1_gone),
        Question("status", "polymarket.md, 7", "/v2/status tells the lag", _status),
        Question("tokens", _OPEN, "/v2/tokens has a row for each token, as its decoder expects", _tokens),
        Question("resolutions", "polymarket.md, 3", "the decoder understands the rows of closed markets", _ended),
        Question("resolutions-limit", _OPEN, _TWENTY, _of_conditions("/v2/resolutions")),
        Question("oi-limit", _OPEN, _TWENTY, _of_conditions("/v2/oi")),
        Question("feed-rate", _OPEN, "the feed has 0.4 to 40 rows a second, newest first", _feed_rate),
        Question("feed-cursor", "polymarket.md, 7", "the cursor of the feed leads to older rows", _feed_cursor),
        Question("feed-offset", "polymarket.md, 7", "`offset` is refused by the feed", _feed_offset),
        Question("feed-cache", _OPEN, _PASSES, _cache("/v2/trades?limit=1", DATA)),
        Question("list-cache", _OPEN, _PASSES, _cache("/markets/keyset?limit=1", GAMMA)),
        Question("list-limit", _PAGING, "Gamma cuts a page at 100 rows", _gamma_limit),
        Question("list-cursor", _PAGING, "`after_cursor` leads to other rows", _gamma_cursor),
        Question("list-order", _PAGING, "an order in snake_case is refused", _order),
        Question("list-offset", _PAGING, "`offset` is refused by Gamma", _offset),
        Question("books-limit", "polymarket.md, 4", "501 books are refused", _books_limit),
        Question("v2-news", _OPEN, "new_market and market_resolved come for version 2", needs="hours of the stream"),
        Question("pong-order", "polymarket.md, 5", "PONG comes behind all that was sent before", needs="a resync"),
        Question("maker-rows", "healing.md, 10", "one row is one taker with an average price", needs="some minutes"),
        Question("token-limit", "polymarket.md, 5", "400 tokens fit on a connection", needs="400 tokens for minutes"),
        Question("rate-limits", "polymarket.md, 4", "the limits are those of the table", needs="breaking the limit"),
        Question("cached-for", "polymarket.md, 7", "the feed is cached for 300 s", needs="five minutes"),
    ),
)

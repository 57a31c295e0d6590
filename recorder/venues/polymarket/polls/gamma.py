"""Gamma's markets and events: pages of rows, as values."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from recorder.errors import DecodeError
from recorder.identity import stable_hash64
from recorder.timestamps import Rfc3339
from recorder.venues.listing_rows import row_name
from recorder.venues.polymarket.ids import Version, trading_ids
from recorder.venues.polymarket.polls.category import category_of
from recorder.venues.polymarket.polls.market import Market, MarketEvent, Numbers, Phase
from recorder.venues.polymarket.polls.values import (
    LONGEST_ID,
    Fields,
    Odd,
    condition_id,
    gamma_id,
    number,
    texts,
    token_id,
)
from recorder.venues.wire import MALFORMED

PAGE = 100
"""Rows of a page at most; Gamma cuts larger limits without notice."""

SHARE = 1_000_000
"""What a share of the right outcome pays, micro-USDC."""

_NO_VERSIONS: Mapping[str, Version] = MappingProxyType({})
_MOST_ROWS = 2_000  # of an answer
_FEW = 10  # rows, of which all may be odd
_MOST_TAGS = 100
_LONGEST_RULES = 20_000  # characters of a description
_MOST_USDC = 1e15
_UMA = frozenset({"requested", "proposed", "disputed", "resolved", "settled"})
_V2 = frozenset({"inactive", "active", "resolved"})


class MarketRow(NamedTuple):
    """One market of an answer, with what memory does not keep."""

    market: Market
    rules: str
    event: MarketEvent | None
    payouts: tuple[int, int] | None  # micro-USDC a share, where this row by itself is one source of the label


class MarketPage(NamedTuple):
    """The rows of an answer."""

    rows: list[MarketRow]
    odd: list[Odd]
    next_cursor: str | None  # None on the last page
    size: int  # rows of the answer, with odd ones
    unversioned: list[str]  # conditions of odd rows whose version another service may know
    refused: list[int]  # ids of odd rows: these markets exist


class _ShortMarket(msgspec.Struct, gc=False):
    """The CLOB's short record of a market."""

    c: str  # condition
    v: str  # version; not documented


class _Answer(msgspec.Struct, gc=False):
    markets: list[msgspec.Raw] | None = None
    events: list[msgspec.Raw] | None = None
    next_cursor: str | None = None


_decode_short = msgspec.json.Decoder(_ShortMarket).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_row = msgspec.json.Decoder(dict[str, object]).decode


def markets(body: bytes, received_ns: int, versions: Mapping[str, Version] = _NO_VERSIONS) -> MarketPage:
    """Decode an answer with markets: /markets/keyset, or a bare array of /markets.

    Args:
        body: The answer.
        received_ns: Its receipt time.
        versions: By condition, for rows that do not say their version.

    Raises:
        DecodeError: It is no such answer, or more than half of its rows are not understood.
    """
    return _page(body, received_ns, "markets", _market_alone, versions)


def events(body: bytes, received_ns: int) -> MarketPage:
    """Decode an answer with events and the markets in them: /events/keyset, or a bare array of /events.

    Raises:
        DecodeError: It is no such answer, or more than half of its rows are not understood.
    """
    return _page(body, received_ns, "events", _event_with_markets, _NO_VERSIONS)


def version_of(body: bytes, condition: str) -> Version | None:
    """Return the version of a market by the CLOB's /clob-markets/{condition}; None where it names another word.

    Raises:
        DecodeError: It is no such answer, or one about another market.
    """
    try:
        record = _decode_short(body)
        if condition_id(record.c) != condition:
            raise ValueError(f"about {record.c!r:.80}")
    except MALFORMED as error:
        raise DecodeError(f"CLOB short record: {error}") from error
    match record.v:
        case "v1" | "v2" as version:
            return version
    return None


_Convert = Callable[[dict[str, object], "_Reading"], list[MarketRow]]


class _Reading(NamedTuple):
    """What the rows of one answer share."""

    received_ns: int
    odd: list[Odd]
    times: Rfc3339
    versions: Mapping[str, Version]
    unversioned: list[str]

    def fields(self, row: dict[str, object], name: str) -> Fields:
        return Fields(row, name, self.odd, self.times)


def _page(body: bytes, received_ns: int, what: str, convert: _Convert, versions: Mapping[str, Version]) -> MarketPage:
    try:
        if body.lstrip()[:1] == b"[":
            rows, cursor = _decode_rows(body), None
        else:
            answer = _decode_answer(body)
            listed = answer.markets if what == "markets" else answer.events
            if listed is None:
                raise ValueError(f"no key {what!r}")
            rows, cursor = listed, answer.next_cursor or None
    except MALFORMED as error:
        raise DecodeError(f"Gamma {what}: {error}") from error
    if len(rows) > _MOST_ROWS:
        raise DecodeError(f"Gamma {what}: {len(rows)} rows, above {_MOST_ROWS}")
    reading = _Reading(received_ns, [], Rfc3339(), versions, [])
    found: list[MarketRow] = []
    refused = 0
    ids: list[int] = []
    why: Exception | None = None
    for raw in rows:
        try:
            found += convert(_decode_row(raw), reading)
        except MALFORMED as error:
            refused, why = refused + 1, error
            reading.odd.append(Odd(row_name(raw), str(error)))
            ids += _id_of(raw)
    if len(rows) > _FEW and 2 * refused > len(rows):
        raise DecodeError(f"Gamma {what}: {refused} of {len(rows)} rows are not understood: {why}") from why
    return MarketPage(found, reading.odd, cursor, len(rows), reading.unversioned, ids)


def _id_of(raw: msgspec.Raw) -> list[int]:
    """Return the id of a row that is not understood; none where it has none."""
    try:
        return [gamma_id(_decode_row(raw).get("id"))]
    except MALFORMED:
        return []


def _market_alone(row: dict[str, object], reading: _Reading) -> list[MarketRow]:
    name = str(row.get("id"))[:LONGEST_ID]
    parents = reading.fields(row, name).rows("events")
    return [_market(row, parents[0] if parents else None, reading)]


def _event_with_markets(row: dict[str, object], reading: _Reading) -> list[MarketRow]:
    """Return the markets of an event. One of them that is not understood costs itself."""
    name = f"event {str(row.get('id'))[:LONGEST_ID]}"
    found = []
    for nested in reading.fields(row, name).rows("markets"):
        try:
            found.append(_market(nested, row, reading))
        except MALFORMED as error:
            reading.odd.append(Odd(str(nested.get("id"))[:LONGEST_ID], str(error)))
    return found


def _market(row: dict[str, object], parent: dict[str, object] | None, reading: _Reading) -> MarketRow:
    """Return a market.

    Raises:
        ValueError, msgspec.MsgspecError: What identifies it is absent or odd.
    """
    name = str(row.get("id"))[:LONGEST_ID]
    fields = reading.fields(row, name)
    market_id, slug, question = fields.whole("id"), fields.text("slug", 300), fields.text("question", 1_000)
    if market_id is None or slug is None or question is None:
        raise ValueError("no id, slug or question")
    outcomes = texts(row.get("outcomes"), 200)
    if len(outcomes) < 2:
        raise ValueError(f"{len(outcomes)} outcomes")
    condition = condition_id(row.get("conditionId"))
    positions = _ids(row.get("positionIds"))
    named = _version(row)
    if named is None and any(positions):
        named = reading.versions.get(condition)
        if named is None:
            reading.unversioned.append(condition)
    version, ids = trading_ids(named, positions, _ids(row.get("clobTokenIds")))
    tokens = tuple(token_id(one) for one in ids)
    if tokens and (len(tokens) != len(outcomes) or len(set(tokens)) < len(tokens)):
        raise ValueError(f"{len(set(tokens))} different ids for {len(outcomes)} outcomes")

    event = None if parent is None else _event(parent, reading)
    tags = _tags(fields) or (() if event is None else event.tags)
    category = category_of(tags, fields.text("category", 100) or (event and event.old_category))
    uma, status = _word(fields, "umaResolutionStatus", _UMA), _word(fields, "resolutionStatus", _V2)
    closed = fields.flag("closed") is True
    prices = _prices(fields)
    rules = fields.text("description", _LONGEST_RULES) or ""
    game_start_ns = fields.time_ns("gameStartTime")
    game = fields.text("sportsMarketType", 100) or fields.text("gameId", 100)
    if game is None and category == "sports" and game_start_ns is not None:
        game = "game"
    fees = fields.within("feeSchedule")
    market = Market(
        market_id=market_id,
        condition_id=condition,
        version=version,
        tokens=tokens,
        outcomes=outcomes,
        slug=slug,
        question=question,
        event_id=None if event is None else event.event_id,
        category=category,
        tags=tags,
        phase=_phase(version, closed, uma, status),
        accepting_orders=fields.flag("acceptingOrders"),
        enable_order_book=fields.flag("enableOrderBook"),
        neg_risk=fields.flag("negRisk") is True,
        neg_risk_other=fields.flag("negRiskOther") is True,
        active=fields.flag("active") is not False,
        start_ns=fields.time_ns("startDate"),
        end_ns=fields.time_ns("endDate"),
        game_start_ns=game_start_ns or fields.time_ns("eventStartTime"),
        game=game,
        tick_size=fields.number("orderPriceMinTickSize", 1e-6, 1.0),
        min_size=fields.number("orderMinSize", 0.0, 1e9),
        fee_rate=fees.number("rate", 0.0, 1.0),
        fee_exponent=fees.number("exponent", 0.0, 100.0),
        fee_taker_only=fees.flag("takerOnly"),
        fee_rebate_rate=fees.number("rebateRate", 0.0, 1.0),
        rewards_min_size=fields.number("rewardsMinSize", 0.0, 1e9),
        rewards_max_spread=fields.number("rewardsMaxSpread", 0.0, 100.0),
        rewards_daily_rate=_daily_rewards(fields),
        uma_status=uma,
        resolution_status=status,
        closed_ns=fields.time_ns("closedTime"),
        neg_risk_market_id=fields.text("negRiskMarketID", LONGEST_ID),
        question_id=fields.text("questionID", LONGEST_ID),
        resolution_source=fields.text("resolutionSource", 1_000),
        group_item=fields.text("groupItemTitle", 300),
        line=fields.number("line", -1e9, 1e9),
        rules_hash=stable_hash64(rules),
        numbers=_numbers(fields, prices, event, reading.received_ns),
    )
    return MarketRow(market, rules, event, _payouts(market, closed, prices))


def _numbers(fields: Fields, prices: tuple[str, ...], event: MarketEvent | None, received_ns: int) -> Numbers:
    def usdc(key: str) -> float | None:
        return fields.number(key, 0.0, _MOST_USDC)

    def change(key: str) -> float | None:
        return fields.number(key, -1.0, 1.0)

    volume, liquidity = usdc("volumeNum"), usdc("liquidityNum")
    return Numbers(
        received_ns=received_ns,
        updated_ns=fields.time_ns("updatedAt"),
        price=_price(prices),
        best_bid=fields.number("bestBid", 0.0, 1.0),
        best_ask=fields.number("bestAsk", 0.0, 1.0),
        last_trade_price=fields.number("lastTradePrice", 0.0, 1.0),
        spread=fields.number("spread", 0.0, 1.0),
        volume=usdc("volume") if volume is None else volume,
        volume_24h=usdc("volume24hr"),
        volume_1w=usdc("volume1wk"),
        volume_1mo=usdc("volume1mo"),
        volume_1y=usdc("volume1yr"),
        liquidity=usdc("liquidity") if liquidity is None else liquidity,
        competitive=fields.number("competitive", 0.0, 1.0),
        change_1h=change("oneHourPriceChange"),
        change_1d=change("oneDayPriceChange"),
        change_1w=change("oneWeekPriceChange"),
        change_1mo=change("oneMonthPriceChange"),
        event_volume=None if event is None else event.volume,
        event_liquidity=None if event is None else event.liquidity,
        event_open_interest=None if event is None else event.open_interest,
    )


def _event(row: dict[str, object], reading: _Reading) -> MarketEvent | None:
    """Return an event, or None where it has no id of its own."""
    fields = reading.fields(row, f"event {str(row.get('id'))[:LONGEST_ID]}")
    event_id = fields.whole("id")
    if event_id is None:
        return None
    series = fields.rows("series")
    return MarketEvent(
        event_id=event_id,
        slug=fields.text("slug", 300),
        title=fields.text("title", 1_000),
        series_slug=fields.text("seriesSlug", 300)
        or (fields.of(series[0], "series").text("slug", 300) if series else None),
        tags=_tags(fields),
        old_category=fields.text("category", 100),
        neg_risk=fields.flag("negRisk") is True,
        neg_risk_augmented=fields.flag("negRiskAugmented") is True,
        neg_risk_market_id=fields.text("negRiskMarketID", LONGEST_ID),
        closed=fields.flag("closed"),
        start_ns=fields.time_ns("startDate"),
        end_ns=fields.time_ns("endDate"),
        updated_ns=fields.time_ns("updatedAt"),
        volume=fields.number("volume", 0.0, _MOST_USDC),
        liquidity=fields.number("liquidity", 0.0, _MOST_USDC),
        open_interest=fields.number("openInterest", 0.0, _MOST_USDC),
    )


def _version(row: dict[str, object]) -> str | None:
    version = row.get("version")
    if version is None or isinstance(version, str):
        return version
    raise ValueError(f"version {version!r:.40}")


def _ids(value: object) -> tuple[str, ...]:
    return () if value is None or value == "" else texts(value, LONGEST_ID + 1)


def _tags(fields: Fields) -> tuple[str, ...]:
    slugs = (fields.of(tag, "tags").text("slug", 100) for tag in fields.rows("tags")[:_MOST_TAGS])
    return tuple(dict.fromkeys(slug for slug in slugs if slug))


def _word(fields: Fields, key: str, known: frozenset[str]) -> str | None:
    """Return a status in the venue's word. New words appear, so an unknown one is kept and named."""
    word = fields.text(key, 40)
    if word is not None and word not in known:
        fields.name_odd(key, f"unknown word {word!r}")
    return word


def _phase(version: str | None, closed: bool, uma: str | None, status: str | None) -> Phase:
    """Return the phase of a market by the status of its version; the other version's status says nothing."""
    final = status == "resolved" if version == "v2" else uma in ("resolved", "settled")
    if final:
        return "resolved"
    if closed:
        return "closed"
    return "proposed" if version != "v2" and uma in ("proposed", "disputed") else "open"


def _prices(fields: Fields) -> tuple[str, ...]:
    return fields.texts("outcomePrices", 40) or ()


def _price(prices: tuple[str, ...]) -> float | None:
    """Return the price of outcome 0. Many old markets have 0 for all outcomes, which is no price."""
    try:
        values = [number(price, 0.0, 1.0) for price in prices]
    except ValueError:
        return None
    return values[0] if any(values) else None


def _payouts(market: Market, closed: bool, prices: tuple[str, ...]) -> tuple[int, int] | None:
    """Return the payouts, where this row is one source of the label: closed, final, and exactly 1 and 0."""
    absent = market.version != "v2" and market.uma_status is None
    if not closed or len(market.outcomes) != 2 or not (absent or market.phase == "resolved"):
        return None
    match prices:
        case ("1", "0"):
            return SHARE, 0
        case ("0", "1"):
            return 0, SHARE
    return None


def _daily_rewards(fields: Fields) -> float | None:
    rates = [fields.of(one, "clobRewards").number("rewardsDailyRate", 0.0, 1e9) for one in fields.rows("clobRewards")]
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None

"""Markets and events in the form of Gamma: numbers as numbers or text, arrays as text that holds JSON."""

import hashlib
import json

from recorder.simulator.services.polymarket.feed import event_slug, title
from recorder.simulator.services.polymarket.ids import Version, condition_v2
from recorder.simulator.services.polymarket.life import MICRO, Market
from recorder.simulator.services.polymarket.site import Shown
from recorder.simulator.services.polymarket.streamed import StreamedMarket
from recorder.simulator.services.polymarket.times import day, iso, spaced
from recorder.simulator.venues.polymarket.market import ONE, price_text

NUMBERS_S = 60  # the numbers of a row are those of the last full minute
_DESCRIPTION = (
    "This market resolves to the first outcome if what its title says happens before the end, otherwise to the second. "
    "The resolution source is the official publication; where it is missing, a consensus of credible reporting is used."
)
_SERIES = 3  # hours up to which a market belongs to a series


def text(values: object) -> str:
    """Return an array as Gamma nests it: as text."""
    return json.dumps(values)


def tag_of(category: str) -> dict[str, object]:
    """Return the tag of a category."""
    number = int.from_bytes(hashlib.sha256(category.encode()).digest()[:2], "big") + 1
    return {"id": str(number), "label": category.replace("-", " ").title(), "slug": category}


def market_row(market: Shown, now_s: float, *, nested: bool = False, tags: bool = False) -> dict[str, object]:
    """Return a market as a listing shows it."""
    row = _streamed_row(market, now_s) if isinstance(market, StreamedMarket) else _row(market, now_s)
    if not nested:
        row["events"] = [event_head(market, now_s)]
    if tags:
        row["tags"] = [tag_of(market.category), tag_of("all")]
    return row


def _streamed_row(market: StreamedMarket, now_s: float) -> dict[str, object]:
    return {
        **market.gamma, "version": "v1", "positionIds": None, "endDate": iso(market.end_s), "ready": True,
        "endDateIso": day(market.end_s), "description": _DESCRIPTION, "updatedAt": iso(now_s),
    }  # fmt: skip


def _row(market: Market, now_s: float) -> dict[str, object]:
    version = market.version_at(now_s)
    resolved = market.resolved(now_s)
    numbers_s = max(market.created_s, int(now_s) // NUMBERS_S * NUMBERS_S)
    volume = market.volume_at(numbers_s)
    daily = round(volume - market.volume_at(max(market.created_s, numbers_s - 86_400)), 2)
    liquidity = 0.0 if resolved else round(500 + market.volume * 3 * (market.noise % 97 + 3) / 100, 4)
    tick = market.tick_at(now_s) / ONE
    row: dict[str, object] = {
        "id": str(market.number), "question": title(market), "slug": market.slug, "resolutionSource": "",
        "conditionId": market.condition("v1") if version == "v1" else _short_condition(market),
        "liquidity": f"{liquidity:.4f}", "liquidityNum": liquidity, "liquidityClob": liquidity,
        "startDate": iso(market.created_s), "image": "https://example.invalid/image.png",
        "icon": "https://example.invalid/icon.png", "description": _DESCRIPTION, "outcomes": text(market.outcomes),
        "outcomePrices": text(_prices(market, now_s, numbers_s)), "volume": f"{volume:.6f}", "volumeNum": volume,
        "volume24hr": daily, "volume1wk": volume, "volume1mo": volume, "volume1yr": volume, "volumeClob": volume,
        "volume24hrClob": daily, "active": True, "closed": resolved, "marketMakerAddress": "",
        "createdAt": iso(market.created_s)[:-1] + ".328428Z", "updatedAt": iso(numbers_s), "new": False,
        "featured": False, "archived": False, "restricted": True, "approved": True, "ready": True, "funded": True,
        "groupItemTitle": f"Choice {market.place + 1}" if market.lane.group > 1 else "",
        "groupItemThreshold": str(market.place), "questionID": "0x" + _hash(market, "question"),
        "enableOrderBook": True, "orderPriceMinTickSize": tick, "orderMinSize": 5,
        "startDateIso": day(market.created_s), "hasReviewedDates": True,
        # A closed market may go on to say that it accepts orders.
        "acceptingOrders": market.has_book(now_s) or (resolved and market.noise % 3 == 0),
        "acceptingOrdersTimestamp": iso(market.clob_s), "negRisk": market.neg_risk, "negRiskOther": False,
        "cyom": False, "competitive": 0.97, "rewardsMinSize": 50, "rewardsMaxSpread": 3.5, "feesEnabled": market.fee,
        "takerBaseFee": 1000, "makerBaseFee": 1000, "umaResolutionStatuses": _statuses(market, now_s),
        "clobRewards": [{"id": str(market.number % 9999), "rewardsDailyRate": 5}],
        "feeSchedule": {"exponent": 1, "rate": 0.02, "takerOnly": True, "rebateRate": 0.25} if market.fee else None,
        "automaticallyResolved": market.way == "automatic", "rfqEnabled": False, "version": version,
        "someNewField": {"added": "without notice"},
    }  # fmt: skip
    _add_ids(row, market, version)
    end_s = market.end_at(now_s)
    if end_s is not None:
        row |= {"endDate": iso(end_s), "endDateIso": day(end_s)}
    if market.neg_risk:
        row |= {"negRiskMarketID": "0x" + _hash(market, "neg"), "negRiskRequestID": "0x" + _hash(market, "request")}
    if market.category == "sports":
        start_s = market.created_s + (market.stop_s - market.created_s) * 7 // 10
        row |= {"gameStartTime": spaced(start_s), "sportsMarketType": "moneyline", "gameId": str(market.event % 99991)}
    _add_state(row, market, now_s, version)
    if market.has_book(now_s) and market.noise % 5:
        _add_touch(row, market, numbers_s)
    _make_odd(row, market)
    return row


def _short_condition(market: Market) -> str:
    return condition_v2(market.seed, market.key, market.neg_risk)


def _hash(market: Market, what: str) -> str:
    return hashlib.sha256(
        f"{market.seed}:{what}:{market.event if what == 'neg' else market.number}".encode()
    ).hexdigest()


def _add_ids(row: dict[str, object], market: Market, version: Version) -> None:
    if version == "v1":
        row["clobTokenIds"] = text(market.tokens("v1"))
        row["positionIds"] = list(market.tokens("v2")) if market.both_ids or market.switch_s is not None else None
    else:
        row["clobTokenIds"] = text(market.tokens("v1")) if market.version == "v1" else None
        # An array, now and then one that is encoded as text.
        positions = list(market.tokens("v2"))
        row["positionIds"] = text(positions) if market.noise % 11 == 0 else positions


def _prices(market: Market, now_s: float, numbers_s: int) -> list[str]:
    if market.resolved(now_s):
        if market.noise % 40 == 0:
            return ["0", "0"]
        first = market.payouts[0] / MICRO
        return [f"{first:g}", f"{1 - first:g}"]
    if market.status(now_s) == "proposed" and market.noise & 1:
        return ["1", "0"] if market.payouts[0] > market.payouts[1] else ["0", "1"]  # looks final, and is not
    value = round(market.price_at(min(numbers_s, market.stop_s)) * 1000) / 1000
    return [f"{value:g}", f"{1 - value:g}"]


def _statuses(market: Market, now_s: float) -> str:
    if market.way in ("automatic", "vanished") or now_s < market.proposed_s:
        return "[]"
    states = ["proposed", "disputed", "proposed"] if market.way == "disputed" else ["proposed"]
    return text(states if market.resolved(now_s) else states[:1])


def _add_state(row: dict[str, object], market: Market, now_s: float, version: Version) -> None:
    resolved, status = market.resolved(now_s), market.status(now_s)
    if resolved:
        row |= {"closedTime": spaced(market.resolved_s), "umaEndDate": spaced(market.resolved_s)}
    if version == "v2":
        row["resolutionStatus"] = "resolved" if resolved else "active" if market.has_book(now_s) else "inactive"
    if market.way == "automatic":
        return
    shown = {
        "proposed": "proposed", "challenged": "disputed", "reproposed": "proposed", "disputed": "disputed",
        "resolved": "resolved",
    }.get(status)  # fmt: skip
    if shown is not None:
        row["umaResolutionStatus"] = shown
        if not resolved:
            row["acceptingOrders"] = False


def _add_touch(row: dict[str, object], market: Market, numbers_s: int) -> None:
    tick = market.tick_at(numbers_s)
    bid = min(ONE - 2 * tick, max(tick, int(market.price_at(numbers_s) * ONE // tick) * tick))
    row |= {
        "bestBid": bid / ONE, "bestAsk": (bid + tick) / ONE, "spread": tick / ONE, "lastTradePrice": bid / ONE,
        "oneHourPriceChange": 0.01, "oneDayPriceChange": -0.025,
    }  # fmt: skip


def _make_odd(row: dict[str, object], market: Market) -> None:
    match market.odd:
        case "no_version":
            del row["version"]
        case "version_3":
            row["version"] = "v3"
        case "no_prices":
            row.pop("outcomePrices", None)
        case "no_ids":
            row["clobTokenIds"] = row["positionIds"] = None
        case "null_numbers":
            for name in ("liquidity", "liquidityNum", "volume1wk", "bestBid", "bestAsk", "feeSchedule"):
                row[name] = None


# ---- events


def event_number(market: Shown) -> int:
    """Return the id of the event of a market."""
    return market.event if isinstance(market, Market) else market.number


def slug_of_event(market: Shown) -> str:
    """Return the slug of the event of a market."""
    return event_slug(market) if isinstance(market, Market) else market.slug


def event_head(market: Shown, now_s: float) -> dict[str, object]:
    """Return the event of a market, without its markets."""
    slug = slug_of_event(market)
    neg_risk = isinstance(market, Market) and market.neg_risk
    volume = market.volume_at(now_s)
    end_s = market.end_at(now_s)
    row: dict[str, object] = {
        "id": str(event_number(market)), "ticker": slug, "slug": slug, "title": slug.replace("-", " ").capitalize(),
        "description": _DESCRIPTION, "startDate": iso(market.created_s), "creationDate": iso(market.created_s),
        "image": "https://example.invalid/event.png", "active": True, "closed": market.resolved(now_s),
        "archived": False, "new": False, "featured": False, "restricted": True, "liquidity": 1250.5,
        "volume": volume, "openInterest": round(volume * 0.4, 2), "createdAt": iso(market.created_s),
        "updatedAt": iso(now_s), "competitive": 0.9, "volume24hr": volume, "enableOrderBook": True,
        "negRisk": neg_risk, "enableNegRisk": neg_risk, "negRiskAugmented": neg_risk,
        "version": market.version_at(now_s), "gameId": event_number(market) % 99991, "parentEventId": 0,
    }  # fmt: skip
    if end_s is not None:
        row["endDate"] = iso(end_s)
    if isinstance(market, Market) and market.lane.life_s <= _SERIES * 3600:
        row |= {
            "seriesSlug": f"series-{market.lane.name}",
            "series": [{"id": "77", "slug": f"series-{market.lane.name}"}],
        }
    if neg_risk and isinstance(market, Market):
        row["negRiskMarketID"] = "0x" + _hash(market, "neg")
    return row


def event_row(members: list[Shown], now_s: float, *, markets: bool = True) -> dict[str, object]:
    """Return an event with all its markets, open or not, and the placeholders of an augmented one."""
    row = event_head(members[0], now_s)
    row["tags"] = [tag_of(members[0].category), tag_of("all")]
    row["closed"] = all(one.resolved(now_s) for one in members)
    if markets:
        rows = [market_row(one, now_s, nested=True) for one in members]
        if row["negRisk"]:
            rows.append(_placeholder(members[0]))
        row["markets"] = rows
    return row


def _placeholder(market: Shown) -> dict[str, object]:
    """Return a market that cannot be traded yet, and says that it accepts orders."""
    return {
        "id": str(market.number * 10 + 9), "question": "Person X?", "slug": f"person-x-{market.number}",
        "conditionId": "0x" + hashlib.sha256(f"placeholder{market.number}".encode()).hexdigest(),
        "outcomes": text(["Yes", "No"]), "active": False, "closed": False, "enableOrderBook": True,
        "acceptingOrders": True, "negRisk": True, "negRiskOther": True, "groupItemTitle": "Person X", "version": "v1",
    }  # fmt: skip


def first_price(market: Market, now_s: float) -> str:
    """Return the price of outcome 0 as text."""
    return price_text(round(market.price_at(now_s) * ONE))

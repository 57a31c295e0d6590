"""The messages of Polymarket: keys in the order of the captures, numbers as text, times in milliseconds."""

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from recorder.simulator.venues.polymarket.market import OutcomeMarket, Print, price_text, size_text
from recorder.truth import BookItem, QuoteItem

Shape = Literal["price_changes", "changes", "single"]
"""Shapes of book changes: today's, the one before 2025-09-15, and the one before that with one change per message."""

SIDE = {"b": "BUY", "s": "SELL"}  # of the taker


def last_trade(one: Print, condition: str) -> bytes:
    """Return a `last_trade_price`."""
    tx = f',"transaction_hash":"{one.tx}"' if one.tx else ""
    return (
        f'{{"asset_id":"{one.token}","event_type":"last_trade_price","fee_rate_bps":"0","market":"{condition}",'
        f'"price":"{price_text(one.price)}","side":"{SIDE[one.taker]}","size":"{size_text(one.size)}",'
        f'"timestamp":"{one.ts_ns // 1_000_000}"{tx}}}'
    ).encode()


def best_bid_ask(item: QuoteItem, condition: str, spread: int, ts_ns: int) -> bytes:
    """Return a `best_bid_ask`."""
    return (
        f'{{"event_type":"best_bid_ask","market":"{condition}","asset_id":"{item.s}","best_bid":"{item.b}",'
        f'"best_ask":"{item.a}","spread":"{price_text(spread)}","timestamp":"{ts_ns // 1_000_000}"}}'
    ).encode()


def book(item: BookItem, condition: str, ts_ns: int) -> str:
    """Return a `book`, whose hash follows from its levels."""
    bids, asks = (
        ",".join([f'{{"price":"{price}","size":"{size}"}}' for price, size in side]) for side in (item.bids, item.asks)
    )
    digest = hashlib.sha1(f"{asks}{bids}".encode(), usedforsecurity=False).hexdigest()
    return (
        f'{{"asks":[{asks}],"asset_id":"{item.s}","bids":[{bids}],"event_type":"book","hash":"{digest}",'
        f'"market":"{condition}","timestamp":"{ts_ns // 1_000_000}"}}'
    )


def price_changes(
    items: Mapping[str, BookItem], market: OutcomeMarket, ts_ns: int, hashes: random.Random
) -> bytes:  # fmt: skip
    """Return a `price_change` of both tokens; each change has the best prices after the message."""
    best = {token: [price_text(price) for price in market.touch(token)] for token in items}
    rows = [
        f'{{"asset_id":"{token}","price":"{price}","side":"{side}","size":"{size}",'
        f'"hash":"{hashes.getrandbits(160):040x}","best_bid":"{best[token][0]}","best_ask":"{best[token][1]}"}}'
        for token, side, price, size in _in_turn(items.values())
    ]
    return (
        f'{{"market":"{market.condition}","price_changes":[{",".join(rows)}],"event_type":"price_change",'
        f'"timestamp":"{ts_ns // 1_000_000}"}}'
    ).encode()


def old_changes(
    item: BookItem, shape: Shape, condition: str, ts_ns: int, hashes: random.Random
) -> Iterator[tuple[BookItem, bytes]]:
    """Yield the `price_change` messages of one token in an earlier shape, each with its item."""
    asset = f'"asset_id":"{item.s}"'
    kind = f'"event_type":"price_change","hash":"{hashes.getrandbits(160):040x}","market":"{condition}"'
    at = f'"timestamp":"{ts_ns // 1_000_000}"'
    rows = [
        (side, price, size, f'"price":"{price}","side":"{side}","size":"{size}"')
        for _, side, price, size in _in_turn([item])
    ]
    if shape == "changes":
        changes = ",".join([f"{{{row}}}" for _, _, _, row in rows])
        yield item, f'{{{asset},"changes":[{changes}],{kind},{at}}}'.encode()
        return
    for side, price, size, row in rows:
        levels = [(price, size)]
        bids, asks = (levels, []) if side == "BUY" else ([], levels)
        yield msgspec.structs.replace(item, bids=bids, asks=asks), f"{{{asset},{kind},{row},{at}}}".encode()


def _in_turn(items: Iterable[BookItem]) -> list[tuple[str, str, str, str]]:
    """Return (token, side, price, size) of every change, each followed by its mirror image where both tokens change."""
    rows = []
    for place, item in enumerate(items):
        bids = [(item.s, "BUY", price, size) for price, size in item.bids]
        asks = [(item.s, "SELL", price, size) for price, size in item.asks]
        rows.append(bids + asks if place == 0 else asks + bids)
    return [row for together in zip(*rows, strict=True) for row in together]


def tick_size_change(market: OutcomeMarket, token: str, old: int, new: int, ts_ns: int) -> bytes:
    """Return a `tick_size_change`."""
    return (
        f'{{"asset_id":"{token}","event_type":"tick_size_change","market":"{market.condition}",'
        f'"new_tick_size":"{price_text(new)}","old_tick_size":"{price_text(old)}","timestamp":"{ts_ns // 1_000_000}"}}'
    ).encode()


def market_resolved(market: OutcomeMarket, winner: str, ts_ns: int) -> bytes:
    """Return a `market_resolved`."""
    return msgspec.json.encode(
        {
            "event_type": "market_resolved", "id": market.number, "market": market.condition,
            "assets_ids": market.tokens, "winning_asset_id": winner,
            "winning_outcome": market.outcomes[market.tokens.index(winner)], "timestamp": str(ts_ns // 1_000_000),
            "tags": ["crypto"],
        }
    )  # fmt: skip


def new_market(market: OutcomeMarket, ts_ns: int) -> bytes:
    """Return a `new_market`."""
    slug = market.spec.base
    return msgspec.json.encode(
        {
            "event_type": "new_market", "id": market.number, "question": f"{slug.replace('-', ' ')}?",
            "market": market.condition, "slug": slug, "description": "", "assets_ids": market.tokens,
            "outcomes": market.outcomes,
            "event_message": {"id": "125819", "ticker": slug, "slug": slug, "title": slug, "description": ""},
            "timestamp": str(ts_ns // 1_000_000), "tags": ["stocks"], "condition_id": market.condition, "active": True,
            "clob_token_ids": market.tokens, "sports_market_type": "", "line": "", "game_start_time": "",
            "order_price_min_tick_size": price_text(market.spec.tick), "group_item_title": slug,
        }
    )  # fmt: skip

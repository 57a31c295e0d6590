"""Prediction markets: the list, one market with its outcomes, its history, its snapshots and its large trades."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from recorder.store.database import Cursor
from recorder.venues import VENUES
from recorder.web.answers.prices import between
from recorder.web.market_data.instruments import contains

PAGE = 50
TIERS = ("T0", "T1", "T2", "T3", "T4")
PHASES = ("open", "proposed", "resolved", "closed", "vanished")
HOURS = {"1h": 1.0, "1d": 24.0, "7d": 168.0, "30d": 720.0}
POINTS = 600
WHALES = 50
SNAPSHOTS = 30

_LIST = """
WITH page AS (
    SELECT m.market_id, m.slug, m.question, m.outcomes, m.category, m.tags, m.phase, m.end_at, m.price, m.volume,
           m.volume_24h, m.known_at, k.place
      FROM market m
     CROSS JOIN LATERAL (SELECT CASE WHEN m.end_at IS NULL THEN 1e11
                                     WHEN m.end_at >= now() THEN extract(epoch FROM m.end_at)
                                     ELSE 1e12 - extract(epoch FROM m.end_at) END::float8 AS place) AS k
     WHERE (%(phase)s = '' OR m.phase = %(phase)s)
       AND (%(like)s = '' OR m.question ILIKE %(like)s OR m.slug ILIKE %(like)s)
       AND (%(tag)s = '' OR %(tag)s = ANY (m.tags) OR m.category = %(tag)s)
       AND (%(hours)s::float8 IS NULL OR m.end_at < now() + %(hours)s * interval '1 hour')
       AND (%(tier)s = '' OR EXISTS (
               SELECT FROM (SELECT tier FROM market_snapshot s
                             WHERE s.market_id = m.market_id AND s.ts_recv > now() - interval '70 minutes'
                             ORDER BY s.ts_recv DESC LIMIT 1) AS last WHERE last.tier = %(tier)s))
       AND (k.place, m.market_id) > (%(after_place)s::float8, %(after_id)s)
     ORDER BY k.place, m.market_id
     LIMIT %(limit)s
)
SELECT p.market_id, p.slug, p.question, p.outcomes, p.category, p.tags, p.phase, p.end_at, p.price, p.volume,
       p.volume_24h, p.known_at, s.tier, s.ts_recv, s.source, s.bid, s.ask, s.spread, s.mid, s.bid_depth_5c,
       s.ask_depth_5c, s.last_trade_price, r.payout_0, p.place
  FROM page p
  LEFT JOIN LATERAL (SELECT tier, ts_recv, source, bid, ask, spread, mid, bid_depth_5c, ask_depth_5c, last_trade_price
                       FROM market_snapshot
                      WHERE market_snapshot.market_id = p.market_id AND ts_recv > now() - interval '2 days'
                      ORDER BY ts_recv DESC LIMIT 1) s ON true
  LEFT JOIN resolution r ON r.market_id = p.market_id
 ORDER BY p.place, p.market_id"""


class Market(NamedTuple):
    """One market with its last snapshot; a price is a probability of outcome 0."""

    market_id: int
    slug: str
    question: str
    outcomes: list[str]
    category: str
    tags: list[str]
    phase: str
    end_at: datetime | None
    price: float | None
    volume: float | None
    volume_24h: float | None
    known_at: datetime
    tier: str | None
    ts_recv: datetime | None
    source: str | None
    bid: float | None
    ask: float | None
    spread: float | None
    mid: float | None
    bid_depth_5c: float | None
    ask_depth_5c: float | None
    last_trade_price: float | None
    payout_0: int | None
    place: float

    @property
    def position(self) -> str:
        """Return what names this row as the last of a page."""
        return f"{self.place!r}|{self.market_id}"


def markets(
    cursor: Cursor,
    *,
    text: str = "",
    phase: str = "open",
    tag: str = "",
    tier: str = "",
    ends_within: str = "",
    after: str = "",
    limit: int = PAGE,
) -> list[Market]:
    """Return markets: those that end next first, then those without an end, then those past it, the newest first.

    Args:
        cursor: In a transaction.
        text: To be found in question or slug.
        phase: One of PHASES; "" is every phase.
        tag: A tag or a category.
        tier: Tier of the last snapshot, one of TIERS; "" is every tier.
        ends_within: One of HOURS; "" is any time.
        after: `position` of the last row of the page before.
        limit: Most rows.
    """
    after_place, _, after_id = after.partition("|")
    values = {
        "like": contains(text),
        "phase": phase,
        "tag": tag,
        "tier": tier,
        "hours": HOURS.get(ends_within),
        "after_place": float(after_place or 0),
        "after_id": int(after_id or 0),
        "limit": limit,
    }
    cursor.execute(_LIST, values)
    return [Market(*row) for row in cursor.fetchall()]


def tags(cursor: Cursor, limit: int = 40) -> list[str]:
    """Return the categories and the most frequent tags of open markets."""
    cursor.execute(
        """SELECT word
             FROM (SELECT category AS word, 1 AS rank, count(*) AS n FROM market WHERE phase = 'open' GROUP BY 1
                    UNION ALL
                   SELECT tag, 2, count(*) FROM market, unnest(tags) AS tag WHERE phase = 'open' GROUP BY 1) AS words
            GROUP BY word ORDER BY min(rank), sum(n) DESC, word LIMIT %s""",
        (limit,),
    )
    return [word for (word,) in cursor.fetchall()]


_ONE = """
SELECT m.market_id, m.slug, m.question, m.outcomes, m.tokens, m.category, m.tags, m.phase, m.condition_id, m.end_at,
       m.closed_at, m.volume, m.volume_24h, m.liquidity, m.known_at, m.uma_status, m.resolution_status,
       e.title AS event_title, u.rules, r.payout_0, r.payout_1, r.sources, r.resolved_at, r.disputed,
       r.known_at AS resolution_known_at,
       now() AS now
  FROM market m
  LEFT JOIN market_event e ON e.event_id = m.event_id
  LEFT JOIN market_rules u ON u.market_id = m.market_id
  LEFT JOIN resolution r ON r.market_id = m.market_id
 WHERE m.slug = %(slug)s OR m.market_id = %(id)s
 ORDER BY m.market_id DESC LIMIT 1"""
_VENUES = sorted({venue.name for venue in VENUES.values() if venue.prediction_markets})
_LAST_QUOTE = """
SELECT i.symbol, i.venue, i.recorded, q.ts_recv, q.bid, q.bid_size, q.ask, q.ask_size, t.price, t.ts_event
  FROM unnest(%(tokens)s) WITH ORDINALITY AS w (token, place)
  JOIN instrument i ON i.venue = ANY (%(venues)s) AND i.symbol = w.token
  LEFT JOIN LATERAL (SELECT ts_recv, bid, bid_size, ask, ask_size FROM quote
                      WHERE quote.instrument_id = i.instrument_id AND ts_recv > now() - interval '1 day'
                        AND ts_recv < now() + interval '1 hour'
                      ORDER BY ts_recv DESC, frame_seq DESC LIMIT 1) q ON i.recorded
  LEFT JOIN LATERAL (SELECT price, ts_event FROM trade
                      WHERE trade.instrument_id = i.instrument_id AND ts_event > now() - interval '1 day'
                        AND ts_event < now() + interval '1 hour'
                      ORDER BY ts_event DESC, trade_id DESC LIMIT 1) t ON i.recorded"""


def market(cursor: Cursor, slug: str) -> dict[str, Any] | None:
    """Return all that is known of a market, by its slug or its id; None where there is none.

    Returns:
        Columns of `market` with event_title, rules, the resolution, `now`, and `sides`: one dict an outcome with
        label, token, bid, bid_size, ask, ask_size, last, and `from`: where they come from (quote, snapshot or mirror)
        with `as_of`. A side of the book that is empty is None.
    """
    number = int(slug) if slug.isascii() and slug.isdigit() and len(slug) < 19 else -1
    cursor.execute(_ONE, {"slug": slug, "id": number})
    row = cursor.fetchone()
    if row is None:
        return None
    found = dict(zip((column.name for column in cursor.description or ()), row, strict=True))
    last = snapshots(cursor, found["market_id"], 1)
    cursor.execute(_LAST_QUOTE, {"tokens": found["tokens"], "venues": _VENUES})
    quotes = {symbol: rest for symbol, *rest in cursor.fetchall()}
    found["snapshot"] = last[0] if last else None
    found["sides"] = [
        _side(place, label, token, quotes.get(token), found["snapshot"])
        for place, (label, token) in enumerate(
            zip(found["outcomes"], [*found["tokens"], *[""] * len(found["outcomes"])], strict=False)
        )
    ]
    return found


def _side(
    place: int, label: str, token: str, quote: Sequence[Any] | None, snapshot: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the prices of one outcome: its own newest quote, else those of the snapshot of outcome 0."""
    side: dict[str, Any] = dict.fromkeys(
        ("bid", "bid_size", "ask", "ask_size", "last", "as_of", "from", "spread", "mid")
    )
    side |= {"label": label, "token": token, "recorded": bool(quote and quote[1])}
    side["instrument"] = f"{quote[0]}:{token}" if quote else None
    newest = quote[2] if quote else None
    if newest is not None and (snapshot is None or newest >= snapshot["ts_recv"]):
        assert quote is not None
        side |= {"bid": quote[3], "bid_size": quote[4], "ask": quote[5], "ask_size": quote[6], "as_of": newest}
        side["from"] = "quote"
    elif snapshot is not None and snapshot["source"] != "none":
        keys = ("bid", "bid_size", "ask", "ask_size")
        bid, bid_size, ask, ask_size = (snapshot[key] for key in keys)
        if place == 1:  # the book of the other token is the mirror
            bid, bid_size, ask, ask_size = _mirrored(ask), ask_size, _mirrored(bid), bid_size
        side |= dict(zip(keys, (bid, bid_size, ask, ask_size), strict=True)) | {"as_of": snapshot["ts_recv"]}
        side["from"] = "mirror of the snapshot" if place == 1 else "snapshot"
    if quote and quote[7] is not None:
        side["last"] = quote[7]
    elif snapshot is not None and snapshot["last_trade_price"] is not None:
        side["last"] = snapshot["last_trade_price"] if place == 0 else _mirrored(snapshot["last_trade_price"])
    if side["bid"] is not None and side["ask"] is not None:
        side["spread"], side["mid"] = between(side["bid"], side["ask"])
    return side


def _mirrored(price: float | None) -> float | None:
    return None if price is None else round(1 - price, 6)


_SNAPSHOT_COLUMNS = (
    "ts_recv", "ts_event", "tier", "source", "bid", "bid_size", "ask", "ask_size", "spread", "mid", "bid_depth_5c",
    "ask_depth_5c", "imbalance_5c", "last_trade_price", "volume_24h", "book_check", "check_reason",
)  # fmt: skip


def snapshots(cursor: Cursor, market_id: int, limit: int = SNAPSHOTS) -> list[dict[str, Any]]:
    """Return the last snapshots of a market within 7 days, the newest first."""
    cursor.execute(
        f"""SELECT {", ".join(_SNAPSHOT_COLUMNS)} FROM market_snapshot
             WHERE market_id = %s AND ts_recv > now() - interval '7 days' AND ts_recv < now() + interval '1 hour'
             ORDER BY ts_recv DESC LIMIT %s""",
        (market_id, limit),
    )
    return [dict(zip(_SNAPSHOT_COLUMNS, row, strict=True)) for row in cursor.fetchall()]


def history(cursor: Cursor, market_id: int, hours: float) -> dict[str, list[Any]]:
    """Return the middle of outcome 0 in the last snapshot of each step, as columns; None where a side was empty.

    Args:
        cursor: In a transaction.
        market_id: The market.
        hours: How far back from now; it is cut into POINTS steps at most.

    Returns:
        time (seconds since 1970), mid, bid, ask (probabilities of outcome 0).
    """
    step = max(15, round(hours * 3600 / POINTS))
    cursor.execute(
        """SELECT DISTINCT ON (1) (floor(extract(epoch FROM ts_recv) / %(step)s) * %(step)s)::bigint, mid, bid, ask
             FROM market_snapshot
            WHERE market_id = %(id)s AND ts_recv > now() - %(hours)s * interval '1 hour' AND ts_recv <= now()
            ORDER BY 1, ts_recv DESC""",
        {"step": step, "id": market_id, "hours": hours},
    )
    rows = cursor.fetchall()
    columns = list(zip(*rows, strict=True)) if rows else [(), (), (), ()]
    return {"step": [step], **{name: list(c) for name, c in zip(("time", "mid", "bid", "ask"), columns, strict=True)}}


def whales(
    cursor: Cursor, at_least: float, condition_id: str | None = None, limit: int = WHALES
) -> list[dict[str, Any]]:
    """Return large trades, the newest first.

    Args:
        cursor: In a transaction.
        at_least: Least value, USDC.
        condition_id: Only of this condition; None: of every market, of the last 7 days.
        limit: Most rows.
    """
    names = ("ts_event", "outcome", "side", "shares", "cash", "wallet", "transaction_hash", "slug", "question")
    cursor.execute(
        """SELECT w.ts_event, w.outcome, CASE w.side WHEN 'b' THEN 'buy' ELSE 'sell' END, w.shares, w.cash, w.wallet,
                  w.transaction_hash, m.slug, m.question
             FROM whale_event w
             LEFT JOIN LATERAL (SELECT slug, question FROM market WHERE market.condition_id = w.condition_id
                                 ORDER BY market_id LIMIT 1) m ON true
            WHERE w.cash >= %(least)s
              AND CASE WHEN %(condition)s::text IS NULL THEN w.ts_event > now() - interval '7 days'
                       ELSE w.condition_id = %(condition)s END
            ORDER BY w.ts_event DESC LIMIT %(limit)s""",
        {"least": at_least, "condition": condition_id, "limit": limit},
    )
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

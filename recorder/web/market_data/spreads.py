"""Differences of prices between venues that trade the same pair, after fees, where both quotes are fresh."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

from recorder.store.database import Cursor

POINTS = 240

_QUOTES = """
WITH listed AS (
    SELECT instrument_id, venue, symbol, canonical, tick_size, count(*) OVER (PARTITION BY canonical) AS every,
           count(*) OVER (PARTITION BY canonical, venue) AS here
      FROM instrument WHERE recorded AND kind = 'spot' AND canonical IS NOT NULL
)
SELECT l.canonical, l.venue, l.symbol, l.instrument_id, l.tick_size::float8, q.bid, q.bid_size, q.ask, q.ask_size,
       extract(epoch FROM q.ts_recv)::float8, extract(epoch FROM now())::float8
  FROM listed l
  LEFT JOIN LATERAL (SELECT ts_recv, bid, bid_size, ask, ask_size FROM quote
                      WHERE quote.instrument_id = l.instrument_id AND ts_recv > now() - interval '1 hour'
                        AND ts_recv < now() + interval '1 hour'
                      ORDER BY ts_recv DESC, frame_seq DESC LIMIT 1) q ON true
 WHERE l.every > l.here AND (%(pair)s = '' OR l.canonical = %(pair)s)
 ORDER BY l.canonical, l.venue, l.symbol
 LIMIT 2000"""
_HISTORY = """
SELECT extract(epoch FROM t)::bigint, w.number, q.bid, q.bid_size, q.ask, q.ask_size,
       extract(epoch FROM q.ts_recv)::float8
  FROM generate_series(date_bin(%(step)s * interval '1 second', now(), 'epoch') - %(hours)s * interval '1 hour',
                       now(), %(step)s * interval '1 second') AS t
 CROSS JOIN unnest(%(ids)s) AS w (number)
  JOIN LATERAL (SELECT bid, bid_size, ask, ask_size, ts_recv FROM quote
                 WHERE quote.instrument_id = w.number AND ts_recv <= t AND ts_recv > t - %(fresh)s * interval '1 second'
                 ORDER BY ts_recv DESC, frame_seq DESC LIMIT 1) q ON true
 ORDER BY 1, 2"""


class Quoted(NamedTuple):
    """The newest quote of one instrument; times are seconds since 1970."""

    canonical: str
    venue: str
    symbol: str
    instrument_id: int
    tick_size: float | None
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    ts_recv: float | None


class Spread(NamedTuple):
    """Buying at one venue and selling at another."""

    canonical: str
    buy: Quoted
    sell: Quoted
    gross_bps: float  # of the ask
    net_bps: float  # after the taker's fees of both venues
    size: float | None  # base units that both quotes hold; None where one does not say


def quotes(cursor: Cursor, pair: str = "") -> tuple[list[Quoted], float]:
    """Return the newest quotes of spot pairs that several venues trade, and the clock of the database.

    Args:
        cursor: In a transaction.
        pair: Only this canonical name; "" is every pair.
    """
    cursor.execute(_QUOTES, {"pair": pair})
    rows = cursor.fetchall()
    if not rows:
        cursor.execute("SELECT extract(epoch FROM now())::float8")
        return [], float((cursor.fetchone() or (0.0,))[0])
    return [Quoted(*row[:-1]) for row in rows], float(rows[0][-1])


def is_fresh(quote: Quoted, now: float, fresh_s: float) -> bool:
    """Return whether a quote is young enough, and has both prices."""
    both = quote.bid is not None and quote.ask is not None
    return both and quote.ts_recv is not None and now - quote.ts_recv <= fresh_s


def spreads(found: Iterable[Quoted], fees_bps: Mapping[str, float], now: float, fresh_s: float) -> list[Spread]:
    """Return the best direction of every two venues of a pair, the widest after fees first.

    Args:
        found: Newest quotes.
        fees_bps: Taker's fee by venue, in 1/10,000 of the value; a venue that is not named costs nothing.
        now: Seconds since 1970.
        fresh_s: A quote older than this is compared with none.
    """
    pairs: dict[str, list[Quoted]] = defaultdict(list)
    for quote in found:
        if is_fresh(quote, now, fresh_s):
            pairs[quote.canonical].append(quote)
    best: dict[tuple[int, ...], Spread] = {}
    for pair in pairs.values():
        for buy, sell in permutations(pair, 2):
            if buy.venue == sell.venue:
                continue
            one = _spread(buy, sell, fees_bps)
            key = tuple(sorted((buy.instrument_id, sell.instrument_id)))
            if key not in best or one.net_bps > best[key].net_bps:
                best[key] = one
    return sorted(best.values(), key=lambda one: -one.net_bps)


def _spread(buy: Quoted, sell: Quoted, fees_bps: Mapping[str, float]) -> Spread:
    assert buy.ask is not None
    assert sell.bid is not None
    paid = buy.ask * (1 + fees_bps.get(buy.venue, 0.0) / 1e4)
    got = sell.bid * (1 - fees_bps.get(sell.venue, 0.0) / 1e4)
    sizes = [size for size in (buy.ask_size, sell.bid_size) if size is not None]
    return Spread(
        buy.canonical,
        buy,
        sell,
        (sell.bid - buy.ask) / buy.ask * 1e4,
        (got - paid) / paid * 1e4,
        min(sizes) if len(sizes) == 2 else None,
    )


def history(
    cursor: Cursor, venues: Sequence[Quoted], fees_bps: Mapping[str, float], hours: float, fresh_s: float
) -> dict[str, list[Any]]:
    """Return the widest spread of a pair at each step, as columns; None where less than two quotes were fresh.

    Args:
        cursor: In a transaction.
        venues: The instruments of the pair.
        fees_bps: As for `spreads`.
        hours: How far back; cut into POINTS steps.
        fresh_s: As for `spreads`, at each step.

    Returns:
        time (seconds since 1970), net (1/10,000 after fees), gross, buy and sell (venues).
    """
    step = max(5, round(hours * 3600 / POINTS))
    by_number = {quote.instrument_id: quote for quote in venues}
    values = {"step": step, "hours": hours, "ids": list(by_number), "fresh": fresh_s}
    cursor.execute(_HISTORY, values)
    at: dict[int, list[Quoted]] = defaultdict(list)
    for time, number, *prices in cursor.fetchall():
        at[time].append(by_number[number]._replace(**dict(zip(Quoted._fields[5:], prices, strict=True))))
    columns: dict[str, list[Any]] = {name: [] for name in ("time", "net", "gross", "buy", "sell")}
    if at:
        for time in range(min(at), max(at) + 1, step):
            best = spreads(at.get(time, ()), fees_bps, time, fresh_s)
            one = best[0] if best else None
            columns["time"].append(time)
            columns["net"].append(one and one.net_bps)
            columns["gross"].append(one and one.gross_bps)
            columns["buy"].append(one and one.buy.venue)
            columns["sell"].append(one and one.sell.venue)
    return {"step": [step], **columns}

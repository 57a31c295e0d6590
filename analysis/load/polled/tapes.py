"""Build the tape of a prediction market from what the poller and the recorder stored of it.

Its books, listing and event are the snapshots of the poller, each known from its receipt on; its trades are those of
the stream. Nothing that became known later is part of a row: the end of a market is the one announced at the time.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import FOREVER, HOUR, MINUTE, SECOND, Bools, Floats, Ints
from analysis.features.point_in_time import ReceiptIndex
from analysis.load import tapes
from analysis.load.frames import floats, nanoseconds
from analysis.load.hours.grades import Grade
from analysis.load.polled import rows as polled
from analysis.load.source import EPOCH, Range, Reader, to_ns
from analysis.prediction_markets.view import EventListing, Listing, MarketBook, MarketTape, Mids
from recorder.errors import ConfigError

VENUE = "polymarket"
INTERVALS = {"T0": HOUR, "T1": 5 * MINUTE, "T2": MINUTE, "T3": 30 * SECOND, "T4": 15 * SECOND}
"""Time between two snapshots of a market, by its tier."""

_BOOK_WARMUP = timedelta(minutes=16)  # a book that does not change is stored again after 15 minutes
_EVENT_COLUMNS = ("market_id", "ts_recv", "tier", "mid")
_NONE = np.zeros(0)


def market_tape(
    reader: Reader, market_id: int, span: Range, *, warmup: timedelta, min_grade: Grade | None = None
) -> MarketTape:
    """Return everything stored of a market, for snapshot features in a range.

    Args:
        reader: Open source, a database.
        market_id: The market.
        span: Range of the snapshots.
        warmup: How long before the range rows are read; longer windows are null.
        min_grade: Hours of the streams with a lower grade are gaps; what the poller stored is not graded.

    Raises:
        ConfigError: The market is not stored, or the source is an archive.
    """
    described = polled.markets(reader, [market_id]).to_pylist()
    if not described:
        raise ConfigError(f"market {market_id} is not stored")
    market = described[0]
    early = Range(max(span.start - warmup, EPOCH), span.end)
    table = polled.snapshots(reader, [market_id], early)
    books = _books(table, polled.books(reader, market_id, Range(max(early.start - _BOOK_WARMUP, EPOCH), early.end)))
    stream = _stream(reader, market["tokens"], early, min_grade)
    rows = table.to_pylist()
    mids = table.filter(pc.is_valid(table["mid"]))
    at = nanoseconds(mids["ts_recv"])
    return replace(
        stream,
        books=books,
        listings=[_listing(row, market) for row in rows],
        events=_events(reader, market, rows, early),
        mids=ReceiptIndex(Mids(at, at, floats(mids["mid"]))),
    )


def _stream(reader: Reader, tokens: Sequence[str], span: Range, min_grade: Grade | None) -> MarketTape:
    """Return the trades and changes that the stream sent; a tape without a subscription where nothing was recorded."""
    found = {one.symbol: one for one in reader.instruments(VENUE, list(tokens))}
    yes = found.get(tokens[0]) if tokens else None
    if yes is None:
        return MarketTape()
    no = found.get(tokens[1]) if len(tokens) > 1 else None
    stream = tapes.flow(reader, yes, no, span, min_grade=min_grade)
    # Without the trades of one of its tokens, the flow of a market is not known.
    return stream if no is not None or len(tokens) == 1 else replace(stream, subscribed_ns=None)


def _books(table: pa.Table, complete: pa.Table) -> list[MarketBook]:
    """Return a book for each snapshot: with its levels where they are stored, else with its stored features."""
    levels = {to_ns(row["ts_recv"]): row for row in complete.to_pylist()}
    known: dict[str, tuple[int, MarketBook]] = {}
    for at, row in levels.items():
        if row["hash"] is not None:
            known[row["hash"]] = (at, _full(row, at, 0))
    books = []
    for row in table.to_pylist():
        at, interval = to_ns(row["ts_recv"]), INTERVALS[row["tier"]]
        if row["source"] == "none":
            books.append(MarketBook(at, _NONE, _NONE, _NONE, _NONE, interval_ns=interval, absent=True))
        elif at in levels:
            books.append(_full(levels[at], at, interval))
        elif row["hash"] in known:  # the same book, stored at another time
            books.append(replace(known[row["hash"]][1], ts_recv=at, interval_ns=interval))
        else:
            books.append(_figures(row, at, interval))
    return books


def _full(row: dict[str, Any], at: int, interval: int) -> MarketBook:
    sides = [np.array(json.loads(row[side]), np.float64).reshape(-1, 2) for side in ("bids", "asks")]
    return MarketBook(at, *(side[:, column] for side in sides for column in (0, 1)), interval_ns=interval)


def _figures(row: dict[str, Any], at: int, interval: int) -> MarketBook:
    """Return a book of which only the figures are stored."""

    def side(name: str) -> tuple[Floats, Floats]:
        if row[name] is None:
            return _NONE, _NONE
        return np.array([row[name]]), np.array([row[f"{name}_size"]])

    def share(name: str) -> float:
        largest, total = row[f"largest_{name}_size"], row[f"{name}_shares"]
        return np.nan if largest is None else largest / total

    named = (
        "bid_depth_1c", "bid_depth_5c", "ask_depth_1c", "ask_depth_5c", "bid_levels", "ask_levels", "cost_buy_500",
    )  # fmt: skip
    stored = {name: np.nan if row[name] is None else float(row[name]) for name in named}
    stored |= {"largest_bid_share": share("bid"), "largest_ask_share": share("ask")}
    return MarketBook(at, *side("bid"), *side("ask"), interval_ns=interval, stored=stored)


def _listing(row: dict[str, Any], market: dict[str, Any]) -> Listing:
    return Listing(
        to_ns(row["ts_recv"]),
        price=row["gamma_price"],
        volume=row["volume"],
        volume_24h=row["volume_24h"],
        volume_1w=row["volume_1w"],
        liquidity=row["liquidity"],
        start_ns=None if market["start_at"] is None else to_ns(market["start_at"]),
        end_ns=None if row["end_at"] is None else to_ns(row["end_at"]),
        game_ns=None if row["game_at"] is None else to_ns(row["game_at"]),
        tick_size=row["tick_size"],
        category=market["category"],
        neg_risk=market["neg_risk"],
        last_price=row["last_trade_price"],
    )


def _events(reader: Reader, market: dict[str, Any], rows: list[dict[str, Any]], span: Range) -> list[EventListing]:
    """Return the event at each snapshot of the market: its numbers, and the mids of its markets that were open."""
    own = market["market_id"]
    if market["event_id"] is None or not rows:
        return []
    described = polled.database(reader).polled(
        "SELECT market_id, known_since, closed_at FROM market"
        f" WHERE event_id = {int(market['event_id'])} AND active AND NOT neg_risk_other ORDER BY market_id"
    )
    members = described.to_pylist()
    ids = [member["market_id"] for member in members]
    if own not in ids:
        return []
    at = np.array([to_ns(row["ts_recv"]) for row in rows], np.int64)
    mids = _mids_at(polled.snapshots(reader, ids, span, _EVENT_COLUMNS), ids, at)
    was_open = np.column_stack([_was_open(member, at) | (member["market_id"] == own) for member in members])
    events = []
    for number, row in enumerate(rows):
        listed = was_open[number]
        place = int(listed[: ids.index(own)].sum())
        events.append(
            EventListing(int(at[number]), row["event_volume"], row["event_open_interest"], mids[number, listed], place)
        )
    return events


def _was_open(member: dict[str, Any], at: Ints) -> Bools:
    closed = FOREVER if member["closed_at"] is None else to_ns(member["closed_at"])
    return np.asarray((to_ns(member["known_since"]) <= at) & (at < closed))


def _mids_at(table: pa.Table, ids: Sequence[int], at: Ints) -> Floats:
    """Return (n, members) the last mid received by each instant; NaN where it is older than twice the interval."""
    whose = np.asarray(table["market_id"].to_numpy(), np.int64)
    received, mid = nanoseconds(table["ts_recv"]), floats(table["mid"])
    interval = np.array([INTERVALS[tier] for tier in table["tier"].to_pylist()], np.int64)
    columns = []
    for market_id in ids:
        own = whose == market_id
        times, mids, steps = (
            np.append(values[own], end) for values, end in ((received, 0), (mid, np.nan), (interval, 0))
        )
        last = np.searchsorted(times[:-1], at, side="right") - 1  # -1 is the appended row
        columns.append(np.where((last >= 0) & (at - times[last] <= 2 * steps[last]), mids[last], np.nan))
    return np.column_stack(columns)

"""What the poller stored of prediction markets: the markets, their snapshots and books, and how they ended."""

from collections.abc import Sequence

import pyarrow as pa

from analysis.load.postgres import PostgresReader, literal
from analysis.load.source import Range, Reader
from recorder.errors import ConfigError

_MARKETS = """
SELECT market_id, condition_id, version, tokens, outcomes, slug, question, event_id, category, tags, phase, neg_risk,
       neg_risk_other, active, start_at, end_at, game_start_at, closed_at, tick_size, volume, liquidity, known_since,
       known_at
  FROM market"""
_RESOLUTIONS = """
SELECT market_id, condition_id, payout_0 / 1e6::double precision AS payout, sources, resolved_at, disputed, known_at,
       checked_at
  FROM resolution"""
SNAPSHOT_COLUMNS = (
    "market_id", "ts_recv", "ts_event", "event_id", "tier", "source", "bid", "bid_size", "ask", "ask_size", "spread",
    "mid", "microprice", "bid_depth_1c", "bid_depth_2c", "bid_depth_5c", "bid_depth_10c", "ask_depth_1c",
    "ask_depth_2c", "ask_depth_5c", "ask_depth_10c", "bid_levels", "ask_levels", "bid_shares", "ask_shares",
    "largest_bid", "largest_bid_size", "largest_ask", "largest_ask_size", "imbalance_touch", "imbalance_5c",
    "cost_buy_500", "last_trade_price", "tick_size", "min_size", "hash", "end_at", "game_at", "gamma_recv",
    "gamma_updated", "gamma_price", "volume", "volume_24h", "volume_1w", "volume_1mo", "liquidity", "event_volume",
    "event_open_interest",
)  # fmt: skip


def database(reader: Reader) -> PostgresReader:
    """Return a reader of a database.

    Raises:
        ConfigError: The source is an archive, which has no tables of the poller.
    """
    if not isinstance(reader, PostgresReader):
        raise ConfigError("an archive has no polled markets; give the address of a database")
    return reader


def markets(reader: Reader, market_ids: Sequence[int] | None = None) -> pa.Table:
    """Return the newest state of the markets, by market_id."""
    return database(reader).polled(f"{_MARKETS} WHERE {among(market_ids)} ORDER BY market_id")


def resolutions(reader: Reader, span: Range | None = None) -> pa.Table:
    """Return how markets ended, by the time at which it became known; all of them without a range."""
    within = "true" if span is None else _within("known_at", span)
    return database(reader).polled(f"{_RESOLUTIONS} WHERE {within} ORDER BY known_at, market_id")


def snapshots(
    reader: Reader, market_ids: Sequence[int] | None, span: Range, columns: Sequence[str] = SNAPSHOT_COLUMNS
) -> pa.Table:
    """Return the snapshots received in a range, by (ts_recv, market_id).

    Raises:
        ConfigError: There is no such column.
    """
    unknown = [name for name in columns if name not in SNAPSHOT_COLUMNS]
    if unknown:
        raise ConfigError(f"market_snapshot has no column {unknown[0]!r}; it has {', '.join(SNAPSHOT_COLUMNS)}")
    return database(reader).polled(
        f"SELECT {', '.join(columns)} FROM market_snapshot"
        f" WHERE {among(market_ids)} AND {_within('ts_recv', span)} ORDER BY ts_recv, market_id"
    )


def books(reader: Reader, market_id: int, span: Range) -> pa.Table:
    """Return the complete books of a market received in a range; a side is JSON text."""
    return database(reader).polled(
        "SELECT ts_recv, hash, bids::text AS bids, asks::text AS asks FROM market_book"
        f" WHERE {among([market_id])} AND {_within('ts_recv', span)} ORDER BY ts_recv"
    )


def among(market_ids: Sequence[int] | None) -> str:
    """Return the condition that a row is of one of these markets; of any where there are none."""
    if market_ids is None:
        return "true"
    return f"market_id IN ({', '.join(str(int(one)) for one in market_ids)})" if market_ids else "false"


def _within(clock: str, span: Range) -> str:
    return f"{clock} >= {literal(span.start)} AND {clock} < {literal(span.end)}"

"""Encodes rows of the tables that polls fill: each column has a kind, and a row is a tuple in the order of its columns.

A table of the poller is one entry of POLLED, one of the keys in `store/staging/merge.py`, and its numbered SQL file.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Literal

import msgspec

from recorder.pgcopy.scalars import binary, boolean, float8, instant, int4, int8, jsonb, text, text_array, tuple_of

Kind = Literal["int8", "int4", "float8", "text", "bool", "instant", "date", "jsonb", "bytea", "textarray"]
"""What a value is: `instant` takes nanoseconds since 1970, `jsonb` anything that JSON can hold or its encoded bytes."""

POLLED: dict[str, tuple[tuple[str, Kind], ...]] = {
    "poll_schedule": (
        ("job", "text"), ("since", "instant"), ("period_s", "int8"), ("offset_s", "int8"), ("session_id", "int8"),
        ("continues", "bool"),
    ),
    "poll_run": (
        ("run_id", "int8"), ("job", "text"), ("slot", "instant"), ("slots", "int8"), ("state", "text"),
        ("reason", "text"), ("started_at", "instant"), ("duration_s", "float8"), ("rows", "int8"), ("bytes", "int8"),
        ("answers", "int8"), ("attempts", "int8"), ("odd", "int8"), ("odd_samples", "textarray"),
        ("request_ids", "textarray"), ("traceback", "text"), ("failures", "textarray"),
    ),
    "poll_hole": (
        ("job", "text"), ("from_at", "instant"), ("until_at", "instant"), ("reason", "text"), ("known_at", "instant"),
    ),
    "market": (
        ("market_id", "int8"), ("condition_id", "text"), ("version", "text"), ("tokens", "textarray"),
        ("outcomes", "textarray"), ("slug", "text"), ("question", "text"), ("event_id", "int8"), ("category", "text"),
        ("tags", "textarray"), ("phase", "text"), ("accepting_orders", "bool"), ("enable_order_book", "bool"),
        ("neg_risk", "bool"), ("neg_risk_other", "bool"), ("active", "bool"), ("start_at", "instant"),
        ("end_at", "instant"), ("game_start_at", "instant"), ("game", "text"), ("tick_size", "float8"),
        ("min_size", "float8"), ("fee_rate", "float8"), ("fee_exponent", "float8"), ("fee_taker_only", "bool"),
        ("fee_rebate_rate", "float8"), ("rewards_min_size", "float8"), ("rewards_max_spread", "float8"),
        ("rewards_daily_rate", "float8"), ("uma_status", "text"), ("resolution_status", "text"),
        ("closed_at", "instant"), ("neg_risk_market_id", "text"), ("question_id", "text"),
        ("resolution_source", "text"), ("group_item", "text"), ("line", "float8"), ("price", "float8"),
        ("volume", "float8"), ("volume_24h", "float8"), ("liquidity", "float8"), ("known_since", "instant"),
        ("known_at", "instant"), ("updated_at", "instant"), ("revision", "int8"),
    ),
    "market_rules": (("market_id", "int8"), ("rules", "text"), ("known_at", "instant"), ("revision", "int8")),
    "market_history": (
        ("market_id", "int8"), ("field", "text"), ("known_at", "instant"), ("old_value", "jsonb"), ("value", "jsonb"),
        ("updated_at", "instant"),
    ),
    "market_event": (
        ("event_id", "int8"), ("slug", "text"), ("title", "text"), ("series_slug", "text"), ("neg_risk", "bool"),
        ("neg_risk_augmented", "bool"), ("neg_risk_market_id", "text"), ("closed", "bool"), ("start_at", "instant"),
        ("end_at", "instant"), ("volume", "float8"), ("liquidity", "float8"), ("open_interest", "float8"),
        ("known_at", "instant"), ("updated_at", "instant"), ("revision", "int8"),
    ),
    "resolution": (
        ("market_id", "int8"), ("condition_id", "text"), ("payout_0", "int8"), ("payout_1", "int8"),
        ("sources", "textarray"), ("resolved_at", "instant"), ("disputed", "bool"), ("known_at", "instant"),
        ("checked_at", "instant"), ("raw", "jsonb"), ("revision", "int8"),
    ),
    "market_snapshot": (
        ("market_id", "int8"), ("ts_recv", "instant"), ("ts_event", "instant"), ("instrument_id", "int8"),
        ("event_id", "int8"), ("tier", "text"), ("source", "text"),
        ("bid", "float8"), ("bid_size", "float8"), ("ask", "float8"), ("ask_size", "float8"),
        ("spread", "float8"), ("mid", "float8"), ("microprice", "float8"),
        ("bid_depth_1c", "float8"), ("bid_depth_2c", "float8"), ("bid_depth_5c", "float8"), ("bid_depth_10c", "float8"),
        ("ask_depth_1c", "float8"), ("ask_depth_2c", "float8"), ("ask_depth_5c", "float8"), ("ask_depth_10c", "float8"),
        ("bid_levels", "int4"), ("ask_levels", "int4"), ("bid_shares", "float8"), ("ask_shares", "float8"),
        ("largest_bid", "float8"), ("largest_bid_size", "float8"),
        ("largest_ask", "float8"), ("largest_ask_size", "float8"),
        ("imbalance_touch", "float8"), ("imbalance_5c", "float8"), ("cost_buy_500", "float8"),
        ("last_trade_price", "float8"), ("tick_size", "float8"), ("min_size", "float8"), ("hash", "text"),
        ("end_at", "instant"), ("game_at", "instant"), ("gamma_recv", "instant"), ("gamma_updated", "instant"),
        ("gamma_price", "float8"), ("volume", "float8"), ("volume_24h", "float8"), ("volume_1w", "float8"),
        ("volume_1mo", "float8"), ("liquidity", "float8"), ("event_volume", "float8"),
        ("event_open_interest", "float8"), ("book_check", "text"), ("check_reason", "text"),
    ),
    "market_book": (
        ("market_id", "int8"), ("ts_recv", "instant"), ("ts_event", "instant"), ("hash", "text"), ("bids", "jsonb"),
        ("asks", "jsonb"),
    ),
    "whale_event": (
        ("transaction_hash", "text"), ("wallet", "text"), ("ts_event", "instant"), ("ts_recv", "instant"),
        ("instrument_id", "int8"), ("condition_id", "text"), ("outcome", "text"), ("outcome_index", "int4"),
        ("side", "text"), ("shares", "float8"), ("cash", "float8"), ("tokens", "int4"), ("revision", "int4"),
    ),
    "instrument": (("instrument_id", "int8"), ("venue", "text"), ("symbol", "text"), ("first_seen", "instant")),
    "equity_bar": (
        ("instrument_id", "int8"), ("interval_s", "int4"), ("start", "instant"), ("day", "date"), ("open", "float8"),
        ("high", "float8"), ("low", "float8"), ("close", "float8"), ("volume", "int8"), ("adjclose", "float8"),
        ("currency", "text"), ("live", "bool"), ("partial", "bool"), ("flags", "textarray"), ("ts_recv", "instant"),
        ("revision", "int8"),
    ),
    "corporate_action": (
        ("instrument_id", "int8"), ("kind", "text"), ("ex_day", "date"), ("ex_at", "instant"), ("amount", "float8"),
        ("numerator", "float8"), ("denominator", "float8"), ("currency", "text"), ("flags", "textarray"),
        ("ts_recv", "instant"), ("revision", "int8"),
    ),
    "past_trade": (
        ("instrument_id", "int8"), ("trade_id", "int8"), ("ts_event", "instant"), ("ts_recv", "instant"),
        ("price", "float8"), ("size", "float8"), ("aggressor", "text"), ("venue_trade_id", "text"),
    ),
    "gap": (
        ("gap_id", "int8"), ("instrument_id", "int8"), ("channel", "text"), ("session_id", "int8"), ("cause", "text"),
        ("state", "text"), ("reason", "text"), ("last_id", "int8"), ("first_id", "int8"), ("started_at", "instant"),
        ("ended_at", "instant"), ("last_ts_event", "instant"), ("first_ts_event", "instant"), ("revision", "int4"),
    ),
    "gap_read": (
        ("gap_id", "int8"), ("instrument_id", "int8"), ("reads", "int4"), ("first_at", "instant"),
        ("read_at", "instant"), ("next_at", "instant"), ("reason", "text"), ("evidence", "jsonb"),
        ("revision", "int8"),
    ),
    "backfill_range": (
        ("backfill_id", "int8"), ("instrument_id", "int8"), ("state", "text"), ("grade", "text"), ("reason", "text"),
        ("since", "instant"), ("until", "instant"), ("edge_id", "int8"), ("edge_at", "instant"),
        ("witnessed", "bool"), ("answers", "int8"), ("listed", "int8"), ("controls", "int8"), ("missing", "int8"),
        ("revision", "int8"),
    ),
    "venue_bar": (
        ("instrument_id", "int8"), ("interval_s", "int4"), ("start", "instant"), ("open", "float8"),
        ("high", "float8"), ("low", "float8"), ("close", "float8"), ("volume", "float8"), ("volume_digits", "int4"),
        ("trade_count", "int8"), ("ts_recv", "instant"), ("revision", "int8"),
    ),
}  # fmt: skip

DAY_OF = {"market_snapshot": "ts_recv", "market_book": "ts_recv", "past_trade": "ts_event"}
"""The column by whose day a table is partitioned, or the table that its rows enter."""


_DAY_AT = {table: [name for name, _ in POLLED[table]].index(column) for table, column in DAY_OF.items()}
_NS_PER_DAY = 86_400 * 10**9
_PG_DAY = date(2000, 1, 1)


class RowError(ValueError):
    """A row of a poll does not fit its table."""


def encode_rows(table: str, rows: Iterable[Sequence[object]]) -> bytes:
    """Return tuples of a table.

    Raises:
        RowError: a row has a value that its column cannot hold; it names the column.
    """
    return b"".join(encode_row(table, row) for row in rows)


def day_of(table: str, row: Sequence[object]) -> int | None:
    """Return the day of a row, since 1970; None where its table is not partitioned by day."""
    place = _DAY_AT.get(table)
    value = None if place is None else row[place]
    return value // _NS_PER_DAY if isinstance(value, int) else None


def encode_row(table: str, row: Sequence[object]) -> bytes:
    """Return one tuple of a table.

    Raises:
        RowError: it has a value that its column cannot hold.
    """
    columns = POLLED[table]
    if len(row) != len(columns):
        raise RowError(f"a row of {table} has {len(row)} values for {len(columns)} columns")
    packed = []
    for (column, kind), value in zip(columns, row, strict=True):
        try:
            packed.append(_PACKERS[kind](value))
        except Exception as error:  # a number out of range, a text in place of a number, what JSON cannot hold
            raise RowError(f"{table}.{column} cannot hold {str(value)[:100]!r}: {error}") from error
    return tuple_of(*packed)


def _int4(value: int | None) -> bytes:
    return int8(None) if value is None else int4(value)


def _date(value: date | None) -> bytes:
    return int8(None) if value is None else int4((value - _PG_DAY).days)


def _jsonb(value: object) -> bytes:
    if value is None or isinstance(value, bytes):
        return jsonb(value)
    return jsonb(msgspec.json.encode(value))


_PACKERS: dict[Kind, Callable[..., bytes]] = {
    "int8": int8,
    "int4": _int4,
    "float8": float8,
    "text": text,
    "bool": boolean,
    "instant": instant,
    "date": _date,
    "jsonb": _jsonb,
    "bytea": lambda value: int8(None) if value is None else binary(value),
    "textarray": text_array,
}

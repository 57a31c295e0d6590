"""Rows of the tables market, market_history, market_event and resolution."""

from datetime import UTC, datetime

from recorder.poller.polymarket.labels import Label
from recorder.venues.polymarket.polls.market import Market, MarketEvent

Row = tuple[object, ...]

# The column of each attribute whose changes are kept. Numbers are not: they are in the snapshots.
_HISTORY: dict[str, str] = {
    name: name
    for name in (
        "condition_id", "version", "tokens", "outcomes", "slug", "question", "event_id", "category", "tags", "phase",
        "accepting_orders", "enable_order_book", "neg_risk", "neg_risk_other", "active", "game", "tick_size",
        "min_size", "fee_rate", "fee_exponent", "fee_taker_only", "fee_rebate_rate", "rewards_min_size",
        "rewards_max_spread", "rewards_daily_rate", "uma_status", "resolution_status", "neg_risk_market_id",
        "question_id", "resolution_source", "group_item", "line",
    )
} | {
    "rules_hash": "rules", "start_ns": "start_at", "end_ns": "end_at", "game_start_ns": "game_start_at",
    "closed_ns": "closed_at",
}  # fmt: skip


def market_row(market: Market, known_since_ns: int, revision: int) -> Row:
    """Return a row of market."""
    m, n = market, market.numbers
    return (
        m.market_id, m.condition_id, m.version, m.tokens, m.outcomes, m.slug, m.question, m.event_id,
        m.category, m.tags, m.phase, m.accepting_orders, m.enable_order_book, m.neg_risk, m.neg_risk_other, m.active,
        m.start_ns, m.end_ns, m.game_start_ns, m.game, m.tick_size, m.min_size, m.fee_rate, m.fee_exponent,
        m.fee_taker_only, m.fee_rebate_rate, m.rewards_min_size, m.rewards_max_spread, m.rewards_daily_rate,
        m.uma_status, m.resolution_status, m.closed_ns, m.neg_risk_market_id, m.question_id, m.resolution_source,
        m.group_item, m.line, n.price, n.volume, n.volume_24h, n.liquidity, known_since_ns, n.received_ns,
        n.updated_ns, revision,
    )  # fmt: skip


def rules_row(market: Market, rules: str, revision: int) -> Row:
    """Return a row of market_rules."""
    return (market.market_id, rules, market.numbers.received_ns, revision)


def event_row(event: MarketEvent, known_at_ns: int, revision: int) -> Row:
    """Return a row of market_event."""
    e = event
    return (
        e.event_id, e.slug, e.title, e.series_slug, e.neg_risk, e.neg_risk_augmented, e.neg_risk_market_id,
        e.closed, e.start_ns, e.end_ns, e.volume, e.liquidity, e.open_interest, known_at_ns, e.updated_ns, revision,
    )  # fmt: skip


def resolution_row(
    market_id: int, condition_id: str, label: Label, known_at_ns: int, checked_ns: int | None, revision: int
) -> Row:
    """Return a row of resolution."""
    raw = b"{" + b",".join(b'"%b":%b' % (source.encode(), text) for source, text in label.raw.items()) + b"}"
    return (
        market_id, condition_id, *label.payouts, label.sources, label.resolved_ns, label.disputed, known_at_ns,
        checked_ns, raw, revision,
    )  # fmt: skip


def changes(before: Market, after: Market, rules: str) -> list[Row]:
    """Return a row of market_history for each value that changed.

    Args:
        before: State of the earlier answer.
        after: State of the later answer.
        rules: Those of `after`; memory has only a hash of them.
    """
    rows: list[Row] = []
    for attribute, column in _HISTORY.items():
        old, new = getattr(before, attribute), getattr(after, attribute)
        if old == new:
            continue
        if attribute == "rules_hash":
            old, new = None, rules
        elif attribute.endswith("_ns"):
            old, new = _utc(old), _utc(new)
        numbers = after.numbers
        rows.append((after.market_id, column, numbers.received_ns, old, new, numbers.updated_ns))
    return rows


def _utc(time_ns: int | None) -> str | None:
    """Return a time as text in UTC, microseconds truncated."""
    if time_ns is None:
        return None
    seconds, rest_ns = divmod(time_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_ns // 1000)
    return moment.isoformat().replace("+00:00", "Z")

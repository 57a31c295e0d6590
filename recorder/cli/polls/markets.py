"""`tapedeck markets`: the prediction markets that the poller has in memory, with their tiers."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from recorder.appliance.hints import hint
from recorder.cli.common import console
from recorder.clock import SystemClock
from recorder.errors import ConfigError, nearest
from recorder.poller.polymarket.jobs import MEMORY_FILE, tier_rules
from recorder.poller.polymarket.memory import judged, load
from recorder.poller.polymarket.tiers import TIERS, Verdict, scheduled_end_ns
from recorder.printable import printable
from recorder.process.terminal import say, say_json
from recorder.venues.polymarket.polls.market import Market

_HEAD = ("question", "tier", "ends (UTC)", "price", "volume 24h", "volume", "category", "id")
_NUMBERS = ("price", "volume 24h", "volume")
_SHOWN = 50


class ShownMarket(msgspec.Struct):
    """One market as it is printed."""

    market_id: int
    tier: str | None
    reason: str | None  # why its book is not asked for
    question: str
    slug: str
    outcomes: tuple[str, ...]
    tokens: tuple[str, ...]
    condition_id: str
    event_id: int | None
    category: str
    tags: tuple[str, ...]
    phase: str
    scheduled_end: datetime | None
    price: float | None
    volume: float | None
    volume_24h: float | None
    liquidity: float | None
    numbers_at: datetime


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(markets)


def markets(
    context: typer.Context,
    tier: Annotated[str | None, typer.Option(help="Only this tier: T0 (ends last) to T4 (ends first).")] = None,
    search: Annotated[
        str, typer.Option(help="Only markets with this in their question, slug, ids, category or tags.")
    ] = "",
    top: Annotated[int, typer.Option(min=1, help="Only this many; those that end first come first.")] = _SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, of all that match.")] = False,
) -> int:
    """List the prediction markets that are polled, those that end first at the top.

    They are read from the poller's memory on disk, which is at most five minutes old, so no database is needed.

    Example: `tapedeck markets --tier T4 --search bitcoin`
    """
    if tier is not None and tier not in TIERS:
        raise ConfigError(f"there is no tier {tier!r}{nearest(tier, TIERS)}")
    settings = context.obj.settings()
    path = settings.home / MEMORY_FILE
    remembered = load(path)
    if remembered is None:
        raise ConfigError(
            f"{path} has no markets; the poller writes them a few minutes after its first start; {hint('up')} starts it"
        )
    now_ns = SystemClock().wall_ns()
    rules = tier_rules(settings.poller.polymarket)
    found = [
        shown(market, verdict, scheduled_end_ns(market, now_ns, rules))
        for market, verdict in judged(remembered, now_ns, rules)
        if tier in (None, verdict.tier)
    ]
    chosen = ordered(one for one in found if matches(one, search))
    if as_json:
        for one in chosen:
            say_json(one)
        return 0
    rows = [
        [
            printable(one.question), one.tier or one.reason or "",
            "" if one.scheduled_end is None else f"{one.scheduled_end:%Y-%m-%d %H:%M}",
            "" if one.price is None else f"{one.price:.3f}", _usdc(one.volume_24h), _usdc(one.volume),
            printable(one.category), str(one.market_id),
        ]
        for one in chosen[:top]
    ]  # fmt: skip
    console().list_rows(_HEAD, rows, _NUMBERS)
    say(f"{min(top, len(chosen))} of {len(chosen)} markets", err=True)
    return 0


def shown(market: Market, verdict: Verdict, end_ns: int | None) -> ShownMarket:
    """Return a market as it is printed."""
    m, n = market, market.numbers
    return ShownMarket(
        m.market_id, verdict.tier, verdict.reason, m.question, m.slug, m.outcomes, m.tokens, m.condition_id, m.event_id,
        m.category, m.tags, m.phase, None if end_ns is None else _utc(end_ns), n.price, n.volume, n.volume_24h,
        n.liquidity, _utc(n.received_ns),
    )  # fmt: skip


def matches(one: ShownMarket, text: str) -> bool:
    """Return whether a market has a text in what a person knows of it; upper and lower case are the same."""
    wanted = text.casefold()
    words = (one.question, one.slug, one.condition_id, one.category, *one.outcomes, *one.tags)
    ids = (str(one.market_id), str(one.event_id), *one.tokens)
    return not wanted or wanted in ids or any(wanted in word.casefold() for word in words)


def ordered(found: Iterable[ShownMarket]) -> list[ShownMarket]:
    """Return markets by tier, highest first; of one tier the earlier end first."""
    never = datetime.max.replace(tzinfo=UTC)
    return sorted(
        found,
        key=lambda one: (one.tier is None, -TIERS.index(one.tier) if one.tier in TIERS else 0,
                         one.scheduled_end or never, one.market_id),
    )  # fmt: skip


def _usdc(amount: float | None) -> str:
    return "" if amount is None else f"{amount:,.0f}"


def _utc(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 10**9, UTC)

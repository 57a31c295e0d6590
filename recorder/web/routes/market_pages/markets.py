"""The pages of prediction markets."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from recorder.web.access import Role, guarded
from recorder.web.answers import prices
from recorder.web.answers.problems import Problem
from recorder.web.market_data import markets, models
from recorder.web.routes.market_pages.charts import encoded
from recorder.web.state import web_of
from recorder.web.templates import render

THRESHOLDS = (500, 1_000, 5_000, 10_000, 50_000, 100_000)
DEFAULT_THRESHOLD = 1_000
EVERY_S = {"T0": 3600, "T1": 300, "T2": 60, "T3": 30, "T4": 15}
"""Seconds between two snapshots of a tier."""

router = guarded(Role.viewer, include_in_schema=False)

Word = Annotated[str, Query(max_length=200)]
Least = Annotated[int, Query(ge=0, le=10**9)]


def cents(price: float | None, otherwise: str | None = None) -> str:
    """Return a probability as cents; a missing one is a word, never 0."""
    return otherwise if otherwise and price is None else prices.cents(price)


def amount(value: float | None) -> str:
    """Return a number of shares or USDC."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}"


def paid(row: Any) -> str:
    """Return which outcome was paid, by its own name."""
    outcomes = row["outcomes"] if isinstance(row, dict) else row.outcomes
    payout = row["payout_0"] if isinstance(row, dict) else row.payout_0
    if payout not in (0, 1_000_000):
        return f"split, {payout / 10_000:.0f} % to {outcomes[0]}"
    place = 0 if payout else 1
    return outcomes[place] if place < len(outcomes) else f"outcome {place}"


_HELP = {"cents": cents, "amount": amount, "paid": paid, "thresholds": THRESHOLDS}


@router.get("/markets")
def market_list(
    request: Request,
    q: Word = "",
    tag: Word = "",
    tier: Word = "",
    ends: Word = "",
    phase: Word = "open",
    after: Annotated[str, Query(max_length=80, pattern=r"^([0-9]{1,15}(\.[0-9]{1,9})?\|[0-9]{1,18})?$")] = "",
    whales: Least = DEFAULT_THRESHOLD,
) -> HTMLResponse:
    """Return the list of markets."""
    known = {
        "tier": (tier, markets.TIERS),
        "ends": (ends, tuple(markets.HOURS)),
        "phase": (phase, (*markets.PHASES, "every")),
    }
    for name, (word, words) in known.items():
        if word and word not in words:
            raise Problem(422, f"{name}: there is no {word[:20]!r}; ask for {', '.join(words)}", kind="invalid")
    with web_of(request).pool.transaction() as cursor:
        rows = markets.markets(
            cursor,
            text=q,
            phase="" if phase == "every" else phase,
            tag=tag,
            tier=tier,
            ends_within=ends,
            after=after,
            limit=markets.PAGE + 1,
        )
        every = markets.tags(cursor)
        large = markets.whales(cursor, whales)
    query = {"q": q, "tag": tag, "tier": tier, "ends": ends, "phase": phase, "whales": whales}
    kept = [(name, value) for name, value in query.items() if value != "" and name != "whales"]
    here = f"/markets?{urlencode(dict(kept) | {'whales': whales})}"
    more = len(rows) > markets.PAGE
    rows = rows[: markets.PAGE]
    return render(
        request,
        "markets.html",
        rows=rows,
        tags=every,
        tiers=markets.TIERS,
        ends=tuple(markets.HOURS),
        phases=markets.PHASES,
        asked={"text": q, "tag": tag, "tier": tier, "ends": ends, "phase": phase},
        after=after,
        first=here,
        following=f"{here}&{urlencode({'after': rows[-1].position})}" if more else None,
        whales=large,
        threshold=whales,
        kept=kept,
        one_market=False,
        **_HELP,
    )


@router.get("/market/{slug:path}")
def market(request: Request, slug: str, whales: Least = DEFAULT_THRESHOLD) -> HTMLResponse:
    """Return the page of a market."""
    with web_of(request).pool.transaction() as cursor:
        found = markets.market(cursor, slug[:400])
        if found is None:
            raise Problem(404, f"there is no market {slug[:80]!r}; /markets lists them")
        shots = markets.snapshots(cursor, found["market_id"])
        large = markets.whales(cursor, whales, found["condition_id"])
        subjects = [found["slug"], str(found["market_id"]), found["condition_id"]]
        predicted = models.predictions(cursor, subjects)
    return render(
        request,
        "market.html",
        market=found,
        snapshots=shots,
        predictions=predicted,
        whales=large,
        threshold=whales,
        kept=[],
        one_market=True,
        **_HELP,
    )


@router.get("/data/market/{market_id}")
def market_data(request: Request, market_id: int, hours: Annotated[float, Query(gt=0, le=720)] = 24) -> Response:
    """Return the history of a market as columns."""
    if not 0 <= market_id < 2**63:
        raise Problem(404, "there is no such market; /markets lists them")
    with web_of(request).pool.transaction() as cursor:
        past = markets.history(cursor, market_id, hours)
        last = markets.snapshots(cursor, market_id, 1)
    every_s = EVERY_S[last[0]["tier"]] if last else EVERY_S["T0"]
    return encoded({"market_id": str(market_id), "every_s": every_s, "history": past})

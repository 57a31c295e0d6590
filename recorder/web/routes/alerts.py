"""The page of alerts: what fires, the rules, the history; acknowledge and silence, as `tapedeck alerts` does."""

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from recorder.errors import ConfigError, StoreError
from recorder.printable import one_line
from recorder.watchdog.delivery import noting
from recorder.watchdog.delivery.outbox import waiting
from recorder.watchdog.delivery.state_file import read_state
from recorder.watchdog.first_steps import first_step
from recorder.watchdog.rules import BY_ID, limits
from recorder.web.access import Role, guarded, principal_of
from recorder.web.answers.problems import Problem
from recorder.web.forms import fields
from recorder.web.monitor import formats
from recorder.web.queries import operations
from recorder.web.state import Web, web_of
from recorder.web.templates import render

_LENGTHS = {"30m": ("30 minutes", 1800), "2h": ("2 hours", 7200), "8h": ("8 hours", 28_800), "1d": ("a day", 86_400),
            "7d": ("a week", 604_800)}  # fmt: skip
_RANK = {"page": 0, "ticket": 1, "info": 2}
_SIGNS = {"page": "bad", "ticket": "warn", "info": "unknown"}

pages = guarded(Role.viewer, include_in_schema=False)
actions = guarded(Role.analyst, include_in_schema=False)


@pages.get("/alerts")
def page(request: Request, rule: str = "", before: datetime | None = None, part: str = "") -> Response:
    """Return the page."""
    web = web_of(request)
    until = before if before is not None and before.tzinfo is not None else datetime.now(UTC) + timedelta(days=1)
    history: list[operations.AlertRow] = []
    problem = ""
    try:
        with web.pool.transaction() as cursor:
            history = operations.alerts(cursor, rule[:100], until)
    except (StoreError, ConfigError) as error:
        problem = one_line(str(error))[:300]
    name = "alerts_live.html" if part == "live" else "alerts.html"
    return render(
        request, name, f=formats, rule=rule, history=history, history_problem=problem, lengths=_LENGTHS,
        may=principal_of(request).role >= Role.analyst and not principal_of(request).anonymous, **_now(web),
    )  # fmt: skip


def _now(web: Web) -> dict[str, Any]:
    """Return what the files of the watchdog say: they are there while Postgres is away."""
    seen = web.observed.now()
    firing = [
        {
            "alert": alert,
            "sign": _SIGNS[alert.severity],
            "for_s": max(0.0, seen.at - alert.fired_at),
            "ack": next((one for one in seen.marks.acks if one.alert_id == alert.alert_id), None),
            "silent_until": seen.marks.silenced_until(alert.rule, alert.subject, seen.at),
            "step": first_step(alert.rule, alert.subject),
        }
        for alert in sorted(seen.alerts, key=lambda one: (_RANK[one.severity], one.fired_at))
        if alert.state == "firing"
    ]
    state = read_state(web.settings.home)
    counts = waiting(state)
    fires = Counter(alert.rule for alert in seen.alerts if alert.state == "firing")
    fired = Counter(alert.rule for alert in seen.alerts)
    rules = [
        {
            "id": limit.rule.id,
            "severity": limit.rule.severity,
            "watches": limit.rule.watches,
            "threshold": f"{limit.threshold:g} {limit.rule.unit}".strip() if limit.rule.unit else "",
            "for_s": limit.for_s,
            "fires": fires[limit.rule.id],
            "fired": fired[limit.rule.id],
        }
        for limit in limits(web.settings.watchdog).values()
    ]
    return {
        "watching": seen.watching,
        "firing": firing,
        "silences": [one for one in seen.marks.silences if one.active(seen.at)],
        "channels": [{"name": name, "waiting": counts[name], "state": one} for name, one in state.channels.items()],
        "rules": sorted(rules, key=lambda one: (-int(str(one["fires"])), _RANK[str(one["severity"])], str(one["id"]))),
    }


@actions.post("/alerts/acknowledge")
async def acknowledge(request: Request) -> Response:
    """Acknowledge an alert that fires: no reminders until it is over."""
    form = await fields(request)
    web = web_of(request)
    found = [str(one.alert_id) for one in web.observed.now().alerts if one.state == "firing"]
    alert_id = form.get("alert_id", "")
    if alert_id not in found:
        raise Problem(409, "this alert does not fire any more")

    def do(now: float) -> None:
        noting.acknowledge(web.settings.home, [int(alert_id)], form.get("note", ""), now)

    await _noted(request, "alert.acknowledge", alert_id, do)
    return RedirectResponse("/alerts", 303)


@actions.post("/alerts/silence")
async def silence(request: Request) -> Response:
    """Silence a rule for a time, for one subject or all; or end its silences."""
    form = await fields(request)
    web = web_of(request)
    rule, subject, length = form.get("rule", ""), form.get("subject", ""), form.get("length", "")
    if rule not in BY_ID or (length not in _LENGTHS and length != "end"):
        raise Problem(422, "choose a rule and a length of the list", kind="invalid")
    known = {*web.settings.venues, *(line.program for line in web.observed.now().observation.status.programs)}
    if subject and subject not in known and length != "end":
        raise Problem(422, f"there is no venue or program {subject[:60]!r}", kind="invalid")

    def do(now: float) -> None:
        if length == "end":
            noting.end_silences(web.settings.home, rule, subject or None, now)
        else:
            noting.silence(web.settings.home, rule, subject or None, _LENGTHS[length][1], form.get("note", ""), now)

    await _noted(request, "alert.silence", f"{rule} {subject} {length}".replace("  ", " "), do)
    return RedirectResponse("/alerts", 303)


async def _noted(request: Request, action: str, what: str, do: Any) -> None:
    """Do something to the marks of alerts, after it is in the audit log."""
    web, principal = web_of(request), principal_of(request)

    def work() -> None:
        web.accounts.note(principal.name, request.scope["state"]["client"], action, what)
        try:
            do(time.time())
        except ConfigError as error:
            raise Problem(409, one_line(str(error))[:300]) from None

    await anyio.to_thread.run_sync(work)

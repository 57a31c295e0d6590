"""Gathers what the page of monitoring and its API show: files and supervisord at once, Postgres panel by panel."""

import http.client
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from recorder.appliance import disk
from recorder.errors import StoreUnavailable
from recorder.settings import Settings
from recorder.store.database import Cursor
from recorder.watchdog.alerts import Alert
from recorder.watchdog.first_steps import first_step
from recorder.watchdog.verdicts import HealthPage, Item
from recorder.web.monitor import formats
from recorder.web.monitor import rows as monitoring
from recorder.web.monitor.observed import Observed, Seen
from recorder.web.monitor.panels import Panel, Panels, Shown
from recorder.web.monitor.rows import Sign
from recorder.web.queries import monitoring as queries
from recorder.web.queries.pool import Pool

_WATCHDOG_S = 1.0
_ANSWER_BYTES = 8 << 20
_STATEMENT_S = 3.0
_SEVERITIES: dict[str, Sign] = {"page": "bad", "ticket": "warn", "info": "unknown"}
_ITEMS: dict[str, Sign] = {"warning": "warn", "critical": "bad", "unknown": "unknown", "ok": "good"}
_RANK: dict[Sign, int] = {"bad": 0, "warn": 1, "unknown": 2, "good": 3}

T = TypeVar("T")


class Monitor:
    """The panels of monitoring. Any thread may use it."""

    def __init__(self, settings: Settings, pool: Pool, observed: Observed) -> None:
        """
        Args:
            settings: Of the appliance.
            pool: Of connections that only read.
            observed: The looks at the programs.
        """
        self.observed = observed
        self._pool = pool
        self._settings = settings
        self._panels = Panels(
            {
                "watchdog": Panel("watchdog", 2.0, self._health),
                "venues": Panel("venues", 5.0, lambda: self._ask(queries.venues)),
                "streams": Panel("streams", 2.0, lambda: self._ask(queries.streams)),
                "polls": Panel("polls", 10.0, lambda: self._ask(queries.polls)),
                "fields": Panel("fields", 60.0, lambda: self._ask(queries.fields)),
                "errors": Panel("errors", 10.0, lambda: self._ask(lambda cursor: queries.errors(cursor, 200))),
                "disk": Panel("disk", 60.0, lambda: disk.measure(settings, time.time())),
            }
        )

    def close(self) -> None:
        """Read nothing more."""
        self._panels.close()

    def shown(self, *names: str) -> dict[str, Shown[Any]]:
        """Return panels by name; all of them without one."""
        return self._panels.shown(*names)

    def streams(self) -> tuple[list[monitoring.StreamLine] | None, Shown[Any]]:
        """Return the streams that should be recorded, worst first; None while Postgres has not said which."""
        panel = self.shown("streams")["streams"]
        return (None if panel.value is None else monitoring.streams(panel.value, self.observed.now())), panel

    def page(self, *, unhealthy: bool) -> dict[str, Any]:
        """Return the values of the page.

        Args:
            unhealthy: Whether the healthy rows are left out.
        """
        panels = self.shown()
        seen = self.observed.now()
        health: HealthPage | None = panels["watchdog"].value if not panels["watchdog"].problem else None
        lines = None if panels["streams"].value is None else monitoring.streams(panels["streams"].value, seen)
        venues = monitoring.venues(seen, health, panels["venues"].value, lines)
        programs = monitoring.programs(seen, self._pool.problem())
        polls = panels["polls"].value or []
        problems = _problems(seen, programs, health)
        rows = [row.rows for row in venues if row.rows is not None]
        figures = [row.lag_bytes for row in programs if row.name == "writer" and row.lag_bytes is not None]
        return {
            "f": formats,
            "now": time.time(),
            "unhealthy": unhealthy,
            "verdict": min((one["sign"] for one in problems), key=_rank, default="good" if programs else "bad"),
            "problems": problems,
            "alerts": [_alert(alert, seen) for alert in seen.alerts if alert.state == "firing"],
            "programs": programs,
            "venues": venues,
            "connections": monitoring.connections(seen),
            "troubled": [line for line in lines or () if line.state != "LIVE"],
            "panels": panels,
            "polls": polls,
            "troubled_polls": [row for row in polls if row.good < row.slots],
            "success": monitoring.success(polls),
            "disk": panels["disk"].value,
            "items": [] if health is None else items(health, unhealthy=unhealthy),
            "fields": monitoring.fields(panels["fields"].value or []),
            "errors": panels["errors"].value or [],
            "lag": figures[0] if figures else None,
            "totals": {
                "live": None if lines is None else sum(line.state == "LIVE" for line in lines),
                "should_be": None if lines is None else len(lines),
                "trades_minute": sum(row.trades_minute for row in rows) if rows else None,
                "messages_per_s": sum(row.messages_per_s for row in venues),
            },
        }

    def _ask(self, question: Callable[[Cursor], T]) -> T:
        with self._pool.transaction(statement_s=_STATEMENT_S) as cursor:
            return question(cursor)

    def _health(self) -> HealthPage:
        """Return what the watchdog says.

        Raises:
            StoreUnavailable: it does not answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._settings.watchdog.port, timeout=_WATCHDOG_S)
        try:
            connection.request("GET", "/health")
            return msgspec.json.decode(connection.getresponse().read(_ANSWER_BYTES), type=HealthPage)
        except (OSError, http.client.HTTPException) as error:
            raise StoreUnavailable(f"the watchdog does not answer: {error or type(error).__name__}") from None
        except msgspec.MsgspecError:
            raise StoreUnavailable("the watchdog has not judged yet") from None
        finally:
            connection.close()


def _rank(sign: Sign) -> int:
    return _RANK[sign]


def _problems(seen: Seen, programs: list[monitoring.ProgramRow], health: HealthPage | None) -> list[dict[str, Any]]:
    """Return what is wrong, worst first: of programs as status says, of the rest as the watchdog says."""
    if not programs:
        return [
            {"sign": "bad", "text": text, "command": "tapedeck up", "log": ""}
            for text in seen.observation.status.problems
        ]
    found = [
        {"sign": row.sign, "text": f"{row.name}: {row.text}", "command": row.command, "log": row.name}
        for row in programs
        if row.sign != "good"
    ]
    for item in [] if health is None else health.items:
        if item.verdict in ("warning", "critical") and not item.name.startswith("program "):
            found.append({"sign": _ITEMS[item.verdict], "text": f"{item.name}: {item.text}", "command": "", "log": ""})
    if health is None:
        text = "watchdog: it did not answer, so venues, disks and the clock are not judged"
        found.append({"sign": "unknown", "text": text, "command": "tapedeck logs watchdog", "log": "watchdog"})
    return sorted(found, key=lambda one: _RANK[one["sign"]])


def items(health: HealthPage, *, unhealthy: bool) -> list[dict[str, Any]]:
    """Return what the watchdog says of Postgres, disks and the clock."""
    return [
        {"sign": _item_sign(item), "name": item.name, "text": item.text}
        for item in health.items
        if not item.name.startswith(("program ", "venue ")) and not (unhealthy and item.verdict == "ok")
    ]


def _item_sign(item: Item) -> Sign:
    """Return the verdict of the watchdog; a clock that is not known to be synchronised is not good."""
    if item.name == "clock" and item.verdict == "ok" and not item.text.startswith("synchronised"):
        return "warn" if item.text.startswith("not ") else "unknown"
    return _ITEMS[item.verdict]


def _alert(alert: Alert, seen: Seen) -> dict[str, Any]:
    return {
        "alert": alert,
        "sign": _SEVERITIES[alert.severity],
        "for_s": max(0.0, seen.at - alert.fired_at),
        "acknowledged": seen.marks.acknowledged(alert.alert_id),
        "silenced": seen.marks.silenced_until(alert.rule, alert.subject, seen.at) is not None,
        "step": first_step(alert.rule, alert.subject),
    }

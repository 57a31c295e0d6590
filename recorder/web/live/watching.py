"""Events that need no Postgres: the state of the programs, and the alerts."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from recorder.watchdog.alerts import Alert
from recorder.web.live.outbox import ItemKey
from recorder.web.live.protocol import Topic, instant, text_of
from recorder.web.live.reading import Event
from recorder.web.monitor.observed import Seen

STATUS, ALERT = Topic("status"), Topic("alert")


class Watching:
    """Compares each look at the appliance with the one before. One thread uses it."""

    def __init__(self, seen: Callable[[], Seen]) -> None:
        self._now = seen
        self._status: dict[str, Any] | None = None
        self._alerts: dict[int, int] | None = None  # revisions that clients know, by id

    def look(self, topics: Collection[Topic]) -> list[Event]:
        """Return what changed since the last look."""
        events: list[Event] = []
        if STATUS not in topics:
            self._status = None
        else:
            status = status_of(self._now())
            if self._status is not None and _without_time(status) != _without_time(self._status):
                events.append(Event((STATUS,), STATUS, text_of({"op": "status", **status})))
            self._status = status
        if ALERT not in topics:
            self._alerts = None
        else:
            alerts = self._now().alerts
            known = self._alerts
            if known is not None:
                events += [
                    Event((ALERT,), ("alert", alert.alert_id), text_of({"op": "alert", **alert_of(alert)}))
                    for alert in reversed(alerts)
                    if alert.revision > known.get(alert.alert_id, 0)
                ]
            self._alerts = {alert.alert_id: alert.revision for alert in alerts}
        return events

    def snapshot(self, topics: Collection[Topic]) -> dict[ItemKey, str]:
        """Return the state of the programs, and the alerts that fire."""
        found: dict[ItemKey, str] = {}
        if STATUS in topics:
            found[STATUS, 0] = text_of({"kind": "status", **status_of(self._now())})
        if ALERT in topics:
            for alert in self._now().alerts:
                if alert.state == "firing":
                    found[ALERT, alert.alert_id] = text_of({"kind": "alert", **alert_of(alert)})
        return found


def status_of(seen: Seen) -> dict[str, Any]:
    """Return the judgement on the programs, as a client gets it."""
    status = seen.observation.status
    return {
        "as_of": instant(datetime.fromtimestamp(seen.at, UTC)),
        "healthy": status.healthy,
        "problems": status.problems,
        "programs": {line.program: line.state or line.supervisor for line in status.programs},
    }


def alert_of(alert: Alert) -> dict[str, Any]:
    """Return an alert as a client gets it."""
    return {
        "alert_id": str(alert.alert_id),
        "rule": alert.rule,
        "subject": alert.subject,
        "severity": alert.severity,
        "state": alert.state,
        "summary": alert.summary,
        "value": alert.value,
        "fired_at": instant(datetime.fromtimestamp(alert.fired_at, UTC)),
        "resolved_at": None if alert.resolved_at is None else instant(datetime.fromtimestamp(alert.resolved_at, UTC)),
        "revision": alert.revision,
    }


def _without_time(status: dict[str, Any]) -> tuple[bool, dict[str, str], int]:
    """Return what a client learns at once; the text of a problem names ages, which change all the time."""
    return status["healthy"], status["programs"], len(status["problems"])

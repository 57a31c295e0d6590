"""The parts of the watchdog that reach a person: the sender of messages, and the dead man's switch."""

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from recorder.clock import SystemClock
from recorder.process.health import WatchdogFigures
from recorder.process.log import get_logger
from recorder.process.reporting import Health
from recorder.process.threads import Part
from recorder.settings import Settings
from recorder.watchdog.alerts import Alert, Held
from recorder.watchdog.delivery.channels.configured import channels
from recorder.watchdog.delivery.dead_man import DeadMan
from recorder.watchdog.delivery.marks import Marks, MarksFile
from recorder.watchdog.delivery.outbox import Traffic
from recorder.watchdog.delivery.sender import Sender
from recorder.watchdog.round import Snapshot
from recorder.watchdog.rules import severity

_LEAVE_S = 5.0  # a service that does not answer is left behind; the attempt is noted
_LATE_S = 60.0  # a round is late after this, and three times its interval

_log = get_logger(__name__)


class Messages:
    """What the settings ask for; nothing while monitoring is switched off."""

    leave_s: Mapping[str, float] = {"messages": _LEAVE_S, "pings": _LEAVE_S}

    def __init__(
        self, settings: Settings, alerts: Callable[[], Sequence[Alert]], latest: Callable[[], Snapshot | None]
    ) -> None:
        """
        Args:
            settings: Of the appliance.
            alerts: Returns all alerts of the book.
            latest: Returns what the last round found.

        Raises:
            ConfigError: the file of authorities cannot be used.
        """
        clock = SystemClock()
        self._settings = settings
        self._latest = latest
        self._marks = MarksFile(settings.home)
        found = channels(settings, clock)
        url = settings.alerts.ping_url
        if not settings.monitoring.enabled and (found or url is not None):
            _log.warning("messages.off", reason="MONITORING_ENABLED is false", channels=len(found))
        if not settings.monitoring.enabled:
            found, url = [], None
        self._sender = Sender(settings.home, settings.alerts, alerts, found)
        self._pings = None
        if url is not None:
            agent = settings.websocket.user_agent
            every_s = settings.alerts.ping_every_s
            self._pings = DeadMan(url.get_secret_value(), every_s, self._troubles, agent, settings.ca_file, clock)
        _log.info("messages.start", channels=len(found), pings=url is not None)

    def parts(self) -> dict[str, Part]:
        """Return the bodies of their threads, by name."""
        parts: dict[str, Part] = {"messages": self._sender.part}
        if self._pings is not None:
            parts["pings"] = self._pings.part
        return parts

    def traffic(self) -> Mapping[str, Traffic]:
        """Return the messages of each channel."""
        return self._sender.traffic

    def marks(self) -> Marks:
        """Return acknowledgements and silences, without a look at the disk."""
        return self._sender.marks

    def health(self, watch: Health) -> Health:
        """Return the health of the watchdog with that of its messages."""
        assert isinstance(watch.figures, WatchdogFigures)
        figures = msgspec.structs.replace(
            watch.figures, messages_waiting=sum(one.waiting for one in self.traffic().values())
        )
        if self._sender.problem and watch.state == "live":
            return Health("degraded", self._sender.problem, figures)
        return Health(watch.state, watch.detail, figures)

    def _troubles(self) -> list[str] | None:
        snapshot = self._latest()
        if snapshot is None:
            return None
        age_s = time.monotonic() - snapshot.evidence.at_s
        late_s = _LATE_S + 3 * self._settings.watchdog.every_s
        return troubles(snapshot.held, age_s, late_s, self._marks.read(), time.time())


def troubles(held: Sequence[Held], age_s: float, late_s: float, marks: Marks, now: float) -> list[str]:
    """Return why not all is well: pages that no person has seen, or a watchdog that does not judge.

    Args:
        held: Conditions of the last round.
        age_s: Of that round.
        late_s: The age from which on rounds do not run.
        marks: Acknowledgements and silences.
        now: Unix seconds.
    """
    found = [f"the last round of the watchdog ended {age_s:.0f} s ago"] if age_s > late_s else []
    return found + [
        f"{one.rule} {one.subject}: {one.text}"
        for one in held
        if one.firing
        and severity(one.rule) == "page"
        and not marks.acknowledged(one.alert_id)
        and marks.silenced_until(one.rule, one.subject, now) is None
    ]

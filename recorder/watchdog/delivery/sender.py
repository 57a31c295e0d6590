"""The thread that sends: it plans from the book of alerts, saves, sends one message, and saves the outcome."""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from recorder.process.deadline import Stopped
from recorder.process.log import get_logger
from recorder.settings import AlertSettings
from recorder.watchdog.alerts import Alert
from recorder.watchdog.delivery.channels.base import Channel
from recorder.watchdog.delivery.marks import MarksFile
from recorder.watchdog.delivery.outbox import Answer, Outbox, waiting
from recorder.watchdog.delivery.state_file import read_state, write_state
from recorder.watchdog.delivery.topics import Policy

EVERY_S = 1.0
"""Time between two looks: also the least between two messages over one channel, as Slack asks for."""
FAILING_S = 300.0
"""A channel that has taken nothing for so long is a problem."""
_SAVED_EVERY_S = 30.0  # what a kill may add to a cooldown

_log = get_logger(__name__)


class Sender:
    """Sends what the rules find. No other thread waits for it."""

    def __init__(
        self,
        home: Path,
        settings: AlertSettings,
        alerts: Callable[[], Sequence[Alert]],
        channels: Sequence[Channel],
    ) -> None:
        """
        Args:
            home: State directory of the appliance.
            settings: Of the messages.
            alerts: Returns all alerts of the book.
            channels: Where messages go; without one, alerts are still accounted for.
        """
        self._home = home
        self._alerts = alerts
        self._channels = tuple(channels)
        self._marks = MarksFile(home)
        state = read_state(home, set_aside=True)
        policy = Policy(settings.cooldown_s, settings.reminder_s)
        names = [channel.name for channel in channels]
        self._outbox = Outbox(state, policy, settings.least, names, random.Random())
        self._last_s = self._saved_s = time.monotonic()
        self.waiting: Mapping[str, int] = waiting(state)
        self.problem = ""  # a channel that takes nothing, for a person

    def part(self, stop: threading.Event) -> None:
        """Send until it is stopped."""
        while not stop.is_set():
            self._look()
            for channel in self._channels:
                try:
                    self._send(channel, stop)
                except Stopped:
                    break
            self._publish()
            stop.wait(EVERY_S)
        self._save()

    def _look(self) -> None:
        now_s = time.monotonic()
        passed_s, self._last_s = now_s - self._last_s, now_s
        changed = self._outbox.tick(self._alerts(), self._marks.read(), time.time(), passed_s)
        if changed or now_s - self._saved_s >= _SAVED_EVERY_S:
            self._save()

    def _send(self, channel: Channel, stop: threading.Event) -> None:
        entry = self._outbox.next(channel.name)
        if entry is None:
            return
        message = entry.message
        attempt = self._outbox.begin(entry, channel.name)
        # A disk that is full is no reason to be silent about it: then a kill may cost a repeat.
        self._save()
        try:
            answer = channel.send(message, stop, repeated=attempt.unknown > 0)
        except Stopped:
            self._outbox.abandon(entry, channel.name)
            self._save()
            raise
        self._outbox.end(entry, channel.name, answer)
        self._save()
        self._report(channel.name, message.id, answer)

    def _report(self, channel: str, message_id: str, answer: Answer) -> None:
        if answer.outcome == "taken":
            _log.info("message.sent", channel=channel, id=message_id, answer=answer.text)
        else:
            _log.warning(
                "message.not_sent", channel=channel, id=message_id, outcome=answer.outcome, reason=answer.text,
                asked_s=answer.retry_after_s,
            )  # fmt: skip

    def _publish(self) -> None:
        state = self._outbox.state
        self.waiting = waiting(state)
        self.problem = "; ".join(
            f"messages by {name} have failed for {one.failing_s:.0f} s ({one.reason})"
            for name, one in state.channels.items()
            if one.failing_s is not None and one.failing_s >= FAILING_S
        )

    def _save(self) -> None:
        if write_state(self._home, self._outbox.state):
            self._saved_s = time.monotonic()

"""The thread that sends: it plans from the book of alerts, saves, sends one message, and saves the outcome."""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from recorder.process.deadline import Stopped
from recorder.process.log import Sparingly, get_logger
from recorder.settings import AlertSettings
from recorder.watchdog.alerts import Alert
from recorder.watchdog.delivery.channels.base import Channel
from recorder.watchdog.delivery.marks import Marks, MarksFile
from recorder.watchdog.delivery.outbox import Answer, Outbox, Traffic, waiting
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
        self.marks = Marks()  # as they were at the last look: a disk that hangs delays no answer
        state = read_state(home, set_aside=True)
        policy = Policy(settings.cooldown_s, settings.reminder_s)
        names = [channel.name for channel in channels]
        self._outbox = Outbox(state, policy, settings.least, names, random.Random())
        self._complaints = Sparingly()
        self._last_s = self._saved_s = time.monotonic()
        self._before = {name: (one.taken, one.left_out) for name, one in self._outbox.state.channels.items()}
        self._failed = dict.fromkeys(names, 0)
        self.traffic: Mapping[str, Traffic] = {}
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
        self.marks = self._marks.read()
        changed = self._outbox.tick(self._alerts(), self.marks, time.time(), passed_s)
        state = self._outbox.state
        if changed or ((state.topics or state.entries) and now_s - self._saved_s >= _SAVED_EVERY_S):
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
        except (ValueError, TypeError, LookupError) as error:  # one odd message costs itself, never the watchdog
            answer = Answer("refused", f"it cannot be written ({type(error).__name__})")
        self._outbox.end(entry, channel.name, answer)
        self._save()
        self._report(channel.name, message.id, answer, left_out=channel.name not in entry.waiting)

    def _report(self, channel: str, message_id: str, answer: Answer, *, left_out: bool) -> None:
        if answer.outcome == "taken":
            _log.info("message.sent", channel=channel, id=message_id, answer=answer.text)
        else:
            self._failed[channel] += 1
            log, event = (_log.error, "message.left_out") if left_out else (_log.warning, "message.not_sent")
            log(
                event, channel=channel, id=message_id, outcome=answer.outcome, reason=answer.text,
                asked_s=answer.retry_after_s,
            )  # fmt: skip

    def _publish(self) -> None:
        state = self._outbox.state
        counts = waiting(state)
        traffic = {}
        for name, one in state.channels.items():
            taken, left_out = self._before[name]
            failed = self._failed[name]
            traffic[name] = Traffic(counts[name], one.taken - taken, failed, one.left_out - left_out)
        self.traffic = traffic
        self.problem = "; ".join(
            f"messages by {name} have failed for {one.failing_s:.0f} s ({one.reason})"
            for name, one in state.channels.items()
            if one.failing_s is not None and one.failing_s >= FAILING_S
        )

    def _save(self) -> None:
        try:
            write_state(self._home, self._outbox.state)
        except OSError as error:
            left_out = self._complaints.turn(time.monotonic())
            if left_out is not None:
                _log.warning("outbox.not_saved", error=str(error), left_out=left_out)
        self._saved_s = time.monotonic()

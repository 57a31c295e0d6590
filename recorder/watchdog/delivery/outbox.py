"""The queue of messages, for each channel: what is sent next, and what becomes of an attempt. Pure.

The order of the messages about one rule and subject holds in every channel; the channels do not wait for each other.
An attempt is noted before it is made. One whose outcome is not known (the answer did not come, or the process was
killed) may have reached the receiver: it is repeated, but not before a cooldown has passed.
"""

import random
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Literal, NamedTuple

import msgspec

from recorder.backoff import WAIT_MAX_S, Backoff
from recorder.watchdog.alerts import Alert, Key
from recorder.watchdog.delivery.marks import Marks
from recorder.watchdog.delivery.message import Message
from recorder.watchdog.delivery.topics import Policy, Topic

MOST_MESSAGES = 200
"""The room of the queue: beyond it, the oldest of the least severity is left out and counted."""
MOST_OF_ONE = 4
"""Waiting messages about one rule and subject: beyond it, a new one replaces the last."""
MOST_TRIES = 3
"""Attempts without a known outcome, and refusals of one message, after which a channel leaves it out."""
MISSING_S = 1_200.0
"""The time after which an alert that the book does not have counts as over."""
_BACKOFF_S = 5.0
_BACKOFF_MAX_S = 300.0
_RANK = {"page": 0, "ticket": 1, "info": 2}

Outcome = Literal["taken", "later", "refused", "unknown"]


class Answer(NamedTuple):
    """What became of an attempt."""

    outcome: Outcome  # later: this channel takes nothing now; refused: it will not take this message
    text: str  # for a person; without secrets
    retry_after_s: float | None = None  # what the receiver asks for


class Attempt(msgspec.Struct):
    """A message that a channel has not taken yet."""

    tries: int = 0
    sending: bool = False  # an attempt was begun, and its outcome is not known
    unknown: int = 0  # attempts without an outcome
    refused: int = 0
    hold_s: float = 0.0  # no attempt before this time has passed


class Entry(msgspec.Struct):
    """A message in the queue."""

    message: Message
    waiting: dict[str, Attempt]  # by channel

    @property
    def key(self) -> Key:
        """The rule and the subject."""
        return self.message.alert.rule, self.message.alert.subject

    @property
    def untried(self) -> bool:
        """Whether no channel has tried it."""
        return not any(attempt.tries for attempt in self.waiting.values())


class ChannelState(msgspec.Struct):
    """How a channel is."""

    pause_s: float = 0.0  # nothing is sent before this time has passed
    failing_s: float | None = None  # since the first failure of those in a row; None: it works, or was not tried
    reason: str = ""  # of the last failure
    taken: int = 0  # messages, since the file was made
    left_out: int = 0


class Traffic(NamedTuple):
    """The messages of a channel; counts are those since the start of the watchdog."""

    waiting: int
    taken: int
    failed: int  # attempts
    left_out: int


class State(msgspec.Struct):
    """What must survive a kill: what was sent, what is to be sent, and which alerts are accounted for."""

    topics: list[Topic] = []
    entries: list[Entry] = []
    channels: dict[str, ChannelState] = {}
    known: dict[int, int] | None = None  # revisions by alert; None: nothing was sent ever
    lost: int = 0  # messages that the queue had no room for, since the last message


class Outbox:
    """The messages of an appliance. Only one thread uses it."""

    def __init__(self, state: State, policy: Policy, least: str, channels: Sequence[str], rng: random.Random) -> None:
        """
        Args:
            state: What the process before left.
            policy: Cooldown and reminder.
            least: Least severity that is sent.
            channels: Names of those that are configured; messages for others are forgotten.
            rng: Spreads the attempts.
        """
        self.state = state
        self._policy = policy
        self._rank = _RANK[least]
        self._channels = tuple(channels)
        if not channels:  # nothing is sent, so nothing counts as sent: what fires when there is one, is sent then
            state.topics, state.entries, state.known = [], [], None
        self._backoffs = {name: Backoff(_BACKOFF_S, _BACKOFF_MAX_S, rng) for name in channels}
        self._topics = {topic.key: topic for topic in state.topics}
        state.channels = {name: state.channels.get(name, ChannelState()) for name in channels}
        for entry in state.entries:
            entry.waiting = {name: attempt for name, attempt in entry.waiting.items() if name in channels}
            for attempt in entry.waiting.values():
                if attempt.sending:
                    self._without_outcome(attempt)
        self._tidy()

    def tick(self, alerts: Iterable[Alert], marks: Marks, now: float, passed_s: float) -> bool:
        """Let time pass, look at all alerts, and queue what is due; return whether there is something to save.

        Args:
            alerts: Of the book, the saved ones.
            marks: Acknowledgements and silences.
            now: Unix seconds.
            passed_s: Monotonic seconds since the last call.
        """
        if not self._channels:
            return False
        self._pass_time(passed_s)
        alerts = sorted(alerts, key=lambda alert: (alert.fired_at, alert.alert_id))
        changed = self._observe(alerts)
        changed |= self._resolve_missing({alert.alert_id for alert in alerts}, now, passed_s)
        for topic in list(self._topics.values()):
            silenced = marks.silenced_until(*topic.key, now) is not None
            acknowledged = marks.acknowledged(topic.alert.alert_id)
            kind = topic.due(self._policy, silenced=silenced, acknowledged=acknowledged)
            if kind is not None:
                self._put(topic.message(kind, now))
                changed = True
            elif topic.over(self._policy):
                del self._topics[topic.key]
                changed = True
        self.state.topics = list(self._topics.values())
        return changed

    def next(self, channel: str) -> Entry | None:
        """Return what a channel may send now: the most urgent, in the order of each rule and subject."""
        if self.state.channels[channel].pause_s > 0:
            return None
        best: Entry | None = None
        seen: set[Key] = set()
        for entry in self.state.entries:
            attempt = entry.waiting.get(channel)
            if attempt is None or entry.key in seen:
                continue
            seen.add(entry.key)
            if attempt.hold_s > 0 or attempt.sending:
                continue
            if best is None or _RANK[entry.message.alert.severity] < _RANK[best.message.alert.severity]:
                best = entry
        return best

    def begin(self, entry: Entry, channel: str) -> Attempt:
        """Note an attempt; it must be saved before it is made."""
        attempt = entry.waiting[channel]
        attempt.tries += 1
        attempt.sending = True
        return attempt

    def end(self, entry: Entry, channel: str, answer: Answer) -> None:
        """Note what became of an attempt."""
        state, attempt, backoff = self.state.channels[channel], entry.waiting[channel], self._backoffs[channel]
        attempt.sending = False
        if answer.outcome == "taken":
            del entry.waiting[channel]
            state.taken += 1
            state.failing_s, state.reason = None, ""
            backoff.reset()
            self._tidy()
            return
        state.reason = answer.text
        if answer.outcome == "refused":
            attempt.refused += 1
            attempt.hold_s = min(60.0 * attempt.refused, WAIT_MAX_S)
        else:
            if answer.outcome == "unknown":
                self._without_outcome(attempt)
            state.failing_s = state.failing_s or 0.0
            state.pause_s = min(max(1.0, backoff.next_s(), answer.retry_after_s or 0.0), WAIT_MAX_S)
        if max(attempt.refused, attempt.unknown) >= MOST_TRIES:
            del entry.waiting[channel]
            state.left_out += 1
        self._tidy()

    def abandon(self, entry: Entry, channel: str) -> None:
        """Take back an attempt that was not made, because the program stops."""
        attempt = entry.waiting[channel]
        attempt.tries -= 1
        attempt.sending = False

    def _pass_time(self, passed_s: float) -> None:
        for topic in self._topics.values():
            topic.pass_time(passed_s)
        for state in self.state.channels.values():
            state.pause_s = max(0.0, state.pause_s - passed_s)
            if state.failing_s is not None:
                state.failing_s += passed_s
        for entry in self.state.entries:
            for attempt in entry.waiting.values():
                attempt.hold_s = max(0.0, attempt.hold_s - passed_s)

    def _observe(self, alerts: Sequence[Alert]) -> bool:
        """Compare the alerts with those that are known, and return whether one is new or changed."""
        if self.state.known is None:  # what was over before the first start is not sent
            self.state.known = {one.alert_id: one.revision for one in alerts if one.state == "resolved"}
        known = self.state.known
        changed = False
        for alert in alerts:
            before = known.get(alert.alert_id)
            if before == alert.revision:
                continue
            changed = True
            known[alert.alert_id] = alert.revision
            if _RANK[alert.severity] > self._rank:
                continue
            topic = self._topics.setdefault((alert.rule, alert.subject), Topic(alert))
            topic.observe(alert, fired=before is None)
        ids = {alert.alert_id for alert in alerts}
        self.state.known = {alert_id: revision for alert_id, revision in known.items() if alert_id in ids}
        return changed

    def _resolve_missing(self, ids: Set[int], now: float, passed_s: float) -> bool:
        """Resolve what the book does not have: a kill came before it was saved there, or the file was lost.

        If the condition holds, the rule fires again before that, and its new alert takes the place of the missing one.
        """
        changed = False
        for topic in self._topics.values():
            if topic.alert.state != "firing" or topic.alert.alert_id in ids:
                continue
            topic.missing_s += passed_s
            if topic.missing_s >= MISSING_S:
                revision = topic.alert.revision + 1
                topic.alert = msgspec.structs.replace(topic.alert, state="resolved", resolved_at=now, revision=revision)
                changed = True
        return changed

    def _put(self, message: Message) -> None:
        entries = self.state.entries
        mine = [entry for entry in entries if entry.key == (message.alert.rule, message.alert.subject)]
        if len(mine) >= MOST_OF_ONE and mine[-1].untried:
            entries.remove(mine[-1])
            replaced = mine[-1].message
            message = msgspec.structs.replace(
                message,
                kind="summary" if replaced.times else message.kind,
                left_out=replaced.left_out + 1,
                lost=replaced.lost,
                times=message.times + replaced.times,
                over_s=max(message.over_s, message.at - replaced.at + replaced.over_s),
            )
        while len(entries) >= MOST_MESSAGES:
            free = [entry for entry in entries if not any(one.sending for one in entry.waiting.values())]
            if not free:
                break
            least = max(free, key=lambda entry: _RANK[entry.message.alert.severity])  # the oldest of these
            entries.remove(least)
            self.state.lost += 1 + least.message.left_out + least.message.lost
        message = msgspec.structs.replace(message, lost=message.lost + self.state.lost)
        self.state.lost = 0
        entries.append(Entry(message, {name: Attempt() for name in self._channels}))

    def _without_outcome(self, attempt: Attempt) -> None:
        attempt.sending = False
        attempt.unknown += 1
        attempt.hold_s = self._policy.cooldown_s

    def _tidy(self) -> None:
        self.state.entries = [entry for entry in self.state.entries if entry.waiting]


def waiting(state: State) -> Mapping[str, int]:
    """Return the number of messages that each channel has not taken yet."""
    return {name: sum(name in entry.waiting for entry in state.entries) for name in state.channels}

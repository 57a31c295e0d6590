"""Judges the silence of streams against their expected rates, and decides what to do about it. Pure.

Only data proves life; heartbeats and pongs do not. A silence is suspicious when its probability under the learned rate
is below one in a million, it is longer than any that ended by itself at this time of day, and longer than
`MIN_SILENCE_S`. A silent stream among live ones is resubscribed, then its connection is renewed, then an alert is
raised; a connection on which everything is silent is renewed at once. Where the market is merely quiet this must not
become a storm: a stream is resubscribed, and a connection renewed, at most once in `COOLDOWN_S`. Before a remedy the
REST service is asked where that is possible, and a market that is quiet by its word is left alone (consultation.py).
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Literal, TypeVar

import msgspec

from recorder.capture.liveness.consultation import STREAMS_OF_A_LINK, Answer, Consultation
from recorder.capture.liveness.rates import REMEMBERED_S, ExpectedRates
from recorder.events import Channel, Stream

MIN_SILENCE_S = 15.0
COOLDOWN_S = 1800.0
SETTLE_S = 10.0  # data that comes so soon after we acted is a snapshot, not a sign of life
_MIN_PROBABILITY = 1e-6
_EVENTS = -math.log(_MIN_PROBABILITY)  # expected in a silence of that probability
_MARGIN = 1.5  # over the longest silence that ended by itself
_STALL_S = 10.0  # without a sample for this long, this process stood still
_FRESH_S = 300.0  # a limit is computed again after this long

Key = TypeVar("Key", Stream, int)
Action = Literal["ask", "resubscribe", "reconnect", "alert", "recovered"]


class Verdict(msgspec.Struct, frozen=True):
    """What to do about a silence."""

    action: Action
    link: int
    stream: Stream | None  # None: everything on the link
    silence_s: float
    since_s: float  # Unix time of the latest sample without the last data: what came after it may be missing
    expected_per_s: float
    evidence: Answer | None = None  # of a witness


class _Silence(msgspec.Struct):
    """One stream, or everything on a link."""

    last_s: float  # of the last data, or since when it is watched
    since_s: float  # of the sample before that one
    stage: Literal["ok", "resubscribed", "reconnected", "alerted"] = "ok"
    acted_s: float = float("-inf")
    alerted_s: float = float("-inf")
    limit_s: float = 0.0
    per_s: float = 0.0
    known: bool = False
    stale_s: float = float("-inf")  # when the limit is to be computed again
    consultation: Consultation = msgspec.field(default_factory=Consultation)


class _Asking(msgspec.Struct):
    """A silence that is put to a witness, and the questions to ask now."""

    questions: list[Verdict]


class Liveness:
    """The streams and links of one recorder.

    Attributes:
        rates: The learned rates, for the file.
    """

    def __init__(self, rates: ExpectedRates, max_no_data_s: float, witnessed: Collection[Channel] = ()) -> None:
        """
        Args:
            rates: As an earlier process left them, or empty.
            max_no_data_s: The shortest silence that is suspicious where the rate is not known yet.
            witnessed: Channels about whose silence a witness can be asked.
        """
        self.rates = rates
        self._max_no_data_s = max_no_data_s
        self._witnessed = frozenset(witnessed)
        self._watched: dict[Stream, int] = {}
        self._streams: dict[Stream, _Silence] = {}
        self._links: dict[int, _Silence] = {}
        self._set_aside: dict[Stream, _Silence] = {}  # suspicious, and not watched at the moment
        self._links_set_aside: dict[int, _Silence] = {}
        self._resubscribed_s: dict[Stream, float] = {}
        self._reconnected_s: dict[int, float] = {}  # outlives the session, not the link
        self._now_s = float("-inf")
        self._recovered: list[Verdict] = []

    def sample(self, active: Collection[Stream], watched: Mapping[Stream, int], now_s: float) -> None:
        """Account for one second.

        Args:
            active: Streams with data in it, or with an unchanged message that the venue repeated (`Alive`).
            watched: Accepted streams of open sessions -> number of their link. A stream whose link is down is not
                watched: its silence has a known reason.
            now_s: Unix time.
        """
        stalled = not 0.0 <= now_s - self._now_s <= _STALL_S
        since_s = now_s if stalled else self._now_s
        self._now_s = now_s
        if watched != self._watched:
            self._follow(dict(watched), now_s)
        if stalled:  # the machine slept, or the clock was set
            for one in (*self._streams.values(), *self._links.values()):
                one.last_s, one.since_s, one.acted_s = now_s, min(one.since_s, now_s), min(one.acted_s, now_s)
        for stream in active:
            silence = self._streams.get(stream)
            if silence is not None:
                if now_s - silence.last_s > REMEMBERED_S or silence.stage != "ok":
                    self._silence_ended(stream, silence, now_s)
                silence.last_s, silence.since_s = now_s, since_s
                silence.consultation.ended()
                link = self._links[watched[stream]]
                if link.stage != "ok" and now_s - link.acted_s > SETTLE_S:
                    self._recover(watched[stream], None, link, now_s)
                link.last_s, link.since_s = now_s, since_s
                link.consultation.ended()
        self.rates.sample(active, self._watched, now_s)

    def judge(self, now_s: float) -> list[Verdict]:
        """Return what to do now. Each verdict is given once, and the caller acts on it."""
        verdicts, self._recovered = self._recovered, []
        dead = set()
        for number, silence in self._links.items():
            if now_s - silence.last_s > MIN_SILENCE_S:
                dead.add(number)
                verdicts += self._judge_link(number, silence, now_s)
        for stream, silence in self._streams.items():
            silent_s = now_s - max(silence.last_s, silence.acted_s)
            if silent_s > MIN_SILENCE_S and self._watched[stream] not in dead:
                self._refresh(stream, silence, now_s)
                if silent_s > silence.limit_s:
                    verdicts += self._judge_stream(stream, silence, now_s)
        verdicts += self._recovered
        self._recovered = []
        return verdicts

    def answered(self, stream: Stream, answer: Answer) -> None:
        """Note what a witness said about a stream."""
        silence, link = self._streams.get(stream), self._links.get(self._watched.get(stream, -1))
        for one in (silence, link):
            if one is not None:
                one.consultation.answered(stream, answer)

    def quiet(self) -> list[Stream]:
        """Return the streams that are silent because the venue has nothing newer, as a witness said."""
        numbers = {number for number, silence in self._links.items() if silence.consultation.quiet}
        return [
            stream
            for stream, silence in self._streams.items()
            if silence.consultation.quiet or self._watched[stream] in numbers
        ]

    def silent(self) -> list[Stream]:
        """Return the streams with an alert that are still silent; all streams of a link that has the alert."""
        alerted = {number for number, silence in self._links.items() if silence.stage == "alerted"}
        return [
            stream
            for stream, silence in self._streams.items()
            if silence.stage == "alerted" or self._watched[stream] in alerted
        ]

    # ---- the moves -------------------------------------------------------------------------------------

    def _judge_stream(self, stream: Stream, silence: _Silence, now_s: float) -> Iterator[Verdict]:
        number = self._watched[stream]
        asked = [stream] if stream.channel in self._witnessed else []
        if asking := self._consult(number, stream, silence, lambda: asked, now_s):
            yield from asking.questions
            return
        action: Action
        if silence.stage == "ok" and now_s - self._resubscribed_s.get(stream, float("-inf")) >= COOLDOWN_S:
            self._resubscribed_s[stream] = now_s
            silence.stage, action = "resubscribed", "resubscribe"
        elif silence.stage != "reconnected" and self._may_reconnect(number, now_s):
            self._reconnect(number, now_s)
            silence.stage, action = ("alerted" if silence.stage == "alerted" else "reconnected"), "reconnect"
        elif _alert(silence, now_s):
            action = "alert"
        else:
            return
        silence.acted_s = now_s
        yield _verdict(action, number, stream, silence, now_s, silence.consultation.evidence)

    def _judge_link(self, number: int, silence: _Silence, now_s: float) -> Iterator[Verdict]:
        silent_s = now_s - max(silence.last_s, silence.acted_s)
        if silent_s <= MIN_SILENCE_S:
            return
        if now_s >= silence.stale_s:
            self._refresh_link(number, silence, now_s)
        if silent_s <= silence.limit_s:
            return
        if asking := self._consult(number, None, silence, lambda: self._telling(number, now_s), now_s):
            yield from asking.questions
            return
        action: Action
        if self._may_reconnect(number, now_s):
            self._reconnect(number, now_s)
            silence.stage, action = ("alerted" if silence.stage == "alerted" else "reconnected"), "reconnect"
        elif _alert(silence, now_s):
            action = "alert"
        else:
            return
        silence.acted_s = now_s
        yield _verdict(action, number, None, silence, now_s, silence.consultation.evidence)

    def _consult(
        self,
        number: int,
        stream: Stream | None,
        silence: _Silence,
        streams: Callable[[], list[Stream]],
        now_s: float,
    ) -> "_Asking | None":
        """Return the questions to ask, or to wait for, before a silence is acted on; None to act now."""
        asked = streams() if silence.consultation.open is None and now_s >= silence.consultation.held_until_s else []
        match silence.consultation.advise(asked, silence.limit_s, now_s):
            case "act":
                return None
            case "ask":
                return _Asking([_verdict("ask", number, one, silence, now_s) for one in asked])
            case "quiet" if silence.stage == "alerted":
                self._recover(number, stream, silence, now_s)
        return _Asking([])

    def _telling(self, number: int, now_s: float) -> list[Stream]:
        """Return the streams of a link that should bring most, among those about which a witness can be asked."""
        streams = [one for one, other in self._watched.items() if other == number and one.channel in self._witnessed]
        rates = {stream: self.rates.rate(stream, now_s).per_s for stream in streams}
        return sorted(streams, key=lambda one: -rates[one])[:STREAMS_OF_A_LINK]

    def _may_reconnect(self, number: int, now_s: float) -> bool:
        return now_s - self._reconnected_s.get(number, float("-inf")) >= COOLDOWN_S

    def _reconnect(self, number: int, now_s: float) -> None:
        """Note that a link reconnects: that resubscribes all its streams, also those that were resubscribed alone."""
        self._reconnected_s[number] = now_s
        for stream, other in self._watched.items():
            silence = self._streams[stream]
            if other == number and silence.stage == "resubscribed":
                silence.stage, silence.acted_s = "reconnected", now_s

    def _silence_ended(self, stream: Stream, silence: _Silence, now_s: float) -> None:
        """Account for the end of a silence: data came."""
        link = self._links[self._watched[stream]]
        acted_s = max(silence.acted_s, link.acted_s)
        if silence.stage != "ok" and now_s - acted_s <= SETTLE_S:
            return
        # Do not learn from silences that we interrupted or alerted on.
        if silence.stage != "alerted" and link.alerted_s < silence.last_s:
            self.rates.silence_ended(stream, now_s - max(silence.last_s, acted_s), now_s)
        if silence.stage != "ok":
            self._recover(self._watched[stream], stream, silence, now_s)
        silence.stale_s = now_s

    def _recover(self, number: int, stream: Stream | None, silence: _Silence, now_s: float) -> None:
        if silence.stage == "alerted":
            self._recovered.append(_verdict("recovered", number, stream, silence, now_s))
        silence.stage = "ok"

    def _follow(self, watched: dict[Stream, int], now_s: float) -> None:
        """Follow streams that came, went, or moved to another link. A suspicion outlives the reconnect it led to."""
        for stream in self._watched.keys() - watched.keys():
            _set_aside(self._streams, self._set_aside, stream)
        for stream in watched.keys() - self._watched.keys():
            self._streams[stream] = _restored(self._set_aside, stream, now_s)
        numbers = set(watched.values())
        for number in self._links.keys() - numbers:
            _set_aside(self._links, self._links_set_aside, number)
        for number in numbers - self._links.keys():
            self._links[number] = _restored(self._links_set_aside, number, now_s)
        self._watched = watched

    # ---- the limits ------------------------------------------------------------------------------------

    def _refresh(self, stream: Stream, silence: _Silence, now_s: float) -> None:
        if now_s < silence.stale_s:
            return
        per_s, known, longest_s = self.rates.rate(stream, now_s)
        floor_s = MIN_SILENCE_S if known else max(MIN_SILENCE_S, self._max_no_data_s)
        silence.per_s, silence.known = per_s, known
        silence.limit_s = max(floor_s, _EVENTS / per_s, _MARGIN * longest_s)
        silence.stale_s = _until(now_s)

    def _refresh_link(self, number: int, silence: _Silence, now_s: float) -> None:
        """Compute the limit of a link: the rates of its streams add up, and the shortest usual silence counts."""
        rates = [self.rates.rate(stream, now_s) for stream, other in self._watched.items() if other == number]
        known = [rate for rate in rates if rate.known]
        silence.per_s = sum(rate.per_s for rate in known)
        silence.known = bool(known)
        limits_s = []
        if known:
            longest_s = min(rate.longest_s for rate in known)
            limits_s.append(max(MIN_SILENCE_S, _EVENTS / silence.per_s, _MARGIN * longest_s))
        if len(known) < len(rates):
            limits_s.append(max(MIN_SILENCE_S, self._max_no_data_s))
        silence.limit_s = min(limits_s)
        silence.stale_s = _until(now_s)


def _verdict(
    action: Action, number: int, stream: Stream | None, silence: _Silence, now_s: float, evidence: Answer | None = None
) -> Verdict:
    return Verdict(action, number, stream, now_s - silence.last_s, silence.since_s, silence.per_s, evidence)


def _alert(silence: _Silence, now_s: float) -> bool:
    """Move to the stage "alerted" where a rate is known; return whether to alert, at most once in `COOLDOWN_S`."""
    if silence.stage == "alerted" or not silence.known:
        return False
    silence.stage = "alerted"
    if now_s - silence.alerted_s < COOLDOWN_S:
        return False
    silence.alerted_s = now_s
    return True


def _set_aside(watched: dict[Key, _Silence], aside: dict[Key, _Silence], key: Key) -> None:
    silence = watched.pop(key)
    if silence.stage != "ok":
        aside[key] = silence


def _restored(aside: dict[Key, _Silence], key: Key, now_s: float) -> _Silence:
    silence = aside.pop(key, None)
    if silence is None or now_s - silence.acted_s > COOLDOWN_S:
        return _Silence(now_s, now_s)
    silence.last_s = silence.since_s = silence.acted_s = now_s  # the first data is a snapshot
    return silence


def _until(now_s: float) -> float:
    """Return how long a limit holds: a while, but not beyond its hour."""
    return min(now_s + _FRESH_S, (now_s // 3600 + 1) * 3600)

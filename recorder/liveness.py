"""Judges silence against what each stream is expected to bring, and says what to do about it. Pure.

Data alone is life; heartbeats and pongs are not. A silence is suspicious when its probability under the learned rate
is below one in a million, it is longer than any that ended by itself at this time of day, and longer than `FLOOR_S`.
A stream among live ones is subscribed again, then its connection is made anew, then a person is told; a connection on
which everything is silent is made anew at once. Where the market is merely quiet this must not become a storm: a
stream is asked for, and a connection made anew, at most once in `CALM_S`.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Literal, TypeVar

import msgspec

from recorder.events import Stream
from recorder.expectation import NOTEWORTHY_S, Expectation

FLOOR_S = 15.0
CALM_S = 1800.0
SETTLE_S = 10.0  # what arrives so soon after we acted is a snapshot, not news
_LEAST_PROBABILITY = 1e-6
_EVENTS = -math.log(_LEAST_PROBABILITY)  # expected in a silence of that probability
_MARGIN = 1.5  # over the longest silence that ended by itself
_STALL_S = 10.0  # without a sample for so long, nobody looked
_FRESH_S = 300.0  # a limit is computed again after this long

Key = TypeVar("Key", Stream, int)
Action = Literal["resubscribe", "reconnect", "alert", "recovered"]


class Verdict(msgspec.Struct, frozen=True):
    """What to do about a silence."""

    action: Action
    link: int
    stream: Stream | None  # None: everything on the link
    silence_s: float
    expected_per_s: float


class _Silence(msgspec.Struct):
    """One stream, or everything on a link."""

    last_s: float  # of data, or since when it is watched
    stage: Literal["well", "asked", "renewed", "told"] = "well"
    acted_s: float = float("-inf")
    told_s: float = float("-inf")
    limit_s: float = 0.0
    per_s: float = 0.0
    known: bool = False
    stale_s: float = float("-inf")  # when the limit is to be computed again


class Liveness:
    """The streams and links of one recorder.

    Attributes:
        expectation: What is learned, for the file.
    """

    def __init__(self, expectation: Expectation, max_no_data_s: float) -> None:
        """
        Args:
            expectation: As an earlier process left it, or a fresh one.
            max_no_data_s: Where the rate is not known yet, no shorter silence is judged.
        """
        self.expectation = expectation
        self._max_no_data_s = max_no_data_s
        self._watched: dict[Stream, int] = {}
        self._streams: dict[Stream, _Silence] = {}
        self._links: dict[int, _Silence] = {}
        self._away: dict[Stream, _Silence] = {}  # under suspicion, and not watched at the moment
        self._links_away: dict[int, _Silence] = {}
        self._resubscribed_s: dict[Stream, float] = {}
        self._reconnected_s: dict[int, float] = {}  # outlives the session, not the link
        self._now_s = float("-inf")
        self._recovered: list[Verdict] = []

    def sample(self, active: Collection[Stream], watched: Mapping[Stream, int], now_s: float) -> None:
        """Take in one second, of which the links brought `active`.

        Args:
            active: Streams with data, or with the venue's word that nothing changed (`Alive` of a stream).
            watched: Accepted streams of open sessions -> number of their link. A stream whose link is down is not
                watched: that it is silent is known.
            now_s: Unix time.
        """
        stalled = not 0.0 <= now_s - self._now_s <= _STALL_S
        self._now_s = now_s
        if watched != self._watched:
            self._follow(dict(watched), now_s)
        if stalled:  # the machine slept, or somebody set the clock
            for one in (*self._streams.values(), *self._links.values()):
                one.last_s, one.acted_s = now_s, min(one.acted_s, now_s)
        for stream in active:
            silence = self._streams.get(stream)
            if silence is not None:
                if now_s - silence.last_s > NOTEWORTHY_S or silence.stage != "well":
                    self._ended(stream, silence, now_s)
                silence.last_s = now_s
                link = self._links[watched[stream]]
                if link.stage != "well" and now_s - link.acted_s > SETTLE_S:
                    self._well(watched[stream], None, link, now_s)
                link.last_s = now_s
        self.expectation.sample(active, self._watched, now_s)

    def judge(self, now_s: float) -> list[Verdict]:
        """What to do now; each verdict is given once, and supposed to be acted on."""
        verdicts, self._recovered = self._recovered, []
        dead = set()
        for number, silence in self._links.items():
            if now_s - silence.last_s > FLOOR_S:
                dead.add(number)
                verdicts += self._judge_link(number, silence, now_s)
        for stream, silence in self._streams.items():
            silent_s = now_s - max(silence.last_s, silence.acted_s)
            if silent_s > FLOOR_S and self._watched[stream] not in dead:
                self._refresh(stream, silence, now_s)
                if silent_s > silence.limit_s:
                    verdicts += self._judge_stream(stream, silence, now_s)
        return verdicts

    def silent(self) -> list[Stream]:
        """Streams a person was told of and that bring nothing yet; all of a link where all of it is silent."""
        told = {number for number, silence in self._links.items() if silence.stage == "told"}
        return [
            stream
            for stream, silence in self._streams.items()
            if silence.stage == "told" or self._watched[stream] in told
        ]

    # ---- the moves -------------------------------------------------------------------------------------

    def _judge_stream(self, stream: Stream, silence: _Silence, now_s: float) -> Iterator[Verdict]:
        number = self._watched[stream]
        action: Action
        if silence.stage == "well" and now_s - self._resubscribed_s.get(stream, float("-inf")) >= CALM_S:
            self._resubscribed_s[stream] = now_s
            silence.stage, action = "asked", "resubscribe"
        elif silence.stage != "renewed" and self._may_reconnect(number, now_s):
            self._reconnect(number, now_s)
            silence.stage, action = ("told" if silence.stage == "told" else "renewed"), "reconnect"
        elif _tell(silence, now_s):
            action = "alert"
        else:
            return
        silence.acted_s = now_s
        yield Verdict(action, number, stream, now_s - silence.last_s, silence.per_s)

    def _judge_link(self, number: int, silence: _Silence, now_s: float) -> Iterator[Verdict]:
        silent_s = now_s - max(silence.last_s, silence.acted_s)
        if silent_s <= FLOOR_S:
            return
        if now_s >= silence.stale_s:
            self._refresh_link(number, silence, now_s)
        if silent_s <= silence.limit_s:
            return
        action: Action
        if self._may_reconnect(number, now_s):
            self._reconnect(number, now_s)
            silence.stage, action = ("told" if silence.stage == "told" else "renewed"), "reconnect"
        elif _tell(silence, now_s):
            action = "alert"
        else:
            return
        silence.acted_s = now_s
        yield Verdict(action, number, None, now_s - silence.last_s, silence.per_s)

    def _may_reconnect(self, number: int, now_s: float) -> bool:
        return now_s - self._reconnected_s.get(number, float("-inf")) >= CALM_S

    def _reconnect(self, number: int, now_s: float) -> None:
        """A new connection asks for every stream anew: those under suspicion need not be asked for again."""
        self._reconnected_s[number] = now_s
        for stream, other in self._watched.items():
            silence = self._streams[stream]
            if other == number and silence.stage == "asked":
                silence.stage, silence.acted_s = "renewed", now_s

    def _ended(self, stream: Stream, silence: _Silence, now_s: float) -> None:
        """Data of a stream after a silence."""
        link = self._links[self._watched[stream]]
        acted_s = max(silence.acted_s, link.acted_s)
        if silence.stage != "well" and now_s - acted_s <= SETTLE_S:
            return
        # What we may have ended is no example of how long it can be; nor is what a person was called for.
        if silence.stage != "told" and link.told_s < silence.last_s:
            self.expectation.silence_ended(stream, now_s - max(silence.last_s, acted_s), now_s)
        if silence.stage != "well":
            self._well(self._watched[stream], stream, silence, now_s)
        silence.stale_s = now_s

    def _well(self, number: int, stream: Stream | None, silence: _Silence, now_s: float) -> None:
        if silence.stage == "told":
            self._recovered.append(Verdict("recovered", number, stream, now_s - silence.last_s, silence.per_s))
        silence.stage = "well"

    def _follow(self, watched: dict[Stream, int], now_s: float) -> None:
        """Streams came, went, or moved to another link. A suspicion outlives the reconnect it led to."""
        for stream in self._watched.keys() - watched.keys():
            _leave(self._streams, self._away, stream)
        for stream in watched.keys() - self._watched.keys():
            self._streams[stream] = _back(self._away, stream, now_s)
        numbers = set(watched.values())
        for number in self._links.keys() - numbers:
            _leave(self._links, self._links_away, number)
        for number in numbers - self._links.keys():
            self._links[number] = _back(self._links_away, number, now_s)
        self._watched = watched

    # ---- the limits ------------------------------------------------------------------------------------

    def _refresh(self, stream: Stream, silence: _Silence, now_s: float) -> None:
        if now_s < silence.stale_s:
            return
        per_s, known, longest_s = self.expectation.rate(stream, now_s)
        floor_s = FLOOR_S if known else max(FLOOR_S, self._max_no_data_s)
        silence.per_s, silence.known = per_s, known
        silence.limit_s = max(floor_s, _EVENTS / per_s, _MARGIN * longest_s)
        silence.stale_s = _until(now_s)

    def _refresh_link(self, number: int, silence: _Silence, now_s: float) -> None:
        """Silent together is less likely than silent alone: the rates add up, the shortest usual silence bounds."""
        rates = [self.expectation.rate(stream, now_s) for stream, other in self._watched.items() if other == number]
        known = [rate for rate in rates if rate.known]
        silence.per_s = sum(rate.per_s for rate in known)
        silence.known = bool(known)
        limits_s = []
        if known:
            longest_s = min(rate.longest_s for rate in known)
            limits_s.append(max(FLOOR_S, _EVENTS / silence.per_s, _MARGIN * longest_s))
        if len(known) < len(rates):
            limits_s.append(max(FLOOR_S, self._max_no_data_s))
        silence.limit_s = min(limits_s)
        silence.stale_s = _until(now_s)


def _tell(silence: _Silence, now_s: float) -> bool:
    """Where we know what to expect, the state is bad from now on; a person is called for it once in `CALM_S`."""
    if silence.stage == "told" or not silence.known:
        return False
    silence.stage = "told"
    if now_s - silence.told_s < CALM_S:
        return False
    silence.told_s = now_s
    return True


def _leave(here: dict[Key, _Silence], away: dict[Key, _Silence], key: Key) -> None:
    silence = here.pop(key)
    if silence.stage != "well":
        away[key] = silence


def _back(away: dict[Key, _Silence], key: Key, now_s: float) -> _Silence:
    silence = away.pop(key, None)
    if silence is None or now_s - silence.acted_s > CALM_S:
        return _Silence(now_s)
    silence.last_s = silence.acted_s = now_s  # what comes first is a snapshot
    return silence


def _until(now_s: float) -> float:
    """A limit holds for a while, and not beyond its hour."""
    return min(now_s + _FRESH_S, (now_s // 3600 + 1) * 3600)

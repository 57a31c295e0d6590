"""The subscriptions of a session and the venue's answers. Pure: takes `now`, returns the streams to request.

All streams are requested at once. If the venue refuses without naming a stream, or leaves a few unanswered, those are
requested one by one, so that the refusal finds its stream and the others live. Where many are unanswered (tokens of
markets that ended), they are requested together once more: one by one would take hours.

A refused stream is requested again later: soon and then ever less often where no answer came, which may have been our
fault or that of a busy machine; after AGAIN_S where the venue said no, since listings change.
"""

from collections.abc import Iterable

import msgspec

from recorder.events import Accepted, Refused, Stream

ANSWER_S = 10.0
AGAIN_S = 300.0
UNANSWERED_AGAIN_S = 15.0  # doubled each time, up to AGAIN_S
FEW = 8
QUIET_S = 2.0  # one request may be several frames, each with its refusal: the last must not hit the next stream
_NO_ANSWER = f"no answer in {ANSWER_S:.0f} s, twice"


class RefusedStream(msgspec.Struct):
    """A stream that is not delivered."""

    reason: str
    retry_at_s: float  # monotonic; infinite while an answer is awaited
    unanswered: int = 0  # times in a row that no answer came


class Subscriber:
    """The subscriptions of one session.

    Attributes:
        accepted: Streams that the venue delivers.
        refused: Streams that it does not deliver; one stays here while it is requested again.
    """

    def __init__(self) -> None:
        self.accepted: set[Stream] = set()
        self.refused: dict[Stream, RefusedStream] = {}
        self._pending: dict[Stream, float] = {}  # requested together -> when to stop waiting
        self._twice: set[Stream] = set()  # those of `_pending` that are requested together for the second time
        self._singly: list[Stream] = []  # to be requested one by one
        self._alone: tuple[Stream, float] | None = None  # the one requested alone, and until when
        self._unnamed_refusal = False  # a refusal that names no stream came since the last tick
        self._quiet_until_s = float("-inf")  # no stream is requested alone before

    @property
    def settled(self) -> bool:
        """Whether every stream is accepted or refused."""
        return all(stream in self.refused for stream in self._awaited())

    @property
    def waiting(self) -> bool:
        """Whether the data of some stream would be news: it is not accepted yet."""
        return bool(self._pending or self._singly or self._alone or self.refused)

    def ask(self, streams: Iterable[Stream], now_s: float) -> None:
        """Note that these streams are requested together now."""
        self._pending |= dict.fromkeys(streams, now_s + ANSWER_S)

    def drop(self, streams: Iterable[Stream]) -> None:
        """Note that these streams are ended."""
        for stream in streams:
            self._answered(stream)
            self.accepted.discard(stream)
            self.refused.pop(stream, None)

    def take(self, answer: Accepted | Refused) -> Refused | None:
        """Note an answer.

        Returns:
            A refusal that is certain of its stream; None otherwise.
        """
        if isinstance(answer, Accepted):
            self.live(answer.stream)
            return None
        if answer.stream is not None:
            self._answered(answer.stream)
            return answer
        self._unnamed_refusal = True
        if self._alone is not None:
            stream = self._alone[0]
            self._alone = None
            return Refused(stream, answer.reason)
        self._singly += self._pending
        self._pending = {}
        return None

    def live(self, stream: Stream) -> None:
        """Note that a stream was accepted, or that its data came, which means the same."""
        self.accepted.add(stream)
        self.refused.pop(stream, None)
        self._answered(stream)

    def put_off(self, refusal: Refused, now_s: float, *, unanswered: bool = False) -> float:
        """Note that a stream was refused; it is requested again later.

        Args:
            refusal: Names the stream.
            now_s: Monotonic.
            unanswered: Whether no answer came at all.

        Returns:
            Seconds until it is requested again.
        """
        assert refusal.stream is not None
        known = self.refused.get(refusal.stream)
        times = 0 if known is None or not unanswered else known.unanswered
        retry_s = min(AGAIN_S, UNANSWERED_AGAIN_S * 2.0 ** min(times, 16)) if unanswered else AGAIN_S
        self.refused[refusal.stream] = RefusedStream(refusal.reason, now_s + retry_s, times + unanswered)
        return retry_s

    def tick(self, now_s: float) -> tuple[list[Stream], list[Refused]]:
        """Return the streams to request now, together, and those that were never answered."""
        late = [stream for stream, until_s in self._pending.items() if now_s >= until_s]
        for stream in late:
            del self._pending[stream]
        unanswered = [Refused(stream, _NO_ANSWER) for stream in late if stream in self._twice]
        again = [stream for stream in late if stream not in self._twice]
        self._twice.difference_update(late)
        if len(again) > FEW:
            self._twice.update(again)
            self.ask(again, now_s)
            return again, unanswered
        self._singly += again
        if self._alone is not None and now_s >= self._alone[1]:
            unanswered.append(Refused(self._alone[0], _NO_ANSWER))
            self._alone = None
        retries = self._retries(now_s)
        if len(retries) > FEW:
            self.ask(retries, now_s)
            return retries, unanswered
        self._singly += retries
        if self._unnamed_refusal:
            self._unnamed_refusal = False
            self._quiet_until_s = now_s + QUIET_S
        if self._alone is None and self._singly and not self._pending and now_s >= self._quiet_until_s:
            stream = self._singly.pop(0)
            self._alone = (stream, now_s + ANSWER_S)
            return [stream], unanswered
        return [], unanswered

    def _retries(self, now_s: float) -> list[Stream]:
        retries = [stream for stream, refused in self.refused.items() if now_s >= refused.retry_at_s]
        for stream in retries:
            self.refused[stream].retry_at_s = float("inf")
        return retries

    def _awaited(self) -> Iterable[Stream]:
        yield from self._pending
        yield from self._singly
        if self._alone is not None:
            yield self._alone[0]

    def _answered(self, stream: Stream) -> None:
        self._pending.pop(stream, None)
        self._twice.discard(stream)
        if stream in self._singly:
            self._singly.remove(stream)
        if self._alone is not None and self._alone[0] == stream:
            self._alone = None

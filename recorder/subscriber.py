"""What a session has asked for and what was answered. Pure: takes `now`, returns frames to send.

All streams are asked for at once. If the venue refuses without saying which, or leaves a few unanswered,
those are asked for one by one, so that the refusal finds its stream and the others live. Where many are left
unanswered (tokens of markets that ended), they are asked for together once more: one by one would take hours.
"""

from collections.abc import Iterable

from recorder.events import Accepted, Refused, Stream
from recorder.venues.base import Requests

ANSWER_S = 10.0
AGAIN_S = 300.0
FEW = 8
QUIET_S = 2.0  # one request may be several frames, each with its refusal: the last must not blame the next stream
_SILENCE = f"no answer in {ANSWER_S:.0f} s, twice"


class Subscriber:
    """The subscriptions of one session."""

    def __init__(self, requests: Requests) -> None:
        """
        Args:
            requests: Makes the frames of this connection.
        """
        self._requests = requests
        self._pending: dict[Stream, float] = {}  # asked together -> when to stop waiting
        self._twice: set[Stream] = set()  # of these, asked together for the second time
        self._singly: list[Stream] = []  # to be asked one by one
        self._asked: tuple[Stream, float] | None = None  # the one asked alone, and until when
        self._heard = False  # a refusal without a name, since the last tick
        self._quiet_until_s = float("-inf")  # nothing is asked alone before
        self.refused: dict[Stream, tuple[str, float]] = {}  # reason, and when to ask again
        self.accepted: set[Stream] = set()

    @property
    def settled(self) -> bool:
        """Whether every stream is answered."""
        return not (self._pending or self._singly or self._asked)

    def ask(self, streams: Iterable[Stream], now_s: float) -> list[str]:
        """Frames that ask for these streams."""
        streams = list(streams)
        self._pending |= dict.fromkeys(streams, now_s + ANSWER_S)
        return self._requests.subscribe(streams)

    def drop(self, streams: Iterable[Stream]) -> list[str]:
        """Frames that end these streams."""
        streams = list(streams)
        for stream in streams:
            self._forget(stream)
            self.accepted.discard(stream)
            self.refused.pop(stream, None)
        return self._requests.unsubscribe(streams)

    def take(self, answer: Accepted | Refused) -> Refused | None:
        """Note an answer.

        Returns:
            A refusal that is certain of its stream; None otherwise.
        """
        if isinstance(answer, Accepted):
            self.live(answer.stream)
            return None
        if answer.stream is not None:
            self._forget(answer.stream)
            return answer
        self._heard = True
        if self._asked is not None:
            stream = self._asked[0]
            self._asked = None
            return Refused(stream, answer.reason)
        self._singly += self._pending
        self._pending = {}
        return None

    def live(self, stream: Stream) -> None:
        """A stream was accepted, or its data came, which says the same."""
        self.accepted.add(stream)
        self.refused.pop(stream, None)
        self._forget(stream)

    def put_off(self, refusal: Refused, now_s: float) -> None:
        """A stream was refused: it is asked for again later, since listings change."""
        if refusal.stream is not None:
            self.refused[refusal.stream] = (refusal.reason, now_s + AGAIN_S)

    def tick(self, now_s: float) -> tuple[list[str], list[Refused]]:
        """Frames that are due now, and streams that never were answered."""
        late = [stream for stream, until_s in self._pending.items() if now_s >= until_s]
        for stream in late:
            del self._pending[stream]
        unanswered = [Refused(stream, _SILENCE) for stream in late if stream in self._twice]
        again = [stream for stream in late if stream not in self._twice]
        self._twice.difference_update(late)
        if len(again) > FEW:
            self._twice.update(again)
            return self.ask(again, now_s), unanswered
        self._singly += again
        if self._asked is not None and now_s >= self._asked[1]:
            unanswered.append(Refused(self._asked[0], _SILENCE))
            self._asked = None
        due = [stream for stream, (_, due_s) in self.refused.items() if now_s >= due_s]
        for stream in due:
            del self.refused[stream]
        if len(due) > FEW:
            return self.ask(due, now_s), unanswered
        self._singly += due
        if self._heard:
            self._heard = False
            self._quiet_until_s = now_s + QUIET_S
        if self._asked is None and self._singly and not self._pending and now_s >= self._quiet_until_s:
            stream = self._singly.pop(0)
            self._asked = (stream, now_s + ANSWER_S)
            return self._requests.subscribe([stream]), unanswered
        return [], unanswered

    def _forget(self, stream: Stream) -> None:
        self._pending.pop(stream, None)
        self._twice.discard(stream)
        if stream in self._singly:
            self._singly.remove(stream)
        if self._asked is not None and self._asked[0] == stream:
            self._asked = None

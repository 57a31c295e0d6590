"""Whether to ask the venue's REST service about a silence before something is done about it. Pure.

A silence that would lead to a remedy is first put to the service as a question, about the stream or about the streams
of its link that should bring most. Its answers decide:

- `dead` for any of them: the remedy follows at once.
- `quiet` for all of them: it is put off, for as long as the silence was to be suspicious, at least `HOLD_MIN_S`, and
  doubled each time, up to `HOLD_MAX_S`. Then the question is asked again. When data comes the silence has ended by
  itself, and is learned: the same silence is not suspicious again. After `QUIET_MAX` times the remedy follows all the
  same: a cache of REST may say for ever that nothing was traded.
- otherwise, or without an answer in `ANSWER_S`: the remedy follows as if nothing was asked.

About one silence there is a question every `ASK_EVERY_S` at most, and ever fewer while it lasts.
"""

from collections.abc import Collection
from typing import Literal

import msgspec

from recorder.events import Stream

ANSWER_S = 30.0
ASK_EVERY_S = 60.0
_DOUBLINGS = 5  # of the time between two questions about one silence
HOLD_MIN_S = 60.0
HOLD_MAX_S = 900.0
QUIET_MAX = 4
STREAMS_OF_A_LINK = 3

Answer = Literal["quiet", "dead", "unknown"]
Advice = Literal["ask", "wait", "act", "quiet"]


class Consultation(msgspec.Struct):
    """The questions about one silence.

    Attributes:
        quiet: How many times in a row the answer was quiet.
        evidence: The last answer.
    """

    quiet: int = 0
    evidence: Answer | None = None
    held_until_s: float = float("-inf")
    asked_s: float = float("-inf")
    asked: int = 0
    open: dict[Stream, Answer | None] | None = None

    def advise(self, streams: Collection[Stream], limit_s: float, now_s: float) -> Advice:
        """Return what to do about a silence that calls for a remedy: `ask` about these streams, `wait`, or `act`.

        Args:
            streams: That can be asked about.
            limit_s: From which on the silence is suspicious.
            now_s: Unix time.

        Returns:
            `quiet` where all answers have just said so, once.
        """
        if now_s < self.held_until_s:
            return "wait"
        if self.open is None:
            if not streams or now_s - self.asked_s < ASK_EVERY_S * 2.0 ** min(self.asked, _DOUBLINGS):
                return "act"
            self.open, self.asked_s = dict.fromkeys(streams), now_s
            self.asked += 1
            return "ask"
        answers = set(self.open.values())
        if "dead" not in answers and None in answers and now_s - self.asked_s < ANSWER_S:
            return "wait"
        self.open = None
        if answers == {"quiet"}:
            self.evidence, self.asked = "quiet", 0  # the next question comes when the time is over
            if self.quiet >= QUIET_MAX:
                self.quiet = 0
                return "act"
            self.quiet += 1
            hold_s = max(HOLD_MIN_S, limit_s) * 2.0 ** min(self.quiet - 1, _DOUBLINGS)
            self.held_until_s = now_s + min(HOLD_MAX_S, hold_s)
            return "quiet"
        self.evidence, self.quiet = ("dead" if "dead" in answers else "unknown"), 0
        return "act"

    def answered(self, stream: Stream, answer: Answer) -> None:
        """Note an answer; one that is not expected is ignored."""
        if self.open is not None and stream in self.open:
            self.open[stream] = answer

    def ended(self) -> None:
        """Note that data came."""
        self.open, self.evidence, self.quiet, self.asked, self.held_until_s = None, None, 0, 0, float("-inf")

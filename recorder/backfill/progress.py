"""What is asked for, and how far it was read, as rows of `backfill` and `backfill_range`. Pure."""

from typing import Literal

import msgspec

from recorder.identity import instrument_id, stable_hash64

What = Literal["trades", "candles"]
State = Literal["running", "done", "short", "stopped"]
Grade = Literal["proved", "claimed"]


class Asked(msgspec.Struct, frozen=True):
    """A time whose history is asked for; instants in nanoseconds."""

    venue: str
    symbol: str
    what: What
    since_ns: int  # included
    until_ns: int  # excluded
    asked_ns: int = 0

    @property
    def instrument_id(self) -> int:
        """The instrument."""
        return instrument_id(self.venue, self.symbol)

    @property
    def backfill_id(self) -> int:
        """The number of the question; it follows from what is asked for."""
        return stable_hash64(f"backfill:{self.venue}:{self.symbol}:{self.what}:{self.since_ns}:{self.until_ns}")


class Progress(msgspec.Struct):
    """How far a backfill has read.

    Attributes:
        state: As in `backfill_range`; so are all others.
        rising: Whether it reads from the begin to the end, else from the end to the begin.
        begin_ns: Where the history begins that is read from its begin; None where it is not known to begin later than
            what is asked for.
    """

    rising: bool
    state: State = "running"
    grade: Grade | None = None
    reason: str | None = None
    edge_id: int | None = None
    edge_ns: int | None = None
    witnessed: bool = False
    answers: int = 0
    listed: int = 0
    controls: int = 0
    missing: int = 0
    revision: int = 0
    begin_ns: int | None = None

    def span(self, asked: Asked) -> tuple[int, int]:
        """Return the begin and the end of what was read so far."""
        if self.state == "done":
            return asked.since_ns, asked.until_ns
        begin_ns = asked.since_ns if self.rising else asked.until_ns
        edge_ns = begin_ns if self.edge_ns is None else min(max(self.edge_ns, asked.since_ns), asked.until_ns)
        if not self.rising:
            return edge_ns, asked.until_ns
        since_ns = asked.since_ns if self.begin_ns is None else max(self.begin_ns, asked.since_ns)
        return min(since_ns, max(edge_ns, asked.since_ns)), edge_ns

    def row(self, asked: Asked) -> tuple[object, ...]:
        """Return the row of `backfill_range`."""
        return (
            asked.backfill_id, asked.instrument_id, self.state, self.grade, self.reason, *self.span(asked),
            self.edge_id, self.edge_ns, self.witnessed, self.answers, self.listed, self.controls, self.missing,
            self.revision,
        )  # fmt: skip

    def is_due(self, asked: Asked) -> bool:
        """Return whether there is more to read: it runs, or it was asked for again after it ended short."""
        return self.state == "running" or (self.state in ("short", "stopped") and asked.asked_ns > self.revision)

    def begin_again(self) -> None:
        """Go on with what ended short or was stopped, from its begin where nothing beyond that was listed."""
        self.state, self.grade, self.reason = "running", None, None
        if not self.witnessed:
            self.edge_id = self.edge_ns = self.begin_ns = None
            self.listed = self.controls = self.missing = 0

    def stop(self, reason: str) -> None:
        """End with an answer that proves nothing."""
        self.state, self.grade, self.reason = "stopped", None, reason

    def finish(self, *, crossed: bool, at_begin: bool, unproved: str, short: bool) -> None:
        """End with everything read that the venue lists.

        Args:
            crossed: Whether it listed a trade beyond the far end.
            at_begin: Whether the first trade of the market was listed, so that there is nothing before it.
            unproved: What the far end is like without that.
            short: Whether something is known to be missing there.
        """
        if short:
            self.state, self.grade, self.reason = "short", None, unproved
            return
        self.state = "done"
        far = crossed or (at_begin and not self.rising)
        near = self.witnessed or (at_begin and self.rising)
        if far and near and not self.missing:
            self.grade, self.reason = "proved", None
            return
        self.grade = "claimed"
        if self.missing:
            self.reason = f"the venue does not list {self.missing} ids; each is in a gap"
        elif not far:
            self.reason = unproved
        else:
            self.reason = "no trade beyond the end where the read began was listed"

"""The state of each stream across sessions, and the gaps that follow from it. Pure: no clock, no I/O.

A stream is complete as long as one session delivers it in order, and, where its ids rise by one, as long as they
do. Everything else opens a gap. The gap ends with the first data that is good again, and holds both ends
exactly: by receipt time, by the venue's time, and by id where there are ids.

Ids prove, times only help. A stamp of the venue may be wrong by a day, and our own clock may be set; so a higher id
always counts, what is remembered of a stamp stays close to its receipt, and a gap never ends before it begins.
"""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import msgspec

from recorder.capture.evidence.gap_states import NO_HISTORY, state_of
from recorder.capture.evidence.gap_times import AHEAD_NS, bounded, end_by_venue, resumed, since
from recorder.capture.evidence.late_rows import LostRange
from recorder.capture.evidence.missing_ranges import MissingRanges
from recorder.capture.evidence.restarts import before_restart, shows_restart
from recorder.events import Book, Channel, Gap, GapCause, Quote, Stream, Trade, Witness
from recorder.journal.block import StreamCheckpoint


class StreamState(msgspec.Struct, gc=False):
    """One stream."""

    stream: Stream
    since_ns: int
    session_id: int | None = None
    watched: bool = True
    last_id: int | None = None
    last_ts_event_ns: int | None = None
    gap: Gap | None = None  # open now
    missing: MissingRanges = msgspec.field(default_factory=MissingRanges)
    witness_id: int | None = None  # newest id that the venue named outside the stream
    first_id: int | None = None  # of this block; each checkpoint resets it
    first_ts_event_ns: int | None = None
    touched: bool = True  # since the last checkpoint
    active: bool = False  # since the last call of active_streams
    waiting: bool = False  # subscribed again and not accepted yet: late data of the old subscription ends no gap
    reset_id: int | None = None  # newest id before the venue restarted its ids, and the newest time then
    reset_ts_event_ns: int | None = None
    ahead_ts_event_ns: int | None = None  # the latest stamp of which `last_ts_event_ns` remembers only a part


class Continuity:
    """The streams of one recorder. Not safe for threads: the write buffer guards it."""

    def __init__(self, contiguous: frozenset[Channel], new_gap_id: Callable[[], int]) -> None:
        """
        Args:
            contiguous: Channels whose ids rise by exactly one per symbol.
            new_gap_id: Returns an id that no other gap has.
        """
        self._contiguous = contiguous
        self._new_gap_id = new_gap_id
        self.trades: dict[str, StreamState] = {}
        self.quotes: dict[str, StreamState] = {}
        self.books: dict[str, StreamState] = {}
        self._by_channel: dict[Channel, dict[str, StreamState]] = {
            "trade": self.trades, "quote": self.quotes, "book": self.books,
        }  # fmt: skip
        self._changed: list[Gap] = []  # gap revisions not yet taken
        self.gaps: dict[Channel, int] = {"trade": 0, "quote": 0, "book": 0}  # streams with an open gap

    # ---- between recorder and journal ------------------------------------------------------------------

    def restore(self, checkpoints: Iterable[StreamCheckpoint], last_frame_ns: Mapping[int, int], now_ns: int) -> None:
        """Restore the streams of an earlier process: each that it watched has a gap since its last frame.

        Our clock may have been set back since then. Such a gap begins when the venue made its newest message, because
        venues show how late it was for the earlier process by the clock of today.

        Args:
            checkpoints: As the journal has them.
            last_frame_ns: Receipt of the last frame of each session.
            now_ns: By our clock.
        """
        checkpoints = [bounded(one, last_frame_ns, now_ns) for one in checkpoints]
        stamps = [one.last_ts_event_ns for one in checkpoints if one.last_ts_event_ns is not None]
        newest_ns = min(max(stamps, default=now_ns), now_ns)
        for one in checkpoints:
            state = self._restored(one, now_ns)
            if state.gap is not None:
                if state.gap.started_ns > now_ns:
                    state.gap = since(state.gap, newest_ns)
                self._changed.append(state.gap)
            elif one.watched:
                started_ns = max(last_frame_ns.get(one.session_id or 0, one.since_ns), one.since_ns)
                self._open(state, "restart", min(started_ns, now_ns), None)
                if started_ns > now_ns and state.gap is not None:
                    self._changed[-1] = state.gap = since(state.gap, newest_ns)

    def take_over(self, checkpoints: Iterable[StreamCheckpoint], now_ns: int) -> set[Stream]:
        """Continue the streams of a process that has just stopped, and return those without a gap.

        Each of those belongs to a session of that process until one of ours claims it.
        """
        states = [self._restored(one, now_ns) for one in checkpoints]
        for state in states:
            state.missing.give_back()  # our journal does not have them
        return {state.stream for state in states if state.gap is None and state.watched}

    def _restored(self, one: StreamCheckpoint, now_ns: int) -> StreamState:
        """Return the state of a stream of an earlier process, which is now ours."""
        state = self._by_channel[one.channel][one.symbol] = StreamState(
            Stream(one.channel, one.symbol),
            min(one.since_ns, now_ns),
            one.session_id,
            one.watched,
            one.last_id,
            one.last_ts_event_ns,
            None if one.gap is None else resumed(one.gap),
            MissingRanges(one.missing or ()),
            reset_id=one.reset_id,
            reset_ts_event_ns=one.reset_ts_event_ns,
            ahead_ts_event_ns=one.ahead_ts_event_ns,
        )
        self.gaps[one.channel] += state.gap is not None
        return state

    def clock_set(self, step_ns: int) -> None:
        """Note that our clock was set while we run: gaps that are open began at another time by the new clock.

        Args:
            step_ns: By how much it is later now; negative when it was set back.
        """
        for states in self._by_channel.values():
            for state in states.values():
                if state.gap is not None:
                    state.touched = True
                    moved = since(state.gap, state.gap.started_ns + step_ns)
                    state.gap = msgspec.structs.replace(moved, revision=state.gap.revision + 1)
                    self._changed.append(state.gap)

    def take_gaps(self) -> list[Gap]:
        """Return the gap rows that changed since the last call."""
        changed, self._changed = self._changed, []
        return changed

    def give_back(self, gaps: list[Gap], checkpoints: Iterable[StreamCheckpoint]) -> None:
        """Note that the journal did not take these, so that they are returned again."""
        self._changed = gaps + self._changed
        for one in checkpoints:
            state = self._by_channel[one.channel][one.symbol]
            state.touched = True
            if one.first_id is not None:  # else the first data came after the checkpoint
                state.first_id = one.first_id
            if one.first_ts_event_ns is not None:
                state.first_ts_event_ns = one.first_ts_event_ns
            if one.missing is not None:
                state.missing.give_back()

    def shed(self, session_id: int, cause: GapCause, since_ns: int) -> None:
        """Set the streams of a session back to their last checkpoint: what it brought since then was dropped."""
        for states in self._by_channel.values():
            for state in states.values():
                if again := state.missing.drop(self._new_gap_id):
                    state.touched = True
                    self._changed += again
                brought = state.first_id is not None or state.first_ts_event_ns is not None
                if state.session_id != session_id and not brought:  # a reconnect may have come in between
                    continue
                if state.first_id is not None and state.stream.channel in self._contiguous:
                    state.last_id = state.first_id - 1
                if state.first_ts_event_ns is not None:
                    state.last_ts_event_ns = state.first_ts_event_ns
                state.first_id = state.first_ts_event_ns = None
                gap = state.gap
                if gap is None:
                    if state.watched:
                        self._open(state, cause, since_ns, session_id)
                elif gap.started_ns >= since_ns:  # it began after data that is now dropped: move its start before that
                    state.touched = True
                    state.gap = msgspec.structs.replace(
                        gap,
                        last_id=state.last_id,
                        started_ns=since_ns,
                        last_ts_event_ns=state.last_ts_event_ns,
                        revision=gap.revision + 1,
                    )
                    self._changed.append(state.gap)

    def take_checkpoints(self) -> list[StreamCheckpoint]:
        """Return the state of the streams touched since the last call; begin a new span of `first_*`."""
        checkpoints = []
        for states in self._by_channel.values():
            for state in states.values():
                if state.touched:
                    checkpoints.append(
                        StreamCheckpoint(
                            symbol=state.stream.symbol,
                            channel=state.stream.channel,
                            session_id=state.session_id,
                            watched=state.watched,
                            last_id=state.last_id,
                            last_ts_event_ns=state.last_ts_event_ns,
                            first_id=state.first_id,
                            first_ts_event_ns=state.first_ts_event_ns,
                            since_ns=state.since_ns,
                            gap=state.gap,
                            reset_id=state.reset_id,
                            reset_ts_event_ns=state.reset_ts_event_ns,
                            ahead_ts_event_ns=state.ahead_ts_event_ns,
                            missing=state.missing.take_checkpoint(),
                        )
                    )
                    if state.first_id is not None:  # the inlined path of the usual trade does not set `active`
                        state.active = True
                    state.touched, state.first_id, state.first_ts_event_ns = False, None, None
        return checkpoints

    def open_gaps(self) -> int:
        """Return how many watched streams have a gap now."""
        return sum(
            1 for states in self._by_channel.values() for state in states.values() if state.gap and state.watched
        )

    def oldest_gap_ns(self, ignored: Container[str]) -> int | None:
        """Return when the oldest gap of a watched stream began; None without one.

        Args:
            ignored: Symbols that do not count. Streams that the venue refuses never do.
        """
        begun = (
            state.gap.started_ns
            for states in self._by_channel.values()
            for symbol, state in states.items()
            if state.gap and state.watched and state.gap.cause != "refused" and symbol not in ignored
        )
        return min(begun, default=None)

    def state(self, stream: Stream) -> StreamState | None:
        """Return the state of a stream; None when it was never watched."""
        return self._by_channel[stream.channel].get(stream.symbol)

    # ---- subscriptions ---------------------------------------------------------------------------------

    def watch(self, stream: Stream, session_id: int | None, now_ns: int) -> None:
        """Account for a stream that is being subscribed in a session: from now on its absence is a gap."""
        states = self._by_channel[stream.channel]
        state = states.get(stream.symbol)
        if state is None:
            state = states[stream.symbol] = StreamState(stream, now_ns)
        state.session_id, state.watched, state.touched, state.witness_id = session_id, True, True, None
        state.waiting = False

    def unwatch(self, stream: Stream, last_frame_ns: int) -> None:
        """Note that a person ended a subscription: no fault, but a range without data all the same."""
        state = self.state(stream)
        if state is not None and state.watched:
            state.watched = False
            self._open(state, "unsubscribed", last_frame_ns, state.session_id)

    def lost(self, streams: Iterable[Stream], cause: GapCause, since_ns: int, session_id: int | None) -> None:
        """Open a gap for streams that may be missing data since `since_ns`; a gap that is open already goes on.

        Streams that another session carries by now are left alone.
        """
        for stream in streams:
            state = self.state(stream)
            if state is not None and session_id in (None, state.session_id):
                self._open(state, cause, since_ns, session_id)

    def silent(self, streams: Iterable[Stream], since_ns: int) -> None:
        """Open a gap for streams that should have brought something since a time; no id would show that later."""
        for stream in streams:
            state = self.state(stream)
            if state is not None and state.watched:
                self._open(state, "silent", since_ns, state.session_id)

    def declare(self, lost: LostRange, cause: GapCause, session_id: int | None) -> None:
        """Declare a range that has both ends, beside whatever gap of the stream is open."""
        gap = Gap.opened(
            self._new_gap_id(),
            lost.stream,
            cause,
            lost.started_ns,
            session_id=session_id,
            last_id=None,
            last_ts_event_ns=lost.last_ts_event_ns,
        )
        gap.ended_ns, gap.first_ts_event_ns = max(lost.started_ns, lost.ended_ns), lost.first_ts_event_ns
        gap.state, gap.reason = "unhealable", NO_HISTORY
        self._changed.append(gap)

    def interrupted(self, streams: Iterable[Stream], since_ns: int, session_id: int, *, books_unasked: bool) -> None:
        """Open a gap for streams that are being unsubscribed and subscribed again: messages in between are lost.

        With `books_unasked`, a snapshot may be of the old subscription: the venue sends some without being asked.
        """
        streams = [stream for stream in streams if self.owner(stream) == session_id]
        self.lost(streams, "disconnect", since_ns, session_id)
        for stream in streams:
            # Ids that rise by one prove by themselves what is missing, and a book has its snapshot.
            proves = not books_unasked if stream.channel == "book" else stream.channel in self._contiguous
            if not proves:
                self._by_channel[stream.channel][stream.symbol].waiting = True

    def owner(self, stream: Stream) -> int | None:
        """Return the session that carries a stream."""
        state = self.state(stream)
        return None if state is None else state.session_id

    def hand_over(self, stream: Stream, session_id: int) -> None:
        """Move a stream to another session; nothing is missing in between."""
        state = self.state(stream)
        if state is not None:
            state.session_id, state.touched, state.witness_id = session_id, True, None
            # The other session may have dropped it, or have waited for an answer to its own requests.
            state.watched, state.waiting = True, False

    def accepted(self, stream: Stream, now_ns: int, session_id: int) -> None:
        """Note that the venue delivers a stream from now on.

        Where ids prove nothing, that ends a gap of its trades: a quiet market must not seem incomplete for hours.
        """
        state = self.state(stream)
        if state is None or state.session_id != session_id or not state.watched:
            return
        state.waiting = False
        if state.gap is not None and stream.channel == "trade" and "trade" not in self._contiguous:
            state.touched = True
            self._close(state, now_ns, None, None, healed=False)

    def alive(self, stream: Stream) -> None:
        """Note that a stream lives although nothing is new: the venue repeated its last message."""
        state = self.state(stream)
        if state is not None:
            state.active = True

    def active_streams(self) -> list[Stream]:
        """Return the watched streams that delivered something since the last call."""
        active = []
        for states in self._by_channel.values():
            for state in states.values():
                if state.active:
                    state.active = False
                    if state.watched:
                        active.append(state.stream)
        return active

    # ---- data ------------------------------------------------------------------------------------------

    def trade(self, trade: Trade) -> None:
        """Account for a trade. The common case, the next id of a stream without a gap, is inlined in Ingest.take."""
        state = self.trades.get(trade.symbol)
        if state is None or not state.watched:  # on its way when the subscription ended: that gap goes on
            return
        state.touched = True
        trade_id, ts_ns = trade.trade_id, trade.ts_event_ns
        first_id = trade_id - trade.count + 1  # a merged print stands for this and all ids up to its own
        last_id = state.last_id
        if last_id is None or "trade" not in self._contiguous:
            if ts_ns < (state.last_ts_event_ns or 0):
                return  # repeated or overtaken: it does not show how far the stream is
            if state.gap is not None and not state.waiting:
                self._close(state, trade.ts_recv_ns, ts_ns, first_id, healed=False)
        elif before_restart(trade, state.reset_id, state.reset_ts_event_ns, state.ahead_ts_event_ns):
            return  # its id may be the next one of the new ids, or one that is missing among them
        elif first_id - 1 <= last_id < trade_id:
            if state.gap is not None:
                self._close(state, trade.ts_recv_ns, ts_ns, first_id, healed=True)
        elif trade_id > last_id:
            went_on = state.reset_id is not None and first_id - 1 <= state.reset_id < trade_id
            if state.gap is None and not went_on:
                self._open(state, "sequence", trade.ts_recv_ns, state.session_id)
            if state.gap is not None:
                # Also where the ids went on: after a real restart the same id shows that others are missing.
                self._close(state, trade.ts_recv_ns, ts_ns, first_id, healed=False)
        elif filled := state.missing.fill(trade_id, ts_ns, state.last_ts_event_ns, self._new_gap_id):
            self._changed += filled
            return
        elif shows_restart(trade, state.last_ts_event_ns, state.ahead_ts_event_ns):
            # A repeat with another stamp than before looks like a restart, until the ids go on where they were.
            if state.gap is not None:
                self._close(state, trade.ts_recv_ns, ts_ns, None, healed=False)
            self._open(state, "sequence_reset", trade.ts_recv_ns, state.session_id)
            self._close(state, trade.ts_recv_ns, ts_ns, first_id, healed=False)
            state.missing.clear()
            state.reset_id, state.reset_ts_event_ns = last_id, state.last_ts_event_ns
        else:
            return  # a repeat; the database drops it by its key
        if state.first_id is None:
            state.first_id = first_id
        self.advance(state, trade_id, ts_ns, trade.ts_recv_ns)

    def witness(self, witness: Witness, ts_recv_ns: int) -> None:
        """Account for the latest trade id that the venue named.

        It proves that nothing is missing, or, when it comes a second time, that something is.
        """
        state = self.trades.get(witness.symbol)
        if state is None or state.last_id is None or not state.watched:
            return
        if witness.trade_id == state.last_id:
            if state.gap is not None:
                self._close(state, ts_recv_ns, witness.ts_event_ns, state.last_id + 1, healed=True)
                state.touched = True
        elif state.witness_id is not None and state.witness_id > state.last_id:
            # It was named a heartbeat ago and is still not here. One heartbeat often overtakes trades; two do not.
            missing = state.witness_id
            if state.gap is None:
                self._open(state, "sequence", ts_recv_ns, state.session_id)
            self._close(state, ts_recv_ns, witness.ts_event_ns, missing + 1, healed=False)
            state.last_id, state.touched = missing, True
        state.witness_id = witness.trade_id

    def quote(self, quote: Quote, states: Mapping[str, StreamState]) -> None:
        """Account for a quote: an open gap of its stream, among those of a session, ends."""
        state = states.get(quote.symbol)
        if state is not None and state.gap is not None and state.watched and not state.waiting:
            self._close(state, quote.ts_recv_ns, quote.ts_event_ns, quote.sequence, healed=False)

    def book(self, book: Book, states: Mapping[str, StreamState]) -> None:
        """Account for a book message: a snapshot ends an open gap of its stream, a delta does not."""
        state = states.get(book.symbol)
        if state is not None and state.gap is not None and state.watched and book.snapshot and not state.waiting:
            self._close(state, book.ts_recv_ns, book.ts_event_ns, book.sequence, healed=False)

    def saw(self, states: Mapping[str, StreamState], events: Sequence[Quote | Book]) -> bool:
        """Note that streams without a gap are complete up to these events, given in the order they came.

        Returns:
            Whether every event is of a stream in `states`.
        """
        known = True
        if not events:
            return known
        earliest: dict[str, Quote | Book] = {}
        for symbol, event in {event.symbol: event for event in events}.items():
            state = states.get(symbol)
            if state is None:
                known = False
            elif state.gap is None:
                if state.first_ts_event_ns is None:
                    earliest = earliest or {event.symbol: event for event in reversed(events)}
                    first = earliest[symbol]
                    self.advance(state, first.sequence, first.ts_event_ns, first.ts_recv_ns)
                self.advance(state, event.sequence, event.ts_event_ns, event.ts_recv_ns)
        return known

    # ---- the moves -------------------------------------------------------------------------------------

    @staticmethod
    def advance(state: StreamState, number: int | None, ts_event_ns: int | None, ts_recv_ns: int) -> None:
        """Note that a stream is complete up to here."""
        state.touched = state.active = True
        if number is not None:
            state.last_id = number
            if state.first_id is None:
                state.first_id = number
        if ts_event_ns is not None:
            if ts_event_ns > ts_recv_ns + AHEAD_NS:
                state.ahead_ts_event_ns = max(ts_event_ns, state.ahead_ts_event_ns or 0)
                ts_event_ns = ts_recv_ns + AHEAD_NS
            if state.last_ts_event_ns is None or ts_event_ns > state.last_ts_event_ns:
                state.last_ts_event_ns = ts_event_ns
            if state.first_ts_event_ns is None:
                state.first_ts_event_ns = ts_event_ns

    def _open(self, state: StreamState, cause: GapCause, since_ns: int, session_id: int | None) -> None:
        if state.gap is not None:
            return
        state.touched = True
        self.gaps[state.stream.channel] += 1
        state.gap = Gap.opened(
            self._new_gap_id(),
            state.stream,
            cause,
            since_ns,
            session_id=session_id,
            last_id=state.last_id,
            # A stamp ahead of our clock does not show when the missing messages were made.
            last_ts_event_ns=None if state.last_ts_event_ns is None else min(state.last_ts_event_ns, since_ns),
        )
        self._changed.append(state.gap)

    def _close(
        self, state: StreamState, now_ns: int, ts_event_ns: int | None, first_id: int | None, *, healed: bool
    ) -> None:
        gap = state.gap
        assert gap is not None
        state.gap = None
        self.gaps[state.stream.channel] -= 1
        ended = msgspec.structs.replace(
            gap,
            first_id=first_id,
            # Our clock may have been set back by less than `clock_set` notices. The gap covers both times.
            started_ns=min(now_ns, gap.started_ns),
            ended_ns=max(now_ns, gap.started_ns),
            first_ts_event_ns=end_by_venue(gap, ts_event_ns, now_ns),
            revision=gap.revision + 1,
        )
        ended.state, ended.reason = state_of(gap, healed=healed)
        numbered = ended.state == "open" and gap.channel in self._contiguous
        if numbered and gap.last_id is not None and first_id is not None:
            state.missing.add(gap.last_id, first_id, ended)
        self._changed.append(ended)

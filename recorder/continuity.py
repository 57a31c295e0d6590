"""What is known of each stream across sessions, and the gaps that follow from it. Pure: no clock, no I/O.

A stream is whole as long as one session delivers it in order, and, where its ids rise by one, as long as they
do. Everything else opens a gap. The gap ends with the first data that is good again, and holds both ends
exactly: by receipt time, by the venue's time, and by id where there are ids.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from recorder.block import Mark
from recorder.events import Book, Channel, Gap, GapCause, Quote, Stream, Trade, Witness

_HOLES_REMEMBERED = 32
_LOST_REVISIONS = 100
NO_HISTORY = "the venue keeps no history of this channel"


class Hole(msgspec.Struct, gc=False):
    """Missing ids, exclusive at both ends, and the gap that declares them."""

    last_id: int
    first_id: int
    gap: Gap


class StreamState(msgspec.Struct, gc=False):
    """One stream."""

    stream: Stream
    since_ns: int
    session_id: int | None = None
    watched: bool = True
    last_id: int | None = None
    last_ts_event_ns: int | None = None
    gap: Gap | None = None  # open now
    holes: list[Hole] = []  # declared and over, but a late message may still fill them
    witness_id: int | None = None  # newest id the venue named elsewhere
    first_id: int | None = None  # of this block; the tape resets it
    first_ts_event_ns: int | None = None
    touched: bool = True  # since the last mark
    active: bool = False  # since the last look at what lives
    waiting: bool = False  # asked for anew, and not accepted yet: what still comes of the old subscription ends no gap


def _resumed(gap: Gap) -> Gap:
    """A gap that goes on after a restart.

    A power cut may take blocks that the database has: it may know later revisions of this gap, even its end. What
    we say from now on must win over those, or the time until the new end is declared nowhere.
    """
    return msgspec.structs.replace(gap, revision=gap.revision + _LOST_REVISIONS)


class Continuity:
    """The streams of one recorder. Its caller holds a lock where several links share it."""

    def __init__(self, contiguous: frozenset[Channel], new_gap_id: Callable[[], int]) -> None:
        """
        Args:
            contiguous: Channels whose ids rise by exactly one per symbol.
            new_gap_id: Gives ids no other gap has.
        """
        self._contiguous = contiguous
        self._new_gap_id = new_gap_id
        self.trades: dict[str, StreamState] = {}
        self.quotes: dict[str, StreamState] = {}
        self.books: dict[str, StreamState] = {}
        self._by_channel: dict[Channel, dict[str, StreamState]] = {
            "trade": self.trades,
            "quote": self.quotes,
            "book": self.books,
        }
        self._changed: list[Gap] = []  # gap revisions not yet taken
        self.gaps: dict[Channel, int] = {"trade": 0, "quote": 0, "book": 0}  # streams with an open gap

    # ---- between recorder and journal ------------------------------------------------------------------

    def restore(self, marks: Iterable[Mark], last_frame_ns: dict[int, int], now_ns: int) -> None:
        """Take over what an earlier process left: every stream it watched has a gap since its last frame."""
        for mark in marks:
            state = StreamState(
                Stream(mark.channel, mark.symbol),
                mark.since_ns,
                mark.session_id,
                mark.watched,
                mark.last_id,
                mark.last_ts_event_ns,
                None if mark.gap is None else _resumed(mark.gap),
            )
            self._by_channel[mark.channel][mark.symbol] = state
            if state.gap is not None:
                self.gaps[mark.channel] += 1
                self._changed.append(state.gap)
            elif mark.watched:
                started_ns = last_frame_ns.get(mark.session_id or 0, mark.since_ns)
                self._open(state, "restart", max(started_ns, mark.since_ns), None)

    def take_gaps(self) -> list[Gap]:
        """Gap rows that changed since the last call."""
        changed, self._changed = self._changed, []
        return changed

    def give_back(self, gaps: list[Gap], marks: Iterable[Mark]) -> None:
        """The journal did not take these: they are due again."""
        self._changed = gaps + self._changed
        for mark in marks:
            state = self._by_channel[mark.channel][mark.symbol]
            state.touched = True
            if mark.first_id is not None:  # else what came since the mark is the first there is
                state.first_id = mark.first_id
            if mark.first_ts_event_ns is not None:
                state.first_ts_event_ns = mark.first_ts_event_ns

    def shed(self, session_id: int, cause: GapCause, since_ns: int) -> None:
        """What a session brought since the last mark was let go: its streams stand where they stood then."""
        for states in self._by_channel.values():
            for state in states.values():
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
                elif gap.started_ns >= since_ns:  # it began after data that is now gone: it begins before it
                    state.touched = True
                    state.gap = msgspec.structs.replace(
                        gap,
                        last_id=state.last_id,
                        started_ns=since_ns,
                        last_ts_event_ns=state.last_ts_event_ns,
                        revision=gap.revision + 1,
                    )
                    self._changed.append(state.gap)

    def marks(self) -> list[Mark]:
        """Marks of the streams touched since the last call; begins a new span of `first_*`."""
        marks = []
        for states in self._by_channel.values():
            for state in states.values():
                if state.touched:
                    marks.append(
                        Mark(
                            state.stream.symbol,
                            state.stream.channel,
                            state.session_id,
                            state.watched,
                            state.last_id,
                            state.last_ts_event_ns,
                            state.first_id,
                            state.first_ts_event_ns,
                            state.since_ns,
                            state.gap,
                        )
                    )
                    if state.first_id is not None:  # the way of the usual trade; all else that is data says so itself
                        state.active = True
                    state.touched, state.first_id, state.first_ts_event_ns = False, None, None
        return marks

    def open_gaps(self) -> int:
        """How many watched streams have a gap now."""
        return sum(
            1 for states in self._by_channel.values() for state in states.values() if state.gap and state.watched
        )

    def state(self, stream: Stream) -> StreamState | None:
        """What is known of a stream; None when it was never watched."""
        return self._by_channel[stream.channel].get(stream.symbol)

    # ---- subscriptions ---------------------------------------------------------------------------------

    def watch(self, stream: Stream, session_id: int | None, now_ns: int) -> None:
        """A stream is wanted, and is being subscribed in a session. From now on its absence is a gap."""
        states = self._by_channel[stream.channel]
        state = states.get(stream.symbol)
        if state is None:
            state = states[stream.symbol] = StreamState(stream, now_ns)
        state.session_id, state.watched, state.touched, state.witness_id = session_id, True, True, None
        state.waiting = False

    def unwatch(self, stream: Stream, last_frame_ns: int) -> None:
        """A person ended a subscription: not a fault, but a range without data all the same."""
        state = self.state(stream)
        if state is not None and state.watched:
            state.watched = False
            self._open(state, "unsubscribed", last_frame_ns, state.session_id)

    def lost(self, streams: Iterable[Stream], cause: GapCause, since_ns: int, session_id: int | None) -> None:
        """These streams may be missing data since `since_ns`; a gap that is open already goes on.

        Those that another session carries by now are not concerned.
        """
        for stream in streams:
            state = self.state(stream)
            if state is not None and session_id in (None, state.session_id):
                self._open(state, cause, since_ns, session_id)

    def interrupted(self, streams: Iterable[Stream], since_ns: int, session_id: int) -> None:
        """These streams are being ended and begun again: what the venue has to say in between it says to nobody."""
        streams = [stream for stream in streams if self.owner(stream) == session_id]
        self.lost(streams, "disconnect", since_ns, session_id)
        for stream in streams:
            # Ids that rise by one prove by themselves what is missing, and a book has its snapshot.
            if stream.channel != "book" and stream.channel not in self._contiguous:
                self._by_channel[stream.channel][stream.symbol].waiting = True

    def owner(self, stream: Stream) -> int | None:
        """The session that carries a stream."""
        state = self.state(stream)
        return None if state is None else state.session_id

    def hand_over(self, stream: Stream, session_id: int) -> None:
        """Another session carries a stream from now on; nothing is missing in between."""
        state = self.state(stream)
        if state is not None:
            state.session_id, state.touched, state.witness_id = session_id, True, None

    def accepted(self, stream: Stream, now_ns: int, session_id: int) -> None:
        """The venue sends a stream from now on.

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
        """The venue repeated what it had said: nothing is new, and the stream lives."""
        state = self.state(stream)
        if state is not None:
            state.active = True

    def active_streams(self) -> list[Stream]:
        """Watched streams that brought something since the last call."""
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
        """Account for a trade. The common case, the next id of a stream without a gap, is inlined in the intake."""
        state = self.trades.get(trade.symbol)
        if state is None or not state.watched:  # on its way when the subscription ended: that gap goes on
            return
        state.touched = True
        trade_id, ts_ns = trade.trade_id, trade.ts_event_ns
        first_id = trade_id - trade.count + 1  # a merged print stands for this and all ids up to its own
        last_id = state.last_id
        if last_id is None or "trade" not in self._contiguous:
            if ts_ns < (state.last_ts_event_ns or 0):
                return  # told before, or overtaken: it says nothing of where the stream stands
            if state.gap is not None and not state.waiting:
                self._close(state, trade.ts_recv_ns, ts_ns, first_id, healed=False)
        elif first_id - 1 <= last_id < trade_id:
            if state.gap is not None:
                self._close(state, trade.ts_recv_ns, ts_ns, first_id, healed=True)
        elif trade_id > last_id:
            if ts_ns < (state.last_ts_event_ns or 0):
                return  # of the count before a reset, told again: a number of ours that is older than our newest
            if state.gap is None:
                self._open(state, "sequence", trade.ts_recv_ns, state.session_id)
            self._close(state, trade.ts_recv_ns, ts_ns, first_id, healed=False)
        elif self._fill(state, trade_id):
            return
        elif state.last_ts_event_ns is not None and ts_ns > state.last_ts_event_ns:
            # A lower id at a later time: the venue restarted its count. A repeat has an earlier time.
            if state.gap is not None:
                self._close(state, trade.ts_recv_ns, ts_ns, None, healed=False)
            self._open(state, "sequence_reset", trade.ts_recv_ns, state.session_id)
            self._close(state, trade.ts_recv_ns, ts_ns, first_id, healed=False)
            state.holes = []
        else:
            return  # a repeat; its key tells the database
        if state.first_id is None:
            state.first_id = first_id
        self.advance(state, trade_id, ts_ns)

    def witness(self, witness: Witness, ts_recv_ns: int) -> None:
        """The venue named its latest trade: proof that nothing is missing, or, the second time, that it is."""
        state = self.trades.get(witness.symbol)
        if state is None or state.last_id is None or not state.watched:
            return
        if witness.trade_id == state.last_id:
            if state.gap is not None:
                self._close(state, ts_recv_ns, witness.ts_event_ns, state.last_id + 1, healed=True)
                state.touched = True
        elif state.witness_id is not None and state.witness_id > state.last_id:
            # Named a heartbeat ago and still not here: trades overtaken by one heartbeat are usual, by two not.
            missing = state.witness_id
            if state.gap is None:
                self._open(state, "sequence", ts_recv_ns, state.session_id)
            self._close(state, ts_recv_ns, witness.ts_event_ns, missing + 1, healed=False)
            state.last_id, state.touched = missing, True
        state.witness_id = witness.trade_id

    def quote(self, quote: Quote) -> None:
        """Account for a quote of a stream with an open gap: it ends it."""
        state = self.quotes.get(quote.symbol)
        if state is not None and state.gap is not None and state.watched and not state.waiting:
            self._close(state, quote.ts_recv_ns, quote.ts_event_ns, quote.sequence, healed=False)

    def book(self, book: Book) -> None:
        """Account for a book message of a stream with an open gap: a snapshot ends it, a delta has no base."""
        state = self.books.get(book.symbol)
        if state is not None and state.gap is not None and state.watched and book.snapshot:
            self._close(state, book.ts_recv_ns, book.ts_event_ns, book.sequence, healed=False)

    def saw(self, states: dict[str, StreamState], events: Sequence[Quote | Book]) -> None:
        """Streams without a gap are whole up to these events, given in the order they came."""
        if not events:
            return
        earliest: dict[str, Quote | Book] = {}
        for symbol, event in {event.symbol: event for event in events}.items():
            state = states.get(symbol)
            if state is not None and state.gap is None:
                if state.first_ts_event_ns is None:
                    earliest = earliest or {event.symbol: event for event in reversed(events)}
                    self.advance(state, earliest[symbol].sequence, earliest[symbol].ts_event_ns)
                self.advance(state, event.sequence, event.ts_event_ns)

    # ---- the moves -------------------------------------------------------------------------------------

    @staticmethod
    def advance(state: StreamState, number: int | None, ts_event_ns: int | None) -> None:
        """The stream is whole up to here."""
        state.touched = state.active = True
        if number is not None:
            state.last_id = number
            if state.first_id is None:
                state.first_id = number
        if ts_event_ns is not None:
            if state.last_ts_event_ns is None or ts_event_ns > state.last_ts_event_ns:
                state.last_ts_event_ns = ts_event_ns
            if state.first_ts_event_ns is None:
                state.first_ts_event_ns = ts_event_ns

    def _open(self, state: StreamState, cause: GapCause, since_ns: int, session_id: int | None) -> None:
        if state.gap is not None:
            return
        state.touched = True
        self.gaps[state.stream.channel] += 1
        state.gap = Gap(
            self._new_gap_id(), state.stream.symbol, state.stream.channel, session_id, cause, "open", None,
            state.last_id, None, since_ns, None, state.last_ts_event_ns, None, 1,
        )  # fmt: skip
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
            ended_ns=max(now_ns, gap.started_ns),
            first_ts_event_ns=ts_event_ns,
            revision=gap.revision + 1,
        )
        channel = state.stream.channel
        if healed:
            ended.state, ended.reason = "healed", "the ids on both sides follow each other: nothing was missed"
        elif gap.cause == "sequence_reset":
            ended.state, ended.reason = "unhealable", "the venue began its ids anew"
        elif channel != "trade":
            ended.state, ended.reason = "unhealable", NO_HISTORY
        elif channel in self._contiguous and gap.last_id is not None and first_id is not None:
            state.holes = [*state.holes[1 - _HOLES_REMEMBERED :], Hole(gap.last_id, first_id, ended)]
        self._changed.append(ended)

    def _fill(self, state: StreamState, trade_id: int) -> bool:
        """Take a late trade out of the hole that declared it missing; False when none did."""
        for hole in state.holes:
            if hole.last_id < trade_id < hole.first_id:
                break
        else:
            return False
        gap = hole.gap
        if trade_id not in (hole.last_id + 1, hole.first_id - 1):  # in the middle: the upper part is a gap of its own
            upper = msgspec.structs.replace(gap, gap_id=self._new_gap_id(), last_id=trade_id, revision=1)
            state.holes = [*state.holes, Hole(trade_id, hole.first_id, upper)]
            self._changed.append(upper)
            hole.first_id = trade_id
        elif trade_id == hole.last_id + 1:
            hole.last_id = trade_id
        else:
            hole.first_id = trade_id
        hole.gap = msgspec.structs.replace(gap, last_id=hole.last_id, first_id=hole.first_id, revision=gap.revision + 1)
        if hole.last_id + 1 >= hole.first_id:
            hole.gap.state, hole.gap.reason = "healed", "all missing trades arrived late"
            state.holes = [other for other in state.holes if other is not hole]
        self._changed.append(hole.gap)
        return True

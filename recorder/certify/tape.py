"""Reads from journals what they say of some streams in some hours: rows, sessions, frames, gaps, checks of books.

Rows are those that the frames give when they are decoded again, or those that were recorded. An hour is that of the
venue's clock for trades and of ours for quotes and books, as in their tables.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from recorder.certify.candles import MARGIN_US, MINUTE_US, VenueBar, bar_of
from recorder.certify.document import HOUR_US, BookChecks, GapFact
from recorder.errors import DecodeError
from recorder.events import Channel
from recorder.identity import instrument_id
from recorder.journal.reader import Damaged, JournalReader, Part, StoredBlock, Unrepeated
from recorder.pgcopy.decode import conform, fields, is_null, number, split
from recorder.pgcopy.encode import COLUMNS
from recorder.pgcopy.scalars import PG_EPOCH_US
from recorder.position import Position
from recorder.replay.compare import TABLES, rows_in_block
from recorder.replay.redecode import Replayer
from recorder.venues.base import Decoder

CLOCK_MARGIN_US = 10**6
_ALL_BYTES = 1 << 62
_CLOCK_STEP_NS = 3600 * 10**9  # a corrected clock may make a block older than its predecessor
_EPOCH_HOURS = PG_EPOCH_US // HOUR_US


class StreamHour(NamedTuple):
    """One stream in one hour."""

    instrument_id: int
    channel: Channel
    begin_us: int  # microseconds since 1970

    @property
    def hour(self) -> int:
        """Hours since 1970."""
        return self.begin_us // HOUR_US


class TapeHour:
    """What journals say of a stream in an hour.

    Attributes:
        trades: Trades by the bytes of id and time, which are their key: of each the one received first.
        again: When trades were received once more, by their key: the bytes of ts_recv.
        others: Rows of quotes and books.
        decoded: How many rows the frames gave.
        past: Rows from the history of the venue, by trade id.
        bars: Candles of the venue, of the hour and of the time beside it.
        journals: Identities of the journals that carry the stream in the hour.
        reached_ns: When the last block was written that was read of a journal which carries the stream.
        gaps: All revisions of the gaps of the stream, by id and revision; few of them touch the hour.
        recorded: Verdicts on the book as the recorder counted them. It counts for times that may reach over the ends of
            the hour: what failed counts wherever such a time touches the hour, what passed where it lies inside.
        checks: Verdicts on the book that the frames of the hour give when they are decoded again.
    """

    def __init__(self, until_ns: int) -> None:
        self.until_ns = until_ns
        self.trades: dict[bytes, bytes] = {}
        self.again: dict[bytes, set[bytes]] = {}
        self.others: list[bytes] = []
        self.decoded = 0
        self.past: dict[int, bytes] = {}
        self.sessions: set[int] = set()
        self.frames = 0
        self.bars: list[VenueBar] = []
        self.recorded = BookChecks()
        self.checks = BookChecks()
        self.witnesses: Counter[str] = Counter()
        self.quarantined = 0
        self.damaged = 0
        self.gaps: dict[tuple[int, int], GapFact] = {}
        self.watched_from_us: int | None = None
        self.reached_ns = 0
        self.journals: set[str] = set()


class JournalRange(NamedTuple):
    """A part of a journal to read.

    Attributes:
        reader: The journal.
        first: Where the first session that matters began, or before.
        end: Blocks from here on are not read; None reads to the end.
        new_decoder: Returns the decoder of a new connection; None takes the rows as they were recorded.
        venue: Venue of its frames.
    """

    reader: JournalReader
    first: Position
    end: Position | None
    new_decoder: Callable[[], Decoder] | None
    venue: str


class Tape:
    """Collects what journals say of some streams in some hours.

    Args:
        wanted: The hours of streams, each with the time until which blocks count, nanoseconds since 1970.
    """

    def __init__(self, wanted: dict[StreamHour, int]) -> None:
        self.hours = {key: TapeHour(until_ns) for key, until_ns in wanted.items()}
        self._until_ns = max(wanted.values(), default=0)
        self._by_row: dict[tuple[str, bytes, int], TapeHour] = {
            (key.channel, key.instrument_id.to_bytes(8, "big", signed=True), key.hour - _EPOCH_HOURS): hour
            for key, hour in self.hours.items()
        }
        self._streams: dict[tuple[int, Channel], list[tuple[StreamHour, TapeHour]]] = defaultdict(list)
        for key, hour in self.hours.items():
            self._streams[key.instrument_id, key.channel].append((key, hour))
        self._ids: dict[tuple[str, str], int] = {}

    def read(self, part: JournalRange, progress: Callable[[Position], None] = lambda _: None) -> None:
        """Read a part of a journal of a recorder."""
        _RecorderJournal(self, part).read(progress)

    def read_history(self, part: JournalRange, keys: Collection[StreamHour]) -> None:
        """Read a part of the poller's journal: past trades, candles and revisions of gaps, of some of the hours."""
        for item in part.reader.read(part.first, _ALL_BYTES, bodies=False):
            if part.end is not None and item.position >= part.end:
                break
            if isinstance(item, Damaged):
                continue
            for table in {section.table for section in item.header.sections} & {"past_trade", "gap", "venue_bar"}:
                try:
                    rows = part.reader.part_of(item, table)
                except ValueError:
                    continue  # its gaps stay open
                if rows is not None:
                    self._take_history(rows, keys)

    def stop_ns(self) -> int:
        """Return the time after which no block counts."""
        return self._until_ns

    def id_of(self, venue: str, symbol: str) -> int:
        """Return the identity of an instrument."""
        found = self._ids.get((venue, symbol))
        if found is None:
            found = self._ids[venue, symbol] = instrument_id(venue, symbol)
        return found

    def hours_of(self, instrument: int, channel: Channel) -> Sequence[tuple[StreamHour, TapeHour]]:
        """Return the wanted hours of a stream."""
        return self._streams.get((instrument, channel), ())

    def take_rows(self, table: str, data: bytes, written_ns: int) -> None:
        """Take the rows of one table of a block."""
        trade = table == "trade"
        by_row = self._by_row
        for row in split(data):
            at = row[30:38] if trade else row[18:26]
            hour = by_row.get((table, row[6:14], int.from_bytes(at, "big", signed=True) // HOUR_US))
            if hour is None or written_ns >= hour.until_ns:
                continue
            hour.decoded += 1
            if trade:
                if hour.trades.setdefault(row[14:38], row) is not row:
                    hour.again.setdefault(row[14:38], set()).add(row[42:50])
            else:
                hour.others.append(row)

    def take_gaps(self, part: Part, written_ns: int) -> None:
        """Take the revisions of gaps in a block of a recorder."""
        for row in split(part.data):
            instrument, channel, fact = gap_of(dict(zip(part.columns, fields(row), strict=True)))
            for _, hour in self.hours_of(instrument, channel):
                if written_ns < hour.until_ns:
                    hour.gaps[fact.gap_id, fact.revision] = fact

    def _take_history(self, part: Part, keys: Collection[StreamHour]) -> None:
        for row in split(part.data):
            named = dict(zip(part.columns, fields(row), strict=True))
            if part.table == "gap":
                instrument, channel, fact = gap_of(named)
                for key, hour in self.hours_of(instrument, channel):
                    if key in keys:
                        hour.gaps[fact.gap_id, fact.revision] = fact
                continue
            if part.table == "venue_bar":
                self._take_bar(named, keys)
                continue
            at_hour = _instant_us(named["ts_event"]) // HOUR_US
            for key, hour in self.hours_of(number(named["instrument_id"]), "trade"):
                if key.hour == at_hour and key in keys:
                    trade = conform(row, part.columns, COLUMNS["trade"])
                    hour.past.setdefault(number(named["trade_id"]), trade)

    def _take_bar(self, named: dict[str, bytes], keys: Collection[StreamHour]) -> None:
        if int.from_bytes(named["interval_s"][4:], "big") != MINUTE_US // 10**6:
            return
        at_us = _instant_us(named["start"])
        for key, hour in self.hours_of(number(named["instrument_id"]), "trade"):
            if key in keys and key.begin_us - MARGIN_US <= at_us < key.begin_us + HOUR_US + MARGIN_US:
                hour.bars.append(bar_of(named))


class _RecorderJournal:
    """One reading of the journal of a recorder."""

    def __init__(self, tape: Tape, part: JournalRange) -> None:
        self._tape = tape
        self._part = part
        self._replayer: Replayer | None = None
        self._hour = -1
        self._session: dict[tuple[int, Channel], int] = {}  # that carries a stream now
        self._sessions: dict[tuple[int, Channel, int], set[int]] = defaultdict(set)
        self._frames: Counter[tuple[int, int]] = Counter()  # by session and hour
        self._quarantined: Counter[tuple[int | None, int, int]] = Counter()
        self._damaged: Counter[int] = Counter()
        self._named: set[tuple[int, Channel]] = set()
        self._written_ns = 0

    def read(self, progress: Callable[[Position], None]) -> None:
        """Read all blocks, then add what only the end of the reading decides."""
        part = self._part
        unrepeated = Unrepeated()
        for item in part.reader.read(part.first, _ALL_BYTES, with_frames=part.new_decoder is not None):
            if part.end is not None and item.position >= part.end:
                break
            progress(item.position)
            if isinstance(item, Damaged):
                self._damaged[_hour_of(self._written_ns)] += 1
                continue
            if not unrepeated.first(item):
                continue
            written_ns = item.header.written_ns
            if written_ns >= self._tape.stop_ns() + _CLOCK_STEP_NS:
                break
            self._written_ns = written_ns
            if written_ns < self._tape.stop_ns():
                self._block(item, written_ns)
        self._finish()

    def _block(self, block: StoredBlock, written_ns: int) -> None:
        hour = _hour_of(written_ns)
        if hour != self._hour:
            self._hour = hour
            for stream, session in self._session.items():
                self._sessions[*stream, hour].add(session)
        self._checkpoints(block, hour, written_ns)
        for run in block.header.runs:
            self._frames[run.session_id, _hour_of(run.last_ns)] += run.count
        self._damaged[hour] += bool(block.lost)
        for part in block.parts:
            if part.table == "gap":
                self._tape.take_gaps(part, written_ns)
            elif part.table in ("book_audit", "witness", "quarantine"):
                for row in split(part.data):
                    self._fact(part.table, dict(zip(part.columns, fields(row), strict=True)), written_ns)
        for table, data in self._rows(block).items():
            self._tape.take_rows(table, data, written_ns)

    def _rows(self, block: StoredBlock) -> dict[str, bytes]:
        part = self._part
        if part.new_decoder is None or not block.frames or "" in block.lost:
            return rows_in_block(block)[0]
        if self._replayer is None:
            self._replayer = Replayer(part.venue, part.new_decoder, part.reader.journal_id)
        decoded = self._replayer.block(block, part.reader.frames_of(block))
        for audited in decoded.audits:
            instrument = self._tape.id_of(part.venue, audited.symbol)
            for key, hour in self._tape.hours_of(instrument, "book"):
                if key.hour == audited.hour and block.header.written_ns < hour.until_ns:
                    hour.checks = _sum(hour.checks, msgspec.structs.asdict(audited.audit))
        return decoded.now

    def _checkpoints(self, block: StoredBlock, hour: int, written_ns: int) -> None:
        tape = self._tape
        for mark in block.header.checkpoints:
            stream = tape.id_of(self._part.venue, mark.symbol), mark.channel
            wanted = tape.hours_of(*stream)
            if not wanted:
                continue
            self._named.add(stream)
            if mark.session_id is None:
                self._session.pop(stream, None)
            else:
                self._session[stream] = mark.session_id
                self._sessions[*stream, hour].add(mark.session_id)
            for _, one in wanted:
                if written_ns < one.until_ns and mark.watched:
                    since_us = mark.since_ns // 1000
                    one.watched_from_us = min(since_us, one.watched_from_us or since_us)

    def _fact(self, table: str, named: dict[str, bytes], written_ns: int) -> None:
        instrument = None if is_null(named["instrument_id"]) else number(named["instrument_id"])
        if table == "quarantine":
            if _text(named["scope"]) == "frame" and not is_null(named["session_id"]):
                at = _instant_us(named["ts_recv"]) // HOUR_US
                self._quarantined[instrument, number(named["session_id"]), at] += 1
            return
        assert instrument is not None
        if table == "witness":
            at_us = _instant_us(named["asked_at"])
            for key, hour in self._tape.hours_of(instrument, _text(named["channel"])):  # type: ignore[arg-type]
                if key.hour == at_us // HOUR_US and written_ns < hour.until_ns:
                    hour.witnesses[_text(named["verdict"])] += 1
            return
        first, last = (_instant_us(named[name]) // HOUR_US for name in ("started_at", "ended_at"))
        found = {name: number(named[name]) for name in BookChecks.__struct_fields__}
        for key, hour in self._tape.hours_of(instrument, "book"):
            if first <= key.hour <= last and written_ns < hour.until_ns:
                hour.recorded = _sum(hour.recorded, found if first == last else {**found, "checksums_passed": 0})

    def _finish(self) -> None:
        for stream in self._named:
            for key, hour in self._tape.hours_of(*stream):
                if self._written_ns < key.begin_us * 1000:
                    continue  # it ended before, and another journal goes on
                hour.journals.add(self._part.reader.journal_id)
                hour.reached_ns = max(hour.reached_ns, self._written_ns)
                sessions = self._sessions.get((*stream, key.hour), set())
                hour.sessions |= sessions
                hour.frames += sum(self._frames[session, key.hour] for session in sessions)
                for session in sessions:
                    hour.quarantined += self._quarantined[None, session, key.hour]
                    hour.quarantined += self._quarantined[stream[0], session, key.hour]
                hour.damaged += self._damaged[key.hour]


def gap_of(named: dict[str, bytes]) -> tuple[int, Channel, GapFact]:
    """Return the instrument, the channel and the facts of a row of table gap, by column as COPY writes them."""
    channel = _text(named["channel"])
    if channel not in TABLES:
        raise DecodeError(f"a gap of the channel {channel!r}")
    fact = GapFact(
        gap_id=number(named["gap_id"]),
        revision=int.from_bytes(named["revision"][4:], "big"),
        cause=_text(named["cause"]),
        state=_text(named["state"]),  # type: ignore[arg-type]
        reason=None if is_null(named["reason"]) else _text(named["reason"]),
        last_id=None if is_null(named["last_id"]) else number(named["last_id"]),
        first_id=None if is_null(named["first_id"]) else number(named["first_id"]),
        from_us=_instant_us(named["started_at"]),
        until_us=None if is_null(named["ended_at"]) else _instant_us(named["ended_at"]),
    )
    return number(named["instrument_id"]), channel, fact  # type: ignore[return-value]


def _sum(checks: BookChecks, more: Mapping[str, int]) -> BookChecks:
    return BookChecks(**{name: getattr(checks, name) + more[name] for name in BookChecks.__struct_fields__})


def touches(gap: GapFact, begin_us: int) -> bool:
    """Return whether a gap touches an hour. Gaps are by our clock and trades by the venue's, hence a margin."""
    begins_before = gap.from_us - CLOCK_MARGIN_US < begin_us + HOUR_US
    return begins_before and (gap.until_us is None or gap.until_us + CLOCK_MARGIN_US >= begin_us)


def _hour_of(at_ns: int) -> int:
    return at_ns // (HOUR_US * 1000)


def _instant_us(field: bytes) -> int:
    return number(field) + PG_EPOCH_US


def _text(field: bytes) -> str:
    return field[4:].decode(errors="replace")

"""Makes certificates of settled hours: reads the journals of a venue once, and compares them with what is stored."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

import recorder
from recorder.certify.candles import compare
from recorder.certify.database import Database, LoadedJournal, instant
from recorder.certify.document import HOUR_US, Certificate, GapFact, JournalFact, Replayed, hour_text
from recorder.certify.gaps import all_gaps, same_gaps
from recorder.certify.grade import feed_of_grade, grade, rules_of
from recorder.certify.hour import checks_of, differences, least_delay_us, rows_of
from recorder.certify.segments import SegmentHashes, journals_in, size_of
from recorder.certify.tape import JournalRange, StreamHour, Tape, TapeHour
from recorder.journal.block import FILE_HEADER
from recorder.journal.reader import JournalReader, segment_path, segments
from recorder.position import Position
from recorder.venues import VENUES
from recorder.venues.base import Venue

POLLS = "poller"  # the recorder's name in the journal of past trades
SETTLED_US = 120 * 10**6
"""Blocks of this time after an hour belong to it: what was on its way, audits of books, ends of gaps."""

LOADED_US = 60 * 10**6
"""The journal must be loaded until this long after an hour."""

_NEXT_TRADE_US = HOUR_US  # the trade after an hour is awaited for this long
_RECEIVED_US = 5 * 10**6  # after the receipt of a trade its block is written


class Unsettled(NamedTuple):
    """An hour of a stream that cannot be certified yet."""

    key: StreamHour
    symbol: str
    reason: str


class Journals:
    """The journals of a folder that belong to one venue, and that of the poller, as far as they are loaded.

    Args:
        folder: Settings' journal.dir.
        venue: Name of the venue; several feeds may have it.
        loaded: How far the database has loaded each journal.
    """

    def __init__(self, folder: Path, venue: str, loaded: Mapping[str, LoadedJournal]) -> None:
        self.recorders: list[JournalReader] = []
        self.polls: JournalReader | None = None
        self._loaded = loaded
        self._began: dict[str, list[tuple[int, int]]] = {}  # segments of each journal, and when each began
        for journal_id, path in journals_in(folder).items():
            if journal_id not in loaded or not segments(path):
                continue
            reader = JournalReader(path)
            times = [(number, reader.began_ns(number)) for number in segments(path)]
            self._began[journal_id] = [(number, began_ns) for number, began_ns in times if began_ns is not None]
            if path.name == POLLS:
                self.polls = reader
                continue
            next(reader.read(reader.first(), 1, bodies=False), None)  # a checkpoint names the venue
            if reader.venue == venue:
                self.recorders.append(reader)
            else:
                reader.close()

    def end(self, reader: JournalReader) -> Position:
        """Return how far a journal is loaded."""
        return self._loaded[reader.journal_id].end

    def segment_at(self, reader: JournalReader, at_us: int) -> int:
        """Return the segment that was written at a time; the first one where the journal begins later."""
        some = [number for number, began_ns in self._began[reader.journal_id] if began_ns <= at_us * 1000]
        return max(some, default=reader.first().segment)

    def removed_until_us(self, reader: JournalReader) -> int:
        """Return until when the segments of a journal were removed; 0 where it has its first one."""
        number, began_ns = min(self._began[reader.journal_id], default=(1, 0))
        return began_ns // 1000 if number > 1 else 0

    def close(self) -> None:
        """Close the files."""
        for reader in [*self.recorders, *([self.polls] if self.polls is not None else [])]:
            reader.close()


class Maker:
    """Makes the certificates of a venue.

    Args:
        database: The database, which has loaded the journals.
        folder: Settings' journal.dir.
        feed: Name of the feed in the settings. Hours are graded by the rules of the feed that recorded them.
        venue: The venue, as the settings describe it.
        decode: Whether the frames are decoded again; else the recorded rows are compared with the stored ones. Where
            `tapedeck replay --apply` has corrected stored rows, the frames are decoded in any case.
        progress: Receives the name of a journal, the bytes read of it, and all bytes.
    """

    def __init__(
        self, database: Database, folder: Path, feed: str, venue: Venue, *, decode: bool,
        progress: Callable[[str, int, int], None] = lambda _name, _done, _all: None,
    ) -> None:  # fmt: skip
        self._database = database
        self._feed = feed
        self._venue = venue
        self._replayed = database.has_replayed()
        self._archived = database.archived(venue.name)
        self._decode = decode or self._replayed
        self._progress = progress
        self._journals = Journals(folder, venue.name, database.journals())
        self._hashes = SegmentHashes()
        self._first: dict[tuple[str, int], int] = {}
        self._removed_until_us = max(map(self._journals.removed_until_us, self._journals.recorders), default=0)
        self._without_begin: set[int] = set()  # hours with a session whose first frames were removed

    def make(
        self, symbols: Mapping[int, str], wanted: Iterable[StreamHour], now_us: int
    ) -> tuple[list[Certificate], list[Unsettled]]:
        """Return certificates without a place in the chain, and the hours that are not settled.

        Hours of streams that no journal names are left out: nothing was recorded.

        Args:
            symbols: By instrument.
            wanted: Hours of these instruments.
            now_us: The time, microseconds since 1970.

        Raises:
            StoreError, ConfigError: The database failed.
            JournalError: A journal cannot be read.
        """
        unsettled = []
        gaps: dict[StreamHour, list[GapFact]] = {}
        until_ns: dict[StreamHour, int] = {}
        for key in wanted:
            reason = None
            if now_us < key.begin_us + HOUR_US + SETTLED_US:
                reason = "the hour is not over for two minutes"
            elif (key.channel, instant(key.begin_us).date()) in self._archived:
                reason = "its rows were moved to the archive"
            elif key.begin_us < self._removed_until_us:
                reason = "segments of its journal were removed"
            elif self._decode and self._lacks_begin(key.begin_us):
                reason = "the begin of its session was removed from the journal; --recorded does without"
            if reason is not None:
                unsettled.append(Unsettled(key, symbols[key.instrument_id], reason))
                continue
            gaps[key] = self._database.gaps(key)
            until_ns[key] = 1000 * self._read_until_us(key, gaps[key])
        tape = Tape(until_ns)
        try:
            if tape.hours:
                self._read(tape)
            polled = self._read_history(tape, gaps)
            made = []
            for key in sorted(tape.hours):
                hour, symbol = tape.hours[key], symbols[key.instrument_id]
                if not hour.reached_ns:
                    continue
                reason = self._unsettled(key, hour, gaps[key])
                if reason is not None:
                    unsettled.append(Unsettled(key, symbol, reason))
                    continue
                one = self._certificate(key, symbol, hour, gaps[key], polled)
                if self._awaits_trade(one, now_us):
                    unsettled.append(Unsettled(key, symbol, "the first trade after it is awaited"))
                    continue
                made.append(one)
                hour.trades, hour.others = {}, []  # a day of rows would take much memory
        finally:
            self._journals.close()
        return made, unsettled

    def _lacks_begin(self, begin_us: int) -> bool:
        for reader in self._journals.recorders:
            self._first_segment(reader, begin_us)
        return begin_us in self._without_begin

    def _read_until_us(self, key: StreamHour, gaps: Iterable[GapFact]) -> int:
        until_us = key.begin_us + HOUR_US + SETTLED_US
        for gap in gaps:
            if gap.until_us is not None:
                until_us = max(until_us, gap.until_us + SETTLED_US)
        if key.channel == "trade":
            until_us = max(until_us, (self._database.received_until(key) or 0) + _RECEIVED_US)
        return until_us

    def _read(self, tape: Tape) -> None:
        begin_us = min(key.begin_us for key in tape.hours)
        for reader in self._journals.recorders:
            first = (
                self._first_segment(reader, begin_us) if self._decode else self._journals.segment_at(reader, begin_us)
            )
            end = self._journals.end(reader)
            place = Position(first, FILE_HEADER.size)
            total = max(1, reader.lag_bytes(place))

            def at(position: Position, reader: JournalReader = reader, total: int = total) -> None:
                self._progress(reader.folder.name, total - reader.lag_bytes(position), total)

            new_decoder = self._venue_of(self._feed_of(reader)).decoder if self._decode else None
            tape.read(JournalRange(reader, place, end, new_decoder, self._venue.name), _Seldom(at))

    def _venue_of(self, feed: str) -> Venue:
        return self._venue if feed == self._feed else VENUES[feed]()

    def _feed_of(self, reader: JournalReader) -> str:
        return feed_of(reader.folder.name) or self._feed

    def _first_segment(self, reader: JournalReader, begin_us: int) -> int:
        """Return the segment in which the oldest session that received in an hour began."""
        known = self._first.get((reader.journal_id, begin_us))
        if known is not None:
            return known
        sessions = self._database.sessions_since(self._venue.name, begin_us, begin_us + HOUR_US)
        since_us = min(sessions.get(reader.folder.name, begin_us), begin_us)
        if since_us < self._journals.removed_until_us(reader):
            self._without_begin.add(begin_us)
        found = self._journals.segment_at(reader, since_us)
        self._first[reader.journal_id, begin_us] = found
        return found

    def _read_history(self, tape: Tape, gaps: Mapping[StreamHour, list[GapFact]]) -> dict[StreamHour, int]:
        """Read the poller's journal where it has trades, candles or revisions of gaps; return its first segment."""
        healed = [
            key
            for key, hour in tape.hours.items()
            if key.channel == "trade"
            and (
                self._database.has_past(key)
                or not same_gaps(key, hour, gaps[key])
                or (not rules_of(self._feed, "trade").ids and self._database.has_candles(key))
            )
        ]
        polls = self._journals.polls
        if polls is None or not healed:
            return {}
        found = {key: self._journals.segment_at(polls, key.begin_us) for key in healed}
        place = Position(min(found.values()), FILE_HEADER.size)
        tape.read_history(JournalRange(polls, place, self._journals.end(polls), None, ""), found)
        return found

    def _unsettled(self, key: StreamHour, hour: TapeHour, gaps: list[GapFact]) -> str | None:
        if hour.reached_ns // 1000 < key.begin_us + HOUR_US + LOADED_US:
            return "the journal is not loaded to a minute after it"
        polls = self._journals.polls
        removed = polls is not None and key.begin_us < self._journals.removed_until_us(polls)
        if removed and any(gap.state == "healed" and (gap.gap_id, gap.revision) not in hour.gaps for gap in gaps):
            return "segments of the poller's journal were removed, which healed it"
        return None

    def _awaits_trade(self, one: Certificate, now_us: int) -> bool:
        waits = one.channel == "trade" and rules_of(one.feed, one.channel).ids and one.rows.after_id is None
        return waits and now_us < one.begin_us + HOUR_US + _NEXT_TRADE_US

    def _certificate(
        self, key: StreamHour, symbol: str, hour: TapeHour, gaps: list[GapFact], polled: Mapping[StreamHour, int]
    ) -> Certificate:
        stored = self._database.rows(key)
        gaps, different_gaps = all_gaps(key, symbol, hour, gaps, replayed=self._replayed)
        different = [*different_gaps, *differences(key, symbol, hour, stored)]
        replay: Replayed = "differs" if different else "equal" if self._decode else "not made"
        journals = self._journal_facts(key, hour, polled)
        feed = feed_of_grade(fact.feed for fact in journals if fact.recorder != POLLS) or self._feed
        ids = rules_of(feed, key.channel).ids
        rows = rows_of(key, hour, stored, (None, None, 0))
        if ids:
            rows = rows_of(key, hour, stored, self._database.neighbours(key, rows.first_id, rows.last_id))
        decoder = type(self._venue_of(feed).decoder())
        one = Certificate(
            venue=self._venue.name,
            feed=feed,
            symbol=symbol,
            instrument_id=key.instrument_id,
            channel=key.channel,
            hour=hour_text(key.begin_us),
            grade="holed",
            reasons=[],
            program=recorder.__version__,
            decoder=f"{decoder.__module__}.{decoder.__qualname__}",
            book_depth=self._venue.book_depth,
            watched_from_us=hour.watched_from_us,
            rows=rows,
            frames=hour.frames,
            sessions=sorted(hour.sessions),
            gaps=gaps,
            book=checks_of(hour, decoded=self._decode),
            witnesses=dict(hour.witnesses),
            least_delay_us=least_delay_us(key, hour),
            quarantined=hour.quarantined,
            damaged=hour.damaged,
            read_until_us=hour.until_ns // 1000,
            replay=replay,
            differences=different,
            journals=journals,
            candles=msgspec.UNSET if ids or key.channel != "trade" else compare(key.begin_us, stored, hour.bars),
        )
        return graded(one)

    def _journal_facts(self, key: StreamHour, hour: TapeHour, polled: Mapping[StreamHour, int]) -> list[JournalFact]:
        facts = []
        for reader in self._journals.recorders:
            if reader.journal_id not in hour.journals:
                continue
            first = self._first_segment(reader, key.begin_us)
            last = self._journals.segment_at(reader, (hour.until_ns - 1) // 1000)
            end = self._journals.end(reader)
            if last >= first:
                facts.append(self._hashes.fact(reader, self._feed_of(reader), first, _closed(reader, last, end)))
        if key in polled and self._journals.polls is not None:
            polls = self._journals.polls
            facts.append(self._hashes.fact(polls, "", polled[key], self._journals.end(polls)))
        return facts


class _Seldom:
    """Passes on the first of every hundred positions."""

    def __init__(self, at: Callable[[Position], None]) -> None:
        self._at = at
        self._count = 0

    def __call__(self, position: Position) -> None:
        if self._count % 100 == 0:
            self._at(position)
        self._count += 1


def graded(facts: Certificate) -> Certificate:
    """Return a certificate with the grade that follows from its facts."""
    found, reasons = grade(facts, rules_of(facts.feed, facts.channel))
    return msgspec.structs.replace(facts, grade=found, reasons=reasons)


def feed_of(name: str) -> str | None:
    """Return the feed that a recorder of this name records; None where the name is of another program."""
    words = name.split("-")
    return words[1] if len(words) > 1 and words[1] in VENUES else None


def _closed(reader: JournalReader, segment: int, end: Position) -> Position:
    """Return the end of a segment, or the end of what is loaded where that lies in it."""
    if segment >= end.segment:
        return end
    return Position(segment, size_of(segment_path(reader.folder, segment)))

"""Derives the facts in certificates again from raw frames in journals, without a database, and names what differs."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from recorder.certify.candles import compare
from recorder.certify.document import HOUR_US, CandleFacts, Certificate, JournalFact, chain_faults, digest
from recorder.certify.gaps import gap_text, newest_gaps
from recorder.certify.grade import feed_of_grade, grade, rules_of
from recorder.certify.hour import all_rows, checks_of, least_delay_us, rows_of
from recorder.certify.make import LOADED_US, POLLS, SETTLED_US, feed_of
from recorder.certify.segments import SegmentHashes, journals_in, size_of
from recorder.certify.tape import JournalRange, StreamHour, Tape, TapeHour, touches
from recorder.identity import instrument_id
from recorder.journal.block import FILE_HEADER
from recorder.journal.reader import JournalReader, segment_path
from recorder.position import Position
from recorder.venues import VENUES

# Declared by what loads the journal or by the database, which no journal has.
_DECLARED_LATER = frozenset({"journal_damage", "row_refused", "partition_dropped"})
_DERIVED = (
    "watched_from_us", "rows", "frames", "sessions", "book", "witnesses", "least_delay_us", "quarantined", "damaged",
)  # fmt: skip


class Checked(NamedTuple):
    """The result of one certificate: nothing differs where it is equal."""

    certificate: Certificate
    faults: list[str]


def check(
    certificates: Sequence[Certificate], folder: Path, progress: Callable[[Position], None] = lambda _: None
) -> list[Checked]:
    """Check certificates against the journals in a folder.

    Args:
        certificates: At most one of each revision.
        folder: Of the journals, or one journal.
        progress: Receives the positions that are read.

    Raises:
        ConfigError: The frames cannot be decoded by this version.
        JournalError: A journal cannot be read.
    """
    found = journals_in(folder)
    hashes = SegmentHashes()
    results = [Checked(one, _without_frames(one, found, hashes)) for one in certificates]
    by_venue: dict[tuple[str, int], list[Checked]] = defaultdict(list)
    for result in results:
        if not result.faults:
            by_venue[result.certificate.venue, result.certificate.book_depth].append(result)
    for some in by_venue.values():
        # Revisions of one hour may end at other places, so each reading has one of them.
        rounds: dict[int, list[Checked]] = defaultdict(list)
        seen: dict[StreamHour, int] = defaultdict(int)
        for result in some:
            key = _key(result.certificate)
            rounds[seen[key]].append(result)
            seen[key] += 1
        for together in rounds.values():
            _against_frames(together, found, progress)
    _chains(results)
    return results


def _without_frames(one: Certificate, found: Mapping[str, Path], hashes: SegmentHashes) -> list[str]:
    """Return what is wrong with a document before any frame is decoded."""
    faults = []
    if digest(one) != one.sha256:
        faults.append("its hash is not that of its text")
    if one.instrument_id != instrument_id(one.venue, one.symbol):
        faults.append("its instrument_id is not that of its venue and symbol")
    feeds = {fact.feed for fact in one.journals if fact.recorder != POLLS}
    for feed in {one.feed, *feeds}:
        if feed not in VENUES or VENUES[feed].name != one.venue:
            return [*faults, f"{feed!r} is no feed of {one.venue!r}"]
    recorded = feed_of_grade(feeds)
    if recorded is not None and one.feed != recorded:
        faults.append(f"its feed is {one.feed!r}, and by its journals {recorded!r}")
    expected, reasons = grade(one, rules_of(one.feed, one.channel))
    if (expected, reasons) != (one.grade, one.reasons):
        faults.append(f"grade is {one.grade}, its facts give {expected}: {'; '.join(reasons)}")
    if one.replay == "differs":
        faults += [f"stored rows were not those of the frames: {line}" for line in one.differences]
    if not one.journals:
        faults.append("it rests on no journal")
    for fact in one.journals:
        path = found.get(fact.journal_id)
        if path is None:
            faults.append(f"journal {fact.recorder} ({fact.journal_id}) is not here")
        elif not fact.segments:
            faults.append(f"journal {fact.recorder} has no segment")
        else:
            faults += _name_faults(fact, path) or hashes.faults(path, fact) or _range_faults(one, fact, path)
    if one.read_until_us < one.begin_us + HOUR_US + SETTLED_US:
        faults.append("it was not settled when it was made")
    return faults


def _name_faults(fact: JournalFact, path: Path) -> list[str]:
    """Return whether a journal is of another program or feed than it is said to be, where its folder tells."""
    feed = feed_of(path.name)
    if fact.recorder != path.name and (feed is not None or POLLS in (fact.recorder, path.name)):
        return [f"the journal of {fact.recorder} is that of {path.name}"]
    if feed is not None and fact.feed != feed:
        return [f"the journal of {fact.recorder} is of the feed {feed!r}, not {fact.feed!r}"]
    return []


def _range_faults(one: Certificate, fact: JournalFact, path: Path) -> list[str]:
    """Return which segments of a journal belong to an hour and are not listed, or not completely."""
    numbers = [segment.segment for segment in fact.segments]
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return [f"the segments of {fact.recorder} do not follow each other"]
    if fact.recorder == POLLS:
        return []
    reader = JournalReader(path)
    try:
        next(reader.read(Position(numbers[0], FILE_HEADER.size), 1, bodies=False), None)
        if reader.venue != one.venue:
            return [f"the journal of {fact.recorder} is of {reader.venue!r}"]
        began_ns, after_ns = reader.began_ns(numbers[0]), reader.began_ns(numbers[-1] + 1)
    finally:
        reader.close()
    faults = []
    if numbers[0] > 1 and (began_ns is None or began_ns > one.begin_us * 1000):
        faults.append(f"segment {numbers[0] - 1} of {fact.recorder} belongs to it and is not listed")
    # Where less than the segment is listed, it was the newest one, and the certificate rests on what was loaded of it.
    complete = fact.segments[-1].bytes == size_of(segment_path(path, numbers[-1]))
    if complete and after_ns is not None and after_ns < one.read_until_us * 1000:
        faults.append(f"segment {numbers[-1] + 1} of {fact.recorder} belongs to it and is not listed")
    return faults


def _against_frames(
    results: Sequence[Checked], found: Mapping[str, Path], progress: Callable[[Position], None]
) -> None:
    tape = Tape({_key(one.certificate): one.certificate.read_until_us * 1000 for one in results})
    first = results[0].certificate
    facts = [fact for one in results for fact in one.certificate.journals if fact.recorder != POLLS]
    feeds = {fact.journal_id: fact.feed for fact in facts}
    for journal_id, (start, end) in _parts(facts).items():
        reader = JournalReader(found[journal_id])
        try:
            kind = VENUES[feeds[journal_id]]
            venue = kind(book_depth=first.book_depth if first.book_depth in kind.book_depths else None)
            tape.read(JournalRange(reader, start, end, venue.decoder, first.venue), progress)
        finally:
            reader.close()
    for result in results:  # each knows only what was healed when it was made
        for fact in result.certificate.journals:
            if fact.recorder == POLLS:
                ((start, end),) = _parts([fact]).values()
                reader = JournalReader(found[fact.journal_id])
                tape.read_history(JournalRange(reader, start, end, None, ""), {_key(result.certificate)})
                reader.close()
    for result in results:
        one = result.certificate
        in_part = any(
            fact.segments[-1].bytes < size_of(segment_path(found[fact.journal_id], fact.segments[-1].segment))
            for fact in one.journals
            if fact.recorder != POLLS
        )
        result.faults.extend(_differences(one, tape.hours[_key(one)], in_part=in_part))


def _parts(facts: Sequence[JournalFact]) -> dict[str, tuple[Position, Position]]:
    """Return the part of each journal that some certificates name, all together."""
    parts: dict[str, tuple[Position, Position]] = {}
    for fact in facts:
        start = Position(fact.segments[0].segment, FILE_HEADER.size)
        end = Position(fact.segments[-1].segment, fact.segments[-1].bytes)
        known = parts.get(fact.journal_id, (start, end))
        parts[fact.journal_id] = min(start, known[0]), max(end, known[1])
    return parts


def _differences(one: Certificate, hour: TapeHour, *, in_part: bool) -> list[str]:
    """Return the facts of a certificate that the frames do not give.

    Args:
        one: The certificate.
        hour: What the frames give.
        in_part: Whether it rests on a part of the last segment of a journal.
    """
    key = _key(one)
    neighbours = one.rows.before_id, one.rows.after_id, one.rows.strays
    derived = {
        "watched_from_us": hour.watched_from_us,
        "rows": rows_of(key, hour, all_rows(key, hour), neighbours),
        "frames": hour.frames,
        "sessions": sorted(hour.sessions),
        "book": checks_of(hour, decoded=one.replay == "equal"),
        "witnesses": dict(hour.witnesses),
        "least_delay_us": least_delay_us(key, hour),
        "quarantined": hour.quarantined,
        "damaged": hour.damaged,
    }
    faults = []
    if in_part and hour.reached_ns // 1000 < one.begin_us + HOUR_US + LOADED_US:
        faults.append("the listed segments end before the hour was settled")
    for name in _DERIVED:
        said, found = (msgspec.to_builtins(value) for value in (getattr(one, name), derived[name]))
        if isinstance(said, dict) and isinstance(found, dict):
            for part in sorted({*said, *found}):
                if said.get(part) != found.get(part):
                    faults.append(f"{name}.{part} is {said.get(part)!r}, the frames give {found.get(part)!r}")
        elif said != found:
            faults.append(f"{name} is {said!r}, the frames give {found!r}")
    return faults + _candle_faults(one, hour) + _book_faults(one, hour) + _gap_faults(one, hour)


def _candle_faults(one: Certificate, hour: TapeHour) -> list[str]:
    """Return whether the candles of the venue are other ones in the poller's journal. A document may leave them out."""
    if one.candles is msgspec.UNSET:
        return []
    found = compare(one.begin_us, all_rows(_key(one), hour), hour.bars)
    if found is msgspec.UNSET:
        return ["candles are named, and its journals have none"]
    return [] if found == one.candles else [f"candles are {_text(one.candles)}, its journals give {_text(found)}"]


def _text(candles: CandleFacts | msgspec.UnsetType) -> str:
    return msgspec.json.encode(candles).decode()


def _book_faults(one: Certificate, hour: TapeHour) -> list[str]:
    """Return where verdicts on a book that were taken as recorded are better than those of the frames."""
    if one.replay == "equal":
        return []
    found = hour.checks
    faults = [
        f"book.{name} was recorded as {getattr(one.book, name)}, the frames give {getattr(found, name)}"
        for name in ("checksums_failed", "crossed")
        if getattr(one.book, name) < getattr(found, name)
    ]
    if one.book.checksums_passed > found.checksums_passed:
        passed = one.book.checksums_passed
        faults.append(f"book.checksums_passed was recorded as {passed}, the frames give {found.checksums_passed}")
    return faults


def _gap_faults(one: Certificate, hour: TapeHour) -> list[str]:
    """Return the gaps of a certificate that are other ones in the journals."""
    faults = []
    listed = {gap.gap_id: gap for gap in one.gaps}
    newest = newest_gaps(hour)
    for gap_id, gap in newest.items():
        mine = listed.get(gap_id)
        if not touches(gap, one.begin_us):
            continue
        if mine is None:
            faults.append(f"gap {gap_id} ({gap.cause}, {gap.state}) is in the journals and not in the certificate")
        elif mine.revision < gap.revision:
            faults.append(f"gap {gap_id} has revision {mine.revision}, the journals have {gap.revision}")
    for gap in one.gaps:
        known = hour.gaps.get((gap.gap_id, gap.revision))
        if known is not None and known != gap:
            faults.append(f"gap {gap.gap_id} is {gap_text(gap)}, the journals say {gap_text(known)}")
        elif known is None and gap.state == "healed":
            faults.append(f"gap {gap.gap_id} is healed, and no journal says so")
        elif known is None and gap.gap_id not in newest and gap.cause not in _DECLARED_LATER:
            faults.append(f"gap {gap.gap_id} ({gap.cause}) is in no journal")
    return faults


def _chains(results: Sequence[Checked]) -> None:
    """Add what is wrong with the chains, and with revisions that are not of their order."""
    streams: dict[tuple[int, str], dict[int, Checked]] = defaultdict(dict)
    for result in results:
        one = result.certificate
        other = streams[one.instrument_id, one.channel].setdefault(one.number, result)
        if other is not result:
            result.faults.append(f"number {one.number} of its stream is also that of {other.certificate.name}")
    for stream in streams.values():
        for number, fault in chain_faults({number: result.certificate for number, result in stream.items()}).items():
            stream[number].faults.append(fault)


def _key(one: Certificate) -> StreamHour:
    assert one.begin_us % HOUR_US == 0
    return StreamHour(one.instrument_id, one.channel, one.begin_us)

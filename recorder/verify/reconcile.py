"""Decides whether stored rows plus declared gaps account for what the simulator sent. Pure.

Trades are compared by (id, event time), because a venue may restart its ids. Quotes and book messages have no
identity, so they are compared as multisets of (event time, values). Values are exact: the float64 of the text on
the wire against the stored float64. Event times are truncated to microseconds, as they are stored.
"""

import math
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from recorder.events import Channel
from recorder.verify.expected import Published, StreamTruth, Values

_EXAMPLES = 5
_FOREVER = 1 << 62
_SNAPSHOT_LATE_US = 5_000_000  # a snapshot by REST and the changes that it contains arrive this close together
_JOINED_US = 1_000_000  # a session that takes over begins with its snapshot this soon
_CLOSING_US = 250_000  # the last frames of a connection are read this long after its end

_QUOTE_VALUES = 5  # sequence, bid, bid size, ask, ask size; a book message has two values

_Key = tuple[int | None, Values]  # event time and values of a quote or book message


class DeclaredGap(msgspec.Struct, frozen=True):
    """A row of `gap` that is not healed. Instants are microseconds since 1970."""

    cause: str
    last_id: int | None
    first_id: int | None
    started_us: int
    ended_us: int | None
    last_ts_us: int | None
    first_ts_us: int | None


class StreamCheck(msgspec.Struct):
    """The result for one stream, up to the instant until which it is checked."""

    venue: str
    symbol: str
    channel: Channel
    sent: int = 0  # messages written to a connection; a trade counts once, however often it was sent
    stored: int = 0  # rows
    declared: int = 0  # messages that were sent, are not stored and lie inside a declared gap
    withheld: int = 0  # trades that the venue made and sent to no connection, inside a declared gap
    missing: int = 0  # messages that are neither stored nor declared
    duplicates: int = 0  # rows stored more often than sent
    wrong: int = 0  # rows with values that were never sent
    absent: int = 0  # times in which no connection carried the stream, and no gap says so
    overdeclared: int = 0  # trades that are stored and that a gap declares missing by their id
    examples: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether stored + declared = sent, nothing is stored twice or wrong, and the gaps are what was missed."""
        return not (self.missing or self.duplicates or self.wrong or self.absent or self.overdeclared)

    def note(self, what: str, key: object) -> None:
        """Keep the first few examples."""
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{what}: {key}")


class Span(msgspec.Struct, frozen=True):
    """The period that is checked, in venue time."""

    since_us: int = 0  # earlier rows that the truth lacks are ignored
    until_us: int = _FOREVER


class Ranges:
    """A set of closed integer ranges."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(ranges):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            elif start <= end:
                self._starts.append(start)
                self._ends.append(end)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number <= self._ends[index]

    def spans(self, start: int, end: int) -> bool:
        """Return whether one range contains both numbers."""
        index = bisect_right(self._starts, start) - 1
        return index >= 0 and end <= self._ends[index]


class Declared:
    """The gaps of one stream."""

    def __init__(self, gaps: Sequence[DeclaredGap], *, by_id: bool) -> None:
        def has_ids(gap: DeclaredGap) -> bool:
            return by_id and gap.last_id is not None and (gap.first_id is not None or gap.ended_us is None)

        self._ids = Ranges(
            ((gap.last_id or 0) + 1, gap.first_id - 1 if gap.first_id is not None else _FOREVER)
            for gap in gaps
            if has_ids(gap)
        )
        self._times = Ranges(
            (_first(gap.last_ts_us, gap.started_us), _first(gap.first_ts_us, gap.ended_us, _FOREVER))
            for gap in gaps
            if not has_ids(gap)
        )

    def names(self, trade_id: int) -> bool:
        """Return whether a gap declares this id missing."""
        return trade_id in self._ids

    def covers(self, item: Published) -> bool:
        """Return whether an item lies in a gap."""
        return item.at_us in self._times or item.id in self._ids


def _in_snapshot(item: Published, snapshots: Sequence[tuple[int, int]], joined_us: Sequence[int] | None) -> bool:
    """Return whether a snapshot stored at about the same time contains a change.

    The recorder drops such a change, because applied after the snapshot it would undo later ones. Where snapshots come
    with the changes, only a session that takes over brings one that contains changes on their way to another.
    """
    sequence = item.sequence
    if joined_us is not None and not any(-_JOINED_US <= at - item.at_us <= _SNAPSHOT_LATE_US for at in joined_us):
        return False
    return sequence is not None and any(
        included >= sequence and abs(at_us - item.at_us) <= _SNAPSHOT_LATE_US for at_us, included in snapshots
    )


def _by_making(gaps: Sequence[DeclaredGap], delivered: list[tuple[int, int]]) -> list[DeclaredGap]:
    """Return gaps that begin when the last message before them was made, for messages without a venue time.

    A gap begins at the receipt of the last message before it. A message lost after that one may have been made before
    that receipt, but not before the last message itself was made. Only messages with unique values identify their
    creation time; a level deletion repeats verbatim.
    """
    delivered.sort()
    receipts = [receipt for receipt, _ in delivered]
    made = []
    for gap in gaps:
        before = bisect_right(receipts, gap.started_us) - 1
        if gap.last_ts_us is None and before >= 0:
            gap = msgspec.structs.replace(gap, started_us=min(gap.started_us, delivered[before][1] + 1))
        made.append(gap)
    return made


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


class StoredTrade(msgspec.Struct, gc=False):
    """A row of `trade`."""

    id: int
    ts_us: int
    values: Values  # price, size, aggressor


class StoredRow(msgspec.Struct, gc=False):
    """A row of `quote` or `book`."""

    at_us: int  # event time, else receipt
    ts_us: int | None
    values: Values
    snapshot: tuple[int, int] | None = None  # receipt and sequence of a snapshot that has a sequence


def check_trades(
    check: StreamCheck,
    truth: StreamTruth,
    stored: Iterable[StoredTrade],
    gaps: Sequence[DeclaredGap],
    span: Span,
    *,
    contiguous: bool = True,
) -> StreamCheck:
    """Compare trades: those sent, and every one the market made between the first and the last stored.

    Args:
        check: Receives the counts.
        truth: What the venue published.
        stored: Rows in any order.
        gaps: Gaps of the stream.
        span: The period to check.
        contiguous: Whether the venue's ids rise by one. Then a gap is identified by its ids. Otherwise it is identified
            by its times, and a trade that the venue withheld from every client cannot be noticed.
    """
    declared = Declared(gaps, by_id=contiguous and not truth.resets)
    published: dict[tuple[int, int], Published] = {}
    for item in truth.items:
        known = published.setdefault((item.id, item.at_us), item)
        if known is item:
            item.stored = 0
        else:
            known.sent += item.sent
            known.possibly_sent += item.possibly_sent
    ids: set[int] = set()
    joined = _Joined(published.values())
    for row in stored:
        match = published.get((row.id, row.ts_us))
        if joined.take(row, match):
            continue
        if match is None:
            if row.ts_us < span.since_us or row.ts_us > span.until_us:
                continue  # of a run whose truth is not given, or too late
            check.stored += 1
            ids = ids or {item.id for item in truth.items}
            # If the truth has the id under another time, its own row is stored as well, or this row is wrong.
            doubled = row.id in ids and not truth.resets
            check.duplicates += doubled
            check.wrong += not doubled
            check.note("stored, never published", (row.id, row.ts_us, row.values))
            continue
        match.stored += 1
        check.stored += row.ts_us <= span.until_us
        if match.stored > 1:
            check.duplicates += 1
            check.note("stored twice", (row.id, row.ts_us))
        elif match.values != row.values:
            check.wrong += 1
            check.note("stored with other values than sent", (row.id, row.values, match.values))
    joined.count(check, span.until_us)
    places = [place for place, item in enumerate(published.values()) if item.stored]
    first, last = (places[0], places[-1]) if places else (len(published), -1)
    for place, (key, item) in enumerate(published.items()):
        # A stored item that may have been sent before the simulator was killed was sent.
        check.sent += (item.sent > 0 or (item.possibly_sent > 0 and item.stored > 0)) and item.at_us <= span.until_us
        # Without contiguous ids nothing reveals a trade that the venue withheld, or one between past trades that the
        # venue published later. A lost session is always known.
        noticeable = contiguous or (
            not item.undelivered and truth.begun_us is not None and item.at_us >= truth.begun_us
        )
        expected = item.sent > 0 or (first < place < last and noticeable)
        if item.stored and declared.names(item.id):
            check.overdeclared += 1
            check.note("stored, and declared missing", key)
        if item.stored or item.at_us > span.until_us or not expected:
            continue
        if declared.covers(item):
            check.declared += item.sent > 0
            check.withheld += item.sent == 0
        else:
            check.missing += 1
            check.note("missing" if item.sent else "never sent, not declared", key)
    return check


class _Joined:
    """Trades that the feed joined, and that the history of the venue, from which a gap was filled, lists one by one."""

    def __init__(self, items: Iterable[Published]) -> None:
        self._items = {
            trade_id: item for item in items if item.count > 1 for trade_id in range(item.id - item.count + 1, item.id)
        }
        self._rows: dict[int, tuple[Published, list[StoredTrade]]] = {}  # by the id of the joined trade

    def take(self, row: StoredTrade, match: Published | None) -> bool:
        """Note a row that is a part of a joined trade; return False for any other."""
        item = self._items.get(row.id) if match is None else match
        if item is None or item.count == 1 or item.at_us != row.ts_us or item.values == row.values:
            return False
        self._rows.setdefault(item.id, (item, []))[1].append(row)
        return True

    def count(self, check: StreamCheck, until_us: int) -> None:
        """Count each joined trade whose parts are stored as one."""
        for item, rows in self._rows.values():
            price, size, side = item.values
            complete = sorted(row.id for row in rows) == list(range(item.id - item.count + 1, item.id + 1))
            equal = all((row.values[0], row.values[2]) == (price, side) for row in rows)
            sizes = [row.values[1] for row in rows]
            total = math.fsum(one for one in sizes if isinstance(one, float))
            if complete and equal and isinstance(size, float) and math.isclose(total, size, rel_tol=1e-12):
                item.stored += 1
                check.stored += item.at_us <= until_us
                check.duplicates += item.stored > 1
            else:
                check.wrong += len(rows)
                check.note("parts of a joined trade are not all of it", (item.id, item.values))


def check_absences(
    check: StreamCheck, truth: StreamTruth, gaps: Sequence[DeclaredGap], last_frames_us: Sequence[int], span: Span
) -> None:
    """Check that a gap declares each time in which no connection carried a stream.

    Nothing shows what quotes and book messages were missed then, so the gaps must cover all of it.

    Args:
        check: Receives the counts.
        truth: When connections carried the stream.
        gaps: Gaps of the stream.
        last_frames_us: When each session received its last frame. A machine that was busy or stopped may have read a
            frame after the venue had ended the connection; a gap begins only then.
        span: The period to check.
    """
    declared = Ranges(
        (
            min(gap.started_us, _first(gap.last_ts_us, gap.started_us)),
            _FOREVER if gap.ended_us is None else max(gap.ended_us, _first(gap.first_ts_us, gap.ended_us)),
        )
        for gap in gaps
    )
    for since_us, until_us in truth.absences:
        if since_us < span.since_us or until_us > span.until_us:
            continue
        known_us = max((at_us for at_us in last_frames_us if since_us <= at_us <= until_us), default=since_us)
        if not declared.spans(min(known_us + _CLOSING_US, until_us), until_us):
            check.absent += 1
            check.note("not carried and not declared", (since_us, until_us))


def check_rows(
    check: StreamCheck,
    truth: StreamTruth,
    stored: Iterable[StoredRow],
    gaps: Sequence[DeclaredGap],
    span: Span,
    *,
    books_by_rest: bool = False,
) -> StreamCheck:
    """Compare quotes or book messages: each is stored at least once, and at most as often as it was sent.

    While one session replaces another, both carry a stream, and both may deliver a message.

    Args:
        check: Receives the counts.
        truth: What the venue published.
        stored: Rows in the order they are stored.
        gaps: Gaps of the stream.
        span: The period to check.
        books_by_rest: Whether every snapshot comes apart from the changes, and may contain some of them.
    """
    published, repeats = _by_values(truth.items, span.until_us)
    unknown: Counter[_Key] = Counter()
    received: dict[_Key, int] = {}  # of the unknown rows
    late: set[_Key] = set()  # last received after the period that is checked
    snapshots: list[tuple[int, int]] = []
    delivered: list[tuple[int, int]] = []  # receipt and creation of unique messages without a venue time
    for row in stored:
        key = (row.ts_us, row.values)
        if row.snapshot is not None:
            snapshots.append(row.snapshot)
        match = published.get(key)
        if match is None:
            if row.at_us >= span.since_us:  # else of a run whose truth is not given
                unknown[key] += 1
                received[key] = row.at_us
            continue
        match.stored += 1
        if row.at_us > span.until_us:
            late.add(key)
        else:
            late.discard(key)
        if row.ts_us is None:
            equal = _required(key, match, repeats)
            if len(equal) == 1:
                delivered.append((row.at_us, equal[0].at_us))
    declared = Declared(_by_making(gaps, delivered), by_id=False)
    joined_us = None if books_by_rest else truth.joined_us
    absent: Counter[int | None] = Counter()  # by event time: missing with these values, perhaps stored with others
    lost: list[tuple[Published, int]] = []
    for key, item in published.items():
        sent = item.sent + item.possibly_sent
        excess = item.stored - sent
        if item.at_us <= span.until_us:
            check.sent += max(item.required, min(item.stored, sent))
            # Rows received after the period may be of equal messages that the truth does not contain yet.
            check.stored += min(item.stored, sent) if key in late else item.stored
            short = item.required - item.stored
            if short > 0:
                lost.append((item, short))
                absent[item.ts_us] += short
        if excess > 0 and key not in late:
            check.duplicates += excess
            check.note("stored more often than sent", key)
    replaced: defaultdict[int | None, int] = defaultdict(int)
    for key, count in unknown.items():
        if received[key] > span.until_us:
            continue
        check.stored += count
        check.wrong += count
        check.note("stored, never published", (received[key], key))
        if key[0] is not None:
            replaced[key[0]] += min(count, absent[key[0]])
    for item, short in lost:
        explained = min(short, replaced[item.ts_us])
        replaced[item.ts_us] -= explained  # already counted as wrong
        # Without a venue time the same values may come again much later. Any of these messages may be the lost one.
        equal = _required((item.ts_us, item.values), item, repeats)
        excusable = sum(declared.covers(one) or _in_snapshot(one, snapshots, joined_us) for one in equal)
        excused = min(short - explained, excusable)
        check.declared += excused
        if short > explained + excused:
            check.missing += short - explained - excused
            check.note("missing", (item.at_us, str(item.values)[:160]))
    return check


def _by_values(items: Iterable[Published], until_us: int) -> tuple[dict[_Key, Published], dict[_Key, list[Published]]]:
    """Merge equal items into the first of them.

    Returns:
        The merged items by their key; and for keys of several items those that must be stored.
    """
    published: dict[_Key, Published] = {}
    repeats: dict[_Key, list[Published]] = {}
    for item in items:
        # An equal message after the period does not make this one required twice.
        required = item.sent > 0 and not item.may_repeat and item.at_us <= until_us
        key = (item.ts_us, item.values)
        known = published.setdefault(key, item)
        if known is item:
            item.stored, item.required = 0, int(required)
            continue
        equal = repeats.get(key)
        if equal is None:
            equal = repeats[key] = [known] if known.required else []
        known.sent += item.sent
        known.possibly_sent += item.possibly_sent
        if required and not (known.required and _answers_with(key)):
            known.required += 1
            equal.append(item)
    return published, repeats


def _answers_with(key: _Key) -> bool:
    """Return whether a second message with these values is the same quote, sent once more to a new subscriber."""
    ts_us, values = key
    return ts_us is not None and len(values) == _QUOTE_VALUES and values[0] is not None


def _required(key: _Key, item: Published, repeats: dict[_Key, list[Published]]) -> list[Published]:
    """Return the messages with these values that must be stored."""
    equal = repeats.get(key)
    if equal is not None:
        return equal
    return [item] if item.required else []

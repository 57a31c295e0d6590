"""Is what was stored plus what was declared missing what the simulator sent? Pure; verify.py brings the rows.

Trades are compared by (id, event time), since a venue may begin its ids anew. Quotes and book messages have
no identity, so they are compared as multisets of (event time, values). Values are exact: the float64 of the
text on the wire against the float64 stored; event times are truncated to microseconds, as they are stored.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from recorder.events import Channel
from recorder.published import Published, StreamTruth, Values

_EXAMPLES = 5
_FOREVER = 1 << 62
_SNAPSHOT_LATE_US = 5_000_000  # a snapshot by REST and the changes it holds already arrive this close together
_ON_ITS_WAY_US = 1_000_000
_BATCH_US = 100_000  # what a venue sends in batches bears the time of the batch, which may be that of the next one


class DeclaredGap(msgspec.Struct, frozen=True):
    """A row of `gap` that is not healed; instants in microseconds since 1970."""

    cause: str
    last_id: int | None
    first_id: int | None
    started_us: int
    ended_us: int | None
    last_ts_us: int | None
    first_ts_us: int | None


class StreamCheck(msgspec.Struct):
    """The verdict on one stream."""

    venue: str
    symbol: str
    channel: Channel
    # All of them up to the instant judged.
    sent: int = 0  # items wholly written to a connection (trades: each once)
    stored: int = 0
    declared: int = 0  # not stored, inside a declared gap
    missing: int = 0  # not stored, not declared
    duplicates: int = 0  # stored more often than sent
    wrong: int = 0  # stored, but never published like that
    examples: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether stored + declared = sent, and nothing is doubled or wrong."""
        return not (self.missing or self.duplicates or self.wrong)

    def note(self, what: str, key: object) -> None:
        """Keep a few examples for a person."""
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{what}: {key}")


class Span(msgspec.Struct, frozen=True):
    """What is judged, in venue time."""

    since_us: int = 0  # rows before it that the truth does not know are not judged
    until_us: int = _FOREVER


class Ranges:
    """A set of closed integer ranges that answers whether a number is inside."""

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

    def covers(self, item: Published) -> bool:
        """Whether an item lies in a gap."""
        return item.at_us in self._times or item.id in self._ids


def _held(item: Published, snapshots: Sequence[tuple[int, int]]) -> bool:
    """Whether a snapshot stored at about its time holds a change: a row behind the snapshot would undo later ones."""
    sequence = item.sequence
    return sequence is not None and any(
        held >= sequence and abs(at_us - item.at_us) <= _SNAPSHOT_LATE_US for at_us, held in snapshots
    )


def _by_making(gaps: Sequence[DeclaredGap], delivered: list[tuple[int, int]]) -> list[DeclaredGap]:
    """Gaps of messages without a time of the venue's, told by when they were made.

    A gap begins at the receipt of the last message before it. What was lost behind that message may have been made
    before that receipt, though never before the message itself was made. Only messages whose values came once tell
    when they were made: an emptied level is told in the same words again and again.
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


def _overtaken(item: Published, joined_us: Sequence[int]) -> bool:
    """Whether a message was on its way to a session as the next one took over, with a book or price that is newer.

    Told after that, it would undo what the next session said. Whatever is made later than the batch at hand, both
    sessions are sent.
    """
    return any(joined - _ON_ITS_WAY_US <= item.at_us <= joined + _BATCH_US for joined in joined_us)


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
    snapshot: tuple[int, int] | None = None  # receipt and sequence, where it is a snapshot that has one


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
        check: Which stream; gets the figures.
        truth: What was published.
        stored: Rows in order of time.
        gaps: Of the stream.
        span: What is judged.
        contiguous: Whether the venue's ids rise by one, so that a gap is known by its ids; else by its times, and
            nobody can know of a print that the venue kept to itself.
    """
    declared = Declared(gaps, by_id=contiguous and not truth.resets)
    published: dict[tuple[int, int], Published] = {}
    ids: set[int] = set()
    for item in truth.items:
        known = published.setdefault((item.id, item.at_us), item)
        if known is not item:
            known.sent += item.sent
            known.maybe += item.maybe
        ids.add(item.id)
    seen: Counter[tuple[int, int]] = Counter()
    for row in stored:
        key = (row.id, row.ts_us)
        match = published.get(key)
        if match is None and row.ts_us < span.since_us:
            continue  # of a run whose truth we were not given
        seen[key] += 1
        check.stored += row.ts_us <= span.until_us
        if match is None and row.ts_us <= span.until_us:
            # The truth has the id under another time: then its own row is stored as well, or this one is wrong.
            doubled = row.id in ids and not truth.resets
            check.duplicates += doubled
            check.wrong += not doubled
            check.note("stored, never published", (row.id, row.ts_us, row.values))
        elif match is not None and seen[key] > 1:
            check.duplicates += 1
            check.note("stored twice", key)
        elif match is not None and match.values != row.values:
            check.wrong += 1
            check.note("stored otherwise than sent", (row.id, row.values, match.values))
    order = list(published.items())
    places = [place for place, (key, _) in enumerate(order) if key in seen]
    first, last = (places[0], places[-1]) if places else (len(order), -1)
    for place, (key, item) in enumerate(order):
        # What may have been sent before the simulator was killed, and is stored, was sent.
        check.sent += (item.sent > 0 or (item.maybe > 0 and key in seen)) and item.at_us <= span.until_us
        # Where ids prove nothing, nothing tells of a print the venue kept to itself, or of one between past trades that
        # it told later; of a lost session we always know.
        owed = contiguous or (not item.unheard and truth.begun_us is not None and item.at_us >= truth.begun_us)
        between = first < place < last and owed
        if key in seen or item.at_us > span.until_us or not (item.sent or between):
            continue
        if declared.covers(item):
            check.declared += 1
        else:
            check.missing += 1
            check.note("missing" if item.sent else "never sent, not declared", key)
    return check


def check_rows(
    check: StreamCheck, truth: StreamTruth, stored: Iterable[StoredRow], gaps: Sequence[DeclaredGap], span: Span
) -> StreamCheck:
    """Compare quotes or book messages: each is stored once at least, and at most as often as it was sent.

    While a session takes over from another, both carry a stream, and both may bring a message.
    """
    published: dict[tuple[int | None, Values], Published] = {}
    owed: defaultdict[tuple[int | None, Values], list[Published]] = defaultdict(list)
    for item in truth.items:
        known = published.setdefault((item.ts_us, item.values), item)
        if item.sent > 0 and not item.again and item.at_us <= span.until_us:  # its equal may be of later
            known.due += 1
            owed[item.ts_us, item.values].append(item)
        if known is not item:
            known.sent += item.sent
            known.maybe += item.maybe
    rows: Counter[tuple[int | None, Values]] = Counter()
    at: dict[tuple[int | None, Values], int] = {}
    snapshots: list[tuple[int, int]] = []
    delivered: list[tuple[int, int]] = []  # receipt and making of what came once and has no time of the venue's
    for row in stored:
        key = (row.ts_us, row.values)
        if row.snapshot is not None:
            snapshots.append(row.snapshot)
        if row.at_us < span.since_us and key not in published:
            continue  # of a run whose truth we were not given
        rows[key] += 1
        if row.ts_us is None and len(owed[key]) == 1:
            delivered.append((row.at_us, owed[key][0].at_us))
        at[key] = row.at_us
    declared = Declared(_by_making(gaps, delivered), by_id=False)
    absent: Counter[int | None] = Counter()  # by event time: missing with these values, perhaps stored with others
    lost: list[tuple[Published, int]] = []
    for key, item in published.items():
        if item.at_us > span.until_us:
            continue
        check.sent += max(item.due, min(rows[key], item.sent + item.maybe))
        short = item.due - rows[key]
        if short > 0:
            lost.append((item, short))
            absent[item.ts_us] += short
    replaced: defaultdict[int | None, int] = defaultdict(int)
    for key, count in rows.items():
        match = published.get(key)
        check.stored += count * ((at[key] if match is None else match.at_us) <= span.until_us)
        over = count - (match.sent + match.maybe if match is not None else 0)
        if over <= 0 or at[key] > span.until_us:
            continue
        if match is not None:
            check.duplicates += over
            check.note("stored more often than sent", key)
        else:
            check.wrong += over
            check.note("stored, never published", key)
            if key[0] is not None:
                replaced[key[0]] += min(over, absent[key[0]])
    for item, short in lost:
        explained = min(short, replaced[item.ts_us])
        replaced[item.ts_us] -= explained  # already counted as wrong
        # Where the venue prints no time, the same values may come again much later: any of them may be the lost one.
        equal = owed[item.ts_us, item.values]
        held = sum(declared.covers(one) or _held(one, snapshots) or _overtaken(one, truth.joined_us) for one in equal)
        excused = min(short - explained, held)
        check.declared += excused
        if short > explained + excused:
            check.missing += short - explained - excused
            check.note("missing", (item.at_us, str(item.values)[:160]))
    return check

"""The grade of an hour, as a function of the facts in its certificate. Pure; docs/guarantees.md has the same rules.

The first rule that holds gives the grade. What makes an hour `holed` comes first: no evidence outweighs a hole.
"""

from collections.abc import Iterable

import msgspec

from recorder.certify.document import HOUR_US, Certificate, GapFact, Grade
from recorder.venues import VENUES

_QUIET, _AGREES, _DIFFERS = "quiet", "agrees", "differs"
MINUTES = 60
_CANDLE_EQUAL = "candle equal"  # in the reason of a gap that was healed by time


class StreamRules(msgspec.Struct, frozen=True):
    """What the protocol of a venue proves of a channel.

    Attributes:
        ids: Trade ids rise by one.
        merged: One row may stand for several ids, which the recorder counts while it records.
        counted: The venue numbers all messages of a connection, so that none can be lost unseen.
        sequenced: A message names the one before it.
        best_only: What counts as a checksum compares the best prices of a book, and no other level.
    """

    ids: bool = False
    merged: bool = False
    counted: bool = False
    sequenced: bool = False
    best_only: bool = False


def rules_of(feed: str, channel: str) -> StreamRules:
    """Return the rules of a channel of a feed, which is one of VENUES."""
    kind = VENUES[feed]
    history = kind.trade_history
    return StreamRules(
        ids=channel in kind.contiguous,
        merged=channel == "trade" and bool(getattr(history, "merged", False)),
        counted=kind.connection_sequences,
        sequenced=channel == "book" and kind.book_sequences,
        best_only=kind.book_checks_best,
    )


def feed_of_grade(feeds: Iterable[str]) -> str | None:
    """Return the feed by whose rules an hour is graded that these feeds of a venue recorded; None without any.

    Where there are several, it is one that does not number its messages, if there is one.
    """
    return min(feeds, key=lambda feed: (VENUES[feed].connection_sequences, feed), default=None)


def grade(facts: Certificate, rules: StreamRules) -> tuple[Grade, list[str]]:
    """Return the grade of an hour and its reasons.

    Args:
        facts: Its certificate; the grade in it is not used.
        rules: Of its venue and channel.
    """
    holes = holes_of(facts, rules)
    if holes:
        return "holed", holes
    if facts.channel == "trade":
        found, reasons = _of_trades(facts, rules)
        return found, reasons + _candle_lines(facts)
    if facts.channel == "book":
        return _of_books(facts, rules)
    if rules.counted:
        return "proved", ["the venue numbers every message of its connections, and none is missing"]
    return "claimed", ["sessions without a gap; the venue sends nothing that could prove its quotes"]


def holes_of(facts: Certificate, rules: StreamRules) -> list[str]:
    """Return why an hour is not complete; nothing where it is."""
    holes = [_gap_text(gap) for gap in facts.gaps if gap.state != "healed"]
    if facts.replay == "differs":
        gaps = [line for line in facts.differences if line.startswith("gap ")]
        holes += gaps
        if not gaps or len(gaps) < len(facts.differences):
            holes.append("the stored rows are not those of the frames")
    if facts.damaged:
        holes.append(f"{facts.damaged} blocks of the journal cannot be read")
    if facts.watched_from_us is None:
        holes.append("no journal says since when the stream was subscribed")
    elif facts.watched_from_us > facts.begin_us:
        minute, second = divmod(min(facts.watched_from_us - facts.begin_us, HOUR_US) // 10**6, 60)
        holes.append(f"subscribed only since {minute:02d}:{second:02d} of the hour")
    if facts.channel == "book" and facts.witnesses.get(_DIFFERS):
        holes.append("REST had another book")
    if rules.ids and not rules.merged:
        holes += _id_holes(facts)
    return holes


def _id_holes(facts: Certificate) -> list[str]:
    """Return the missing ids of trades that are numbered by one, between those that are stored."""
    rows = facts.rows
    if rows.first_id is None or rows.last_id is None:
        if rows.before_id is None or rows.after_id is None:
            return []
        low, high = rows.before_id + 1, rows.after_id - 1
        missing = high - low + 1
    else:
        low = rows.first_id if rows.before_id is None else rows.before_id + 1
        high = rows.last_id if rows.after_id is None else rows.after_id - 1
        missing = high - low + 1 - rows.distinct - rows.strays
    never = _never_issued(facts.gaps, low, high)
    if missing > never:
        return [f"{missing - never} trade ids are not stored"]
    return ["more trades than ids"] if missing < 0 else []


def _never_issued(gaps: Iterable[GapFact], low: int, high: int) -> int:
    """Return how many ids of a range the venue never issued, as gaps say, each counted once."""
    count, done = 0, low - 1
    ranges = [
        (gap.last_id, gap.first_id)
        for gap in gaps
        if gap.last_id is not None and gap.first_id is not None and (gap.reason or "").startswith("never issued")
    ]
    for last_id, first_id in sorted(ranges):
        begin, end = max(last_id, done), min(first_id - 1, high)
        count += max(0, end - begin)
        done = max(done, end)
    return count


def _of_trades(facts: Certificate, rules: StreamRules) -> tuple[Grade, list[str]]:
    rows, healed = facts.rows, [gap for gap in facts.gaps if gap.state == "healed"]
    closed = rows.before_id is not None and rows.after_id is not None
    if rules.ids and closed:
        if rules.merged:
            return "proved", ["the recorder has counted the ids of all merged trades, and none is missing"]
        return "proved", [f"ids {rows.before_id} to {rows.after_id} follow each other"]
    if not rules.ids and rules.counted and not healed:
        return "proved", ["the venue numbers every message of its connections, and none is missing"]
    if not rules.ids and facts.candles and facts.candles.equal == MINUTES:
        return "witnessed", ["the venue's candles of all minutes are those of the trades"]
    if facts.witnesses.get(_QUIET) and not healed and not rows.stored:
        return "witnessed", ["REST had no trade either"]
    if healed and not rules.ids:
        if all(_CANDLE_EQUAL in (gap.reason or "") for gap in healed):
            return "witnessed", ["two reads of the history agree, and the candles are equal"]
        return "consistent", ["two reads of the history agree"]
    if rules.ids:
        side = "before" if rows.before_id is None else "after"
        return "consistent", [f"the ids follow each other; no trade {side} the hour is stored"]
    return "claimed", ["sessions without a gap; the venue sends nothing that could prove its trades"]


def _candle_lines(facts: Certificate) -> list[str]:
    """Return in words which candles differ; most venues call theirs incomplete, so they disprove nothing."""
    candles = facts.candles
    if not candles or not candles.differing:
        return []
    return [f"{candles.differing} of {MINUTES} candles of the venue differ, such as {candles.differences[0]}"]


def _of_books(facts: Certificate, rules: StreamRules) -> tuple[Grade, list[str]]:
    checks = facts.book
    agree = checks.checksums_passed and not checks.checksums_failed
    if agree and not rules.best_only:
        return "proved", [f"{checks.checksums_passed} checksums of the venue matched, none did not"]
    if rules.counted:
        return "proved", ["the venue numbers every message of its connections, and none is missing"]
    if facts.witnesses.get(_AGREES):
        return "witnessed", [f"REST had the same book {facts.witnesses[_AGREES]} times"]
    if agree:
        return "consistent", [f"the venue named the best prices of the book {checks.checksums_passed} times"]
    if rules.sequenced:
        return "consistent", ["every message follows the one that it names"]
    return "claimed", ["sessions without a gap; the venue sends nothing that could prove its books"]


def _gap_text(gap: GapFact) -> str:
    ids = _ids(gap)
    count = f", {ids} ids" if ids else ""
    return f"gap {gap.cause}, {gap.state}{count}"


def _ids(gap: GapFact) -> int:
    return 0 if gap.last_id is None or gap.first_id is None else max(0, gap.first_id - gap.last_id - 1)

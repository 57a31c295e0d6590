"""Compares the gaps that the database has with those that the journals declare. Pure."""

from collections.abc import Sequence

from recorder.certify.document import GapFact
from recorder.certify.tape import StreamHour, TapeHour, touches

_REPLAYED = frozenset({"unreadable", "journal_damage", "row_refused"})  # which a replay may heal, in the database alone


def newest_gaps(hour: TapeHour) -> dict[int, GapFact]:
    """Return the highest revision of each gap that the journals have, by its id."""
    newest: dict[int, GapFact] = {}
    for (gap_id, revision), gap in hour.gaps.items():
        if gap_id not in newest or revision > newest[gap_id].revision:
            newest[gap_id] = gap
    return newest


def same_gaps(key: StreamHour, hour: TapeHour, stored: Sequence[GapFact]) -> bool:
    """Return whether the journals that were read have the stored revisions of gaps, and no other gap of the hour."""
    ids = {gap.gap_id for gap in stored}
    return all((gap.gap_id, gap.revision) in hour.gaps for gap in stored) and not any(
        gap.gap_id not in ids and touches(gap, key.begin_us) for gap in newest_gaps(hour).values()
    )


def all_gaps(
    key: StreamHour, symbol: str, hour: TapeHour, stored: Sequence[GapFact], *, replayed: bool
) -> tuple[list[GapFact], list[str]]:
    """Return the gaps that touch an hour, and in words those that the database lacks or has otherwise.

    A gap that is stored otherwise is returned as the journals have it. One that only the database has is returned as it
    is: what loads the journals declares some.

    Args:
        key: The stream and the hour.
        symbol: Of the stream.
        hour: What the journals say, with that of the poller where gaps have revisions from it.
        stored: The gaps that the database has of the hour.
        replayed: Whether `tapedeck replay --apply` has corrected the database; it heals gaps without a journal.
    """
    newest = newest_gaps(hour)
    found, lines = [], []
    for gap in stored:
        known = newest.get(gap.gap_id)
        if replayed and gap.state == "healed" and gap.cause in _REPLAYED:
            known = None
        elif known is None:
            # What was healed before the hour may be in a segment that is not read.
            if gap.state == "healed" and (gap.until_us is None or gap.until_us >= key.begin_us):
                lines.append(f"{_name(symbol, gap)} is healed in the database, and no journal says so")
        elif _otherwise(gap, known):
            lines.append(f"{_name(symbol, gap)} stored otherwise: {gap_text(known)} -> {gap_text(gap)}")
        else:
            known = None
        found.append(known or gap)
    ids = {gap.gap_id for gap in stored}
    for gap in newest.values():
        if gap.gap_id not in ids and touches(gap, key.begin_us):
            lines.append(f"{_name(symbol, gap)} not stored: {gap_text(gap)}")
            found.append(gap)
    touching = [gap for gap in found if touches(gap, key.begin_us)]
    return sorted(touching, key=lambda gap: (gap.from_us, gap.gap_id)), sorted(lines)


def gap_text(gap: GapFact) -> str:
    """Return a gap in words."""
    return f"{gap.cause}, {gap.state}, ids {gap.last_id} to {gap.first_id}, {gap.from_us} to {gap.until_us}"


def _otherwise(stored: GapFact, known: GapFact) -> bool:
    """Return whether a stored gap is not the highest revision of it that the journals have, nor follows from that."""
    if stored.revision <= known.revision:
        return stored != known
    # It may have been written after the blocks that count; then its end was not known in them, and it is no heal.
    return stored.state == "healed" or (known.until_us is not None and _range(stored) != _range(known))


def _range(gap: GapFact) -> tuple[int | None, ...]:
    return gap.last_id, gap.first_id, gap.from_us, gap.until_us


def _name(symbol: str, gap: GapFact) -> str:
    return f"gap {symbol} gap_id={gap.gap_id} cause={gap.cause}"

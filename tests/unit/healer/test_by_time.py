"""Holes of time: windows, what a read of one shows, and the comparison of two reads."""

import msgspec
import pytest

from recorder.healer.by_time import AGAIN_NS, TimeHole, TimeWalk, compare, earlier_digest, unite_times
from recorder.healer.hole import OpenGap, StoredTrade
from recorder.healer.walk import ReadError
from recorder.venues.history import PastTrade, TimedHistory

NS = 10**9


def gap(since_s: int, until_s: int, number: int = 1, evidence: bytes = b"[]") -> OpenGap:
    return OpenGap(
        number, 7, None, "disconnect", None, None, since_s * NS, until_s * NS, since_s * NS, until_s * NS, 2,
        evidence=evidence,
    )  # fmt: skip


def past(trade_id: int, second: int, size: float = 1.0) -> PastTrade:
    return PastTrade(trade_id, second * NS, 10.0, size, "b")


def stored(trade_id: int, second: int) -> StoredTrade:
    return StoredTrade(trade_id, second * NS, 10.0, 1.0, "b")


HOLE = TimeHole(1_000 * NS, 1_010 * NS, (gap(1_000, 1_010),))


def test_gaps_within_the_margins_of_each_other_are_one_hole() -> None:
    holes = unite_times([gap(2_000, 2_010, 3), gap(1_000, 1_010, 1), gap(1_100, 1_110, 2)])
    assert [(one.since_ns // NS, one.until_ns // NS, len(one.gaps)) for one in holes] == [
        (1_000, 1_110, 2), (2_000, 2_010, 1),
    ]  # fmt: skip


def test_what_is_listed_inside_and_not_stored_is_new() -> None:
    listed = {one.trade_id: one for one in (past(5, 999), past(9, 1_003), past(7, 1_005), past(8, 1_010))}
    found = compare(HOLE, [stored(5, 999), stored(7, 1_005), stored(8, 1_010)], listed)
    assert [one.trade_id for one in found.new] == [9]
    assert found.controls == 2


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        ([past(5, 999)], "does not list stored trade 8"),
        ([past(5, 999), past(8, 1_010, 2.0)], "stored trade 8 differs"),
        ([past(5, 999), past(8, 1_010), past(6, 998)], "wider than declared"),
        ([past(5, 999), past(8, 1_010), past(6, 1_011)], "wider than declared"),
    ],
)
def test_a_list_that_differs_beside_the_hole_proves_nothing(listed: list[PastTrade], reason: str) -> None:
    with pytest.raises(ReadError, match=reason):
        compare(HOLE, [stored(5, 999), stored(8, 1_010)], {one.trade_id: one for one in listed})


def test_a_side_without_a_stored_trade_proves_nothing() -> None:
    with pytest.raises(ReadError, match="no stored trade on one side"):
        compare(HOLE, [stored(5, 999)], {5: past(5, 999)})


def test_two_reads_are_compared_only_when_ten_minutes_lie_between() -> None:
    listed = {one.trade_id: one for one in (past(5, 999), past(8, 1_010))}
    digest = compare(HOLE, [stored(5, 999), stored(8, 1_010)], listed).digest
    again = compare(HOLE, [stored(5, 999), stored(8, 1_010)], dict(reversed(listed.items()))).digest
    other = compare(HOLE, [stored(5, 999), stored(8, 1_010)], listed | {6: past(6, 1_001)}).digest
    assert digest == again != other
    one = gap(1_000, 1_010, evidence=msgspec.json.encode([{"at_ns": 5_000 * NS, "digest": digest}]))
    assert earlier_digest(one, 5_000 * NS + AGAIN_NS - 1) is None
    assert earlier_digest(one, 5_000 * NS + AGAIN_NS) == digest


def test_a_walk_goes_on_from_its_newest_time_and_stops_where_one_instant_fills_a_page() -> None:
    walk = TimeWalk(TimedHistory(2, lambda *_: "", lambda _: []), 990 * NS)
    walk.take([past(5, 999), past(6, 1_000)])
    assert (walk.from_ns, walk.done) == (1_000 * NS, False)
    walk.take([past(6, 1_000), past(7, 1_001)])
    walk.take([past(7, 1_001)])
    assert walk.done
    assert set(walk.trades) == {5, 6, 7}
    stuck = TimeWalk(TimedHistory(2, lambda *_: "", lambda _: []), 1_000 * NS)
    with pytest.raises(ReadError, match="more trades in one instant than a page holds"):
        stuck.take([past(6, 1_000), past(7, 1_000)])

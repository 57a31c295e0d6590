"""What a read of a hole proves: parts, and the rows of gaps that follow."""

from collections.abc import Iterable

import msgspec
import pytest

from recorder.healer.hole import Hole, OpenGap, unite
from recorder.healer.verdict import REREADS_NS, Part, Read, failed, rows_of, split, stored_already
from recorder.pgcopy.polled import POLLED, encode_row

NS = 10**9
GAP_COLUMNS = [name for name, _ in POLLED["gap"]]
READ = Read(5_000 * NS, 1, ["r1"])


def gap(last_id: int | None, first_id: int | None, number: int = 1) -> OpenGap:
    return OpenGap(number, 7, None, "disconnect", last_id, first_id, 100 * NS, 200 * NS, None, None, 2)


def hole(last_id: int, first_id: int, **values: object) -> Hole:
    return Hole(last_id, first_id, (msgspec.structs.replace(gap(last_id, first_id), **values),))


def named(rows: Iterable[tuple[object, ...]]) -> list[dict[str, object]]:
    for row in rows:
        encode_row("gap", row)
    return [dict(zip(GAP_COLUMNS, row, strict=True)) for row in rows]


def test_gaps_whose_ids_overlap_are_one_hole() -> None:
    holes = unite([gap(20, 30, 2), gap(10, 21, 1), gap(30, 40, 3), gap(None, 50, 4)])
    assert [(one.last_id, one.first_id, [own.gap_id for own in one.gaps]) for one in holes] == [
        (10, 30, [1, 2]),
        (30, 40, [3]),
    ]


def test_a_hole_after_which_the_ids_are_lower_stands_alone() -> None:
    holes = unite([gap(1000, 1, 1), gap(10, 20, 2)])
    assert [(one.last_id, one.first_id) for one in holes] == [(10, 20), (1000, 1)]


@pytest.mark.parametrize(
    ("present", "asked", "parts"),
    [
        (range(11, 20), range(10, 21), [(10, 20, True)]),
        ([], range(10, 21), [(10, 20, False)]),
        ([11, 12, 15, 19], range(10, 21), [
            (10, 13, True), (12, 15, False), (14, 16, True), (15, 19, False), (18, 20, True)]),
        ([15, 16, 17, 18, 19], range(15, 21), [(10, 15, None), (14, 20, True)]),
        ([11, 12], range(10, 13), [(10, 13, True), (12, 20, None)]),
        ([], range(30, 31), [(10, 20, None)]),
        (range(5, 30), range(5, 30), [(10, 20, True)]),
    ],
)  # fmt: skip
def test_a_read_splits_a_hole_into_what_is_there_what_is_not_and_what_was_not_asked(
    present: Iterable[int], asked: range, parts: list[tuple[int, int, bool | None]]
) -> None:
    found = split(hole(10, 20), asked, set(present))
    assert found == [Part(*one) for one in parts]
    ids = [trade_id for part in found for trade_id in range(part.last_id + 1, part.first_id)]
    assert ids == list(range(11, 20)), "every id of the hole is in one part"


def test_a_hole_that_is_filled_is_one_healed_gap() -> None:
    rows = rows_of(hole(10, 20), split(hole(10, 20), range(10, 21), set(range(11, 20))), READ)
    (row,) = named(rows.gaps)
    assert (row["gap_id"], row["state"], row["reason"]) == (1, "healed", "9 ids of 9, by REST")
    assert isinstance(row["revision"], int)
    assert row["revision"] > 1_000_000, "no late revision of the recorder opens it again"
    assert not rows.reads


def test_missing_ids_are_gaps_of_their_own_and_are_read_again_after_a_minute() -> None:
    rows = rows_of(hole(10, 20), split(hole(10, 20), range(10, 21), {11, 12, 14, 15, 16, 17, 18, 19}), READ)
    gaps = named(rows.gaps)
    assert [(one["state"], one["last_id"], one["first_id"]) for one in gaps] == [
        ("healed", 10, 13), ("open", 12, 14), ("healed", 13, 20),
    ]  # fmt: skip
    assert len({one["gap_id"] for one in gaps}) == 3
    (read,) = rows.reads
    assert read[0] == gaps[1]["gap_id"]
    assert read[5] == READ.at_ns + 60 * NS
    again = rows_of(hole(10, 20), split(hole(10, 20), range(10, 21), {11, 12, 14, 15, 16, 17, 18, 19}), READ)
    assert [one[0] for one in again.gaps] == [one[0] for one in rows.gaps], "a repeated read adds no gap"


def test_an_id_that_is_never_listed_is_unhealable_after_five_reads_over_a_day() -> None:
    one, now_ns, waits = hole(13, 15), 1_000 * NS, []
    for _ in range(len(REREADS_NS)):
        rows = rows_of(one, split(one, range(13, 16), set()), Read(now_ns, 1, ["r"]))
        assert not rows.gaps, "a hole that stays as it is has no new revision"
        ((_, _, reads, first_ns, _, next_ns, reason, evidence, _),) = rows.reads
        assert reason == "the venue does not list id 14"
        assert isinstance(next_ns, int)
        waits.append(next_ns - now_ns)
        one = hole(
            13, 15, reads=reads, first_read_ns=first_ns, next_read_ns=next_ns, evidence=msgspec.json.encode(evidence)
        )
        now_ns = next_ns
    rows = rows_of(one, split(one, range(13, 16), set()), Read(now_ns, 1, ["r"]))
    assert [wait // NS for wait in waits] == [60, 600, 3_600, 86_400]
    (row,) = named(rows.gaps)
    assert (row["state"], row["reason"]) == ("unhealable", "the venue does not list id 14")
    assert [read[5] for read in rows.reads] == [None], "the reads are kept, and there is no next one"


def test_a_read_that_proves_nothing_changes_no_gap_until_the_last() -> None:
    rows = failed(hole(10, 20), READ, "control row 10 differs")
    assert not rows.gaps
    assert rows.reads[0][6] == "control row 10 differs"
    last = failed(hole(10, 20, reads=4), READ, "control row 10 differs")
    assert [(one["state"], one["reason"]) for one in named(last.gaps)] == [("unhealable", "control row 10 differs")]


def test_the_other_gaps_of_a_hole_are_closed_in_the_name_of_the_first() -> None:
    (one,) = unite([gap(10, 20, 1), gap(15, 30, 2)])
    rows = named(stored_already(one).gaps)
    assert [(row["gap_id"], row["state"], row["reason"]) for row in rows] == [
        (1, "healed", "19 ids of 19 are stored"), (2, "healed", "its ids are those of gap 1"),
    ]  # fmt: skip

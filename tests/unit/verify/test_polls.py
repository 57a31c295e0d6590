"""Slots that were promised against slots that are accounted for."""

from collections.abc import Sequence

import pytest

from recorder.verify.polls import Accounted, JobCheck, Planned, PollCheck, check_slots

NS = 1_000_000_000
T0 = 1_700_000_040 * NS  # a full minute
MINUTE = Planned(T0 + 5 * NS, 60, 0, continues=False)


def at(minute: int) -> int:
    return T0 + minute * 60 * NS


def checked(planned: Sequence[Planned], *runs: tuple[int, int], folded: int = 0) -> JobCheck:
    return check_slots("one", planned, [Accounted(at(minute), slots) for minute, slots in runs], folded)


def counts(check: JobCheck) -> tuple[int, int, int, int, int]:
    return check.expected, check.accounted, check.missing, check.doubled, check.unplanned


def test_rounds_and_ranges_of_missed_slots_together_are_complete() -> None:
    check = checked([MINUTE], (1, 1), (2, 1), (3, 58), (61, 1))
    assert counts(check) == (61, 61, 0, 0, 0)
    assert check.ok


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(1, 1), (4, 1)], (4, 2, 2, 0, 0)),
        ([(3, 1)], (3, 1, 2, 0, 0)),
        ([(1, 3), (2, 1), (4, 1)], (4, 5, 0, 1, 0)),
        ([(1, 2), (2, 3)], (4, 5, 0, 1, 0)),
        ([(-1, 1), (1, 1)], (1, 2, 0, 0, 1)),
    ],
)
def test_a_hole_an_overlap_and_a_slot_never_promised_are_named(
    runs: list[tuple[int, int]], expected: tuple[int, int, int, int, int]
) -> None:
    check = checked([MINUTE], *runs)
    assert counts(check) == expected
    assert not check.ok
    assert check.examples


def test_an_hour_between_two_missing_slots_does_not_hide_them_behind_one_that_is_doubled() -> None:
    check = checked([MINUTE], (1, 1), (3, 1), (3, 1))
    assert (check.expected, check.accounted) == (3, 3)
    assert (check.missing, check.doubled) == (1, 1)


def test_a_changed_period_counts_from_its_row() -> None:
    faster = Planned(at(2) + 20 * NS, 15, 0, continues=True)
    runs = [Accounted(at(1), 2), Accounted(at(2) + 30 * NS, 2), Accounted(at(3), 1)]
    assert counts(check_slots("one", [MINUTE, faster], runs, 0)) == (5, 5, 0, 0, 0)


def test_while_a_job_is_off_nothing_is_promised() -> None:
    off = Planned(at(2) + NS, 0, 0, continues=True)
    again = Planned(at(9) + NS, 60, 0, continues=False)
    assert checked([MINUTE, off, again], (1, 2), (10, 1)).ok
    assert counts(checked([MINUTE, off, again], (1, 2), (5, 1), (10, 1))) == (3, 4, 0, 0, 1)


def test_after_a_lost_journal_only_what_follows_it_is_promised() -> None:
    afresh = Planned(at(9) + NS, 60, 0, continues=False)
    check = checked([MINUTE, afresh], (1, 2), (10, 1))
    assert check.ok


def test_daily_sums_stand_for_the_oldest_slots() -> None:
    assert checked([MINUTE], (11, 1), (12, 1), folded=10).ok
    assert checked([MINUTE], (11, 1), folded=9).missing == 1
    assert checked([MINUTE], (11, 1), folded=11).doubled == 1


def test_rows_that_did_not_arrive_and_answers_that_were_not_kept_are_problems() -> None:
    assert PollCheck(rows=5, offered=5, answers=2, frames=3).problems() == []
    assert PollCheck(rows=5, offered=4).problems() == [
        "polls: the rounds made 5 rows, and 4 were read from the journal"
    ]
    assert PollCheck(answers=5, frames=4, complete=False).problems() == []
    assert PollCheck(answers=5, frames=4).problems() == ["polls: rounds used 5 answers, and only 4 are in the journal"]


@pytest.mark.parametrize(("minutes", "overdue"), [(5, 0), (17, 0), (18, 1), (77, 60)])
def test_slots_that_a_dead_poller_leaves_behind_are_overdue_after_a_quarter_of_an_hour(
    minutes: int, overdue: int
) -> None:
    runs = [Accounted(at(1), 2)]
    assert check_slots("one", [MINUTE], runs, 0, at(minutes) + NS).overdue == overdue
    assert check_slots("one", [MINUTE], runs, 0).overdue == 0


def test_a_slow_schedule_is_overdue_after_two_periods_and_daily_sums_are_not() -> None:
    hourly = Planned(T0, 3600, 0, continues=True)
    runs = [Accounted(T0 + 3600 * NS - T0 % (3600 * NS), 1)]
    assert check_slots("one", [hourly], runs, 0, runs[0].slot_ns + 2 * 3600 * NS).overdue == 0
    assert check_slots("one", [hourly], runs, 0, runs[0].slot_ns + 3 * 3600 * NS).overdue == 1
    assert check_slots("one", [MINUTE], [], 30, at(30 + 15)).overdue == 0


def test_overdue_slots_are_a_problem_unless_the_poller_was_stopped() -> None:
    jobs = [JobCheck("one", until_ns=T0, overdue=60)]
    dead = PollCheck(jobs, complete=False)
    assert dead.problems() == [
        "poll one: 60 slots since 2023-11-14 22:14:00 UTC are not accounted for; the poller does not run, or it "
        "hangs: see tapedeck status"
    ]
    assert dead.notes() == []
    stopped = PollCheck(jobs)
    assert stopped.problems() == []
    assert len(stopped.notes()) == 1

"""The arithmetic of slots."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.poller.job import Daily, Every
from recorder.poller.slots import Schedule

NS = 1_000_000_000
instants = st.integers(0, 4_000_000_000 * NS)
schedules = st.builds(
    lambda period, share: Schedule(period, int(period * share)), st.integers(1, 86_400), st.floats(0, 0.99)
)


@given(schedules, instants)
def test_an_instant_lies_between_the_slot_before_it_and_the_slot_after_it(schedule: Schedule, now: int) -> None:
    before, after = schedule.at_or_before(now), schedule.after(now)
    assert before <= now < after
    assert after - before == schedule.period_ns
    assert (before - schedule.offset_s * NS) % schedule.period_ns == 0


@given(schedules, instants, st.integers(0, 10**15))
def test_slots_are_counted_after_the_first_instant_and_up_to_the_second(
    schedule: Schedule, start: int, length: int
) -> None:
    middle = start + length // 3
    end = start + length
    assert schedule.count(start, end) == schedule.count(start, middle) + schedule.count(middle, end)
    slot = schedule.after(start)
    assert schedule.count(slot - 1, slot) == 1
    assert schedule.count(slot, slot) == 0
    assert schedule.count(end, start) == (0 if end >= start else 1)


def test_a_daily_slot_is_at_its_time_of_day_in_utc_on_every_day_of_a_leap_year() -> None:
    schedule = Schedule.of(Daily(3, 30))
    at = datetime(2028, 1, 1, tzinfo=UTC)
    for _ in range(366):
        slot = schedule.after(int(at.timestamp()) * NS)
        assert datetime.fromtimestamp(slot // NS, UTC) == at.replace(hour=3, minute=30)
        at += timedelta(days=1)


def test_a_schedule_of_nothing_has_no_slots() -> None:
    assert Schedule(0, 0).count(0, 10**18) == 0


@pytest.mark.parametrize(
    "trigger", [Every(0), Every(-1), Every(86_401), Every(60, 60), Every(60, -1), Daily(24, 0), Daily(0, 60)]
)
def test_numbers_that_describe_no_schedule_are_refused(trigger: Every | Daily) -> None:
    with pytest.raises(ValueError, match=r"period|time of day"):
        Schedule.of(trigger)

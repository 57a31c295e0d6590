"""Venue time texts to nanoseconds."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.timestamps import EARLIEST_NS, NS_PER_DAY, Rfc3339, plausible

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@settings(max_examples=300, deadline=None)
@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), st.integers(0, 10**9 - 1), st.integers(0, 9))
def test_no_digit_is_lost(moment: datetime, nanoseconds: int, digits: int) -> None:
    whole = moment.replace(microsecond=0, tzinfo=UTC)
    fraction = f"{nanoseconds:09d}"[:digits]
    text = whole.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + (f".{fraction}" if fraction else "") + "Z"
    expected = (whole - EPOCH) // timedelta(seconds=1) * 10**9 + int(fraction.ljust(9, "0") or "0")
    times = Rfc3339()
    assert times.ns(text) == expected
    assert times.ns(text) == expected  # again, from the cache


def test_a_second_seen_before_serves_other_fractions() -> None:
    times = Rfc3339()
    base = times.ns("2026-09-02T07:44:09.449472Z")
    assert times.ns("2026-09-02T07:44:09.000001Z") == base - 449_471_000
    assert times.ns("2026-09-02T07:44:09.5Z") == base - 449_472_000 + 500_000_000
    assert times.ns("2026-09-02T07:44:09Z") == base - 449_472_000


def test_a_leap_second_is_the_instant_of_the_next_minute() -> None:
    times = Rfc3339()
    assert times.ns("2016-12-31T23:59:60.250Z") == times.ns("2017-01-01T00:00:00.250Z")


def test_the_years_of_broken_clocks_are_numbers_too() -> None:
    assert Rfc3339().ns("0001-01-01T00:00:00.000000Z") == -62_135_596_800 * 10**9


@pytest.mark.parametrize(
    "text",
    [
        "", "Z", "2026", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00+00:00",
        "2026-01-01T00:00:00.1234567890Z", "2026-01-01T00:00:00.Z", "0000-01-01T00:00:00Z", "2025-02-29T00:00:00.1Z",
        "2026-01-01T00:00:00.000000Z ", "2026-01-01T00:00:00.-10000Z", "2026-01-01T00:00:00.00000 Z", "x" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    times = Rfc3339()
    times.ns("2026-01-01T00:00:00.000001Z")  # the fast path must refuse it as well
    with pytest.raises(ValueError, match=r"."):
        times.ns(text)


def test_memory_of_seconds_is_bounded_and_stays_right() -> None:
    times = Rfc3339()
    for number in range(10_000):
        text = (EPOCH + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000007Z")
        assert times.ns(text) == number * 10**9 + 7000
    assert len(times._seconds_ns) <= 4096


def test_an_event_is_plausible_from_2009_to_a_day_ahead_of_its_receipt() -> None:
    now_ns = Rfc3339().ns("2026-01-01T00:00:00Z")
    assert Rfc3339().ns("2009-01-01T00:00:00Z") == EARLIEST_NS
    assert [plausible(time_ns, now_ns) for time_ns in (EARLIEST_NS - 1, EARLIEST_NS, now_ns + NS_PER_DAY)] == [
        False, True, True
    ]  # fmt: skip
    assert not plausible(now_ns + NS_PER_DAY + 1, now_ns)

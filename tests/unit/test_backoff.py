"""Delays between attempts, and those that a peer asks for."""

import email.utils
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.backoff import WAIT_MAX_S, Backoff, retry_after_s

NOW_NS = 1_700_000_000_000_000_000
NOW_S = NOW_NS // 10**9


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 10), st.floats(0.01, 100), st.integers(0, 2**32))
def test_a_delay_is_never_nothing_and_never_above_its_ceiling(base_s: float, cap_s: float, seed: int) -> None:
    backoff = Backoff(base_s, cap_s, random.Random(seed))
    for attempt in range(200):
        assert 0 < backoff.next_s() <= min(cap_s, base_s * 2.0 ** min(attempt, 32))
    assert backoff.attempts == 200


def test_delays_are_spread_over_their_full_range() -> None:
    rng = random.Random(1)
    delays = [Backoff(8.0, 60.0, rng).next_s() for _ in range(2000)]
    assert min(delays) < 0.1
    assert max(delays) > 7.9
    assert 3.8 < sum(delays) / len(delays) < 4.2


def test_a_reset_forgives_everything() -> None:
    backoff = Backoff(1.0, 60.0, random.Random(1))
    for _ in range(10):
        backoff.next_s()
    backoff.reset()
    assert backoff.attempts == 0
    assert backoff.next_s() <= 1.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("2.", 2.0),
        ("0" * 300 + "7", 7.0),
        ("901", WAIT_MAX_S),
        ("99999999", WAIT_MAX_S),
        ("9" * 20, WAIT_MAX_S),
        ("9" * 5000, WAIT_MAX_S),
        ("1618228675", 0.0),  # a time in the past
        ("1618228675371", 0.0),
        (str(NOW_S + 60), 60.0),
        (str(NOW_S * 1000 + 60_000), 60.0),
        (str(NOW_S * 10**6 + 60_000_000), 60.0),
        (str(NOW_NS + 60 * 10**9), 60.0),
        (str(NOW_S + 10**6), WAIT_MAX_S),
        (email.utils.formatdate(NOW_S + 90, usegmt=True), 90.0),
        (email.utils.formatdate(NOW_S - 90, usegmt=True), 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", WAIT_MAX_S),
        ("Tue Nov 14 22:14:50 2023", 90.0),  # the oldest form of an HTTP date
    ],
)
def test_retry_after_is_read_in_every_form_that_venues_send_and_is_capped(text: str, seconds: float) -> None:
    assert retry_after_s(text, NOW_NS) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [None, "", " ", "soon", "-5", "nan", "inf", "1e9", "0x10", "5s", "\u0663", "2026-11-21", "Wed, 21 Oct", "," * 100,
     "Wed, 21 Oct 99999999999999999999 07:28:00 GMT", "Wed, 21 Oct 2037 07:28:00 GMT" + "x" * 100],
)  # fmt: skip
def test_a_retry_after_of_no_known_form_is_none(text: str | None) -> None:
    assert retry_after_s(text, NOW_NS) is None


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.text(max_size=80), st.from_regex(r"[0-9]{1,3}[a-zA-Z ,:+-]{0,5}[0-9 :,GMT+-]{0,40}", fullmatch=True))
)
def test_no_retry_after_raises_or_exceeds_the_cap(text: str) -> None:
    seconds = retry_after_s(text, NOW_NS)
    assert seconds is None or 0 <= seconds <= WAIT_MAX_S

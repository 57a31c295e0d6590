"""Delays between attempts."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.backoff import Backoff


@settings(max_examples=100, deadline=None)
@given(st.floats(0.01, 10), st.floats(0.01, 100), st.integers(0, 2**32))
def test_a_delay_is_never_nothing_and_never_above_its_ceiling(base_s: float, cap_s: float, seed: int) -> None:
    backoff = Backoff(base_s, cap_s, random.Random(seed))
    for attempt in range(200):
        assert 0 < backoff.next_s() <= min(cap_s, base_s * 2.0 ** min(attempt, 32))
    assert backoff.attempts == 200


def test_delays_are_spread_over_their_whole_range() -> None:
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

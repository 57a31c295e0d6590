"""Which slots a chart shows."""

import pytest

from recorder.web.market_data.bars import MAX_SLOTS, Extent, window

NOW = 1_800_000_030.0
SLOT = 1_800_000_000  # of now


def test_the_slot_of_now_is_the_last_one() -> None:
    shown = window(Extent(NOW, SLOT - 60_000, SLOT), 60, 250)
    assert (shown.low, shown.high) == (SLOT + 60 - 250 * 60, SLOT + 60)


def test_a_bar_that_the_clock_of_the_venue_began_before_ours_is_shown() -> None:
    assert window(Extent(NOW, SLOT - 60_000, SLOT + 60), 60, 250).high == SLOT + 120


def test_nothing_before_the_first_bar_is_shown() -> None:
    assert window(Extent(NOW, SLOT - 120, SLOT), 60, 250).low == SLOT - 120


def test_an_instrument_that_ended_long_ago_shows_its_last_bars() -> None:
    old = SLOT - 10_000_020
    shown = window(Extent(NOW, old - 600_000, old), 60, 250)
    assert shown.high == old + 60


def test_an_instrument_without_bars_shows_the_slots_before_now() -> None:
    assert window(Extent(NOW, None, None), 60, 250).high == SLOT + 60


@pytest.mark.parametrize(("start", "end"), [(0, 60 * (MAX_SLOTS + 1)), (600, 600), (600, 0)])
def test_a_window_without_slots_or_with_too_many_is_refused(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="ask for 1 to 5000"):
        window(Extent(NOW, SLOT, SLOT), 60, 250, end, start)

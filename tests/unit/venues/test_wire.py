"""Values of venue messages: times that can be true, numbers in strings, and interleaved checksums."""

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.timestamps import EARLIEST_NS, NS_PER_DAY
from recorder.venues.checksums import interleaved_crc32
from recorder.venues.wire import MALFORMED, Amount, event_time, event_time_of_ms, lenient

NOW_NS = 1_793_000_000 * 10**9


@pytest.mark.parametrize(
    ("time_ns", "believed"),
    [
        (EARLIEST_NS - 1, False),
        (EARLIEST_NS, True),
        (NOW_NS + NS_PER_DAY, True),
        (NOW_NS + NS_PER_DAY + 1, False),
        (-(10**18), False),
    ],
)
def test_a_time_before_2009_or_a_day_ahead_is_left_out(time_ns: int, believed: bool) -> None:
    assert event_time(time_ns, NOW_NS) == (time_ns if believed else None)


def test_milliseconds_become_nanoseconds_unless_they_cannot_be_true() -> None:
    assert event_time_of_ms(NOW_NS // 10**6, NOW_NS) == NOW_NS
    assert event_time_of_ms(NOW_NS, NOW_NS) is None  # nanoseconds in place of milliseconds


def test_numbers_in_strings_are_read_and_absurd_ones_refused() -> None:
    class Level(msgspec.Struct):
        price: Amount

    decode = lenient(Level)
    assert decode(b'{"price":"1.5"}') == decode(b'{"price":1.5}') == Level(1.5)
    for text in ("nan", "inf", "-1", "1e400", ""):
        with pytest.raises(MALFORMED):
            decode(b'{"price":"%b"}' % text.encode())


@given(
    st.lists(st.binary(min_size=1, max_size=9), max_size=30), st.lists(st.binary(min_size=1, max_size=9), max_size=30)
)
def test_levels_are_joined_rank_by_rank_and_an_exhausted_side_is_skipped(bids: list[bytes], asks: list[bytes]) -> None:
    parts = [side[rank] for rank in range(30) for side in (bids, asks) if rank < len(side)]
    expected = zlib.crc32(b":".join(parts)).to_bytes(4, "big")
    assert interleaved_crc32(bids, asks) == int.from_bytes(expected, "big", signed=True)

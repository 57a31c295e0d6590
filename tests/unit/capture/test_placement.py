"""Which connection carries which streams."""

from hypothesis import given
from hypothesis import strategies as st

from recorder.capture.placement import assign_streams
from recorder.events import CHANNELS, Stream
from recorder.venues.base import Limits


def limits(streams: int, symbols: int | None = None) -> Limits:
    return Limits(streams_per_link=streams, frames_per_s=1, connects_per_minute=1, symbols_per_link=symbols)


def wanted(*symbols: str) -> list[Stream]:
    return [Stream(channel, symbol) for symbol in symbols for channel in CHANNELS]


def symbols_of(link: set[Stream]) -> list[str]:
    return sorted({stream.symbol for stream in link})


def test_symbols_are_dealt_out_so_that_each_connection_carries_a_mix() -> None:
    links = assign_streams(wanted("A", "B", "C", "D", "E"), [], limits(9), 10).links
    assert [symbols_of(link) for link in links] == [["A", "C", "E"], ["B", "D"]]


def test_streams_without_room_are_the_least_important_ones() -> None:
    placement = assign_streams(wanted("A", "B", "C"), [], limits(3), 2)
    assert [symbols_of(link) for link in placement.links] == [["A"], ["B"]]
    assert placement.unplaced == wanted("C")


def test_one_symbol_more_moves_no_other() -> None:
    before = [frozenset(wanted("A", "B")), frozenset(wanted("C"))]
    links = assign_streams(wanted("A", "B", "C", "D"), before, limits(6), 10).links
    assert [symbols_of(link) for link in links] == [["A", "B"], ["C", "D"]]


def test_a_channel_added_goes_where_its_symbol_is_or_is_unplaced() -> None:
    home = frozenset({Stream("trade", "A"), Stream("trade", "B"), Stream("quote", "B")})
    asked = [*home, Stream("book", "A")]
    assert assign_streams(asked, [home, frozenset()], limits(4), 2).links[0] == set(asked)
    assert assign_streams(asked, [home, frozenset()], limits(3), 2).unplaced == [Stream("book", "A")]


def test_what_is_wanted_no_more_makes_room() -> None:
    full = [frozenset(wanted("A"))]
    assert assign_streams(wanted("B"), full, limits(3), 1).links == [set(wanted("B"))]


def test_a_symbol_that_no_connection_could_carry_is_unplaced_without_opening_one() -> None:
    assert assign_streams(wanted("A"), [], limits(2), 5).links in ([], [set()])
    assert assign_streams(wanted("A"), [], limits(2), 5).unplaced == wanted("A")


@given(
    st.lists(st.sampled_from([f"S{n}" for n in range(40)]), unique=True),
    st.lists(st.sampled_from([f"S{n}" for n in range(40)]), unique=True),
    st.integers(3, 20),
    st.integers(1, 6) | st.none(),
    st.integers(1, 8),
)
def test_every_stream_is_carried_once_or_unplaced_and_no_limit_is_exceeded(
    first: list[str], then: list[str], streams: int, symbols: int | None, most: int
) -> None:
    bounds = limits(streams, symbols)
    before = assign_streams(wanted(*first), [], bounds, most)
    after = assign_streams(wanted(*then), [frozenset(link) for link in before.links], bounds, most)
    for placement, asked in ((before, first), (after, then)):
        carried = [stream for link in placement.links for stream in link]
        assert sorted([*carried, *placement.unplaced], key=repr) == sorted(wanted(*asked), key=repr)
        assert len(placement.links) <= most
        assert all(len(link) <= streams for link in placement.links)
        assert all(symbols is None or len(symbols_of(link)) <= symbols for link in placement.links)
        homes = [symbol for link in placement.links for symbol in symbols_of(link)]
        assert len(homes) == len(set(homes))
    kept = set(first) & set(then)
    for old, new in zip(before.links, after.links, strict=False):
        assert kept & set(symbols_of(old)) <= set(symbols_of(new))

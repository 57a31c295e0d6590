"""A print of the market is sent as the merged fills of OKX."""

from itertools import pairwise

import pytest

from recorder.simulator.venues.okx.fills import count_of, fills, last_id, plain, restart


def test_every_fill_has_an_id_of_its_own_and_prints_step_by_their_count() -> None:
    ids = [number for one in range(40) for number, _ in fills(one, 1000 + one)]
    assert ids == list(range(1, len(ids) + 1))
    assert all(last_id(later) == last_id(earlier) + count_of(later) for earlier, later in pairwise(range(40)))
    assert {count_of(one) for one in range(40)} == {1, 2, 3, 5}


def test_the_fills_of_a_print_add_up_to_it() -> None:
    assert all(sum(size for _, size in fills(one, 1001)) == 1001 for one in range(16))


@pytest.mark.parametrize("first", [1, 2, 7, 15, 16, 1_000_000])
def test_restarted_ids_begin_with_the_first_complete_print(first: int) -> None:
    number = restart(first)
    assert fills(number, 100)[0][0] >= first
    assert number == 0 or fills(number - 1, 100)[0][0] < first


@pytest.mark.parametrize(
    ("value", "decimals", "printed"),
    [(640100, 1, "64010"), (459528, 8, "0.00459528"), (0, 8, "0"), (120, 2, "1.2"), (70, 0, "70")],
)
def test_numbers_are_printed_without_zeros_at_their_end(value: int, decimals: int, printed: str) -> None:
    assert plain(value, decimals) == printed

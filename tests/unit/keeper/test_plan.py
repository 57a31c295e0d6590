"""Which days leave their tables: by age, by size, by the budget, and never a day that is too young."""

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.keeper.plan import (
    SHED,
    ArchivedDay,
    Limit,
    Partition,
    leaves,
    local_to_remove,
    moves,
    to_let_go,
)
from recorder.settings.kept import LEAST_DAYS

TODAY = date(2027, 1, 3)  # the days before it are in another year

days_ago = st.integers(-14, 60).map(lambda number: TODAY - timedelta(days=number))
partitions = st.lists(
    st.builds(Partition, st.sampled_from(SHED), days_ago, st.integers(0, 10**9)),
    unique_by=lambda one: (one.table, one.day),
    max_size=40,
)
limit = st.builds(
    Limit, st.none() | st.floats(LEAST_DAYS, 100), st.none() | st.floats(0, 10**10, allow_subnormal=False)
)
limits = st.dictionaries(st.sampled_from(SHED), limit)


@settings(max_examples=40)
@given(partitions, limits, st.floats(0, 10**11))
def test_no_young_day_leaves_and_what_stays_is_within_the_limits(
    there: list[Partition], by_table: dict[str, Limit], excess: float
) -> None:
    found = moves(there, by_table, TODAY, excess=excess)
    keys = {(one.table, one.day) for one in found}
    assert len(keys) == len(found)
    assert keys <= {(one.table, one.day) for one in there if leaves(one.day, TODAY)}
    stay = [one for one in there if (one.table, one.day) not in keys]
    for table, its in by_table.items():
        old = [one for one in stay if one.table == table and leaves(one.day, TODAY)]
        if its.days is not None:
            assert all((TODAY - one.day).days <= its.days for one in old)
        if its.bytes is not None and old:
            assert sum(one.bytes for one in stay if one.table == table) <= its.bytes
    freed = sum(one.bytes for one in there if (one.table, one.day) in keys)
    assert freed >= excess or not any(leaves(one.day, TODAY) for one in stay)


@settings(max_examples=40)
@given(partitions)
def test_without_limits_and_within_the_budget_everything_stays(there: list[Partition]) -> None:
    assert moves(there, {}, TODAY) == []
    assert moves(there, {"trade": Limit()}, TODAY) == []


@settings(max_examples=40)
@given(partitions, limits, st.floats(0, 10**11))
def test_the_oldest_day_goes_first_and_trades_go_last_of_a_day(
    there: list[Partition], by_table: dict[str, Limit], excess: float
) -> None:
    found = moves(there, by_table, TODAY, excess=excess)
    assert found == sorted(found, key=lambda one: (one.day, SHED.index(one.table)))


def test_rows_that_came_to_an_archived_day_are_archived_too() -> None:
    old = TODAY - timedelta(days=90)
    assert [(one.table, one.day) for one in moves([], {}, TODAY, late=[("trade", old)])] == [("trade", old)]


files = st.lists(
    st.builds(
        ArchivedDay, st.sampled_from(SHED), days_ago, st.sampled_from(["a", "b"]), st.integers(1, 10**6), st.booleans()
    ),
    unique_by=lambda one: one[:3],
    max_size=30,
)  # fmt: skip


@settings(max_examples=40)
@given(files, st.floats(0, 10**8))
def test_files_go_only_as_far_as_needed_and_only_those_without_a_copy_for_good(
    there: list[ArchivedDay], excess: float
) -> None:
    here, gone = local_to_remove(there, excess), to_let_go(there, excess)
    assert all(one.copied for one in here)
    assert not any(one.copied for one in gone)
    for chosen in (here, gone):
        assert sum(one.bytes for one in chosen[:-1]) < excess or not chosen

"""Which stuck program is restarted, and when: rounds without a clock."""

import itertools
from collections.abc import Iterable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from recorder.watchdog.acting.policy import (
    APART_S,
    FIRST_PAUSE_S,
    HEALTHY_S,
    LONGEST_PAUSE_S,
    MOST_PER_HOUR,
    Memory,
    RestartPolicy,
    Signs,
)

STUCK_S = 90.0
ROUND_S = 5.0
NORTH = "recorder-north"


class Rounds:
    """A watchdog and its programs."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.policy = RestartPolicy(STUCK_S, memory or Memory())
        self.now_s = 0.0
        self.pids: dict[str, int] = {}
        self.reports: dict[str, int] = {}
        self.restarts: list[tuple[float, str]] = []

    def run(self, length_s: float, moving: Iterable[str] = (), still: Iterable[str] = (), exempt: str = "") -> None:
        """Let rounds pass; a restarted program is still again."""
        moving, still = list(moving), list(still)
        end_s = self.now_s + length_s
        while self.now_s < end_s:
            self.now_s += ROUND_S
            for program in moving:
                self.reports[program] = self.reports.get(program, 0) + 1
            signs = {
                name: Signs(self.pids.setdefault(name, 1), (self.reports.get(name, 0),), exempt)
                for name in (*moving, *still)
            }
            stuck = self.policy.observe(signs, ROUND_S)
            if stuck is not None:
                assert stuck.pid == self.pids[stuck.program]
                self.restarts.append((self.now_s, stuck.program))
                self.policy.restarted(stuck.program)
                self.pids[stuck.program] += 1


def test_a_program_that_moves_is_never_restarted() -> None:
    rounds = Rounds()
    rounds.run(100_000, moving=[NORTH])
    assert rounds.restarts == []


def test_a_stuck_program_is_restarted_once_and_then_after_pauses_that_grow() -> None:
    rounds = Rounds()
    rounds.run(600, moving=[NORTH])
    rounds.run(100, still=[NORTH])
    assert [name for _, name in rounds.restarts] == [NORTH], "once"
    rounds.run(40_000, still=[NORTH])
    times = [at_s for at_s, _ in rounds.restarts]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(pause_s >= FIRST_PAUSE_S for pause_s in pauses)
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_health_ends_the_pauses_and_a_short_one_does_not() -> None:
    for healthy_s, restarts in ((HEALTHY_S / 2, 1), (HEALTHY_S + 60, 0)):
        rounds = Rounds()
        rounds.run(600, moving=[NORTH])
        rounds.run(100, still=[NORTH])
        rounds.run(healthy_s, moving=[NORTH])
        history = rounds.policy.memory.programs.get(NORTH)
        assert (0 if history is None else history.restarts) == restarts


def test_nothing_is_restarted_in_the_first_minutes_of_the_watchdog_or_of_a_program() -> None:
    rounds = Rounds()
    rounds.run(2 * STUCK_S, still=[NORTH])
    assert rounds.restarts == []
    rounds.run(2 * ROUND_S, still=[NORTH])
    assert len(rounds.restarts) == 1
    rounds = Rounds()
    rounds.run(10_000, moving=["writer"])
    rounds.run(STUCK_S + 60, moving=["writer"], still=[NORTH])  # it has just started
    assert rounds.restarts == []


def test_two_stuck_programs_are_restarted_one_after_the_other() -> None:
    rounds = Rounds()
    rounds.run(600, moving=[NORTH, "recorder-south"])
    rounds.run(STUCK_S + 3 * APART_S, still=[NORTH, "recorder-south"])
    (first_s, first), (second_s, second) = rounds.restarts
    assert {first, second} == {NORTH, "recorder-south"}
    assert second_s - first_s >= APART_S


def test_what_may_not_be_restarted_is_not_and_the_time_does_not_count() -> None:
    rounds = Rounds()
    rounds.run(600, moving=["writer"])
    rounds.run(10_000, still=["writer"], exempt="Postgres is down")
    assert rounds.restarts == []
    rounds.run(STUCK_S / 2, still=["writer"])
    assert rounds.restarts == [], "it may still be waiting"
    rounds.run(STUCK_S, still=["writer"])
    assert len(rounds.restarts) == 1


def test_another_process_of_the_program_begins_again() -> None:
    rounds = Rounds()
    rounds.run(600, moving=[NORTH])
    rounds.run(STUCK_S - 2 * ROUND_S, still=[NORTH])
    rounds.pids[NORTH] += 1  # a person restarted it
    rounds.run(STUCK_S, still=[NORTH])
    assert rounds.restarts == []


def test_a_restart_of_the_watchdog_shortens_no_pause() -> None:
    rounds = Rounds()
    rounds.run(600, moving=[NORTH])
    rounds.run(100, still=[NORTH])
    encoded = msgspec.json.encode(rounds.policy.memory)
    again = Rounds(msgspec.json.decode(encoded, type=Memory))
    again.run(FIRST_PAUSE_S - 20, still=[NORTH])
    assert again.restarts == []
    again.run(60, still=[NORTH])
    assert len(again.restarts) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "d", "e", "f", "g"]), st.booleans(), st.integers(1, 40)),
        max_size=25,
    )
)
def test_there_are_never_two_at_once_nor_many_in_an_hour(steps: list[tuple[str, bool, int]]) -> None:
    names = ["a", "b", "c", "d", "e", "f", "g"]
    rounds = Rounds()
    for name, moves, count in steps:
        others = [other for other in names if other != name]
        rounds.run(count * ROUND_S, moving=[name] if moves else [], still=others if moves else names)
    times = [at_s for at_s, _ in rounds.restarts]
    assert all(later - earlier >= APART_S for earlier, later in itertools.pairwise(times))
    assert all(sum(at_s <= other < at_s + 3600 for other in times) <= MOST_PER_HOUR for at_s in times)
